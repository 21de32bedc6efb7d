#!/usr/bin/env python3
"""Time and memory as the work grows: windows, series, layers, threads. Measures, prints tables, draws a picture.

    python3 benches/compare/growth.py                          # docs/images/growth.svg and the tables
    python3 benches/compare/growth.py --only series --only threads

Each point is the median of three runs of the program; what was measured is kept and not measured again (`--again`).
"""

import argparse
import json
import os
import sys
from pathlib import Path

import measure
from context import REPOSITORY, Context, build, machine, note

WINDOWS = ["--preset", "long-horizon", "--horizon", 96, "--input-size", 480]
NETWORK = [*WINDOWS, "--mlp-units", "512,512,512"]
SHORT = ["--preset", "long-horizon", "--horizon", 12, "--input-size", 24, "--mlp-units", "64,64"]
STEPS = 40


def repeated(c, run):
    """The median of a few runs by their time; the largest of their peaks."""
    runs = sorted((run() for _ in range(c.repeats)), key=lambda m: m["wall_s"])
    return {**runs[len(runs) // 2], "peak_mb": max(m["peak_mb"] for m in runs)}


def trained(c, name, data, flags, batch=256, threads=None, split="*/0/0"):
    """A run of a few steps: the whole program's time and memory, and the time of a step."""
    threads = threads or c.threads
    command = [c.binary, "train", "--quiet", "--json", "--dashboard", "none", "--threads", threads, *flags, "--data",
               c.data(data), "--split", split, "--batch-size", batch, "--max-steps", STEPS, "--steps-per-epoch", STEPS,
               *c.outputs(name)]
    m = repeated(c, lambda: measure.run(command))
    v = m["value"]
    return dict(seconds=m["wall_s"], cpu=m["cpu_s"], mb=m["peak_mb"], windows=v["n_windows"],
                step_ms=1e3 / v["steps_per_s"], foreign=m["foreign"])


def read(c, data, flags, split="*/0/0"):
    """Reading, checking and making the index of windows, without a step."""
    m = repeated(c, lambda: c.nhits("train", "--dry-run", *flags, "--data", c.data(data), "--split", split,
                                    "--run-dir", c.file("grow-run")))
    return dict(seconds=m["wall_s"], cpu=m["cpu_s"], mb=m["peak_mb"], windows=m["value"]["n_windows"],
                foreign=m["foreign"])


def forecast(c, data):
    """Forecasts of every series of a file, written to a file."""
    m = repeated(c, lambda: c.nhits("predict", "-m", c.file("grow-series.safetensors"), "--data", c.data(data), "-o",
                                    c.file("grow.csv")))
    return dict(seconds=m["wall_s"], cpu=m["cpu_s"], mb=m["peak_mb"], foreign=m["foreign"])


def series(c, n):
    kind = f"series-{n}"
    out = {"read": read(c, kind, SHORT), "train": trained(c, "grow-series", kind, SHORT)}
    return {**out, "predict": forecast(c, kind)}


# What grows, its sizes, what one size is, and which times are drawn with the memory of which of them.
GROWTHS = {
    "windows": ("windows to train on", [1_000_000, 3_000_000, 10_000_000],
                lambda c, n: {"read": read(c, f"windows-{n}", NETWORK),
                              "train": trained(c, "grow", f"windows-{n}", NETWORK)}),
    "series": ("series of 60 rows", [1_000, 10_000, 100_000], series),
    "hidden": ("units of a layer", [128, 256, 512, 1024, 2048],
               lambda c, n: {"train": trained(c, "grow", "train", [*WINDOWS, "--mlp-units", f"{n},{n},{n}"])}),
    "batch": ("windows a step", [64, 256, 1024, 4096],
              lambda c, n: {"train": trained(c, "grow", "train", NETWORK, batch=n)}),
    "threads": ("threads", [1, 2, 4, 8, 16],
                lambda c, n: {"train": trained(c, "grow", "train", NETWORK, batch=1024, threads=n)}),
}
# Work that grows with the square of the size.
SQUARE = {"hidden"}
WORDS = {"read": "read and index", "train": f"train {STEPS} steps", "predict": "forecast and write"}


def tables(kept):
    """Markdown, one table for each growth."""
    out = []
    for name, (what, _, _) in GROWTHS.items():
        points = kept.get(name)
        if not points:
            continue
        kinds = list(next(iter(points.values())))
        heads = [what] + [f"{WORDS[k]}, s" for k in kinds] + [f"peak, MB: {WORDS[k]}" for k in kinds]
        if "train" in kinds:
            heads.insert(1 + len(kinds), "a step, ms")
        out += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
        for n, point in points.items():
            cells = [f"{int(n):,}"] + [f"{point[k]['seconds']:.2f}" for k in kinds]
            if "train" in kinds:
                cells.append(f"{point['train']['step_ms']:.1f}")
            out.append("| " + " | ".join(cells + [f"{point[k]['mb']:.0f}" for k in kinds]) + " |")
        out.append("")
    return "\n".join(out)


def worse_than_linear(kept, slack=1.3):
    """Where time or memory grew faster than the work by more than `slack`, one line each."""
    found = []
    for name, points in kept.items():
        if name == "threads":
            continue
        sizes = sorted(points, key=int)
        for small, large in zip(sizes, sizes[1:]):
            work = (int(large) / int(small)) ** (2 if name in SQUARE else 1)
            for kind in points[small]:
                for key, unit in (("seconds", "time"), ("mb", "memory")):
                    grew = points[large][kind][key] / points[small][kind][key]
                    if grew > slack * work:
                        found.append(f"{name} {small} to {large}: {unit} of {kind} grew {grew:.1f} times, "
                                     f"the work {work:.1f} times")
    return found


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--only", action="append", default=[], choices=list(GROWTHS), metavar="WHAT",
                   help=f"one of {', '.join(GROWTHS)} (repeatable)")
    p.add_argument("--work", default=REPOSITORY / "target" / "compare", metavar="DIR")
    p.add_argument("--binary", metavar="FILE", help="the program; built by cargo otherwise")
    p.add_argument("--threads", type=int, default=os.cpu_count(), help="threads, where they are not what grows (all)")
    p.add_argument("--repeats", type=int, default=3, help="runs of each point (3)")
    p.add_argument("--again", action="store_true", help="forget earlier measurements")
    p.add_argument("--picture", default=REPOSITORY / "docs" / "images" / "growth.svg", metavar="FILE")
    a = p.parse_args()
    a.share, a.no_peers, a.data, a.venv, a.latency = 1.0, True, None, None, a.binary
    c = Context(a)
    c.repeats = a.repeats
    build(c)
    path = c.file("growth.json")
    kept = json.loads(path.read_text()) if path.exists() and not a.again else {}
    for name in a.only or GROWTHS:
        what, sizes, point = GROWTHS[name]
        for n in sizes:
            if str(n) in kept.get(name, {}):
                continue
            kept.setdefault(name, {})[str(n)] = point(c, n)
            path.write_text(json.dumps(kept, indent=1))
            told = ", ".join(f"{k} {m['seconds']:.2f} s {m['mb']:.0f} MB" for k, m in kept[name][str(n)].items())
            note(f"{n:,} {what}: {told}")
    print(f"{machine()}, {a.threads} threads\n")
    print(tables(kept))
    for line in worse_than_linear(kept):
        print(f"worse than linear: {line}")
    from picture import draw

    Path(a.picture).write_text(draw(kept))
    note(f"drew {a.picture}")


if __name__ == "__main__":
    try:
        main()
    except measure.Failed as e:
        sys.exit(f"growth: {e}")
