"""A recording opened by libsndfile, with a length that is true."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import soundfile

from audiolm.audio.containers.chunks import check_sound_bytes
from audiolm.audio.containers.flac import check_length
from audiolm.audio.containers.mp3 import after_id3, check_frames
from audiolm.audio.containers.ogg import check_pages
from audiolm.audio.containers.remarks import without_remarks
from audiolm.audio.containers.spliced import Spliced
from audiolm.errors import AudioError

_WIDTHS = {"PCM_S8": 1, "PCM_U8": 1, "ULAW": 1, "ALAW": 1, "PCM_16": 2, "PCM_24": 3}
_WIDTHS |= {"PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
"""Bytes of a sample, by what libsndfile calls its coding."""


class ForwardFile(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read from front to back.

    soundfile seeks after every read to where it is already, unless a file cannot seek; MP3 forgets
    by that what it needs of the frames before.
    """

    def seekable(self) -> bool:
        """Not while it is read."""
        return False

    def can_jump(self) -> bool:
        """Whether its coding can be read from the middle."""
        able: bool = super().seekable()
        return able


@contextmanager
def opened(path: Path) -> Iterator[tuple[ForwardFile, int]]:
    """Open a recording: as libsndfile reads it, and how many samples each of its channels has.

    Raises:
        AudioError: it is no recording, is cut off, or its length is not what its header says.
    """
    with ExitStack() as stack:
        sound_bytes = check_sound_bytes(path)
        spliced, length = _true_length(path)
        source: str | bytes | Spliced = file_name(path)
        if spliced is not None:
            stack.callback(spliced.close)
            source = spliced
        try:
            with without_remarks():
                file = stack.enter_context(ForwardFile(source))
        except soundfile.SoundFileError as error:
            reason = str(error).rsplit(": ", 1)[-1].strip().rstrip(".") or "unknown format"
            raise AudioError(
                f"{path}: is no recording that can be read ({reason}); convert it to WAV or FLAC"
            ) from None
        if sound_bytes is not None and file.subtype in _WIDTHS:
            # libsndfile reads W64 to the end of the file, padding included.
            there = sound_bytes // (_WIDTHS[file.subtype] * file.channels)
            length = min(file.frames, there)
        yield file, file.frames if length is None else length


def file_name(path: Path) -> str | bytes:
    """A name as soundfile takes it: on its own it cannot encode those that are no UTF-8."""
    return str(path) if os.name == "nt" else os.fsencode(path)


def _true_length(path: Path) -> tuple[Spliced | None, int | None]:
    """The file with its header put right, and its samples, each where that has to be said."""
    with path.open("rb") as file:
        start = after_id3(file.read(10))  # some programs put a tag before the sound
        file.seek(start)
        head = file.read(4)
    if head == b"fLaC":
        return check_length(path, start), None
    if head == b"OggS":
        check_pages(path)
    elif head[:1] == b"\xff" or start or path.suffix.lower() == ".mp3":
        return check_frames(path, start)
    return None, None
