"""A corpus as tokens on a Ray cluster of this machine, one of whose workers is killed half-way."""

import os
import signal
import socket
import threading

import pytest

from audiolm.data.corpus import open_corpus
from audiolm.data.shares import Share, begin, finish
from audiolm.data.tokens import TokenStore
from audiolm.errors import ConfigurationError
from audiolm.training import ray_pool
from audiolm.training.ray_pool import PoolSettings, ShardActor, load_parts, tokenize_on_ray
from audiolm.training.tokenizing import TokenizingConfig, write_shard
from tiny import tiny_model
from training.resuming import CPU

CONFIG = TokenizingConfig(batch_seconds=4.0, shard_size=1)


@pytest.fixture
def writers(tmp_path, corpus_folder):
    """`writers(name)`: settings and the writer of six shards, in a folder of that name."""
    tiny_model(kinds=()).save(tmp_path / "model")
    recordings = open_corpus(corpus_folder(6, seconds=0.4)).recordings
    parts = load_parts(tmp_path / "model", CPU, CONFIG)

    def make(name):
        settings = PoolSettings(tmp_path / name, tmp_path / "model", "cpu", CONFIG, 1, actors=2)
        return settings, begin(tmp_path / name, recordings, parts.format(), Share())

    make.parts = parts
    return make


def test_an_address_that_does_not_answer_is_one_line(writers) -> None:
    settings, writer = writers("out")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(ConfigurationError, match=f"--ray {address}: no Ray cluster answers"):
            tokenize_on_ray(address, writer, settings, lambda: None)
    with pytest.raises(ConfigurationError, match=r"--ray a\.\.b:1: no Ray cluster answers"):
        tokenize_on_ray("a..b:1", writer, settings, lambda: None)
    for address in ("nowhere", "host:port", "host:99999", ":"):
        with pytest.raises(ConfigurationError, match="is no address; give auto, local"):
            tokenize_on_ray(address, writer, settings, lambda: None)


@pytest.mark.parametrize(
    ("says", "reason"),
    [(b"", "timed out"), (b"HTTP/1.1 400 Bad Request\r\n\r\n", "something else does")],
)
def test_what_listens_and_is_no_cluster_is_one_line(writers, monkeypatch, says, reason) -> None:
    monkeypatch.setattr(ray_pool, "ANSWER_SECONDS", 0.3)
    settings, writer = writers("out")
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            connection, _ = other.accept()
            connection.recv(100)
            connection.sendall(says)
            told.append(connection)  # and stays open

        told = []
        thread = threading.Thread(target=answer)
        thread.start()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ConfigurationError, match=rf"no Ray cluster answers there \({reason}"):
            tokenize_on_ray(address, writer, settings, lambda: None)
        thread.join()
        told[0].close()


@pytest.mark.slow
def test_a_cluster_is_known_by_its_answer() -> None:
    ray = pytest.importorskip("ray", reason="ray is not installed")
    ray.init(address="local", include_dashboard=False, log_to_driver=False, num_cpus=1)
    try:
        ray_pool._require_answer(ray.get_runtime_context().gcs_address)
    finally:
        ray.shutdown()


@pytest.mark.slow
def test_a_worker_killed_half_way_loses_nothing_and_nothing_is_twice(
    writers, tmp_path, monkeypatch
) -> None:
    ray = pytest.importorskip("ray", reason="ray is not installed")
    died, log = tmp_path / "died", tmp_path / "written"

    class Mortal(ShardActor):
        """Dies without a word after its second shard, once; writes down what it wrote."""

        def __call__(self, batch):
            before = set(self.writer.missing())
            answer = super().__call__(batch)
            with log.open("a") as file:
                file.writelines(f"{s}\n" for s in batch["shard"] if s in before)
            if len(log.read_text().splitlines()) >= 2 and not died.exists():
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

    monkeypatch.setattr(ray_pool, "ShardActor", Mortal)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    settings, writer = writers("ray")
    told = []
    try:
        tokenize_on_ray("local", writer, settings, lambda: told.append(1))
    finally:
        ray.shutdown()
    assert died.exists()
    assert len(told) == 6
    assert sorted(map(int, log.read_text().split())) == [0, 1, 2, 3, 4, 5]
    assert finish(tmp_path / "ray").complete

    _, alone = writers("alone")
    for shard in alone.missing():
        write_shard(writers.parts, alone, shard, CPU, 1)
    assert finish(tmp_path / "alone").complete
    for path in sorted((tmp_path / "alone").glob("shard-*")):
        assert path.read_bytes() == (tmp_path / "ray" / path.name).read_bytes()
    assert len(TokenStore(tmp_path / "ray")) == 6
