"""Which environment a path of the public port belongs to.

None or `/version-live` is live; `/version-test` and every other `/version-<name>` is development, because all branches
of Bubble share one development database. Empty segments do not count, so double slashes collapse.
"""

from typing import Final

LIVE: Final = "live"
DEVELOPMENT: Final = "development"
_PREFIX: Final = "version-"


def split_path(path: str) -> tuple[str, str, tuple[str, ...]]:
    """The environment, the prefix as it was written (`/version-test`, or nothing), and the segments that follow it."""
    segments = tuple(filter(None, path.split("/")))
    if segments and segments[0].startswith(_PREFIX) and len(segments[0]) > len(_PREFIX):
        environment = LIVE if segments[0] == "version-live" else DEVELOPMENT
        return environment, f"/{segments[0]}", segments[1:]
    return LIVE, "", segments
