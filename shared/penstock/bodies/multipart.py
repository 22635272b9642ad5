"""Multipart forms (RFC 7578), read by a streaming parser that looks at each byte once and counts while it reads.

Never the standard library's `email`: it decodes encoded words and nested parts, in quadratic time and worse.
"""

import base64
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


def parse_multipart(body: bytes, content_type: str, *, takes_files: bool = False) -> dict[str, JsonValue]:
    """The fields of a body of type multipart/form-data. A file is `{"filename", "contents", "content_type"?}`, its
    contents in base64. Raises Undecodable, also for a file unless `takes_files`.
    """
    boundary = parse_options_header(content_type.encode("latin-1", "replace"))[1].get(b"boundary", b"")
    if not boundary:
        raise Undecodable("the multipart body cannot be read: its content type has no boundary")
    form = _Form(takes_files)
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

    def __init__(self, takes_files: bool) -> None:
        self._fields: list[tuple[str, bytes, str | None]] = []
        self._files: dict[int, dict[str, JsonValue]] = {}
        self._takes_files = takes_files
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
        self._file_name, self._content_type = "", ""
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
        elif name == b"content-type":
            self._content_type = value.decode("latin-1")

    def end_headers(self) -> None:
        if self._name is None:
            raise Undecodable("the multipart body has a part without a name, which is not a field of a form")
        if not self._file_name:
            self._charset = find_charset(self._content_type) if "charset" in self._content_type.lower() else None

    def add_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_empty_file:
            if not self._takes_files:
                raise self._holds_file()
            self._file_name = "file"
        self._data += data[start:end]

    def end_part(self) -> None:
        if self._name is None or (self._is_empty_file and not self._file_name):
            return
        if self._file_name:
            contents = base64.b64encode(self._data).decode()
            file: dict[str, JsonValue] = {"filename": self._file_name, "contents": contents}
            if self._content_type:
                file["content_type"] = self._content_type.partition(";")[0].strip()
            self._files[len(self._fields)] = file
        self._fields.append((self._name, b"" if self._file_name else bytes(self._data), self._charset))

    def end(self) -> None:
        self.is_complete = True

    def fields(self) -> Iterator[tuple[str, JsonValue]]:
        """Names and values. A field `_charset_` says what the others are in that say nothing themselves."""
        named = next((raw for name, raw, _ in self._fields if name == _CHARSET_FIELD), b"utf-8")
        default = check_charset(decode_text(named, UTF_8))
        for position, (name, raw, charset) in enumerate(self._fields):
            yield name, self._files.get(position) or decode_text(raw, charset or default)

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
        if file_name and not self._takes_files:
            raise self._holds_file()
        self._file_name = decode_text(file_name, UTF_8) if file_name else ""
        # What a browser sends for a file that nobody has chosen.
        self._is_empty_file = file_name == b""

    def _holds_file(self) -> Undecodable:
        return Undecodable(f"the field {self._shown_name} holds a file; send the URL of the file instead")

    @property
    def _shown_name(self) -> str:
        return repr((self._name or "")[:_MAX_NAME_SHOWN])
