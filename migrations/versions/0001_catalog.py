"""The catalog: models, their names, and the revision that tells servers of a change.

A migration stands for itself: it does not use the tables of the program, which move on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "models",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("paths", sa.JSON, nullable=False),
        sa.Column("real_path", sa.Text, nullable=False),
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
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_models_real_path", "models", ["real_path"])
    op.create_table(
        "model_names",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("model_id", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_model_names"),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name="fk_model_names_model_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("model_id", "position", name="uq_model_names_model_id_position"),
        sa.CheckConstraint(
            "kind IN ('name', 'alias') AND (kind = 'name') = (position = 0)",
            name=op.f("ck_model_names_kind"),
        ),
    )
    revisions = op.create_table(
        "revision",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_revision"),
        sa.CheckConstraint("id = 1", name=op.f("ck_revision_one_row")),
    )
    op.bulk_insert(revisions, [{"id": 1, "number": 0}])
