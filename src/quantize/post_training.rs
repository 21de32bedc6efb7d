//! A trained model rounded: ranges of the layers' inputs from training windows, and the error that each layer adds.

use std::sync::Arc;

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use serde::Serialize;

use super::QuantizeError;
use crate::bundle::{Bundle, QuantizedBy};
use crate::data::{Panel, SeriesSplit};
use crate::error::InvalidSetting;
use crate::forecast::Model;
use crate::kernel::Int8Input;
use crate::metric::nan_as_null;
use crate::model::reshaped;
use crate::model::{
    Activations, LayerInput, ModelInput, NHits, Quantization, QuantizationConfig, measured_ranges, to_host,
};
use crate::window::{Window, WindowBatcher, WindowRules};

/// Windows that are looked at together.
const WINDOWS_PER_BATCH: usize = 256;

/// The data that a model is quantized with.
#[derive(Debug, Clone)]
pub struct CalibrationData {
    /// The series.
    pub panel: Arc<Panel>,
    /// Train, validation and test rows of each series: ranges come from train rows, the gate judges on validation rows,
    /// and test rows are never read.
    pub splits: Vec<SeriesSplit>,
    /// Threads that forecast.
    pub threads: usize,
}

/// What rounding one layer alone does to the forecast.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerError {
    /// The layer.
    pub layer: String,
    /// `int8`, or `float32` for a layer that stays in f32.
    pub precision: &'static str,
    /// Its weights.
    pub weights: usize,
    /// Power of the forecast (less its level) over power of the error, in decibels: 20 is an error of a tenth, 40 of a
    /// hundredth. None for a layer in f32, and where there was no error at all.
    #[serde(with = "nan_as_null")]
    pub sqnr_db: f64,
    /// Share of the error that all layers add, each by itself.
    pub share: f64,
}

/// A model after rounding.
#[derive(Debug, Clone)]
pub struct PostTrained {
    /// The quantized model.
    pub bundle: Bundle,
    /// The error of each layer, the worst first.
    pub layers: Vec<LayerError>,
    /// Training windows that were looked at.
    pub calibration_windows: usize,
}

/// Windows of the train rows, evenly spaced, and what gathers them.
struct Calibration {
    batcher: WindowBatcher,
    windows: Vec<Window>,
}

impl Calibration {
    fn new<B: Backend>(
        bundle: &Bundle,
        data: &CalibrationData,
        samples: usize,
        device: &B::Device,
    ) -> Result<Self, QuantizeError> {
        let model = Model::<B>::new(bundle, device, 1)?;
        let train: Vec<_> = data.splits.iter().map(|s| s.train.clone()).collect();
        // A batcher of train rows reads no row beyond them, not even as a covariate that is known ahead.
        let bound = model.on(data.panel.clone(), &train)?;
        let (index, batcher) = bound.windows(&train, &WindowRules::train(model.shape()))?;
        let index = index.non_empty("calibration")?;
        let (n, wanted) = (index.len(), samples.min(index.len()));
        let windows = (0..wanted).filter_map(|i| index.get((2 * i + 1) * n / (2 * wanted))).collect();
        Ok(Self { batcher, windows })
    }

    fn n_batches(&self) -> usize {
        self.windows.len().div_ceil(WINDOWS_PER_BATCH)
    }

    fn batch<B: Backend>(&self, i: usize, device: &B::Device) -> ModelInput<B> {
        let end = ((i + 1) * WINDOWS_PER_BATCH).min(self.windows.len());
        self.batcher.gather(&self.windows[i * WINDOWS_PER_BATCH..end]).into_tensors(device).input
    }
}

