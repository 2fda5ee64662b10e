"""Small corpora in the layouts that are published, made of noise."""

from pathlib import Path

from tiny import noise


def record(path: Path, seconds: float, seed: int, speaker: int = 0) -> None:
    """Write one recording."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise(seconds, 1000 * speaker + seed).write(path)


def zero_resource(root: Path, pairs: int = 2, voices: tuple[str, ...] = ("A", "B")) -> Path:
    """`lexical/dev` and `syntactic/dev` with their gold files as ZeroResource 2021 has them."""
    lexical, syntactic = [], []
    for number in range(pairs):
        for voice in voices:
            for correct in (1, 0):
                name = f"w{number}{voice}{correct}"
                seed, speaker = 2 * number + correct, ord(voice)
                record(root / "lexical" / "dev" / f"{name}.wav", 0.5, seed, speaker)
                frequency = ("", str(7 * number))[correct]
                lexical.append(f"{number},{name},{voice},{frequency},word{correct},B R,2,{correct}")
                name = f"s{number}{voice}{correct}"
                record(root / "syntactic" / "dev" / f"{name}.wav", 1.0, 100 + seed, speaker)
                kind = ("agreement", "binding")[number % 2]
                syntactic.append(f"{number},{name},{voice},{kind},sub,the dogs,{correct}")
    header = "id,filename,voice,frequency,word,phones,length_phones,correct"
    gold(root / "lexical" / "dev", header, lexical)
    gold(
        root / "syntactic" / "dev",
        "id,filename,voice,type,subtype,transcription,correct",
        syntactic,
    )
    return root


def gold(folder: Path, header: str, rows: list[str]) -> None:
    """Write a gold file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gold.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def abx_items(root: Path, speakers: int = 2, seconds: float = 3.0) -> Path:
    """Recordings as LibriSpeech has them and `dev.item`: phones P and Q between A and B."""
    lines = ["#file onset offset #phone prev-phone next-phone speaker"]
    for speaker in range(100, 100 + speakers):
        for chapter in range(2):
            name = f"{speaker}-{chapter}-0000"
            record(root / str(speaker) / str(chapter) / f"{name}.wav", seconds, chapter, speaker)
            for token in range(6):
                onset = 0.1 + 0.4 * token
                phone = "PQ"[token % 2]
                lines.append(f"{name} {onset:.2f} {onset + 0.3:.2f} {phone} A B {speaker}")
    path = root / "dev.item"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
