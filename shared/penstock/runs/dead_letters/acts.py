"""SQL: what people do with dead letters: retry, discard and resolve them, each with a note."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from penstock.db import Connection
from penstock.domain.dead_letters import LetterVerb
from penstock.domain.runs import RunSummary
from penstock.runs.cancellations import retry_runs
from penstock.store.audit import Act, AuditAction, note_acts

_ACTIONS: Final = {
    LetterVerb.RETRY: AuditAction.DEAD_LETTER_RETRY,
    LetterVerb.DISCARD: AuditAction.DEAD_LETTER_DISCARD,
    LetterVerb.RESOLVE: AuditAction.DEAD_LETTER_RESOLVE,
}


@dataclass(frozen=True, slots=True)
class LetterAct:
    """What is done, by whom (`actor`, for the audit), by what way (`by`, for the log of each run), and why."""

    verb: LetterVerb
    actor: str
    by: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Handled:
    """The letters with which it was done, and of those that were retried, the runs. A scheduler starts both."""

    ids: list[UUID]
    runs: list[RunSummary] = field(default_factory=list)


async def handle_letters(
    conn: Connection, act: LetterAct, *, environment: str, ids: Sequence[UUID], is_audited: bool = False
) -> Handled:
    """Do it with those of these letters for which it is possible. To be called in a transaction.

    Open ones can be retried, discarded and resolved; discarded and resolved ones can be retried all the same. A message
    can be retried when the queue that it came from is known and the whole of it is kept.
    """
    if act.verb is LetterVerb.RETRY:
        handled = await _retry(conn, act, environment, ids)
    else:
        handled = Handled(await _close(conn, act, environment, ids))
    if is_audited:
        note = {} if act.note is None else {"note": act.note}
        await note_acts(
            conn, [Act(environment, act.actor, _ACTIONS[act.verb], str(id), None, {**note}) for id in handled.ids]
        )
    return handled


async def _retry(conn: Connection, act: LetterAct, environment: str, ids: Sequence[UUID]) -> Handled:
    runs = await retry_runs(conn, environment=environment, run_ids=ids, by=act.by)
    # The runs' triggers have said `retried`; here only by whom and why is added.
    await conn.execute(
        """
        UPDATE penstock.dead_letters d
        SET note = $2, actor = $3,
            history = jsonb_set(d.history, '{-1}', (d.history -> -1)
                || jsonb_strip_nulls(jsonb_build_object('actor', $3::text, 'note', $2::text)))
        WHERE d.id = ANY($1::uuid[]) AND d.kind = 'run'
        """,
        [run.id for run in runs],
        act.note,
        act.actor,
    )
    rows = await conn.fetch(
        """
        UPDATE penstock.dead_letters d
        SET state = 'retried', note = $3, actor = $4, acted_at = clock_timestamp(), publish_at = clock_timestamp(),
            published_at = NULL,
            history = penstock.extend_history(d.history, jsonb_strip_nulls(jsonb_build_object(
                'at', clock_timestamp(), 'state', 'retried', 'actor', $4::text, 'note', $3::text)))
        WHERE d.id = ANY($1::uuid[]) AND d.environment = $2 AND d.kind = 'message' AND d.state <> 'retried'
          AND d.queue IS NOT NULL AND octet_length(d.body) = d.size
        RETURNING d.id
        """,
        ids,
        environment,
        act.note,
        act.actor,
    )
    return Handled([*(run.id for run in runs), *(row["id"] for row in rows)], runs)


async def _close(conn: Connection, act: LetterAct, environment: str, ids: Sequence[UUID]) -> list[UUID]:
    rows = await conn.fetch(
        """
        UPDATE penstock.dead_letters d
        SET state = $3, note = $4, actor = $5, acted_at = clock_timestamp(),
            history = penstock.extend_history(d.history, jsonb_strip_nulls(jsonb_build_object(
                'at', clock_timestamp(), 'state', $3::text, 'actor', $5::text, 'note', $4::text)))
        WHERE d.id = ANY($1::uuid[]) AND d.environment = $2 AND d.state || '' = 'open'
        RETURNING d.id
        """,
        ids,
        environment,
        act.verb.state.value,
        act.note,
        act.actor,
    )
    return [row["id"] for row in rows]
