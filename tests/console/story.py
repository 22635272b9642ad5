"""What has happened in the installation before anybody looks: some runs of each kind, a chain, deliveries."""

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from typing import cast
from uuid import uuid4

import orjson

from tests.acceptance.installation import STRIPE_SECRET
from tests.console.browsing import Browsing
from tests.eventually import eventually

HOSTILE = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>'\"&amp;"
JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True)
class Story:
    """Ids of what is there: a run that failed, with markup in every place; its chain; a delivery and its run; a chain
    that the depth limit has cut.
    """

    run: str
    chain: str
    delivery: str
    delivered_run: str
    cut: str

    def fill(self, path: str) -> str:
        """An address with these ids in it."""
        return path.format(**asdict(self))


async def tell(console: Browsing, said: str = HOSTILE) -> Story:
    """Let it happen, and wait until it is over. `said` is what strangers have written."""
    order, _ = await start(console, "take_order", {"number": "A-1001", "note": "gift"})
    failed, chain = await start(console, "charge_card", {"number": said, "amount": 250, "note": said})
    await start(console, "await_payment", {"number": "A-1001"})
    cut, _ = await start(console, "begin_loop", {})
    await plan(console)
    delivery = await deliver(console, {"ref": said, "note": said})
    await wait_until(console, order, "succeeded")
    await wait_until(console, failed, "failed")
    runs = cast("list[str]", delivery["run_ids"])
    await wait_until(console, runs[0], "succeeded")
    await wait_until_cut(console, cut)
    return Story(failed, chain, str(delivery["id"]), runs[0], cut)


async def plan(console: Browsing) -> None:
    """Let something be coming: a run of tomorrow, and a list that takes its time."""
    for path, wanted in (
        ("runs", {"workflow": "pack_order", "parameters": {"number": "A-2"}, "after": "1d"}),
        ("lists", {"workflow": "pack_order", "items": [{"number": f"A-{one}"} for one in range(40)], "interval": "1m"}),
    ):
        status, made = await console.installation.manage(console.ingress, "POST", f"live/{path}", wanted)
        assert status == 201, made


async def wait_until_cut(console: Browsing, chain: str) -> None:
    """Wait until a limit has cut a chain, and all else of it is over."""

    async def is_cut() -> bool:
        _, found = await console.installation.manage(console.ingress, "GET", f"live/chains/{chain}")
        counts = cast("JsonObject", cast("JsonObject", found)["counts"])
        return counts.keys() == {"succeeded", "terminated"}

    await eventually(is_cut, within=60)


async def start(console: Browsing, workflow: str, parameters: JsonObject) -> tuple[str, str]:
    """The ids of a new run and of its chain."""
    wanted = {"workflow": workflow, "parameters": parameters}
    status, run = await console.installation.manage(console.ingress, "POST", "live/runs", wanted)
    assert status == 201, run
    made = cast("JsonObject", run)
    return str(made["id"]), str(made["chain_id"])


async def find_run(console: Browsing, id: str) -> JsonObject:
    """A run as the management API shows it."""
    status, run = await console.installation.manage(console.ingress, "GET", f"live/runs/{id}")
    assert status == 200, run
    return cast("JsonObject", run)


async def wait_until(console: Browsing, id: str, state: str) -> None:
    """Wait for a run's state."""

    async def has_come() -> bool:
        return (await find_run(console, id))["state"] == state

    await eventually(has_come, within=30)


async def deliver(console: Browsing, payload: JsonObject) -> JsonObject:
    """Send a webhook as GitHub does; its delivery as the management API lists it."""
    mark = uuid4().hex
    body = orjson.dumps(payload)
    headers = {
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": mark,
        "X-Hub-Signature-256": "sha256=" + hmac.new(STRIPE_SECRET.encode(), body, hashlib.sha256).hexdigest(),
        "Content-Type": "application/json",
    }
    url = f"{console.ingress.url}/webhooks/github"
    async with console.installation.http.post(url, data=body, headers=headers) as response:
        assert response.status < 300, await response.text()
    status, found = await console.installation.manage(console.ingress, "GET", "live/deliveries?limit=20")
    assert status == 200, found
    listed = cast("list[JsonObject]", cast("JsonObject", found)["results"])
    details = [await _find_delivery(console, str(one["id"])) for one in listed]
    return next(one for one in details if mark in json.dumps(one["headers"]))


async def _find_delivery(console: Browsing, id: str) -> JsonObject:
    _, found = await console.installation.manage(console.ingress, "GET", f"live/deliveries/{id}")
    return cast("JsonObject", found)
