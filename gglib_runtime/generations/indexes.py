"""The indexes of the table of generations, as the newest migration leaves them.

Apart from the table, since only who makes tables needs them: to describe the partial one SQLAlchemy
imports what it knows of PostgreSQL, for 25 ms.
"""

from __future__ import annotations

import sqlalchemy as sa

from gglib_runtime.generations.tables import ROWS_IN_A_BLOCK, generations

# Pages, and what is old enough to be purged.
sa.Index("ix_generations_created_ms", generations.c.created_ms)
# Pages of one key, which nobody may make the database read all rows for.
sa.Index(
    "ix_generations_key_id",
    generations.c.key_id,
    generations.c.created_ms,
    sqlite_where=generations.c.key_id.is_not(None),
    postgresql_where=generations.c.key_id.is_not(None),
)
# Upstream ids are random. In an index of them alone each row lands on another page, and from some
# 100,000 rows on that costs three times what the row itself does: 22 us a row instead of 6. So they
# are sorted within blocks of rows, and a search looks into every block: 1,000 for a million rows,
# in about 10 ms.
sa.Index(
    "ix_generations_upstream_id",
    sa.text(f"(seq / {ROWS_IN_A_BLOCK})"),
    generations.c.upstream_id,
)
