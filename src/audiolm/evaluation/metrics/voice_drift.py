"""Voice drift: does a continuation keep its prompt's voice, second by second?

Definition: *accuracy*, whether a classifier of voices takes a second for the speaker of the prompt;
*cosine*, how near the classifier's embedding of the second (what its last layer sees) is to the
mean embedding of the prompt, -1 to 1. The paper has the accuracy of whole
continuations (Table III).

Convention: one row per second that follows the prompt, in order.
"""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def validate(
    probabilities: Float[Tensor, "W C"], embeddings: Float[Tensor, "W D"], prompt: Tensor
) -> None:
    """Check shapes.

    Raises:
        ValueError: they do not fit.
    """
    if len(probabilities) != len(embeddings) or embeddings.shape[1:] != prompt.shape:
        raise ValueError("seconds or dimensions differ")


def right(probabilities: Float[Tensor, "W C"], speaker: int) -> Int[Tensor, "W"]:
    """1 for each second that is taken for this speaker, else 0."""
    return (probabilities.argmax(dim=1) == speaker).long()


def cosines(embeddings: Float[Tensor, "W D"], prompt: Float[Tensor, "D"]) -> Float[Tensor, "W"]:
    """How near each second is to the prompt."""
    return F.cosine_similarity(embeddings.double(), prompt.double()[None], dim=1)


def evaluate(
    probabilities: Float[Tensor, "W C"],
    embeddings: Float[Tensor, "W D"],
    prompt: Float[Tensor, "D"],
    speaker: int,
) -> dict[str, list[float]]:
    """`accuracy` and `cosine` of each second.

    Args:
        probabilities: of the classes, one row per second.
        embeddings: one per second.
        prompt: mean embedding of the prompt.
        speaker: the number of its class.

    Raises:
        ValueError: as `validate`.
    """
    validate(probabilities, embeddings, prompt)
    return {
        "accuracy": right(probabilities, speaker).double().tolist(),
        "cosine": cosines(embeddings, prompt).tolist(),
    }
