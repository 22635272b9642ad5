"""Evaluates heavy expressions where they can be stopped: in a process with a limit of time and memory.

`Expression.evaluate` computes what is light at once, and raises TooMuchWork for the rest. Who can wait calls `evaluate`
or `holds` here then. Two processes at most, started when they are needed first; one that dies or takes too long is
replaced, and the expression fails with a message that names it. The process that asks continues to serve meanwhile.
"""

import asyncio
import atexit
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from pydantic import JsonValue

from penstock import exact_json
from penstock.expressions.language import ANSWERS, Expression, TooMuchWork
from penstock.expressions.templates import Template
from penstock.expressions.worker import (
    LENGTH,
    MAX_ANSWER_BYTES,
    MAX_ELAPSED_SECONDS,
    MAX_MEMORY_BYTES,
    MAX_SECONDS,
    OUT_OF_TIME,
)

_Scope = Mapping[str, JsonValue]
_START_SECONDS: Final = 30.0
_GRACE_SECONDS: Final = 1.0
_WORKERS: Final = 2
_CHUNK: Final = 2**20
_COMMAND: Final = (sys.executable, "-m", "penstock.expressions.worker")
_NO_TIME: Final = f"it takes longer than {MAX_SECONDS:g} s; go through fewer items, or do a part of it in Python"
_NO_MEMORY: Final = f"it needs more than {MAX_MEMORY_BYTES // 2**20} MB; go through fewer items, or make less of each"
_TOO_LARGE: Final = f"its value is larger than {MAX_ANSWER_BYTES // 2**20} MB; make less of each item"


async def evaluate(evaluable: Expression | Template, scope: _Scope) -> JsonValue:
    """`evaluable.evaluate(scope)`, with what is heavy in it evaluated apart. Raises ExpressionError, also for what
    takes too long or too much memory.
    """
    answers: dict[str, JsonValue] = {}
    known = {**scope, ANSWERS: answers}
    while True:
        try:
            return evaluable.evaluate(known)
        except TooMuchWork as work:
            answers[work.key] = await asyncio.get_running_loop().run_in_executor(_THREADS, _work, work)


async def evaluate_item(evaluable: Template, scope: _Scope) -> JsonValue:
    """`evaluate`, for the many that are light: computed at once where that is possible."""
    try:
        return evaluable.evaluate(scope)
    except TooMuchWork:
        return await evaluate(evaluable, scope)


async def holds(condition: Expression, scope: _Scope) -> bool:
    """`condition.holds(scope)`, evaluated apart if it is heavy. Raises ExpressionError."""
    try:
        return condition.holds(scope)
    except TooMuchWork:
        return condition.judge(await evaluate(condition, scope), scope)


def _work(work: TooMuchWork) -> JsonValue:
    worker: _Worker | None = getattr(_THREAD, "worker", None)
    if worker is None:
        worker = _THREAD.worker = _Worker()
    return worker.compute(work)


class _Stuck(Exception):
    """The process has not answered in time."""


class _Panic(BaseException):
    """What zen raises for an error of its own, which is not an Exception there either."""


class _Worker:
    """A process for one thread, which waits for it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)

    def compute(self, work: TooMuchWork) -> JsonValue:
        """What the expression comes to. Raises ExpressionError."""
        expression = work.expression
        request = {"spelled": expression.spelled, "source": expression.source, "values": work.values}
        try:
            answer = exact_json.loads(self._ask(exact_json.dumps(request)))
        except _Stuck:
            self.stop()
            raise expression.error(_NO_TIME, work.values) from None
        except (OSError, EOFError):  # it has ended
            reason = _NO_TIME if self._await_end() in OUT_OF_TIME else _NO_MEMORY
            raise expression.error(reason, work.values) from None
        assert isinstance(answer, dict)
        if "value" in answer:
            return answer["value"]
        if "zen" in answer:
            raise expression.explain(RuntimeError(answer["zen"]), work.values)
        if "too_large" in answer:
            raise expression.error(_TOO_LARGE, work.values)
        error = ValueError() if "unreadable" in answer else _Panic(answer.get("panic"))
        raise expression.explain(error, work.values)

    def _ask(self, request: bytes) -> bytes:
        process = self._process
        if process is None or process.poll() is not None:
            self.stop()
            process = self._process = _start()
            self._exchange(process, _WARM_UP, _START_SECONDS)
        return self._exchange(process, request, MAX_ELAPSED_SECONDS + _GRACE_SECONDS)

    def _exchange(self, process: "subprocess.Popen[bytes]", request: bytes, seconds: float) -> bytes:
        assert process.stdin is not None
        process.stdin.write(LENGTH.pack(len(request)) + request)
        process.stdin.flush()
        deadline = time.monotonic() + seconds
        return _read(process, LENGTH.unpack(_read(process, LENGTH.size, deadline))[0], deadline)

    def _await_end(self) -> int | None:
        """The exit code of the process, which has closed its end of the pipes and is about to end."""
        process = self._process
        if process is None:
            return None
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
        self.stop()
        return process.returncode

    def stop(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with process:
                pass


def _start() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _read(process: "subprocess.Popen[bytes]", length: int, deadline: float) -> bytes:
    assert process.stdout is not None
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    parts, left = [], length
    while left:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise _Stuck
        part = os.read(process.stdout.fileno(), min(left, _CHUNK))
        if not part:
            raise EOFError
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


_THREADS: Final = ThreadPoolExecutor(_WORKERS, thread_name_prefix="penstock-expressions")
_THREAD: Final = threading.local()
_WARM_UP: Final = exact_json.dumps({"spelled": "1", "source": "1", "values": {}})
