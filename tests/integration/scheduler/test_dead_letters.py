"""Messages of the dead-letter queue are kept as rows, once each, and what is retried comes back to its queue once."""

import asyncio
from functools import partial
from uuid import UUID, uuid4

import orjson
import pytest
from pydantic import JsonValue

from penstock.broker.dead_letters import DEATH, Origin, park
from penstock.contracts.envelope import Message
from penstock.contracts.topology import DEAD_LETTER_EXCHANGE, SCHEDULER_QUEUE
from penstock.db import Record
from penstock.domain.dead_letters import LetterVerb
from penstock.domain.ids import new_run_id
from penstock.runs.dead_letters import MAX_BODY_BYTES, Handled, LetterAct, handle_letters
from penstock.runs.views.dead_letters import find_letter
from penstock_scheduler.handlers.dead_letters import keep_letter, read_letter
from penstock_scheduler.loops.dead_letters import publish_retried
from penstock_scheduler.loops.retention import delete_aged
from tests.eventually import eventually
from tests.integration.scheduling import ENVIRONMENT, Station

ORIGIN = Origin(SCHEDULER_QUEUE, "penstock.schedule", f"{ENVIRONMENT}.notify")
GOOD = orjson.dumps({"workflow": "notify", "environment": ENVIRONMENT, "parameters": {"name": "afar"}})


async def put(station: Station, message: Message) -> None:
    """Put a message into the dead letters as a service does."""
    await station.broker.publish(DEAD_LETTER_EXCHANGE, "x", park(message, reason="no\x00 good", origin=ORIGIN))


async def letters(station: Station, count: int = 1) -> list[Record]:
    """All letters, when there are that many."""

    async def look() -> list[Record]:
        rows = await station.fetch("SELECT * FROM penstock.dead_letters ORDER BY first_seen_at, id")
        return rows if len(rows) >= count else []

    return await eventually(look, within=30)


async def handle(station: Station, verb: LetterVerb, id: UUID, note: str | None = None) -> Handled:
    act = LetterAct(verb, "a test", "a test", note)
    return await station.database.in_transaction(
        lambda conn: handle_letters(conn, act, environment=ENVIRONMENT, ids=[id], is_audited=True)
    )


async def test_a_message_is_kept_with_its_reason_origin_and_bytes_and_people_are_notified(station: Station) -> None:
    async with station.scheduler():
        headers = {"environment": ENVIRONMENT, "depth": 1, "x-api-key": "s3cret", "odd": b"\xff\x00"}
        await put(station, Message(b"\xff\x00\xed\xa0\x80", message_id="m-1", headers=headers))
        (row,) = await letters(station)
        noticed = await eventually(
            lambda: station.fetch("SELECT environment, kind FROM penstock.notice_throttles"), within=30
        )
    assert (row["kind"], row["state"], row["environment"], row["times"]) == ("message", "open", ENVIRONMENT, 1)
    assert (row["queue"], row["routing_key"], row["body"]) == (
        SCHEDULER_QUEUE,
        ORIGIN.routing_key,
        b"\xff\x00\xed\xa0\x80",
    )
    assert row["reason"] == "no\N{REPLACEMENT CHARACTER} good"
    kept = row["message"]["headers"]
    assert (kept["depth"], kept["x-api-key"], kept["odd"]) == (1, "[redacted]", "\N{REPLACEMENT CHARACTER}" * 2)
    assert [tuple(one) for one in noticed] == [(ENVIRONMENT, "dead_letters")]
    async with station.database.connection() as conn:
        shown = await find_letter(conn, id=row["id"])
    assert shown is not None
    assert (shown.body_encoding, shown.retryable) == ("base64", True)


async def test_the_same_dead_letter_delivered_again_is_one_and_another_with_its_content_is_a_second(
    station: Station,
) -> None:
    first = park(Message(b"{", message_id="m-1"), reason="no", origin=ORIGIN)
    async with station.scheduler():
        for message in (first, first, park(Message(b"{", message_id="m-1"), reason="no", origin=ORIGIN)):
            await station.broker.publish(DEAD_LETTER_EXCHANGE, "x", message)
        await put(station, Message(b"last", message_id="m-2"))
        rows = await letters(station, 3)
    assert [row["body"] for row in rows].count(b"{") == 2
    assert {row["times"] for row in rows} == {1}


