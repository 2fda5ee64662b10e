"""A part: a codec, a semantic tokenizer, a stage or a detector; what a model folder holds.

Every part is a network with a configuration. Its fingerprint is the SHA-256 over both, so that two
parts with one fingerprint give the same ids for the same input, and tokens know what made them.
"""

import hashlib
import json
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from audiolm.configuration import Configuration
from audiolm.int8 import from_int8, is_matrix, to_int8

Dtype = Literal["int8", "float16", "bfloat16", "float32"]
"""How weights are stored. int8: matrices by rows (`audiolm.int8`), everything else float16."""


class Part(nn.Module):
    """Base of `Codec`, `SemanticTokenizer`, `Stage` and `Detector`."""

    config: Configuration

    def fingerprint(self) -> str:
        """SHA-256 over configuration and weights (as float32): 64 hex digits."""
        return fingerprint(self.config.model_dump(mode="json"), self.state_dict())

    def rounded(self, dtype: Dtype = "float16") -> Self:
        """Round every weight to what `dtype` can hold, in place, as it will be stored on disk.

        Done before a part is used to make tokens, so that the part loaded from disk makes the same.
        """
        matrices = {name for name, _ in self.named_parameters()}  # codebooks and moments are not
        with torch.no_grad():
            for name, tensor in self.state_dict().items():
                if dtype == "int8" and name in matrices and is_matrix(tensor):
                    tensor.copy_(from_int8(*to_int8(tensor)))
                elif tensor.is_floating_point():
                    tensor.copy_(tensor.to(element_type(dtype)))
        return self


def element_type(dtype: Dtype) -> torch.dtype:
    """The type of what is not a matrix in eight bits."""
    return torch.float16 if dtype == "int8" else getattr(torch, dtype)


def fingerprint(config: dict[str, Any], weights: dict[str, Tensor]) -> str:
    """SHA-256 over a configuration (JSON types) and weights, whatever their device and width.

    A setting that is null does not count: one that a later version adds, and that old parts do
    without, leaves their fingerprints as they are.
    """
    digest = hashlib.sha256(json.dumps(_without_nulls(config), sort_keys=True).encode())
    for name in sorted(weights):
        tensor = weights[name].detach().cpu()
        if tensor.is_floating_point():
            tensor = tensor.float()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _without_nulls(value: Any) -> Any:
    """JSON data without the keys of objects whose value is null."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value