/// Rounds a float model. Weights go to the nearest integers; the ranges of the layers' inputs follow from
/// `config.calibration_samples` windows of the train rows, or from each window as it is forecast. `progress` is told what
/// is being done.
///
/// # Errors
/// A setting that is not allowed, a model that is quantized already or does not fit the data, no training window.
pub fn post_training<B: Backend>(
    bundle: &Bundle,
    data: &CalibrationData,
    config: &QuantizationConfig,
    device: &B::Device,
    progress: &dyn Fn(&str),
) -> Result<PostTrained, QuantizeError> {
    let network = bundle.manifest.model.check()?;
    config.check_for(&network)?;
    if bundle.manifest.quantization.is_some() {
        let remedy = "quantize the float model that it was made from";
        return Err(InvalidSetting::new("--model", "an int8 model", "a float model", remedy).into());
    }
    let by_name: std::collections::HashMap<_, _> = bundle.weights.iter().map(|t| (t.name.as_str(), t)).collect();
    let source = |name: &str| by_name.get(name).map(|t| (t.shape.clone(), t.data.clone()));
    let net = NHits::<B>::with_tensors(&network, source, device)?;
    let calibration = Calibration::new::<B>(bundle, data, config.calibration_samples, device)?;
    let names = network.layer_names();
    progress(&format!("looking at {} windows of the train rows", calibration.windows.len()));
    let inputs: Vec<LayerInput> = match config.activations {
        Activations::Dynamic => vec![LayerInput::Dynamic; names.len()],
        Activations::None => vec![LayerInput::Float; names.len()],
        Activations::MinMax | Activations::Percentile => {
            let percentile = (config.activations == Activations::Percentile).then_some(config.percentile);
            let batch = |i| calibration.batch::<B>(i, device);
            let ranges = measured_ranges(&net, calibration.n_batches(), &batch, percentile);
            ranges.into_iter().map(|(low, high)| Int8Input::covering(low, high).into()).collect()
        }
    };
    let inputs: Vec<Option<LayerInput>> =
        names.iter().zip(inputs).map(|(name, input)| (!config.is_float(name)).then_some(input)).collect();
    progress(&format!("measuring the error of {} layers", inputs.iter().flatten().count()));
    let layers = layer_errors(&net, &calibration, config, &inputs, device);
    let parent = Some(bundle.sha256()?);
    let quantized = bundle.quantized(config, &inputs, QuantizedBy::PostTraining, parent)?;
    Ok(PostTrained { bundle: quantized, layers, calibration_windows: calibration.windows.len() })
}

/// Forecasts of the calibration windows with one layer rounded at a time, against those without.
fn layer_errors<B: Backend>(
    net: &NHits<B>,
    calibration: &Calibration,
    config: &QuantizationConfig,
    inputs: &[Option<LayerInput>],
    device: &B::Device,
) -> Vec<LayerError> {
    let only = |layer: usize| {
        let layers = (0..inputs.len()).map(|i| inputs[i].filter(|_| i == layer)).collect();
        net.rounded(Quantization { layers, rounding: Some(config.scheme()) })
    };
    // The last value is added to every forecast as it is; it says nothing about the layers.
    let part = |net: &NHits<B>, input: &ModelInput<B>| -> Vec<f32> {
        let forecast: Tensor<B, 3> = net.forward(input);
        let last = input.insample_y.dims()[1] - 1;
        let level = input.insample_y.clone().slice([0..input.n_windows(), last..last + 1]);
        to_host(forecast - reshaped(level, [input.n_windows(), 1, 1]))
    };
    let mut signal = 0.0;
    let mut noise = vec![0.0; inputs.len()];
    for i in 0..calibration.n_batches() {
        let input = calibration.batch::<B>(i, device);
        let whole = part(net, &input);
        signal += whole.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
        for (layer, noise) in noise.iter_mut().enumerate().filter(|(layer, _)| inputs[*layer].is_some()) {
            let rounded = part(&only(layer), &input);
            *noise += whole.iter().zip(&rounded).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>();
        }
    }
    let all: f64 = noise.iter().sum();
    let specs = net.checked().tensor_specs();
    let weights =
        specs.iter().filter(|s| s.shape.len() == 2 && s.name.starts_with("blocks.")).map(|s| s.shape.iter().product());
    let mut errors: Vec<LayerError> = net
        .checked()
        .layer_names()
        .into_iter()
        .zip(weights)
        .enumerate()
        .map(|(i, (layer, weights))| {
            let rounded = inputs[i].is_some();
            LayerError {
                layer,
                weights,
                precision: if rounded { "int8" } else { "float32" },
                sqnr_db: if rounded && noise[i] > 0.0 { 10.0 * (signal / noise[i]).log10() } else { f64::NAN },
                share: if all > 0.0 { noise[i] / all } else { 0.0 },
            }
        })
        .collect();
    errors.sort_by(|a, b| b.share.total_cmp(&a.share));
    errors
}
