"""Plans for steps that code asks for: like those of YAML steps, but with nothing left to evaluate."""

from collections.abc import Callable, Mapping

from pydantic import JsonValue

from penstock.definitions.connectors import connector_arguments
from penstock.definitions.models import App, RetryPolicy, Step, StepAction
from penstock.errors import Permanent
from penstock.expressions import compile_template
from penstock.expressions.templates import Template
from penstock.redaction import describe
from penstock.sdk.engine import StepCall, StepOptions
from penstock.sdk.triggers import to_seconds
from penstock_executor.actions import SPECS
from penstock_executor.steps.specs import StepPlan

Items = Callable[[JsonValue, int], Mapping[str, JsonValue]]


def plan_step(app: App, call: StepCall, id: str, place: str) -> StepPlan:
    """The plan. Raises Permanent for a connector that does not exist.

    Its effect is committed before the code continues: where an error is raised is where it can be caught.
    """
    connector = _find_connector(app, call) if call.action is StepAction.CALL else None
    definition = Step.model_construct(
        id=id,
        action=call.action,
        target=call.target,
        arguments=call.arguments,
        timeout_seconds=read_timeout(call.options),
        retry=read_retries(call.options),
        place=place,
    )
    return StepPlan(
        spec=SPECS[call.action],
        definition=definition,
        when=None,
        target=Template(call.target, None, ()),
        arguments=Template(call.arguments, None, ())
        if connector is None
        else _with_connector(call.arguments, connector),
        items=None if call.items is None else _each(call.items),
        uses_now=False,
        is_deferrable=False,
        is_code=True,
        secrets=(frozenset(), frozenset() if connector is None else connector.secrets),
    )


def _find_connector(app: App, call: StepCall) -> Template:
    """What a `call` is made with."""
    known = app.connectors.get(str(call.target))
    if known is None:
        raise Permanent(f"there is no connector {call.target!r} in app.yaml", kind="arguments")
    return compile_template(connector_arguments(known), known.place)


def read_timeout(options: StepOptions) -> float | None:
    """The step's own timeout in seconds."""
    timeout = options.get("timeout")
    return None if timeout is None else to_seconds(timeout)


def read_retries(options: StepOptions) -> RetryPolicy | None:
    """How often the step is tried within an attempt."""
    retries = options.get("retries")
    return RetryPolicy(attempts=retries) if isinstance(retries, int) else retries


def _each(items: Items) -> Template:
    def render(scope: Mapping[str, JsonValue]) -> JsonValue:
        index = scope["index"]
        try:
            return dict(items(scope["item"], index if isinstance(index, int) else 0))
        except Exception as error:  # of the author's
            raise Permanent(f"{type(error).__name__}: {describe(error)}", kind="exception") from error

    return Template(None, render, ())


def _with_connector(arguments: dict[str, JsonValue], connector: Template) -> Template:
    return Template(None, lambda scope: {**arguments, "connector": connector.evaluate(scope)}, ())
