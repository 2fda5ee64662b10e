"""How much the codec loses with each number of levels, from Python (paper, Table I).

python examples/evaluate.py [RECORDING...]

Needs the extra audiolm[evaluate]. `audiolm evaluate` does this, and the paper's other tables, for
whole folders, with intervals.
"""

import sys
from pathlib import Path

import audiolm
from audiolm.evaluation.metrics.quality import si_sdr, stoi


def main(recordings: list[Path]) -> None:
    """Print intelligibility and distortion of each recording by levels of the codec."""
    lm = audiolm.load("speech")
    for path in recordings:
        real = audiolm.read(path, sample_rate=16_000)
        print(f"{path.name}, {real.seconds:.1f} s")
        for levels in (1, 2, 4, 8, 12):
            if levels > lm.codec.levels:
                continue
            made = lm.reconstruction(real, levels)
            bits = levels * 50 * (lm.codec.codebook_size - 1).bit_length()
            intelligible, distortion = stoi(made, real), si_sdr(made, real)
            print(
                f"  {levels:2d} levels, {bits / 1000:.1f} kbit/s: "
                f"STOI {_written(intelligible)}, SI-SDR {_written(distortion)} dB"
            )


def _written(value: float | None) -> str:
    """A number, or a dash where there is nothing to measure."""
    return "-" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]] or [audiolm.example_prompt()])
