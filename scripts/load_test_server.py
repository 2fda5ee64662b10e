"""Put `audiolm serve` under load: many clients at once, each asking again and again.

    python scripts/load_test_server.py --seconds 120 --clients 50 --model speech

Starts a server of its own on a free port. Every answer must be whole, or a refusal that says when
to ask again; anything else is printed and makes the exit code 1. The first sound is the first
sample of what follows the prompt, counted from the request; of requests that waited, too. Beside
the clients, somebody asks every second whether the server is there: how long that takes says
whether one who asks little is served while many ask much.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from audiolm.pretrained import example_prompt


@dataclass
class Tally:
    """What became of the requests."""

    whole: int = 0
    refused: int = 0
    broken: list[str] = field(default_factory=list)
    first_sound: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)
    """Seconds until `/v1/health` answered."""
    memory: list[float] = field(default_factory=list)
    """MB that the server held, every second."""


async def client(
    address: str, prompt: bytes, seconds: float, until: float, number: int, tally: Tally
) -> None:
    """Ask until the time is over."""
    expected = 2 * round(seconds * 16_000)
    fields = {"seconds": str(seconds), "format": "pcm", "continuation_only": "true"}
    async with httpx.AsyncClient(timeout=300) as http:
        while time.monotonic() < until:
            started = time.monotonic()
            came, first = 0, 0.0
            try:
                async with http.stream(
                    "POST",
                    f"{address}/v1/continuations",
                    files={"prompt": ("prompt", prompt)},
                    data=fields | {"seed": str(number)},
                ) as answer:
                    if answer.status_code == 503:
                        pause = float(answer.headers["Retry-After"])
                        if not json.loads(await answer.aread())["error"].startswith("busy: "):
                            raise ValueError("a refusal does not say that it is busy")
                        tally.refused += 1
                        await asyncio.sleep(min(pause, max(0.0, until - time.monotonic())))
                        continue
                    answer.raise_for_status()
                    async for piece in answer.aiter_raw():
                        first = first or time.monotonic() - started
                        came += len(piece)
            except (httpx.HTTPError, KeyError, ValueError) as error:
                tally.broken.append(f"{type(error).__name__}: {error}")
                continue
            if came != expected:
                tally.broken.append(f"{came} bytes of {expected} came")
            else:
                tally.whole += 1
                tally.first_sound.append(first)


async def watch(address: str, process: int, tally: Tally) -> None:
    """Every second, until cancelled: is it there, and how large is it?"""
    async with httpx.AsyncClient(timeout=300) as http:
        while True:
            started = time.monotonic()
            try:
                (await http.get(f"{address}/v1/health")).raise_for_status()
            except httpx.HTTPError as error:
                tally.broken.append(f"health: {type(error).__name__}: {error}")
            tally.health.append(time.monotonic() - started)
            tally.memory.append(memory_mb(process))
            await asyncio.sleep(1)


def memory_mb(process: int) -> float:
    """What a process holds in memory, in MB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("this system does not tell")


async def run(arguments: argparse.Namespace, address: str, process: int) -> Tally:
    """All clients, for so long."""
    prompt = example_prompt().read_bytes()
    tally = Tally()
    # One request alone, so that memory is measured with everything loaded.
    await client(address, prompt, arguments.length, time.monotonic() + 0.1, 0, Tally())
    before = memory_mb(process)
    until = time.monotonic() + arguments.seconds
    clients = [
        client(address, prompt, arguments.length, until, number, tally)
        for number in range(arguments.clients)
    ]
    watching = asyncio.create_task(watch(address, process, tally))
    await asyncio.gather(*clients)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    after = memory_mb(process)
    most = max(after, *tally.memory)
    print(f"{arguments.clients} clients, {arguments.seconds:g} s, {arguments.length:g} s each")
    print(f"answers whole {tally.whole}, refused {tally.refused}, broken {len(tally.broken)}")
    if tally.first_sound:
        p50, p95 = np.percentile(tally.first_sound, (50, 95))
        print(f"first sound, the queue included: median {p50:.2f} s, p95 {p95:.2f} s")
    print(
        f"health: median {1000 * np.median(tally.health):.0f} ms, longest "
        f"{1000 * max(tally.health):.0f} ms"
    )
    print(f"memory of the server: {before:.0f} MB before, at most {most:.0f}, {after:.0f} after")
    for line in sorted(set(tally.broken)):
        print(f"broken: {line}", file=sys.stderr)
    return tally


def main() -> int:
    """Start a server, load it, end it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120, help="how long")
    parser.add_argument("--clients", type=int, default=50, help="how many at once")
    parser.add_argument("--length", type=float, default=2, help="seconds of each continuation")
    parser.add_argument("--model", default="speech", help="which model is served")
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "audiolm", "serve", "--port", "0", "--model", arguments.model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            said = server.stdout.readline()
            if "http://" not in said:
                return server.wait()
            address = "http://" + said.partition("http://")[2].partition("/")[0]
            tally = asyncio.run(run(arguments, address, server.pid))
        finally:
            server.terminate()
    return 1 if tally.broken or not tally.whole else 0


if __name__ == "__main__":
    sys.exit(main())
