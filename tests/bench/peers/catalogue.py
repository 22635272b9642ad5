"""Which systems are measured, in which versions, and how their workers are started."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROGRAMS: Final = Path(__file__).with_name("programs")


@dataclass(frozen=True, slots=True)
class Peer:
    """A system. `worker` is its own command, after the environment's `bin/`; None: `PROGRAM work`."""

    name: str
    requirements: tuple[str, ...]
    worker: tuple[str, ...] | None = None

    @property
    def program(self) -> str:
        """The file below PROGRAMS."""
        return f"on_{self.name}.py"


_CELERY: Final = (
    "celery", "-A", "on_celery", "worker", "-P", "prefork", "-c", "8", "-l", "ERROR",
    "--without-gossip", "--without-mingle", "--without-heartbeat",
)  # fmt: skip
_TASKIQ: Final = (
    "taskiq", "worker", "on_taskiq:broker", "--workers", "1", "--max-async-tasks", "100",
    "--ack-type", "when_saved", "--log-level", "ERROR",
)  # fmt: skip

PEERS: Final[Mapping[str, Peer]] = {
    peer.name: peer
    for peer in (
        Peer("pgqueuer", ("pgqueuer[asyncpg]==1.6.0", "uvloop")),
        Peer("awa", ("awa-pg==0.6.9", "asyncpg")),
        Peer("procrastinate", ("procrastinate==3.10.0", "psycopg[binary,pool]", "asyncpg")),
        Peer(
            "taskiq",
            ("taskiq==0.13.0", "taskiq-aio-pika==0.6.1", "taskiq-postgres[asyncpg]==0.9.1", "uvloop"), _TASKIQ,
        ),
        Peer(
            "dramatiq", ("dramatiq[rabbitmq]==2.2.1", "psycopg2-binary", "asyncpg"),
            ("dramatiq", "on_dramatiq", "-p", "1", "-t", "8"),
        ),
        Peer("celery", ("celery[sqlalchemy]==5.7.0", "psycopg2-binary", "asyncpg"), _CELERY),
        Peer("dbos", ("dbos==3.4.0", "psycopg[binary]", "psycopg2-binary", "asyncpg")),
    )
}  # fmt: skip
