"""A training step of the default network: through NeuralForecast.fit (`full`), or the module with Adam alone (`bare`).

`full` also forecasts a long file from memory, warm, `--forecasts` times.
"""

import argparse
import json
import time

p = argparse.ArgumentParser()
p.add_argument("--mode", choices=["full", "bare"], required=True)
p.add_argument("--data", help="csv with unique_id,ds,y")
p.add_argument("--horizon", type=int, default=96)
p.add_argument("--input-size", type=int, default=480)
p.add_argument("--windows", type=int, default=1024)
p.add_argument("--steps", type=int, required=True)
p.add_argument("--skip", type=int, default=5, help="first steps that do not count")
p.add_argument("--threads", type=int, required=True)
a = p.parse_args()

from quiet_imports import IMPORT_S, NHITS, SILENT, NeuralForecast, np, pd, pl, torch  # noqa: E402

torch.set_num_threads(a.threads)


class Clock(pl.Callback):
    """When each step ended. The class keeps it: NeuralForecast copies models with their callbacks."""

    ends = []

    def on_train_batch_end(self, *_):
        Clock.ends.append(time.perf_counter())


def model(**settings):
    return NHITS(h=a.horizon, input_size=a.input_size, max_steps=a.steps, mlp_units=3 * [[512, 512]],
                 n_pool_kernel_size=[2, 2, 1], n_freq_downsample=[4, 2, 1], windows_batch_size=a.windows,
                 scaler_type="identity", random_seed=1, val_check_steps=10**6, **SILENT, **settings)


if a.mode == "bare":
    net = model()
    rule = torch.optim.Adam(net.parameters(), lr=1e-3)
    draw = torch.Generator().manual_seed(0)
    batch = dict(insample_y=torch.randn(a.windows, a.input_size, 1, generator=draw),
                 insample_mask=torch.ones(a.windows, a.input_size, 1), hist_exog=None, futr_exog=None, stat_exog=None)
    y = torch.randn(a.windows, a.horizon, 1, generator=draw)
    mask = torch.ones_like(y)
    took = []
    for _ in range(a.steps):
        s = time.perf_counter()
        loss = net.loss(y=y, y_hat=net(batch), mask=mask)
        rule.zero_grad()
        loss.backward()
        rule.step()
        took.append(time.perf_counter() - s)
else:
    data = pd.read_csv(a.data, parse_dates=["ds"])
    forecaster = NeuralForecast(models=[model(callbacks=[Clock()])], freq="h")
    forecaster.fit(data)
    took = list(np.diff(Clock.ends))
took = took[min(a.skip, len(took) - 1):]
step = float(np.median(took))
print(json.dumps(dict(import_s=IMPORT_S, step_ms=1e3 * step, windows_per_s=a.windows / step, steps=len(took))))
