"""The gateway: API keys, the record of generations, prices of models and the engines they name.

A migration stands for itself: it does not use the tables of the program, which move on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _extend_models()
    _create_api_keys()
    _create_generations()


def _extend_models() -> None:
    op.add_column("models", sa.Column("engine", sa.Text))
    for price in ("input_cost_per_1k", "output_cost_per_1k"):
        op.add_column("models", sa.Column(price, sa.Double, nullable=False, server_default="0"))
    op.add_column("models", sa.Column("currency", sa.Text, nullable=False, server_default="USD"))


def _create_api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("start", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("mask", sa.Text, nullable=False),
        sa.Column("endpoints", sa.JSON, nullable=False),
        sa.Column("models", sa.JSON, nullable=False),
        sa.Column("is_enabled", sa.Boolean, nullable=False),
        sa.Column("expires", sa.Double),
        sa.Column("allowance", sa.JSON, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("name", name="uq_api_keys_name"),
        sqlite_autoincrement=True,
    )


def _create_generations() -> None:
    op.create_table(
        "generations",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("id", sa.Text, nullable=False),
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
        sa.PrimaryKeyConstraint("seq", name="pk_generations"),
        sa.UniqueConstraint("id", name="uq_generations_id"),
    )
    op.create_index("ix_generations_created_ms", "generations", ["created_ms"])
    op.create_index(
        "ix_generations_key_id",
        "generations",
        ["key_id", "created_ms"],
        sqlite_where=sa.text("key_id IS NOT NULL"),
        postgresql_where=sa.text("key_id IS NOT NULL"),
    )
    # Random ids, sorted within blocks of rows only: else each row would write a page of the index.
    op.create_index(
        "ix_generations_upstream_id", "generations", [sa.text("(seq / 1024)"), "upstream_id"]
    )
