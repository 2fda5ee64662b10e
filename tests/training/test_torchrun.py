"""`torchrun --nproc-per-node 2 -m audiolm train ...`: two real processes, from launch to model."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from audiolm.data.tokens import TokenStore
from audiolm.model_io.folder import load_part
from audiolm.model_io.manifest import read_manifest
from training.toy import SECOND_ROUND

pytestmark = pytest.mark.slow

PATIENCE = 1200
"""Seconds after which two processes are taken for waiting for each other for ever."""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SHORT = [
    f"training.{place}.optimization.steps=2"
    for place in ("codec", "w2v_bert", "second_round", "stages.semantic", "stages.coarse")
]


def torchrun(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of two processes."""
    started = subprocess.Popen(
        [*TORCHRUN, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        out, err = started.communicate(timeout=PATIENCE)
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
    return started.returncode, out, err


@pytest.fixture(scope="module")
def train(training_corpus):
    """`train(out, ...)`: what two processes answer, and what they say."""
    code, _, err = torchrun("--no-python", "true")
    if code:
        pytest.skip(f"torchrun cannot start here: {(err.strip() or str(code)).splitlines()[-1]}")

    def run(out: Path, *arguments: object) -> tuple[dict, list[str]]:
        settings = [word for setting in (*SECOND_ROUND, *SHORT) for word in ("--set", setting)]
        command = ["-m", "audiolm", "train", training_corpus, "--out", out, "--preset", "tiny"]
        code, said, err = torchrun(*command, *settings, "--threads", 1, "--json", *arguments)
        assert code == 0, err
        lines = [line for line in err.splitlines() if "OMP_NUM_THREADS" not in line]
        return json.loads(said), [line for line in lines if line.strip()]  # one object: one speaks

    return run


@pytest.fixture(scope="module")
def trained(train, tmp_path_factory) -> tuple[Path, dict, list[str]]:
    """A model with a second round, made by two processes."""
    out = tmp_path_factory.mktemp("torchrun") / "model"
    return out, *train(out)


def test_two_processes_train_a_model_and_one_speaks(trained) -> None:
    out, answer, said = trained
    assert answer["model"] == str(out)
    assert list(answer["steps"])[2:5] == ["clustering", "second_round", "second_clustering"]
    assert answer["steps"]["second_round"]["steps"] == 2
    parts = read_manifest(out).parts
    assert parts.keys() == {"codec", "semantic", "stage_semantic"}
    for part in parts:
        load_part(out, part)  # whole
    assert not list(out.rglob(".*.part"))
    assert sum("second_round: step 2: validation" in line for line in said) == 1


def test_each_wrote_half_of_the_targets_and_one_the_log(trained) -> None:
    folder = trained[0] / "training" / "second_round"
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [2]
    assert (folder / "targets" / "train" / "tokens.json").exists()


def test_again_it_is_done_already(train, trained) -> None:
    answer, said = train(trained[0])
    assert answer["steps"] == trained[1]["steps"]
    assert sum("done already" in line for line in said) == len(answer["steps"])


def test_two_processes_start_from_a_model(train, trained, tmp_path) -> None:
    """Both need its codec and tokenizer, and one of them copies."""
    more = ("--from", trained[0], "--only", "tokens,semantic,coarse")
    answer, said = train(tmp_path / "mine", *more)
    assert list(answer["steps"]) == ["tokens", "semantic", "coarse"]
    mine, theirs = (read_manifest(folder).parts for folder in (tmp_path / "mine", trained[0]))
    for part in ("codec", "semantic"):
        assert mine[part].fingerprint == theirs[part].fingerprint
        assert sum(f"{part}: copied from" in line for line in said) == 1


def test_two_processes_divide_the_weights(train, trained, tmp_path) -> None:
    """FSDP from the network of the tokenizer to a stage; the codec is copied."""
    out = tmp_path / "sharded"
    sharded = ("--set", "training.sharding=fsdp", "--only", "w2v_bert,clustering,tokens,semantic")
    answer, _ = train(out, "--from", trained[0], *sharded)
    assert list(answer["steps"]) == ["w2v_bert", "clustering", "tokens", "semantic"]
    for part in ("semantic", "stage_semantic"):
        load_part(out, part)  # one whole file
    for step in ("w2v_bert", "semantic"):
        assert list((out / "training" / step / "checkpoint.sharded").glob("step-*/*.distcp"))


def test_the_processes_are_the_shares_of_a_corpus(trained, training_corpus, tmp_path) -> None:
    words = ["-m", "audiolm", "tokenize", training_corpus, "--out", tmp_path / "tokens"]
    code, _, err = torchrun(*words, "--model", trained[0], "--shard-size", 3, "--threads", 1)
    assert code == 0, err
    assert len(TokenStore(tmp_path / "tokens")) == 10
