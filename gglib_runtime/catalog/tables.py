"""The tables, as the newest migration leaves them.

Not here: how a model becomes rows (`records`), and how a database gets these tables (`migration`).
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={  # a later migration has to be able to name what it changes
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Lists are JSON because they are read and written whole. So are the facts of the GGUF header: no
# query asks for one of them, and what the reader learns to read then needs no migration.
models = sa.Table(
    "models",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("paths", sa.JSON, nullable=False),
    # The first file with links resolved: tells that a file is in the catalog under another path.
    sa.Column("real_path", sa.Text, nullable=False, index=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("facts", sa.JSON, nullable=False),
    sa.Column("capabilities", sa.JSON, nullable=False),
    sa.Column("tags", sa.JSON, nullable=False),
    sa.Column("context", sa.BigInteger),
    sa.Column("parallel", sa.Integer),
    sa.Column("threads", sa.Integer),
    sa.Column("gpu_layers", sa.Text),
    sa.Column("arguments", sa.JSON, nullable=False),
    sa.Column("environment", sa.JSON, nullable=False),
    sa.Column("idle_seconds", sa.Double),
    sa.Column("max_concurrent", sa.Integer),
    sa.Column("is_pinned", sa.Boolean, nullable=False),
    sa.Column("is_preloaded", sa.Boolean, nullable=False),
    sa.Column("engine", sa.Text),
    sa.Column("input_cost_per_1k", sa.Double, nullable=False, server_default="0"),
    sa.Column("output_cost_per_1k", sa.Double, nullable=False, server_default="0"),
    sa.Column("currency", sa.Text, nullable=False, server_default="USD"),
    sa.Column("created", sa.BigInteger, nullable=False),
    # Else SQLite gives the id of the last removed model away again. A migration that rebuilds the
    # table has to repeat it: batch_alter_table(…, table_kwargs={"sqlite_autoincrement": True}).
    sqlite_autoincrement=True,
)

# Names and aliases share one key, so that a name can never be another model's alias.
model_names = sa.Table(
    "model_names",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column(
        "model_id", sa.Integer, sa.ForeignKey("models.id", ondelete="CASCADE"), nullable=False
    ),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.UniqueConstraint("model_id", "position"),
    sa.CheckConstraint(
        "kind IN ('name', 'alias') AND (kind = 'name') = (position = 0)", name="kind"
    ),
)

# One row. Each transaction that changes what servers read counts it up, first of all: on PostgreSQL
# that also makes writers wait for one another, as BEGIN IMMEDIATE does on SQLite.
revision = sa.Table(
    "revision",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.CheckConstraint("id = 1", name="one_row"),
)
