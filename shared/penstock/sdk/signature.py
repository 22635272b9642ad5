"""Parameters from a function's signature, and back: the JSON of a run as the values that the function's annotations ask
for.
"""

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Final, Literal, NamedTuple, NewType, TypeVar, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    JsonValue,
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
    TypeAdapter,
    ValidationError,
)

from penstock import exact_json
from penstock.definitions.models import FieldType, Parameter, ScalarType
from penstock.definitions.values import coerce_value
from penstock.errors import Permanent

Function = Callable[..., object]
T = TypeVar("T")
_ANY: Final = FieldType(ScalarType.ANY.value)
_SCALARS: Final[tuple[tuple[tuple[type, ...], ScalarType], ...]] = (
    ((bool,), ScalarType.BOOLEAN),  # before int, of which it is one
    ((str,), ScalarType.TEXT),
    ((int, float, Decimal), ScalarType.NUMBER),
    ((datetime,), ScalarType.DATE),
)
_LISTS: Final = (list, tuple, set, frozenset, Sequence, AbstractSet)


class SignatureProblem(ValueError):
    """What is wrong with a function's signature, for its author."""


class _Argument(NamedTuple):
    parameter: Parameter
    adapter: TypeAdapter[object]
    default: object


@dataclass(frozen=True, slots=True)
class Signature:
    """A function's parameters after the context. `packed_as` is the name of the one that is a pydantic model holding
    all others.
    """

    arguments: tuple[_Argument, ...]
    packed_as: str | None = None
    model: type[BaseModel] | None = None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """As a workflow declares them."""
        return tuple(argument.parameter for argument in self.arguments)

    def bind(self, given: Mapping[str, JsonValue], *, may_be_null: bool = False) -> dict[str, object]:
        """The keyword arguments of a call; what is missing or null has its default. With `may_be_null`, a required one
        that is null is None. Raises Permanent naming what does not fit.
        """
        if self.model is not None and self.packed_as is not None:
            values: dict[str, JsonValue] = {name: value for name, value in given.items() if value is not None}
            return {self.packed_as: _validate(TypeAdapter(self.model), values, "")}
        self._check_names(given, may_be_null=may_be_null)
        bound: dict[str, object] = {}
        for parameter, adapter, default in self.arguments:
            value = given.get(parameter.name)
            if value is None and default is not inspect.Parameter.empty:
                bound[parameter.name] = default
            elif value is None and may_be_null:
                bound[parameter.name] = None
            else:
                bound[parameter.name] = _validate(adapter, value, parameter.name)
        return bound

    def _check_names(self, given: Mapping[str, JsonValue], *, may_be_null: bool) -> None:
        known = [argument.parameter.name for argument in self.arguments]
        if unknown := [name for name in given if name not in known]:
            raise Permanent(
                f"there is no parameter {unknown[0]!r}; known are {', '.join(known) or 'none'}", kind="parameters"
            )
        required = [argument.parameter.name for argument in self.arguments if not argument.parameter.is_optional]
        if missing := [name for name in required if given.get(name) is None and not may_be_null]:
            raise Permanent(f"the parameter {missing[0]!r} is missing", kind="parameters")


def read_signature(function: Function) -> Signature:
    """The signature of a workflow or an action: the context first, then its parameters. Raises SignatureProblem."""
    names = list(inspect.signature(function).parameters.values())
    if not names or names[0].kind not in {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}:
        raise SignatureProblem("its first parameter has to take the context, as in (ctx: Context)")
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except (NameError, AttributeError, TypeError) as error:
        raise SignatureProblem(f"its annotations cannot be read: {error}") from None
    given = names[1:]
    for parameter in given:
        if parameter.kind not in {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}:
            raise SignatureProblem(
                f"its parameter {str(parameter)!r} has no name by which a caller could pass it; name each parameter"
            )
    if len(given) == 1 and _is_model(hints.get(given[0].name)):
        return _read_model(given[0].name, hints[given[0].name])
    return Signature(tuple(_read_argument(one.name, hints.get(one.name, object), one.default) for one in given))


def read_result_type(function: Function) -> TypeAdapter[object] | None:
    """How what the function returns is kept as JSON and restored; None where its annotation does not say."""
    try:
        return _read_result_type(function)
    except TypeError:  # it has no hash to be found by
        return _read_result_type.__wrapped__(function)


def restore(kind: TypeAdapter[T] | None, value: JsonValue) -> T | JsonValue:
    """What was kept as JSON, as `kind` says. Read as JSON is: a strict model takes a text for a time then."""
    return value if kind is None else kind.validate_json(exact_json.dumps(value))