def test_what_rabbitmq_dead_lettered_is_known_again_and_says_why() -> None:
    death: JsonValue = {
        "count": 201, "reason": "delivery_limit", "queue": SCHEDULER_QUEUE, "exchange": "penstock.schedule",
        "routing-keys": ["live.notify"],
    }  # fmt: skip
    found = Origin("penstock.dead-letters", DEAD_LETTER_EXCHANGE, "live.notify")
    message = Message(b"x", message_id="m", headers={"x-death": [death]})
    letter = read_letter(message, found)
    assert letter.reason == (
        "RabbitMQ dead-lettered it: it was delivered too often without being acknowledged (201 times)"
    )
    assert (letter.queue, letter.environment, letter.routing_key) == (SCHEDULER_QUEUE, "live", "live.notify")
    assert read_letter(message, found).id == letter.id
    assert read_letter(message._replace(message_id="other"), found).id != letter.id
    unnamed = message._replace(message_id="unnamed:1")
    assert read_letter(unnamed, found).id != read_letter(unnamed, found).id, "two without ids are two"


@pytest.mark.parametrize(
    "headers",
    [{}, {"x-death": "no list"}, {"x-death": [5]}, {DEATH: 5}, {DEATH: ""}, {"reason": 7, "original-queue": "away"},
     {"dead-letter-id": "no id", "environment": "\ud800"}, {"\ud800": "\ud800", "n": 2**70, "t": {"a": [1]}}],
)  # fmt: skip
def test_headers_of_any_kind_are_read(headers: dict[str, object]) -> None:
    letter = read_letter(Message(b"", headers=headers), Origin("penstock.dead-letters", "", "penstock.dead-letters"))
    assert (letter.queue, letter.environment) == (None, "live")
    assert orjson.dumps([letter.reason, letter.properties])


async def test_a_retried_message_is_published_once_and_does_its_work_once(station: Station) -> None:
    async with station.scheduler():
        await put(station, Message(GOOD))  # without an id
        (row,) = await letters(station)
        handled = await handle(station, LetterVerb.RETRY, row["id"], "it was our fault")
        assert handled.ids == [row["id"]]
        assert (await handle(station, LetterVerb.RETRY, row["id"])).ids == [], "it was retried"
        (run,) = await eventually(station.runs, within=30)
        (row,) = await eventually(
            lambda: station.fetch("SELECT * FROM penstock.dead_letters WHERE published_at IS NOT NULL"), within=30
        )
        # A scheduler that died between the confirm and its note: it is published again.
        await station.fetch("UPDATE penstock.dead_letters SET publish_at = clock_timestamp()")
        await eventually(lambda: station.fetchval("SELECT publish_at IS NULL FROM penstock.dead_letters"), within=30)
        await station.ask(message_id="after it")
        assert len(await station.runs()) == 2
    assert run["workflow"] == "notify"
    assert (row["state"], row["note"], row["actor"], row["publish_at"]) == (
        "retried",
        "it was our fault",
        "a test",
        None,
    )
    acts = await station.fetch("SELECT action, subject, after FROM penstock.audit")
    assert [tuple(act) for act in acts] == [("dead-letter.retry", str(row["id"]), {"note": "it was our fault"})]


async def test_a_message_that_fails_again_opens_its_letter_again(station: Station) -> None:
    async with station.scheduler():
        await station.publish(raw=b"{", asks=False, message_id="m")
        (row,) = await letters(station)
        await handle(station, LetterVerb.RETRY, row["id"])
        (row,) = await eventually(
            lambda: station.fetch("SELECT * FROM penstock.dead_letters WHERE times = 2 AND state = 'open'"), within=30
        )
    assert [event["state"] for event in row["history"]] == ["open", "retried", "open"]
    assert await station.fetchval("SELECT count(*) FROM penstock.dead_letters") == 1


