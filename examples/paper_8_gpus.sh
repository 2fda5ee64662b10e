#!/bin/bash
# The preset `paper` on one machine with 8 GPUs:
#
#     examples/paper_8_gpus.sh /data/libri-light /models/paper
#
# Every step can be interrupted; the same command goes on from its last checkpoint. A batch is that
# of the paper, 256 crops: each of the 8 processes sees 32, in 4 backward passes of 8 (the codec, 128
# crops of a second: 16 in one). Activations are computed again in the backward pass, and weights,
# gradients and optimizer are divided among the GPUs.
set -euo pipefail

exec torchrun --standalone --nproc-per-node 8 -m audiolm train "$1" --out "$2" --preset paper \
    --set training.sharding=fsdp \
    --set training.recompute_activations=true \
    --set training.w2v_bert.optimization.accumulate=4 \
    --set training.stages.semantic.optimization.accumulate=4 \
    --set training.stages.coarse.optimization.accumulate=4 \
    --set training.stages.fine.optimization.accumulate=4
