"""The doors of AMQP: a message's properties, headers and body."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from tests.acceptance.doors.house import House, as_json
from tests.eventually import eventually
from tests.hostile import Hostile, Kind, Outcome, of_kind
from tests.raw_amqp import RawPublisher, long, properties, raw_publisher, short, table

_EXCHANGE = "penstock.schedule"
_KEY = b"live.keep_any"
_MESSAGE = b'{"workflow": "keep_any", "environment": "live", "parameters": {"value": %s}%s}'
_HEADERS = (b"idempotency-key", b"chain-id", b"parent-run-id", b"depth", b"traceparent", b"x-other")
_Publish = Callable[[RawPublisher], Awaitable[None]]


async def messages(house: House) -> None:
    """Each row in each place of a message, with neighbours between them: what is taken becomes one run, what is not one
    dead letter with its reason, and every neighbour its run.
    """
    url = house.installation.amqp_url
    good = _body("neighbour")
    async with raw_publisher(url) as raw:
        taken = total = 0
        for _, publish in _places():
            await publish(raw)
            if total % 4 == 0:
                await raw.publish(_EXCHANGE, good, properties(message_id=short(b"neighbour-%d" % total)), key=_KEY)
                taken += 1
            total += 1
    await eventually(lambda: _has_taken(house, taken), within=60, every=0.2)
    letters: list[dict[str, object]] = []

    async def all_are_settled() -> bool:
        letters[:] = await _read_dead_letters(house)
        return await _count_runs(house) + len(letters) >= total + taken

    try:
        await eventually(all_are_settled, within=60, every=0.2)
    except AssertionError:
        house.note(
            "AMQP", "all", f"{total + taken} sent, {await _count_runs(house)} runs and {len(letters)} dead letters"
        )
    for letter in letters:
        if not letter["reason"]:
            house.note("AMQP", "dead letter", letter)
    await _check_parameters(house)


def _places() -> list[tuple[Hostile, _Publish]]:
    """Each row with each way to publish it."""
    found: list[tuple[Hostile, _Publish]] = []
    for row in of_kind(Kind.TEXT):
        found.append((row, _publish(_body(row.text), {"message_id": b"body-" + row.name.encode()})))
        found.append((row, _publish(_body("x"), {"message_id": b"id-" + row.raw[:100]})))
        found += [
            (row, _publish(_body("x"), {name: row.raw[:100]}))
            for name in ("type", "correlation_id", "content_type", "app_id")
        ]
        found += [(row, _publish(_body("x"), {}, (name, b"S" + long(row.raw[:1000])))) for name in _HEADERS]
    for row in of_kind(Kind.NUMBER):
        found.append((row, _publish(_MESSAGE % (row.raw, b""), {"message_id": b"number-" + row.raw[:100]})))
    for row in of_kind(Kind.TIME):
        body = _MESSAGE % (b"1", b', "at": ' + as_json(row.text))
        found.append((row, _publish(body, {"message_id": b"at-" + row.raw})))
    found += [(row, _publish(row.raw, {})) for row in of_kind(Kind.BODY)]
    found += [(row, _publish(_body("x"), {"message_id": b"h-" + row.raw[:200]})) for row in of_kind(Kind.HEADER)]
    return found


def _body(value: str) -> bytes:
    return _MESSAGE % (as_json(value), b"")


def _publish(body: bytes, values: Mapping[str, bytes], header: tuple[bytes, bytes] | None = None) -> _Publish:
    written = {name: short(value[:255]) for name, value in values.items()}
    if header is not None:
        written["headers"] = table(header)

    async def publish(raw: RawPublisher) -> None:
        await raw.publish(_EXCHANGE, body, properties(**written), key=_KEY)

    return publish


async def _has_taken(house: House, neighbours: int) -> bool:
    return await _count("neighbour", house) == neighbours


async def _count(value: str, house: House) -> int:
    count = await house.installation.fetchval(
        "SELECT count(*) FROM penstock.runs WHERE trigger = 'message' AND parameters->>'value' = $1", value
    )
    assert isinstance(count, int)
    return count


async def _count_runs(house: House) -> int:
    count = await house.installation.fetchval("SELECT count(*) FROM penstock.runs WHERE trigger = 'message'")
    assert isinstance(count, int)
    return count


async def _read_dead_letters(house: House) -> list[dict[str, object]]:
    """Those that are kept, with their reasons."""
    async with house.installation.database.connection() as conn:
        rows = await conn.fetch(
            "SELECT reason, substring(body FOR 200) AS body FROM penstock.dead_letters WHERE kind = 'message'"
        )
    return [dict(row) for row in rows]


async def _check_parameters(house: House) -> None:
    """The texts and numbers that were bodies are the parameters of one run each."""
    async with house.installation.database.connection() as conn:
        rows = await conn.fetch("SELECT parameters->'value' AS value FROM penstock.runs WHERE trigger = 'message'")
    found = Counter(row["value"] for row in rows if isinstance(row["value"], str))
    for row in of_kind(Kind.TEXT, Outcome.KEPT):
        if found[row.text] < 1:
            house.note("AMQP body", row, "no run has it")
