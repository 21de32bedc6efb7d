//! The gate: float and int8 model side by side on the validation rows; beyond the limit nothing is written.

use std::path::{Path, PathBuf};

use burn::tensor::backend::Backend;
use serde::Serialize;

use super::QuantizeError;
use super::post_training::{CalibrationData, LayerError, PostTrained, post_training};
use crate::bundle::Bundle;
use crate::error::InvalidSetting;
use crate::evaluate::{Judged, Network, Protocol, ScaledMetrics, judge};
use crate::forecast::Model;
use crate::metric::nan_as_null;
use crate::model::QuantizationConfig;

/// Windows that are forecast at once while a model is judged.
const WINDOWS_AT_ONCE: usize = 1024;

/// Errors before and after, on series standardised by their train rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// Of the float model.
    pub before: ScaledMetrics,
    /// Of the int8 model.
    pub after: ScaledMetrics,
    /// How much worse it is, as a share: the larger of what mse and mae grew by; negative where both shrank.
    #[serde(with = "nan_as_null")]
    pub degradation: f64,
}

impl Figures {
    fn new(before: ScaledMetrics, after: ScaledMetrics) -> Self {
        // What was perfect cannot be a little worse.
        let grown = |a: f64, b: f64| {
            if b == a {
                0.0
            } else if a > 0.0 {
                (b - a) / a
            } else {
                f64::INFINITY
            }
        };
        let (mse, mae) = (grown(before.mse, after.mse), grown(before.mae, after.mae));
        Self { before, after, degradation: if mse.is_nan() || mae.is_nan() { f64::NAN } else { mse.max(mae) } }
    }
}

/// One step of the horizon.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepComparison {
    /// The step, from 1.
    pub step: usize,
    /// Its errors.
    #[serde(flatten)]
    pub figures: Figures,
}

/// One series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesComparison {
    /// The series.
    pub unique_id: String,
    /// Its errors.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Two models on the same windows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Windows that both forecast.
    pub n_windows: usize,
    /// Over all windows, steps and series.
    #[serde(flatten)]
    pub figures: Figures,
    /// Per step of the horizon.
    pub per_step: Vec<StepComparison>,
    /// Per series.
    pub per_series: Vec<SeriesComparison>,
}

impl std::ops::Deref for Comparison {
    type Target = Figures;

    fn deref(&self) -> &Figures {
        &self.figures
    }
}

/// Which layers to leave in f32.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suggestion {
    /// The layers, the worst first.
    pub float_layers: Vec<String>,
    /// How much worse the model is with them in f32.
    #[serde(with = "nan_as_null")]
    pub degradation: f64,
    /// Whether that is within the limit.
    pub enough: bool,
}

/// What the gate found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gated {
    /// Whether the int8 model is within the limit.
    pub passed: bool,
    /// The limit, as a share.
    pub limit: f64,
    /// Both models on the validation rows.
    pub comparison: Comparison,
    /// The error that each layer adds, the worst first.
    pub layers: Vec<LayerError>,
    /// Training windows that were looked at.
    pub calibration_windows: usize,
    /// Bytes of the float model's file.
    pub bytes_before: usize,
    /// Bytes of the int8 model's file.
    pub bytes_after: usize,
    /// Which layers to leave in f32, where the limit was passed.
    pub suggestion: Option<Suggestion>,
    /// The file, if one was written.
    pub output: Option<PathBuf>,
}

fn judged<B: Backend>(
    bundle: &Bundle,
    data: &CalibrationData,
    protocol: &Protocol,
    device: &B::Device,
) -> Result<Judged, QuantizeError> {
    let model = Model::<B>::new(bundle, device, data.threads)?;
    let rows: Vec<_> = protocol.splits.iter().map(|s| s.train.clone()).collect();
    let bound = model.on(data.panel.clone(), &rows)?;
    let mut network = Network::new(bound, &bundle.manifest.loss);
    Ok(judge(&data.panel, protocol, &mut network, WINDOWS_AT_ONCE)?)
}

/// Judges two models on the validation rows, every window of them.
///
/// # Errors
/// When a model does not forecast the data, or no series has a whole horizon of validation rows.
pub fn compare<B: Backend>(
    before: &Bundle,
    after: &Bundle,
    data: &CalibrationData,
    device: &B::Device,
) -> Result<Comparison, QuantizeError> {
    let protocol = protocol(before, data)?;
    let before = judged::<B>(before, data, &protocol, device)?;
    let after = judged::<B>(after, data, &protocol, device)?;
    Ok(comparison(&before, &after))
}

fn protocol(bundle: &Bundle, data: &CalibrationData) -> Result<Protocol, QuantizeError> {
    let manifest = &bundle.manifest;
    let (input_size, horizon) = (manifest.model.input_size, manifest.model.horizon);
    let protocol = Protocol::new(input_size, horizon, manifest.season.max(1), data.splits.clone()).on_validation();
    protocol.check(&data.panel)?;
    Ok(protocol)
}

