"""The paper's convolutional classifier of sound (section IV-D), and its training.

It sees one second as a log-mel spectrogram. Longer sound is judged by overlapping windows of one
second, whose judgements are averaged. The paper uses one architecture for who speaks (IV-D) and for
what is synthetic (IV-H); classes are names here, whatever they mean.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from audiolm.atomic import replacing
from audiolm.audio.mel import LogMel, MelConfig
from audiolm.audio.waveform import Audio
from audiolm.data.batches import CropSampler, waveform_batch
from audiolm.data.store import Waveforms
from audiolm.safety.fitting import FittingConfig, fit
from audiolm.shapes import SAMPLE_RATE, Waveform

CROP = SAMPLE_RATE
"""Samples that the network sees at once: one second."""
WINDOW_HOP = SAMPLE_RATE // 4
"""Samples from one window to the next when longer sound is judged."""
CHANNELS = (64, 128, 256, 256, 512, 512)
"""Of the six blocks."""
BATCH_SIZE = 32
"""Crops in one step of training."""
WINDOWS_AT_ONCE = 64
"""Windows in one batch when sound is judged: bounds the memory that long recordings take."""


def convolution_blocks(channels: Sequence[int]) -> nn.Sequential:
    """The paper's blocks, from log-mel spectra (B, 1, frames, bins) to maps (B, channels, ., .).

    Each block is a convolution along time (3x1), one along frequency (1x3), ReLU and batch
    normalization; where a block has more channels than the one before it, its input is pooled by
    2 in time and frequency.
    """
    blocks: list[nn.Module] = []
    before = 1
    for width in channels:
        if 1 < before < width:
            blocks.append(nn.MaxPool2d(2))
        blocks += [
            nn.Conv2d(before, width, (3, 1), padding=(1, 0)),
            nn.Conv2d(width, width, (1, 3), padding=(0, 1)),
            nn.ReLU(),
            nn.BatchNorm2d(width),
        ]
        before = width
    return nn.Sequential(*blocks)


def largest(blocks: nn.Sequential, spectra: Float[Tensor, "B frames bins"]) -> Float[Tensor, "B D"]:
    """The largest value of each channel that blocks make of log-mel spectra."""
    maps = blocks(spectra[:, None].contiguous(memory_format=torch.channels_last))
    values: Tensor = maps.amax(dim=(2, 3)).float()
    return values


class Classifier(nn.Module):
    """Waveforms of any length to the classes they belong to.

    The paper's blocks (`convolution_blocks`); the largest value of each channel goes to a linear
    layer.

    Args:
        classes: their names.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__()
        self.classes = list(classes)
        # 25 ms windows, 10 ms hop (the defaults), 64 bins.
        self.mel = LogMel(MelConfig(bins=64))
        self.blocks = convolution_blocks(CHANNELS)
        self.head = nn.Linear(CHANNELS[-1], len(self.classes))

    def forward(self, waveform: Waveform) -> Float[Tensor, "B C"]:
        """Logits (B, classes) of crops (B, T), T about one second."""
        logits: Tensor = self.head(self._pooled(waveform))
        return logits

    def _pooled(self, waveform: Waveform) -> Float[Tensor, "B D"]:
        """What the linear layer sees: the largest value of each channel."""
        return largest(self.blocks, self.mel(waveform))

    @torch.inference_mode()
    def probabilities(self, audio: Audio) -> Float[Tensor, "C"]:
        """Mean probability of each class (classes,) over windows of 1 s every 250 ms, on the CPU.

        Sound of less than a second is one window, filled with silence; of longer sound, the rest
        behind the last whole window is not heard.
        """
        probabilities, _ = self.windows(audio, WINDOW_HOP)
        return probabilities.mean(0)

    @torch.inference_mode()
    def windows(self, audio: Audio, hop: int) -> tuple[Float[Tensor, "W C"], Float[Tensor, "W D"]]:
        """Probabilities (windows, classes) and embeddings (windows, D) of seconds, on the CPU.

        Args:
            audio: of any length, as in `probabilities`.
            hop: samples at 16 kHz from one window of a second to the next.
        """
        samples = torch.from_numpy(audio.resampled(SAMPLE_RATE).samples)  # (T,)
        samples = F.pad(samples, (0, max(0, CROP - len(samples))))
        windows = samples.unfold(0, CROP, hop)  # (n, CROP)
        training, device = self.training, self.head.weight.device
        self.eval()
        parts = [self._pooled(part.to(device)) for part in windows.split(WINDOWS_AT_ONCE)]
        embeddings = torch.cat(parts)
        probabilities = self.head(embeddings).softmax(1)
        self.train(training)
        return probabilities.cpu(), embeddings.cpu()

    def classify(self, audio: Audio) -> str:
        """The name of the likeliest class."""
        return self.classes[int(self.probabilities(audio).argmax())]


def train_classifier(
    store: Waveforms,
    labels: Sequence[str],
    epochs: float,
    minutes: float | None,
    device: torch.device,
    seed: int,
    progress: Callable[[float], None] = lambda share: None,
) -> Classifier:
    """Train a classifier on crops of one second.

    Args:
        store: the recordings to learn from.
        labels: (R,) the class of each.
        epochs: how often each second is seen, about.
        minutes: an earlier end; none when None.
        device: where.
        seed: of the first weights and of the crops.
        progress: is told which share is done.
    """
    classes = sorted(set(labels))
    targets = torch.tensor([classes.index(label) for label in labels])  # (R,)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Classifier(classes)
    network.to(device)
    lengths = [store.length(i) for i in range(len(store))]
    sampler = CropSampler(lengths, CROP, BATCH_SIZE, seed)

    def loss_of(step: int) -> Tensor:
        draws = sampler.draw(step)
        waveform, _ = waveform_batch(store, draws, CROP)  # (B, CROP)
        wanted = targets[[index for index, _ in draws]].to(device)  # (B,)
        return F.cross_entropy(network(waveform.to(device)), wanted)

    steps = max(1, round(epochs * sampler.steps_per_epoch))
    fit(network, loss_of, FittingConfig(steps=steps, minutes=minutes), progress)
    return network


class ClassifierFile:
    """Where a classifier is kept, so that it is trained once.

    Args:
        folder: made where it is missing.
        settings: whatever it depends on: another classifier belongs to other settings.
    """

    def __init__(self, folder: Path, **settings: object) -> None:
        key = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
        self._path = folder / f"classifier-{key.hexdigest()[:16]}.safetensors"

    def load(self, device: torch.device) -> Classifier | None:
        """The classifier, or None where there is none yet (or a file that cannot be read)."""
        try:
            classes = json.loads(self._path.with_suffix(".json").read_text(encoding="utf-8"))
            network = Classifier(classes)
            network.load_state_dict(load_file(self._path))
        except (OSError, ValueError, TypeError, RuntimeError, SafetensorError):
            return None
        return network.to(device).eval()

    def save(self, network: Classifier) -> None:
        """Keep it: weights as safetensors, the names of the classes beside them."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self._path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(network.classes), encoding="utf-8")
        weights = {name: tensor.contiguous().cpu() for name, tensor in network.state_dict().items()}
        with replacing(self._path) as temporary:
            save_file(weights, temporary)
