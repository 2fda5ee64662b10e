"""Recordings as bytes, a model that is slow, and servers that listen: for the tests here."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import soundfile
import uvicorn

from audiolm.audio.blocks import to_int16
from audiolm.audio.waveform import Audio
from audiolm.cli.serve import listening_socket
from audiolm.server.app import Limits, create_app
from audiolm.server.served import ServedModel


def wav(audio: Audio, form: str = "WAV", channels: int = 1) -> bytes:
    """A recording as the bytes of a file."""
    file = io.BytesIO()
    samples = np.stack([to_int16(audio.samples)] * channels, axis=1)
    soundfile.write(file, samples, audio.sample_rate, format=form)
    return file.getvalue()


def samples_of(answer: bytes) -> np.ndarray:
    """(T,) float32 of an answer in PCM."""
    return np.frombuffer(answer, "<i2").astype(np.float32) / 32768


@dataclass
class SlowModel:
    """Streams silence, a tenth of a second in a fiftieth of one, and knows what became of it."""

    lm: object
    pause: float = 0.02
    begun: int = 0
    closed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __getattr__(self, name: str) -> object:
        return getattr(self.lm, name)

    def stream(self, prompt: Audio, seconds: float, **_: object) -> Iterator[Audio]:
        with self.lock:
            self.begun += 1
        try:
            for _ in range(round(seconds * 10)):
                time.sleep(self.pause)
                yield Audio(np.zeros(1600, np.float32), 16_000)
        finally:
            with self.lock:
                self.closed += 1


class Servers:
    """Servers that listen; called with models and limits it starts one, and is its address."""

    def __init__(self, models: dict[str, ServedModel]) -> None:
        self.models = models
        self.running = []

    def __call__(self, served: dict[str, ServedModel] | None = None, **limits: float) -> str:
        listener = listening_socket("127.0.0.1", 0)
        app = create_app(served or self.models, Limits(**limits))
        config = uvicorn.Config(app, log_level="error", http="h11", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        self.running.append((server, thread, listener))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    def stop(self) -> None:
        while self.running:
            server, thread, listener = self.running.pop()
            server.should_exit = True
            thread.join(timeout=20)
            listener.close()


def wait_until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Until something is so; a failure when it does not become so."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not become so"
        time.sleep(0.01)
