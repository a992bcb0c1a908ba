"""The table of generations, as the newest migration leaves it.

Not here: its indexes (`indexes`), and how rows are written (`rows`, `log`) and read (`history`).
"""

from __future__ import annotations

import sqlalchemy as sa

from gglib_runtime.catalog.tables import metadata

ROWS_IN_A_BLOCK = 1024
"""Rows whose upstream ids stand together in their index; to change it takes a migration."""

# A row names its key and its model as they were then, and refers to none: it outlives them.
# Behind `seq` the columns are those of `gglib_core.generations.Generation`, in its order.
generations = sa.Table(
    "generations",
    metadata,
    # The order in which rows were written; pages are read by it.
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("created_ms", sa.BigInteger, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("upstream_id", sa.Text),
    sa.Column("key_id", sa.Integer),
    sa.Column("api_key_id", sa.Text),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("model_id", sa.Integer),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("target", sa.Text),
    sa.Column("provider_health", sa.Text),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("is_stream", sa.Boolean, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("finish_reason", sa.Text),
    sa.Column("queue_ms", sa.Double, nullable=False),
    sa.Column("load_ms", sa.Double, nullable=False),
    sa.Column("first_token_ms", sa.Double),
    sa.Column("total_ms", sa.Double, nullable=False),
    sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
    sa.Column("cached_tokens", sa.BigInteger, nullable=False),
    sa.Column("completion_tokens", sa.BigInteger, nullable=False),
    sa.Column("is_estimated", sa.Boolean, nullable=False),
    sa.Column("tokens_per_second", sa.Double),
    sa.Column("prompt_cost", sa.Double, nullable=False),
    sa.Column("completion_cost", sa.Double, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("swap_id", sa.Text),
)
