//! The network as burn-train sees it: a step is a loss over a batch, computed on all workers at once.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{ElementConversion, Tensor, TensorData};
use burn::train::metric::{
    Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
    state::{FormatOptions, NumericMetricState},
};
use burn::train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;

use super::devices::{Manner, home, part};
use super::host_steps::InputValues;
use super::precision;
use crate::loss::Loss;
use crate::model::host::HostForecaster;
use crate::model::{DropoutKey, NHits, to_host};
use crate::window::WindowBatch;
use crate::workers::{Workers, split_evenly};

/// Fewer windows than this per share are not worth a split.
const MIN_WINDOWS_PER_SHARE: usize = 8;

/// Windows whose input is copied to the host at a time.
const WINDOWS_ON_HOST: usize = 512;

/// A batch with the number of its step, which keys the dropout masks.
#[derive(Debug)]
pub struct TrainInput<B: Backend> {
    /// The windows.
    pub batch: WindowBatch<B>,
    /// Steps before this one in the whole run.
    pub step: u64,
}

/// What a step brought, on the host.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepOutput {
    /// The loss.
    pub loss: f64,
    /// The loss's weight: how many (weighted) target values it is a mean of.
    pub weight: f64,
    /// Mean absolute error of the point forecast, on the scale of the per-series scaler.
    pub mae: f64,
    /// Mean squared error, on that scale squared.
    pub mse: f64,
    /// Target values that the errors are means of.
    pub observed: usize,
    /// Windows in the batch.
    pub windows: usize,
}

impl StepOutput {
    /// Root mean squared error, on the scale of the per-series scaler.
    pub fn rmse(&self) -> f64 {
        self.mse.sqrt()
    }

    /// Adds a part of a batch, whose loss was divided by the weight of the whole batch; see [`StepOutput::finish_parts`].
    pub(super) fn add_part(&mut self, part: &StepOutput) {
        self.loss += part.loss;
        self.mae += part.mae * part.observed as f64;
        self.mse += part.mse * part.observed as f64;
        self.observed += part.observed;
    }

    /// Makes the sums over all parts of a batch means.
    pub(super) fn finish_parts(&mut self) {
        self.mae /= self.observed.max(1) as f64;
        self.mse /= self.observed.max(1) as f64;
    }

    /// Adds another batch: losses and errors become weighted means.
    pub fn merge(&mut self, other: &StepOutput) {
        let mean = |a: f64, wa: f64, b: f64, wb: f64| if wa + wb > 0.0 { (a * wa + b * wb) / (wa + wb) } else { 0.0 };
        self.loss = mean(self.loss, self.weight, other.loss, other.weight);
        let (mine, theirs) = (self.observed as f64, other.observed as f64);
        self.mae = mean(self.mae, mine, other.mae, theirs);
        self.mse = mean(self.mse, mine, other.mse, theirs);
        self.weight += other.weight;
        self.observed += other.observed;
        self.windows += other.windows;
    }
}

impl ItemLazy for StepOutput {
    type ItemSync = StepOutput;
    fn sync(self) -> StepOutput {
        self
    }
}

/// Which number of a step a [`StepMetric`] shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepNumber {
    /// The loss.
    Loss,
    /// The mean absolute error.
    Mae,
    /// The root mean squared error.
    Rmse,
    /// The learning rate.
    LearningRate,
    /// Training windows per second since the step before.
    WindowsPerSecond,
}

/// A number of each step for burn's dashboard.
#[derive(Clone)]
pub struct StepMetric {
    which: StepNumber,
    state: NumericMetricState,
    /// When the step before was shown.
    last: Option<Instant>,
}

impl std::fmt::Debug for StepMetric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepMetric").field("which", &self.which).finish_non_exhaustive()
    }
}

impl StepMetric {
    /// The metric that shows `which`.
    pub fn new(which: StepNumber) -> Self {
        Self { which, state: NumericMetricState::default(), last: None }
    }
}

impl Adaptor<StepOutput> for StepOutput {
    fn adapt(&self) -> StepOutput {
        *self
    }
}

impl Metric for StepMetric {
    type Input = StepOutput;

    fn name(&self) -> MetricName {
        Arc::new(match self.which {
            StepNumber::Loss => "Loss".to_string(),
            StepNumber::Mae => "MAE".to_string(),
            StepNumber::Rmse => "RMSE".to_string(),
            StepNumber::LearningRate => "Learning rate".to_string(),
            StepNumber::WindowsPerSecond => "Windows per second".to_string(),
        })
    }