async def test_a_header_that_names_a_letter_of_other_content_opens_none(station: Station) -> None:
    async with station.scheduler():
        await put(station, Message(b"first", message_id="m"))
        (row,) = await letters(station)
        await handle(station, LetterVerb.DISCARD, row["id"])
        await put(station, Message(b"forged", message_id="n", headers={"dead-letter-id": str(row["id"])}))
        rows = await letters(station, 2)
    assert [(row["body"], row["state"]) for row in rows] == [(b"first", "discarded"), (b"forged", "open")]


async def test_of_a_huge_message_the_beginning_is_kept_and_it_is_not_published_again(station: Station) -> None:
    room, letter = station.furnish(), read_letter(Message(b"x" * (MAX_BODY_BYTES + 1), message_id="m"), ORIGIN)
    await station.database.in_transaction(lambda conn: keep_letter(conn, letter))
    assert (await handle(station, LetterVerb.RETRY, letter.id)).ids == []
    assert (await publish_retried(room)).done["published"] == 0
    async with station.database.connection() as conn:
        shown = await find_letter(conn, id=letter.id)
    assert shown is not None
    assert (shown.size, shown.retryable) == (MAX_BODY_BYTES + 1, False)
    await room.release()


async def test_a_failed_run_is_a_dead_letter_until_it_is_taken_up_again(station: Station) -> None:
    run = new_run_id()
    await station.fetch(
        """
        INSERT INTO penstock.runs (id, chain_id, environment, workflow, trigger, state, depth, scheduled_at, attempt)
        VALUES ($1, $1, $2, 'notify', 'api', 'queued', 0, clock_timestamp(), 1)
        """,
        run,
        ENVIRONMENT,
    )
    fail = """
        UPDATE penstock.runs SET state = 'failed', finished_at = clock_timestamp(), error = '{"message": "it broke"}'
        WHERE id = $1
        """
    await station.fetch(fail, run)
    (row,) = await letters(station)
    assert (row["id"], row["kind"], row["reason"], row["workflow"]) == (run, "run", "it broke", "notify")
    assert await station.fetchval("SELECT kind FROM penstock.notices") == "dead_letters.run"
    handled = await handle(station, LetterVerb.RETRY, run, "mended")
    assert [one.id for one in handled.runs] == [run]
    (row,) = await letters(station)
    assert (row["state"], row["actor"], row["note"]) == ("retried", "a test", "mended")
    assert row["history"][-1]["note"] == "mended"
    await station.fetch("UPDATE penstock.runs SET state = 'queued' WHERE id = $1", run)
    await station.fetch(fail, run)
    (row,) = await letters(station)
    assert (row["state"], row["times"], row["note"]) == ("open", 2, None)
    assert (await handle(station, LetterVerb.RESOLVE, run)).ids == [run]
    assert (await handle(station, LetterVerb.DISCARD, run)).ids == []


async def test_old_letters_of_messages_are_deleted_and_young_ones_stay(station: Station) -> None:
    room = station.furnish()
    for body in (b"old", b"young"):
        letter = read_letter(Message(body, message_id=uuid4().hex), ORIGIN)
        await station.database.in_transaction(partial(keep_letter, letter=letter))
    await station.fetch("UPDATE penstock.dead_letters SET last_seen_at = '2020-01-01Z' WHERE body = 'old'")
    assert (await delete_aged(room)).done["dead_letters"] == 1
    assert [row["body"] for row in await letters(station)] == [b"young"]
    await room.release()


async def test_two_schedulers_publish_a_retried_message_once(station: Station) -> None:
    room = station.furnish()
    letter = read_letter(park(Message(GOOD, message_id="m"), reason="no", origin=ORIGIN), ORIGIN)
    await station.database.in_transaction(lambda conn: keep_letter(conn, letter))
    await handle(station, LetterVerb.RETRY, letter.id)
    counts = await asyncio.gather(*(publish_retried(room) for _ in range(4)))
    assert sum(count.done["published"] for count in counts) == 1
    assert await station.broker.count_ready(SCHEDULER_QUEUE) == 1
    await room.release()
