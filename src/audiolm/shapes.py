"""The axes of every tensor in this package, and names for the tensors that cross its contracts.

    B batch    T samples          F codec frames (320 samples)   S semantic steps (640 samples)
    Q levels   N codebook size    K clusters    D width
    L flat sequence    V vocabulary    H heads

The aliases are jaxtyping annotations: documentation for readers and type checkers, checked at run
time in the tests (`tests/conftest.py` installs the import hook).
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

SAMPLE_RATE = 16_000
"""Samples per second of every waveform inside the package."""

CODEC_HOP = 320
"""Samples per codec frame (50 frames a second)."""

SEMANTIC_HOP = 640
"""Samples per semantic step (25 steps a second)."""

FRAMES_PER_STEP = SEMANTIC_HOP // CODEC_HOP
"""Codec frames per semantic step."""

Waveform = Float[Tensor, "B T"]
Lengths = Int[Tensor, "B"]
Codes = Int[Tensor, "B Q F"]
Embeddings = Float[Tensor, "B F D"]
Features = Float[Tensor, "B S D"]
SemanticIds = Int[Tensor, "B S"]
FlatIds = Int[Tensor, "B L"]
FlatMask = Bool[Tensor, "B L"]
Logits = Float[Tensor, "B L V"]
