"""What people are notified of, how often, and by which ways: nothing twice, nothing lost from the count."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from email.message import EmailMessage
from typing import Final, cast

import pytest
from aiohttp import web
from pydantic import JsonValue

from penstock.domain.ids import new_run_id
from penstock.domain.lineage import Lineage
from penstock.domain.notices import Channel, NoticeKind
from penstock.domain.runs import Terminated
from penstock.domain.states import Trigger
from penstock.outgoing.signing import read_key, sign
from penstock.runs.chains import ChainName, stop_chain
from penstock.runs.requests import RunRequest
from penstock.store.notices import Notice, request_notices
from penstock_scheduler.loops.notifying import MAX_ATTEMPTS, gather_notices, send_notifications
from penstock_scheduler.room import Room
from tests.eventually import eventually
from tests.integration.executing import serve_outside
from tests.integration.notifying import notify
from tests.integration.scheduling import ENVIRONMENT, Station
from tests.mail_server import MailServer, serve_mail

SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PATH_SECRET: Final = "T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"
APP: Final = """
workflow: loop
parameters: {name: {type: text, optional: true}}
steps: [{schedule: other, when: "params.name != 'end'"}]
---
workflow: other
steps: [{schedule: loop}]
"""


class Receiver:
    """A real server; `statuses` are its next answers, after which it answers 204."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.release = asyncio.Event()
        self.hangs = False

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        if self.hangs:
            await self.release.wait()
        return web.Response(status=self.statuses.pop(0) if self.statuses else 204)

    @property
    def documents(self) -> list[dict[str, JsonValue]]:
        return [json.loads(body) for _, body in self.requests]


