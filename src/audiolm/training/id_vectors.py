"""The first weights of a stage that begins anew: ids that stand for like sounds begin alike.

An id is a number to a stage, yet it stands for a vector: a code for one of the codec's codebook, a
semantic id for a centroid of k-means. A stage that begins with random rows finds out which ids are
alike from how they are used, id by id, for which a small corpus has too few examples. So the rows
of its tables begin as a random projection of those vectors: as large as random rows, but as near to
each other as the vectors are. (The paper begins with random rows, on 60,000 hours.)
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from audiolm.codec import Codec
from audiolm.device import torch_defaults
from audiolm.semantic import SemanticTokenizer
from audiolm.stages import Stage
from audiolm.stages.layout import SEMANTIC
from audiolm.stages.transformer import WEIGHT_DEVIATION

IdVectors = Float[Tensor, "n d"]
"""Row i is what id i stands for."""


def start_from_vectors(stage: Stage, vectors_of: Callable[[int], IdVectors], seed: int) -> None:
    """Give the rows of a stage's ids the vectors that these stand for, projected at random.

    Args:
        stage: changed in place.
        vectors_of: the vectors of a kind of id: 0 for semantic ids, q for codes of level q.
        seed: of the projections. A kind has one for its embeddings and its head, and others for
            where it is conditioning.
    """
    known: dict[int, Tensor] = {}
    projections: dict[tuple[int, int], Tensor] = {}
    with torch.no_grad(), torch_defaults(torch.device("cpu")):
        for kind, place, rows in stage.rows_by_id():
            if kind not in known:
                known[kind] = of_one_size(vectors_of(kind).detach().float().cpu())
            vectors = known[kind]
            if (kind, place) not in projections:
                generator = torch.Generator().manual_seed(seed * 10_007 + kind * 101 + place)
                shape = (vectors.shape[1], rows.shape[1])
                drawn = torch.randn(shape, generator=generator)
                projections[kind, place] = WEIGHT_DEVIATION * drawn
            rows.copy_(vectors @ projections[kind, place])


def of_one_size(vectors: IdVectors) -> IdVectors:
    """The same vectors around their mean, with a mean square length of 1."""
    centred = vectors - vectors.mean(dim=0)
    return centred / centred.square().sum(dim=1).mean().sqrt().clamp(min=1e-12)


def code_vectors(codec: Codec, level: int) -> IdVectors:
    """What each code of a level stands for, (N, D); the same code in front of each of them."""
    codes = torch.zeros(codec.codebook_size, level, 1, dtype=torch.long)  # (N, q, 1)
    codes[:, -1, 0] = torch.arange(codec.codebook_size)
    with torch.inference_mode():
        embedded = codec.embed(codes.to(next(codec.parameters()).device))  # (N, 1, D)
    with torch.inference_mode(False):
        return embedded[:, 0].clone()


def id_vectors(
    codec: Callable[[], Codec], tokenizer: Callable[[], SemanticTokenizer]
) -> Callable[[int], IdVectors]:
    """`vectors_of` of a model; a part is asked for when it is needed."""

    def vectors_of(kind: int) -> IdVectors:
        return tokenizer().centroids if kind == SEMANTIC else code_vectors(codec(), kind)

    return vectors_of
