"""MP3: how many frames there are.

MP3 has no header. A first frame without sound, called Xing or Info, may state how many follow;
where there is none, libsndfile guesses from the first frame and the size of the file, and reads no
further than that. So the frames are counted here.
"""

import mmap
from dataclasses import dataclass
from pathlib import Path

from audiolm.audio.containers.spliced import Spliced
from audiolm.errors import AudioError

_BITRATES = {
    (1, 1): [32 * n for n in range(15)],
    (1, 2): [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    (1, 3): [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    (2, 1): [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    (2, 2): [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    (2, 3): [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
}
"""kbit/s by version (2 is 2 and 2.5) and layer."""


@dataclass(frozen=True)
class _Frame:
    """What the four bytes before a frame say (ISO 11172-3, section 2.4.1.3)."""

    version: int
    layer: int
    sample_rate: int
    channels: int
    size: int
    """Bytes, those four included."""
    tag: int
    """Where in the frame a Xing or Info tag would stand."""

    def is_like(self, other: "_Frame") -> bool:
        """Whether both can belong to one stream."""
        mine, theirs = ((f.version, f.layer, f.sample_rate, f.channels) for f in (self, other))
        return mine == theirs


def check_frames(path: Path, start: int) -> tuple[Spliced | None, int | None]:
    """Count the frames of an MP3 where nothing states how many there are, or it cannot be true.

    Args:
        path: an MP3 file.
        start: where its frames begin.

    Returns:
        The file as libsndfile will read all of, and the samples of each channel in it, where its
        first frame does not say so; otherwise None for both.

    Raises:
        AudioError: fewer frames are there than its first one states, or their format changes.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        begin = _next_frame(data, start)
        first = _frame(data, begin) if begin is not None else None
        if begin is None or first is None or first.layer != 3:
            return None, None  # libsndfile will say what is wrong
        stated, size = _stated(data, begin, first)
        if stated is not None and size is not None and _about(size, len(data) - begin):
            return None, None
        tagged = stated is not None or data[begin + 36 : begin + 40] == b"VBRI"
        sound = begin + first.size if tagged else begin
        frames, end = _count(path, data, sound, first)
        if stated is not None and frames < stated - (end == len(data)):
            raise AudioError(
                f"{path}: is cut off: {frames} of {stated} frames are there; copy it again"
            )
    if stated is not None and frames <= stated + 1:  # some programs count the tag as a frame
        return Spliced(path.open("rb"), size=end), None
    # libsndfile reads no further than the size of the file and the first frame let it guess.
    enough = max(end - sound, 2 * (frames + 1) * (first.size + 1))
    samples = frames * (1152 if first.version == 1 else 576)
    return Spliced(path.open("rb"), skip=sound, size=enough), samples


def _about(size: int, present: int) -> bool:
    """Whether as many bytes are there as stated; a tag of 128 may follow."""
    return present in (size, size + 128)


def _frame(data: mmap.mmap, at: int) -> _Frame | None:
    """The frame that begins at a byte; None where none can."""
    head = data[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    kind, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)  # kind: 0 is 2.5, 2 is 2, 3 is 1
    bitrate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if kind == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return None
    version = 1 if kind == 3 else 2
    sample_rate = (44_100, 48_000, 32_000)[rate] // {3: 1, 2: 2, 0: 4}[kind]
    bits = 1000 * _BITRATES[version, layer][bitrate]
    channels = 1 if head[3] >> 6 == 3 else 2
    if layer == 1:
        size = 4 * (12 * bits // sample_rate + padding)
    else:
        size = (72 if (version, layer) == (2, 3) else 144) * bits // sample_rate + padding
    tag = 4 + {(1, 2): 32, (1, 1): 17, (2, 2): 17, (2, 1): 9}[version, channels]
    return _Frame(version, layer, sample_rate, channels, size, tag)


def _next_frame(data: mmap.mmap, at: int) -> int | None:
    """Where the next frame begins that another one like it follows, or the end of the file."""
    while (at := data.find(b"\xff", at)) >= 0:
        frame = _frame(data, at)
        if frame is not None:
            after = _frame(data, at + frame.size)
            if at + frame.size == len(data) or (after is not None and after.is_like(frame)):
                return at
        at += 1
    return None


def _stated(data: mmap.mmap, at: int, frame: _Frame) -> tuple[int | None, int | None]:
    """Frames and bytes that a Xing or Info tag in the first frame states, each if it does."""
    for tag in (at + frame.tag, at + frame.tag + 2):  # a checksum of two bytes may come before
        if data[tag : tag + 4] in (b"Xing", b"Info"):
            numbers = iter(range(tag + 8, len(data), 4))
            flags = data[tag + 7]
            frames, size = (
                int.from_bytes(data[(n := next(numbers)) : n + 4]) if flags & bit else None
                for bit in (1, 2)
            )
            return frames, size
    return None, None


def _count(path: Path, data: mmap.mmap, start: int, first: _Frame) -> tuple[int, int]:
    """How many whole frames there are from byte `start`, and where the last of them ends.

    Tags and damage between frames are left out.
    """
    at: int | None = start
    count, end = 0, start
    while at is not None:
        frame = _frame(data, at)
        if frame is None:
            at = _next_frame(data, _after_tag(data, at))
            continue
        if not frame.is_like(first):
            if at == _next_frame(data, at):
                raise AudioError(
                    f"{path}: its sample rate or channels change at byte {at}; split it, "
                    "or convert it to WAV or FLAC"
                )
            at = _next_frame(data, at + 1)
            continue
        if at + frame.size > len(data):
            break
        count += 1
        at = end = at + frame.size
    return count, end


def _after_tag(data: mmap.mmap, at: int) -> int:
    """The first byte after an ID3 tag that stands here."""
    if data[at : at + 3] == b"TAG":
        return at + 128
    return after_id3(data[at : at + 10], at)


def after_id3(head: bytes, at: int = 0) -> int:
    """The first byte after an ID3v2 tag that stands at `at` and begins with `head` (10 bytes)."""
    if head[:3] != b"ID3" or len(head) < 10:
        return at
    size = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(reversed(head[6:10])))
    return at + 10 + size + (10 if head[5] & 0x10 else 0)
