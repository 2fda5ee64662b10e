import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiolm.data.corpus import Recording
from audiolm.data.manifest import read_recordings, write_manifest
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


def test_names_that_are_no_utf8(tmp_path):
    name = os.fsdecode(b"caf\xe9.wav")
    write_manifest(tmp_path / "manifest.jsonl", [Recording(name, Path(name), 1.0)])
    assert read_recordings(tmp_path / "manifest.jsonl")[0].path == Path(name)


def test_no_recordings(tmp_path):
    write_manifest(tmp_path / "manifest.jsonl", [])
    assert read_recordings(tmp_path / "manifest.jsonl") == []
