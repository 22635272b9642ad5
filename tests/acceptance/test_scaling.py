"""The cluster's shape on one machine: three hosts, two ingresses, two schedulers, and executors that come and go by the
rule of the deployment. Nothing is lost, nothing runs twice, and no run is cut when its executor is taken away.
"""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from penstock.contracts.topology import LANES
from tests.acceptance.autoscaler import Autoscaler, Decisions, Sample, evaluate, read_rule
from tests.acceptance.hosts import LOOPBACK, Host, Network, open_network
from tests.acceptance.installation import Installation, Service
from tests.acceptance.ledger import assert_each_ran_once, listening
from tests.acceptance.load import Load, names
from tests.deploy.documents import ROOT
from tests.eventually import eventually
from tests.integration.executing import serve_outside
from tests.integration.flow.ledger import Ledger
from tests.site import deploy_files

CALLS = int(os.environ.get("PENSTOCK_TEST_SCALED_CALLS", "100"))
MOST = 6
CONCURRENCY = 4
DEPLOYED_CONCURRENCY = 400
"""What one replica may perform in the deployment; the rule's threshold counts on it."""
FASTER = 100
"""The rule's times pass this much faster: 15 s in 0.15 s."""
GRACE_SECONDS = 240
"""Replicas that are leaving perform runs that end when the last of them has begun to leave."""
HOSTS = 3


def test_the_rule_of_the_deployment_adds_what_waits_and_what_is_performed_in_its_lane() -> None:
    pod = {"namespace": "penstock", "penstock_dev_lane": "interactive"}
    samples = [
        Sample("penstock_runs_ready", {**pod, "lane": "interactive"}, 600.0),
        Sample("penstock_runs_ready", {**pod, "lane": "interactive"}, 590.0),
        Sample("penstock_runs_ready", {**pod, "lane": "bulk"}, 9000.0),
        Sample("penstock_runs_running", pod, 200.0),
        Sample("penstock_runs_running", pod, 100.0),
        Sample("penstock_runs_running", {**pod, "penstock_dev_lane": "bulk"}, 70.0),
    ]
    assert evaluate(read_rule().query, samples) == 900.0


def test_every_lane_that_the_deployment_asks_for_is_one() -> None:
    files = [path for path in (ROOT / "deploy").rglob("*") if path.suffix in {".yaml", ".yml", ".json", ".tpl"}]
    asked = {lane for path in files for lane in re.findall(r'\blane=\\?"([^"\\{]+)', path.read_text("utf-8"))}
    assert asked == set(LANES)


def test_replicas_come_at_once_and_go_slowly() -> None:
    rule = read_rule()
    decisions, replicas, counts = Decisions(rule, least=1, most=30), 1, []
    for now in range(0, 60, 15):
        replicas = decisions.decide(rule.threshold * 25, replicas, now)
        counts.append(replicas)
    assert counts == [5, 10, 20, 25]
    for now in range(60, 45 + int(rule.stable_seconds), 15):
        assert decisions.decide(0, 25, now) == 25
    assert decisions.decide(0, 25, 61 + rule.stable_seconds) == 18


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    """Three hosts if the system lets us make them, else this machine."""
    async with open_network(HOSTS) as network:
        yield network


@pytest.fixture
async def spread(network: Network, installation: Installation) -> AsyncIterator[Installation]:
    """`installation`, with services on the hosts of `network`; they have ended when the network is removed."""
    installation.hosts = network.hosts
    installation.logins = {
        service: {variable: await network.reach(url) for variable, url in login.items()}
        for service, login in installation.logins.items()
    }
    try:
        yield installation
    finally:
        await installation.close()


async def test_a_host_has_ports_of_its_own_and_is_gone_afterwards() -> None:
    async with open_network(2) as network, serve_outside(answer) as url:
        seen = {host: await fetch(host, url) for host in network.hosts}
        reached = {host: await fetch(host, await network.reach(url)) for host in network.hosts}
    is_apart = LOOPBACK not in network.hosts
    assert set(seen.values()) == {"" if is_apart else "here"}
    assert set(reached.values()) == {"here"}
    if is_apart:
        assert {await fetch(host, url) for host in network.hosts} == {""}, "its namespace is still there"


async def answer(_: web.Request) -> web.Response:
    """What a server of this machine says."""
    return web.Response(text="here")


async def fetch(host: Host, url: str) -> str:
    """What a process on that host gets from `url`; nothing when it cannot connect."""
    code = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=20).read().decode(), end='')"
    command = (*host.prefix, sys.executable, "-I", "-c", code, url)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    said, _ = await process.communicate()
    return said.decode()


