"""What each service may do in the database: the rights of the roles `penstock_ingress`, `penstock_scheduler` and
`penstock_executor`, table by table.

`migrate` gives them, after every migration and again when there is none, to those of the roles that exist. So they hold
for new tables too, and a role made later (by `penstock provision`) gets them at once. They are replaced as a whole in
one transaction: nobody is without rights in between. What is not listed here is refused to all three.

The previous release runs beside a newer database. So a right may be added at any time, but is taken away only by the
release after the one that stopped using it, like a column.

Everything belongs to the role that migrates, and only that role deploys apps (which makes tables). Partitions are the
exception: schedulers make and drop them, so partitioned tables belong to `penstock_partitions`, and
`penstock_scheduler` is a member of it. Logins are members of these roles (penstock.db.roles); they may come and go.
"""

from collections.abc import Mapping
from typing import Final, Literal, get_args

from penstock.db.pool import Connection

Service = Literal["ingress", "scheduler", "executor"]
SERVICES: Final[tuple[Service, ...]] = get_args(Service)
PARTITIONS_ROLE: Final = "penstock_partitions"
_VERBS: Final = {"S": "SELECT", "I": "INSERT", "U": "UPDATE", "D": "DELETE"}

THINGS: Final[Mapping[Service, str]] = {"ingress": "SIUD", "scheduler": "S", "executor": "SIUD"}
"""On the tables of data types, in the schemas `development` and `live`."""

TABLES: Final[Mapping[str, tuple[str, str, str]]] = {
    # What is deployed and set: only the role that owns the database deploys.
    "deployments": ("S", "S", "S"),
    "environments": ("SU", "SU", "S"),
    "installation": ("S", "S", "S"),
    "secrets": ("S", "S", "S"),
    "tokens": ("SIU", "SUD", "SIU"),
    # Who is logged in to the console: schedulers forget what is over.
    "console_sessions": ("SIUD", "SD", ""),
    # Accounts of users: executors let them sign up and log in, the Data API makes some, schedulers forget what is over.
    "accounts": ("SID", "", "SIUD"),
    "identities": ("SIU", "", ""),
    "account_tokens": ("", "SUD", "SID"),
    "password_tries": ("", "SUD", "SIU"),
    "known_places": ("", "SUD", "SIU"),
    "detected_parameters": ("SIUD", "", ""),
    "workload_weights": ("SID", "S", "S"),
    # Who has steered what: nobody changes or removes it.
    "audit": ("SI", "SI", "I"),
    # Runs, and what belongs to them.
    "runs": ("SIU", "SIUD", "SIU"),
    "steps": ("SIUD", "SIUD", "SIUD"),
    "user_runs": ("S", "SD", ""),  # a trigger writes it with its owner's rights
    "chains": ("SIU", "SIUD", "SIU"),
    "chain_grants": ("SI", "SID", "S"),
    "kept_chains": ("", "SIUD", ""),
    "retention": ("", "SU", ""),
    "lists": ("SIU", "SIUD", "SIU"),
    "list_chunks": ("SIU", "SIU", "SIU"),
    "list_searches": ("SID", "SIUD", "I"),
    "list_line": ("SID", "SID", "SID"),
    "waits": ("SIUD", "SIUD", "SIUD"),
    "signals": ("SIUD", "SIUD", "SIUD"),
    "recurrences": ("SIUD", "SIUD", "SIUD"),
    "recurrence_ticks": ("SIUD", "SIUD", "SIUD"),
    "joins": ("S", "SIUD", "SI"),
    "ends": ("SI", "SIUD", "I"),
    "places": ("SIUD", "SIUD", "SIUD"),
    "turns": ("I", "SIUD", "I"),
    "rate_uses": ("SI", "SIUD", ""),
    "debounces": ("SIU", "SIUD", ""),
    "pauses": ("SIU", "SIUD", "S"),
    "operations": ("SIU", "SIUD", ""),
    "idempotency_keys": ("SIUD", "SIUD", "SIUD"),
    "keyed_runs": ("S", "SD", "SI"),
    "logs": ("SI", "SID", "SI"),
    "logs_default": ("", "S", ""),
    "workload": ("SIU", "SIUD", "SIU"),
    "slow_searches": ("SIUD", "", "SIUD"),
    # What processes report of themselves.
    "replicas": ("SIUD", "SIUD", "SIUD"),
    "run_minutes": ("SIU", "SIUD", "SIU"),
    # Webhooks: executors get what a workflow needs of one with its run.
    "deliveries": ("SIU", "SIUD", "S"),
    "deliveries_default": ("", "S", ""),
    "delivery_keys": ("SID", "SIUD", ""),
    # Files and imports.
    "files": ("SIUD", "SUD", "SIU"),
    "file_chunks": ("SI", "S", "SI"),
    "removed_objects": ("I", "SID", ""),
    "thing_keys": ("SIU", "SD", ""),
    "imports": ("SIU", "SUD", "SIU"),
    "import_lines": ("SID", "S", "SID"),
    # What schedulers are asked by rows: others write it, they alone take it.
    "changes": ("SI", "SIUD", "SI"),
    "run_watches": ("S", "S", "S"),
    "run_ends": ("I", "SIUD", "I"),
    "inbox": ("", "SIUD", ""),
    "notices": ("I", "SIUD", "I"),
    # Of runs, triggers write them with their owner's rights.
    "dead_letters": ("SU", "SIUD", ""),
    "notice_throttles": ("", "SIU", ""),
    "notice_deliveries": ("", "SIUD", ""),
    "notifications": ("", "SI", ""),
}
"""By table of the schema `penstock`: what ingress, scheduler and executor may do. To lock a row (FOR UPDATE, FOR SHARE)
takes the right to update it.
"""


