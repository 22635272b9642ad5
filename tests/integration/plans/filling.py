"""A database in which much has ended: as many runs as are asked for, with all that belongs to them."""

from typing import Final

from penstock.db import Connection

_NAMED: Final = """
    INSERT INTO penstock.runs (
        id, chain_id, list_id, environment, workflow, trigger, state, depth, created_at, scheduled_at, dispatched_at,
        finished_at, context
    )
    SELECT i.id, i.id, CASE WHEN n % 10 = 0 THEN md5((n / 1000)::text)::uuid END,
           CASE n % 2 WHEN 0 THEN 'live' ELSE 'development' END, 'greet' || n % 20, 'api', 'succeeded', 0, i.at, i.at,
           i.at, i.at, CASE n % 8 WHEN 6 THEN '{"user": {"_id": "user 6"}}'::jsonb END
    FROM generate_series(1, $1::int) n
    CROSS JOIN LATERAL (SELECT md5(n::text)::uuid AS id, now() - n * interval '10 s' AS at) i
    """
_OF_RUNS: Final = {
    "steps": "(run_id, step, action, outcome, attempt, started_at) SELECT id, 'say', 'log', 'succeeded', 1, created_at",
    "chains": """(id, environment, runs, created_at, warned_at)
        SELECT id, environment, 1, created_at,
               CASE WHEN get_byte(uuid_send(id), 0) % 8 = 7 THEN created_at - interval '2 days' END""",
    "idempotency_keys": "SELECT environment, workflow, id::text, '\\x00', id, created_at",
    "deliveries": """(id, environment, source, dedup_key, state, received_at, headers, body, is_keyed)
        SELECT id, environment, 'stripe', id::text, 'accepted', created_at, '{}', '\\x00', true""",
    "delivery_keys": """(delivery_id, environment, source, dedup_key, received_at, unique_until, run_ids)
        SELECT id, environment, 'stripe', id::text, created_at, created_at + interval '60 days', '{}'""",
    "kept_chains": "SELECT id, environment, created_at + interval '60 days'",
    "logs": """(at, environment, level, event, run_id, chain_id, workflow, message)
        SELECT created_at, environment, 'info', 'event completed', id, id, workflow,
               CASE WHEN get_byte(uuid_send(id), 0) = 7 THEN 'order' || get_byte(uuid_send(id), 1) ELSE '' END""",
    "lists": """(id, environment, workflow, total, start_at, state, finished_at)
        SELECT id, environment, workflow, 10, created_at, 'finished', finished_at""",
    "list_chunks": "(list_id, first_index, parameters, expanded_at) SELECT id, 0, '[]', created_at",
    "tokens": """(id, digest, user_id, environment, expires_at, created_by)
        SELECT id, sha256(id::text::bytea), id::text, environment, now() + interval '1 day', 'test'""",
    "operations": """(id, environment, kind, state, filter, total, actor, asked_by, finished_at)
        SELECT id, environment, 'runs.cancel', 'finished', '{}', 0, 'test', 'test', created_at""",
    "files": """(id, environment, name, content_type, expires_at)
        SELECT id, environment, 'a.txt', 'text/plain', created_at + interval '60 days'""",
    "imports": "(id, environment, data_type, source, updated_at) SELECT id, environment, 'order', 'a.csv', created_at",
    "import_lines": "SELECT id, 1, 'bad'",
    "workload": """SELECT environment, date_trunc('hour', now()) - row_number() OVER () * interval '1 hour', workflow,
        id::text, 1, 1""",
    "audit": "(environment, at, actor, action) SELECT environment, created_at, 'test', 'run.cancel'",
    "notice_deliveries": """(environment, kind, channel, target, content, created_at, next_try_at)
        SELECT environment, 'stops', 'email', '{}', '{}', created_at, NULL""",
    "chain_grants": "(chain_id, environment, granted_by) SELECT id, environment, 'test'",
}
FILL_SECONDS: Final = 120
LARGE: Final = frozenset({"runs", "user_runs", *_OF_RUNS})
"""The tables that grow with what has ended."""


async def fill(conn: Connection, size: int) -> None:
    """Fill every table that grows with `size` rows, in place of those that it has, and analyze them."""
    await conn.execute(f"TRUNCATE {', '.join(f'penstock.{table}' for table in LARGE)} CASCADE")
    await conn.execute(_NAMED, size, timeout=FILL_SECONDS)
    for table, values in _OF_RUNS.items():
        await conn.execute(f"INSERT INTO penstock.{table} {values} FROM penstock.runs", timeout=FILL_SECONDS)
    # Autovacuum does so a minute later: until then each search reads the list of words that are not in their index yet.
    await conn.execute("SELECT gin_clean_pending_list('penstock.logs_default_log_words_idx')", timeout=FILL_SECONDS)
    await conn.execute("ANALYZE", timeout=FILL_SECONDS)
