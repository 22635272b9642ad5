"""One route of the management API, as its description has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from penstock.domain.callers import Role

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
