"""Names of files that are no UTF-8.

On Linux a name is bytes, and old corpora have some in Latin-1. Python carries the bytes that are no
UTF-8 as lone surrogates, which open the file again and cannot be written to any text: ids and
everything else that is written down have them escaped.
"""

import os
import re

_SURROGATE = re.compile("[\ud800-\udfff]")


def printable(name: str | os.PathLike[str]) -> str:
    """A name as text that can be written as UTF-8: `caf\\xe9` where a byte is no UTF-8."""
    return _SURROGATE.sub(_escaped, os.fspath(name))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    is_byte = 0xDC80 <= code <= 0xDCFF  # what os.fsdecode makes of a byte from 0x80 to 0xff
    return f"\\x{code - 0xDC00:02x}" if is_byte else f"\\u{code:04x}"
