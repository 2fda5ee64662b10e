"""Phonetic ABX as plain loops over triples of tokens: slow, and sharing nothing with the package.

Tokens are tuples (frames, phone, context, speaker) with frames (n, D) as lists or arrays.
"""

import math
from collections import defaultdict


def angle(a, b):
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    norms = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b))
    return math.acos(max(-1.0, min(1.0, dot / norms))) / math.pi


def warp(distances):
    """Cost of the cheapest path divided by its length; the path is found by going back."""
    n, m = len(distances), len(distances[0])
    cost = [[math.inf] * m for _ in range(n)]
    for i in range(n):
        for j in range(m):
            before = [0.0] if i == j == 0 else []
            if i > 0:
                before.append(cost[i - 1][j])
            if j > 0:
                before.append(cost[i][j - 1])
            if i > 0 and j > 0:
                before.append(cost[i - 1][j - 1])
            cost[i][j] = distances[i][j] + min(before)
    i, j, steps = n - 1, m - 1, 1
    while (i, j) != (0, 0):
        steps += 1
        if i == 0:
            j -= 1
        elif j == 0:
            i -= 1
        else:
            up, left, both = cost[i - 1][j], cost[i][j - 1], cost[i - 1][j - 1]
            if both <= left and both <= up:
                i, j = i - 1, j - 1
            elif left <= up:
                j -= 1
            else:
                i -= 1
    return cost[n - 1][m - 1] / steps


def token_distance(x, other):
    return warp([[angle(a, b) for b in other] for a in x])


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def score(cells):
    """{(speaker of A, phone A, phone B): [errors of cells]} to one number."""
    by_pair = defaultdict(list)
    for (_, a, b), errors in cells.items():
        by_pair[a, b].append(mean(errors))
    return mean(mean(errors) for errors in by_pair.values())


def error(xa, xb):
    """Half a point for a tie."""
    return 1.0 if xb < xa else 0.5 if xb == xa else 0.0


def abx(tokens, across):
    """ABX error of all tokens, within or across speakers, every token and speaker used."""
    groups = defaultdict(list)
    for number, (_, phone, context, speaker) in enumerate(tokens):
        groups[context, speaker, phone].append(number)

    def distance(x, other):
        return token_distance(tokens[x][0], tokens[other][0])

    cells = defaultdict(list)
    for (context, speaker, a), of_a in groups.items():
        for (other_context, other_speaker, b), of_b in groups.items():
            if (other_context, other_speaker) != (context, speaker) or a == b:
                continue
            if not across:
                errors = [
                    error(distance(min(x, y), max(x, y)), distance(x, z))
                    for x in of_a
                    for y in of_a
                    if x != y
                    for z in of_b
                ]
                if errors:
                    cells[speaker, a, b].append(mean(errors))
                continue
            for (x_context, x_speaker, x_phone), of_x in groups.items():
                if x_context == context and x_phone == a and x_speaker != speaker:
                    cells[speaker, a, b].append(
                        mean(
                            error(distance(x, y), distance(x, z))
                            for x in of_x
                            for y in of_a
                            for z in of_b
                        )
                    )
    return score(cells)
