//! What a run begins with: random weights or those of a model, and the first ranges of layers that learn theirs.

use std::path::Path;

use burn::module::AutodiffModule;
use burn::tensor::backend::{AutodiffBackend, Backend};

use super::TrainError;
use super::job::{Plan, TrainJob};
use crate::bundle::Bundle;
use crate::error::{Advise, InvalidSetting};
use crate::model::{Activations, Checked, LayerInput, NHits, NamedTensor, Quantization, first_range, measured_ranges};
use crate::window::{WindowBatch, WindowBatcher};

/// How much wider than calibrated the ranges of random weights begin: what the layers give grows as they learn, and a range
/// that is too wide costs little, while what is cut off teaches nothing.
const ROOM_TO_GROW: f32 = 4.0;

/// Windows that are looked at together.
const WINDOWS_PER_BATCH: usize = 256;

impl TrainJob {
    /// The network that is trained: with what is rounded in its forward pass.
    pub fn trained_network(&self) -> Checked {
        match &self.config.quantize {
            Some(quantize) => self.network.with_quantization(Quantization::training(quantize, &self.network)),
            None => self.network.clone(),
        }
    }

    /// The model that the run starts from, if one is named.
    pub(super) fn parent(&self) -> Result<Option<Bundle>, TrainError> {
        let Some(path) = &self.config.from else { return Ok(None) };
        let bundle = Bundle::load(path).map_err(|e| TrainError::Start {
            detail: e.to_string(),
            kind: e.kind(),
            hint: e.hint(),
        })?;
        if bundle.manifest.quantization.is_some() {
            let remedy = "start from the float model that it was made from";
            return Err(InvalidSetting::new("train.from", path.display(), "a float model", remedy).into());
        }
        let model = &bundle.manifest.model;
        let specs = model.check()?.tensor_specs();
        if specs != self.network.tensor_specs() {
            return Err(other_network(path, &serde_json::json!(model), &serde_json::json!(*self.network)).into());
        }
        Ok(Some(bundle))
    }

    /// The network before the first step.
    pub(super) fn first_network<B: AutodiffBackend>(
        &self,
        plan: &Plan,
        parent: Option<&Bundle>,
        device: &B::Device,
    ) -> Result<NHits<B>, TrainError> {
        let network = self.trained_network();
        let net = match parent {
            None => NHits::<B>::new(&network, self.config.seed, device),
            Some(parent) => with_ranges(&network, &parent.weights, |_| 0.0, device)?,
        };
        let learned: Vec<Option<bool>> = match network.quantization() {
            Some(q) => q.layers.iter().map(|l| l.and_then(signed)).collect(),
            None => Vec::new(),
        };
        let Some(quantize) = self.config.quantize.as_ref().filter(|_| learned.iter().any(Option::is_some)) else {
            return Ok(net);
        };
        let batcher = WindowBatcher::new(self.panel.clone(), &plan.index, plan.scalers.clone(), self.window_scaler)?;
        let (n, wanted) = (plan.index.len(), quantize.calibration_samples.min(plan.index.len()));
        let windows: Vec<_> = (0..wanted).filter_map(|i| plan.index.get((2 * i + 1) * n / (2 * wanted))).collect();
        let batch = |i: usize| {
            let end = ((i + 1) * WINDOWS_PER_BATCH).min(windows.len());
            let batch = batcher.gather(&windows[i * WINDOWS_PER_BATCH..end]);
            let batch: WindowBatch<B::InnerBackend> = batch.into_tensors(device);
            batch.input
        };
        let plain = net.valid().rounded(Quantization { layers: Vec::new(), rounding: None });
        let percentile = (quantize.activations == Activations::Percentile).then_some(quantize.percentile);
        let ranges = measured_ranges(&plain, windows.len().div_ceil(WINDOWS_PER_BATCH), &batch, percentile);
        let first = |layer: usize| {
            let (low, high) = ranges.get(layer).copied().unwrap_or((0.0, 1.0));
            let room = if parent.is_some() { 1.0 } else { ROOM_TO_GROW };
            first_range(room * if learned.get(layer) == Some(&Some(true)) { high.max(-low) } else { high })
        };
        with_ranges(&network, &net.tensors(), first, device)
    }
}

/// Whether a layer learns a range, and whether there are negative values in it.
fn signed(input: LayerInput) -> Option<bool> {
    match input {
        LayerInput::Learned { signed } => Some(signed),
        _ => None,
    }
}

/// The network of these weights, with the learned range of each layer (by its number) as it begins.
fn with_ranges<B: Backend>(
    network: &Checked,
    weights: &[NamedTensor],
    first: impl Fn(usize) -> f32,
    device: &B::Device,
) -> Result<NHits<B>, TrainError> {
    let ranges: Vec<String> = network.layer_names().iter().map(|layer| format!("{layer}.input_range")).collect();
    let source = |name: &str| match ranges.iter().position(|r| r == name) {
        Some(layer) => Some((vec![1], vec![first(layer)])),
        None => weights.iter().find(|t| t.name == name).map(|t| (t.shape.clone(), t.data.clone())),
    };
    Ok(NHits::with_tensors(network, source, device)?)
}

/// The error that names what differs between two networks.
fn other_network(path: &Path, theirs: &serde_json::Value, ours: &serde_json::Value) -> InvalidSetting {
    let fields = theirs.as_object().into_iter().flatten();
    let differing = fields.filter(|(key, value)| ours.get(key.as_str()) != Some(value));
    let lines: Vec<String> = differing
        .map(|(key, value)| format!("{key} {value}, here it is {}", ours.get(key.as_str()).unwrap_or(value)))
        .collect();
    InvalidSetting::new(
        "train.from",
        path.display(),
        format!("a model of the network that is trained; it has {}", lines.join("; ")),
        "give the network the settings of the model (dropout shifts the numbers of its layers: 0 and above 0 differ)",
    )
}
