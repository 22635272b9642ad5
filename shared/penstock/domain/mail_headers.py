"""The headers that an app may set: those no other key of the step sets, and that do not describe the encoding."""

import re
from typing import Final

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,70}")
_OURS: Final = frozenset(
    "bcc cc content-transfer-encoding content-type date from message-id mime-version reply-to sender subject to".split()
)


def is_header_name(name: str) -> bool:
    """Whether a header can be called that."""
    return _NAME.fullmatch(name) is not None


def is_ours(name: str) -> bool:
    """Whether the header is set by other keys of a step, or by the code that writes the message."""
    return name.lower() in _OURS
