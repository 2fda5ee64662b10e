"""Another program's network, timed: run by `rivals.py` in an environment that has it.

    python rival.py audiolm-pytorch LAYERS WIDTH THREADS
    python rival.py gpt2 LAYERS WIDTH THREADS

It builds the network, prints a line of JSON that says what it is, and then for each line on stdin,
a number of frames, makes so many after a prompt of 3 s and prints how long a token took. Nothing of
this project is imported.
"""

import json
import sys
import time
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from types import ModuleType
from typing import Any

import torch

IDS, FRAMES, LEVELS, VOCABULARY = 88, 150, 4, 1024
"""Semantic ids in front and frames that are known: as many as our coarse stage has in `rivals.py`,
which is given the ids of the known 3 s and of the 26 frames that it makes."""
STAND_INS = ("fairseq", "torchaudio", "torchaudio.functional", "torchaudio.transforms", "wandb")
"""Imported by audiolm-pytorch, not used by its CoarseTransformer."""


class StandIn(ModuleType):
    """A module that is there to be imported from."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return object


def audiolm_pytorch(layers: int, width: int) -> Callable[[int], float]:
    """Its CoarseTransformer as its users sample it: `CoarseTransformerWrapper.generate`."""
    for name in STAND_INS:
        module = sys.modules[name] = StandIn(name)
        module.__spec__, module.__path__ = ModuleSpec(name, None), []
    from audiolm_pytorch import (  # type: ignore[import-not-found]
        CoarseTransformer,
        CoarseTransformerWrapper,
        SoundStream,
        t5,
    )
    from transformers import T5Config  # type: ignore[import-not-found]

    t5.T5_CONFIGS[t5.DEFAULT_T5_NAME] = {"config": T5Config()}  # else it asks the network for it

    class NoCodec(SoundStream):  # type: ignore[misc]
        rq_groups = 1

        def __init__(self) -> None:
            torch.nn.Module.__init__(self)

    network = CoarseTransformer(
        codebook_size=VOCABULARY,
        num_coarse_quantizers=LEVELS,
        num_semantic_tokens=VOCABULARY,
        dim=width,
        depth=layers,
        heads=width // 64,
        cond_dim=width,
    )
    wrapper = CoarseTransformerWrapper(transformer=network, codec=NoCodec()).eval()
    stamps: list[float] = []  # when its Transformer was through, once for each token
    network.transformer.register_forward_hook(lambda *_: stamps.append(time.perf_counter()))
    ids = torch.randint(VOCABULARY, (1, IDS))
    codes = torch.randint(VOCABULARY, (1, FRAMES * LEVELS))

    def seconds_a_token(frames: int) -> float:
        stamps.clear()
        wrapper.generate(
            semantic_token_ids=ids, prime_coarse_token_ids=codes, max_time_steps=frames
        )
        return (stamps[-1] - stamps[0]) / (len(stamps) - 1)

    return seconds_a_token


def gpt2(layers: int, width: int) -> Callable[[int], float]:
    """GPT-2 with its cache in a plain loop, which is quicker than its `generate`."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=(LEVELS + 1) * VOCABULARY + 2,
        n_positions=1024,
        n_layer=layers,
        n_embd=width,
        n_head=width // 64,
    )
    network = GPT2LMHeadModel(config).eval()
    prompt = torch.randint(config.vocab_size, (1, 2 + IDS + FRAMES * LEVELS))

    @torch.inference_mode()
    def seconds_a_token(frames: int) -> float:
        stamps = []
        ids, cache = prompt, None
        for _ in range(frames * LEVELS):
            out = network(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = out.past_key_values
            ids = out.logits[:, -1].softmax(-1).multinomial(1)
            stamps.append(time.perf_counter())
        return (stamps[-1] - stamps[0]) / (len(stamps) - 1)

    return seconds_a_token


def main() -> None:
    """Build, say so, and answer."""
    name, layers, width, threads = sys.argv[1], *map(int, sys.argv[2:])
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    package = {"audiolm-pytorch": "audiolm-pytorch", "gpt2": "transformers"}[name]
    build = {"audiolm-pytorch": audiolm_pytorch, "gpt2": gpt2}[name]
    seconds_a_token = build(layers, width)
    print(json.dumps({"package": package, "version": version(package)}), flush=True)
    for line in sys.stdin:
        print(json.dumps(seconds_a_token(int(line))), flush=True)


if __name__ == "__main__":
    main()
