//! `nhits backends`: what is compiled in, and whether it computes right.

use std::time::Instant;

use burn::optim::{GradientsParams, Optimizer as _};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use nhits_backends::{BACKENDS, Choice, Device, Job, Taken, with_backend};
use safetensors::SafeTensors;
use serde_json::json;

use super::error::CliError;
use super::session::Session;
use crate::model::{DropoutKey, ModelInput, NHits, NHitsConfig};
use crate::train::{Optimizer, OptimizerKind, Rule};

// A case of the reference implementation: weights, a batch, its forecast, and the forecast after one step of Adam.
const WEIGHTS: &[u8] = include_bytes!("../../tests/fixtures/golden/single_stack_h1/weights.safetensors");
const BATCH: &[u8] = include_bytes!("../../tests/fixtures/golden/single_stack_h1/batch.safetensors");
const FORWARD: &[u8] = include_bytes!("../../tests/fixtures/golden/single_stack_h1/forward.safetensors");
const AFTER_ADAM: &[u8] = include_bytes!("../../tests/fixtures/golden/single_stack_h1/adam_1.safetensors");
const SETTINGS: &str = include_str!("../../tests/fixtures/golden/single_stack_h1/config.json");

/// The largest difference to the reference that is rounding.
const ROUNDING: f64 = 1e-5;

/// The built-in case on one backend: forecast and one training step.
struct SelfTest;

/// How far a backend is from the reference.
struct Differences {
    forecast: f64,
    after_step: f64,
}

/// Shape and values of a tensor of the case.
fn tensor(file: &[u8], name: &str) -> Result<(Vec<usize>, Vec<f32>), String> {
    let tensors = SafeTensors::deserialize(file).map_err(|e| e.to_string())?;
    let view = tensors.tensor(name).map_err(|e| e.to_string())?;
    let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Ok((view.shape().to_vec(), values))
}

/// The network of the case.
fn config() -> Result<NHitsConfig, String> {
    let settings: serde_json::Value = serde_json::from_str(SETTINGS).map_err(|e| e.to_string())?;
    let list = |field: &str| -> Result<Vec<usize>, String> {
        serde_json::from_value(settings[field].clone()).map_err(|e| format!("{field}: {e}"))
    };
    let number = |field: &str| settings[field].as_u64().map(|n| n as usize).ok_or(format!("no {field}"));
    Ok(NHitsConfig {
        input_size: number("input_size")?,
        horizon: number("h")?,
        n_blocks: list("n_blocks")?,
        mlp_units: serde_json::from_value(settings["mlp_units"].clone()).map_err(|e| e.to_string())?,
        n_pool_kernel_size: list("n_pool_kernel_size")?,
        n_freq_downsample: list("n_freq_downsample")?,
        dropout: 0.0,
        ..NHitsConfig::default()
    })
}

/// The largest absolute difference.
fn difference<B: Backend>(got: Tensor<B, 3>, (_, wanted): (Vec<usize>, Vec<f32>)) -> f64 {
    let got = got.into_data().convert::<f32>();
    got.iter::<f32>().zip(wanted).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}

impl Job for SelfTest {
    type Output = Result<Differences, String>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        let checked = config()?.check().map_err(|e| e.to_string())?;
        let source = |name: &str| tensor(WEIGHTS, name).ok();
        let net = NHits::<B>::with_tensors(&checked, source, &device).map_err(|e| e.to_string())?;
        let matrix = |name: &str| -> Result<Tensor<B, 2>, String> {
            let (shape, values) = tensor(BATCH, name)?;
            Ok(Tensor::from_data(TensorData::new(values, [shape[0], shape[1]]), &device))
        };
        let input = ModelInput {
            insample_y: matrix("insample_y")?,
            insample_mask: matrix("insample_mask")?,
            hist_exog: None,
            futr_exog: None,
            stat_exog: None,
        };
        let (target, mask) = (matrix("outsample_y")?, matrix("outsample_mask")?);
        let forecast = net.forward_train(&input, &DropoutKey { seed: 0, step: 0, first_row: 0 });
        let error = (forecast.clone().squeeze_dim::<2>(2) - target).abs();
        let loss = (error * mask.clone()).sum() / mask.sum();
        let grads = GradientsParams::from_grads(loss.backward(), &net);
        let mut optimizer = Optimizer::<NHits<B>, B>::from(Rule::new(OptimizerKind::Adam));
        let net = optimizer.step(1e-3, net, grads);
        Ok(Differences {
            forecast: difference(forecast.inner(), tensor(FORWARD, "forecast")?),
            after_step: difference(net.forward(&input).inner(), tensor(AFTER_ADAM, "__forecast__")?),
        })
    }
}

pub(super) fn run(session: Session) -> Result<(), CliError> {
    let mut rows = Vec::new();
    let mut lines = Vec::new();
    let mut failed = false;
    for info in BACKENDS {
        if !info.compiled_in {
            lines.push(format!("{:<9} not compiled in (--features {})", info.name, info.name));
            rows.push(json!({"name": info.name, "about": info.about, "compiled_in": false}));
            continue;
        }
        let choice = Choice { backend: Some(info.name.to_string()), device: Device::Auto };
        let began = Instant::now();
        let found = with_backend(&choice, SelfTest)
            .map_err(super::error::backend)?
            .map_err(|e| CliError::program("self-test", format!("the self-test of {} cannot run: {e}", info.name)))?;
        let ms = began.elapsed().as_secs_f64() * 1e3;
        let passed = found.forecast < ROUNDING && found.after_step < ROUNDING;
        lines.push(format!(
            "{:<9} {}; device cpu; self-test {} (forecast {:.1e}, after one step {:.1e} from the reference; {ms:.1} ms)",
            info.name,
            info.about,
            if passed { "passed" } else { "FAILED" },
            found.forecast,
            found.after_step,
        ));
        failed |= !passed;
        rows.push(
            json!({"name": info.name, "about": info.about, "compiled_in": true, "deterministic": info.deterministic,
            "devices": ["cpu"], "self_test": {"passed": passed, "forecast_difference": found.forecast,
            "after_step_difference": found.after_step, "ms": ms}}),
        );
    }
    session.output.result(lines.join("\n"), &json!({"backends": rows, "taken": session.taken()?.backend}))?;
    if failed {
        return Err(CliError::program("self-test", "a backend computes wrong results on this machine"));
    }
    Ok(())
}
