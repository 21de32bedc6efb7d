#!/usr/bin/env python3
"""This program and its peers on the same work, in turns, in one run: a table of medians, spreads and ratios.

    python3 benches/compare/compare.py                 # everything; hours, most of them the peers'
    python3 benches/compare/compare.py --only cold --only warm-1
    python3 benches/compare/compare.py --check         # this program alone, few steps: does it still run?

See README.md beside it. Needs Python 3.11, and cargo unless --binary and --latency are given.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure
import table
from context import HERE, REPOSITORY, Context, build, machine, note
from measure import Failed
from rows import PRODUCT, ROWS, US, by_name, product, where

# More than this share of the machine in other hands makes figures of two threads worthless.
BUSY = 0.15


def environment(c):
    """A virtual environment with the peers, made once."""
    wanted = (HERE / "peer" / "requirements.txt").read_text()
    if c.python is None:
        home = c.file("venv")
        c.python = home / "bin" / "python"
        done = home / "requirements.txt"
        if not done.exists() or done.read_text() != wanted:
            note(f"makes {home} with the peers (some 6 GB with the CUDA wheels that torch brings along)")
            subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
            pip = [home / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, "-r", HERE / "peer" / "requirements.txt"], check=True, stdout=sys.stderr)
            done.write_text(wanted)
    elif not c.python.exists():
        raise Failed(f"{c.python} is not there: --venv names a folder made by `python3 -m venv`")
    names = [line.split("==")[0] for line in wanted.splitlines() if "==" in line]
    ask = ("import importlib.metadata as m, json; "
           f"print(json.dumps({{n: m.version(n) for n in {names!r}}}))")
    told = subprocess.run([c.python, "-c", ask], capture_output=True, text=True)
    if told.returncode != 0:
        raise Failed(f"{c.python} lacks a peer: {told.stderr.strip().splitlines()[-1]}")
    return json.loads(told.stdout)


def take(row, c, kept, rounds, foreign):
    """Measures what is missing of a row, round by round, the sides in turns."""
    row.prepare(c)
    sides = {PRODUCT: product, **row.sides} if row.product and c.peers else dict(row.sides)
    if not c.peers:
        sides = {US: row.sides[US]}
    for number in range(rounds):
        for side, run in sides.items():
            if any(m["side"] == side and m["round"] == number for m in kept.measured):
                continue
            for attempt in range(3):
                m = run(c)
                if m["foreign"] <= foreign or attempt == 2:
                    break
                note(f"  {row.name} {side}: other work took {m['foreign']:.0%} of the machine meanwhile; again")
            warned = f", other work {m['foreign']:.0%}" if m["foreign"] > BUSY else ""
            note(f"  {row.name} {number + 1}/{rounds} {side}: {m['wall_s']:.2f} s, {m['peak_mb']:.0f} MB{warned}")
            kept.add(dict(row=row.name, side=side, round=number, at=time.strftime("%FT%TZ", time.gmtime()), **m))


class Kept:
    """The measurements of one row: a file that grows by one at a time, so that a run can go on where it ended."""

    def __init__(self, work, row, facts, again):
        folder = where(work)
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{row.name}.json"
        self.facts, self.measured = facts, []
        if again:
            self.path.unlink(missing_ok=True)
        if self.path.exists():
            there = json.loads(self.path.read_text())
            if there["facts"] != facts:
                raise Failed(f"{self.path} was measured under other conditions ({there['facts']}, now {facts}): "
                             "--again measures anew, --work names another folder")
            self.measured = there["measurements"]

    def add(self, m):
        self.measured.append(m)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(dict(facts=self.facts, measurements=self.measured), indent=1))
        part.replace(self.path)


def check(a):
    """Runs this program's side of every row once, on small data and few steps, and draws the table of it."""
    import rows as defined

    with tempfile.TemporaryDirectory() as work:
        a.work, a.no_peers, a.share, a.data = work, True, 0.004, None
        c = Context(a)
        build(c)
        # The made files, but small: what is checked is that the commands still exist and the table is drawn.
        for kind in ("train", "many", "ahead-1", "ahead-1000", "cold", "million-long"):
            shutil.copy(c.data("tiny-long"), c.file(f"data/{kind}.csv"))
        for kind in ("ettm2-like", "million-wide"):
            shutil.copy(c.data("tiny-wide"), c.file(f"data/{kind}.csv"))
        defined.ETTM2_SPLIT = "*/140/140"
        kept = []
        for row in ROWS:
            one = Kept(work, row, {}, True)
            take(row, c, one, 1, 1.0)
            kept += one.measured
        text = table.draw(ROWS, kept, judged=False)
        print(text)
        for row in ROWS:
            for figure in row.figures:
                if figure.what not in text:
                    raise Failed(f"the table lacks `{figure.what}`")
    note("checked: every row runs and is drawn")


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--only", action="append", default=[], metavar="ROW", help="this row alone (repeatable)")
    p.add_argument("--list", action="store_true", help="name the rows")
    p.add_argument("--rounds", type=int, default=5, help="measurements of each side (5)")
    p.add_argument("--share", type=float, default=1.0, help="this share of the training steps, for trying (1)")
    p.add_argument("--data", metavar="DIR", help="folder with ETTm2.csv; made data stands in for it")
    p.add_argument("--work", default=REPOSITORY / "target" / "compare", metavar="DIR",
                   help="data, environment and measurements (target/compare)")
    p.add_argument("--venv", metavar="DIR", help="an environment that has the peers already")
    p.add_argument("--binary", metavar="FILE", help="the program; built by cargo otherwise")
    p.add_argument("--latency", metavar="FILE", help="the example `latency`; built by cargo otherwise")
    p.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of both sides (all)")
    p.add_argument("--no-peers", action="store_true", help="measure this program alone")
    p.add_argument("--again", action="store_true", help="forget earlier measurements of these rows")
    p.add_argument("--table", action="store_true", help="measure nothing, draw what is there")
    p.add_argument("--busy", choices=["refuse", "warn"], default="refuse",
                   help="what to do where other work takes more than a seventh of the machine")
    p.add_argument("--check", action="store_true", help="run this program's side once with few steps")
    return p.parse_args()


