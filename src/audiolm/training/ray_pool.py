"""A corpus as tokens by Ray Data: an actor pool of tokenizers, each with the model loaded once.

Ray places the actors, hands them shards as they become free, starts those anew that died, and gives
their shards to others. A shard that is done again is found there, and so written once.
"""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import device as Device

from audiolm.data.manifest import read_recordings
from audiolm.data.shares import Share, begin
from audiolm.data.token_writer import TokenWriter
from audiolm.data.tokens import shard_path
from audiolm.device import choose_device
from audiolm.errors import ConfigurationError, TrainingError
from audiolm.model_io.folder import load_part
from audiolm.training.tokenizing import ShardTokenizer, TokenizingConfig, write_shard

ANSWER_SECONDS = 5.0
"""How long a cluster may take to answer at all."""

HTTP2_OPENING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
"""How HTTP/2, on which Ray speaks, begins: a fixed text and a frame of settings (RFC 9113, 3.4)."""
SETTINGS = b"\x04"
"""The kind of the frame that a server begins with; it stands in the fourth of a frame's 9 bytes."""


@dataclass(frozen=True)
class PoolSettings:
    """What every actor is told; paths must mean the same on every node."""

    folder: Path
    """Where the tokens go: a disk that all nodes share."""
    model: Path
    """A model folder."""
    device: str
    """Of each actor, which may be on a machine with a GPU where this one has none: cpu, cuda."""
    config: TokenizingConfig
    threads: int
    actors: int
    """How many tokenizers there may be at most."""


class ShardActor:
    """One tokenizer of the pool; Ray keeps it for shard after shard."""

    def __init__(self, settings: PoolSettings) -> None:
        self.settings = settings
        self.device = choose_device(settings.device)
        self.parts = load_parts(settings.model, self.device, settings.config)
        recordings = read_recordings(settings.folder / "manifest.jsonl")
        self.writer = begin(settings.folder, recordings, self.parts.format(), Share())

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Write the shards of a batch of rows; returns why recordings have no tokens."""
        told: list[str] = []
        for shard in batch["shard"].tolist():
            reasons: list[str] = []
            if not shard_path(self.writer.folder, shard).exists():  # else done before a death
                reasons = write_shard(
                    self.parts, self.writer, shard, self.device, self.settings.threads
                )
            told.append("\n".join(reasons))
        return {"shard": batch["shard"], "unreadable": told}


def load_parts(model: Path, device: Device, config: TokenizingConfig) -> ShardTokenizer:
    """Codec and tokenizer of a model folder."""
    from audiolm.codec import Codec
    from audiolm.semantic import SemanticTokenizer

    codec, tokenizer = (load_part(model, name, device) for name in ("codec", "semantic"))
    assert isinstance(codec, Codec)
    assert isinstance(tokenizer, SemanticTokenizer)
    return ShardTokenizer(codec, tokenizer, config)


def tokenize_on_ray(
    address: str, writer: TokenWriter, settings: PoolSettings, progress: Callable[[], object]
) -> list[str]:
    """Have a Ray cluster write all shards of a store that are missing.

    Args:
        address: of the cluster: `auto`, `host:port`, `ray://host:port`, or `local` for one on this
            machine.
        writer: of the store, all of it.
        settings: of the actors.
        progress: called after each shard.

    Returns:
        Why recordings have no tokens.

    Raises:
        ConfigurationError: when Ray is not installed, or nothing answers at the address.
        TrainingError: when Ray gives up.
    """
    missing = writer.missing()
    if not missing:
        return []
    ray = _connected(address)
    try:
        data: Any = import_module("ray.data")
        data.DataContext.get_current().enable_progress_bars = False
        # A block whose actor dies is done again whole, so a row each; thousands slow Ray down.
        blocks = min(len(missing), 1000)
        rows = data.from_items([{"shard": k} for k in missing], override_num_blocks=blocks)
        done = rows.map_batches(
            ShardActor,
            fn_constructor_args=(settings,),
            batch_size=1,
            concurrency=(1, settings.actors),
            **({"num_gpus": 1} if settings.device == "cuda" else {"num_cpus": 1}),
        )
        unreadable: list[str] = []
        for row in done.iter_rows():
            unreadable += row["unreadable"].splitlines()
            progress()
        return unreadable
    except ray.exceptions.RayError as error:
        raise TrainingError(
            f"--ray {address}: {_last_line(error)}; what is done is kept: give the same command "
            "again"
        ) from error
    finally:
        ray.shutdown()


def _connected(address: str) -> ModuleType:
    """Ray, connected to a cluster."""
    _require_answer(address)
    try:
        ray = import_module("ray")
    except ImportError:
        raise ConfigurationError(
            "--ray: ray is not installed; install it with: pip install audiolm[ray]"
        ) from None
    begun_here = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error", **begun_here)
    except Exception as error:  # of whatever layer finds out
        raise _no_answer(address, _last_line(error)) from None
    return ray


def _require_answer(address: str) -> None:
    """Ray waits for minutes for a host that is not there, or is something else: ask it first."""
    if address in ("auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigurationError(
            f"--ray {address}: is no address; give auto, local, host:port or ray://host:port"
        )
    try:
        place = host.strip("[]"), int(port)
        with socket.create_connection(place, timeout=ANSWER_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS") == "1":
                return  # all that can be asked without its certificates
            connection.sendall(HTTP2_OPENING)
            with connection.makefile("rb") as answer:
                spoke_http2 = answer.read(9)[3:4] == SETTINGS
    except (OSError, UnicodeError) as error:  # the second: a host that is no name, as a..b
        raise _no_answer(address, getattr(error, "strerror", None) or str(error)) from None
    if not spoke_http2:
        raise _no_answer(address, "something else does")


def _no_answer(address: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"--ray {address}: no Ray cluster answers there ({reason}); start one with ray start "
        "--head, or give --ray local"
    )


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
