"""Forecasts of a saved model: `--make DIR` trains and saves one, `--load DIR` forecasts with it, again and again."""

import argparse
import json
import time

p = argparse.ArgumentParser()
p.add_argument("--data", required=True)
p.add_argument("--make")
p.add_argument("--load")
p.add_argument("--output", help="where the first forecast is written")
p.add_argument("--forecasts", type=int, default=1)
p.add_argument("--horizon", type=int, default=96)
p.add_argument("--input-size", type=int, default=480)
p.add_argument("--threads", type=int, required=True)
a = p.parse_args()

from quiet_imports import BEGAN, IMPORT_S, NHITS, SILENT, NeuralForecast, pd, torch  # noqa: E402

torch.set_num_threads(a.threads)
data = pd.read_csv(a.data, parse_dates=["ds"])
if a.make:
    forecaster = NeuralForecast(models=[NHITS(h=a.horizon, input_size=a.input_size, max_steps=5, **SILENT)], freq="h")
    forecaster.fit(data)
    forecaster.save(a.make, overwrite=True)
    print(json.dumps(dict(made=a.make)))
else:
    forecaster = NeuralForecast.load(a.load)
    ahead = forecaster.predict(df=data)
    if a.output:
        ahead.to_csv(a.output, index=False)
    first = time.perf_counter() - BEGAN
    took = []
    for _ in range(a.forecasts):
        s = time.perf_counter()
        forecaster.predict(df=data)
        took.append(1e3 * (time.perf_counter() - s))
    # The module alone, on one window: what is left when everything around it is taken away.
    net, windows = forecaster.models[0].eval(), data.unique_id.nunique()
    batch = dict(insample_y=torch.randn(windows, a.input_size, 1), insample_mask=torch.ones(windows, a.input_size, 1),
                 hist_exog=None, futr_exog=None, stat_exog=None)
    bare = []
    with torch.inference_mode():
        for _ in range(a.forecasts + 5):
            s = time.perf_counter()
            net(batch)
            bare.append(1e3 * (time.perf_counter() - s))
    print(json.dumps(dict(import_s=IMPORT_S, first_s=first, ms=took, bare_ms=bare[5:])))
