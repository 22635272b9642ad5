"""What the driver raises is of two kinds: the broker is away, or the message cannot be sent at all."""

import asyncio
import ssl
import struct

import aio_pika.exceptions
import pytest
from aiormq import exceptions as driver
from aiormq import spec
from pamqp import exceptions as frames

from penstock.broker.driver import AbsenceIgnored, is_away

AWAY = [
    *(
        error
        for module in (driver, frames, aio_pika.exceptions)
        for error in vars(module).values()
        if isinstance(error, type) and issubclass(error, Exception)
    ),
    OSError, ConnectionResetError, BrokenPipeError, ssl.SSLError, TimeoutError, EOFError, RuntimeError,
    asyncio.InvalidStateError, asyncio.QueueEmpty, StopAsyncIteration, KeyError, IndexError, AttributeError, Exception,
]  # fmt: skip


@pytest.mark.parametrize("kind", dict.fromkeys(AWAY), ids=lambda kind: kind.__name__)
def test_every_error_of_the_driver_means_that_the_broker_is_away(kind: type[BaseException]) -> None:
    assert is_away(kind.__new__(kind))


def test_stream_that_ends_and_a_frame_out_of_order_mean_that_the_broker_is_away() -> None:
    assert is_away(asyncio.IncompleteReadError(b"", 7))
    assert is_away(ValueError("Unexpected frame", spec.Basic.Deliver()))


@pytest.mark.parametrize(
    "error",
    [TypeError("int required"), ValueError("too long"), OverflowError("f"), struct.error("B"), KeyboardInterrupt()],
)
def test_what_a_message_is_to_blame_for_does_not(error: BaseException) -> None:
    assert not is_away(error)


async def test_cancellation_is_a_loss_only_when_nobody_has_asked_for_it() -> None:
    async def wait() -> None:
        with AbsenceIgnored():
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with AbsenceIgnored():
        raise asyncio.CancelledError
