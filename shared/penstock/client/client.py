"""The façade: what a program writes to start runs, whichever door of Penstock they go through."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final, Self, overload
from uuid import UUID, uuid4

from pydantic import JsonValue

from penstock.client.over_http import HttpWay
from penstock.client.port import Wanted, WantedEnd, WantedSignal, Way
from penstock.client.retries import Deadline
from penstock.client.values import RunStatus, ScheduledRun, SignalOutcome
from penstock.definitions.models import ENVIRONMENTS

CALL_SECONDS: Final = 30.0
"""How long a call that waits for no run is tried."""
_MAX_KEY: Final = 255


class Client:
    """Starts, schedules, awaits and cancels runs of one environment.

    `url` is that of the admin port (8081), which can do everything, or of the public port (8080), which calls API
    workflows. Use it in `async with`, or `close` it. Each call carries one idempotency key (`key`, else a new one) over
    all its tries: however often the connection breaks, there is one run. With a `key` of your own that also holds
    across calls, for 24 hours.

    All calls raise Refused for what Penstock refuses, and Unavailable when it cannot be reached in time.
    """

    def __init__(self, url: str, token: str | None = None, *, environment: str = "live") -> None:
        self._way: Way = HttpWay(url, token, _check_environment(environment))

    @classmethod
    def amqp(cls, url: str, *, environment: str = "live") -> Self:
        """A client that sends messages to RabbitMQ at `url`, such as `amqp://user:password@host:5672/vhost`; for
        services that reach the broker, and no port of Penstock.
        """
        from penstock.client.over_amqp import AmqpWay

        client = cls.__new__(cls)
        client._way = AmqpWay(url, _check_environment(environment))
        return client

    async def run(
        self,
        workflow: str,
        parameters: Mapping[str, object] | None = None,
        *,
        key: str | None = None,
        timeout_seconds: float = 60.0,
    ) -> JsonValue:
        """Start a run and wait until it has ended: what the workflow returns, `{}` if nothing.

        Raises RunFailed for a run that ends without success, and NotEnded for one that takes longer.
        """
        deadline, wanted = Deadline(timeout_seconds), Wanted(workflow, _check_key(key), parameters or {})
        return await (await self._way.open(deadline)).run(wanted, deadline)

    async def schedule(
        self,
        workflow: str,
        parameters: Mapping[str, object] | None = None,
        *,
        at: datetime | None = None,
        after: timedelta | None = None,
        key: str | None = None,
    ) -> ScheduledRun:
        """Start a run at a time (aware), `after` a time, or now, and do not wait for its end. The public port takes no
        time.
        """
        if at is not None and after is not None:
            raise ValueError("give either `at` or `after`, not both")
        if at is not None and at.tzinfo is None:
            raise ValueError("at: give a time with its zone, such as datetime.now(UTC)")
        deadline, wanted = Deadline(CALL_SECONDS), Wanted(workflow, _check_key(key), parameters or {}, at, after)
        return await (await self._way.open(deadline)).schedule(wanted, deadline)

    async def status(self, run_id: UUID | str) -> RunStatus:
        """The run as it is now. The public port shows the runs that this caller has started."""
        deadline = Deadline(CALL_SECONDS)
        return await (await self._way.open(deadline)).status(_read_id(run_id), deadline)

    @overload
    async def cancel(self, run_id: UUID | str) -> bool: ...
    @overload
    async def cancel(self, *, workflow: str, key: str) -> int: ...
    async def cancel(
        self, run_id: UUID | str | None = None, *, workflow: str | None = None, key: str | None = None
    ) -> bool | int:
        """Cancel a run; False when it had ended before. Not at the public port.

        With `workflow` and `key` instead: cancel what `schedule` steps have scheduled of that workflow under that key,
        as far as it has not ended; returns how many runs were cancelled.
        """
        deadline = Deadline(CALL_SECONDS)
        if run_id is not None and workflow is None and key is None:
            return await (await self._way.open(deadline)).cancel(_read_id(run_id), deadline)
        if run_id is not None or not workflow or not key:
            raise ValueError("give either the id of a run, or `workflow` and `key`")
        return await (await self._way.open(deadline)).cancel_key(WantedEnd(workflow, key), deadline)

    async def signal(self, name: str, payload: object = None, *, key: str | None = None) -> SignalOutcome:
        """Send a signal to the runs that wait for it, or that will. Not at the public port."""
        deadline, wanted = Deadline(CALL_SECONDS), WantedSignal(name, _check_key(key), payload)
        return await (await self._way.open(deadline)).signal(wanted, deadline)

    async def close(self) -> None:
        """Close all connections."""
        await self._way.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _check_environment(environment: str) -> str:
    if environment not in ENVIRONMENTS:
        raise ValueError(f"environment: {environment!r} does not exist; write one of {', '.join(ENVIRONMENTS)}")
    return environment


def _check_key(key: str | None) -> str:
    """The key, or a new one. Its characters are those that the header Idempotency-Key can carry."""
    if key is None:
        return uuid4().hex
    if not 0 < len(key) <= _MAX_KEY or not all(" " <= character <= "~" for character in key) or {'"', "\\"} & {*key}:
        raise ValueError(f'key: {key[:80]!r} is not 1 to {_MAX_KEY} printable ASCII characters without " and \\')
    return key


def _read_id(run_id: UUID | str) -> UUID:
    return run_id if isinstance(run_id, UUID) else UUID(run_id)