    fn update(&mut self, item: &StepOutput, metadata: &MetricMetadata) -> SerializedEntry {
        let before = self.last.replace(Instant::now());
        let value = match self.which {
            StepNumber::Loss => item.loss,
            StepNumber::Mae => item.mae,
            StepNumber::Rmse => item.rmse(),
            StepNumber::LearningRate => metadata.lr.unwrap_or(0.0),
            StepNumber::WindowsPerSecond => match before {
                Some(before) => item.windows as f64 / before.elapsed().as_secs_f64().max(1e-9),
                // There is nothing to measure the first step by.
                None => 0.0,
            },
        };
        self.state.update(
            value,
            item.windows,
            FormatOptions::new(self.name()).precision(if self.which == StepNumber::WindowsPerSecond { 0 } else { 5 }),
        )
    }

    fn clear(&mut self) {
        self.state.reset();
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: self.which == StepNumber::WindowsPerSecond }.into()
    }
}

impl Numeric for StepMetric {
    fn value(&self) -> NumericEntry {
        self.state.current_value()
    }
    fn running_value(&self) -> NumericEntry {
        self.state.running_value()
    }
}

/// What a step needs beside the network.
#[derive(Debug, Clone)]
pub struct StepSettings {
    /// The loss.
    pub loss: Loss,
    /// Threads that compute the shares.
    pub workers: Workers,
    /// Parts that a batch is computed in. Sums are taken part by part, so the result depends on their number, and not
    /// on the number of threads.
    pub shares: usize,
    /// Seed of the dropout masks.
    pub seed: u64,
}

/// The network with its loss, trainable by burn's `Learner`.
#[derive(Module, Debug)]
pub struct Trainee<B: Backend> {
    /// The network.
    pub net: NHits<B>,
    /// The same network on slices, where a backend's values lie in host memory: what validation runs.
    #[module(skip)]
    pub(super) host: Option<Arc<HostForecaster>>,
    #[module(skip)]
    settings: StepSettings,
    #[module(skip)]
    manner: Manner,
}

impl StepSettings {
    /// The parts of a batch of `windows` windows.
    pub(super) fn parts(&self, windows: usize) -> usize {
        self.shares.min(windows / MIN_WINDOWS_PER_SHARE).max(1)
    }
}

impl<B: Backend> Trainee<B> {
    /// Puts a network and its settings together.
    pub fn new(net: NHits<B>, settings: StepSettings) -> Self {
        Self { net, host: None, settings, manner: Manner::default() }
    }

    /// The same, computed on other devices or in half precision.
    pub fn computed(self, manner: Manner) -> Self {
        Self { manner, ..self }
    }
}

/// One worker's share of a batch.
struct Share<B: Backend> {
    net: NHits<B>,
    batch: WindowBatch<B>,
    key: DropoutKey,
}

impl<B: AutodiffBackend> TrainStep for Trainee<B> {
    type Input = TrainInput<B>;
    type Output = StepOutput;

    fn step(&self, item: TrainInput<B>) -> TrainOutput<StepOutput> {
        let TrainInput { batch, step } = item;
        let (StepSettings { loss, workers, seed, .. }, manner) = (self.settings.clone(), &self.manner);
        let half = manner.half;
        let windows = batch.n_windows();
        let weight = loss.weight(&batch.host.target_mask);
        // A loss that is not a sum over windows (RMSE) cannot be split.
        let parts = if loss.config().is_additive() { self.settings.parts(windows) } else { 1 };
        let device = batch.target.device();
        let share = |(i, rows): (usize, std::ops::Range<usize>)| {
            let key = DropoutKey { seed, step, first_row: rows.start as u64 };
            let batch = batch.rows(rows.start, rows.end);
            // A fork has leaves of its own, so each worker builds and walks its own graph.
            let (net, batch) = match parts {
                1 => (self.net.clone(), batch),
                _ => part(&self.net, batch, &manner.device::<B>(i, &device)),
            };
            Share { net, batch, key }
        };
        let work = move |share: Share<B>| {
            precision::scaled::<B, _>(half, weight, &share.net, |factor| {
                let net = half.map_or_else(|| share.net.clone(), |dtype| precision::cast(&share.net, dtype));
                let y_hat = net.forward_train(&share.batch.input, &share.key);
                let mut output = StepOutput { windows: share.batch.n_windows(), ..StepOutput::default() };
                (output.mae, output.mse, output.observed) = errors(&loss, &share.batch, y_hat.clone().inner());
                let (target, mask) = (share.batch.target.clone(), share.batch.target_mask.clone());
                let value = if loss.config().is_additive() {
                    loss.sum(target, y_hat, mask, share.batch.input.insample_y.clone())
                        .div_scalar(weight.max(f64::MIN_POSITIVE))
                } else {
                    loss.forward(target, y_hat, mask, share.batch.input.insample_y.clone())
                };
                output.loss = value.clone().inner().into_scalar().elem::<f64>();
                let value = if factor == 1.0 { value } else { value.mul_scalar(factor) };
                (GradientsParams::from_grads(value.backward(), &share.net), output)
            })
        };
        let shares: Vec<Share<B>> = split_evenly(windows, parts).into_iter().enumerate().map(share).collect();
        let results = match parts {
            1 => shares.into_iter().map(work).collect(),
            _ => workers.map(shares, move |_, s| work(s)),
        };
        let mut accumulator = GradientsAccumulator::new();
        let mut total = StepOutput { weight, windows, ..StepOutput::default() };
        let mut only = None;
        let single = results.len() == 1;
        for (grads, output) in results {
            total.add_part(&output);
            if single {
                only = Some(grads);
            } else {
                accumulator.accumulate(&self.net, home(self, grads, manner, &device));
            }
        }
        total.finish_parts();
        TrainOutput { grads: only.unwrap_or_else(|| accumulator.grads()), item: total }
    }
}

