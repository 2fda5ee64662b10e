"""What the verbs that make recordings share: OUT is checked first, and an error stands alone."""

import os
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from audiolm.cli.options import THREADS, Settings, use_threads
from audiolm.errors import AudioError

if TYPE_CHECKING:
    from audiolm.audio.waveform import Audio
    from audiolm.model import AudioLM
    from audiolm.pipeline import Progress
    from audiolm.safety.provenance import Credentials

    Make = Callable[[int, Path, Progress], float]
    """Makes one recording with a seed, writes it, tells of progress: the seconds it lasts."""

OUT_SUFFIXES = (".wav", ".flac")


class UnmarkedWarning(UserWarning):
    """What is made carries no mark."""


class MarkedInputWarning(UserWarning):
    """A recording that is read carries a mark: it was made by a model."""


def output_paths(out: Path, samples: int = 1, source: Path | None = None) -> list[Path]:
    """The files to write, checked before any work is done.

    Args:
        out: what the user asked for.
        samples: how many files; more than one are numbered from 1.
        source: the recording that is read, which is not to be overwritten.

    Raises:
        AudioError: when a file has another suffix, or could not be written.
    """
    if out.suffix.lower() not in OUT_SUFFIXES:
        raise AudioError(f"{out}: must end in {' or '.join(OUT_SUFFIXES)}; name it so")
    folder = out.parent
    if not _is(folder, Path.is_dir):
        raise AudioError(f"{out}: there is no folder {folder}; make it first")
    numbered = [out.with_stem(f"{out.stem}-{number}") for number in range(1, samples + 1)]
    paths = [out] if samples == 1 else numbered
    for path in paths:
        if _is(path, Path.is_dir):
            raise AudioError(f"{path}: is a folder; name a file")
        if _is(path, Path.exists) and not path.is_file():
            raise AudioError(f"{path}: is a pipe or device; name a file")
        if source is not None and _is(path, source.samefile):
            raise AudioError(f"{path}: is the recording that is read; name another file")
    _try_to_write(max(paths, key=lambda path: len(os.fsencode(path.name))))
    return paths


def make_files(
    settings: Settings,
    paths: Sequence[Path],
    prepare: "Callable[[], tuple[AudioLM, Make]]",
    credentials: "Credentials | None" = None,
) -> None:
    """Make one recording per path, with one seed after the other, and report them.

    Args:
        settings: what the options say.
        paths: the files, as `output_paths` gives them.
        prepare: reads and loads what is needed. It returns the model, and a function that makes
            one recording with a seed, writes it, tells of its progress, and returns its seconds.
        credentials: what the files are signed with; not at all when None.
    """
    outputs = []
    with held_warnings() as say_warnings:
        if settings.threads is None:
            use_threads(THREADS)
        lm, make = prepare()
        for seed, path in enumerate(paths, start=settings.seed):
            started = time.perf_counter()
            with settings.progress() as progress:

                def show(stage: str, done: int, of: int, progress: "Progress" = progress) -> None:
                    say_warnings()
                    progress(stage, done, of)

                seconds = make(seed, path, show)
            signed(path, credentials)
            say_warnings()
            took = time.perf_counter() - started
            outputs.append({"file": str(path), "seconds": seconds, "seed": seed, "took": took})
    report = {
        "model": lm.name,
        "fingerprint": lm.fingerprint,
        "device": str(lm.device),
        "outputs": outputs,
    }
    lines = [
        f"{made['file']}: {made['seconds']:.2f} s, seed {made['seed']}, took {made['took']:.1f} s"
        for made in outputs
    ]
    settings.tell(report, lines)


def tell_marks(no_mark: bool, source: "Audio | None" = None, path: Path | None = None) -> None:
    """Say on stderr that the mark is left out, and that a recording that is read has one.

    Warns:
        UnmarkedWarning, MarkedInputWarning: if so.
    """
    if no_mark:
        warnings.warn(
            "--no-mark: the sound carries no mark; its metadata says all the same that it was made",
            UnmarkedWarning,
            stacklevel=2,
        )
    if source is None:
        return
    from audiolm.safety.watermark import read_mark

    reading = read_mark(source.samples, source.sample_rate)
    if reading.found:
        by = ""
        if reading.payload is not None:
            by = f", one of family {reading.payload.family} ({reading.payload.fingerprint})"
        warnings.warn(
            f"{path}: carries a mark (p = {reading.p_value:.1g}): a model made it{by}",
            MarkedInputWarning,
            stacklevel=2,
        )


def signed(path: Path, credentials: "Credentials | None") -> None:
    """Sign a file that was written, where there is something to sign it with."""
    if credentials is not None:
        from audiolm.safety.provenance import sign_with

        sign_with(path, credentials)


@contextmanager
def held_warnings() -> Iterator[Callable[[], None]]:
    """Keep warnings until the work has begun: where it cannot begin, the error is all that is said.

    What comes is to be called then; it says what was kept so far.
    """
    show = warnings.showwarning
    with warnings.catch_warnings(record=True) as kept:

        def say() -> None:
            for warning in kept:
                show(warning.message, warning.category, warning.filename, warning.lineno)
            kept.clear()

        yield say
        say()


def _is(path: Path, question: Callable[[Path], bool]) -> bool:
    """The answer to a question about a path; False where it cannot even be asked."""
    try:
        return question(path)
    except OSError:  # the name is too long, or a folder on the way cannot be entered
        return False


def _try_to_write(path: Path) -> None:
    """Make and remove a file beside `path`, with a name as long as the one that will be needed."""
    trial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError as error:
        raise AudioError(
            f"{path}: cannot be written to ({error.strerror}); choose another name or folder"
        ) from None
