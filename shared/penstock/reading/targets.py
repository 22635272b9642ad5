"""What stands behind the key of an action: how each kind of target is read. What it says of the step (a data type, a
workflow's parameters) is put into the reader.
"""

from typing import Final

from pydantic import JsonValue

from penstock.domain.routing_keys import find_routing_key_problem
from penstock.reading import arguments as take
from penstock.reading import field_arguments as fields
from penstock.reading.documents import Mapping, Scalar, to_json
from penstock.reading.expected import check_thing
from penstock.reading.reader import StepReader
from penstock.reading.scopes import check_templates, is_template, kind_of_node, whole_expression
from penstock.reading.tables import Table

SESSIONS: Final = ("this", "others", "all")


def type_target(reader: StepReader, key: str) -> JsonValue:
    """The literal name of a data type."""
    node = reader.table.node(key)
    name = reader.literal(key, "a data type", "such as order")
    if name is None or node is None:
        return None
    reader.data_type = reader.index.types.get(name)
    if reader.data_type is None and not reader.report.is_partial:
        reader.report.unknown(node.place, "data type", name, reader.index.types)
    if key in {"create", "get"}:
        reader.result_type = name
    return name


def workflow_target(reader: StepReader, key: str) -> JsonValue:
    """The literal name of a workflow to be started: with all parameters that it requires."""
    name = workflow_name(reader, key)
    if isinstance(name, str) and reader.parameters is not None:
        take.check_required(reader, f"the workflow {name!r}", reader.parameters)
    return name


def workflow_name(reader: StepReader, key: str) -> JsonValue:
    """The literal name of a workflow."""
    node = reader.table.node(key)
    name = reader.literal(key, "a workflow", "such as create_thing")
    if name is None or node is None:
        return None
    reader.parameters = reader.index.workflows.get(name)
    if reader.parameters is None and not reader.report.is_partial:
        reader.report.unknown(node.place, "workflow", name, reader.index.workflows)
    return name


def function_target(reader: StepReader, key: str) -> JsonValue:
    """The literal name of an action in Python, `module.function`."""
    node = reader.table.node(key)
    name = reader.literal(key, "a Python action", "such as shop.actions.charge")
    if name is None or node is None:
        return None
    reader.parameters = reader.index.actions.get(name)
    if reader.parameters is not None:
        take.check_required(reader, f"the action {name!r}", reader.parameters)
    elif not reader.report.is_partial:
        hint = (
            ""
            if reader.index.actions
            else "name its module in app.yaml under python:, and decorate the function with @app.action"
        )
        reader.report.unknown(node.place, "Python action", name, reader.index.actions, hint)
    return name


def thing_target(reader: StepReader, key: str) -> JsonValue:
    """A thing or its id; its data type is known from `type`, from the step or parameter it comes from, or it is a
    problem.
    """
    node = reader.table.node(key)
    if node is None:
        reader.report.error(reader.table.key_place(key), f"{key!r} needs a thing or its id", 'such as "${steps.thing}"')
        return None
    if not is_template(node):
        try:
            take.coerce_thing(node)
        except ValueError:
            text = node.text if isinstance(node, Scalar) else "steps.thing"
            hint = f'did you mean "${{{text}}}"?'
            if text in reader.index.types:
                hint = f'such as "${{steps.{text}}}"; write {key}_many: {text} for all that meet a where'
            reader.report.error(node.place, f"{key!r} needs a thing or its id", hint)
            return None
    check_templates(node, reader.scope, reader.report)
    check_thing(reader, key, node)
    told = _type_of(reader, whole_expression(node)) or kind_of_node(node, reader.scope).of or None
    name = fields.type_name(reader) if "type" in reader.table else told
    if name is not None:
        reader.data_type = reader.index.types.get(name)
        reader.result_type = name if key == "update" else None
    elif "type" not in reader.table:
        reader.report.error(
            reader.table.key_place(key), "the data type of this thing is not known here", "add type: to the step"
        )
    return to_json(node)


def _type_of(reader: StepReader, expression: str | None) -> str | None:
    """The data type of `${user}`, `${params.owner}`, `${change.after}`, `${steps.thing}` or `${steps.thing._id}`."""
    path = (expression or "").strip().removesuffix("._id").split(".")
    match path:
        case ["user"]:
            return "user"
        case ["steps", id]:
            return reader.results.get(id)
        case ["change", "before" | "after"]:
            return reader.changed_type
        case ["params", name]:
            kind = reader.types_of_parameters.get(name)
            return kind.name if kind is not None and kind.is_thing and not kind.is_list else None
        case _:
            return None


def answer_target(reader: StepReader, key: str) -> JsonValue:
    """The mapping of an answer, which may be left out beside `text` or `redirect`."""
    node = reader.table.node(key)
    return None if node is None else take.mapping(reader, key, node)


def object_target(reader: StepReader, key: str) -> JsonValue:
    node = reader.table.node(key)
    if node is not None:
        return take.mapping(reader, key, node)
    reader.missing(key, "a mapping", "such as {total: 1}")
    return None


def text_target(reader: StepReader, key: str) -> JsonValue:
    node = reader.table.node(key)
    if node is not None:
        return take.text(reader, key, node)
    reader.missing(key, "a text")
    return None


def url_target(reader: StepReader, key: str) -> JsonValue:
    node = reader.table.node(key)
    if node is None:
        reader.missing(key, "a URL", "such as https://example.com")
        return None
    url = take.text(reader, key, node)
    if isinstance(url, str) and not url.lower().startswith(("http://", "https://", "${")):
        reader.report.error(node.place, f"{url[:60]!r} is not a URL", "it starts with https:// or http://")
    return url


