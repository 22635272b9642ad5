"""The one rule for text that PostgreSQL cannot hold: U+FFFD (�) stands for each NUL and each half of a surrogate pair.

Text that a caller can correct (parameters, fields, keys, names) is refused with a sentence, `UNSTORABLE_REASON`. Text
that nobody can correct any more (results, errors, log lines, answers of other servers) is made storable.
"""

import re
from typing import Final

REPLACEMENT: Final = "\ufffd"
UNSTORABLE_REASON: Final = "the text holds a character that cannot be stored (NUL or half of a surrogate pair)"
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_HALF_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def is_storable(text: str) -> bool:
    """Whether PostgreSQL can hold `text`: it has no NUL and no half of a surrogate pair."""
    return "\x00" not in text if text.isascii() else _UNSTORABLE.search(text) is None


def storable_text(text: str) -> str:
    """`text` with U+FFFD for each character that cannot be stored; the same object when there is none."""
    return text if is_storable(text) else _UNSTORABLE.sub(REPLACEMENT, text)


def encodable_text(text: str) -> str:
    """`text` with U+FFFD for each half of a surrogate pair: what can be sent, though not all of it stored."""
    return text if text.isascii() else _HALF_SURROGATE.sub(REPLACEMENT, text)


def storable_value(value: object) -> object:
    """A value of JSON types with all its texts and keys made storable. Raises RecursionError when it is too deep."""
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, list):
        return [storable_value(item) for item in value]
    if isinstance(value, dict):
        return {storable_text(key): storable_value(item) for key, item in value.items()}
    return value
