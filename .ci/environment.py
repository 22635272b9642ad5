"""Brings .venv up to date with a lock, says what it does while it does it, and does nothing when nothing changed.

Works with uv or pip, with or without Debian's python3-venv, as root or as an ordinary user. `.ci/setup` starts it.

One set-up at a time: a lock is held on this file, and inherited by whatever is started here, so that the next one waits
even for what a killed one left running. The stamp in .venv names what is installed. It is replaced by a mark while
something is being installed: an environment with that mark may be half of anything, and is made from scratch.
"""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports below ends quietly

import fcntl
import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Final, NoReturn

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests import debian  # its part about packages is the same for the tests' servers

LOCKS: Final = {"run": ".ci/requirements.lock", "all": ".ci/requirements-dev.lock"}
"""What each level installs; each contains the one before."""
BEGUN: Final = "begun"
_ENVIRONMENT: Final = Path(".venv")
_STAMP: Final = _ENVIRONMENT / ".penstock-setup"
_LOG: Final = _ENVIRONMENT / "setup.log"
_PYTHON: Final = _ENVIRONMENT / "bin" / "python"
_WIDTH: Final = 78
_CLEAR: Final = "\r\x1b[K"
"""Empties the line that the cursor is in."""
_OUT_OF_REACH: Final = re.compile(
    r"dns error|connect error|error sending request|connection (?:refused|reset|broken)|failed to establish|timed out"
    r"|name resolution|network is unreachable|no route to host|proxyerror|max retries exceeded",
    re.IGNORECASE,
)
_UNTRUSTED: Final = re.compile(r"certificate.?verify.?failed|invalid peer certificate|unknownissuer", re.IGNORECASE)


class Failed(Exception):
    """Set-up cannot continue; the text says why and what to do. `output` is what a program said about it."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


def main(arguments: list[str]) -> int:
    """Set up the level that is asked for; 0, 1 when it failed, 2 for an unknown level, 130 when it was interrupted."""
    asked = arguments[0] if arguments else "all"
    if len(arguments) > 1 or asked not in LOCKS:
        say(f"usage: .ci/setup [{'|'.join(LOCKS)}]")
        return 2
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)
    logging.getLogger("tests.servers").addHandler(_Announcing())
    logging.getLogger("tests.servers").setLevel(logging.INFO)
    os.chdir(ROOT)
    try:
        if not is_current(asked):
            set_up(asked)
    except Failed as failure:
        say(str(failure))
        return 1
    except KeyboardInterrupt:
        say("stopped; the same command starts it again")
        return 130
    return 0


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


class _Announcing(logging.Handler):
    """Says what is about to happen to the system."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


def is_current(asked: str) -> bool:
    """Whether .venv holds what `asked` needs, as the files say it now."""
    level, _, fingerprint = read_stamp().partition(" ")
    return (
        level in LOCKS
        and level_for(asked) == level
        and fingerprint == fingerprint_of(level)
        and fits(environment_version())
    )


def read_stamp() -> str:
    """What .venv says of itself: `LEVEL FINGERPRINT`, BEGUN, or nothing."""
    try:
        return _STAMP.read_text().strip()
    except OSError:
        return ""


def level_for(asked: str) -> str:
    """The level to install: an environment that has the tools keeps them, and keeps them up to date."""
    return max(
        asked, read_stamp().partition(" ")[0], key=lambda level: list(LOCKS).index(level) if level in LOCKS else -1
    )


def fingerprint_of(level: str) -> str:
    """Of everything that decides what is in the environment."""
    files = ("pyproject.toml", LOCKS[level], ".ci/environment.py")
    content = b"\0".join([os.fsencode(ROOT), *(Path(name).read_bytes() for name in files)])
    return hashlib.sha256(content).hexdigest()


