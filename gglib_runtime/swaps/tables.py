"""The table of swaps, as the newest migration leaves it.

Not here: how a swap becomes a row (`rows`).
"""

from __future__ import annotations

import sqlalchemy as sa

from gglib_runtime.catalog.tables import metadata

# A swap names its models as they were called then, and refers to none: it outlives them.
swaps = sa.Table(
    "swaps",
    metadata,
    # Begins with the time, so that its order is the order of the swaps.
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("created", sa.Double, nullable=False, index=True),
    sa.Column("model_id", sa.Integer, nullable=False),
    sa.Column("model", sa.Text, nullable=False, index=True),
    sa.Column("launch_id", sa.Text, nullable=False),
    # Equal for launches that should take equally long: the file, and how it was launched.
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
)
