"""Semantic tokens: 25 ids a second that say what is said (paper, section III-B)."""

from audiolm.semantic.contract import SemanticTokenizer
from audiolm.semantic.tokenizer import W2vBertTokenizer, W2vBertTokenizerConfig

__all__ = [
    "SemanticConfig",
    "SemanticTokenizer",
    "W2vBertTokenizer",
    "W2vBertTokenizerConfig",
    "build_tokenizer",
]

SemanticConfig = W2vBertTokenizerConfig
"""The configuration of any tokenizer; a union, told apart by `kind`, once there is another."""


def build_tokenizer(config: SemanticConfig) -> SemanticTokenizer:
    """A tokenizer of this configuration, ready for its weights, in evaluation mode."""
    return W2vBertTokenizer(config).eval()