def environment_version() -> str | None:
    """The version of .venv's Python; None when there is none that works, or when it was made elsewhere."""
    code = "import sys; print(sys.prefix); print(sys.version)"
    try:
        done = subprocess.run((str(_PYTHON), "-I", "-c", code), capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    prefix, _, version = done.stdout.rstrip("\n").partition("\n")
    minor = ".".join(version.split(".")[:2])  # a link to an interpreter that was replaced finds no packages
    is_whole = prefix == str(ROOT / _ENVIRONMENT) and (_ENVIRONMENT / "lib" / f"python{minor}").is_dir()
    return version if is_whole else None


def fits(version: str | None) -> bool:
    """Whether an environment of this version will do: any does, unless PYTHON names another interpreter."""
    return version is not None and ("PYTHON" not in os.environ or version == sys.version)


def set_up(asked: str) -> None:
    """Make or renew the environment. Raises Failed."""
    begin = monotonic()
    with _alone() as lock:
        if is_current(asked):  # by the one that we waited for
            return
        if _ENVIRONMENT.exists() and not os.access(_ENVIRONMENT, os.W_OK):
            raise Failed(
                f"{ROOT / _ENVIRONMENT} belongs to another user. Remove it as that user (make clean), or use a clone "
                "of your own."
            )
        level = level_for(asked)
        programs = Programs(lock)
        if read_stamp() == BEGUN or not fits(environment_version()):
            make_environment(programs)
        _STAMP.write_text(f"{BEGUN}\n")
        install(programs, level)
        _STAMP.write_text(f"{level} {fingerprint_of(level)}\n")
    with suppress(OSError):
        size = sum(path.lstat().st_size for path in _ENVIRONMENT.rglob("*"))
        say(f"ready after {monotonic() - begin:.1f} s; .venv takes {debian.megabytes(size)}")


@contextmanager
def _alone() -> Iterator[int]:
    """Hold the lock that one set-up at a time has; the file descriptor that holds it."""
    lock = os.open(__file__, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("another set-up is in progress here; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def make_environment(programs: "Programs") -> None:
    """An empty environment, by uv or with pip in it. Raises Failed."""
    version = sys.version.split()[0]
    shutil.rmtree(_ENVIRONMENT, ignore_errors=True)
    _ENVIRONMENT.mkdir()
    _STAMP.write_text(f"{BEGUN}\n")
    uv = shutil.which("uv")
    if uv is not None:
        with stage(f"making an environment in .venv with Python {version}, by uv"):
            programs.run(uv, "venv", "--allow-existing", "--python", sys.executable, str(_ENVIRONMENT))
        return
    has_ensurepip = _has_ensurepip()
    if not has_ensurepip and not debian.has_apt():
        raise Failed(
            f"{sys.executable} has no ensurepip, so it cannot make an environment with pip. Install uv, or Python's "
            "venv package."
        )
    if has_ensurepip or (debian.install("python3-venv") and _has_ensurepip()):
        with stage(f"making an environment in .venv with Python {version}"):
            programs.run(sys.executable, "-m", "venv", str(_ENVIRONMENT))
        return
    with tempfile.TemporaryDirectory() as scratch:
        wheel = _pip_from_debian(Path(scratch))
        with stage(f"making an environment in .venv with Python {version}"):
            programs.run(sys.executable, "-m", "venv", "--without-pip", str(_ENVIRONMENT))
            programs.run(str(_PYTHON), str(wheel / "pip"), "install", "--no-index", str(wheel))


def _has_ensurepip() -> bool:
    # Not in this process, which would remember that there was none before the package was installed.
    return subprocess.run((sys.executable, "-c", "import ensurepip"), capture_output=True, check=False).returncode == 0


def _pip_from_debian(scratch: Path) -> Path:
    """Debian ships Python without ensurepip. Its package with pip's wheel can be unpacked by anyone."""
    debian.unpack("python3-pip-whl", ("python3-pip-whl",), scratch)
    wheels = list(scratch.glob("root/usr/share/python-wheels/pip-*.whl"))
    if not wheels:
        raise Failed(
            "pip is not available. Install the package python3-venv as root, or uv as yourself, and start again."
        )
    return wheels[0]


def install(programs: "Programs", level: str) -> None:
    """What the lock names, no more and no less, and Penstock itself. Raises Failed."""
    pip = (str(_PYTHON), "-m", "pip", "--disable-pip-version-check")
    uv = _find_uv() or _fetch_uv(programs, pip)
    if uv is not None:
        into = ("--python", str(_PYTHON))  # whatever environment is active outside
        try:
            _install_by(
                programs,
                level,
                packages=(uv, "pip", "sync", *into, "--require-hashes"),
                ours=(uv, "pip", "install", *into, "--no-deps", "--no-build-isolation"),
            )
            return
        except Failed:
            if not _has_pip():
                raise
            say("uv failed; trying pip, which may know a package index that uv does not")
    _install_by(
        programs,
        level,
        packages=(*pip, "install", "--require-hashes", "-r"),
        ours=(*pip, "install", "--no-deps", "--no-build-isolation"),
    )


def _install_by(programs: "Programs", level: str, *, packages: tuple[str, ...], ours: tuple[str, ...]) -> None:
    lock = LOCKS[level]
    size = re.search(r"(\d+ packages), (\d+ MB)", Path(lock).read_text())
    with stage(f"downloading up to {size[2]}: {size[1]} of {lock}" if size else f"installing {lock}") as notes:
        said = programs.run(*packages, lock)
        fetched = re.search(r"^Prepared (\d+) packages?", said, re.MULTILINE)  # uv's word for downloaded
        if fetched:
            notes.append(f"{fetched[1]} downloaded")
    with stage("installing Penstock itself, from this directory"):
        programs.run(*ours, "--editable", ".")


def _find_uv() -> str | None:
    own = _ENVIRONMENT / "bin" / "uv"
    return shutil.which("uv") or (str(own) if own.exists() else None)


def _fetch_uv(programs: "Programs", pip: tuple[str, ...]) -> str | None:
    if not _has_pip():
        raise Failed(".venv has neither uv nor pip. Remove it (make clean), and start again.")
    try:
        with stage("downloading uv, the installer, about 25 MB"):
            programs.run(*pip, "install", "--retries", "2", "uv")
    except Failed as failure:
        if _OUT_OF_REACH.search(failure.output) or _UNTRUSTED.search(failure.output):
            raise
        say("uv is not available here; pip installs instead")
    return _find_uv()


def _has_pip() -> bool:
    command = (str(_PYTHON), "-m", "pip", "--version")
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Programs:
    """Runs programs that keep the lock while they live, and keeps what they say."""

    def __init__(self, lock: int) -> None:
        self._lock = lock
        self._said: list[str] = []

    def run(self, *command: str) -> str:
        """What the program says. Raises Failed when it fails, in words for a person."""
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=(self._lock,),
            check=False,
        )
        self._said += [f"$ {' '.join(command)}", done.stdout]
        if done.returncode == 0:
            return done.stdout
        details = ""
        if _ENVIRONMENT.is_dir():
            _LOG.write_text("\n".join(self._said))
            details = f" ({_LOG} has the details)"
        if _UNTRUSTED.search(done.stdout):
            raise Failed(
                "the package registry's certificate is not trusted here, so nothing can be installed: name the file of "
                f"the authority that signed it in PIP_CERT and SSL_CERT_FILE{details}.",
                done.stdout,
            )
        if _OUT_OF_REACH.search(done.stdout):
            raise Failed(
                "no package registry is within reach, so nothing can be installed: check the network, or name a "
                f"registry that is in PIP_INDEX_URL and UV_DEFAULT_INDEX{details}.",
                done.stdout,
            )
        last = "; ".join(line.strip() for line in done.stdout.splitlines()[-3:] if line.strip())
        raise Failed(f"{Path(command[0]).name} failed with {done.returncode}: {last}{details}", done.stdout)


def say(text: str) -> None:
    """A line on standard error, folded at the usual width."""
    sys.stderr.write(debian.fold("setup", text))
    sys.stderr.flush()


@contextmanager
def stage(text: str) -> Iterator[list[str]]:
    """Say what begins, and at its end how long it took and the notes that were made meanwhile.

    In a terminal that is one line, whose seconds count up; elsewhere it is a line at the beginning and one at the end.
    """
    begin = monotonic()
    notes: list[str] = []
    is_live = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    ended = threading.Event()
    ticking = threading.Thread(target=_tick, args=(text, begin, ended), daemon=True)
    if is_live:
        ticking.start()
    else:
        say(f"{text} …")
    outcome = "stopped"
    try:
        yield notes
        outcome = "done"
    except Failed:
        outcome = "failed"
        raise
    finally:
        ended.set()
        seconds = f"{monotonic() - begin:.1f} s"
        if is_live:
            ticking.join()
            sys.stderr.write(_CLEAR)
            line = f"{text}: {seconds}" if outcome == "done" else f"{text}: {outcome} after {seconds}"
            say("; ".join((line, *(note for note in notes if len(f"setup: {line}; {note}") <= _WIDTH))))
        else:
            say("  " + "; ".join((f"{outcome} after {seconds}", *notes)))


def _tick(text: str, begin: float, ended: threading.Event) -> None:
    width = shutil.get_terminal_size((80, 24)).columns - 1
    while not ended.is_set():
        seconds = f" {monotonic() - begin:.0f} s"
        line = f"setup: {text} …"[: width - len(seconds)] + seconds
        sys.stderr.write(f"{_CLEAR}{line}")
        sys.stderr.flush()
        ended.wait(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
