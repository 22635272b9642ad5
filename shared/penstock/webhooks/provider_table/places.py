"""How rows of the table are written: where values stand, and what several rows share."""

from dataclasses import replace
from typing import Final

from penstock.webhooks.recipes import Recipe, Where

DAY_SECONDS: Final = 86400.0
MONTH_SECONDS: Final = 30 * DAY_SECONDS
NEEDS_URL: Final = {"url": "url: https://hooks.example.com/webhooks/NAME"}


def header(name: str) -> Where:
    """A header."""
    return Where(header=name)


def payload(path: str) -> Where:
    """A dotted path into the payload."""
    return Where(payload=path)


def id_of(*places: Where) -> tuple[tuple[Where, ...], ...]:
    """An id that is all of these values together."""
    return (places,)


def standard_webhooks(prefix: str) -> tuple[Recipe, Recipe]:
    """Standard Webhooks (https://www.standardwebhooks.com): HMAC with `whsec_…`, and Ed25519 with `whpk_…`."""
    shared = Recipe(
        f"{prefix}-signature",
        "{id}.{timestamp}.{body}",
        "v1,",
        encoding="base64",
        key="base64",
        key_prefix="whsec_",
        time=header(f"{prefix}-timestamp"),
        id=header(f"{prefix}-id"),
    )
    public = replace(shared, prefix="v1a,", algorithm="ed25519", key_prefix="whpk_", is_key_marked=True)
    return shared, public


STANDARD: Final = standard_webhooks("webhook")