@pytest.fixture(autouse=True)
async def app(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """An app with admins, and the secrets of the receivers."""
    monkeypatch.setenv("PENSTOCK_SECRET_HOOK", SECRET)
    await station.deploy(APP, head="admins: [ops@example.com]\n")


@pytest.fixture
async def mind() -> MailServer:
    return MailServer()


@pytest.fixture
async def smtp_url(mind: MailServer) -> AsyncIterator[str]:
    async with serve_mail(mind) as url:
        yield url


async def _have(station: Station, kind: NoticeKind, times: int = 1, environment: str = ENVIRONMENT) -> None:
    async with station.database.connection() as conn:
        details: dict[str, JsonValue] = {"message": f"{kind} happened", "run_id": "r", "chain_id": "c"}
        await request_notices(conn, [Notice(environment, kind, details, times)])


async def _pass(station: Station, time: timedelta) -> None:
    await station.fetch("UPDATE penstock.notice_throttles SET last_at = last_at - $1::interval", time)


async def _use(station: Station, **columns: object) -> None:
    for name, value in columns.items():
        await station.fetch(f"UPDATE penstock.environments SET notification_{name} = $1", value)


def _subjects(mind: MailServer) -> list[str]:
    return sorted(str(mail["Subject"]) for _, mail in mind.mails)


def _content(mail: EmailMessage) -> str:
    content: str = mail.get_content()
    return content.replace("\r\n", "\n")


def _room(station: Station, **settings: object) -> Room:
    return station.furnish(outgoing_allow="127.0.0.0/8", **settings)


async def test_each_kind_is_told_of_once_a_day_and_the_next_mail_counts_what_was_held_back(
    station: Station, mind: MailServer, smtp_url: str
) -> None:
    rooms = [_room(station, smtp_url=smtp_url) for _ in range(4)]
    for kind in NoticeKind:
        await _have(station, kind)
    await asyncio.gather(*(notify(room) for room in rooms))
    assert len(mind.mails) == len(NoticeKind)
    for _ in range(3):
        for kind in NoticeKind:
            await _have(station, kind, times=7)
        await asyncio.gather(*(notify(room) for room in rooms))
    assert len(mind.mails) == len(NoticeKind)
    mind.mails.clear()
    await _pass(station, timedelta(hours=23, minutes=59))
    await _have(station, NoticeKind.TERMINATIONS)
    await asyncio.gather(*(notify(room) for room in rooms))
    assert mind.mails == []
    await _pass(station, timedelta(minutes=1))
    await _have(station, NoticeKind.TERMINATIONS)
    await asyncio.gather(*(notify(room) for room in rooms))
    ((_, mail),) = mind.mails
    assert "Held back:    22 runs were terminated since the last notification" in _content(mail)


async def test_kinds_and_environments_do_not_hold_each_other_back(
    station: Station, mind: MailServer, smtp_url: str
) -> None:
    await _use(station, addresses=["ops@example.com"])
    room = _room(station, smtp_url=smtp_url)
    for kind, environment in (
        (NoticeKind.STOPS, "live"),
        (NoticeKind.STOPS, "development"),
        (NoticeKind.WARNINGS, "live"),
    ):
        await _have(station, kind, environment=environment)
        await notify(room)
    assert _subjects(mind) == [
        "[Penstock] a chain comes near a limit in live",
        "[Penstock] a chain was stopped in development",
        "[Penstock] a chain was stopped in live",
    ]


async def test_a_kind_has_the_period_that_is_set_or_is_never_told_of(
    station: Station, mind: MailServer, smtp_url: str
) -> None:
    await _use(station, every={"stops": "10m", "warnings": "never"})
    room = _room(station, smtp_url=smtp_url)
    for _ in range(2):
        await _have(station, NoticeKind.STOPS)
        await _have(station, NoticeKind.WARNINGS)
        await notify(room)
        await _pass(station, timedelta(minutes=10))
    assert _subjects(mind) == ["[Penstock] a chain was stopped in live"] * 2


async def test_the_mail_about_a_cut_chain_says_cycle_depth_counts_and_the_command_that_resumes_it(
    station: Station, mind: MailServer, smtp_url: str
) -> None:
    room = _room(station, smtp_url=smtp_url)
    parent, chain, outcome = None, None, None
    for depth in range(12):
        request = RunRequest(
            run_id=new_run_id(), environment=ENVIRONMENT, workflow=("loop", "other")[depth % 2], parameters={},
            trigger=Trigger.RUN if parent else Trigger.MESSAGE, lineage=Lineage(0, None, parent),
        )  # fmt: skip
        (outcome,) = await room.admissions.try_to_admit([request])
        parent, chain = request.run_id, chain or request.run_id
    assert isinstance(outcome, Terminated)
    await notify(room)
    (text,) = [_content(mail) for _, mail in mind.mails if "was terminated" in str(mail["Subject"])]
    for part in (
        "Depth:        11 (limit 10)",
        "Cycle:        loop → other → loop, 6 times",
        f"    penstock chain resume {chain} --extra-depth 100\n",
        f"Run:          {parent}",
    ):
        assert part in text, text
    assert text.count("chain resume") == 1
    assert any("near a limit" in str(mail["Subject"]) for _, mail in mind.mails), "80 % of the limit are a warning"


async def test_a_webhook_is_signed_and_slack_gets_text(station: Station, mind: MailServer, smtp_url: str) -> None:
    hook, slack = Receiver(), Receiver()
    async with serve_outside(hook.handle) as hook_url, serve_outside(slack.handle) as slack_url:
        await _use(
            station,
            webhooks=[{"url": f"{hook_url}/hook", "secret": "${secrets.HOOK}"}],
            slack=[f"{slack_url}/services/{PATH_SECRET}"],
        )
        await _have(station, NoticeKind.STOPS, times=3)
        rooms = [_room(station, smtp_url=smtp_url) for _ in range(3)]
        await asyncio.gather(*(notify(room) for room in rooms))
        for room in rooms:
            await room.release()
    assert len(mind.mails) == 1
    ((headers, body),) = hook.requests
    assert headers["webhook-signature"] == sign(
        read_key(SECRET), headers["webhook-id"], int(headers["webhook-timestamp"]), body
    )
    (document,) = hook.documents
    data = cast("dict[str, object]", document["data"])
    assert document["type"] == "penstock.stops"
    assert (data["environment"], data["count"], data["held_back"]) == ("live", 3, 0)
    assert data["command"] == "penstock chain resume c"
    (said,) = slack.documents
    assert set(said) == {"text"}
    assert "a chain was stopped in live" in str(said["text"])
    assert SECRET not in f"{await station.fetch('SELECT * FROM penstock.notice_deliveries')}"


async def test_a_webhook_that_is_not_taken_is_tried_again_under_its_id_and_given_up_in_the_end(
    station: Station,
) -> None:
    hook = Receiver(*[500] * MAX_ATTEMPTS)
    async with serve_outside(hook.handle) as url:
        await _use(station, addresses=[], webhooks=[{"url": url, "secret": "${secrets.HOOK}"}])
        await _have(station, NoticeKind.STOPS)
        room = _room(station)
        for _ in range(MAX_ATTEMPTS + 3):
            await notify(room)
            await station.fetch(
                "UPDATE penstock.notice_deliveries SET next_try_at = clock_timestamp() WHERE next_try_at IS NOT NULL"
            )
        await room.release()
    assert len(hook.requests) == MAX_ATTEMPTS
    assert len({headers["webhook-id"] for headers, _ in hook.requests}) == 1
    lines = await station.fetch("SELECT level FROM penstock.logs WHERE event = 'notification failed' ORDER BY id")
    assert [line["level"] for line in lines] == ["warning"] * (MAX_ATTEMPTS - 1) + ["error"]


@pytest.mark.parametrize("status", [410, 302])
async def test_a_receiver_that_is_gone_or_elsewhere_is_not_asked_again(station: Station, status: int) -> None:
    hook = Receiver(status)
    async with serve_outside(hook.handle) as url:
        await _use(station, addresses=[], slack=[url])
        await _have(station, NoticeKind.STOPS)
        room = _room(station)
        await notify(room)
        await room.release()
    assert await station.fetchval("SELECT next_try_at FROM penstock.notice_deliveries") is None


async def test_a_channel_that_hangs_or_fails_keeps_no_other_waiting(
    station: Station, mind: MailServer, smtp_url: str
) -> None:
    hanging, broken, sound = Receiver(), Receiver(500), Receiver()
    hanging.hangs = True
    async with (
        serve_outside(hanging.handle) as hanging_url,
        serve_outside(broken.handle) as broken_url,
        serve_outside(sound.handle) as sound_url,
    ):
        await _use(station, webhooks=[{"url": url, "secret": "${secrets.HOOK}"} for url in (hanging_url, sound_url)],
                   slack=[broken_url, sound_url])  # fmt: skip
        await _have(station, NoticeKind.STOPS)
        async with station.scheduler(smtp_url=smtp_url, outgoing_allow="127.0.0.0/8"):
            await eventually(lambda: len(sound.requests) == 2 and mind.mails and broken.requests and hanging.requests)
            hanging.release.set()
    assert len(mind.mails) == 1


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"slack": ["http://127.0.0.1:1/hook"]}, "blocked by the policy for outgoing calls"),
        ({"slack": ["http://169.254.169.254/latest"]}, "blocked by the policy for outgoing calls"),
        ({"slack": ["${secrets.NOBODY_HAS_SET}"]}, "the secret NOBODY_HAS_SET is not set in live"),
        ({"webhooks": [{"url": "https://example.com", "secret": "${secrets.SHORT}"}]}, "holds a key of 3 bytes"),
    ],
)
async def test_what_cannot_be_sent_is_said_in_the_log_and_given_up(
    station: Station, monkeypatch: pytest.MonkeyPatch, columns: dict[str, object], said: str
) -> None:
    monkeypatch.setenv("PENSTOCK_SECRET_SHORT", "whsec_YWJj")
    await _use(station, addresses=[], **columns)
    await _have(station, NoticeKind.STOPS)
    room = station.furnish()
    await notify(room)
    await room.release()
    (line,) = await station.fetch("SELECT level, message FROM penstock.logs WHERE event = 'notification failed'")
    assert line["level"] == "error"
    assert said in line["message"]


