"""What a run costs, as it was measured: processor time by part, and the times of a commit and of a message."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pydantic import TypeAdapter

MEASURED: Final = Path(__file__).with_name("measured.json")


@dataclass(frozen=True, slots=True)
class Part:
    """Seconds of processor time: once for each batch, and for each run in it."""

    batch: float
    run: float

    def of(self, runs: int) -> float:
        """Of a batch of `runs`."""
        return self.batch + runs * self.run

    @classmethod
    def from_extremes(cls, *, alone: float, under_load: float) -> Self:
        """From what a run costs that is alone in its batch, and what it costs in large batches."""
        return cls(max(alone - under_load, 0.0), under_load)


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one run of one `create` step. `client` is what the load's sender takes for a request, on the same machine.

    `commit` and `message` are seconds of waiting, not of work: of a commit while the disk writes, of a message until
    the broker has handed it on, whose work for it is in that time.
    """

    client: float
    ingress: Part
    scheduler: Part
    executor: Part
    accept_in_database: Part
    perform_in_database: Part
    broker: Part
    commit: float
    message: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Costs, and the rates per second of the same hour: accepted webhooks, drained runs, hops of one chain."""

    cores: int
    costs: Costs
    rates: Mapping[str, float]


def load_measured(path: Path = MEASURED) -> Measured:
    """What `measuring` has kept."""
    return TypeAdapter(Measured).validate_json(path.read_bytes())
