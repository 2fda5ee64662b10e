"""What each step of a training came to, as a table: `python scripts/training_figures.py MODEL`.

Reads MODEL/training, which `audiolm train` keeps.
"""

import argparse
import json
from pathlib import Path


def main() -> None:
    """Print one table of the steps, and one of the use of ids on the held-out recordings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="model folder that audiolm train made")
    training = parser.parse_args().model / "training"

    print("| step | minutes | updates | held-out recordings |")
    print("| --- | --- | --- | --- |")
    for step in (
        "codec",
        "w2v_bert",
        "second_round",
        "semantic",
        "coarse",
        "fine",
        "acoustic_only",
    ):
        path = training / step / "done.json"
        if not path.exists():
            continue
        metrics = json.loads(path.read_text("utf-8"))["metrics"]
        minutes, updates = metrics["seconds"] / 60, round(metrics["steps"])
        print(f"| {step} | {minutes:.0f} | {updates} | {', '.join(_told(step, metrics))} |")

    tokens = training / "tokens" / "validation" / "tokens.json"
    if tokens.exists():
        use = json.loads(tokens.read_text("utf-8"))["statistics"]
        perplexity = " ".join(f"{value:.0f}" for value in use["codebook_perplexity"])
        print(f"\nSemantic ids in use: {use['semantic_used']}, {use['semantic_entropy']:.2f} bits;")
        print(f"perplexity of the codebooks, level by level: {perplexity}.")


def _told(step: str, metrics: dict[str, float]) -> list[str]:
    """The figures of one step that say how good it is."""
    if step == "codec":
        return [f"mel distance {metrics['loss']:.3f}", f"SI-SDR {metrics['si-sdr']:.1f} dB"]
    if step == "w2v_bert":
        accuracy = 100 * metrics["contrastive_accuracy"]
        return [
            f"contrastive loss {metrics['contrastive']:.2f} nats ({accuracy:.0f} % right of 101)",
            f"masked prediction {metrics['masked_prediction']:.2f} nats",
        ]
    if step == "second_round":
        accuracy = 100 * metrics["masked_prediction_accuracy"]
        nats = metrics["masked_prediction"]
        return [f"masked prediction {nats:.2f} nats ({accuracy:.0f} % right)"]
    kinds = [name for name in metrics if name.startswith("bits ")]
    parts = [f"{name.removeprefix('bits ')} {metrics[name]:.2f}" for name in kinds]
    whole = f"{metrics['bits']:.2f} bits a token, unigram {metrics['unigram bits']:.2f}"
    return [whole, *(parts if len(parts) > 1 else [])]


if __name__ == "__main__":
    main()
