"""A file that came with a request, as a recording: of bounded size, length and channels.

Its name is never used. It goes into a temporary file, because the readers of this package want one,
and is gone when it was read.
"""

import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO

from audiolm.audio.files import info, read, read_end
from audiolm.audio.waveform import Audio
from audiolm.errors import AudioError
from audiolm.server.refusals import RefusedError
from audiolm.shapes import SAMPLE_RATE

MOST_CHANNELS = 8
"""A decoder keeps a block of every channel in memory."""

MOST_SECONDS = 3600.0
"""Of a recording of which only the end is read."""


def read_upload(file: BinaryIO, field: str, longest: float, end: float | None = None) -> Audio:
    """The recording in an uploaded file, at 16 kHz.

    Args:
        file: what came.
        field: what errors call it.
        longest: seconds that it may last.
        end: only its last seconds are heard; then it may be longer.

    Raises:
        AudioError: it is no recording that can be read.
        RefusedError: 413, it is too long.
    """
    with tempfile.TemporaryDirectory(prefix="audiolm-") as folder:
        path = Path(folder) / field
        with path.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        try:
            about = info(path)
            most = longest if end is None else MOST_SECONDS
            if about.seconds > most:
                raise RefusedError(
                    413, f"{field}: lasts {about.seconds:.1f} s; send at most {most:g} s of it"
                )
            if about.channels > MOST_CHANNELS:
                raise AudioError(
                    f"{field}: has {about.channels} channels; send at most {MOST_CHANNELS}"
                )
            if end is None:
                return read(path, SAMPLE_RATE)
            return read_end(path, end).resampled(SAMPLE_RATE)
        except AudioError as error:
            raise AudioError(str(error).replace(str(path), field)) from None
