"""How each kind of argument is read and checked. All have one form: (reader, key, node) → the JSON to keep."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Final

from pydantic import JsonValue

from penstock.definitions.approval_forms import read_form
from penstock.definitions.connectors import find_path_problem
from penstock.definitions.models import FieldType, Parameter, ScalarType
from penstock.definitions.values import coerce_value
from penstock.domain.durations import parse_duration
from penstock.domain.list_counts import COUNTS
from penstock.domain.moments import to_utc
from penstock.domain.ticks import MAX_FAILURES, MAX_TIMES
from penstock.expressions.kinds import NUMBER, TEXT, object_of
from penstock.expressions.templates import split_text
from penstock.expressions.tokens import ExpressionError
from penstock.reading.documents import Mapping, Node, Scalar, Sequence, describe, to_json
from penstock.reading.expected import check_field_value, check_list, check_text, check_thing, kind_of_items
from penstock.reading.habits import write_constraint
from penstock.reading.lookalikes import is_expression
from penstock.reading.reader import StepReader
from penstock.reading.scopes import Scope, check_expression, check_templates, children, is_template, whole_expression
from penstock.reading.tables import read_text

Take = Callable[[StepReader, str, Node], JsonValue]

MAX_PAGE: Final = 10_000
FILE_FORMATS: Final = ("csv", "jsonl")
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def anything(reader: StepReader, _key: str, node: Node) -> JsonValue:
    """Any JSON with templates."""
    check_templates(node, reader.scope, reader.report)
    return to_json(node)


def mapping(reader: StepReader, key: str, node: Node) -> JsonValue:
    """A mapping with templates, or a template that gives an object."""
    if not isinstance(node, Mapping) and not is_template(node):
        reader.report.error(node.place, f"{key!r}: expected a mapping, got {describe(node)}")
    return anything(reader, key, node)


def text(reader: StepReader, key: str, node: Node) -> JsonValue:
    """A text, which may embed expressions."""
    if read_text(node, f"{key!r}", reader.report) is None:
        return None
    check_text(reader, key, node)
    return anything(reader, key, node)


def items(reader: StepReader, key: str, node: Node) -> JsonValue:
    """A list, or a template that gives one."""
    if not isinstance(node, Sequence) and not is_template(node):
        hint = f'did you mean "${{{node.text}}}"?' if isinstance(node, Scalar) and isinstance(node.value, str) else ""
        reader.report.error(node.place, f"{key!r} needs a list, not {describe(node)}", hint)
    check_list(reader, key, node)
    return anything(reader, key, node)


def file_format(reader: StepReader, key: str, node: Node) -> JsonValue:
    """How things are written in a file, or a template that gives it."""
    return anything(reader, key, node) if is_template(node) else reader.table.one_of(key, FILE_FORMATS)


def boolean(reader: StepReader, key: str, node: Node) -> JsonValue:
    """true, false, or a template that gives one."""
    if not is_template(node) and not (isinstance(node, Scalar) and isinstance(node.value, bool)):
        reader.table.expected(node, key, "true or false")
    return anything(reader, key, node)


def priority(reader: StepReader, key: str, node: Node) -> JsonValue:
    """0 (first) to 9 (last)."""
    return _integer(reader, key, node, 0, 9)


def page_size(reader: StepReader, key: str, node: Node) -> JsonValue:
    """How many things a page may hold."""
    return _integer(reader, key, node, 1, MAX_PAGE)


def times(reader: StepReader, key: str, node: Node) -> JsonValue:
    """How often something is to happen, or a template that gives it."""
    return anything(reader, key, node) if is_template(node) else _integer(reader, key, node, 1, MAX_TIMES)


def failures(reader: StepReader, key: str, node: Node) -> JsonValue:
    """How many failures in a row are allowed, or a template that gives it."""
    return anything(reader, key, node) if is_template(node) else _integer(reader, key, node, 1, MAX_FAILURES)


def _integer(reader: StepReader, key: str, node: Node, low: int, high: int) -> JsonValue:
    if not is_template(node):
        reader.table.integer(key, low, high)
    return anything(reader, key, node)


def duration(reader: StepReader, key: str, node: Node) -> JsonValue:
    """A duration as text (`5m`), or a template that gives one."""
    if not is_template(node):
        try:
            parse_duration(node.text if isinstance(node, Scalar) else describe(node))
        except ValueError as error:
            reader.report.error(node.place, f"{key!r}: {error}")
    return anything(reader, key, node)


def time(reader: StepReader, key: str, node: Node) -> JsonValue:
    """A time in ISO 8601 with its zone, or a template that gives one."""
    if not is_template(node):
        try:
            to_utc(datetime.fromisoformat(node.text if isinstance(node, Scalar) else ""))
        except ValueError:
            hint = 'did you mean "${now}"?' if isinstance(node, Scalar) and node.text == "now" else ""
            reader.table.expected(node, key, "a time with its zone, such as 2026-01-31T09:00:00Z", hint)
    return anything(reader, key, node)


def method(reader: StepReader, key: str, node: Node) -> JsonValue:
    """An HTTP method, or a template that gives one."""
    return anything(reader, key, node) if is_template(node) else reader.table.one_of(key, _METHODS)


def path(reader: StepReader, key: str, node: Node) -> JsonValue:
    """A path below a connector's base URL, which may embed expressions."""
    written = text(reader, key, node)
    # Of one that embeds expressions, what stands around them is judged.
    if isinstance(written, str):
        with suppress(ExpressionError):  # reported with all other expressions
            literal = "".join(part if isinstance(part, str) else "x" for part in split_text(written))
            if (problem := find_path_problem(literal)) is not None:
                reader.report.error(node.place, f"{written[:60]!r} cannot be the path of a call: {problem}")
    return written


