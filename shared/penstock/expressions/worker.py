"""A process that evaluates heavy expressions, one after the other, until its standard input ends.

It is the child of `bounded`, and ends itself when an evaluation takes too long. Its memory is limited, so
that an expression that makes too much of a value ends this process and no other. Requests and answers are JSON, each
after its length.
"""

import resource
import signal
import struct
import sys
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Final

import zen

from penstock import exact_json
from penstock.expressions.digits import Program, compute

LENGTH: Final = struct.Struct("!Q")
MAX_SECONDS: Final = 5.0
"""Of processor time, so that a busy machine refuses nothing that an idle one computes."""
MAX_ELAPSED_SECONDS: Final = 30.0
OUT_OF_TIME: Final = frozenset({-signal.SIGPROF, -signal.SIGALRM})
"""The exit codes of a process that a timer has ended."""
MAX_MEMORY_BYTES: Final = 256 * 2**20
"""Beside what the process needs itself."""
MAX_ANSWER_BYTES: Final = 16 * 2**20
_NO_MEMORY: Final = "Python API call failed"
"""The panic where Python has no memory for what zen answers."""
_STATM: Final = Path("/proc/self/statm")


def main() -> None:
    """Answer requests until there are no more."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the parent, which ends this process by closing its input
    _limit_memory()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while head := requests.read(LENGTH.size):
        # Both signals end the process, also where zen holds the interpreter and where the parent is gone.
        signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
        signal.setitimer(signal.ITIMER_REAL, MAX_ELAPSED_SECONDS)
        _write(answers, respond(requests.read(LENGTH.unpack(head)[0])))
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def respond(request: bytes) -> bytes:
    """The answer to `{spelled, source, values}`: `value`, or what failed: `zen`, `too_large`, `unreadable`, `panic`."""
    given = exact_json.loads(request)
    assert isinstance(given, dict)
    source, values = given["source"], given["values"]
    assert isinstance(source, str)
    assert isinstance(values, dict)
    try:
        answer = exact_json.dumps({"value": compute(_compile(str(given["spelled"])), source, values)})
    except RuntimeError as error:
        return exact_json.dumps({"zen": str(error).partition("\n")[0]})
    except (MemoryError, OverflowError, TypeError):
        return exact_json.dumps({"too_large": True})
    except Exception:
        return exact_json.dumps({"unreadable": True})
    except BaseException as error:  # a panic inside zen is not an Exception
        if _NO_MEMORY in str(error):
            return exact_json.dumps({"too_large": True})
        return exact_json.dumps({"panic": str(error)[:200]})
    return answer if len(answer) <= MAX_ANSWER_BYTES else exact_json.dumps({"too_large": True})


@lru_cache(maxsize=100)
def _compile(spelled: str) -> Program:
    return zen.compile_expression(spelled)


def _write(answers: BinaryIO, answer: bytes) -> None:
    answers.write(LENGTH.pack(len(answer)) + answer)
    answers.flush()


def _limit_memory() -> None:
    pages = int(_STATM.read_text().split()[0]) if _STATM.exists() else 0
    limit = pages * resource.getpagesize() + MAX_MEMORY_BYTES if pages else 2**30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
