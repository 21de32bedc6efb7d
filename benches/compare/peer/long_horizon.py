"""The long-horizon protocol as users run it: read a wide csv, standardise by the train rows, fit with validation,
forecast every test window at stride 1, and judge."""

import argparse
import json
import time

p = argparse.ArgumentParser()
p.add_argument("--data", required=True)
p.add_argument("--split", required=True, help="train/validation/test rows")
p.add_argument("--horizon", type=int, default=96)
p.add_argument("--steps", type=int, required=True)
p.add_argument("--threads", type=int, required=True)
a = p.parse_args()

from quiet_imports import BEGAN, IMPORT_S, NHITS, SILENT, NeuralForecast, np, pd, pl, torch  # noqa: E402
from neuralforecast.losses.pytorch import MAE, HuberLoss  # noqa: E402

torch.set_num_threads(a.threads)


class Clock(pl.Callback):
    """When each step began and ended."""

    took = []

    def on_train_batch_start(self, *_):
        Clock.began = time.perf_counter()

    def on_train_batch_end(self, *_):
        Clock.took.append(time.perf_counter() - Clock.began)


n_train, n_val, n_test = (int(n) for n in a.split.split("/"))
wide = pd.read_csv(a.data).iloc[: n_train + n_val + n_test]
names = list(wide.columns[1:])
x = wide[names].to_numpy(float)
x = (x - x[:n_train].mean(0)) / x[:n_train].std(0)
data = pd.DataFrame(dict(unique_id=np.repeat(names, len(x)), ds=np.tile(np.arange(len(x)), len(names)),
                         y=x.T.reshape(-1)))
model = NHITS(h=a.horizon, input_size=5 * a.horizon, loss=HuberLoss(delta=0.5), valid_loss=MAE(), max_steps=a.steps,
              learning_rate=3e-4, batch_size=7, windows_batch_size=256, n_pool_kernel_size=[2, 2, 2],
              n_freq_downsample=[24, 12, 1], n_blocks=[1, 1, 1], mlp_units=3 * [[512, 512]], dropout_prob_theta=0.3,
              scaler_type="robust", random_seed=1, val_check_steps=a.steps, early_stop_patience_steps=-1,
              callbacks=[Clock()], **SILENT)
began = time.perf_counter()
out = NeuralForecast(models=[model], freq=1).cross_validation(
    df=data, val_size=n_val, test_size=n_test, n_windows=None, step_size=1)
took = time.perf_counter() - began
error = out["y"].to_numpy() - out["NHITS"].to_numpy()
print(json.dumps(dict(import_s=IMPORT_S, cross_validation_s=took, total_s=time.perf_counter() - BEGAN,
                      step_ms=1e3 * float(np.median(Clock.took)), mse=float(np.mean(error**2)),
                      mae=float(np.mean(np.abs(error))))))
