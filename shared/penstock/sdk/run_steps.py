"""Steps that start other runs, and steps about the run itself."""

from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Literal, NoReturn, Unpack

from pydantic import JsonValue

from penstock.definitions.models import StepAction
from penstock.errors import Permanent
from penstock.expressions.language import describe_type
from penstock.sdk.arguments import checked
from penstock.sdk.data_steps import Where
from penstock.sdk.engine import StepOptions
from penstock.sdk.steps import Items, Steps, to_nothing, to_number
from penstock.sdk.triggers import Duration, to_seconds
from penstock.sdk.values import Thing, to_json, to_object


class RunSteps(Steps):
    """`schedule`, `schedule_list`, `trigger`, `log`, … as they are in YAML. Workflows are named by their names, also
    those in Python.
    """

    @checked
    def schedule(
        self,
        workflow: str,
        parameters: Mapping[str, object] | None = None,
        *,
        at: datetime | None = None,
        after: Duration | None = None,
        priority: int | None = None,
        key: str | None = None,
        **options: Unpack[StepOptions],
    ) -> Coroutine[object, object, str]:
        """A run of `workflow`, one deeper than this one, now or at a time; its id. With a `key`, what was asked for
        twice is one run.
        """
        arguments = {
            **_when(workflow, at, after),
            "with": to_object(parameters, f"schedule {workflow}"),
            "priority": priority,
            "key": key,
        }
        return self._ask(StepAction.SCHEDULE, workflow, arguments, str, options)

    @checked
    def schedule_list(
        self,
        workflow: str,
        over: Sequence[object],
        parameters: Items | None = None,
        *,
        at: datetime | None = None,
        after: Duration | None = None,
        interval: Duration | None = None,
        sequential: bool = False,
        then: str | None = None,
        then_with: Mapping[str, object] | None = None,
        **options: Unpack[StepOptions],
    ) -> Coroutine[object, object, str]:
        """A run of `workflow` for each item, all one deeper than this one; the list's id.

        An item is the mapping of its run's parameters, unless `parameters` makes one of (item, index). When all have
        ended, `then` starts, with the parameters `then_with`: a value that is "${list.failed}", or another of the
        counts, becomes that number.
        """
        arguments = {
            **_when(workflow, at, after),
            **_pace(interval, sequential),
            **_following(then, then_with),
            "over": to_json(over, f"schedule_list {workflow}"),
        }
        items = parameters or (lambda item, _: item if isinstance(item, dict) else {})
        return self._ask(StepAction.SCHEDULE_LIST, workflow, arguments, str, options, items)

    @checked
    def schedule_for_each(
        self,
        workflow: str,
        type: str,
        where: Where | None,
        parameters: Items,
        *,
        sort: str | None = None,
        at: datetime | None = None,
        after: Duration | None = None,
        interval: Duration | None = None,
        sequential: bool = False,
        then: str | None = None,
        then_with: Mapping[str, object] | None = None,
        **options: Unpack[StepOptions],
    ) -> Coroutine[object, object, str]:
        """The same for each thing of a type that meets `where`; `parameters` makes a run's of (thing, index)."""
        over = to_json({"find": type, "where": where, "sort": sort}, f"schedule_for_each {workflow}")
        arguments = {**_when(workflow, at, after), **_pace(interval, sequential), "over": over}
        arguments |= _following(then, then_with)
        return self._ask(StepAction.SCHEDULE_LIST, workflow, arguments, str, options, parameters)

    @checked
    def recur(
        self,
        workflow: str,
        parameters: Mapping[str, object] | None = None,
        *,
        cron: str | None = None,
        every: Literal["daily", "weekly", "monthly", "quarterly", "yearly"] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        times: int | None = None,
        overlap: Literal["skip", "allow", "queue", "cancel_other"] | None = None,
        pause_after_failures: int | None = None,
        timezone: str | None = None,
        for_: str | Thing | None = None,
        **options: Unpack[StepOptions],
    ) -> Coroutine[object, object, str]:
        """Runs of `workflow` again and again, by `cron` or by a period, for a thing or for none; the recurrence's id.

        No tick is after `end`, and there are at most `times` ticks; runs may overlap unless `overlap` says otherwise.
        Set again for the same workflow and thing, it replaces what was set before.
        """
        what = f"recur {workflow}"
        arguments: dict[str, JsonValue] = {
            "with": to_object(parameters, what), "cron": cron, "every": every, "start": to_json(start, what),
            "end": to_json(end, what), "times": times, "overlap": overlap, "timezone": timezone,
            "pause_after_failures": pause_after_failures, "for": _id(for_),
        }  # fmt: skip
        return self._ask(StepAction.RECUR, workflow, arguments, str, options)

    @checked
    def stop_recurring(
        self, workflow: str, *, for_: str | Thing | None = None, **options: Unpack[StepOptions]
    ) -> Coroutine[object, object, None]:
        """End what `recur` began for that workflow and thing; runs that it has started continue."""
        return self._ask(StepAction.STOP_RECURRING, workflow, {"for": _id(for_)}, to_nothing, options)

    @checked
    def wait(self, duration: Duration, **options: Unpack[StepOptions]) -> Coroutine[object, object, None]:
        """Continue after that time. The run gives up its place meanwhile: this code ends here, and begins again with
        its steps recalled.
        """
        return self._ask(StepAction.WAIT, to_seconds(duration), {}, to_nothing, options)

    @checked
    def wait_until(self, moment: datetime, **options: Unpack[StepOptions]) -> Coroutine[object, object, None]:
        """The same until a time, which has to be the same in each attempt: keep one that is computed in a step."""
        return self._ask(StepAction.WAIT_UNTIL, to_json(moment, "wait_until"), {}, to_nothing, options)

    @checked
    def wait_for(
        self, name: str, match: Mapping[str, object] | None = None, *, link: bool = False,
        schema: Mapping[str, object] | None = None, **options: Unpack[StepOptions],
    ) -> Coroutine[object, object, JsonValue]:  # fmt: skip
        """Continue when a signal of that name comes whose payload has the values of `match`; its payload, None after
        `timeout`. With `link` somebody may answer by the link that `link_of(step_id)` gives, with a form of the fields
        in `schema`: `{name: type}`.
        """
        arguments: dict[str, JsonValue] = {"match": None if match is None else to_object(match, f"wait_for {name}")}
        if link:
            arguments |= {"link": True, "schema": None if schema is None else to_object(schema, f"wait_for {name}")}
        return self._ask(StepAction.WAIT_FOR, name, arguments, lambda result: result, options)

    @checked
    def wait_for_runs(
        self, runs: str | Sequence[str], **options: Unpack[StepOptions]
    ) -> Coroutine[object, object, dict[str, JsonValue] | None]:
        """Continue when these runs, or all of a list, have ended: `{"total", "succeeded", "failed", "cancelled",
        "terminated", "skipped", "results"}`, with the results of at most a thousand; None after `timeout`. The run
        gives up its place meanwhile.
        """
        target = to_json(runs, "wait_for_runs")
        return self._ask(
            StepAction.WAIT_FOR_RUNS, target, {}, lambda result: result if isinstance(result, dict) else None, options
        )

    @checked
    def cancel(
        self, run_ids: str | Sequence[str] | None = None, *, workflow: str | None = None, key: str | None = None,
        **options: Unpack[StepOptions],
    ) -> Coroutine[object, object, int]:  # fmt: skip
        """End runs that have not ended by themselves; how many there were. Either by their ids, or `workflow` and
        `key`: what was scheduled under that key, by any run. Raises TypeError for anything else.
        """
        is_keyed = workflow is not None and key is not None
        if is_keyed == (run_ids is not None) or (workflow is None) != (key is None):
            raise TypeError("cancel takes the ids of runs, or workflow= and key=")
        target: JsonValue = {"workflow": workflow, "key": key} if is_keyed else to_json(run_ids, "cancel")
        return self._ask(StepAction.CANCEL, target, {}, to_number, options)

    @checked
    def stop_chain(
        self, chain_id: str, *, reason: str | None = None, **options: Unpack[StepOptions]
    ) -> Coroutine[object, object, None]:
        """Stop a chain, named by its id or that of any of its runs: nothing of it starts from now on, and what has not
        ended is cancelled.
        """
        return self._ask(StepAction.STOP_CHAIN, chain_id, {"reason": reason}, to_nothing, options)

    @checked
    def trigger(
        self, workflow: str, parameters: Mapping[str, object] | None = None, **options: Unpack[StepOptions]
    ) -> Coroutine[object, object, dict[str, JsonValue] | None]:
        """Perform `workflow` inside this run, which adds no depth; what it returned."""
        arguments: dict[str, JsonValue] = {"with": to_object(parameters, f"trigger {workflow}")}
        return self._ask(
            StepAction.TRIGGER,
            workflow,
            arguments,
            lambda result: result if isinstance(result, dict) else None,
            options,
        )

    @checked
    def return_(
        self,
        values: Mapping[str, object] | None = None,
        *,
        text: str | None = None,
        content_type: str | None = None,
        redirect: str | None = None,
        **options: Unpack[StepOptions],
    ) -> Coroutine[object, object, None]:
        """Answer the caller now and continue, in a workflow with `api(respond="on_return")`; else this joins what the
        function returns.

        Instead of an object, the answer may be a `text` of a `content_type`, or a `redirect`.
        """
        arguments: dict[str, JsonValue] = {"text": text, "content_type": content_type, "redirect": redirect}
        return self._ask(StepAction.RETURN, to_object(values, "return_"), arguments, to_nothing, options)

    @checked
    def state(self, values: Mapping[str, object], **options: Unpack[StepOptions]) -> Coroutine[object, object, None]:
        """Note values in the record of the run, for people who look at it."""
        return self._ask(StepAction.STATE, to_object(values, "state"), {}, to_nothing, options)

    @checked
    def log(self, text: object, **options: Unpack[StepOptions]) -> Coroutine[object, object, None]:
        """A line in the run's log, once however often the run is tried; `ctx.logger` writes one each time."""
        return self._ask(StepAction.LOG, to_json(text, "log"), {}, to_nothing, options)

    async def fail(self, message: str) -> NoReturn:
        """Fail the run for good, in these words. The same as `raise Permanent(message)`."""
        _require_text("fail", message)
        await self._ask(StepAction.FAIL, message, {}, to_nothing, StepOptions())
        raise AssertionError("the step has failed")

    async def stop(self, reason: str) -> NoReturn:
        """End the workflow here, as having succeeded."""
        _require_text("stop", reason)
        await self._ask(StepAction.STOP, reason, {}, to_nothing, StepOptions())
        raise AssertionError("the workflow has ended")


def _require_text(method: str, value: object) -> None:
    if not isinstance(value, str):
        kind = describe_type(to_json(value, method))
        raise Permanent(
            f"ctx.{method}: a text is needed, and this is {kind}; write ctx.{method}(str(…))", kind="arguments"
        )


def _id(thing: str | Thing | None) -> str | None:
    return thing.id if isinstance(thing, Thing) else thing


def _when(workflow: str, at: datetime | None, after: Duration | None) -> dict[str, JsonValue]:
    return {"at": to_json(at, f"schedule {workflow}"), "after": None if after is None else to_seconds(after)}


def _following(then: str | None, then_with: Mapping[str, object] | None) -> dict[str, JsonValue]:
    return {"then": then, "then_with": to_object(then_with, f"then {then}")}


def _pace(interval: Duration | None, sequential: bool) -> dict[str, JsonValue]:
    return {"interval": None if interval is None else to_seconds(interval), "sequential": sequential}
