"""`audiolm tokenize`: shares in any order equal one process; what cannot be is said in a line."""

import os
import subprocess
import sys

import pytest
import torch

from audiolm.data.tokens import TokenStore
from audiolm.model_io.folder import load_part

SMALL = ("--shard-size", 2, "--batch-seconds", 4, "--threads", 1, "--quiet")


@pytest.fixture
def tokenize(audiolm, model, corpus_folder):
    """`tokenize(out, ...)`: tokens of five recordings, two to a shard."""
    folder = corpus_folder(5)

    def run(out, *arguments, data=folder):
        return audiolm("tokenize", data, "--out", out, "--model", model, *SMALL, *arguments)

    run.folder = folder
    return run


def same(first, second) -> bool:
    one, other = TokenStore(first), TokenStore(second)
    assert [r.id for r in one.recordings] == [r.id for r in other.recordings]
    assert one.statistics == other.statistics
    return all(
        torch.equal(one.semantic(i), other.semantic(i))
        and torch.equal(one.codes(i), other.codes(i))
        for i in range(len(one))
    )


def test_shares_in_any_order_equal_one_process(tokenize, audiolm, model, tmp_path) -> None:
    whole = tokenize(tmp_path / "one", "--json")
    assert whole.code == 0, whole.err
    assert whole.json["complete"]
    assert whole.json["written"] == whole.json["shards"] == 3
    for share, complete in (("3/3", False), ("1/3", False), ("2/3", True)):
        answer = tokenize(tmp_path / "three", "--shard", share, "--json")
        assert answer.code == 0
        assert answer.json["complete"] is complete
        checked = audiolm("tokenize", "--out", tmp_path / "three", "--check")
        assert checked.code == (0 if complete else 2)
        assert complete or "2/3" in checked.err
    assert same(tmp_path / "one", tmp_path / "three")
    TokenStore(tmp_path / "one").require(
        load_part(model, "codec").fingerprint(), load_part(model, "semantic").fingerprint()
    )
    assert audiolm("tokenize", tokenize.folder, "--out", tmp_path / "one", "--check").code == 0


def test_it_goes_on_where_it_was_stopped(tokenize, tmp_path) -> None:
    tokenize(tmp_path / "out")
    first = tmp_path / "out" / "shard-00000.safetensors"
    when = first.stat().st_mtime_ns
    (tmp_path / "out" / "shard-00001.safetensors").unlink()
    (tmp_path / "out" / "tokens.json").unlink()
    assert tokenize(tmp_path / "out", "--json").json["written"] == 1
    assert first.stat().st_mtime_ns == when
    assert len(TokenStore(tmp_path / "out")) == 5


def test_torchrun_gives_the_share(tokenize, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        answer = tokenize(tmp_path / "two", "--json")
        assert answer.json["share"] == f"{int(rank) + 1}/2"
    assert answer.json["complete"]


def test_a_recording_that_cannot_be_decoded_has_no_tokens(tokenize, tmp_path) -> None:
    damaged = tokenize.folder / "002.wav"
    samples = damaged.read_bytes()
    damaged.write_bytes(samples[:44] + b"\xff" * (len(samples) - 44))
    import soundfile

    soundfile.write(damaged, [float("nan")] * 16_000, 16_000, subtype="FLOAT")
    answer = tokenize(tmp_path / "out", "--json")
    assert answer.json["complete"]
    assert answer.json["left_out"] == 1
    store = TokenStore(tmp_path / "out")
    assert [store.steps(i) == 0 for i in range(5)] == [False, False, True, False, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shard", "4/3"), "--shard 4/3: is no share; give I/N with I from 1 to N"),
        (("--shard", "2/2", "--ray", "auto"), "Ray divides the work itself"),
        (("--shard", "1/4"), "was begun in 3 shares, not 4"),
        (("--shard", "1/3", "--shard-size", "3"), "give --shard-size 2"),
    ],
)
def test_what_cannot_be_is_one_line(tokenize, tmp_path, arguments, message) -> None:
    assert tokenize(tmp_path / "out", "--shard", "1/3").code == 0
    answer = tokenize(tmp_path / "out", *arguments)
    assert answer.code == 2
    assert message in answer.err
    assert answer.err.count("\n") == 1


