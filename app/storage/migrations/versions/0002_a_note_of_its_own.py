"""A credit's note, which stood where the calls have their request id, in a column of its own"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("ledger", sa.Column("note", sa.String(length=128), server_default="", nullable=False))
    op.execute("UPDATE ledger SET note = request_id, request_id = '' WHERE kind = 'credit'")


def downgrade() -> None:
    op.execute("UPDATE ledger SET request_id = note WHERE kind = 'credit'")
    op.drop_column("ledger", "note")
