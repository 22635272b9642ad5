"""Binds a caller's values to the declared parameters; Bubble's clients parse these messages (BUBBLE 1.5)."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final, Literal

from pydantic import JsonValue

from penstock.definitions.models import DataType, Parameter, Workflow
from penstock.definitions.values import ValueSource, coerce_value
from penstock.errors import Permanent

__all__ = ["ParameterProblem", "ValueSource", "bind_parameters", "coerce_value"]

MISSING: Final = "MISSING_DATA"
INVALID: Final = "INVALID_DATA"


class ParameterProblem(Permanent):
    """A parameter is missing or has a value that is not of its type. `code` is Bubble's, the text is for the caller."""

    def __init__(self, code: Literal["MISSING_DATA", "INVALID_DATA"], parameter: str, message: str) -> None:
        super().__init__(message, kind="parameters")
        self.code = code
        self.parameter = parameter
        self.message = message


def bind_parameters(
    workflow: Workflow,
    given: Mapping[str, JsonValue],
    *,
    source: ValueSource,
    unknown: Literal["ignore", "reject"],
    types: Mapping[str, DataType],
    is_complete: bool = True,
) -> dict[str, JsonValue]:
    """The value of every declared parameter, in order; optional ones that are missing or null have their default.

    A required one that is missing is a problem. Without `is_complete` it is null: in runs that nobody calls, such as
    those of a webhook.
    Whether the things named by ids exist is not checked here. Raises ParameterProblem for the first parameter that is
    wrong.
    """
    if unknown == "reject":
        _reject_unknown(workflow, given)
    return {
        parameter.name: None
        if not is_complete and not parameter.is_optional and given.get(parameter.name) is None
        else _bind(workflow, parameter, given.get(parameter.name), source, types)
        for parameter in workflow.parameters
    }


def _bind(
    workflow: Workflow, parameter: Parameter, value: JsonValue, source: ValueSource, types: Mapping[str, DataType]
) -> JsonValue:
    if (
        source is ValueSource.TEXT
        and value == ""
        and (parameter.type.is_list or parameter.type.name not in {"text", "any"})
    ):
        value = None  # a field of a form that was left empty
    if value is None:
        if parameter.is_optional:
            return parameter.default
        raise ParameterProblem(
            "MISSING_DATA",
            parameter.name,
            f"Missing parameter for workflow {workflow.name}: parameter {parameter.name}",
        )
    try:
        if parameter.type.is_thing and parameter.type.name not in types:
            raise ValueError(f"there is no data type {parameter.type.name!r}")
        return coerce_value(parameter.type, value, source=source)
    except ValueError as error:
        raise ParameterProblem(
            "INVALID_DATA", parameter.name, f"Invalid value for parameter {parameter.name}: {error}"
        ) from None


def _reject_unknown(workflow: Workflow, given: Mapping[str, JsonValue]) -> None:
    known = [parameter.name for parameter in workflow.parameters]
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ParameterProblem(
                "INVALID_DATA", name, f"Unknown parameter for workflow {workflow.name}: parameter {name}{hint}"
            )
