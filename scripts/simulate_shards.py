"""Does a plan of shares finish, and when: stragglers and lost nodes, before any node is paid for.

    python scripts/simulate_shards.py --hours 60000 --nodes 64 --seed 0

Recordings are dealt out to shards and shares by the program's own code. Every node needs its own
time for an hour of sound (some are slow, and stay slow), and is lost now and then: what it had of
the shard under way is lost with it, and after a while another one goes on with its share. Compared
are one share for each node, dealt out in two kinds of order; several shares for each, of which a
node that is free takes the next (a job array with more tasks than nodes); and a pool that hands out
single shards so (Ray). The ideal is all work divided evenly among nodes that are never lost.
"""

import argparse
import heapq
import json
from dataclasses import asdict, dataclass

import numpy as np

from audiolm.data.shares import divide

MORE = 8
"""Shares for each node, where a free node takes the next."""


@dataclass(frozen=True)
class Plan:
    """What is to be done, and by what."""

    hours: float
    """Sound in all."""
    recording_seconds: float
    """Median length of a recording; lengths are log-normal with a deviation of 0.7."""
    shard_size: int
    """Recordings in a shard."""
    nodes: int
    speed: float
    """Hours of sound that a usual node tokenizes in an hour."""
    slow_share: float
    """Of the nodes, how many are slow..."""
    slow_factor: float
    """...and how many times slower."""
    lost_every: float
    """Hours of work between two losses of a node, on average."""
    restart: float
    """Hours until a lost node's share goes on."""


def shard_hours(plan: Plan, random: np.random.Generator) -> list[float]:
    """Sound in each shard: as many log-normal recordings as make the hours."""
    mean = plan.recording_seconds * np.exp(0.7**2 / 2)
    count = max(1, round(plan.hours * 3600 / mean))
    seconds = plan.recording_seconds * np.exp(0.7 * random.standard_normal(count))
    seconds *= plan.hours * 3600 / seconds.sum()
    firsts = np.arange(0, count, plan.shard_size)
    return [float(of_shard) for of_shard in np.add.reduceat(seconds, firsts) / 3600]


def speeds(plan: Plan, random: np.random.Generator) -> list[float]:
    """Of each node, within 5 % of the usual one's, but for the slow ones."""
    usual = plan.speed * (1 + 0.05 * random.standard_normal(plan.nodes))
    slow = random.permutation(plan.nodes) < round(plan.slow_share * plan.nodes)
    return [float(speed) for speed in np.where(slow, usual / plan.slow_factor, usual)]


def time_of(work: float, plan: Plan, random: np.random.Generator) -> tuple[float, int, float]:
    """How long one shard takes on a node that may be lost; losses, and hours of work lost."""
    passed, losses, wasted = 0.0, 0, 0.0
    while True:
        until_loss = random.exponential(plan.lost_every)
        if until_loss >= work:
            return passed + work, losses, wasted
        passed += until_loss + plan.restart
        wasted += until_loss
        losses += 1


def fixed_shares(
    shares: list[list[int]],
    hours: list[float],
    node_speeds: list[float],
    plan: Plan,
    random: np.random.Generator,
) -> dict[str, float]:
    """Every node makes its own share, shard by shard."""
    ends, losses, wasted = [], 0, 0.0
    for share, speed in zip(shares, node_speeds, strict=True):
        end = 0.0
        for shard in share:
            took, lost, idle = time_of(hours[shard] / speed, plan, random)
            end, losses, wasted = end + took, losses + lost, wasted + idle
        ends.append(end)
    return {
        "hours": max(ends),
        "median node": float(np.median(ends)),
        "losses": losses,
        "wasted hours": wasted,
    }


def queue(
    groups: list[list[int]],
    hours: list[float],
    node_speeds: list[float],
    plan: Plan,
    random: np.random.Generator,
) -> dict[str, float]:
    """Whoever is free takes the next group of shards."""
    free = [(0.0, node) for node in range(plan.nodes)]
    ends, losses, wasted = [0.0] * plan.nodes, 0, 0.0
    for group in groups:
        at, node = heapq.heappop(free)
        for shard in group:
            took, lost, idle = time_of(hours[shard] / node_speeds[node], plan, random)
            at, losses, wasted = at + took, losses + lost, wasted + idle
        ends[node] = at
        heapq.heappush(free, (at, node))
    return {
        "hours": max(ends),
        "median node": float(np.median(ends)),
        "losses": losses,
        "wasted hours": wasted,
    }


def simulate(plan: Plan, seed: int) -> dict[str, dict[str, float]]:
    """Every way of dividing the same work among the same nodes."""
    hours = shard_hours(plan, np.random.default_rng((seed, 0)))
    node_speeds = speeds(plan, np.random.default_rng((seed, 1)))
    count = len(hours)
    in_turn = [list(range(node, count, plan.nodes)) for node in range(plan.nodes)]
    longest_first = divide(hours, plan.nodes)

    def luck() -> np.random.Generator:
        return np.random.default_rng((seed, 2))

    ideal = plan.hours / sum(node_speeds)
    return {
        "ideal": {"hours": ideal, "median node": ideal, "losses": 0, "wasted hours": 0.0},
        "shares in turn": fixed_shares(in_turn, hours, node_speeds, plan, luck()),
        "shares, longest first": fixed_shares(longest_first, hours, node_speeds, plan, luck()),
        f"{MORE} shares a node": queue(
            divide(hours, MORE * plan.nodes), hours, node_speeds, plan, luck()
        ),
        "pool of shards": queue([[k] for k in range(count)], hours, node_speeds, plan, luck()),
    }


def main() -> None:
    """Print the plan, and how long it takes in each way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--hours", type=float, default=60_000, help="sound")
    add("--recording-seconds", type=float, default=14.0, help="median length of a recording")
    add("--shard-size", type=int, default=256, help="recordings in a shard")
    add("--nodes", type=int, default=64)
    add("--speed", type=float, default=500.0, help="times real time, of a usual node")
    add("--slow-share", type=float, default=0.05, help="of the nodes")
    add("--slow-factor", type=float, default=3.0)
    add("--lost-every", type=float, default=100.0, help="hours of work between losses of a node")
    add("--restart", type=float, default=0.25, help="hours until a lost node's share goes on")
    add("--seed", type=int, default=0)
    add("--json", action="store_true")
    arguments = vars(parser.parse_args())
    seed, as_json = arguments.pop("seed"), arguments.pop("json")
    plan = Plan(**arguments)
    result = simulate(plan, seed)
    if as_json:
        print(json.dumps({"plan": asdict(plan), "seed": seed, "result": result}))
        return
    print(", ".join(f"{key} {value:g}" for key, value in asdict(plan).items()), f"seed {seed}")
    print(f"{'':24} {'hours':>8} {'median node':>12} {'losses':>7} {'wasted hours':>13}")
    for way, told in result.items():
        print(
            f"{way:24} {told['hours']:8.2f} {told['median node']:12.2f} {told['losses']:7.0f} "
            f"{told['wasted hours']:13.2f}"
        )


if __name__ == "__main__":
    main()
