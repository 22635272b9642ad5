"""Tracing of one process: whether it is on, and its beginning and end."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from penstock.logs import get_logger, log_trace
from penstock.settings import TracingSwitch, read_tracing_switch

if TYPE_CHECKING:
    from penstock.tracing.spans import Spans

log = get_logger(__name__)
MAX_FLUSH_SECONDS: Final = 5.0
MIN_FLUSH_SECONDS: Final = 0.5
_state: "dict[str, Spans | None]" = {"active": None}


def active() -> "Spans | None":
    """What makes spans; None while tracing is off."""
    return _state["active"]


@asynccontextmanager
async def tracing(service: str, flush_seconds: Callable[[], float]) -> AsyncIterator[None]:
    """Tracing for as long as the block lasts, if the environment asks for it. What is left is sent at the end, within
    `flush_seconds()`, which is asked then; what cannot be sent in that time is lost.
    """
    spans = _open(service, read_tracing_switch())
    _state["active"] = spans
    log_trace(None if spans is None else spans.describe_current)
    try:
        yield
    finally:
        _state["active"] = None
        log_trace(None)
        if spans is not None:
            await _close(spans, min(max(flush_seconds(), MIN_FLUSH_SECONDS), MAX_FLUSH_SECONDS))


def _open(service: str, switch: TracingSwitch) -> "Spans | None":
    if not switch.is_on:
        if switch.problem:
            log.warning("tracing.unavailable", reason=switch.problem)
        return None
    try:
        from penstock.tracing.spans import open_spans

        spans = open_spans(f"penstock-{service}")
    except ImportError as error:
        log.warning("tracing.unavailable", reason=f"{error}; install the extra: pip install 'penstock[otel]'")
        return None
    except Exception as error:  # a wrong variable of OpenTelemetry keeps nobody from working
        log.warning("tracing.unavailable", reason=f"{type(error).__name__}: {error}")
        return None
    log.info("tracing.started", collector=switch.place)
    return spans


async def _close(spans: "Spans", seconds: float) -> None:
    """Send what is left. In a thread that nobody waits for at the process's end: a collector may never answer."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def close() -> None:
        try:
            spans.close()
        finally:
            if not loop.is_closed():
                loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=close, name="penstock tracing", daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            await ended.wait()
    except TimeoutError:
        log.warning("tracing.unavailable", reason=f"the last spans could not be sent within {seconds:g} s")