impl<B: Backend> InferenceStep for Trainee<B> {
    type Input = WindowBatch<B>;
    type Output = StepOutput;

    /// The loss (before [`Loss::of_mean`]) and error of a validation batch, with the window scaler undone: on the scale of the per-series scaler, so
    /// that windows of small and large spread count as they do in the final judgement.
    fn step(&self, batch: WindowBatch<B>) -> StepOutput {
        let StepSettings { loss, workers, .. } = self.settings.clone();
        let windows = batch.n_windows();
        // Validation stays where the network is.
        let parts = if self.manner.is_shared() { 1 } else { self.settings.parts(windows) };
        let shares: Vec<(NHits<B>, WindowBatch<B>)> = split_evenly(windows, parts)
            .into_iter()
            .map(|rows| (self.net.clone(), batch.rows(rows.start, rows.end)))
            .collect();
        let host = self.host.clone();
        let work = move |_: usize, (net, batch): (NHits<B>, WindowBatch<B>)| {
            let y_hat = match &host {
                None => net.forward(&batch.input),
                Some(host) => {
                    let n = batch.n_windows();
                    let mut values = Vec::with_capacity(n * net.config().horizon * net.config().outputs);
                    // A part at a time: the whole input need not be held twice.
                    for rows in split_evenly(n, n.div_ceil(WINDOWS_ON_HOST)) {
                        let part = batch.input.rows(rows.start, rows.end);
                        values.extend(host.forecast(&InputValues::of(&part).slices()));
                    }
                    let shape = [n, net.config().horizon, net.config().outputs];
                    Tensor::from_data(TensorData::new(values, shape), &batch.target.device())
                }
            };
            let (mae, mse, observed) = errors(&loss, &batch, y_hat.clone());
            let weight = loss.weight(&batch.host.target_mask);
            let n = batch.n_windows();
            let undone = |values: Vec<f32>| -> Vec<f32> {
                batch.host.invert_window(&values).into_iter().map(|v| v as f32).collect()
            };
            let device = batch.target.device();
            let [_, horizon, outputs] = y_hat.dims();
            let input = batch.input.insample_y.dims()[1];
            let y_hat = TensorData::new(undone(to_host(y_hat)), [n, horizon, outputs]);
            let target = TensorData::new(undone(batch.host.target.clone()), [n, horizon]);
            let insample = TensorData::new(undone(to_host(batch.input.insample_y.clone())), [n, input]);
            let sum = loss.sum(
                Tensor::<B, 2>::from_data(target, &device),
                Tensor::<B, 3>::from_data(y_hat, &device),
                batch.target_mask.clone(),
                Tensor::<B, 2>::from_data(insample, &device) * batch.input.insample_mask.clone(),
            );
            // A mean per share, so that shares and batches merge by weight; `of_mean` comes at the end.
            let loss = if weight > 0.0 { sum.into_scalar().elem::<f64>() / weight } else { 0.0 };
            StepOutput { loss, weight, mae, mse, observed, windows: n }
        };
        let mut total = StepOutput::default();
        for share in workers.map(shares, work) {
            total.merge(&share);
        }
        total
    }
}

/// Mean absolute and mean squared error of the point forecast over observed targets with the window scaler undone, and
/// the number of targets.
pub(super) fn errors<B: Backend, T: Backend>(
    loss: &Loss,
    batch: &WindowBatch<T>,
    y_hat: Tensor<B, 3>,
) -> (f64, f64, usize) {
    let outputs = y_hat.dims()[2];
    let (point, host) = (loss.config().point_output(), &batch.host);
    let y_hat: Vec<f32> = to_host(y_hat).into_iter().skip(point).step_by(outputs.max(1)).collect();
    let (y_hat, y) = (host.invert_window(&y_hat), host.invert_window(&host.target));
    let (mut absolute, mut squared, mut observed) = (0.0, 0.0, 0);
    for ((forecast, target), mask) in y_hat.iter().zip(&y).zip(&host.target_mask) {
        if *mask > 0.0 {
            let error = forecast - target;
            absolute += error.abs();
            squared += error * error;
            observed += 1;
        }
    }
    let n = observed.max(1) as f64;
    (absolute / n, squared / n, observed)
}
