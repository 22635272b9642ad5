"""Steps that code asks for, as plans: like those of a YAML workflow, except that nothing in them is left to be
evaluated.
"""

from collections.abc import Callable, Mapping

from pydantic import JsonValue

from penstock.definitions.models import RetryPolicy, Step
from penstock.errors import Permanent
from penstock.expressions.templates import Template
from penstock.sdk.engine import Asked, StepOptions
from penstock.sdk.triggers import to_seconds
from penstock_executor.actions import SPECS
from penstock_executor.steps.specs import StepPlan

Items = Callable[[JsonValue, int], Mapping[str, JsonValue]]


def plan_asked(asked: Asked, id: str, place: str, connector: Template | None) -> StepPlan:
    """The plan; `connector` is what a `call` is made with.

    Its effect is committed before the code goes on: where an error is raised is where it can be caught.
    """
    definition = Step.model_construct(
        id=id,
        action=asked.action,
        target=asked.target,
        arguments=asked.arguments,
        timeout_seconds=read_timeout(asked.options),
        retry=read_retries(asked.options),
        place=place,
    )
    return StepPlan(
        spec=SPECS[asked.action],
        definition=definition,
        when=None,
        target=Template(asked.target, None, ()),
        arguments=Template(asked.arguments, None, ())
        if connector is None
        else _with_connector(asked.arguments, connector),
        items=None if asked.items is None else _each(asked.items),
        uses_now=False,
        is_deferrable=False,
        secrets=(frozenset(), frozenset() if connector is None else connector.secrets),
    )


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
            raise Permanent(f"{type(error).__name__}: {error}", kind="exception") from error

    return Template(None, render, ())


def _with_connector(arguments: dict[str, JsonValue], connector: Template) -> Template:
    return Template(None, lambda scope: {**arguments, "connector": connector.evaluate(scope)}, ())
