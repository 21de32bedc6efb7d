//! `nhits backends`: what is compiled in, which devices are there, and whether they compute right.

use std::time::Instant;

use burn::optim::{GradientsParams, Optimizer as _};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use nhits_backends::{BACKENDS, BackendInfo, Choice, DeviceInfo, Job, Taken, with_backend};
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

/// How far a backend is from the reference, and how long forecast and step took.
struct Differences {
    forecast: f64,
    after_step: f64,
    /// The first time, when kernels are compiled, and the second.
    ms: [f64; 2],
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
    got.iter::<f32>().zip(wanted).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, larger)
}

impl Job for SelfTest {
    type Output = Result<Differences, String>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        let once = || -> Result<(f64, f64, f64), String> {
            let began = Instant::now();
            let (forecast, after_step) = forecast_and_step::<B>(&device)?;
            Ok((forecast, after_step, began.elapsed().as_secs_f64() * 1e3))
        };
        let (first, second) = (once()?, once()?);
        // Both must be right: a second run takes other paths where kernels were chosen in the first.
        Ok(Differences {
            forecast: larger(first.0, second.0),
            after_step: larger(first.1, second.1),
            ms: [first.2, second.2],
        })
    }
}

/// The larger one, and what is no number before all.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// The largest differences to the reference: of the forecast, and of the forecast after one step of Adam.
fn forecast_and_step<B: AutodiffBackend>(device: &B::Device) -> Result<(f64, f64), String> {
    let checked = config()?.check().map_err(|e| e.to_string())?;
    let source = |name: &str| tensor(WEIGHTS, name).ok();
    let net = NHits::<B>::with_tensors(&checked, source, device).map_err(|e| e.to_string())?;
    let matrix = |name: &str| -> Result<Tensor<B, 2>, String> {
        let (shape, values) = tensor(BATCH, name)?;
        Ok(Tensor::from_data(TensorData::new(values, [shape[0], shape[1]]), device))
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
    Ok((
        difference(forecast.inner(), tensor(FORWARD, "forecast")?),
        difference(net.forward(&input).inner(), tensor(AFTER_ADAM, "__forecast__")?),
    ))
}

/// What a device brought.
struct Tested {
    passed: bool,
    line: String,
    json: serde_json::Value,
}

/// One device: what it is, and its self-test.
fn test(backend: &BackendInfo, device: &DeviceInfo) -> Tested {
    let floats: Vec<&str> = device.floats.iter().map(|f| f.name()).collect();
    let memory = device.memory.map(|bytes| bytes / (1 << 20));
    let shown = memory.map_or_else(String::new, |mb| format!(", {:.1} GB", mb as f64 / 1024.0));
    let half = match &device.mixed_precision {
        Ok(float) => float.name().to_string(),
        Err(_) => "no".into(),
    };
    let found = with_backend(&Choice::from((backend, device)), SelfTest).map_err(|e| e.to_string()).and_then(|r| r);
    let (passed, said, self_test) = match found {
        Ok(found) => {
            let passed = found.forecast < ROUNDING && found.after_step < ROUNDING;
            let [first, second] = found.ms;
            (
                passed,
                format!(
                    "self-test {} (forecast {:.1e}, after one step {:.1e} from the reference; {first:.0} ms, then {second:.1} ms)",
                    if passed { "passed" } else { "FAILED" },
                    found.forecast,
                    found.after_step,
                ),
                json!({"passed": passed, "forecast_difference": found.forecast,
                    "after_step_difference": found.after_step, "first_ms": first, "ms": second}),
            )
        }
        Err(error) => (false, format!("self-test FAILED: {error}"), json!({"passed": false, "error": error})),
    };
    let software = if device.software { ", computed on the CPU" } else { "" };
    Tested {
        passed,
        line: format!(
            "          {}: {}{shown}{software} ({})\n          {}, mixed precision {half}\n          {said}",
            device.device,
            device.name,
            device.through,
            floats.join(" "),
        ),
        json: json!({"device": device.device.to_string(), "name": device.name, "memory_mb": memory,
            "through": device.through, "software": device.software, "floats": floats,
            "mixed_precision": device.mixed_precision.as_ref().ok().map(|f| f.name()),
            "no_mixed_precision_because": device.mixed_precision.as_ref().err(), "self_test": self_test}),
    }
}

/// One backend: a few lines, its JSON, and whether nothing is wrong with it.
fn report(info: &BackendInfo) -> Tested {
    let mut value = json!({"name": info.name, "about": info.about, "feature": info.feature,
        "compiled_in": info.compiled_in, "deterministic": info.deterministic, "quantized": info.quantized,
        "fusion": info.fusion});
    if !info.compiled_in {
        let line = format!("{:<9} not compiled in (--features {})", info.name, info.feature);
        return Tested { passed: true, line, json: value };
    }
    let devices = match info.devices() {
        Ok(devices) => devices,
        Err(missing) => {
            value["devices"] = json!([]);
            value["missing"] = json!({"reason": missing.reason, "remedy": missing.remedy});
            let line = format!(
                "{:<9} {}\n          no device: {}\n          -> {}",
                info.name, info.about, missing.reason, missing.remedy
            );
            return Tested { passed: true, line, json: value };
        }
    };
    let tested: Vec<Tested> = devices.iter().map(|device| test(info, device)).collect();
    value["devices"] = tested.iter().map(|t| t.json.clone()).collect();
    let yes = |b: bool, word: &str| if b { format!(", {word}") } else { String::new() };
    let mut lines = vec![format!(
        "{:<9} {}{}{}{}",
        info.name,
        info.about,
        yes(info.deterministic, "deterministic"),
        yes(info.quantized, "quantized tensors"),
        yes(info.fusion, "fusion"),
    )];
    lines.extend(tested.iter().map(|t| t.line.clone()));
    Tested { passed: tested.iter().all(|t| t.passed), line: lines.join("\n"), json: value }
}

pub(super) fn run(session: Session) -> Result<(), CliError> {
    let reports: Vec<Tested> = BACKENDS.iter().map(report).collect();
    let taken = session.taken()?;
    let mut lines: Vec<&str> = reports.iter().map(|r| r.line.as_str()).collect();
    let taken_line = format!("taken without --backend and --device: {taken}");
    if session.choice == Choice::default() {
        lines.push(&taken_line);
    }
    let values: Vec<&serde_json::Value> = reports.iter().map(|r| &r.json).collect();
    let value = json!({"backends": values, "taken": taken.backend, "device": taken.device.to_string()});
    session.output.result(lines.join("\n"), &value)?;
    if reports.iter().any(|r| !r.passed) {
        return Err(CliError::program("self-test", "a backend computes wrong results on this machine")
            .hint("update the device's driver, or take another backend with --backend"));
    }
    Ok(())
}
