#!/usr/bin/env python3
"""What training is expected to take of the machine's memory, and what it takes: runs, a table, and the fit.

    python3 benches/compare/memory.py                  # measure, print the table and the factors that fit best
    python3 benches/compare/memory.py --engine tensors

The factors go into src/train/expected.rs, the table into docs/benchmarks.md, where a test holds one to the other.
"""

import argparse
import os
import sys

import measure
from context import REPOSITORY, Context, build, machine, note

WINDOWS = ["--horizon", 96, "--input-size", 480]
LONG_HORIZON = [*WINDOWS, "--mlp-units", "512,512,512"]
ETTM2_96 = ["--targets", "all", *WINDOWS, "--split", "34560/11520/11520"]
ETTM2 = [*ETTM2_96, "--mlp-units", "512,512,512"]
SMALL = ["--horizon", 48, "--input-size", 336]

# Name for the table, made data, flags.
RUNS = [
    ("7 series of 57,600 rows, 480 -> 96, batch 32", "ettm2-like", [*ETTM2, "--batch-size", 32]),
    ("the same, batch 256", "ettm2-like", [*ETTM2, "--batch-size", 256]),
    ("the same, batch 1024", "ettm2-like", [*ETTM2, "--batch-size", 1024]),
    ("the same, batch 4096", "ettm2-like", [*ETTM2, "--batch-size", 4096]),
    ("the same without validation, batch 256", "ettm2-like",
     ["--targets", "all", *LONG_HORIZON, "--split", "*/0/0", "--batch-size", 256]),
    ("the same with layers of 16, batch 256", "ettm2-like",
     [*ETTM2_96, "--mlp-units", "16,16,16", "--batch-size", 256]),
    ("the same with layers of 1,024, batch 256", "ettm2-like",
     [*ETTM2_96, "--mlp-units", "1024,1024,1024", "--batch-size", 256]),
    ("the same with 9 quantiles, batch 256", "ettm2-like",
     [*ETTM2, "--loss", "mqloss", "--quantiles", "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9", "--batch-size", 256]),
    ("1,000 series of 200 rows, 36 -> 12, batch 1024", "many",
     ["--horizon", 12, "--input-size", 36, "--mlp-units", "512,512,512", "--split", "*/12/12", "--batch-size", 1024]),
    ("1 series of 2,000 rows, 336 -> 48, layers of 32, batch 32", "cold",
     [*SMALL, "--mlp-units", "32,32", "--split", "*/200/0", "--batch-size", 32]),
    ("the same, layers of 128, batch 512", "cold",
     [*SMALL, "--mlp-units", "128,128", "--split", "*/200/0", "--batch-size", 512]),
    ("the same, layers of 1,024, batch 32", "cold",
     [*SMALL, "--mlp-units", "1024,1024", "--split", "*/200/0", "--batch-size", 32]),
    ("100 series of 10,000 rows, 480 -> 96, batch 256", "million-long",
     [*LONG_HORIZON, "--split", "*/500/0", "--batch-size", 256]),
    ("7 series of 1,000,000 rows, 480 -> 96, batch 256", "million-wide",
     ["--targets", "all", *LONG_HORIZON, "--split", "*/5000/0", "--batch-size", 256]),
    ("7 series of 8,640 rows, 2,160 -> 720, batch 128", "train",
     ["--horizon", 720, "--input-size", 2160, "--mlp-units", "512,512,512", "--split", "*/1440/0",
      "--batch-size", 128]),
]
PARTS = ("data_mb", "weights_mb", "layers_mb", "windows_mb", "validation_mb")
NAMES = ("program_mb", "data", "weights", "layers", "windows", "validation", "validated_weights")
# What layers hold of a batch is there while a step computes, though at the peak something else may be in its place: without
# a least factor it would count for nothing, and a network that is all layers would be expected to take no memory.
LEAST = {"layers": 0.75}


def measured(c, name, kind, flags, engine, steps):
    """The parts that the program tells of a run, what it expects and what it took."""
    flags = ["--preset", "long-horizon", "--engine", engine, "--data", c.data(kind), "--max-steps", steps,
             "--steps-per-epoch", steps // 2, *flags]
    plan = c.nhits("train", "--dry-run", *flags, "--run-dir", c.file("memory-run"))["value"]
    m = c.nhits("train", *flags, *c.outputs("memory"))
    parts = [1.0] + [plan["memory"][part] for part in PARTS]
    # Validation also keeps copies of the weights.
    copies = plan["memory"]["weights_mb"] if plan["memory"]["validation_mb"] > 0 else 0.0
    return dict(name=name, expected=plan["expected_mb"], measured=m["peak_mb"], parts=[*parts, copies])


def fit(runs):
    """Factors, none less than its least, that make the largest relative error smallest: least squares whose weights grow
    with the errors that are left (Lawson 1961)."""
    rows = [[part / run["measured"] for part in run["parts"]] for run in runs]
    weights, best = [1.0 / len(rows)] * len(rows), None
    least = [LEAST.get(name, 0.0) for name in NAMES]
    factors = list(least)
    for _ in range(300):
        for _ in range(200):
            for j in range(len(factors)):
                squares = sum(w * row[j] ** 2 for w, row in zip(weights, rows))
                rest = [1 - sum(f * x for k, (f, x) in enumerate(zip(factors, row)) if k != j) for row in rows]
                along = sum(w * row[j] * r for w, row, r in zip(weights, rows, rest))
                factors[j] = max(least[j], along / squares) if squares else least[j]
        errors = [abs(1 - sum(f * x for f, x in zip(factors, row))) for row in rows]
        if best is None or max(errors) < best[0]:
            best = (max(errors), list(factors))
        weights = [w * (e + 1e-6) for w, e in zip(weights, errors)]
        weights = [w / sum(weights) for w in weights]
    return best[1]


def draw(runs, of):
    """The table of docs/benchmarks.md."""
    out = ["| run | data | weights | layers | windows | validation | measured | expected | off by |", "|" + "---|" * 9]
    for run in runs:
        expected = of(run)
        off = 100 * (expected / run["measured"] - 1)
        parts = " | ".join(f"{part:.2f}" for part in run["parts"][1:-1])
        out.append(f"| {run['name']} | {parts} | {run['measured']:.0f} | {expected:.0f} | {off:+.0f} % |")
    return "\n".join(out)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--engine", default="auto", help="the engine of the steps (auto)")
    p.add_argument("--steps", type=int, default=12, help="steps of each run (12)")
    p.add_argument("--work", default=REPOSITORY / "target" / "compare", metavar="DIR")
    p.add_argument("--binary", metavar="FILE", help="the program; built by cargo otherwise")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    a = p.parse_args()
    a.share, a.no_peers, a.data, a.venv, a.latency = 1.0, True, None, None, a.binary
    c = Context(a)
    build(c)
    runs = []
    for name, kind, flags in RUNS:
        runs.append(measured(c, name, kind, flags, a.engine, a.steps))
        note(f"{name}: expected {runs[-1]['expected']:.0f} MB, measured {runs[-1]['measured']:.0f} MB")
    print(f"{machine()}, {a.threads} threads, engine {a.engine}; MB\n")
    print("As the program expects it:\n")
    print(draw(runs, lambda run: run["expected"]))
    factors = fit(runs)
    told = ", ".join(f"{name}: {factor:.2f}" for name, factor in zip(NAMES, factors))
    print(f"\nFitted to these runs: {told}\n")
    print(draw(runs, lambda run: sum(f * x for f, x in zip(factors, run["parts"]))))


if __name__ == "__main__":
    try:
        main()
    except measure.Failed as e:
        sys.exit(f"memory: {e}")
