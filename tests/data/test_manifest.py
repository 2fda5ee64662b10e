import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiolm.data.corpus import Recording
from audiolm.data.manifest import read_recordings, write_manifest
from audiolm.data.speed_perturbation import as_recorded
from audiolm.errors import CorpusError

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
recordings = st.lists(
    st.builds(
        Recording,
        id=text,
        path=text.map(Path),
        seconds=st.floats(0, 1e6),
        speaker=st.none() | text,
        split=st.sampled_from([None, "train", "dev", "test"]),
        speed=st.sampled_from([1.0, 1.1, 0.9]),
    )
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(recordings)
def test_what_is_written_is_read(tmp_path, recordings):
    write_manifest(tmp_path / "manifest.jsonl", recordings)
    assert read_recordings(tmp_path / "manifest.jsonl") == recordings


def test_a_failure_leaves_the_old_manifest(tmp_path):
    path = tmp_path / "manifest.jsonl"
    good = Recording("a", Path("a.wav"), 1.0)
    write_manifest(path, [good])

    def fails():
        yield Recording("b", Path("b.wav"), 2.0)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        write_manifest(path, fails())
    assert read_recordings(path) == [good]
    assert list(tmp_path.iterdir()) == [path]


GOOD = '{"id": "a", "path": "a.wav", "seconds": 1.0, "speaker": null, "split": null}\n'


@pytest.mark.parametrize("line", ["no json", "[1]", '{"id": "a"}', GOOD[:-10], ""])
def test_a_bad_line_is_named(tmp_path, line):
    (tmp_path / "manifest.jsonl").write_text(GOOD + line + "\n")
    with pytest.raises(CorpusError, match=r"manifest\.jsonl: line 2 is no recording"):
        read_recordings(tmp_path / "manifest.jsonl")


def test_missing(tmp_path):
    with pytest.raises(CorpusError, match=r"none\.jsonl: cannot be read .*write it again"):
        read_recordings(tmp_path / "none.jsonl")


def test_not_text(tmp_path):
    (tmp_path / "manifest.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorpusError, match=r"manifest\.jsonl: line 1 is no recording"):
        read_recordings(tmp_path / "manifest.jsonl")


@pytest.mark.parametrize("named", [b"caf\xe9.wav", b"caf\\xe9.wav"])
def test_names_that_are_no_utf8_are_written_as_utf8_and_open_the_file_again(tmp_path, named):
    name = os.fsdecode(named)
    path = tmp_path / "manifest.jsonl"
    write_manifest(path, [Recording(name, Path(name), 1.0, speaker=name)])
    line = json.loads(path.read_bytes().decode("utf-8"))
    assert line["id"] == line["path"] == line["speaker"] == "caf\\xe9.wav"
    json.dumps(line, ensure_ascii=False).encode("utf-8")
    assert read_recordings(path)[0].path == Path(name)


def test_a_manifest_of_an_earlier_version_with_names_that_are_no_utf8(tmp_path):
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(GOOD.encode().replace(b"a.wav", b"caf\xe9.wav"))
    assert read_recordings(path)[0].path == Path(os.fsdecode(b"caf\xe9.wav"))


def test_speeds_in_a_manifest_of_an_earlier_version_are_those_of_files_that_come_again(tmp_path):
    """Not what ids look like: `walk at dusk` is a recording like any other."""
    rows = [
        {"id": "walk", "path": "walk.wav", "seconds": 1.1},
        {"id": "walk at dusk", "path": "walk at dusk.wav", "seconds": 2.0},
        {"id": "walk at 1.1", "path": "walk.wav", "seconds": 1.1 / 1.1},
        {"id": "walk at dusk at 1.1", "path": "walk at dusk.wav", "seconds": 2.0 / 1.1},
    ]
    lines = [json.dumps(row | {"speaker": None, "split": "train"}) + "\n" for row in rows]
    (tmp_path / "manifest.jsonl").write_text("".join(lines))
    read = read_recordings(tmp_path / "manifest.jsonl")
    assert [r.speed for r in read] == pytest.approx([1.0, 1.0, 1.1, 1.1])
    assert as_recorded(read).tolist() == [True, True, False, False]


def test_no_recordings(tmp_path):
    write_manifest(tmp_path / "manifest.jsonl", [])
    assert read_recordings(tmp_path / "manifest.jsonl") == []
