"""Getting a Debian package's programs: installed where root is at hand, else unpacked into a directory of our own.

What is about to happen to the system is logged before it happens. Set-up uses this before any package is there, so the
standard library has to do.
"""

import fcntl
import logging
import os
import re
import shutil
import subprocess
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

SECONDS = 900
Run = subprocess.CompletedProcess[str]

_LOG = logging.getLogger("tests.servers")


@dataclass(frozen=True, slots=True)
class Plan:
    """What apt is about to do: the packages that it adds and those that it replaces by newer ones, and how many bytes
    it downloads.
    """

    added: tuple[str, ...]
    upgraded: tuple[str, ...]
    download: int


def read_plan(simulation: str, uris: str) -> Plan:
    """The plan in what `apt-get --simulate install` and `apt-get --print-uris install` print.

    A line of the first is `Inst NAME [OLD] (NEW …)`, without `[OLD]` for a package that is not there yet; a line of the
    second is `'URI' FILE BYTES HASH`.
    """
    found = re.findall(r"^Inst (\S+) (\[)?", simulation, re.MULTILINE)
    sizes = re.findall(r"^'[^']*' \S+ (\d+)", uris, re.MULTILINE)
    return Plan(
        tuple(sorted(name for name, old in found if not old)),
        tuple(sorted(name for name, old in found if old)),
        sum(map(int, sizes)),
    )


def describe(plan: Plan, package: str) -> str:
    """The plan in words, for the person whose system it is."""
    parts = [
        f"{verb} {len(names)} package{'s' if len(names) != 1 else ''} ({', '.join(names)})"
        for verb, names in (("installs", plan.added), ("upgrades", plan.upgraded))
        if names
    ]
    return f"for {package}, apt-get {' and '.join(parts) or 'changes nothing'}; {megabytes(plan.download)} to download"


def fold(speaker: str, text: str) -> str:
    """What `speaker` says, in lines for a terminal of 80 columns."""
    indent = " " * (len(speaker) + 2)
    together = re.sub(r"(\d) (s|MB)\b", "\\1\u00a0\\2", f"{speaker}: {text}")  # a number stays with its unit
    lines = textwrap.wrap(together, 78, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join((*lines, "")).replace("\u00a0", " ")


def megabytes(count: int) -> str:
    """A number of bytes in megabytes; small ones with a decimal."""
    return f"{count / 1e6:.{0 if count >= 10_000_000 else 1}f} MB"


def has_apt() -> bool:
    return shutil.which("apt-get") is not None and shutil.which("dpkg-deb") is not None


def _run(command: Sequence[str], directory: Path | None = None, *, is_whole: bool = False) -> Run:
    """Run a program to its end. One that `is_whole` survives Ctrl-C, which then waits for it: a system is not left with
    half a package.
    """
    process = subprocess.Popen(
        command,
        cwd=directory,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=is_whole,
    )
    try:
        out, err = process.communicate(timeout=SECONDS)
    except KeyboardInterrupt:
        if is_whole:
            _LOG.info(f"waiting for {command[0]}, which is not interrupted half-way")
        else:
            process.kill()
        process.communicate()
        raise
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command, out, err)
    return Run(command, process.returncode, out, err)


def _reason(error: Exception) -> str:
    """Why a command failed: the last line of what it said."""
    said = (error.stderr or "").strip() if isinstance(error, subprocess.CalledProcessError) else ""
    return said.splitlines()[-1] if said else str(error)


@contextmanager
def _alone(name: str) -> Iterator[None]:
    # xdist workers may want the same package at the same time.
    with (Path(tempfile.gettempdir()) / f"penstock-tests-{os.geteuid()}-{name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install(package: str) -> bool:
    """Install `package` as root or by a sudo that asks for no password; False where neither is possible or apt
    fails.
    """
    if not has_apt() or (os.geteuid() != 0 and shutil.which("sudo") is None):
        return False
    prefix: tuple[str, ...] = ()
    if os.geteuid() != 0:
        prefix = ("sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive")
    apt = (*prefix, "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300")
    wanted = ("install", "-y", "--no-install-recommends", package)
    begin = monotonic()
    try:
        with _alone("apt"):
            _LOG.info("reading Debian's lists of packages (apt-get update)")
            _run((*apt, "update"))
            plan = read_plan(_run((*apt, "--simulate", *wanted)).stdout, _run((*apt, "--print-uris", *wanted)).stdout)
            _LOG.info(describe(plan, package))
            _run((*apt, *wanted), is_whole=True)
    except (OSError, subprocess.SubprocessError) as error:
        _LOG.info(f"{package} cannot be installed: {_reason(error)}")
        return False
    _LOG.info(f"{package} is installed, after {monotonic() - begin:.0f} s")
    return True


def unpack(package: str, wanted: Sequence[str], directory: Path) -> bool:
    """Unpack `package`, and those of its dependencies whose names begin with one of `wanted`, into `directory`/root.

    Needs no root and changes nothing on the system: apt works on lists and archives of its own. False where apt fails.
    """
    if not has_apt():
        return False
    apt, debs = directory / "apt", directory / "debs"
    with _alone("unpack"):
        if (directory / "complete").exists():
            return True
        try:
            for part in (apt / "lists/partial", apt / "archives/partial", debs):
                part.mkdir(parents=True, exist_ok=True)
            options = _private_apt(apt)
            _LOG.info("reading Debian's lists of packages (apt-get update, into a directory of its own)")
            _run(("apt-get", *options, "-qq", "update"))
            listed = _run(("apt-cache", *options, "depends", "--recurse", *_WITHOUT, package)).stdout.splitlines()
            names = sorted({line for line in listed if line.startswith(tuple(wanted)) and ":" not in line})
            uris = _run(("apt-get", *options, "-qq", "--print-uris", "download", *names)).stdout
            size = megabytes(read_plan("", uris).download)
            _LOG.info(f"unpacking {package} into {directory}, {size} to download; the system stays as it is")
            _run(("apt-get", *options, "-qq", "download", *names), debs)
            for deb in sorted(debs.glob("*.deb")):
                _run(("dpkg-deb", "-x", str(deb), str(directory / "root")))
        except (OSError, subprocess.SubprocessError) as error:
            _LOG.info(f"{package} cannot be unpacked: {_reason(error)}")
            return False
        shutil.rmtree(apt)
        shutil.rmtree(debs)
        (directory / "complete").touch()
    return True


_WITHOUT = tuple(
    f"--no-{relation}" for relation in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
)


def _private_apt(apt: Path) -> list[str]:
    settings = {
        "Dir::State": apt,
        "Dir::State::Lists": apt / "lists",
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": apt,
        "Debug::NoLocking": 1,
        "APT::Sandbox::User": _user_name(),
    }
    return [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]


def _user_name() -> str:
    return _run(("id", "-un")).stdout.strip()
