"""What an app under test answers over HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import orjson
from pydantic import JsonValue


@dataclass(frozen=True, slots=True)
class Reply:
    """What the app answered over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> JsonValue:
        """The body, which has to be JSON."""
        value: JsonValue = orjson.loads(self.body)
        return value


@dataclass(frozen=True, slots=True)
class Delivered(Reply):
    """What the sender of a webhook was answered."""

    @property
    def run_ids(self) -> list[UUID]:
        """The runs that the delivery has started; of a copy, those of the first one; none for one that was refused."""
        ids = self._member("run_ids")
        if ids is None:
            ids = [*filter(None, self.headers.get("Penstock-Run-Ids", "").split(", "))]
        return [UUID(str(id)) for id in ids] if isinstance(ids, list) else []

    @property
    def is_duplicate(self) -> bool:
        """Whether it was recognised as a copy."""
        return self._member("duplicate") is True or "Penstock-Duplicate" in self.headers

    def _member(self, name: str) -> JsonValue:
        """A member of the answer, where it is one of ours: some senders want another, and headers say it then."""
        is_ours = self.status in {200, 202} and "Penstock-Delivery-Id" not in self.headers
        body = self.json() if is_ours else None
        return body.get(name) if isinstance(body, dict) else None