@pytest.mark.timeout(600)
async def test_executors_scale_out_and_in_under_load_and_every_run_ends_where_it_began(
    network: Network, spread: Installation
) -> None:
    installation, ledger = spread, Ledger()
    async with AsyncExitStack() as stack:
        ledger.url = await stack.enter_async_context(serve_outside(ledger.handle))
        await deploy_slow(installation, await network.reach(ledger.url))
        kinds = ("ingress", "ingress", "scheduler", "scheduler")
        others = await asyncio.gather(*(installation.start(kind) for kind in kinds))
        starts = await stack.enter_async_context(listening(installation.amqp_url))
        autoscaler = await scale(installation, others)
        scaling = asyncio.create_task(autoscaler.run())
        load = Load(installation.http, lambda: [ingress.url for ingress in others[:2]], "slow")
        for wave in play_waves(autoscaler, ledger):
            await load.run(wave.names, width=8, within=200)
            await eventually(partial(may_continue, wave, scaling), within=300)
        ledger.open.set()
        autoscaler.is_stopped = True
        await scaling
        await installation.settled(within=200)
    assert autoscaler.exits == [0] * len(autoscaler.exits)
    assert len(autoscaler.exits) >= MOST - 1
    assert starts.begun_twice() == []
    await assert_each_ran_once(installation, list(load.accepted.values()), things_each=1)
    assert await installation.fetchval("SELECT max(attempt) FROM penstock.runs") == 1, "a run was cut by a scale-in"
    assert ledger.calls == len(load.accepted)


@dataclass(frozen=True, slots=True)
class Wave:
    """Calls, and what has to be so before the next ones come."""

    names: Sequence[str]
    is_over: Callable[[], bool]


def may_continue(wave: Wave, scaling: "asyncio.Task[None]") -> bool:
    """Whether the wave is over, or the controller has failed, which is shown at the end."""
    return wave.is_over() or scaling.done()


def play_waves(autoscaler: Autoscaler, ledger: Ledger) -> Iterator[Wave]:
    """Runs that wait for an answer from outside until all replicas are there; many short ones; and a few, performed by
    several replicas, that wait until all but one replica are leaving.
    """
    held = MOST * CONCURRENCY + 20
    yield Wave([f"held-{number}" for number in range(held)], lambda: autoscaler.most_ready == MOST)
    ledger.open.set()
    yield Wave(names(CALLS), lambda: ledger.calls == held + CALLS and not any(ledger.now.values()))
    ledger.open.clear()
    yield Wave([f"late-{number}" for number in range(3)], lambda: len(autoscaler.replicas) == 1)


async def deploy_slow(installation: Installation, url: str) -> None:
    """A workflow whose runs take long enough to be under way when an executor is taken away."""
    workflow = f"""
workflow: slow
parameters: {{name: text}}
on:
  api: {{method: POST, auth: admin, respond: at_once}}
steps:
  - http: "{url}/?key=slow"
    timeout: 5m
  - create: thing
    set: {{name: "${{params.name}}", position: 1}}
"""
    files = {
        "app.yaml": "app: a",
        "types/thing.yaml": "type: thing\nfields: {name: text, position: number}",
        "workflows/slow.yaml": workflow,
    }
    await deploy_files(installation.database, files, "live")
    # Nobody is killed here: a lease that runs out on a busy machine would look like a run that was cut.
    allowed = f"{urlsplit(url).hostname}/32"
    installation.settings = {"PENSTOCK_OUTGOING_ALLOW": allowed, "PENSTOCK_LEASE_SECONDS": "60"}


async def scale(installation: Installation, others: list[Service]) -> Autoscaler:
    """A controller with one executor to begin with, and the rule of the deployment for small and fast ones."""
    rule = read_rule()
    small = replace(
        rule,
        threshold=rule.threshold * CONCURRENCY / DEPLOYED_CONCURRENCY,
        up_seconds=rule.up_seconds / FASTER,
        down_seconds=rule.down_seconds / FASTER,
        stable_seconds=rule.stable_seconds / FASTER,
    )
    settings = {
        "PENSTOCK_EXECUTOR_CONCURRENCY": f"{CONCURRENCY}",
        "PENSTOCK_EXECUTOR_LANES": "interactive",
        "PENSTOCK_SHUTDOWN_GRACE_SECONDS": f"{GRACE_SECONDS}",
    }

    async def begin() -> Service:
        return await installation.start("executor", is_awaited=False, **settings)

    return Autoscaler(
        installation, Decisions(small, least=1, most=MOST), others, begin, every_seconds=0.15,
        replicas=[await begin()],
    )  # fmt: skip