fn comparison(before: &Judged, after: &Judged) -> Comparison {
    let mut figures = Figures::new(before.scaled, after.scaled);
    // A forecast that is missing takes no part in the scores, so it must not be what makes them good.
    if after.missing_forecasts > before.missing_forecasts {
        figures.degradation = f64::INFINITY;
    }
    let steps = before.per_step.iter().zip(&after.per_step);
    let series = before.per_series.iter().zip(&after.per_series);
    Comparison {
        n_windows: before.n_windows,
        figures,
        per_step: steps
            .map(|(a, b)| StepComparison { step: a.step, figures: Figures::new(a.scaled, b.scaled) })
            .collect(),
        per_series: series
            .map(|(a, b)| SeriesComparison {
                unique_id: a.unique_id.clone(),
                figures: Figures::new(a.scaled, b.scaled),
            })
            .collect(),
    }
}

/// Rounds a model and judges it. The bundle is there whether or not it is within the limit: see [`Gated::passed`].
///
/// Where it is not, the layers that add most are put back to f32, one, two, four, ... at a time, until the rest is
/// within the limit: that is the suggestion.
///
/// # Errors
/// See [`post_training`] and [`compare`]; and a limit that is no number >= 0.
pub fn gated<B: Backend>(
    bundle: &Bundle,
    data: &CalibrationData,
    config: &QuantizationConfig,
    limit: f64,
    device: &B::Device,
    progress: &dyn Fn(&str),
) -> Result<(Bundle, Gated), QuantizeError> {
    if !(limit >= 0.0 && limit.is_finite()) {
        let allowed = "a share >= 0, such as 0.01 or 1%";
        return Err(InvalidSetting::new("--max-degradation", limit, allowed, "1% is usual").into());
    }
    // What cannot be judged is known before anything is computed.
    let protocol = protocol(bundle, data)?;
    let PostTrained { bundle: quantized, layers, calibration_windows } =
        post_training::<B>(bundle, data, config, device, progress)?;
    progress(&format!("judging both models on {} validation windows", protocol.n_windows()));
    let before = judged::<B>(bundle, data, &protocol, device)?;
    let found = comparison(&before, &judged::<B>(&quantized, data, &protocol, device)?);
    let within = |degradation: f64| degradation <= limit;
    let passed = within(found.degradation);
    let suggestion = if passed {
        None
    } else {
        let worst: Vec<&str> = layers.iter().filter(|l| l.precision == "int8").map(|l| l.layer.as_str()).collect();
        let mut suggestion = None;
        let mut n = 1;
        while n < worst.len() {
            progress(&format!("judging with the {n} worst layers in f32"));
            let mut config = config.clone();
            config.float_layers.extend(worst[..n].iter().map(ToString::to_string));
            let tried = with_float_layers(bundle, &quantized, &config)?;
            let degradation = comparison(&before, &judged::<B>(&tried, data, &protocol, device)?).degradation;
            let enough = within(degradation);
            suggestion = Some(Suggestion { float_layers: config.float_layers, degradation, enough });
            if enough {
                break;
            }
            n *= 2;
        }
        suggestion
    };
    let gated = Gated {
        passed,
        limit,
        comparison: found,
        layers,
        calibration_windows,
        bytes_before: bundle.to_bytes()?.len(),
        bytes_after: quantized.to_bytes()?.len(),
        suggestion,
        output: None,
    };
    Ok((quantized, gated))
}

/// The quantized model with more layers in f32; the ranges of the others stay.
fn with_float_layers(float: &Bundle, quantized: &Bundle, config: &QuantizationConfig) -> Result<Bundle, QuantizeError> {
    let Some(record) = &quantized.manifest.quantization else { return Ok(quantized.clone()) };
    let names = float.manifest.model.check()?.layer_names();
    let input = |name: &String| {
        let layer = record.layers.iter().find(|l| l.layer == *name);
        layer.map(|l| l.input).filter(|_| !config.is_float(name))
    };
    let inputs: Vec<_> = names.iter().map(input).collect();
    Ok(float.quantized(config, &inputs, record.method, record.float_parent.clone())?)
}

/// Rounds a model, judges it on the validation rows, and writes it to `path` if it is at most `limit` (a share) worse.
///
/// # Errors
/// [`QuantizeError::Gate`], with everything that was found, where it is worse: nothing is written then. Else see
/// [`gated`].
pub fn save_quantized<B: Backend>(
    bundle: &Bundle,
    data: &CalibrationData,
    config: &QuantizationConfig,
    limit: f64,
    path: &Path,
    device: &B::Device,
) -> Result<Gated, QuantizeError> {
    let (quantized, mut found) = gated::<B>(bundle, data, config, limit, device, &|_| {})?;
    if !found.passed {
        return Err(QuantizeError::Gate(Box::new(found)));
    }
    quantized.save(path)?;
    found.output = Some(path.into());
    Ok(found)
}
