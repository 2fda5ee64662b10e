#!/bin/bash
# The preset `paper` on one machine with 8 GPUs:
#
#     examples/paper_8_gpus.sh /data/libri-light /models/paper
#
# Every step can be interrupted; the same command goes on from its last checkpoint. A batch is that
# of the paper, 256 crops: each of the 8 processes sees 32, of tokens in 2 backward passes of 16
# (docs/SCALE.md: 1.83 GB a crop of the coarse stage), of sound in 4 of 8; the codec, 128 crops of a
# second, 16 in one. Where that is too much memory, raise `accumulate`, or have activations computed
# again: --set training.recompute_activations=true. Weights, gradients and optimizer are divided
# among the GPUs.
set -euo pipefail

exec torchrun --standalone --nproc-per-node 8 -m audiolm train "$1" --out "$2" --preset paper \
    --set training.sharding=fsdp \
    --set training.w2v_bert.optimization.accumulate=4 \
    --set training.stages.semantic.optimization.accumulate=2 \
    --set training.stages.coarse.optimization.accumulate=2 \
    --set training.stages.fine.optimization.accumulate=2
