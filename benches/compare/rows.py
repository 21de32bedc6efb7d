"""What is compared: the rows of the table, each with the processes of both sides and the figures taken from them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import measure

# Multiplications with their additions, for the weights forward, and back to weights and values: the usual count, for
# both sides, whatever either of them leaves out.
FLOP_PER_WEIGHT = 6
# 480 -> 96 with three blocks of five linear layers.
WEIGHTS = 3_677_568

US, PRODUCT = "nhits", "product"


@dataclass
class Figure:
    """One line of the table: a number of this program beside the same number of a peer."""

    what: str
    unit: str
    ours: Callable
    peer: str | None = None
    theirs: Callable | None = None
    # Whether more is better (speeds) or less (times, memory).
    more: bool = False
    # The ratio that is wanted, and the most that this program may take.
    wanted: float | None = None
    limit: float | None = None
    # FLOP behind one unit, for the share of the product rate.
    flop: float | None = None


@dataclass
class Row:
    """One or more figures that are measured together."""

    name: str
    sides: dict
    figures: list
    prepare: Callable = lambda c: None
    # Whether the product rate is measured in each round.
    product: bool = False
    # Data that the row can take from --data.
    real: tuple = field(default=())


def together(parts):
    """Several processes as one measurement: their times added, the largest of their peaks."""
    whole = dict(parts[0])
    for key in ("wall_s", "cpu_s"):
        whole[key] = sum(part[key] for part in parts)
    for key in ("peak_mb", "foreign", "load"):
        whole[key] = max(part[key] for part in parts)
    whole["parts"] = [{k: p[k] for k in ("wall_s", "cpu_s", "peak_mb", "value")} for p in parts]
    return whole


def seconds(m):
    return m["wall_s"]


def megabytes(m):
    return m["peak_mb"]


def said(*path):
    """A number of the JSON that a process printed."""

    def take(m):
        value = m["value"]
        for key in path:
            value = value[key]
        return value

    return take


def median_of(key):
    return lambda m: measure.summary(m["value"][key])["median"]


def p99_of(key):
    def take(m):
        ordered = sorted(m["value"][key])
        return ordered[-(-len(ordered) * 99 // 100) - 1]

    return take


def product(c):
    return measure.run([c.python, c.peer("product.py"), "--threads", c.threads])


# --- training, 1024 windows a step ---------------------------------------------------------------------------------


def train_us(c):
    steps = c.steps(60)
    return c.nhits("train", "--preset", "long-horizon", "--data", c.data("train"), "--horizon", 96, "--input-size", 480,
                   "--mlp-units", "512,512,512", "--pool-kernels", "2,2,1", "--freq-downsample", "4,2,1",
                   "--dropout", 0, "--loss", "mae", "--window-scaler", "identity", "--split", "*/0/0",
                   "--batch-size", 1024, "--max-steps", steps, "--steps-per-epoch", steps, "--lr", "1e-3",
                   "--lr-schedule", "constant", *c.outputs("train"))


def train_peer(mode):
    return lambda c: measure.run([c.python, c.peer("steps.py"), "--mode", mode, "--data", c.data("train"),
                                  "--steps", c.steps(60), "--threads", c.threads])


TRAIN = Row(
    "train",
    {US: train_us, "neuralforecast": train_peer("full"), "module": train_peer("bare")},
    [
        Figure("training, 480 -> 96, 1024 windows a step: neuralforecast's loop", "windows/s", said("windows_per_s"),
               "neuralforecast", said("windows_per_s"), more=True, wanted=3.0, flop=FLOP_PER_WEIGHT * WEIGHTS),
        Figure("the same: the PyTorch module and Adam alone", "windows/s", said("windows_per_s"), "module",
               said("windows_per_s"), more=True, wanted=1.3, flop=FLOP_PER_WEIGHT * WEIGHTS),
        Figure("peak memory of that", "MB", megabytes, "neuralforecast", megabytes),
    ],
    product=True,
)

# --- ETTm2-96 as users run it --------------------------------------------------------------------------------------

ETTM2_SPLIT = "34560/11520/11520"


def ettm2(c):
    return c.real("ETTm2.csv") or c.data("ettm2-like")


def long_horizon_us(c):
    model = c.file("long-horizon.safetensors")
    train = c.nhits("train", "--preset", "long-horizon", "--data", ettm2(c), "--targets", "all", "--horizon", 96,
                    "--split", ETTM2_SPLIT, "--max-steps", c.steps(1000), *c.outputs("long-horizon"))
    return together([train, c.nhits("evaluate", "-m", model, "--data", ettm2(c))])


def long_horizon_peer(c):
    return measure.run([c.python, c.peer("long_horizon.py"), "--data", ettm2(c), "--split", ETTM2_SPLIT,
                        "--steps", c.steps(1000), "--threads", c.threads])


LONG_HORIZON = Row(
    "long-horizon",
    {US: long_horizon_us, "neuralforecast": long_horizon_peer},
    [
        Figure("ETTm2-96 as users run it, with reading, validation and test evaluation", "s", seconds,
               "neuralforecast", seconds, wanted=12.0),
        Figure("peak memory of that", "MB", megabytes, "neuralforecast", megabytes, limit=250),
    ],
    real=("ETTm2.csv",),
)

# --- 1,000 short series --------------------------------------------------------------------------------------------


def many_us(c):
    steps, data = c.steps(500), c.data("many")
    train = c.nhits("train", "--preset", "long-horizon", "--data", data, "--horizon", 12, "--input-size", 36,
                    "--mlp-units", "512,512,512", "--pool-kernels", "2,2,1", "--freq-downsample", "4,2,1",
                    "--dropout", 0, "--loss", "mae", "--window-scaler", "standard", "--scaler", "none",
                    "--split", "*/0/12", "--batch-size", 1024, "--max-steps", steps, "--steps-per-epoch", steps,
                    "--lr", "1e-3", "--lr-schedule", "constant", *c.outputs("many"))
    predict = c.nhits("predict", "-m", c.file("many.safetensors"), "--data", data, "--window", 12,
                      "-o", c.file("many-ahead.csv"))
    return together([train, predict])


def many_peer(c):
    return measure.run([c.python, c.peer("many_series.py"), "--data", c.data("many"), "--steps", c.steps(500),
                        "--output", c.file("many-theirs.csv"), "--threads", c.threads])


MANY = Row(
    "many",
    {US: many_us, "neuralforecast": many_peer},
    [
        Figure("1,000 series of 200 points, horizon 12: fit, forecast, write; whole program", "s", seconds,
               "neuralforecast", seconds, wanted=3.0),
        Figure("peak memory of that", "MB", megabytes, "neuralforecast", megabytes, limit=150),
    ],
)

# --- forecasts, warm -----------------------------------------------------------------------------------------------


def make_models(c):
    """A model of a few steps for each side: how good it is does not change what it costs."""
    ours, theirs = c.file("ahead.safetensors"), c.file("ahead-theirs")
    if not ours.exists():
        c.nhits("train", "--preset", "long-horizon", "--data", c.data("cold"), "--horizon", 96, "--input-size", 480,
                "--mlp-units", "512,512,512", "--pool-kernels", "2,2,1", "--freq-downsample", "4,2,1", "--dropout", 0,
                "--split", "*/0/0", "--max-steps", 5, "--steps-per-epoch", 5, *c.outputs("ahead"))
    if c.peers and not theirs.exists():
        measure.run([c.python, c.peer("ahead.py"), "--data", c.data("cold"), "--make", theirs, "--threads", c.threads])


def warm_us(kind, forecasts):
    return lambda c: measure.run([c.latency, c.file("ahead.safetensors"), c.data(kind), c.few(forecasts), c.threads])


def warm_peer(kind, forecasts):
    return lambda c: measure.run([c.python, c.peer("ahead.py"), "--data", c.data(kind), "--load",
                                  c.file("ahead-theirs"), "--forecasts", c.few(forecasts), "--threads", c.threads])


WARM_ONE = Row(
    "warm-1",
    {US: warm_us("ahead-1", 1000), "neuralforecast": warm_peer("ahead-1", 50)},
    [
        Figure("forecast of 1 series, warm, half of them within (p50)", "ms", said("p50_ms"), "neuralforecast",
               median_of("ms"), limit=0.3),
        Figure("the same, 99 of 100 within (p99)", "ms", said("p99_ms"), "neuralforecast", p99_of("ms"), limit=0.8),
        Figure("the same beside the bare module, p50", "ms", said("p50_ms"), "neuralforecast", median_of("bare_ms")),
    ],
    prepare=make_models,
)
WARM_MANY = Row(
    "warm-1000",
    {US: warm_us("ahead-1000", 20), "neuralforecast": warm_peer("ahead-1000", 10)},
    [
        Figure("forecast of 1,000 series, warm", "ms", said("p50_ms"), "neuralforecast", median_of("ms"), wanted=8.0),
        Figure("the same beside the bare module", "ms", said("p50_ms"), "neuralforecast", median_of("bare_ms")),
    ],
    prepare=make_models,
)

# --- from process start --------------------------------------------------------------------------------------------


def cold_us(c):
    model, ahead = c.file("ahead.safetensors"), c.file("cold-ours.csv")
    return c.nhits("predict", "-m", model, "--data", c.data("cold"), "-o", ahead)


def cold_peer(c):
    return measure.run([c.python, c.peer("ahead.py"), "--data", c.data("cold"), "--load", c.file("ahead-theirs"),
                        "--output", c.file("cold-theirs.csv"), "--forecasts", 0, "--threads", c.threads])


COLD = Row(
    "cold",
    {US: cold_us, "neuralforecast": cold_peer},
    [
        Figure("process start to forecasts on disk", "s", seconds, "neuralforecast", seconds, limit=0.05),
        Figure("peak memory of that", "MB", megabytes, "neuralforecast", megabytes, limit=60),
    ],
    prepare=make_models,
)

# --- reading -------------------------------------------------------------------------------------------------------


def read_us(kind):
    """A dry run reads, checks, fingerprints, splits and makes the index of windows; the whole process counts."""
    wide = ["--targets", "all"] if "wide" in kind else []
    return lambda c: c.nhits("train", "--dry-run", "--data", c.data(kind), *wide, "--horizon", 96, "--input-size", 480,
                             "--split", "*/0/0", "--run-dir", c.file("read-run"))


def read_peer(kind):
    return lambda c: measure.run([c.python, c.peer("reading.py"), "--data", c.data(kind), "--threads", c.threads])


def reading(name, kind, what):
    return Row(
        name,
        {US: read_us(kind), "neuralforecast": read_peer(kind)},
        [
            Figure(f"csv of 1,000,000 rows, {what}: read, checked and made windows of; pandas and neuralforecast's "
                   "dataset without their start", "s", seconds, "neuralforecast", said("total_s"), wanted=5.0),
            Figure("peak memory of that", "MB", megabytes, "neuralforecast", megabytes),
        ],
    )


ROWS = [
    TRAIN,
    LONG_HORIZON,
    MANY,
    WARM_ONE,
    WARM_MANY,
    COLD,
    reading("read-long", "million-long", "long, 100 series"),
    reading("read-wide", "million-wide", "wide, 7 columns"),
]


def by_name(names):
    """The rows of these names, in the order of the table."""
    known = [row.name for row in ROWS]
    for name in names:
        if name not in known:
            raise measure.Failed(f"there is no row `{name}`: the rows are {', '.join(known)}")
    return [row for row in ROWS if not names or row.name in names]


def where(work):
    """The folder of the measurements of one run."""
    return Path(work) / "measurements"
