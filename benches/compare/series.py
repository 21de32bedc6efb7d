"""Makes the files that both sides read: waves with noise from a fixed seed, with the standard library alone.

`python3 series.py KIND FILE` is a program of its own because a process is charged with the memory of the one that
started it: what measures must stay small.
"""

import math
import random
import sys
from datetime import datetime, timedelta
from pathlib import Path

QUARTER, HOUR = timedelta(minutes=15), timedelta(hours=1)

# Layout, series, rows of each, step of time (None is the end of a month), rows of a season.
KINDS = {
    "train": ("long", 7, 8_640, HOUR, 24),
    "ettm2-like": ("wide", 7, 57_600, QUARTER, 96),
    "many": ("long", 1_000, 200, None, 12),
    "ahead-1": ("long", 1, 600, HOUR, 24),
    "ahead-1000": ("long", 1_000, 600, HOUR, 24),
    "cold": ("long", 1, 2_000, HOUR, 24),
    "million-long": ("long", 100, 10_000, HOUR, 24),
    "million-wide": ("wide", 7, 1_000_000, QUARTER, 96),
    "windows-1000000": ("long", 100, 10_575, HOUR, 24),
    "windows-3000000": ("long", 300, 10_575, HOUR, 24),
    "windows-10000000": ("long", 1_000, 10_575, HOUR, 24),
    "series-1000": ("long", 1_000, 60, HOUR, 24),
    "series-10000": ("long", 10_000, 60, HOUR, 24),
    "series-100000": ("long", 100_000, 60, HOUR, 24),
    "tiny-long": ("long", 3, 300, HOUR, 24),
    "tiny-wide": ("wide", 3, 400, QUARTER, 24),
}


def stamps(step, n):
    """`n` times, so many of a kind apart."""
    if step is None:
        first_of_next = ((2000 + (m + 1) // 12, (m + 1) % 12 + 1) for m in range(n))
        return [(datetime(year, month, 1) - timedelta(days=1)).date().isoformat() for year, month in first_of_next]
    start = datetime(2000, 1, 1)
    return [(start + i * step).isoformat(sep=" ") for i in range(n)]


def values(n, period, seed):
    """A level, two waves and noise that remembers itself."""
    draw = random.Random(seed)
    level, swing, phase, noise = math.exp(draw.gauss(4, 1)), draw.uniform(0.05, 0.4), draw.uniform(0, period), 0.0
    turn = 2 * math.pi / period
    for t in range(n):
        noise = 0.6 * noise + draw.gauss(0, 0.05)
        yield level * (1 + swing * math.sin(turn * (t + phase)) + 0.3 * swing * math.sin(2 * turn * t) + noise)


def lines(layout, n_series, rows, step, period):
    """The lines of a file: one series after the other, or one column per series."""
    times = stamps(step, rows)
    if layout == "long":
        yield "unique_id,ds,y\n"
        for s in range(n_series):
            for ds, y in zip(times, values(rows, period, s)):
                yield f"S{s:06d},{ds},{y:.4f}\n"
    else:
        yield "date," + ",".join(f"C{s}" for s in range(n_series)) + "\n"
        for ds, *row in zip(times, *(values(rows, period, s) for s in range(n_series))):
            yield ds + "," + ",".join(f"{y:.4f}" for y in row) + "\n"


def main():
    kind, path = sys.argv[1], Path(sys.argv[2])
    # A file is there as a whole or not at all.
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        file.writelines(lines(*KINDS[kind]))
    part.replace(path)


if __name__ == "__main__":
    main()