def main():
    a = arguments()
    if a.list:
        for row in ROWS:
            print(f"{row.name:14} {row.figures[0].what}")
        return
    if a.check:
        return check(a)
    chosen = by_name(a.only)
    c = Context(a)
    if not a.table:
        build(c)
        versions = environment(c) if c.peers else {}
        taken, load = measure.busy_share(), os.getloadavg()[0]
        if taken > BUSY:
            text = f"other work takes {taken:.0%} of the machine (load average {load:.1f})"
            if a.busy == "refuse":
                raise Failed(f"{text}: stop it, or measure all the same with --busy warn")
            note(f"warning: {text}; these figures are not worth keeping")
        for row in chosen:
            facts = dict(machine=machine(), threads=a.threads, share=a.share, peers=versions,
                         data=sorted(name for name in row.real if c.real(name)))
            note(row.name)
            take(row, c, Kept(a.work, row, facts, a.again), a.rounds, BUSY if a.busy == "refuse" else 1.0)
    kept, judged = [], True
    for row in chosen:
        path = where(a.work) / f"{row.name}.json"
        if path.exists():
            there = json.loads(path.read_text())
            kept += there["measurements"]
            judged &= there["facts"]["share"] == 1
            note(f"{row.name}: {json.dumps(there['facts'])}")
    print(table.draw([row for row in chosen if any(m["row"] == row.name for m in kept)], kept, judged))


if __name__ == "__main__":
    try:
        main()
    except Failed as e:
        sys.exit(f"compare: {e}")
    except subprocess.CalledProcessError as e:
        sys.exit(f"compare: {' '.join(map(str, e.cmd))} ended with {e.returncode}")
    except KeyboardInterrupt:
        sys.exit("compare: stopped; the same command goes on from here")
