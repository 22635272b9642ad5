"""Dead letters over the management API: listed, shown, retried, discarded and resolved, one by one and by filter."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from penstock.broker.dead_letters import Origin, park
from penstock.contracts.envelope import Message
from penstock.contracts.topology import SCHEDULER_QUEUE
from penstock_scheduler.handlers.dead_letters import keep_letter, read_letter
from tests.integration.ingress import Ingress, running_ingress, write_app

APP = "workflow: charge\nsteps: [{log: hello}]\n---\nworkflow: other\nsteps: [{log: hello}]"
ORIGIN = Origin(SCHEDULER_QUEUE, "penstock.schedule", "live.charge")
URL = "/v1/live/dead-letters"


@pytest.fixture
async def ingress(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Ingress]:
    """An ingress with the app, and neither scheduler nor executor."""
    async with running_ingress(database_url, amqp_url, write_app(tmp_path, more=APP)) as running:
        yield running


async def fail(ingress: Ingress, workflow: str) -> str:
    """A run that has failed."""
    begun = await ingress.manage("POST", "/v1/live/runs", json={"workflow": workflow, "after": "1h"})
    await ingress.fetch(
        """
        UPDATE penstock.runs SET state = 'failed', finished_at = clock_timestamp(), error = '{"message": "it broke"}'
        WHERE id = $1::text::uuid
        """,
        begun.json["id"],
    )
    return str(begun.json["id"])


async def put(ingress: Ingress, message: Message) -> str:
    """A message in the dead letters, as a scheduler keeps it."""
    letter = read_letter(park(message, reason="not understood", origin=ORIGIN), ORIGIN)
    await ingress.database.in_transaction(lambda conn: keep_letter(conn, letter))
    return str(letter.id)


def ids(page: Any) -> list[str]:
    """Those of a page's letters."""
    return [letter["id"] for letter in page["results"]]


async def test_they_are_listed_by_pages_and_filters_and_shown(ingress: Ingress) -> None:
    runs = [await fail(ingress, name) for name in ("charge", "charge", "other")]
    message = await put(ingress, Message(b'{"a": 1}', message_id="m-1", headers={"depth": 1}))
    first: Any = (await ingress.manage("GET", f"{URL}?limit=3")).json
    second: Any = (await ingress.manage("GET", f"{URL}?limit=3&after={first['after']}")).json
    assert ids(first) + ids(second) == [message, *reversed(runs)]
    assert second["after"] is None
    for query, expected in (
        ("kind=message", [message]),
        ("kind=run&workflow=other", runs[2:]),
        ("queue=penstock.scheduler", [message]),
        ("contains=BROKE&state=open", list(reversed(runs))),
        ("state=resolved", []),
        ("until=2020-01-01T00:00:00Z", []),
    ):
        answer = await ingress.manage("GET", f"{URL}?{query}")
        assert ids(answer.json) == expected, query
    shown: Any = (await ingress.manage("GET", f"{URL}/{message}")).json
    assert (shown["body"], shown["body_encoding"], shown["message"]["message_id"]) == ('{"a": 1}', "text", "m-1")
    assert [event["state"] for event in shown["history"]] == ["open"]
    assert (await ingress.manage("GET", f"{URL}/{runs[0]}")).json["run_id"] == runs[0]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "?state=shut", None, 400),
        ("GET", "?kind=dog", None, 400),
        ("GET", "?nothing=1", None, 422),
        ("GET", "/0190a5f2-7c00-8a11-9b22-0123456789ab", None, 404),
        ("POST", "/0190a5f2-7c00-8a11-9b22-0123456789ab/retry", None, 404),
        ("POST", "/retry", {}, 422),
        ("POST", "/retry", {"all": True, "kind": "run"}, 422),
        ("POST", "/discard", {"kind": "dog"}, 422),
        ("POST", "/resolve", {"note": "x" * 1001, "all": True}, 422),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    ingress: Ingress, method: str, path: str, body: dict[str, object] | None, status: int
) -> None:
    answer = await ingress.manage(method, f"{URL}{path}", json=body)
    assert answer.status == status, answer.body


