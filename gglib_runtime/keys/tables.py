"""The tables of API keys and of what they spent, as the newest migration leaves them.

Not here: how a key becomes a row (`rows`).
"""

from __future__ import annotations

import sqlalchemy as sa

from gglib_runtime.catalog.tables import metadata

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    # The secret's first characters, by which it is looked up; empty for one that somebody chose.
    sa.Column("start", sa.Text, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("mask", sa.Text, nullable=False),
    sa.Column("endpoints", sa.JSON, nullable=False),
    sa.Column("models", sa.JSON, nullable=False),
    sa.Column("is_enabled", sa.Boolean, nullable=False),
    sa.Column("expires", sa.Double),
    sa.Column("allowance", sa.JSON, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,  # as for models: records name keys by their ids
)

# Sums of what `generations` says, which is purged before a month is over. It refers to no key: a
# sum outlives the row of its key as records do.
key_spending = sa.Table(
    "key_spending",
    metadata,
    sa.Column("key_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("model", sa.Text, primary_key=True),
    # When the day began, in Unix seconds.
    sa.Column("day", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("cost", sa.Double, nullable=False),
)
