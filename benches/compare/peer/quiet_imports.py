"""Imports neuralforecast without its chatter, on so many threads, and says how long that took."""

import logging
import time
import warnings

BEGAN = time.perf_counter()
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import pytorch_lightning as pl  # noqa: E402
import torch  # noqa: E402
from neuralforecast import NeuralForecast  # noqa: E402
from neuralforecast.models import NHITS  # noqa: E402

for _name in ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.seed"):
    logging.getLogger(_name).setLevel(logging.ERROR)
IMPORT_S = time.perf_counter() - BEGAN

__all__ = ["BEGAN", "IMPORT_S", "NHITS", "NeuralForecast", "np", "pd", "pl", "torch"]

# Nothing but the work: no bars, no logs, no validation in between.
SILENT = dict(
    accelerator="cpu",
    enable_progress_bar=False,
    enable_model_summary=False,
    logger=False,
)
