"""One route of the management API, as its description has it, and the shape of what is answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, JsonValue

from penstock.domain.callers import Role
from penstock.http_server import EVENT_STREAM

REF: Final = "#/components/schemas/{model}"
PAGE: Final = ("after", "limit")
"""The query of what is shown in pages."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One route: what goes in, what comes out, and the statuses of problems it may answer beside those of all.

    An upload takes bytes of any kind, a download answers them. A stream answers server-sent events, each with an
    `answer` as its data. With a `media` type of its own, the answer is several of `answer`, one after the other.
    """

    path: str
    method: str
    summary: str
    answer: type[BaseModel]
    body: type[BaseModel] | None = None
    query: Sequence[str] = ()
    status: int = 200
    problems: Sequence[int] = (404,)
    is_upload: bool = False
    is_download: bool = False
    is_stream: bool = False
    media: str = "application/json"
    role: Role | None = None

    @property
    def needed_role(self) -> Role:
        """The least role that may do this: unless it says otherwise, viewers look and operators act."""
        if self.role is not None:
            return self.role
        return Role.VIEWER if self.method == "get" else Role.OPERATOR


def content_of(media_type: str, model: type[BaseModel]) -> dict[str, JsonValue]:
    """An answer, or a body, of this shape."""
    return {media_type: {"schema": {"$ref": REF.format(model=model.__name__)}}}


def events_of(model: type[BaseModel]) -> dict[str, JsonValue]:
    """Server-sent events, as a client parses each of them: `data` is JSON in a text."""
    text: dict[str, JsonValue] = {"type": "string"}
    shape: dict[str, JsonValue] = {"$ref": REF.format(model=model.__name__)}
    data: dict[str, JsonValue] = {**text, "contentMediaType": "application/json", "contentSchema": shape}
    properties: dict[str, JsonValue] = {"event": text, "id": text, "data": data}
    return {EVENT_STREAM: {"schema": {"type": "object", "required": ["data"], "properties": properties}}}
