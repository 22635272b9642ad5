"""An OpenAPI document as a page that a person reads: every operation with its parameters, its body and its answers,
then the shapes.
"""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Final

from pydantic import JsonValue

from penstock_ingress.rules.html import element, link, page, prose, rows
from penstock_ingress.rules.replies import Reply

_REF: Final = "#/components/schemas/"
_MAX_VALUES: Final = 12
Node = Mapping[str, JsonValue]


def render_reference(document: Node, source: str = "/openapi.json") -> Reply:
    """The page. `document` is OpenAPI 3.1, served at `source`; its schemas are under `components`."""
    info = _node(document.get("info"))
    title, version = _text(info, "title"), _text(info, "version")
    parts = [
        element("h1", title),
        f'<p class="soft">Version {escape(version)} · {link(source)} · {link("/", "front page")}</p>',
        *(f"<p>{prose(paragraph)}</p>" for paragraph in _text(info, "description").split("\n\n") if paragraph),
        *_operations(document),
        '<h2 id="shapes">Shapes</h2>',
        *_shapes(document),
    ]
    return page(title, "\n".join(parts))


def _operations(document: Node) -> Iterator[str]:
    group = ""
    for path, item in _node(document.get("paths")).items():
        for method, operation in _node(item).items():
            tag = "".join(str(one) for one in _list(_node(operation).get("tags"))[:1])
            if tag != group:
                group = tag
                yield element("h2", tag)
            yield _operation(method, path, _node(operation))


def _operation(method: str, path: str, operation: Node) -> str:
    parts = [
        f'<h3><span class="method">{escape(method.upper())}</span> <code>{escape(path)}</code></h3>',
        f"<p>{prose(_text(operation, 'summary'))}</p>",
    ]
    if description := _text(operation, "description"):
        parts.append(f'<p class="soft">{prose(description)}</p>')
    if parameters := [_node(one) for one in _list(operation.get("parameters"))]:
        parts.append(rows(map(_parameter, parameters)))
    if body := _content(_node(operation.get("requestBody"))):
        parts.append(f"<p>Takes {body}</p>")
    parts.append(f"<p>Answers {'; '.join(_answers(_node(operation.get('responses'))))}</p>")
    return f'<section class="operation" id="{escape(_text(operation, "operationId"))}">{"".join(parts)}</section>'


def _parameter(parameter: Node) -> tuple[str, ...]:
    place = _text(parameter, "in")
    need = "" if parameter.get("required") else ", optional"
    kind = _kind(_node(parameter.get("schema")))
    about = _text(parameter, "description")
    return (
        element("code", _text(parameter, "name")),
        f'<span class="soft">{escape(place)}{need}</span> {kind}',
        prose(about),
    )


def _answers(responses: Node) -> list[str]:
    by_shape: dict[str, list[str]] = {}
    for status, answer in responses.items():
        by_shape.setdefault(_content(_node(answer)), []).append(element("strong", status))
    return [f"{', '.join(statuses)} {shape}".strip() for shape, statuses in by_shape.items()]


def _content(of: Node) -> str:
    kinds = []
    for media_type, content in _node(of.get("content")).items():
        shape = _kind(_node(_node(content).get("schema")))
        kinds.append(shape or escape("bytes of any type" if media_type == "*/*" else media_type))
    return " or ".join(dict.fromkeys(kinds))


def _shapes(document: Node) -> Iterator[str]:
    for name, schema in _node(_node(document.get("components")).get("schemas")).items():
        shape = _node(schema)
        yield f'<section class="operation" id="{escape(name)}">{element("h3", name)}'
        if about := _text(shape, "description"):
            yield f"<p>{prose(about)}</p>"
        required = _list(shape.get("required"))
        fields = _node(shape.get("properties"))
        if fields:
            yield rows(_field(field, _node(of), is_required=field in required) for field, of in fields.items())
        else:
            yield f"<p>{_kind(shape)}</p>"
        yield "</section>"


def _field(name: str, schema: Node, *, is_required: bool) -> tuple[str, ...]:
    need = "" if is_required else ' <span class="soft">optional</span>'
    return element("code", name) + need, _kind(schema), prose(_text(schema, "description"))


def _kind(schema: Node) -> str:
    """What values a schema allows, on one line, as HTML; empty for anything."""
    if (reference := _text(schema, "$ref")).startswith(_REF):
        name = reference.removeprefix(_REF)
        return link(f"#{name}", name)
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    if values := _list(schema.get("enum")):
        shown = " ".join(f"<code>{escape(str(value))}</code>" for value in values[:_MAX_VALUES])
        return shown + (" …" if len(values) > _MAX_VALUES else "")
    if choices := _list(schema.get("anyOf")) or _list(schema.get("oneOf")):
        return " or ".join(dict.fromkeys(_kind(_node(choice)) or "anything" for choice in choices))
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_kind(_node(schema.get('items'))) or 'anything'}"
    names = " or ".join(str(one) for one in kind) if isinstance(kind, list) else _text(schema, "type")
    return escape(" ".join(part for part in (names, _describe_format(schema)) if part))


def _describe_format(schema: Node) -> str:
    parts = [_text(schema, "format")]
    if "minimum" in schema or "maximum" in schema:
        parts.append(f"{schema.get('minimum', '')}…{schema.get('maximum', '')}")
    if "default" in schema and schema["default"] is not None:
        parts.append(f"(default {schema['default']})")
    return " ".join(part for part in parts if part)


def _node(value: JsonValue) -> Node:
    return value if isinstance(value, dict) else {}


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _text(node: Node, key: str) -> str:
    value = node.get(key)
    return value if isinstance(value, str) else ""
