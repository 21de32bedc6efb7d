"""Many short series, the whole program: read, fit, forecast, write."""

import argparse
import json
import time

p = argparse.ArgumentParser()
p.add_argument("--data", required=True)
p.add_argument("--output", required=True)
p.add_argument("--horizon", type=int, default=12)
p.add_argument("--input-size", type=int, default=36)
p.add_argument("--steps", type=int, required=True)
p.add_argument("--threads", type=int, required=True)
a = p.parse_args()

from quiet_imports import BEGAN, IMPORT_S, NHITS, SILENT, NeuralForecast, np, pd, torch  # noqa: E402

torch.set_num_threads(a.threads)
data = pd.read_csv(a.data, parse_dates=["ds"])
left = data.groupby("unique_id").cumcount(ascending=False)
known, held = data[left >= a.horizon], data[left < a.horizon]
model = NHITS(h=a.horizon, input_size=a.input_size, max_steps=a.steps, mlp_units=3 * [[512, 512]], batch_size=32,
              windows_batch_size=1024, scaler_type="standard", random_seed=1, val_check_steps=10**6, **SILENT)
forecaster = NeuralForecast(models=[model], freq="ME")
began = time.perf_counter()
forecaster.fit(known)
fit = time.perf_counter() - began
ahead = forecaster.predict()
ahead.to_csv(a.output, index=False)
total = time.perf_counter() - BEGAN
both = held.merge(ahead, on=["unique_id", "ds"])
assert len(both) == len(held), f"{len(both)} of {len(held)} held rows have a forecast"
print(json.dumps(dict(import_s=IMPORT_S, fit_s=fit, total_s=total, mae=float(np.mean(np.abs(both.y - both.NHITS))))))