async def test_one_is_retried_discarded_or_resolved_once_with_a_note(ingress: Ingress) -> None:
    run, message = await fail(ingress, "charge"), await put(ingress, Message(b"{", message_id="m"))
    done = await ingress.manage("POST", f"{URL}/{run}/retry", json={"note": "mended"})
    assert (done.status, done.json["state"], done.json["note"], done.json["actor"]) == (
        200,
        "retried",
        "mended",
        "admin",
    )
    assert (await ingress.manage("GET", f"/v1/live/runs/{run}")).json["state"] in ("scheduled", "queued")
    again = await ingress.manage("POST", f"{URL}/{run}/discard")
    assert (again.status, again.json["state"]) == (409, "retried")
    assert (await ingress.manage("POST", f"{URL}/{message}/discard")).json["state"] == "discarded"
    assert (await ingress.manage("POST", f"{URL}/{message}/resolve")).status == 409
    retried = (await ingress.manage("POST", f"{URL}/{message}/retry")).json
    assert (retried["state"], retried["published_at"]) == ("retried", None), "a scheduler publishes it"
    unknown = read_letter(Message(b"x", message_id="x"), Origin("penstock.dead-letters", "elsewhere", "key"))
    await ingress.database.in_transaction(lambda conn: keep_letter(conn, unknown))
    refused = await ingress.manage("POST", f"{URL}/{unknown.id}/retry")
    assert refused.status == 409
    assert "the queue that it came from is unknown" in str(refused.json["detail"])


async def test_those_that_meet_a_filter_are_dealt_with_by_an_operation(ingress: Ingress) -> None:
    runs = [await fail(ingress, name) for name in ("charge", "other", "charge")]
    await put(ingress, Message(b"{", message_id="m"))
    begun = await ingress.manage("POST", f"{URL}/retry", json={"workflow": "charge", "note": "mended"})
    assert (begun.status, begun.json["kind"]) == (202, "dead-letters.retry")
    assert (begun.json["total"], begun.json["done"], begun.json["state"]) == (2, 2, "finished")
    page: Any = (await ingress.manage("GET", URL)).json
    states = {one["id"]: one["state"] for one in page["results"]}
    assert [states[run] for run in runs] == ["retried", "open", "retried"]
    rest = (await ingress.manage("POST", f"{URL}/resolve", json={"all": True})).json
    assert (rest["total"], rest["done"]) == (2, 2)
    acts: Any = (await ingress.manage("GET", "/v1/live/audit?action=dead-letter")).json
    assert [act["action"] for act in acts["results"]] == ["dead-letter.resolve", "dead-letter.retry"]


async def test_viewers_list_and_do_not_act_and_payloads_need_sight(ingress: Ingress) -> None:
    message = await put(ingress, Message(b"secret text", message_id="m"))
    wanted = {"role": "viewer", "payloads": False}
    token = str((await ingress.manage("POST", "/v1/live/tokens", json=wanted)).json["token"])
    headers = {"Authorization": f"Bearer {token}"}
    shown = (await ingress.manage("GET", f"{URL}/{message}", headers=headers)).json
    assert (shown["body"], shown["message"], shown["reason"], shown["state"]) == (None, None, None, "open")
    assert (await ingress.manage("GET", f"{URL}?contains=x", headers=headers)).status == 403
    assert (await ingress.manage("POST", f"{URL}/{message}/retry", headers=headers)).status == 403
    limited = {"role": "operator", "workflows": ["charge"]}
    token = str((await ingress.manage("POST", "/v1/live/tokens", json=limited)).json["token"])
    headers = {"Authorization": f"Bearer {token}"}
    own, other = await fail(ingress, "charge"), await fail(ingress, "other")
    assert (await ingress.manage("POST", f"{URL}/{own}/discard", headers=headers)).status == 200
    for path in (f"/{other}/discard", f"/{message}/discard", "/discard"):
        answer = await ingress.manage(
            "POST", f"{URL}{path}", headers=headers, json={"kind": "run"} if path == "/discard" else None
        )
        assert answer.status == 403, path
