"""Places of runs under the limits of their workflow: flow control from admission to the last turn.

*A place* is a row for a run and a rule (`concurrency:0`, `rate:0`, `sequence`) of its workflow, made with the run. Its
scope is a hash of environment, workflow, rule and key; all places of a scope share the rule's limit.

*Entering.* A run whose places are all free when it is admitted takes them and is queued at once
(`penstock.runs.gates`).

*Waiting.* A run that is due and has not got all its places is `scheduled` and parked, and its places have
`waits_since`. It gets there at admission, or because a trigger of the database (`penstock.pass_gate`) turns whatever
queues a run without places into that, be it a dispatch, the end of a wait, a retry, or a resume.

*Turns.* Whoever arrives or leaves adds a row to `penstock.turns`; a scheduler takes these rows, counts what is taken in
their scopes, and queues the first of those that wait, all in one transaction and under a lock of the workflow, so that
no limit is exceeded. The rows of a scheduler that dies come back with its transaction. Once in a while all scopes in
which somebody waits are looked at again.

*Leaving.* The same trigger gives places back in the transaction in which the run stops being `queued` or `running`. A
place is the run's, not the executor's: it stays taken while the run of a dead executor is taken up again, so nobody
else gets it meanwhile. A run that waits in a step, or for a retry, gives its place under `concurrency` back; in a
sequence it keeps its place until it has ended. Failed and terminated runs stay in their line for those behind them,
unless the workflow says `skip`.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple
from uuid import UUID

from pydantic import JsonValue

from penstock import exact_json
from penstock.db import Connection
from penstock.definitions.flow import KEY_NAMES, Debounce, Rate, Rule
from penstock.definitions.models import Workflow
from penstock.domain.ids import digest_id
from penstock.expressions import Expression, ExpressionError, compile_expression
from penstock.storable import storable_text

_NO_NAMES: Final[Mapping[str, JsonValue]] = dict.fromkeys(KEY_NAMES)
MAX_KEY: Final = 200
"""Characters of a key that are shown; its scope is made of all of it."""


class Place(NamedTuple):
    """A place that a run needs. `rule` names the rule of its workflow."""

    rule: str
    scope: UUID
    key: str


class Quiet(NamedTuple):
    """That a run is to be the last of its scope, as `penstock.definitions.flow.Debounce` says."""

    scope: UUID
    quiet: timedelta
    max: timedelta | None


class Control(NamedTuple):
    """What the flow control of its workflow means for one run. `rules` are those of its places, by name."""

    places: tuple[Place, ...] = ()
    quiet: Quiet | None = None
    rules: Mapping[str, Rule] = MappingProxyType({})


def find_control(
    definition: Workflow, environment: str, parameters: Mapping[str, JsonValue], context: Mapping[str, JsonValue] | None
) -> Control | None:
    """The places that a run with these parameters needs; None when nothing limits its workflow. A key that cannot be
    evaluated counts as its error, so that the limit holds for all runs in which it cannot.
    """
    flow = definition.flow
    if flow is None:
        return None
    scope = {**_NO_NAMES, **(context or {}), "params": dict(parameters)}
    places = []
    for rule, limit in flow.rules.items():
        key = _evaluate(limit.key, definition.place, scope)
        places.append(Place(rule, scope_of(environment, definition.name, rule, key), key[:MAX_KEY]))
    quiet = None if flow.debounce is None else _quiet(flow.debounce, environment, definition, scope)
    return Control(tuple(places), quiet, flow.rules)


def scope_of(environment: str, workflow: str, rule: str, key: str) -> UUID:
    """The scope of a key under a rule of a workflow."""
    text = f"{environment}\x00{workflow}\x00{rule}\x00{key}"
    return digest_id(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest())


def _quiet(rule: Debounce, environment: str, definition: Workflow, scope: Mapping[str, JsonValue]) -> Quiet:
    key = _evaluate(rule.key, definition.place, scope)
    longest = None if rule.max_seconds is None else timedelta(seconds=rule.max_seconds)
    return Quiet(
        scope_of(environment, definition.name, "debounce", key), timedelta(seconds=rule.quiet_seconds), longest
    )


def _evaluate(key: str | None, place: str, scope: Mapping[str, JsonValue]) -> str:
    """A key as text: that of a text is the text itself, that of anything else is its JSON."""
    if key is None:
        return ""
    try:
        value = _compile(key, place).evaluate(scope)
    except ExpressionError as error:
        return f"an error: {error}"
    return value if isinstance(value, str) else exact_json.dumps(value).decode()


@lru_cache(maxsize=1000)
def _compile(key: str, place: str) -> Expression:
    return compile_expression(key, place)


class Limited(NamedTuple):
    """A run that is admitted, and that something limits. `scheduled_at` None: it is due now."""

    run_id: UUID
    environment: str
    workflow: str
    priority: int
    control: Control
    scheduled_at: datetime | None = None


async def lock_lines(conn: Connection, runs: Sequence[Limited]) -> None:
    """Have those who are admitted to a line later get later positions than what was committed before."""
    lines = {(run.environment, run.workflow) for run in runs if "sequence" in run.control.rules}
    for environment, workflow in sorted(lines):
        await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('line/' || $1 || '/' || $2, 0))",
                           environment, workflow)  # fmt: skip


async def enter_places(conn: Connection, runs: Sequence[Limited], *, full: Collection[UUID] = ()) -> None:
    """Give runs that this transaction has admitted their places, in this order. Those that are queued have taken them;
    others that are due wait from now on, and get a turn, unless their scope is `full`.
    """
    rows = [(run, place) for run in runs for place in run.control.places]
    if not rows:
        return
    await lock_lines(conn, runs)
    await conn.execute(
        """
        WITH entered AS (
            INSERT INTO penstock.places (
                run_id, rule, environment, workflow, scope, key, priority, waits_since, taken_at, is_done
            )
            SELECT q.run_id, q.rule, q.environment, q.workflow, q.scope, q.key, q.priority, r.parked_at,
                   CASE r.state WHEN 'queued' THEN clock_timestamp() END, r.state = 'terminated'
            FROM unnest((SELECT $1::uuid[]), (SELECT $2::text[]), (SELECT $3::text[]), (SELECT $4::text[]),
                        (SELECT $5::uuid[]), (SELECT $6::text[]), (SELECT $7::smallint[]))
                 WITH ORDINALITY AS q (run_id, rule, environment, workflow, scope, key, priority, ordinality)
            CROSS JOIN LATERAL (SELECT r.parked_at, r.state FROM penstock.runs r WHERE r.id = q.run_id OFFSET 0) r
            ORDER BY q.ordinality
            RETURNING environment, workflow, rule, scope, waits_since
        )
        INSERT INTO penstock.turns (environment, workflow, rule, scope)
        SELECT DISTINCT e.environment, e.workflow, e.rule, e.scope FROM entered e
        WHERE e.waits_since IS NOT NULL
          AND NOT EXISTS (SELECT FROM unnest((SELECT $8::uuid[])) AS f (scope) WHERE f.scope = e.scope)
        """,
        [run.run_id for run, _ in rows],
        [place.rule for _, place in rows],
        [run.environment for run, _ in rows],
        [run.workflow for run, _ in rows],
        [place.scope for _, place in rows],
        [storable_text(place.key) for _, place in rows],
        [run.priority for run, _ in rows],
        list(full),
    )


async def note_starts(conn: Connection, runs: Sequence[Limited]) -> None:
    """Count the starts of runs that this transaction has queued under the rates that they have."""
    rates = [
        (place.scope, timedelta(seconds=rule.per_seconds))
        for run in runs
        for place in run.control.places
        if isinstance(rule := run.control.rules[place.rule], Rate)
    ]
    if rates:
        await conn.execute(
            """
            INSERT INTO penstock.rate_uses (scope, until)
            SELECT q.scope, clock_timestamp() + q.per FROM unnest($1::uuid[], $2::interval[]) AS q (scope, per)
            """,
            [scope for scope, _ in rates],
            [per for _, per in rates],
        )


async def replace_quiet(conn: Connection, runs: Sequence[Limited]) -> None:
    """Let runs that this transaction has admitted replace those of their scope that have not started: these are
    skipped. The last of them starts no later than its rule says.
    """
    last: dict[UUID, tuple[Limited, Quiet]] = {}
    replaced: list[tuple[UUID, UUID]] = []
    for run in runs:
        quiet = run.control.quiet
        if quiet is not None:
            if quiet.scope in last:
                replaced.append((last[quiet.scope][0].run_id, run.run_id))
            last[quiet.scope] = run, quiet
    if not last:
        return
    ordered = [last[scope] for scope in sorted(last, key=lambda scope: scope.bytes)]
    for scope in (quiet.scope for _, quiet in ordered):
        await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('quiet/' || $1, 0))", str(scope))
    rows = await conn.fetch(
        """
        WITH before AS MATERIALIZED (
            SELECT d.scope, d.run_id, r.state = 'scheduled' AND r.attempt = 0 AND r.parked_at IS NULL AS is_pending
            FROM penstock.debounces d
            LEFT JOIN penstock.runs r ON r.id = d.run_id
            WHERE d.scope = ANY($1::uuid[])
        ), kept AS (
            INSERT INTO penstock.debounces AS d (scope, run_id, first_at)
            SELECT q.scope, q.run_id, clock_timestamp() FROM unnest($1::uuid[], $2::uuid[]) AS q (scope, run_id)
            ORDER BY q.scope
            ON CONFLICT (scope) DO UPDATE
                SET run_id = EXCLUDED.run_id,
                    first_at = CASE WHEN (SELECT b.is_pending FROM before b WHERE b.scope = d.scope)
                                    THEN d.first_at ELSE EXCLUDED.first_at END
            RETURNING d.scope, d.run_id, d.first_at
        ), moved AS (
            UPDATE penstock.runs r SET scheduled_at = least(r.scheduled_at, k.first_at + q.max)
            FROM kept k JOIN unnest($1::uuid[], $3::interval[]) AS q (scope, max) ON q.scope = k.scope
            WHERE r.id = k.run_id AND r.state = 'scheduled' AND q.max IS NOT NULL
        )
        SELECT b.run_id, k.run_id AS by_id FROM before b JOIN kept k ON k.scope = b.scope WHERE b.is_pending
        """,
        [quiet.scope for _, quiet in ordered],
        [run.run_id for run, _ in ordered],
        [quiet.max for _, quiet in ordered],
    )
    await _skip_replaced(conn, [*replaced, *((row["run_id"], row["by_id"]) for row in rows)])


async def _skip_replaced(conn: Connection, replaced: Sequence[tuple[UUID, UUID]]) -> None:
    if replaced:
        await conn.execute(
            """
            UPDATE penstock.runs r
            SET state = 'skipped', finished_at = clock_timestamp(),
                error = jsonb_build_object('kind', 'debounced', 'message',
                    'a later run of the same key has replaced this one (debounce): ' || q.by_id)
            FROM unnest($1::uuid[], $2::uuid[]) AS q (id, by_id)
            WHERE r.id = q.id AND r.state = 'scheduled'
            """,
            [run_id for run_id, _ in replaced],
            [by_id for _, by_id in replaced],
        )
