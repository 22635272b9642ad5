"""What is asked of the disk below a data directory."""

import ctypes
import os
from pathlib import Path


def sync_file_system(directory: Path) -> None:
    """Return when everything that was written to the file system of `directory` is on its disk. Raises OSError.

    One wait for the disk, however many files there are: `initdb` waits for each of its thousand, which on a busy disk
    takes minutes.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "syncfs"):  # Linux has it
        os.sync()
        return
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if library.syncfs(opened) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(directory))
    finally:
        os.close(opened)
