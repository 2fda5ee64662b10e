"""What stands before the sound in a WAV of 16 bits, one channel: format, and where it comes from.

Metadata is in two chunks: LIST INFO, which players show, and `bext` of the Broadcast Wave Format
(EBU Tech 3285), which archives and editors read.
"""

import struct

from audiolm.audio.origin import Origin

_LARGEST = 0xFFFF_FFFF
_BYTES = 2
"""Of a sample."""


def wav_header(sample_rate: int, samples: int | None = None, origin: Origin | None = None) -> bytes:
    """Everything before the sound: 44 bytes, and those of the metadata.

    Args:
        sample_rate: samples per second.
        samples: how many follow; None where that is not known, as in a pipe.
        origin: where it comes from; nothing is said of it when None.
    """
    about = b"" if origin is None else _info(origin) + _bext(origin, sample_rate)
    sound = _LARGEST if samples is None else samples * _BYTES
    form = struct.pack("<HHIIHH", 1, 1, sample_rate, sample_rate * _BYTES, _BYTES, 8 * _BYTES)
    between = b"WAVE" + _chunk(b"fmt ", form) + about
    whole = min(len(between) + 8 + sound, _LARGEST)
    return (
        b"RIFF"
        + struct.pack("<I", whole)
        + between
        + struct.pack("<4sI", b"data", min(sound, _LARGEST))
    )


def _chunk(name: bytes, content: bytes) -> bytes:
    """A chunk, with a byte of padding where its content is odd."""
    return struct.pack("<4sI", name, len(content)) + content + bytes(len(content) % 2)


def _info(origin: Origin) -> bytes:
    entries = {
        b"INAM": origin.sentence,
        b"ISFT": origin.software,
        b"ICRD": origin.made,
        b"ICMT": origin.to_comment(),
    }
    texts = [
        _chunk(name, text.encode("ascii", "replace") + b"\0") for name, text in entries.items()
    ]
    return _chunk(b"LIST", b"INFO" + b"".join(texts))


def _bext(origin: Origin, sample_rate: int) -> bytes:
    """Version 1: description, originator, its reference, date and time, and coding history."""
    day, _, clock = origin.made.partition("T")
    fields = struct.pack(
        "<256s32s32s10s8sQH64s190x",
        origin.sentence.encode("ascii", "replace"),
        origin.software.encode("ascii", "replace"),
        origin.fingerprint[:32].encode("ascii", "replace"),
        day.encode("ascii", "replace"),
        clock[:8].encode("ascii", "replace"),
        0,
        1,
        b"",
    )
    history = f"A=PCM,F={sample_rate},W={8 * _BYTES},M=mono,T={origin.sentence}\r\n"
    return _chunk(b"bext", fields + history.encode("ascii", "replace"))
