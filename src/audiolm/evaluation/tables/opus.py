"""Opus, the codec that every other is compared with: by `opusenc` of opus-tools."""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from audiolm.audio.files import read
from audiolm.audio.waveform import Audio
from audiolm.errors import AudioError
from audiolm.evaluation.requirements import Skipped

GET_OPUS = "install opus-tools (Debian: apt install opus-tools; macOS: brew install opus-tools)"

_HEADERS = 2
"""Packets of an Opus file that hold no sound: OpusHead and OpusTags."""


@dataclass(frozen=True)
class OpusResult:
    """What Opus makes of a recording."""

    audio: Audio
    """As long as the recording, at its sample rate."""
    kilobits: float
    """kbit/s that the sound takes, without the file format around it."""


class Opus:
    """The encoder with its default settings.

    Raises:
        Skipped: where it is not installed.
    """

    def __init__(self) -> None:
        program = shutil.which("opusenc")
        if program is None:
            raise Skipped("Opus is compared where opusenc is installed", GET_OPUS)
        self._program = program
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
        self.version = said.stdout.partition("\n")[0].strip()

    def __call__(self, audio: Audio, kilobits: float) -> OpusResult:
        """Encode at about `kilobits` kbit/s and decode again.

        Raises:
            AudioError: when the encoder fails.
        """
        with tempfile.TemporaryDirectory() as folder:
            source, made = Path(folder, "in.wav"), Path(folder, "out.opus")
            audio.write(source)
            command = [
                self._program,
                "--quiet",
                "--bitrate",
                f"{kilobits:g}",
                str(source),
                str(made),
            ]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            if run.returncode:
                reason = " ".join(run.stderr.split()) or f"exit code {run.returncode}"
                raise AudioError(f"opusenc: {reason}; check that the bitrate is one it takes")
            bits = 8 * sum(packet_sizes(made.read_bytes())[_HEADERS:])
            return OpusResult(
                read(made, sample_rate=audio.sample_rate), bits / audio.seconds / 1000
            )


def packet_sizes(ogg: bytes) -> list[int]:
    """Bytes of each packet in an Ogg file of one stream (RFC 3533)."""
    sizes, at, size = [], 0, 0
    while at < len(ogg):
        if ogg[at : at + 4] != b"OggS":
            raise AudioError(f"opusenc: wrote no Ogg page at byte {at}; try another version")
        count = ogg[at + 26]
        lacing = ogg[at + 27 : at + 27 + count]
        for value in lacing:
            size += value
            if value < 255:  # 255 says that the packet goes on, perhaps on the next page
                sizes.append(size)
                size = 0
        at += 27 + count + sum(lacing)
    return sizes