async def test_a_url_that_stands_in_a_secret_is_not_in_the_log(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_SECRET_SLACK", f"http://127.0.0.1:1/services/{PATH_SECRET}")
    await _use(station, addresses=[], slack=["${secrets.SLACK}"])
    await _have(station, NoticeKind.STOPS)
    room = station.furnish()
    await notify(room)
    await room.release()
    (line,) = await station.fetch("SELECT message FROM penstock.logs WHERE event = 'notification failed'")
    assert PATH_SECRET not in line["message"]


async def test_a_stopped_chain_is_told_of_once(station: Station, mind: MailServer, smtp_url: str) -> None:
    chain = ChainName(new_run_id(), ENVIRONMENT)
    for _ in range(2):
        await stop_chain(station.database, chain, reason="it loops", by="a test")
    await notify(_room(station, smtp_url=smtp_url))
    ((_, mail),) = mind.mails
    assert f"penstock chain resume {chain.id}\n" in _content(mail)
    assert "Reason:       it loops" in _content(mail)


async def test_a_message_that_is_dead_lettered_is_told_of(station: Station) -> None:
    async with station.scheduler():
        await station.publish(raw=b"{", asks=False)
        await eventually(lambda: station.fetchval("SELECT count(*) FROM penstock.notice_deliveries"), within=30)
    rows = await station.fetch("SELECT environment, kind, content FROM penstock.notice_deliveries")
    assert [(row["environment"], row["kind"]) for row in rows] == [("live", "dead_letters")]


async def test_a_recurrence_whose_run_fails_is_told_of_apart_from_what_has_failed_in_all(
    station: Station, mind: MailServer, smtp_url: str
) -> None:
    for trigger in ("recurrence", "api"):
        await station.fetch(
            """
            INSERT INTO penstock.runs (id, chain_id, environment, workflow, trigger, state, depth, scheduled_at,
                attempt)
            VALUES ($1, $1, 'live', 'loop', $2, 'queued', 0, clock_timestamp(), 1)
            """,
            new_run_id(),
            trigger,
        )
    await station.fetch("UPDATE penstock.runs SET state = 'failed', finished_at = clock_timestamp()")
    await notify(_room(station, smtp_url=smtp_url))
    mails = {mail["Subject"]: _content(mail) for _, mail in mind.mails}
    assert "penstock runs retry" in mails.pop("[Penstock] the recurrence of loop failed in live")
    letter = mails.pop("[Penstock] loop has failed in live")
    assert "Together:     2 dead letters were added" in letter
    assert "penstock dead-letters retry" in letter
    assert not mails


async def test_many_notices_that_wait_are_counted_without_reading_them_all_at_once(station: Station) -> None:
    await station.fetch(
        """
        INSERT INTO penstock.notices (environment, kind, details)
        SELECT 'live', 'terminations', '{"message": "cut"}' FROM generate_series(1, 10500)
        """
    )
    room = station.furnish()
    for _ in range(3):
        await gather_notices(room)
    assert await station.fetchval("SELECT held_back FROM penstock.notice_throttles") == 500
    assert await station.fetchval("SELECT (content ->> 'count')::int FROM penstock.notice_deliveries") == 10_000
    assert (await send_notifications(room, Channel.SLACK)).done == {"sent": 0}
