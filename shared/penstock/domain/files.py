"""Files as values: one that has just arrived, and the name under which a file may be shown."""

from typing import Final, NamedTuple
from uuid import UUID

_MAX_NAME: Final = 200


class NewFile(NamedTuple):
    """A file that came with a request, whole: its id, its name without folders, its media type, its bytes."""

    id: UUID
    name: str
    content_type: str
    content: bytes


def plain_name(name: str) -> str:
    """A file's name without folders and without characters that have a meaning in headers, so that it can be shown
    anywhere.
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    return (
        "".join(character for character in last if character.isprintable() and character != '"').strip()[:_MAX_NAME]
        or "file"
    )
