"""A part: a codec, a semantic tokenizer or a stage; what a model folder holds.

Every part is a network with a configuration. Its fingerprint is the SHA-256 over both, so that two
parts with one fingerprint give the same ids for the same input, and tokens know what made them.
"""

import hashlib
import json
from typing import Any, Self

import torch
from torch import Tensor, nn

from audiolm.configuration import Configuration


class Part(nn.Module):
    """Base of `Codec`, `SemanticTokenizer` and `Stage`."""

    config: Configuration

    def fingerprint(self) -> str:
        """SHA-256 over configuration and weights (as float32): 64 hex digits."""
        return fingerprint(self.config.model_dump(mode="json"), self.state_dict())

    def rounded(self, dtype: torch.dtype = torch.float16) -> Self:
        """Round every weight to what `dtype` can hold, in place, as it will be stored on disk.

        Done before a part is used to make tokens, so that the part loaded from disk makes the same.
        """
        with torch.no_grad():
            for tensor in self.state_dict().values():
                if tensor.is_floating_point():
                    tensor.copy_(tensor.to(dtype))
        return self


def fingerprint(config: dict[str, Any], weights: dict[str, Tensor]) -> str:
    """SHA-256 over a configuration (JSON types) and weights, whatever their device and width."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name in sorted(weights):
        tensor = weights[name].detach().cpu()
        if tensor.is_floating_point():
            tensor = tensor.float()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
