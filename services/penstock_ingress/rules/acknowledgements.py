"""What a provider is answered once its delivery is durable, in the form that it wants."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from pydantic import JsonValue

from penstock.webhooks import SignedRequest
from penstock.webhooks.contents import FORM
from penstock.webhooks.recipes import Form
from penstock_ingress.rules.replies import Reply, json_reply

_TWIML: Final = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'
_INTERACTIONS: Final[Mapping[int, Mapping[str, object]]] = {
    2: {"type": 5},
    3: {"type": 6},
    4: {"type": 8, "data": {"choices": []}},
    5: {"type": 5},
}
"""By the type of a Discord interaction: an answer will follow; or, while someone types (4), nothing to choose from."""


class Received(NamedTuple):
    """A delivery that is durable; of a copy, the first one."""

    delivery_id: UUID
    run_ids: Sequence[UUID]
    is_duplicate: bool


def acknowledge(form: Form, request: SignedRequest, payload: JsonValue, received: Received) -> Reply:
    """The answer. Where that cannot be JSON of ours, headers say which delivery it is and what it has started."""
    match form:
        case Form.ACCEPTED:
            return _json(200, received)
        case Form.GRAPH:
            return _json(202, received)
        case Form.SLACK:
            # What is answered to a command or an action is shown to the person who gave it.
            return Reply(200, headers=_headers(received)) if request.content_type == FORM else _json(200, received)
        case Form.TWIML:
            return Reply(200, _TWIML, "text/xml; charset=utf-8", _headers(received))
        case Form.DISCORD:
            kind = payload.get("type") if isinstance(payload, dict) and "event" not in payload else None
            answer = _INTERACTIONS.get(kind) if isinstance(kind, int) else None
            return (
                Reply(204, headers=_headers(received))
                if answer is None
                else json_reply(200, answer, _headers(received))
            )


def _json(status: int, received: Received) -> Reply:
    delivery_id, run_ids, is_duplicate = received
    body = {"status": "accepted", "delivery_id": delivery_id, "run_ids": run_ids, "duplicate": is_duplicate}
    return json_reply(status, body)


def _headers(received: Received) -> dict[str, str]:
    started = {"Penstock-Run-Ids": ", ".join(map(str, received.run_ids))} if received.run_ids else {}
    duplicate = {"Penstock-Duplicate": "true"} if received.is_duplicate else {}
    return {"Penstock-Delivery-Id": str(received.delivery_id), **started, **duplicate}
