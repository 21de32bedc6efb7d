"""Where the scripts find the program, the data and what they keep."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import measure

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent


class Context:
    """Where the sides find what they need."""

    def __init__(self, a):
        self.work = Path(a.work).resolve()
        self.work.mkdir(parents=True, exist_ok=True)
        self.threads = a.threads
        self.share = a.share
        self.peers = not a.no_peers
        self.given = Path(a.data).resolve() if a.data else None
        self.binary = Path(a.binary).resolve() if a.binary else None
        self.latency = Path(a.latency).resolve() if a.latency else None
        self.python = Path(a.venv).resolve() / "bin" / "python" if a.venv else None

    def file(self, name):
        return self.work / name

    def peer(self, name):
        return HERE / "peer" / name

    def real(self, name):
        """A file of the folder of real data, where there is one."""
        path = self.given / name if self.given else None
        return path if path and path.exists() else None

    def data(self, kind):
        """A made file."""
        path = self.work / "data" / f"{kind}.csv"
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            note(f"makes {path.name}")
            subprocess.run([sys.executable, HERE / "series.py", kind, path], check=True)
        return path

    def steps(self, n):
        return max(2, round(n * self.share))

    def few(self, n):
        """So many forecasts, fewer where few steps are asked for."""
        return max(3, round(n * min(1.0, self.share)))

    def outputs(self, name):
        return ["--run-dir", self.file(f"{name}-run"), "-o", self.file(f"{name}.safetensors")]

    def nhits(self, command, *arguments):
        watched = ["--dashboard", "none"] if command == "train" else []
        return measure.run([self.binary, command, "--quiet", "--json", "--threads", self.threads, *watched, *arguments])


def note(text):
    print(text, file=sys.stderr, flush=True)


def build(c):
    """The release program and the example that times forecasts, unless they were given."""
    if c.binary and c.latency:
        return
    note("builds the release program (cargo build --release)")
    command = ["cargo", "build", "--release", "--locked", "--bin", "nhits", "--example", "latency"]
    subprocess.run(command, cwd=REPOSITORY, check=True, stdout=sys.stderr)
    told = subprocess.run(["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=REPOSITORY, check=True,
                          capture_output=True, text=True)
    target = Path(json.loads(told.stdout)["target_directory"]) / "release"
    c.binary = c.binary or target / "nhits"
    c.latency = c.latency or target / "examples" / "latency"


def machine():
    """What was measured on."""
    model = "unknown processor"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return f"{model}, {os.cpu_count()} threads, Linux {platform.release()}"