def role_of(service: Service) -> str:
    """The role that holds the rights of a service."""
    return f"penstock_{service}"


async def apply_rights(conn: Connection) -> None:
    """Give each role that exists its rights, no more and no less; does nothing where there are none.

    To be called in a transaction by the role that owns the tables. Tables that are listed but not there yet are left
    out.
    """
    found = await conn.fetch("SELECT rolname FROM pg_roles WHERE starts_with(rolname, 'penstock_')")
    roles = {row["rolname"] for row in found}
    if PARTITIONS_ROLE in roles:
        await _hand_over_partitions(conn)
    for index, service in enumerate(SERVICES):
        if role_of(service) in roles:
            rights = {table: verbs[index] for table, verbs in TABLES.items()}
            await _apply(conn, role_of(service), rights, THINGS[service])


async def _apply(conn: Connection, role: str, rights: Mapping[str, str], on_things: str) -> None:
    statements = await conn.fetch(
        """
        SELECT format('REVOKE ALL ON ALL TABLES IN SCHEMA penstock, development, live FROM %I', $1::text)
        UNION ALL SELECT format('GRANT USAGE ON SCHEMA penstock, development, live TO %I', $1::text)
        UNION ALL SELECT format('GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA penstock TO %I', $1::text)
        UNION ALL SELECT format('GRANT SELECT ON public.penstock_migrations TO %I', $1::text)
        UNION ALL SELECT format('GRANT %s ON penstock.%I TO %I', q.verbs, q.name, $1::text)
            FROM unnest($2::text[], $3::text[]) q (name, verbs) WHERE to_regclass('penstock.' || q.name) IS NOT NULL
        UNION ALL SELECT format('GRANT %s ON ALL TABLES IN SCHEMA development, live TO %I', $4::text, $1::text)
        UNION ALL SELECT format(
            'ALTER DEFAULT PRIVILEGES IN SCHEMA development, live GRANT %s ON TABLES TO %I', $4::text, $1::text)
        """,
        role,
        [table for table, verbs in rights.items() if verbs],
        [_spell(verbs) for verbs in rights.values() if verbs],
        _spell(on_things),
    )
    for (statement,) in statements:
        await conn.execute(statement)


async def _hand_over_partitions(conn: Connection) -> None:
    """Make partitioned tables, and those of their partitions that are ours, belong to the role for partitions.

    Done only where it is not so already: it waits for all who use the table.
    """
    statements = await conn.fetch(
        """
        WITH RECURSIVE partitioned AS (
            SELECT c.oid, c.relname, c.relowner FROM pg_class c
            WHERE c.relkind = 'p' AND c.relnamespace = 'penstock'::regnamespace
            UNION ALL
            SELECT c.oid, c.relname, c.relowner FROM partitioned p
            JOIN pg_inherits i ON i.inhparent = p.oid JOIN pg_class c ON c.oid = i.inhrelid
        )
        SELECT format('GRANT USAGE, CREATE ON SCHEMA penstock TO %I', $1::text)
        WHERE NOT has_schema_privilege($1::text, 'penstock', 'CREATE')
        UNION ALL
        SELECT DISTINCT format('ALTER TABLE penstock.%I OWNER TO %I', relname, $1::text) FROM partitioned
        WHERE relowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)
        """,
        PARTITIONS_ROLE,
    )
    for (statement,) in statements:
        await conn.execute(statement)


def _spell(verbs: str) -> str:
    return ", ".join(_VERBS[verb] for verb in verbs)
