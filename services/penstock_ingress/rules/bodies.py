"""Bodies as data: JSON, forms and multipart forms, bounded in depth and in number of fields."""

import email
import email.policy
from collections.abc import Callable, Iterable, Mapping
from email.message import EmailMessage
from typing import Final, Literal
from urllib.parse import parse_qsl

import orjson
from pydantic import JsonValue

MAX_DEPTH: Final = 64
MAX_FIELDS: Final = 1000
Kind = Literal["json", "form", "multipart"]
_NUL: Final = b"\\u0000"


class Undecodable(ValueError):
    """The body is not what its content type says, or is nested too deeply; the text is for the sender."""


class ReceivedBody:
    """A body as it was sent. It is released as soon as nobody needs it, because its request may be open for minutes."""

    __slots__ = ("_on_release", "data", "size")

    def __init__(self, data: bytes, on_release: Callable[[], None] | None = None) -> None:
        self.data = data
        self.size = len(data)
        self._on_release = on_release

    def release(self) -> None:
        """Drop the data, and let the next large body have its turn."""
        on_release, self._on_release = self._on_release, None
        self.data = b""
        if on_release is not None:
            on_release()


def kind_of(content_type: str) -> Kind | None:
    """How to read a body of this content type; none at all counts as JSON. None for what is not supported."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in {"", "application/json", "application/octet-stream"} or media_type.endswith("+json"):
        return "json"
    if media_type == "application/x-www-form-urlencoded":
        return "form"
    return "multipart" if media_type == "multipart/form-data" else None


def parse_json(body: bytes) -> JsonValue:
    """The JSON in `body`. Raises Undecodable."""
    try:
        value: JsonValue = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Undecodable(f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    # Counting brackets is some hundred times cheaper than walking the tree, and enough for nearly every body.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise Undecodable(f"the body is nested more than {MAX_DEPTH} levels deep")
    return value


def without_nul(value: JsonValue, body: bytes) -> JsonValue:
    """`value`, which was read from `body`, with U+FFFD for every NUL: PostgreSQL cannot hold one in JSON."""
    return _replace_nul(value) if _NUL in body or b"\x00" in body or b"%00" in body else value


def parse_form(text: str) -> dict[str, JsonValue]:
    """The fields of a form or query; one that occurs several times is a list. Raises Undecodable."""
    try:
        return gather(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS))
    except ValueError as error:
        raise Undecodable(f"the form cannot be read: {error}") from None


def parse_body_form(body: bytes) -> dict[str, JsonValue]:
    """The fields of a body of type application/x-www-form-urlencoded. Raises Undecodable."""
    try:
        return parse_form(body.decode())
    except UnicodeDecodeError:
        raise Undecodable("the form is not UTF-8") from None


def parse_multipart(body: bytes, content_type: str) -> dict[str, JsonValue]:
    """The text fields of a body of type multipart/form-data. Raises Undecodable, also when a field holds a file."""
    head = b"Content-Type: " + content_type.encode("ascii", "replace") + b"\r\n\r\n"
    try:
        message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
        if not message.is_multipart():
            raise Undecodable("the multipart body has no parts; does its boundary match the header?")
        return gather(_fields(message))
    except (RecursionError, LookupError, ValueError) as error:
        raise error if isinstance(error, Undecodable) else Undecodable("the multipart body cannot be read") from None


def gather(pairs: Iterable[tuple[str, str]]) -> dict[str, JsonValue]:
    """Values by name; those of a name that occurs several times as a list."""
    fields: dict[str, list[JsonValue]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}


def _fields(message: EmailMessage) -> Iterable[tuple[str, str]]:
    for count, part in enumerate(message.iter_parts()):
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if count >= MAX_FIELDS or not isinstance(name, str) or not isinstance(content, bytes):
            raise Undecodable("the multipart body has a part that is no field of a form, or too many parts")
        if part.get_filename() is not None:
            raise Undecodable(f"the field {name!r} holds a file; send the URL of the file instead")
        yield name, content.decode()


def _is_deeper(value: JsonValue, levels: int) -> bool:
    if not isinstance(value, list | dict):
        return False
    children: Iterable[JsonValue] = value if isinstance(value, list) else value.values()
    return levels == 0 or any(_is_deeper(child, levels - 1) for child in children)


def _replace_nul(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, list):
        return [_replace_nul(item) for item in value]
    if isinstance(value, Mapping):
        return {key.replace("\x00", "\ufffd"): _replace_nul(item) for key, item in value.items()}
    return value