def connector_target(reader: StepReader, key: str) -> JsonValue:
    """The literal name of a connector."""
    node = reader.table.node(key)
    name = reader.literal(key, "a connector", "one of those under connectors: in app.yaml")
    if name is not None and node is not None and name not in reader.index.connectors and not reader.report.is_partial:
        hint = "" if reader.index.connectors else "declare it in app.yaml under connectors:"
        reader.report.unknown(node.place, "connector", name, reader.index.connectors, hint)
    return name


def wait_target(reader: StepReader, key: str) -> JsonValue:
    """A duration (`wait`) or a time (`wait_until`). No `timeout`: a wait takes the time it says."""
    node = reader.table.node(key)
    if node is None:
        reader.missing(
            key,
            "a duration" if key == "wait" else "a time",
            "such as 3d" if key == "wait" else "such as 2026-01-31T09:00:00Z",
        )
        return None
    if "timeout" in reader.table:
        reader.report.error(
            reader.table.key_place("timeout"),
            f"{key!r} takes no 'timeout'",
            "the run waits for as long as it says there",
        )
    return (take.duration if key == "wait" else take.time)(reader, key, node)


def signal_target(reader: StepReader, key: str) -> JsonValue:
    """The name of a signal, which may embed expressions."""
    node = reader.table.node(key)
    name = None if node is None else take.text(reader, key, node)
    if node is None or name == "":
        reader.missing(key, "the name of a signal", "such as payment_confirmed")
    return name


def runs_target(reader: StepReader, key: str) -> JsonValue:
    """The id of a run, or a list of them."""
    node = reader.table.node(key)
    if node is not None:
        return take.anything(reader, key, node)
    reader.missing(key, "the id of a run, or a list of them", 'such as "${steps.reminder}"')
    return None


def cancelled_target(reader: StepReader, key: str) -> JsonValue:
    """The id of a run, a list of them, or `{workflow, key}`: what was scheduled under that key."""
    node = reader.table.node(key)
    if not isinstance(node, Mapping):
        return runs_target(reader, key)
    table = Table(node, node.place, f"{key!r}", reader.report)
    named, keyed = table.node("workflow"), table.node("key")
    table.require("workflow", "reminder")
    table.require("key", "params.email")
    table.close()
    name = None if named is None else table.text("workflow")
    if named is not None and is_template(named):
        reader.report.error(named.place, "the name of a workflow cannot be computed", "such as reminder")
    elif named is not None and name not in reader.index.workflows and not reader.report.is_partial:
        reader.report.unknown(named.place, "workflow", name or "", reader.index.workflows)
    return {"workflow": name, "key": None if keyed is None else take.key(reader, "key", keyed)}


def chain_target(reader: StepReader, key: str) -> JsonValue:
    """The id of a chain, or of any of its runs."""
    node = reader.table.node(key)
    if node is not None:
        return take.anything(reader, key, node)
    reader.missing(key, "the id of a chain", 'such as "${run.chain_id}"')
    return None


def routing_key_target(reader: StepReader, key: str) -> JsonValue:
    """The routing key of a message, which may be computed."""
    node = reader.table.node(key)
    if node is None:
        reader.missing(key, "a routing key", "such as order.paid")
        return None
    written = take.text(reader, key, node)
    if (
        isinstance(written, str)
        and not is_template(node)
        and (problem := find_routing_key_problem(written)) is not None
    ):
        reader.report.error(node.place, f"{written[:60]!r} cannot be a routing key: {problem}")
    return written


def email_target(reader: StepReader, key: str) -> JsonValue:
    """The email of a user, such as `${params.email}`."""
    reader.data_type = reader.index.types.get("user")
    node = reader.table.node(key)
    if node is None:
        reader.missing(key, "an email", 'such as "${params.email}"')
        return None
    written = take.text(reader, key, node)
    if isinstance(written, str) and not is_template(node) and "@" not in written:
        hint = f'did you mean "${{{written}}}"?' if "." in written else 'such as "${params.email}"'
        reader.report.error(node.place, f"{key!r}: {written[:60]!r} is not an email", hint)
    return written


def mailed_target(reader: StepReader, key: str) -> JsonValue:
    """The email of a user, to which a mail goes; in a workflow that nobody calls."""
    if "request" in reader.scope.names:
        reader.report.error(
            reader.table.key_place(key),
            f"{key!r} cannot stand in a workflow with an api trigger: how long it takes says who has an account",
            "schedule a workflow that has this step",
        )
    return email_target(reader, key)


def token_target(reader: StepReader, key: str) -> JsonValue:
    """The token of a mail: a parameter of type password, as it is."""
    reader.data_type = reader.index.types.get("user")
    node = reader.table.node(key)
    if node is None:
        reader.missing(key, "the token of a mail", 'such as "${params.token}"')
        return None
    return take.password(reader, key, node)


def verified_target(reader: StepReader, key: str) -> JsonValue:
    """With `link` the email of a user, to which a mail goes; without, the token of that mail."""
    return (mailed_target if "link" in reader.table else token_target)(reader, key)


def sessions_target(reader: StepReader, key: str) -> JsonValue:
    """Which sessions of the user end: `this` one, the `others`, or `all`."""
    if reader.table.node(key) is None:
        reader.missing(key, "this, others, or all", f"such as {key}: this")
        return None
    return reader.table.one_of(key, SESSIONS)
