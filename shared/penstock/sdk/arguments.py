"""Checks what code gives to a step against the annotations of the method, and shows how it is called instead."""

import inspect
from collections.abc import Callable, Coroutine, Mapping
from difflib import get_close_matches
from functools import update_wrapper
from types import CodeType
from typing import Concatenate, Final, ParamSpec, TypeVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from penstock.errors import Permanent
from penstock.sdk.engine import StepOptions

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
_Method = Callable[Concatenate[S, P], Coroutine[object, object, T]]
_CONFIG: Final = ConfigDict(arbitrary_types_allowed=True, strict=True)
_HINTS: Final = {
    ("get", "id"): '; for a condition write ctx.get("order", where={"number": "17"})',
    ("find", "where"): '; write ctx.find("order", {"paid": True})',
    ("create", "values"): '; write ctx.create("order", {"number": "17"})',
    ("schedule", "parameters"): '; write ctx.schedule("notify", {"order": order})',
}


def checked(method: _Method[S, P, T]) -> _Method[S, P, T]:
    """The method, which raises Permanent for an argument that does not fit its annotation, or that it does not have."""
    signature = inspect.signature(method)
    adapters = _adapters(method, signature)

    def check(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, object, T]:
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError as error:
            raise _wrong(method.__name__, signature, str(error)) from None
        for name, value in bound.arguments.items():
            if name == "options":
                _check_options(method.__name__, signature, value)
            elif name in adapters:
                _check(method.__name__, signature, name, adapters[name], value)
        return method(self, *args, **kwargs)

    CHECKS.add(check.__code__)
    return update_wrapper(check, method)


CHECKS: Final[set[CodeType]] = set()
"""The code of what `checked` makes: no line of an author's."""


def _adapters(method: Callable[..., object], signature: inspect.Signature) -> dict[str, TypeAdapter[object]]:
    hints = get_type_hints(method)
    named = [name for name in signature.parameters if name not in {"self", "options"} and name in hints]
    return {name: TypeAdapter(hints[name], config=_CONFIG) for name in named if hints[name] is not object}


def _check(method: str, signature: inspect.Signature, name: str, adapter: TypeAdapter[object], value: object) -> None:
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        wanted = " or ".join(
            dict.fromkeys(problem["msg"].removeprefix("Input should be ") for problem in error.errors())
        )
        hint = _HINTS.get((method, name), "")
        raise _wrong(method, signature, f"`{name}` should be {wanted}, and it is {_describe(value)}{hint}") from None


def _check_options(method: str, signature: inspect.Signature, options: Mapping[str, object]) -> None:
    known = [*signature.parameters, *StepOptions.__annotations__]
    for name in options:
        if name not in StepOptions.__annotations__:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise _wrong(method, signature, f"there is no argument {name!r}{hint}")


def _describe(value: object) -> str:
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 60 else shown[:60] + '…'}"


def _wrong(method: str, signature: inspect.Signature, problem: str) -> Permanent:
    parameters = [parameter for name, parameter in signature.parameters.items() if name not in {"self", "options"}]
    shown = signature.replace(
        parameters=[parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters],
        return_annotation=inspect.Signature.empty,
    )
    return Permanent(f"ctx.{method}: {problem}. It is called as ctx.{method}{shown}", kind="arguments")