def signing_secret(reader: StepReader, key: str, node: Node) -> JsonValue:
    """One secret, or a list of them while the receiver changes from one to the next; written out, it is warned of."""
    for secret in node.items if isinstance(node, Sequence) else (node,):
        if read_text(secret, f"{key!r}", reader.report) is not None and not is_template(secret):
            reader.report.warning(
                secret.place, "the file contains a secret", "write ${secrets.NAME} and set PENSTOCK_SECRET_<NAME>"
            )
    return anything(reader, key, node)


def fail_or_continue(reader: StepReader, key: str, _node: Node) -> JsonValue:
    """Whether an error status of the answer fails the step."""
    return reader.table.one_of(key, ["fail", "continue"])


def key(reader: StepReader, key: str, node: Node) -> JsonValue:
    """An idempotency key: a bare expression, kept as a template, or a text that embeds some."""
    if is_template(node):
        return anything(reader, key, node)
    expression = check_expression(node, key, reader.scope, reader.report)
    return None if expression is None else f"${{{expression}}}"


def form_schema(reader: StepReader, key: str, node: Node) -> JsonValue:
    """The fields of the form behind the link: `{name: type}`, or `{name: {type, optional, label, options}}`."""
    given = to_json(node)
    if "link" not in reader.table:
        reader.report.error(reader.table.key_place(key), f"{key!r} is for the form of a link", "add link: true")
    try:
        read_form(given)
    except ValueError as error:
        reader.report.error(node.place, f"{key!r}: {error}")
    return given


def thing(reader: StepReader, key: str, node: Node) -> JsonValue:
    """A thing or its id."""
    if not is_template(node):
        try:
            coerce_thing(node)
        except ValueError as error:
            reader.report.error(node.place, f"{key!r}: {error}")
    check_thing(reader, key, node)
    return anything(reader, key, node)


def coerce_thing(node: Node) -> JsonValue:
    """The id of a thing written out. Raises ValueError."""
    return coerce_value(FieldType("user"), to_json(node))


def parameters(reader: StepReader, key: str, node: Node) -> JsonValue:
    """The parameters given to a workflow."""
    return _parameters(reader, key, node, reader.scope)


def item_parameters(reader: StepReader, key: str, node: Node) -> JsonValue:
    """The parameters given to the run of each item, where `item` and `index` are in scope."""
    return _parameters(reader, key, node, reader.scope_of_items(kind_of_items(reader, "over")))


def following_workflow(reader: StepReader, key: str, node: Node) -> JsonValue:
    """The literal name of the workflow that starts when all items of the list have ended."""
    name = reader.literal(key, "a workflow", "such as create_thing")
    if name is None:
        return None
    declared = reader.index.workflows.get(name)
    if declared is None and not reader.report.is_partial:
        reader.report.unknown(node.place, "workflow", name, reader.index.workflows)
    elif declared is not None:
        check_required(reader, f"the workflow {name!r}", declared, key="then_with")
    return name


def following_parameters(reader: StepReader, key: str, node: Node) -> JsonValue:
    """The parameters given to the workflow behind the list, where `list` is in scope: its counts."""
    name, outer = reader.given.get("then"), reader.scope
    if not isinstance(name, str):
        reader.report.error(reader.table.key_place(key), f"{key!r} needs 'then', the workflow that is given these")
    kind = object_of({"id": TEXT, **dict.fromkeys(COUNTS, NUMBER)})
    scope = replace(outer, names=outer.names | {"list"}, kinds={**outer.kinds, "list": kind})
    scope.members = {**outer.members, "list": {"id", *COUNTS}}
    declared, reader.parameters = reader.parameters, reader.index.workflows.get(str(name))
    try:
        return _parameters(reader, key, node, scope)
    finally:
        reader.parameters = declared


