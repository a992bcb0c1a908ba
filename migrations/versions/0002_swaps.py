"""The ledger of swaps.

A migration stands for itself: it does not use the tables of the program, which move on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "swaps",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("model_id", sa.Integer, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("launch_id", sa.Text, nullable=False),
        sa.Column("launch_key", sa.Text, nullable=False),
        sa.Column("context", sa.BigInteger, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("key_name", sa.Text),
        sa.Column("victim_id", sa.Integer),
        sa.Column("victim", sa.Text),
        sa.Column("victim_reason", sa.Text),
        sa.Column("spared", sa.JSON, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("failure", sa.Text),
        sa.Column("detail", sa.Text),
        sa.Column("queue_seconds", sa.Double),
        sa.Column("drain_seconds", sa.Double),
        sa.Column("stop_seconds", sa.Double),
        sa.Column("memory_seconds", sa.Double),
        sa.Column("spawn_seconds", sa.Double),
        sa.Column("load_seconds", sa.Double),
        sa.Column("first_byte_seconds", sa.Double),
        sa.Column("served", sa.BigInteger, nullable=False),
        sa.Column("avoided", sa.BigInteger, nullable=False),
        sa.Column("memory_bytes", sa.BigInteger),
        sa.Column("gpu_memory_bytes", sa.BigInteger),
        sa.Column("ended", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_swaps"),
    )
    op.create_index("ix_swaps_created", "swaps", ["created"])
    op.create_index("ix_swaps_model", "swaps", ["model"])
