"""Files among the parameters of a call: each becomes a URL, as with Bubble, under which its content can be fetched.

A file is an object `{"filename", "contents"}` with `contents` in base64, which is also what a file of a
multipart form is read as. What is written here is stored only once the call is otherwise in order.
"""

import base64
import mimetypes
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote
from uuid import uuid4

from pydantic import JsonValue

from penstock.definitions.models import Parameter, ScalarType, Workflow
from penstock.definitions.parameters import ParameterProblem
from penstock.domain.files import NewFile, plain_name

MAX_UPLOADS: Final = 100
"""Files of one call."""
PATH: Final = "fileupload"
_TYPES: Final = frozenset({ScalarType.FILE, ScalarType.IMAGE})
_KEYS: Final = frozenset({"filename", "contents", "content_type", "private", "attach_to"})
_MEDIA_TYPE: Final = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
_DATA_URL: Final = re.compile(r"data:([\w.+/-]*)[\w=;+.-]*;base64,", re.ASCII)
_UNKNOWN: Final = "application/octet-stream"


class Uploads:
    """Takes the files out of a call's parameters. `base` is where their URLs begin: `//example.com/version-test`."""

    def __init__(self, base: str) -> None:
        self._base = base
        self.files: list[NewFile] = []

    def replace(self, workflow: Workflow, given: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """`given` with a URL for every file of a parameter of type file or image. Raises ParameterProblem."""
        replaced = dict(given)
        for known in workflow.parameters:
            value = given.get(known.name)
            if known.type.name in _TYPES and isinstance(value, dict | list):
                items = [self._take(known, item) for item in value] if isinstance(value, list) else None
                replaced[known.name] = self._take(known, value) if items is None else items
        return replaced

    def _take(self, known: Parameter, value: JsonValue) -> JsonValue:
        if not isinstance(value, dict) or "contents" not in value:
            return value
        if len(self.files) == MAX_UPLOADS:
            raise _wrong(known, f"a call can have {MAX_UPLOADS} files")
        file = _read_file(known, value)
        self.files.append(file)
        return f"{self._base}/{PATH}/{file.id}/{quote(file.name)}"


def _read_file(known: Parameter, value: Mapping[str, JsonValue]) -> NewFile:
    name, contents, declared = value.get("filename"), value["contents"], value.get("content_type")
    if unknown := value.keys() - _KEYS:
        raise _wrong(known, f"a file has filename, contents and content_type, not {min(unknown)[:50]!r}")
    is_private = value.get("private")
    if is_private is not None and not isinstance(is_private, bool):
        raise _wrong(known, "`private` is true or false")
    attach_to = value.get("attach_to")
    attach_to = attach_to.get("_id") if isinstance(attach_to, dict) else attach_to
    if attach_to is not None and not isinstance(attach_to, str):
        raise _wrong(known, "`attach_to` is the id of a thing")
    if not isinstance(contents, str) or not isinstance(name, str | None):
        raise _wrong(known, "a file has its name as text, and its contents as text in base64")
    prefix = _DATA_URL.match(contents)
    try:
        content = base64.b64decode("".join(contents[prefix.end() if prefix else 0 :].split()), validate=True)
    except ValueError:  # binascii.Error, or a character that is not ASCII
        raise _wrong(known, "the contents of the file are not base64") from None
    shown = plain_name(name or "file")
    kinds = (declared, prefix[1] if prefix else None, mimetypes.guess_type(shown)[0])
    kind = next((one for one in kinds if isinstance(one, str) and _MEDIA_TYPE.fullmatch(one)), _UNKNOWN)
    return NewFile(uuid4(), shown, kind, content, is_private is True, attach_to or None)


def _wrong(known: Parameter, why: str) -> ParameterProblem:
    return ParameterProblem("INVALID_DATA", known.name, f"Invalid value for parameter {known.name}: {why}")
