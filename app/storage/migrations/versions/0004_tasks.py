"""Tasks, and how each answer was taken"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(length=32), primary_key=True),
        sa.Column("caller", sa.String(length=12), nullable=False),
        sa.Column("operation", sa.String(length=20), nullable=False),
        sa.Column("request_digest", sa.String(length=64), nullable=False),
        sa.Column("idempotency_key", sa.String(length=64)),
        sa.Column("is_async", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("owner", sa.String(length=32), nullable=False),
        sa.Column("attendant", sa.String(length=32)),
        sa.Column("attendant_worker", sa.String(length=32)),
        sa.Column("joins", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("http_status", sa.Integer()),
        sa.Column("code", sa.String(length=100)),
        sa.Column("headers", sa.Text()),
        sa.Column("body", sa.LargeBinary()),
        sa.Column("body_name", sa.String(length=80)),
        sa.Column("body_size", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("caller", "idempotency_key", name="uq_tasks_idempotency_key"),
    )
    op.create_index("ix_tasks_caller_time", "tasks", ["caller", "created_at"])
    op.create_index("ix_tasks_state_owner", "tasks", ["state", "owner"])
    op.create_index("ix_tasks_expires_at", "tasks", ["expires_at"])
    op.create_index("ix_tasks_body_name", "tasks", ["body_name"])
    op.create_index("ix_tasks_body_size", "tasks", ["body_size"])
    op.create_table(
        "task_workers",
        sa.Column("id", sa.String(length=32), primary_key=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "object_chunks",
        sa.Column("name", sa.String(length=80), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.add_column("usage", sa.Column("taken", sa.String(length=20), nullable=False, server_default="connection"))


def downgrade() -> None:
    op.drop_column("usage", "taken")
    for table in ("object_chunks", "task_workers", "tasks"):
        op.drop_table(table)
