"""How many items of a list ended how, as its author sees it."""

from typing import Final

COUNTS: Final = ("total", "succeeded", "failed", "cancelled", "terminated", "skipped")
"""What `list` has in the expressions of `then_with`, beside its `id`."""
