"""Attention as its formula says, one query at a time."""

import math

import torch


def attention(query, key, value, bias_of_distance):
    """query, key, value (B, H, L, d); bias_of_distance (H, L): position i sees positions 0 to i."""
    output = torch.zeros_like(query)
    batch, heads, length, width = query.shape
    for b in range(batch):
        for h in range(heads):
            for i in range(length):
                scores = [
                    query[b, h, i] @ key[b, h, j] / math.sqrt(width) + bias_of_distance[h, i - j]
                    for j in range(i + 1)
                ]
                weights = torch.stack(scores).exp()
                weights = weights / weights.sum()
                output[b, h, i] = sum(w * value[b, h, j] for j, w in enumerate(weights))
    return output


def attention_within(query, key, value, bias, lengths):
    """query, key, value (B, H, L, d); bias (H, L, L); row b has lengths[b] keys, seen by all."""
    output = torch.zeros_like(query)
    batch, heads, length, width = query.shape
    for b in range(batch):
        for h in range(heads):
            for i in range(length):
                scores = [
                    query[b, h, i] @ key[b, h, j] / math.sqrt(width) + bias[h, i, j]
                    for j in range(lengths[b])
                ]
                weights = torch.stack(scores).exp()
                weights = weights / weights.sum()
                output[b, h, i] = sum(w * value[b, h, j] for j, w in enumerate(weights))
    return output
