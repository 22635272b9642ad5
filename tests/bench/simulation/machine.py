"""One machine: every part on the same few cores, as `make bench` measures them.

A service is one thread, so it does one thing at a time. PostgreSQL and RabbitMQ use what cores are free. A batch goes
through its parts in order; while one waits for a commit, the next one may be computed.
"""

from collections.abc import Callable, Generator, Mapping
from typing import Final

import simpy

from tests.bench.simulation.costs import Costs

Process = Generator[simpy.Event, object, None]

CONNECTIONS: Final = 64
MAX_CLAIM: Final = 100
"""Runs of one claim under load."""
_BATCHES_IN_FLIGHT: Final = 2
_SLICE: Final = 0.0005
"""Seconds after which whatever computes lets others compute."""


class Machine:
    """Cores that are shared in slices, and the threads of services, each of which uses one core at most."""

    def __init__(self, cores: int) -> None:
        self.world = simpy.Environment()
        self._cores = simpy.Resource(self.world, capacity=cores)

    def thread(self) -> simpy.Resource:
        """A service: its work is done one thing at a time."""
        return simpy.Resource(self.world, capacity=1)

    def compute(self, seconds: float, thread: simpy.Resource | None = None) -> Process:
        """Use a core for that long in all; in a service's thread, if one is given."""
        if thread is None:
            yield from self._use_core(seconds)
            return
        with thread.request() as turn:
            yield turn
            yield from self._use_core(seconds)

    def wait(self, seconds: float) -> Process:
        """Let time pass without computing."""
        yield self.world.timeout(seconds)

    def _use_core(self, seconds: float) -> Process:
        left = seconds
        while left > 0:
            with self._cores.request() as core:
                yield core
                step = min(left, _SLICE)
                yield self.world.timeout(step)
                left -= step


def predict_accepted(costs: Costs, cores: int, *, seconds: float = 2.0) -> float:
    """Webhooks accepted per second by one ingress, from clients each of which waits for its answer."""
    machine = Machine(cores)
    client, ingress = machine.thread(), machine.thread()
    waiting: list[simpy.Event] = []
    answered = 0

    def send() -> Process:
        nonlocal answered
        while True:
            yield from machine.compute(costs.client, client)
            yield from machine.compute(costs.ingress.run, ingress)
            stored = machine.world.event()
            waiting.append(stored)
            yield stored
            answered += 1

    def store() -> Process:
        while True:
            batch = waiting[:]
            waiting.clear()
            if not batch:
                yield from machine.wait(_SLICE)
                continue
            yield from machine.compute(costs.ingress.batch, ingress)
            yield from machine.compute(costs.accept_in_database.of(len(batch)))
            yield from machine.wait(costs.commit)
            # They are answered before the broker has their runs.
            machine.world.process(machine.compute(costs.broker.run * len(batch)))
            for stored in batch:
                stored.succeed()

    for _ in range(CONNECTIONS):
        machine.world.process(send())
    for _ in range(_BATCHES_IN_FLIGHT):
        machine.world.process(store())
    machine.world.run(until=seconds)
    return answered / seconds


def predict_drained(costs: Costs, cores: int, *, runs: int = 10_000) -> float:
    """Runs per second of one executor that finds `runs` of them waiting."""
    machine = Machine(cores)
    executor = machine.thread()
    left = runs

    def perform() -> Process:
        nonlocal left
        while left:
            taken = min(left, MAX_CLAIM)
            left -= taken
            work = costs.perform_in_database.of(taken) / 2
            yield from machine.compute(costs.broker.of(taken))
            yield from machine.compute(work)
            yield from machine.wait(costs.commit)
            yield from machine.compute(costs.executor.of(taken), executor)
            yield from machine.compute(work)
            yield from machine.wait(costs.commit)

    workers = [machine.world.process(perform()) for _ in range(_BATCHES_IN_FLIGHT)]
    machine.world.run(until=machine.world.all_of(workers))
    return runs / machine.world.now


def predict_hops(costs: Costs, cores: int, *, hops: int = 100) -> float:
    """Hops per second of one chain, each run of which schedules the next.

    A hop is one transaction of the executor: it records the step, admits the child, ends the parent and claims the
    child. Nothing of it happens beside it, but for what RabbitMQ does with events.
    """
    machine = Machine(cores)
    executor = machine.thread()

    def go() -> Process:
        for _ in range(hops):
            yield from machine.compute(costs.executor.of(1), executor)
            yield from machine.compute(costs.perform_in_database.of(1))
            machine.world.process(machine.compute(costs.broker.of(1)))
            yield from machine.wait(costs.commit)

    machine.world.run(until=machine.world.process(go()))
    return hops / machine.world.now


PREDICTIONS: Final[Mapping[str, Callable[[Costs, int], float]]] = {
    "accept": predict_accepted,
    "drain": predict_drained,
    "hops": predict_hops,
}
