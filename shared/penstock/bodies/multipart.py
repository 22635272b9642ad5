"""Multipart forms (RFC 7578), read by a streaming parser that looks at each byte once and counts while it reads.

Never the standard library's `email`: it decodes encoded words and nested parts, in quadratic time and worse.
"""

from collections.abc import Iterator
from typing import Final

from pydantic import JsonValue
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from penstock.bodies.charsets import UTF_8, check_charset, decode_text, find_charset
from penstock.bodies.forms import MAX_FIELDS, gather
from penstock.bodies.undecodable import Undecodable

MAX_HEADER_BYTES: Final = 8192
"""Of all headers of one part together."""
MAX_HEADERS: Final = 16
_MAX_NAME_SHOWN: Final = 100
_CHARSET_FIELD: Final = "_charset_"


def parse_multipart(body: bytes, content_type: str) -> dict[str, JsonValue]:
    """The text fields of a body of type multipart/form-data. Raises Undecodable, also when a field holds a file."""
    boundary = parse_options_header(content_type.encode("latin-1", "replace"))[1].get(b"boundary", b"")
    if not boundary:
        raise Undecodable("the multipart body cannot be read: its content type has no boundary")
    form = _Form()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": form.begin_part,
                "on_header_field": form.add_header_name,
                "on_header_value": form.add_header_value,
                "on_header_end": form.end_header,
                "on_headers_finished": form.end_headers,
                "on_part_data": form.add_data,
                "on_part_end": form.end_part,
                "on_end": form.end,
            },
            max_header_count=MAX_HEADERS,
            max_header_size=MAX_HEADER_BYTES,
        )
        parser.write(body)
    except FormParserError as error:
        raise Undecodable(f"the multipart body cannot be read: {str(error)[:_MAX_NAME_SHOWN]}") from None
    if not form.is_complete:
        raise Undecodable("the multipart body has no end; does its boundary match the header?")
    return gather(form.fields())


class _Form:
    """Collects what the parser reports. A part that is not a field, or one too many, ends the parsing at once."""

    def __init__(self) -> None:
        self._fields: list[tuple[str, bytes, str | None]] = []
        self._parts = 0
        self.is_complete = False
        self.begin_part()
        self._parts = 0

    def begin_part(self) -> None:
        self._parts += 1
        if self._parts > MAX_FIELDS:
            raise Undecodable(f"the multipart body has more than {MAX_FIELDS} fields")
        self._header_bytes = 0
        self._header_name, self._header_value = bytearray(), bytearray()
        self._name: str | None = None
        self._charset: str | None = None
        self._is_empty_file = False
        self._data = bytearray()

    def add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._header_name += data[start:end]

    def add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._header_value += data[start:end]

    def end_header(self) -> None:
        name, value = bytes(self._header_name).lower(), bytes(self._header_value)
        self._header_name, self._header_value = bytearray(), bytearray()
        if name == b"content-disposition":
            self._read_disposition(value)
        elif name == b"content-type" and b"charset" in value.lower():
            self._charset = find_charset(value.decode("latin-1"))

    def end_headers(self) -> None:
        if self._name is None:
            raise Undecodable("the multipart body has a part without a name, which is not a field of a form")

    def add_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_empty_file:
            raise Undecodable(f"the field {self._shown_name} holds a file; send the URL of the file instead")
        self._data += data[start:end]

    def end_part(self) -> None:
        if self._name is not None and not self._is_empty_file:
            self._fields.append((self._name, bytes(self._data), self._charset))

    def end(self) -> None:
        self.is_complete = True

    def fields(self) -> Iterator[tuple[str, str]]:
        """Names and values. A field `_charset_` says what the others are in that say nothing themselves."""
        named = next((raw for name, raw, _ in self._fields if name == _CHARSET_FIELD), b"utf-8")
        default = check_charset(decode_text(named, UTF_8))
        for name, raw, charset in self._fields:
            yield name, decode_text(raw, charset or default)

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADER_BYTES:
            raise Undecodable(f"the multipart body has a part with more than {MAX_HEADER_BYTES} bytes of headers")

    def _read_disposition(self, value: bytes) -> None:
        kind, options = parse_options_header(value)
        if kind != b"form-data" or b"name" not in options:
            return
        self._name = decode_text(options[b"name"], UTF_8)
        file_name = options.get(b"filename")
        if file_name:
            raise Undecodable(f"the field {self._shown_name} holds a file; send the URL of the file instead")
        # What a browser sends for a file that nobody has chosen.
        self._is_empty_file = file_name is not None

    @property
    def _shown_name(self) -> str:
        return repr((self._name or "")[:_MAX_NAME_SHOWN])
