"""A csv into neuralforecast's dataset: pandas reads it, a wide file is made long, the dataset is built of it."""

import argparse
import json
import time

p = argparse.ArgumentParser()
p.add_argument("--data", required=True)
p.add_argument("--threads", type=int, required=True)
a = p.parse_args()

from quiet_imports import IMPORT_S, pd, torch  # noqa: E402
from neuralforecast.tsdataset import TimeSeriesDataset  # noqa: E402

torch.set_num_threads(a.threads)
began = time.perf_counter()
with open(a.data) as file:
    names = file.readline().strip().split(",")
if names[0] == "unique_id":
    data = pd.read_csv(a.data, parse_dates=["ds"])
else:
    wide = pd.read_csv(a.data, parse_dates=[names[0]])
    data = wide.melt(id_vars=names[0], var_name="unique_id", value_name="y").rename(columns={names[0]: "ds"})
read = time.perf_counter() - began
dataset, *_ = TimeSeriesDataset.from_df(data)
total = time.perf_counter() - began
print(json.dumps(dict(import_s=IMPORT_S, read_s=read, total_s=total, rows=len(data), series=dataset.n_groups)))