def _parameters(reader: StepReader, key: str, node: Node, scope: Scope) -> JsonValue:
    if not isinstance(node, Mapping):
        reader.report.error(node.place, f"{key!r} is a mapping of parameters to values, not {describe(node)}")
        return {}
    declared = None if reader.parameters is None else {parameter.name: parameter for parameter in reader.parameters}
    for name, value in node.entries.values():
        if declared is not None and name.text in declared and declared[name.text].type.name == ScalarType.PASSWORD:
            _check_handed_on(reader, name.text, value)
            continue
        check_templates(value, scope, reader.report)
        if declared is not None and name.text not in declared:
            hint = "" if declared else "it has no parameters"
            reader.report.unknown(name.place, "parameter", name.text, declared, hint)
        elif declared is not None:
            check_constant(reader, name.text, value, declared[name.text].type)
            check_field_value(value, name.text, declared[name.text].type, scope, reader.report)
    return to_json(node)


def password(reader: StepReader, key: str, node: Node) -> JsonValue:
    """A parameter of type password, as it is: `${params.NAME}`."""
    given = whole_expression(node)
    name = "" if given is None else given.strip().removeprefix("params.")
    if given is None or name not in reader.scope.passwords or given.strip() != f"params.{name}":
        known = sorted(reader.scope.passwords)
        hint = f"write ${{params.{known[0]}}}" if known else "declare one: parameters: {password: password}"
        reader.report.error(node.place, f"{key!r} takes a parameter of type password, and nothing else", hint)
    return to_json(node)


def link(reader: StepReader, key: str, node: Node) -> JsonValue:
    """A URL with `{token}` in it."""
    written = text(reader, key, node)
    if isinstance(written, str) and not (written.startswith(("https://", "http://", "${")) and "{token}" in written):
        hint = "such as https://example.com/reset?token={token}"
        reader.report.error(node.place, f"{key!r} has to be a URL with {{token}} in it", hint)
    return written


def _check_handed_on(reader: StepReader, name: str, node: Node) -> None:
    """A password goes to what is performed inside this run: it is encrypted for this one alone."""
    if isinstance(node, Scalar) and node.value is None:
        return
    if "trigger" in reader.table or "run" in reader.table:
        password(reader, name, node)
    else:
        hint = "trigger the workflow, which performs it inside this run"
        reader.report.error(node.place, f"{name!r} is a password, which cannot be handed to another run", hint)


def check_required(reader: StepReader, what: str, declared: tuple[Parameter, ...], key: str = "with") -> None:
    """Every parameter that is not optional is given in `with`, or under another key."""
    node = reader.table.node(key)
    given = node.entries if isinstance(node, Mapping) else {}
    missing = [parameter.name for parameter in declared if not parameter.is_optional and parameter.name not in given]
    is_named_otherwise = key not in reader.table and reader.table.has_other_word_for(key)
    if missing and (node is None or isinstance(node, Mapping)) and not is_named_otherwise:
        names = ", ".join(repr(one) for one in missing)
        reader.report.error(reader.table.place, f"{key!r} lacks {names}, which {what} requires")


def check_constant(reader: StepReader, name: str, node: Node, kind: FieldType) -> None:
    """Checks a value that is written out; one that is computed is checked when it is known."""
    if _is_computed(node) or (isinstance(node, Scalar) and node.value is None):
        return
    try:
        coerce_value(kind, to_json(node))
    except ValueError as error:
        reader.report.error(node.place, f"{name!r}: {error}", _hint_for(reader, node, kind))


def _hint_for(reader: StepReader, node: Node, kind: FieldType) -> str:
    """What may be meant by a text where something else is expected."""
    text = node.value if isinstance(node, Scalar) else None
    if not isinstance(text, str):
        return ""
    if kind.name == ScalarType.BOOLEAN and text.lower() in {"yes", "true", "on", "no", "false", "off"}:
        return f"write {'true' if text.lower() in {'yes', 'true', 'on'} else 'false'}, without quotes"
    if kind.name == ScalarType.NUMBER and text.strip("<>= ").replace(".", "").isdecimal():
        operator = text[: len(text) - len(text.lstrip("<>= "))].strip()
        return write_constraint(operator, text.strip("<>= ")) if operator else "write it without quotes"
    return f'did you mean "${{{text.strip()}}}"?' if is_expression(text, reader.scope.names, reader.scope.kinds) else ""


def _is_computed(node: Node) -> bool:
    return is_template(node) or any(_is_computed(child) for child in children(node))
