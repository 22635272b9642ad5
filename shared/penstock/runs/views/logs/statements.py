"""The statements that find lines of the log: each reads an index from a place on, looks at a given number of lines at
most, and says where it stopped. So a page costs the same however many lines there are, and however few are wanted.
"""

from typing import Final

from penstock.runs.views.logs.filters import Way

COLUMNS: Final = """l.id, l.at, l.environment, l.level, l.event, l.message, l.run_id, l.chain_id, l.workflow, l.step,
               l.depth, l.details, l.user_id"""
IS_WANTED: Final = """
           l.environment = $1
           AND ($8::uuid IS NULL OR l.run_id = $8)
           AND ($9::uuid IS NULL OR l.chain_id = $9)
           AND ($10::text IS NULL OR l.workflow = $10)
           AND ($11::text IS NULL OR l.user_id = $11)
           AND ($12::text[] IS NULL OR l.level = ANY($12))
           AND ($13::text[] IS NULL OR l.event = ANY($13) OR ($18::boolean AND l.event = ANY($16::text[])))
           AND ($14::text IS NULL
                OR penstock.log_words(l.event, l.message, l.workflow, l.step) @@ $14::tsquery
                OR (l.event = ANY($16::text[]) AND ($17::boolean OR l.workflow = ANY($15::text[]))))"""
"""A line that was stored, or one that stands for others that may be wanted: `LogFilter.admits` decides those."""
_PAGE: Final = """
    WITH WORDED looked AS MATERIALIZED (CANDIDATES)
    SELECT q.* FROM (
        SELECT l.*, row_number() OVER (ORDER BY l.at DESC, l.id DESC) AS number, count(*) OVER () AS looked,
           (IS_WANTED) IS TRUE AS is_wanted, IS_DENSE AS is_dense
        FROM looked l
    ) q
    WHERE q.is_wanted OR q.number = q.looked
    ORDER BY q.number
    LIMIT $7
    """
_RANGE: Final = """l.at >= coalesce($2::timestamptz, '-infinity') AND l.at < coalesce($3::timestamptz, 'infinity')
          AND l.at <= coalesce($4::timestamptz, 'infinity')
          AND (l.at, l.id) <= (coalesce($4::timestamptz, 'infinity'), $5::bigint)"""
_NEWEST: Final = "ORDER BY l.at DESC, l.id DESC LIMIT $6"
_BY: Final = """
        SELECT COLUMNS
        FROM penstock.logs l
        WHERE PREDICATE AND RANGE
        NEWEST
    """
_OF_RUN: Final = """
        -- A run's lines are few, and sorted. The sum keeps the planner from reading all lines by time to find them.
        SELECT COLUMNS
        FROM penstock.logs l
        WHERE l.run_id = $8 AND RANGE
        ORDER BY l.at + interval '0' DESC, l.id DESC
        LIMIT $6
    """
_BY_EACH: Final = """
        SELECT l.*
        FROM unnest(VALUES) AS q (value)
        CROSS JOIN LATERAL (
            SELECT COLUMNS
            FROM penstock.logs l
            WHERE PREDICATE AND RANGE
            NEWEST
        ) l
        NEWEST
    """
_WORDED: Final = """
    worded AS MATERIALIZED (
        -- Planned for all of its rows, so by the index of words; read no further than `few` asks for.
        SELECT COLUMNS
        FROM penstock.logs l
        WHERE l.environment = $1 AND l.message <> ''
          AND penstock.log_words(l.event, l.message, l.workflow, l.step) @@ $14::tsquery
          AND RANGE
    ), few AS MATERIALIZED (
        SELECT w.* FROM worded w LIMIT $6
    ),
    """
_BY_WORDS: Final = """
        SELECT l.* FROM (
            SELECT f.* FROM few f
            UNION ALL
            SELECT l.*
            FROM unnest($15::text[]) AS q (value)
            CROSS JOIN LATERAL (
                SELECT COLUMNS
                FROM penstock.logs l
                WHERE l.environment = $1 AND l.workflow = q.value
                  AND (l.message = '' OR ($17::boolean AND l.event = ANY($16::text[])
                       AND NOT penstock.log_words(l.event, l.message, l.workflow, l.step) @@ $14::tsquery))
                  AND RANGE
                NEWEST
            ) l
        ) l
        NEWEST
    """
_IS_DENSE: Final = "(SELECT count(*) FROM few) >= $6"


def _make(candidates: str, predicate: str = "", values: str = "", *, worded: str = "", is_dense: str = "false") -> str:
    parts = {
        "WORDED": worded, "CANDIDATES": candidates, "IS_WANTED": IS_WANTED, "PREDICATE": predicate,
        "VALUES": values, "IS_DENSE": is_dense, "RANGE": _RANGE, "NEWEST": _NEWEST, "COLUMNS": COLUMNS,
    }  # fmt: skip
    statement = _PAGE
    for name, text in parts.items():
        statement = statement.replace(name, text)
    return statement


LIST_BY: Final = {
    Way.RUN: _make(_OF_RUN),
    Way.CHAIN: _make(_BY, "l.chain_id = $9"),
    Way.USER: _make(_BY, "l.environment = $1 AND l.user_id = $11"),
    Way.LEVELS: _make(
        _BY_EACH,
        "l.environment = $1 AND l.level = q.value AND l.level IN ('warning', 'error')",
        "$12::text[]",
    ),
    Way.KINDS: _make(
        _BY_EACH, "l.environment = $1 AND l.event = q.value AND l.event <> 'event completed'", "$13::text[]"
    ),
    Way.WORKFLOW: _make(_BY, "l.environment = $1 AND l.workflow = $10"),
    Way.TIME: _make(_BY, "l.environment = $1"),
}
"""By way, a page of the lines that may be wanted."""
LIST_BY_WORDS: Final = _make(_BY_WORDS, worded=_WORDED, is_dense=_IS_DENSE)
"""The same by what they contain, of a span in which fewer than `$6` lines have the words: else all are `is_dense`, and
not the newest.
"""
_NEW: Final = """
    SELECT COLUMNS, l.tx::text AS tx
    FROM penstock.logs l
    WHERE l.tx >= greatest(pg_snapshot_xmin($2::text::pg_snapshot), $4::text::xid8)
      AND NOT pg_visible_in_snapshot(l.tx, $2::text::pg_snapshot)
      AND pg_visible_in_snapshot(l.tx, $3::text::pg_snapshot)
      AND (l.tx, l.id) >= ($4::text::xid8, $5::bigint)
      AND l.at > statement_timestamp() - $6::interval
      AND (IS_WANTED)
    ORDER BY l.tx, l.id
    LIMIT $7
    """
LIST_NEW: Final = _NEW.replace("COLUMNS", COLUMNS).replace("IS_WANTED", IS_WANTED)
"""Lines that one snapshot has not seen and another has."""
