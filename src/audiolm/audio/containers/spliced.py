"""A file that is read as if it had another beginning, or another length."""

import os
from typing import BinaryIO


class Spliced:
    """`head`, after it what stands in `file` from byte `skip` on, and zeros up to `size` bytes.

    It has what soundfile asks of a file object. Closing it closes `file`.
    """

    def __init__(
        self, file: BinaryIO, head: bytes = b"", skip: int = 0, size: int | None = None
    ) -> None:
        self._file, self._head, self._skip = file, head, skip
        own = len(head) + os.fstat(file.fileno()).st_size - skip
        self._size = own if size is None else size
        self._at = 0

    def tell(self) -> int:
        """Where the next byte comes from."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a byte, counted from the beginning, from here, or from the end."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int) -> bytes:
        """At most `size` bytes, none at the end."""
        size = max(0, min(size, self._size - self._at))
        data = self._head[self._at : self._at + size]
        self._file.seek(max(0, self._at + len(data) - len(self._head)) + self._skip)
        data += self._file.read(size - len(data))
        self._at += size
        return data.ljust(size, b"\0")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
