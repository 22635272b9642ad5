"""Which headers carry credentials, by their names: their values are neither stored nor shown."""

import re
from functools import lru_cache
from typing import Final

REDACTED: Final = "[redacted]"
_CREDENTIAL: Final = re.compile(
    r"(?:^|[-_])(?:(?:api|access|account|admin|app|auth|client|function|functions|host|license|master|private|secret|server"
    r"|service|shared|signing|subscription|web)[-_]?key|(?:api|access|auth|csrf|id|refresh|session|xsrf)?[-_]?tokens?|jwt"
    r"|secrets?|passw(?:or)?d|passphrase|pwd|credentials?|authorization|authentication|cookies?|session(?:[-_]?id)?|sid)"
    r"(?:$|[-_])|(?:^|[-_])auth$"
)


@lru_cache(maxsize=1000)
def carries_credentials(name: str) -> bool:
    """Whether a header of that name, in lower case, carries credentials."""
    return _CREDENTIAL.search(name) is not None
