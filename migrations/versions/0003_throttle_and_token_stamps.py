"""throttle and token stamps

Revision ID: 0003
Revises: 0002
Create Date: 2026-11-23 13:05:12.417302
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "throttled",
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_throttled")),
    )
    op.create_index(op.f("ix_throttled_until"), "throttled", ["until"], unique=False)
    # Tokens issued before this carry no stamp and are refused: their users sign in once more.
    op.add_column("users", sa.Column("token_stamp", sa.String(length=32), server_default="", nullable=False))


def downgrade() -> None:
    # No batch: it would make the table anew, and dropping the old one sets forward_requests.user_id to null.
    op.drop_column("users", "token_stamp")
    op.drop_index(op.f("ix_throttled_until"), table_name="throttled")
    op.drop_table("throttled")
