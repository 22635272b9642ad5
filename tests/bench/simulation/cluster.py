"""A cluster that meets a burst of webhooks: ingresses accept it, executors are scaled by what waits, one PostgreSQL
carries both.

`python -m tests.bench.simulation.cluster` prints the table of docs/scaling.md. Runs move in packets, as they do in
messages.
"""

import sys
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Final

import simpy

from tests.bench.simulation.costs import Costs, load_measured
from tests.bench.simulation.scaling import Autoscaler, ScalingRule

Process = Generator[simpy.Event, object, None]

PACKET: Final = 100
START_SECONDS: Final = 10.0
"""From the decision for a replica to its first run: a node with room, the image there."""
SLOTS: Final = 400
"""PENSTOCK_EXECUTOR_CONCURRENCY: runs that one executor performs at the same time."""
_EXECUTOR: Final = "penstock-executor"


@dataclass(frozen=True, slots=True)
class Burst:
    """Webhooks that arrive evenly over a time. `outside` is how long a run waits for others, such as a call."""

    webhooks: int
    seconds: float
    outside: float


@dataclass(frozen=True, slots=True)
class Cluster:
    """What the burst meets. The cores are those of PostgreSQL; each ingress and executor has one of its own."""

    rule: ScalingRule
    ingresses: int
    cores: int


@dataclass(slots=True)
class Course:
    """How it went; times in seconds from the first webhook."""

    accepted_at: float = 0.0
    done_at: float = 0.0
    longest_wait: float = 0.0
    most_executors: int = 0
    executor_seconds: float = 0.0
    done: int = 0


class _Simulation:
    def __init__(self, burst: Burst, cluster: Cluster, costs: Costs) -> None:
        self.burst, self.costs = burst, costs
        self.course = Course()
        self.world = simpy.Environment()
        self._ingress = simpy.Resource(self.world, capacity=cluster.ingresses)
        self._database = simpy.Resource(self.world, capacity=cluster.cores)
        self._queue = simpy.Store(self.world)  # of the times at which packets were queued
        self._due: deque[float] = deque()
        self._running = 0
        self._scaler = Autoscaler(cluster.rule, cluster.rule.fewest)
        self._executors: list[simpy.Event] = []
        self._counted_at = 0.0
        self.is_over = self.world.event()

    def run(self) -> Course:
        self._start(self._scaler.replicas, delay=0.0)
        self.world.process(self._arrive())
        self.world.process(self._scale())
        self.world.run(until=self.is_over)
        return self.course

    def _arrive(self) -> Process:
        packets = self.burst.webhooks // PACKET
        for _ in range(packets):
            yield self.world.timeout(self.burst.seconds / packets)
            self.world.process(self._accept())

    def _accept(self) -> Process:
        with self._ingress.request() as turn:
            yield turn
            yield self.world.timeout(self.costs.ingress.of(PACKET))
        yield from self._store(self.costs.accept_in_database.of(PACKET))
        self.course.accepted_at = self.world.now
        self._due.append(self.world.now)
        yield self._queue.put(self.world.now)

    def _store(self, seconds: float) -> Process:
        with self._database.request() as core:
            yield core
            yield self.world.timeout(seconds)
        yield self.world.timeout(self.costs.commit)

    def _start(self, count: int, *, delay: float) -> None:
        for _ in range(count):
            told_to_leave = self.world.event()
            self._executors.append(told_to_leave)
            self.world.process(self._execute(told_to_leave, delay))
        self.course.most_executors = max(self.course.most_executors, len(self._executors))

    def _execute(self, told_to_leave: simpy.Event, delay: float) -> Process:
        """One replica: as many packets at the same time as it has slots for, computed one after the other."""
        yield self.world.timeout(delay)
        thread = simpy.Resource(self.world, capacity=1)
        slots = simpy.Resource(self.world, capacity=SLOTS // PACKET)
        while not told_to_leave.triggered:
            turn = slots.request()
            yield turn
            taken = self._queue.get()
            yield taken | told_to_leave
            if not taken.triggered:
                taken.cancel()
                break
            queued_at = taken.value
            assert isinstance(queued_at, float), "what was put there"
            self.world.process(self._perform(queued_at, thread, slots, turn))

    def _perform(
        self, queued_at: float, thread: simpy.Resource, slots: simpy.Resource, turn: simpy.resources.resource.Request
    ) -> Process:
        self._due.popleft()
        self._running += PACKET
        self.course.longest_wait = max(self.course.longest_wait, self.world.now - queued_at)
        half = self.costs.perform_in_database.of(PACKET) / 2
        yield from self._store(half)
        with thread.request() as computing:
            yield computing
            yield self.world.timeout(self.costs.executor.of(PACKET))
        yield self.world.timeout(self.burst.outside)
        yield from self._store(half)
        slots.release(turn)
        self._running -= PACKET
        self.course.done += PACKET
        if self.course.done >= self.burst.webhooks:
            self.course.done_at = self.world.now
            self._count_replicas()
            self.is_over.succeed()

    def _scale(self) -> Process:
        rule = self._scaler.rule
        while True:
            yield self.world.timeout(rule.interval)
            waiting = len(self._due) * PACKET
            oldest = self.world.now - self._due[0] if self._due else 0.0
            wanted = self._scaler.decide(now=self.world.now, runs=waiting + self._running, oldest=oldest)
            self._count_replicas()
            self._start(wanted - len(self._executors), delay=START_SECONDS)
            while len(self._executors) > wanted:
                self._executors.pop().succeed()

    def _count_replicas(self) -> None:
        self.course.executor_seconds += len(self._executors) * (self.world.now - self._counted_at)
        self._counted_at = self.world.now


def simulate(burst: Burst, cluster: Cluster, costs: Costs) -> Course:
    """How the burst goes, until its last run is done."""
    return _Simulation(burst, cluster, costs).run()


def write_table(costs: Costs) -> Iterable[str]:
    """The table of docs/scaling.md: a million webhooks within 20 s, for runs that compute and runs that wait."""
    yield "| runs | executors at most | all accepted | all done | longest wait | peak of executors | executor hours |"
    yield "|---|---|---|---|---|---|---|"
    for outside, name in ((0.0, "one data step"), (1.0, "a call of one second")):
        for most in (3, 30, 300):
            rule = ScalingRule.read(_EXECUTOR, most=most)
            course = simulate(Burst(1_000_000, 20.0, outside), Cluster(rule, ingresses=10, cores=16), costs)
            times = f"{course.accepted_at:.0f} s | {course.done_at:.0f} s | {course.longest_wait:.0f} s"
            yield f"| {name} | {most} | {times} | {course.most_executors} | {course.executor_seconds / 3600:.2f} |"


def main() -> None:
    """Print the table."""
    sys.stdout.writelines(f"{line}\n" for line in write_table(load_measured().costs))


if __name__ == "__main__":
    main()
