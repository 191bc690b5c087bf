"""Default response format of an API key"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("response_format", sa.String(length=10), nullable=True))


def downgrade() -> None:
    op.drop_column("api_keys", "response_format")
