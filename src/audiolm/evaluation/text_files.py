"""Lines of text files that others have written: in UTF-8, ended by line feeds and nothing else."""

from pathlib import Path

from audiolm.errors import CorpusError


def read_lines(path: Path) -> list[str]:
    """The lines of a file, without their ends.

    Only a line feed (with or without a carriage return) ends a line: `str.splitlines` also cuts at
    U+2028, U+0085 and others, which stand inside texts.

    Raises:
        CorpusError: if it cannot be read, or is no UTF-8, naming the line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}); check the file") from None
    lines = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            lines.append(line.removesuffix(b"\r").decode("utf-8"))
        except UnicodeDecodeError:
            raise CorpusError(
                f"{path}: line {number} is no text in UTF-8; save the file as that, or download it "
                "again"
            ) from None
    return lines