@lru_cache(maxsize=500)
def _read_result_type(function: Function) -> TypeAdapter[object] | None:
    try:
        annotation = typing.get_type_hints(function, include_extras=True).get("return", object)
        return (
            None if annotation in {object, typing.Any} or isinstance(annotation, TypeVar) else _make_adapter(annotation)
        )
    except (NameError, AttributeError, TypeError, PydanticSchemaGenerationError, PydanticUndefinedAnnotation):
        return None


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _read_model(name: str, model: type[BaseModel]) -> Signature:
    arguments = []
    for field_name, field in model.model_fields.items():
        default = (
            inspect.Parameter.empty
            if field.is_required()
            else field.get_default(call_default_factory=True, validated_data={})
        )
        arguments.append(_read_argument(field.alias or field_name, field.rebuild_annotation(), default))
    return Signature(tuple(arguments), name, model)


def _read_argument(name: str, annotation: object, default: object) -> _Argument:
    try:
        adapter = _make_adapter(annotation)
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation):
        shown = getattr(annotation, "__name__", str(annotation))
        hint = "use str, int, float, Decimal, bool, datetime, list, dict, or a pydantic model"
        raise SignatureProblem(
            f"its parameter {name!r} is of type {shown}, which JSON has no form for; {hint}"
        ) from None
    kind, is_nullable = _read_type(annotation)
    if is_nullable and default is inspect.Parameter.empty:
        default = None
    is_optional = default is not inspect.Parameter.empty
    if kind == _PASSWORD and is_optional and default is not None:
        raise SignatureProblem(f"its parameter {name!r} is a password, which has no default: the caller gives it")
    shown_default = _to_json(name, kind, adapter, default) if is_optional and default is not None else None
    return _Argument(Parameter(name=name, type=kind, is_optional=is_optional, default=shown_default), adapter, default)


def _to_json(name: str, kind: FieldType, adapter: TypeAdapter[object], default: object) -> JsonValue:
    """A default as callers see it."""
    try:
        value: JsonValue = adapter.dump_python(default, mode="json", warnings="error")
        value = float(value) if isinstance(default, Decimal) and isinstance(value, str) else value
        return value if kind == _ANY else coerce_value(kind, value)
    except ValueError as error:
        raise SignatureProblem(f"the default of its parameter {name!r} does not fit its type: {error}") from None


def _make_adapter(annotation: typing.Any) -> TypeAdapter[object]:  # what a signature says may be anything
    return TypeAdapter(annotation)


def _validate(adapter: TypeAdapter[T], value: JsonValue, name: str) -> T:
    try:
        return adapter.validate_json(exact_json.dumps(value))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in ((name,) if name else ()) + problem["loc"])
        raise Permanent(f"the parameter {where!r} does not fit: {problem['msg']}", kind="parameters") from None


Password = NewType("Password", str)
"""A parameter that is a password: encrypted before a run has it. It can only be given to the steps about accounts."""
_PASSWORD: Final = FieldType(ScalarType.PASSWORD.value)


def _read_type(annotation: object) -> tuple[FieldType, bool]:
    """The type that callers see, and whether null is allowed. What has no type of its own is `any`, and checked when it
    is called.
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _read_type(inner[0])
    if origin in {Union, UnionType}:
        others = [one for one in inner if one is not NoneType]
        return (_read_type(others[0])[0] if len(others) == 1 else _ANY), len(others) < len(inner)
    if origin is Literal:
        return _common_type(inner), None in inner
    if annotation is Password:
        return _PASSWORD, False
    if hasattr(annotation, "__supertype__"):  # of NewType
        return _read_type(annotation.__supertype__)
    if origin in _LISTS and inner:
        return _list_of(inner), False
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _common_type([member.value for member in annotation]), False
    return _scalar(annotation), False


def _scalar(annotation: object) -> FieldType:
    if isinstance(annotation, type):
        for classes, kind in _SCALARS:
            if issubclass(annotation, classes):
                return FieldType(kind.value)
    return _ANY


def _common_type(values: Sequence[object]) -> FieldType:
    kinds = {_scalar(type(value)) for value in values if value is not None}
    return kinds.pop() if len(kinds) == 1 else _ANY


def _list_of(inner: Sequence[object]) -> FieldType:
    if len(inner) > 1 and inner[1] is not ...:
        return _ANY
    kind, is_nullable = _read_type(inner[0])
    return _ANY if is_nullable or kind.is_list or kind in {_ANY, _PASSWORD} else FieldType(kind.name, is_list=True)
