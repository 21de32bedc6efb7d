//! Values that the reference implementation computed with its own losses, where they are at hand.

use std::path::PathBuf;

use safetensors::SafeTensors;

use super::*;

struct Golden {
    values: serde_json::Value,
    arrays: Vec<u8>,
}

impl Golden {
    /// `None`, with a line that says so, where the files are not there. `NHITS_SHARED` names the folder when it is not
    /// beside the repository.
    fn read() -> Option<Self> {
        let shared = std::env::var_os("NHITS_SHARED")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
        let folder = shared.join("golden/nhits/losses");
        let Ok(arrays) = std::fs::read(folder.join("arrays.safetensors")) else {
            eprintln!("skipped: no {}", folder.display());
            return None;
        };
        let text = std::fs::read_to_string(folder.join("values.json")).unwrap();
        let values: serde_json::Value = serde_json::from_str(&text).unwrap();
        Some(Self { values: values["values"].clone(), arrays })
    }

    fn array(&self, name: &str) -> Vec<f64> {
        let tensors = SafeTensors::deserialize(&self.arrays).unwrap();
        let bytes = tensors.tensor(name).unwrap().data().to_vec();
        bytes.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect()
    }

    /// `y` with the masked values taken out.
    fn y(&self, masked: bool) -> Vec<f64> {
        let mut y = self.array("y");
        if masked {
            for (y, m) in y.iter_mut().zip(self.array("mask")) {
                if m == 0.0 {
                    *y = f64::NAN;
                }
            }
        }
        y
    }

    fn check(&self, key: &str, ours: f64) {
        let theirs = self.values[key].as_f64().unwrap();
        assert!((ours - theirs).abs() < 2e-6 * theirs.abs().max(1.0), "{key}: {ours} is not {theirs}");
    }
}

#[test]
fn point_and_quantile_metrics_are_those_of_the_reference() {
    let Some(golden) = Golden::read() else { return };
    let y_hat = golden.array("y_hat");
    let q5 = golden.array("y_hat_q5");
    let quantiles = golden.array("mq_quantiles_l80_90");
    for (masked, key) in [(true, "mask"), (false, "nomask")] {
        let y = golden.y(masked);
        golden.check(&format!("MAE/{key}"), mae(&y, &y_hat));
        golden.check(&format!("MSE/{key}"), mse(&y, &y_hat));
        golden.check(&format!("RMSE/{key}"), rmse(&y, &y_hat));
        // the reference counts a value of 0 as forecast without error, here it is skipped
        let share = y.iter().filter(|y| **y != 0.0 && !y.is_nan()).count() as f64
            / y.iter().filter(|y| !y.is_nan()).count() as f64;
        golden.check(&format!("MAPE/{key}"), mape(&y, &y_hat) / 100.0 * share);
        golden.check(&format!("SMAPE/{key}"), smape(&y, &y_hat) / 100.0);
        golden.check(&format!("HuberLoss/{key}"), huber(&y, &y_hat, 1.0));
        golden.check(&format!("HuberLoss_d0.5/{key}"), huber(&y, &y_hat, 0.5));
        golden.check(&format!("QuantileLoss_q0.9/{key}"), quantile(&y, &y_hat, 0.9));
        // the reference sums over the five quantiles
        golden.check(&format!("MQLoss_l80_90/{key}"), 5.0 * mqloss(&y, &q5, &quantiles));
    }
}

#[test]
fn scores_of_several_series_are_those_of_the_reference() {
    let Some(golden) = Golden::read() else { return };
    let (y_hat, insample) = (golden.array("y_hat"), golden.array("y_insample"));
    let scales: Vec<f64> = insample.chunks_exact(20).map(|x| seasonal_difference(x, 4)).collect();
    for (masked, key) in [(true, "mask"), (false, "nomask")] {
        let mut scores = Scores::new(5, 6).with_mase_scales(&scales);
        for (s, (y, f)) in golden.y(masked).chunks_exact(6).zip(y_hat.chunks_exact(6)).enumerate() {
            scores.add_window(s, y, f);
        }
        let total = scores.total();
        golden.check(&format!("MASE_s4_2d/{key}"), total.mase);
        golden.check(&format!("MAE/{key}"), total.mae);
        golden.check(&format!("SMAPE/{key}"), total.smape / 100.0);
    }
}
