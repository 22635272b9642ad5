"""The chapters of the story. Each acts on the running Penstock and returns what it expected and what it got."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network
from typing import Final
from uuid import UUID, uuid4

from pydantic import JsonValue

from penstock.demo.carrier import HOST, Carrier, running_carrier
from penstock.demo.client import Client, Unexpected
from penstock.domain.states import RunState
from penstock.embedded.fleet import Fleet

_LIST_LENGTH: Final = 1000
_WAIT_SECONDS: Final = 20.0
_LIST_SECONDS: Final = 60.0
_SHORT_LEASE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the story."""

    what: str
    expected: str
    got: str

    @property
    def holds(self) -> bool:
        """Whether it went as expected."""
        return self.expected == self.got


@dataclass(frozen=True, slots=True)
class Scene:
    """What the chapters act on. `tag` is new each time, so that the story can be played again on the same data."""

    client: Client
    fleet: Fleet
    stripe_secret: str
    tag: str


async def play_payments(scene: Scene) -> list[Check]:
    """A webhook that Stripe signed, the same once more, and one that somebody else signed."""
    number = f"INV-{scene.tag}"
    event = _invoice_paid(f"evt_{scene.tag}", number)
    first = await scene.client.deliver_stripe(event, scene.stripe_secret)
    await _wait(lambda: _is_count(scene.client.count_things("order", number=number), 1))
    again = await scene.client.deliver_stripe(event, scene.stripe_secret)
    forged_number = f"FORGED-{scene.tag}"
    forged = await scene.client.deliver_stripe(
        _invoice_paid(f"evt_forged_{scene.tag}", forged_number), "whsec_of_somebody_else"
    )
    orders = await scene.client.count_things("order", number=number)
    forged_orders = await scene.client.count_things("order", number=forged_number)
    is_same = again.body.get("duplicate") is True and again.body.get("delivery_id") == first.body.get("delivery_id")
    return [
        Check("Stripe's webhook: invoice.paid", "200, accepted", f"{first.status}, {first.body.get('status')}"),
        Check(
            "the same delivery once more",
            "duplicate, 1 order",
            f"{'duplicate' if is_same else 'new'}, {_count(orders, 'order')}",
        ),
        Check("one with a forged signature", "401, 0 orders", f"{forged.status}, {_count(forged_orders, 'order')}"),
    ]


def _invoice_paid(event_id: str, number: str) -> JsonValue:
    invoice: JsonValue = {
        "id": f"in_{number}",
        "object": "invoice",
        "number": number,
        "amount_paid": 4200,
        "currency": "eur",
    }
    return {"id": event_id, "object": "event", "type": "invoice.paid", "data": {"object": invoice}}


async def play_recursion(scene: Scene) -> list[Check]:
    """Three ways to schedule forever; the depth limit ends each."""
    limit = await scene.client.get_depth_limit()
    routes = (
        ("itself", "start → create_thing ↻", limit),
        ("late", "start → a → b → create_thing ↻", max(limit - 2, 0)),
        ("in_turns", "start → create_thing ⇄ other", (limit + 1) // 2),
    )
    checks = []
    for route, what, expected in routes:
        batch = f"{scene.tag}-{route}"
        chain_id = await scene.client.start("start", {"batch": batch, "route": route})
        await _wait(partial(scene.client.has_runs, chain_id, RunState.TERMINATED))
        await _wait(partial(scene.client.is_settled, chain_id))
        things = await scene.client.count_things("thing", batch=batch)
        is_cut = await scene.client.has_runs(chain_id, RunState.TERMINATED)
        checks.append(
            Check(
                what,
                f"{_count(expected, 'thing')}, then cut",
                f"{_count(things, 'thing')}{', then cut' if is_cut else ''}",
            )
        )
    return checks


async def play_list(scene: Scene) -> list[Check]:
    """A long list from one root: however many, all at the same depth."""
    batch = f"{scene.tag}-list"
    names: list[JsonValue] = [f"item {number}" for number in range(_LIST_LENGTH)]
    chain_id = await scene.client.start("create_list", {"batch": batch, "names": names})
    await _wait(lambda: _is_count(scene.client.count_things("thing", batch=batch), _LIST_LENGTH), seconds=_LIST_SECONDS)
    await _wait(partial(scene.client.is_settled, chain_id))
    things = await scene.client.count_things("thing", batch=batch)
    at_depth_one = await scene.client.count_things("thing", batch=batch, depth=1)
    got = (
        f"{at_depth_one:,} at depth 1" if at_depth_one == things else f"{things:,}, of them {at_depth_one:,} at depth 1"
    )
    return [Check(f"a list of {_LIST_LENGTH:,} from one root", f"{_LIST_LENGTH:,} at depth 1", got)]


async def play_crash(scene: Scene) -> list[Check]:
    """An executor is lost while it waits for a carrier; another one finishes its run and repeats no finished step."""
    fleet = scene.fleet
    # Only these two may call a service on this machine, and their leases are short, so that the story is.
    given: dict[str, object] = {"lease_seconds": _SHORT_LEASE_SECONDS, "outgoing_allow": (ip_network(HOST),)}
    async with running_carrier() as carrier:
        await fleet.drain(fleet.find("executor"))
        try:
            doomed = await fleet.start("executor", is_apart=True, given=given)
            order = f"ORDER-{scene.tag}"
            run_id = await scene.client.start("fulfil_order", {"order": order, "carrier": carrier.url})
            async with asyncio.timeout(_WAIT_SECONDS):
                await carrier.was_asked.wait()
            await fleet.lose(doomed)
            rescuer = await fleet.start("executor", given=given)
            checks = await _watch_rescue(scene, carrier, run_id, order)
            await fleet.drain(rescuer)
        finally:
            await fleet.start("executor")
    return checks


async def _watch_rescue(scene: Scene, carrier: Carrier, run_id: UUID, order: str) -> list[Check]:
    async def has_ended() -> bool:
        return RunState(str((await scene.client.get_run(run_id))["state"])).is_final

    await _wait(has_ended)
    run = await scene.client.get_run(run_id)
    reservations = await scene.client.count_things("reservation", order=order)
    keys = {key for key in carrier.keys if key is not None}
    return [
        Check("an executor crashes in mid-run", "attempt 2 succeeded", f"attempt {run['attempt']} {run['state']}"),
        Check("what it had done is not redone", "1 reservation", _count(reservations, "reservation")),
        Check(
            "the carrier is asked once more",
            "2 calls, 1 key",
            f"{_count(len(carrier.keys), 'call')}, {_count(len(keys), 'key')}",
        ),
    ]


async def _is_count(counting: Awaitable[int], count: int) -> bool:
    return await counting >= count


async def _wait(condition: Callable[[], Awaitable[bool]], *, seconds: float = _WAIT_SECONDS) -> None:
    """Until `condition` holds or the time is over; what is true then is checked by the caller."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not await condition() and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.05)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def new_tag() -> str:
    """Tells this time from all others."""
    return uuid4().hex[:8]


CHAPTERS: Final[tuple[tuple[str, Callable[[Scene], Awaitable[list[Check]]]], ...]] = (
    ("payments", play_payments),
    ("recursion", play_recursion),
    ("a list", play_list),
    ("a crash", play_crash),
)

__all__ = ["CHAPTERS", "Check", "Scene", "Unexpected", "new_tag"]
