"""Retrying failed runs with what was mended: from another step, with the current definition, with other parameters.

A retry continues from the step that failed, with the definition that the run began with. This is what is changed before
it: the steps from `from` on are forgotten, with all that is nested in them, and the definition's version and parameters
are replaced. Depth, chain, budget and the keys of flow control stay as they were. The ids of runs that a step
schedules, and the keys of its calls, derive from the run and the step; so a step that is performed again schedules no
second run, and a call of it carries the key that it had.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from penstock.db import Connection, Record
from penstock.definitions.mending import Mending
from penstock.definitions.models import App, DataType, Workflow
from penstock.definitions.parameters import ParameterProblem, ValueSource, bind_parameters
from penstock.domain.runs import Rejected, RunSummary
from penstock.domain.states import RunState, Trigger
from penstock.encryption import Keyring
from penstock.runs.cancellations import NotRetried, Retry, retry_run
from penstock.runs.requests import NOT_CALLED, describe_unknown_workflow_among
from penstock.runs.sealing import seal_passwords
from penstock.store.deployments import load_current, load_version

_MAX_LISTED: Final = 50


async def mend_run(
    conn: Connection, *, environment: str, run_id: UUID, mending: Mending, asked: Retry, keyring: Keyring | None = None
) -> RunSummary | NotRetried | Rejected | None:
    """Retry a failed run with what was mended; None when the environment has no such run. To be called in a
    transaction. Without a `keyring` passwords are refused.
    """
    if not mending.is_empty:
        row = await _lock(conn, environment, run_id)
        if row is None:
            return None
        if row["state"] != RunState.FAILED:
            return NotRetried(RunState(row["state"]))
        rejected = await _change(conn, environment, row, mending, keyring)
        if rejected is not None:
            return rejected
    asked = replace(asked, how=_describe(mending))
    return await retry_run(conn, environment=environment, run_id=run_id, asked=asked)


async def check_mending(
    conn: Connection, *, environment: str, workflow: str | None, mending: Mending
) -> Mending | Rejected:
    """The same with its values as they are stored, for runs of a workflow; or why this is not possible with any of
    them. Parameters, and the name of a step, are those of one workflow.
    """
    if workflow is None:
        if mending.step is None and not mending.parameters:
            return mending
        name = "from" if mending.step is not None else "parameters"
        return Rejected("missing_workflow", f"{name}: name the workflow too, since others have other ones")
    app = (await load_current(conn, environment=environment) or (0, App(name="")))[1]
    found = _find(workflow, environment, app)
    if isinstance(found, Rejected):
        return found
    if mending.version == "current" and found.python is None and mending.step is not None:
        kept = _find_kept(mending.step, [one.id for one in found.steps])
        if isinstance(kept, Rejected):
            return kept
    if not mending.parameters:
        return mending
    try:
        values = _bind_given(found, mending, app.types)
    except ParameterProblem as problem:
        return Rejected("invalid_parameter", f"parameters: {problem}", problem.parameter)
    if sealed := sorted(found.passwords & values.keys()):
        message = f"parameters: {sealed[0]} is a password, which is kept for one run alone; retry it by its id"
        return Rejected("unsealed_password", message, sealed[0])
    return replace(mending, parameters=values, source=ValueSource.JSON)


async def _lock(conn: Connection, environment: str, run_id: UUID) -> Record | None:
    return await conn.fetchrow(
        """
        SELECT r.id, r.environment, r.state, r.workflow, r.version, r.trigger, r.parameters FROM penstock.runs r
        WHERE r.id = $1 AND r.environment = $2
        FOR UPDATE
        """,
        run_id,
        environment,
    )


async def _change(
    conn: Connection, environment: str, row: Record, mending: Mending, keyring: Keyring | None
) -> Rejected | None:
    """Change the row of a failed run, and forget steps of it; or why that is not possible: then nothing is changed."""
    version: int | None = row["version"]
    if mending.version == "current" or version is None:
        version, app = await load_current(conn, environment=environment) or (0, App(name=""))
    else:
        app = await load_version(conn, environment=environment, version=version)
    definition = _find(row["workflow"], environment, app)
    if isinstance(definition, Rejected):
        return definition
    kept = await _choose_kept(conn, definition, row["id"], mending.step)
    if isinstance(kept, Rejected):
        return kept
    try:
        parameters = _bind(definition, app, row, mending, keyring)
    except ParameterProblem as problem:
        return Rejected("invalid_parameter", f"parameters: {problem}", problem.parameter)
    if mending.step is not None:
        await _forget_steps(conn, row["id"], kept)
    await _replace(conn, row["id"], version, parameters)
    return None


async def _replace(conn: Connection, run_id: UUID, version: int | None, parameters: dict[str, JsonValue]) -> None:
    await conn.execute(
        """
        UPDATE penstock.runs r
        SET version = $2, parameters = $3,
            mended_at = CASE WHEN r.version IS DISTINCT FROM $2 OR r.parameters IS DISTINCT FROM $3
                             THEN clock_timestamp() ELSE r.mended_at END
        WHERE r.id = $1
        """,
        run_id,
        version,
        parameters,
    )


async def _choose_kept(conn: Connection, definition: Workflow, run_id: UUID, step: str | None) -> list[str] | Rejected:
    is_code = definition.python is not None
    if step is None:
        return []
    kept = _find_kept(step, await _remembered(conn, run_id) if is_code else [one.id for one in definition.steps])
    if isinstance(kept, Rejected):
        return kept
    failed = await _find_failed(conn, run_id, kept)
    if failed is None:
        return kept
    message = f"from: the run failed at {failed!r}, which comes before {step!r}; name {failed!r} or a step before it"
    return Rejected("unreached_step", message, "from")


def _find(workflow: str, environment: str, app: App) -> Workflow | Rejected:
    found = app.workflows.get(workflow)
    if found is None:
        return Rejected("unknown_workflow", describe_unknown_workflow_among(workflow, environment, app.workflows))
    return found


def _find_kept(step: str, names: Sequence[str]) -> list[str] | Rejected:
    """The steps before this one; or what steps there are, when it is none of them."""
    if step not in names:
        near = get_close_matches(step, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        listed = ", ".join(names[:_MAX_LISTED]) or "none"
        return Rejected("unknown_step", f"from: there is no step {step[:100]!r}{hint}; there are {listed}", "from")
    return list(names[: names.index(step)])


async def _remembered(conn: Connection, run_id: UUID) -> list[str]:
    """The steps of a run that code performs, in the order in which they began; those nested in others left out."""
    rows = await conn.fetch(
        """
        SELECT s.step FROM penstock.steps s
        WHERE s.run_id = $1 AND s.action <> 'retry' AND strpos(s.step, '/') = 0
        ORDER BY s.started_at, s.step
        """,
        run_id,
    )
    return [row["step"] for row in rows]


async def _find_failed(conn: Connection, run_id: UUID, names: Sequence[str]) -> str | None:
    """That of these steps at which the run failed, itself or inside. One that was passed over (`on_error: continue`)
    has a result.
    """
    failed: str | None = await conn.fetchval(
        """
        SELECT t.step FROM penstock.steps s
        CROSS JOIN LATERAL (SELECT split_part(split_part(s.step, '/', 1), '[', 1) AS step) t
        WHERE s.run_id = $1 AND t.step = ANY($2::text[]) AND s.outcome = 'failed' AND s.result IS NULL
          AND NOT EXISTS (
              SELECT FROM penstock.steps o
              WHERE o.run_id = $1 AND o.step = t.step AND (o.outcome <> 'failed' OR o.result IS NOT NULL))
        LIMIT 1
        """,
        run_id,
        names,
    )
    return failed


async def _forget_steps(conn: Connection, run_id: UUID, kept: Iterable[str]) -> None:
    """Forget all steps but these, with what is nested in them: `a/b` and `a[0]/b` belong to `a`."""
    await conn.execute(
        """
        DELETE FROM penstock.steps s
        WHERE s.run_id = $1 AND NOT (split_part(split_part(s.step, '/', 1), '[', 1) = ANY($2::text[]))
        """,
        run_id,
        list(kept),
    )


def _bind(
    definition: Workflow, app: App, row: Record, mending: Mending, keyring: Keyring | None
) -> dict[str, JsonValue]:
    """The run's parameters by this definition. What the current one does not declare any more is left out. Raises
    ParameterProblem.
    """
    if mending.version == "pinned" and not mending.parameters:
        return dict(row["parameters"])
    declared = {parameter.name for parameter in definition.parameters}
    stored: dict[str, JsonValue] = {name: value for name, value in row["parameters"].items() if name in declared}
    given = _bind_given(definition, mending, app.types)
    bound = bind_parameters(
        definition,
        {**stored, **given},
        source=ValueSource.JSON,
        unknown="reject",
        types=app.types,
        is_complete=Trigger(row["trigger"]) not in NOT_CALLED,
    )
    fresh = seal_passwords(definition, given, str(row["environment"]), row["id"], keyring)
    # A password that the run has is sealed already.
    kept = {name: stored[name] for name in definition.passwords & stored.keys() if name not in given}
    return {**bound, **kept, **{name: fresh[name] for name in definition.passwords & given.keys()}}


def _bind_given(definition: Workflow, mending: Mending, types: Mapping[str, DataType]) -> dict[str, JsonValue]:
    """The values that were given, as they are stored. Raises ParameterProblem, also for one that is not declared."""
    given = mending.parameters or {}
    wanted = tuple(parameter for parameter in definition.parameters if parameter.name in given)
    if len(wanted) < len(given):
        return bind_parameters(definition, given, source=mending.source, unknown="reject", types=types)
    part = definition.model_copy(update={"parameters": wanted})
    return bind_parameters(part, given, source=mending.source, unknown="reject", types=types)


def _describe(mending: Mending) -> str:
    parts = [f"from step {mending.step}" if mending.step else "from the failed step"]
    if mending.version == "current":
        parts.append("by the current definition")
    if mending.parameters:
        parts.append(f"with other values of {', '.join(sorted(mending.parameters))}")
    return " ".join(parts)
