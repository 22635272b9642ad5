"""Who is next in scopes of one rule, each found by one statement; `penstock.runs.places` has the whole story."""

from collections.abc import Sequence
from uuid import UUID

from penstock.db import Connection


async def list_crowded(conn: Connection, *, scopes: Sequence[UUID]) -> list[UUID]:
    """Those of these scopes in which somebody waits."""
    rows = await conn.fetch(
        """
        SELECT q.scope FROM unnest((SELECT $1::uuid[])) AS q (scope)
        WHERE (SELECT true FROM penstock.places p WHERE p.scope = q.scope AND p.waits_since IS NOT NULL LIMIT 1)
        """,
        scopes,
    )
    return [row["scope"] for row in rows]


async def list_next(conn: Connection, *, scopes: Sequence[UUID], limit: int, most: int) -> list[UUID]:
    """The runs that are next in scopes of one `concurrency`, at most `most` in each. Only for runs that wait in no
    other scope.
    """
    rows = await conn.fetch(
        """
        SELECT w.run_id FROM unnest((SELECT $1::uuid[])) AS q (scope)
        CROSS JOIN LATERAL (
            SELECT count(*)::int AS taken FROM penstock.places p
            WHERE p.scope = q.scope AND p.taken_at IS NOT NULL OFFSET 0
        ) t
        CROSS JOIN LATERAL (
            SELECT p.run_id FROM penstock.places p WHERE p.scope = q.scope AND p.waits_since IS NOT NULL
            ORDER BY p.priority, p.position LIMIT least(greatest($2::int - t.taken, 0), $3::int) OFFSET 0
        ) w
        """,
        scopes,
        limit,
        most,
    )
    return [row["run_id"] for row in rows]


async def list_next_in_line(conn: Connection, *, scopes: Sequence[UUID], skips_failed: bool) -> list[UUID]:
    """The runs that are next in lines of one `sequence`: the heads that wait while nobody else of their line is
    performed. Only for runs that wait in no other scope.
    """
    rows = await conn.fetch(
        """
        SELECT h.run_id FROM unnest((SELECT $1::uuid[])) AS q (scope)
        CROSS JOIN LATERAL (
            SELECT p.run_id, p.waits_since FROM penstock.places p
            WHERE p.scope = q.scope AND p.rule = 'sequence' AND NOT p.is_done
              AND NOT ($2::bool AND (
                  SELECT r.finished_at FROM penstock.runs r WHERE r.id = p.run_id) IS NOT NULL)
            ORDER BY p.position LIMIT 1 OFFSET 0
        ) h
        WHERE h.waits_since IS NOT NULL AND (
            SELECT true FROM penstock.places p WHERE p.scope = q.scope AND p.taken_at IS NOT NULL LIMIT 1) IS NULL
        """,
        scopes,
        skips_failed,
    )
    return [row["run_id"] for row in rows]