def test_a_ray_address_that_does_not_answer(tokenize, tmp_path) -> None:
    answer = tokenize(tmp_path / "out", "--ray", "127.0.0.1:1")
    assert answer.code == 2
    assert "--ray 127.0.0.1:1: no Ray cluster answers there" in answer.err
    assert answer.err.count("\n") == 1
    assert tokenize(tmp_path / "out", "--json").json["complete"]  # what was begun is no obstacle


def test_two_models_in_one_folder(tokenize, tmp_path) -> None:
    from tiny import tiny_model

    tiny_model(seed=7, kinds=()).save(tmp_path / "other")
    assert tokenize(tmp_path / "out", "--shard", "1/3").code == 0
    answer = tokenize(tmp_path / "out", "--shard", "2/3", "--model", tmp_path / "other")
    assert answer.code == 2
    assert "was begun with another model" in answer.err
    assert tokenize(tmp_path / "out", "--shard", "2/3").code == 0


def test_the_corpus_itself_is_not_written_into(tokenize) -> None:
    answer = tokenize(tokenize.folder)
    assert answer.code == 2
    assert "holds something else than tokens" in answer.err


def test_recordings_that_came_later_are_noticed(tokenize, audiolm, tmp_path) -> None:
    tokenize(tmp_path / "out")
    (tokenize.folder / "later.wav").write_bytes((tokenize.folder / "000.wav").read_bytes())
    answer = audiolm("tokenize", tokenize.folder, "--out", tmp_path / "out", "--check")
    assert answer.code == 2
    assert "is of 5 recordings, 1 of the 6 in" in answer.err


def test_killed_in_the_middle_and_started_again(tokenize, model, tmp_path) -> None:
    """A real process, ended without a word after its first shard."""
    script = (
        "import os, sys\n"
        "from audiolm.data.token_writer import TokenWriter\n"
        "write = TokenWriter.write\n"
        "def once(*a, **k):\n"
        "    write(*a, **k)\n"
        "    os._exit(9)\n"
        "TokenWriter.write = once\n"
        "from audiolm.cli.main import main\n"
        "main(sys.argv[1:])\n"
    )
    out = tmp_path / "out"
    command = ["tokenize", tokenize.folder, "--out", out, "--model", model, *SMALL]
    code = subprocess.run(
        [sys.executable, "-c", script, *map(str, command)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=120,
    ).returncode
    assert code == 9
    assert len(list(out.glob("shard-*"))) == 1
    assert tokenize(out, "--json").json["written"] == 2
    tokenize(tmp_path / "whole")
    assert same(out, tmp_path / "whole")


def test_a_training_takes_the_tokens_that_were_made_in_shares(
    audiolm, training_corpus, trained_model, tmp_path
) -> None:
    """The same stage as one whose tokens the training makes itself."""
    data = training_corpus
    for share in ("2/2", "1/2"):
        made = ("--out", tmp_path / "tokens", "--model", trained_model, "--shard", share)
        assert audiolm("tokenize", data, *made, "--shard-size", 3, "--quiet").code == 0
    stores = []
    for name, more in (("taken", ("--tokens", tmp_path / "tokens")), ("own", ())):
        words = ("--preset", "tiny", "--from", trained_model, "--only", "tokens", "--quiet")
        answer = audiolm("train", data, "--out", tmp_path / name, *words, *more)
        assert answer.code == 0, answer.err
        stores.append(tmp_path / name / "training" / "tokens")
    for part in ("train", "validation"):
        taken, own = stores[0] / part, stores[1] / part
        assert same(taken, own)
        assert TokenStore(taken).repetition() == TokenStore(own).repetition()
    answer = audiolm(
        "train", data, "--out", tmp_path / "other", "--preset", "tiny", "--from", trained_model,
        "--only", "tokens", "--quiet", "--tokens", tmp_path,
    )  # fmt: skip
    assert answer.code == 2
    assert "holds no tokens" in answer.err
