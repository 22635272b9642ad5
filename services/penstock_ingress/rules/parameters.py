"""The parameters of an API call: from the query and the body, each read as its type asks; what is not declared is
ignored.
"""

from collections.abc import Mapping

from pydantic import JsonValue

from penstock.bodies import Kind, Undecodable, decode_body, kind_of
from penstock.definitions.models import App, Parameter, Workflow
from penstock.definitions.parameters import ParameterProblem, ValueSource, bind_parameters
from penstock_ingress.rules import bubble
from penstock_ingress.rules.replies import Refusal, problem
from penstock_ingress.rules.uploads import Uploads

UNSUPPORTED = (
    "send parameters as application/json, application/x-www-form-urlencoded, multipart/form-data, or in the query"
)


def read_parameters(
    workflow: Workflow, app: App, query: Mapping[str, JsonValue], body: bytes, content_type: str, uploads: Uploads
) -> dict[str, JsonValue]:
    """The value of every parameter; the body stands before the query. Files are put into `uploads`, and their URLs are
    the values. Raises Refusal in Bubble's words.
    """
    kind = _check_kind(body, content_type)
    try:
        given = _decode(body, content_type)
        is_text = kind != "json" or not given
        _refuse_nested(workflow, {**query, **given} if is_text else query)
        from_query = [
            parameter for parameter in workflow.parameters if parameter.name in query and parameter.name not in given
        ]
        if is_text or not from_query:
            source = ValueSource.TEXT if is_text else ValueSource.JSON
            scalars = _last_of_lists(workflow, {**query, **given}) if is_text else given
            scalars = uploads.replace(workflow, scalars)
            return bind_parameters(workflow, scalars, source=source, unknown="ignore", types=app.types)
        return _bind_both(workflow, app, query, uploads.replace(workflow, given), from_query)
    except Undecodable as error:
        raise Refusal(bubble.wrapped(400, "INVALID_DATA", str(error))) from None
    except ParameterProblem as error:
        raise Refusal(bubble.wrapped(400, error.code, error.message)) from None


def read_sample(
    query: Mapping[str, JsonValue], body: bytes, content_type: str
) -> tuple[dict[str, JsonValue], dict[str, JsonValue]]:
    """The members of a JSON body, and the texts of a form and the query. Raises Refusal."""
    kind = _check_kind(body, content_type)
    try:
        given = _decode(body, content_type)
    except Undecodable as error:
        raise Refusal(bubble.wrapped(400, "INVALID_DATA", str(error))) from None
    return (given, dict(query)) if kind == "json" else ({}, {**query, **given})


def _check_kind(body: bytes, content_type: str) -> Kind | None:
    kind = kind_of(content_type)
    if body and kind is None:
        raise Refusal(
            problem(415, f"the content type {content_type.partition(';')[0]} is not supported; {UNSUPPORTED}")
        )
    return kind


def _decode(body: bytes, content_type: str) -> dict[str, JsonValue]:
    value = decode_body(body, content_type, takes_files=True)
    if not isinstance(value, dict):
        raise Undecodable("the body has to be a JSON object whose members are the parameters")
    return value


def _refuse_nested(workflow: Workflow, fields: Mapping[str, JsonValue]) -> None:
    """Raises Undecodable for `tags[a]` and `tags[0][b]`, which would leave the parameter `tags` without a value."""
    declared = {parameter.name for parameter in workflow.parameters}
    for name in fields:
        if "[" in name and name.partition("[")[0] in declared:
            raise Undecodable(f"the field {name[:100]} is not understood; send a list as tags[]=, an object as JSON")


def _bind_both(
    workflow: Workflow,
    app: App,
    query: Mapping[str, JsonValue],
    body: Mapping[str, JsonValue],
    from_query: list[Parameter],
) -> dict[str, JsonValue]:
    """Parameters from a JSON body and a query at once: each has its own way of being read."""
    rest = tuple(parameter for parameter in workflow.parameters if parameter not in from_query)
    in_query = workflow.model_copy(update={"parameters": tuple(from_query)})
    in_body = workflow.model_copy(update={"parameters": rest})
    bound = bind_parameters(in_body, body, source=ValueSource.JSON, unknown="ignore", types=app.types)
    texts = _last_of_lists(workflow, query)
    bound |= bind_parameters(in_query, texts, source=ValueSource.TEXT, unknown="ignore", types=app.types)
    return {parameter.name: bound[parameter.name] for parameter in workflow.parameters}


def _last_of_lists(workflow: Workflow, given: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """A field that occurs several times is a list where the parameter is one; else its last value counts."""
    lists = {parameter.name for parameter in workflow.parameters if parameter.type.is_list}
    return {
        name: value[-1] if isinstance(value, list) and value and name not in lists else value
        for name, value in given.items()
    }
