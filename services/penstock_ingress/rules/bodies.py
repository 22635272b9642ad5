"""Bodies as they were sent, kept no longer than anybody needs them. `penstock.bodies` says what they mean."""

from collections.abc import Callable
from types import TracebackType
from typing import Self


class ReceivedBody:
    """A body as it was sent. It is released as soon as nobody needs it, because its request may be open for minutes;
    at the latest at the end of a `with` block.
    """

    __slots__ = ("_on_release", "data", "size")

    def __init__(self, data: bytes, on_release: Callable[[], None] | None = None) -> None:
        self.data = data
        self.size = len(data)
        self._on_release = on_release

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Drop the data, and let the next large body have its turn."""
        on_release, self._on_release = self._on_release, None
        self.data = b""
        if on_release is not None:
            on_release()
