"""How other commands find a running `penstock up`: a note in its data directory, locked for as long as the process
lives.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from penstock.errors import ConfigurationError

_NAME = "up.json"


@dataclass(frozen=True, slots=True)
class Presence:
    """Where a running `penstock up` can be reached. `amqp_url` is None when its broker is inside the process."""

    database_url: str
    amqp_url: str | None
    url: str
    admin_url: str


@contextmanager
def announce(data_dir: Path, presence: Presence) -> Iterator[None]:
    """Leave the note while the block runs. Raises ConfigurationError when another process has left one there."""
    path = data_dir / _NAME
    # Never replaced by another file, or the lock would be on one that nobody sees. Only its owner may read it: it holds
    # credentials.
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as note:
        try:
            fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"{data_dir} is in use by another `penstock up`; stop that one, or give this one a directory with "
                "--data"
            ) from None
        note.truncate()
        note.write(orjson.dumps(asdict(presence)))
        note.flush()
        try:
            yield
        finally:
            note.seek(0)
            note.truncate()


def find_presence(data_dir: Path) -> Presence | None:
    """The note of the `penstock up` that runs on `data_dir`; None when none does, also after it was killed."""
    try:
        with (data_dir / _NAME).open("rb") as note:
            try:
                fcntl.flock(note, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return Presence(**orjson.loads(note.read()))
            return None  # nobody holds it: its writer is gone
    except (OSError, orjson.JSONDecodeError, TypeError):
        return None
