"""Write a continuation into a WAV file while it is made; the file is whole at any moment.

python examples/stream_to_file.py [OUT.wav] [SECONDS]
"""

import sys
from collections.abc import Iterator

import numpy as np

import audiolm
from audiolm.audio.growing_wav import grow_wav


def main(out: str, seconds: float) -> None:
    """Stream so many seconds into `out`, and say how far it is."""
    lm = audiolm.load("speech")
    prompt = audiolm.read(audiolm.example_prompt())

    def samples() -> Iterator[np.ndarray]:
        made = 0.0
        for chunk in lm.stream(prompt, seconds, seed=0):
            made += chunk.seconds
            print(f"\r{made:.1f} s", end="", flush=True)
            yield chunk.samples

    grow_wav(out, samples(), sample_rate=16_000)
    print(f" in {out}")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(arguments[0] if arguments else "stream.wav", float((arguments[1:] or ["7"])[0]))
