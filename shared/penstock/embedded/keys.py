"""What `penstock up` makes up for itself once, and keeps in its data directory where only its owner may read it."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from penstock.encryption import make_key
from penstock.errors import ConfigurationError
from penstock.settings import KEY_VARIABLE

_TOKEN_FILE: Final = "admin-token"
_KEY_FILE: Final = "secret-key"


def keep_token(data: Path) -> str:
    """The installation's admin token. Raises ConfigurationError when it cannot be kept."""
    return _keep(data / _TOKEN_FILE, lambda: secrets.token_urlsafe(24), "an admin token", "PENSTOCK_ADMIN_TOKEN")


def keep_key(data: Path) -> str:
    """The key that encrypts the installation's secrets. Raises ConfigurationError when it cannot be kept."""
    return _keep(data / _KEY_FILE, make_key, "a key for secrets", KEY_VARIABLE)


def read_kept_key(data: Path) -> str | None:
    """The key that was made for this directory, if one was."""
    return _read(data / _KEY_FILE)


def read_kept_token(data: Path) -> str | None:
    """The admin token that was made for this directory, if one was."""
    return _read(data / _TOKEN_FILE)


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None


def _keep(path: Path, make: Callable[[], str], what: str, variable: str) -> str:
    try:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
            kept = file.read().strip()
            if not kept:
                kept = make()
                file.write(kept + "\n")
            return kept
    except OSError as error:
        raise ConfigurationError(f"cannot keep {what} in {path}: {error.strerror}; set {variable}") from error
