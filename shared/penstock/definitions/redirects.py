"""Where the answers of API workflows may send their callers."""

import re
from typing import Final

REDIRECT_TARGET: Final = re.compile(r"(?:https?://|/(?!/))[\x21-\x7e]*")
"""A URL, or a path of the same host."""
