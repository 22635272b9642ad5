"""Getting a Debian package's programs: installed where root is at hand, else unpacked into a directory of our own."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SECONDS = 900
Run = subprocess.CompletedProcess[str]


def has_apt() -> bool:
    return shutil.which("apt-get") is not None and shutil.which("dpkg-deb") is not None


def _run(command: Sequence[str], directory: Path | None = None) -> Run:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    return subprocess.run(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )


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
    if not has_apt():
        return False
    prefix: tuple[str, ...] = ()
    if os.geteuid() != 0:
        prefix = ("sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive")
    wait = ("-o", "DPkg::Lock::Timeout=300")
    try:
        with _alone("apt"):
            _run((*prefix, "apt-get", "-qq", *wait, "update"))
            _run((*prefix, "apt-get", "-qq", *wait, "install", "-y", "--no-install-recommends", package))
    except (OSError, subprocess.SubprocessError):
        return False
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
            _run(("apt-get", *options, "-qq", "update"))
            listed = _run(("apt-cache", *options, "depends", "--recurse", *_WITHOUT, package)).stdout.splitlines()
            names = sorted({line for line in listed if line.startswith(tuple(wanted)) and ":" not in line})
            _run(("apt-get", *options, "-qq", "download", *names), debs)
            for deb in sorted(debs.glob("*.deb")):
                _run(("dpkg-deb", "-x", str(deb), str(directory / "root")))
        except (OSError, subprocess.SubprocessError):
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
