//! Steps on slices: gradients and updates by [`crate::model::host`], for backends whose values lie in host memory.

use std::sync::{Mutex, PoisonError};

use burn::optim::record::AdaptorRecord;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{ElementConversion, Tensor, TensorData};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::TrainError;
use super::memory::Memory;
use super::optimizer::{Rule, RuleState};
use super::trainee::{StepOutput, StepSettings, TrainInput, Trainee, errors};
use crate::loss::Loss;
use crate::model::host::{HostForecaster, HostInput, HostNetwork, Pass, weights_of};
use crate::model::{DropoutKey, ModelInput, NHits, NamedTensor, Weight, to_host};
use crate::window::WindowBatch;
use crate::workers::split_evenly;

/// Values that one task updates or adds up. The sums of a norm are taken over so many values each, so it is a constant:
/// no number depends on the threads.
const VALUES_PER_TASK: usize = 1 << 16;

/// A network in training, on slices.
pub(super) struct HostSteps {
    network: HostNetwork,
    rule: Rule,
    settings: StepSettings,
    pool: ThreadPool,
    pass: Pass,
    pub weights: Vec<f32>,
    /// Of the last batch, or of all that were accumulated.
    gradients: Vec<f32>,
    /// The weighted sum of the batches before, where batches are accumulated.
    accumulated: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    /// Updates done.
    time: usize,
}

impl std::fmt::Debug for HostSteps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostSteps").field("weights", &self.weights.len()).finish_non_exhaustive()
    }
}

impl HostSteps {
    /// Goes on from `net` and the moments `memory`, on `threads` threads. None for a network that only tensors can do.
    ///
    /// # Errors
    /// When the system refuses the threads.
    pub fn new<B: AutodiffBackend>(
        net: &NHits<B>,
        memory: Memory<Trainee<B>, B>,
        rule: Rule,
        settings: StepSettings,
        threads: usize,
    ) -> Result<Option<Self>, TrainError> {
        let Some(network) = HostNetwork::new(net.checked()) else { return Ok(None) };
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("nhits-step-{i}"))
            .build()
            .map_err(|e| TrainError::Threads { n: threads, detail: e.to_string() })?;
        let n = network.n_weights();
        let moments = |wanted: bool| if wanted { vec![0.0; n] } else { Vec::new() };
        let [first, second] = rule.remembers();
        let mut steps = Self {
            network,
            rule,
            settings,
            pool,
            pass: Pass::new(),
            weights: Vec::new(),
            gradients: vec![0.0; n],
            accumulated: Vec::new(),
            first: moments(first),
            second: moments(second),
            time: 0,
        };
        steps.load(net, memory);
        Ok(Some(steps))
    }

    /// Takes weights and moments.
    pub fn load<B: AutodiffBackend>(&mut self, net: &NHits<B>, mut memory: Memory<Trainee<B>, B>) {
        self.weights = weights_of(net);
        self.time = 0;
        let mut at = 0;
        for (spec, weight) in net.weights() {
            let n: usize = spec.shape.iter().product();
            let range = at..at + n;
            at += n;
            let Some(record) = memory.remove(&weight.id()) else { continue };
            let (time, first, second) = match weight {
                Weight::Matrix(_) => values_of::<B, 2>(record),
                Weight::Vector(_) => values_of::<B, 1>(record),
            };
            // All weights are updated together, so they have one count.
            self.time = self.time.max(time);
            for (moment, values) in [(&mut self.first, first), (&mut self.second, second)] {
                if let (Some(values), false) = (values, moment.is_empty()) {
                    moment[range.clone()].copy_from_slice(&values);
                }
            }
        }
    }

    /// The moments as the optimizer of `net`'s tensors would remember them.
    pub fn memory<B: AutodiffBackend>(&self, net: &NHits<B>) -> Memory<Trainee<B>, B> {
        let mut memory = Memory::<Trainee<B>, B>::default();
        if self.time == 0 || self.rule.remembers() == [false, false] {
            return memory;
        }
        let mut at = 0;
        for (spec, weight) in net.weights() {
            let n: usize = spec.shape.iter().product();
            let range = at..at + n;
            at += n;
            let record = match weight {
                Weight::Matrix(p) => AdaptorRecord::from_state::<2>(self.state(p.val().inner(), range)),
                Weight::Vector(p) => AdaptorRecord::from_state::<1>(self.state(p.val().inner(), range)),
            };
            memory.insert(weight.id(), record);
        }
        memory
    }

    /// The moments of one weight.
    fn state<B: Backend, const D: usize>(&self, like: Tensor<B, D>, at: std::ops::Range<usize>) -> RuleState<B, D> {
        let moment = |values: &[f32]| {
            (!values.is_empty()).then(|| {
                let data = TensorData::new(values[at.clone()].to_vec(), like.shape());
                Tensor::from_data(data, &like.device())
            })
        };
        RuleState { time: self.time, first: moment(&self.first), second: moment(&self.second) }
    }

    /// Updates done, and of the weight at `at` the first and the second moment, as far as the rule has them. Nothing before
    /// the first update.
    pub fn moments(&self, at: std::ops::Range<usize>) -> (usize, [Option<&[f32]>; 2]) {
        let moments = [&self.first, &self.second].map(|m| m.get(at.clone()).filter(|_| self.time > 0));
        (self.time, moments)
    }

    /// What forecasts with the weights as they are now.
    pub fn forecaster(&self) -> HostForecaster {
        HostForecaster::floats(self.network.clone(), self.weights.clone(), Some(&self.pool))
    }

    /// Loss and gradients of one batch.
    pub fn compute<B: AutodiffBackend>(&mut self, item: TrainInput<B>) -> StepOutput {
        let TrainInput { batch, step } = item;
        let key = DropoutKey { seed: self.settings.seed, step, first_row: 0 };
        let columns = InputValues::of(&batch.input);
        let Self { network, weights, pass, pool, .. } = self;
        // On a thread of the pool: this one would have to be woken after each of the parts that wait for all threads.
        pool.install(|| pass.forward(network, weights, &columns.slices(), Some(&key), pool));
        let (output, towards) = self.loss(&batch);
        let Self { network, weights, pass, pool, gradients, .. } = self;
        pool.install(|| pass.backward(network, weights, &towards, gradients, pool));
        output
    }

    /// What the batch brought, and the gradient of the loss with respect to the forecast, as the way back reads it.
    fn loss<B: AutodiffBackend>(&self, batch: &WindowBatch<B>) -> (StepOutput, Vec<f32>) {
        let config = self.network.config();
        let (horizon, outputs) = (config.horizon, config.outputs);
        let loss = &self.settings.loss;
        let windows = batch.n_windows();
        let weight = loss.weight(&batch.host.target_mask);
        // A loss that is not a sum over windows (RMSE) cannot be split.
        let parts = if loss.config().is_additive() { self.settings.parts(windows) } else { 1 };
        let forecast = self.pass.forecast(&self.network);
        let slots: Vec<Mutex<Option<(StepOutput, Vec<f32>)>>> = (0..parts).map(|_| Mutex::new(None)).collect();
        let work = |(rows, slot): (std::ops::Range<usize>, &Mutex<Option<(StepOutput, Vec<f32>)>>)| {
            let part = &forecast[rows.start * horizon * outputs..rows.end * horizon * outputs];
            let result = loss_of_rows(loss, &batch.rows(rows.start, rows.end), part, [horizon, outputs], weight);
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        };
        let tasks = split_evenly(windows, parts).into_iter().zip(&slots);
        if parts == 1 {
            tasks.for_each(work);
        } else {
            self.pool.scope(|scope| tasks.for_each(|task| scope.spawn(move |_| work(task))));
        }
        let mut total = StepOutput { weight, windows, ..StepOutput::default() };
        let mut towards = Vec::with_capacity(forecast.len());
        // A part that panicked has passed its panic on; every slot is filled here.
        for (output, gradient) in
            slots.into_iter().filter_map(|s| s.into_inner().unwrap_or_else(PoisonError::into_inner))
        {
            total.add_part(&output);
            towards.extend(gradient);
        }
        total.finish_parts();
        (total, towards)
    }

    /// Adds the gradients of the last batch, times `weight`, to those before.
    pub fn accumulate(&mut self, weight: f64) {
        let weight = weight as f32;
        if self.accumulated.is_empty() {
            self.accumulated = vec![0.0; self.gradients.len()];
        }
        self.accumulated.iter_mut().zip(&self.gradients).for_each(|(sum, g)| *sum += g * weight);
    }

    /// Makes the accumulated gradients, times `factor`, those of the step.
    pub fn finish(&mut self, factor: f64) {
        let factor = factor as f32;
        self.gradients.iter_mut().zip(&mut self.accumulated).for_each(|(g, sum)| *g = std::mem::take(sum) * factor);
    }

    /// The Euclidean norm over all gradients.
    pub fn norm(&self) -> f64 {
        let square_sum = |part: &[f32]| part.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>();
        let gradients = &self.gradients;
        let sums: Vec<f64> = self.pool.install(|| gradients.par_chunks(VALUES_PER_TASK).map(square_sum).collect());
        sums.iter().sum::<f64>().sqrt()
    }

    /// Multiplies the gradients by `factor`.
    pub fn scale(&mut self, factor: f64) {
        let factor = factor as f32;
        let gradients = &mut self.gradients;
        self.pool.install(|| {
            gradients.par_chunks_mut(VALUES_PER_TASK).for_each(|part| part.iter_mut().for_each(|g| *g *= factor));
        });
    }

    /// The gradients by the names of their weights, in the layout of the `state_dict`.
    pub fn named_gradients<B: Backend>(&self, net: &NHits<B>) -> Vec<NamedTensor> {
        let mut rest = &self.gradients[..];
        net.weights()
            .into_iter()
            .map(|(spec, weight)| {
                let (these, others) = rest.split_at(spec.shape.iter().product());
                rest = others;
                let values = match (weight, &spec.shape[..]) {
                    (Weight::Matrix(_), &[out, inputs]) => {
                        (0..out).flat_map(|o| (0..inputs).map(move |i| these[i * out + o])).collect()
                    }
                    _ => these.to_vec(),
                };
                spec.named(values)
            })
            .collect()
    }

    /// One update with learning rate `lr`; uses the gradients up.
    pub fn update(&mut self, lr: f64) {
        let begun = self.time > 0;
        self.time += 1;
        let (rule, time) = (&self.rule, self.time);
        // A rule without a moment gets one that it leaves alone: slices of one length are walked together.
        let n = self.weights.len();
        let mut none = [Vec::new(), Vec::new()];
        let [no_first, no_second] = &mut none;
        fn or<'a>(moment: &'a mut [f32], none: &'a mut Vec<f32>, n: usize) -> &'a mut [f32] {
            if moment.is_empty() {
                none.resize(n, 0.0);
                none
            } else {
                moment
            }
        }
        let (first, second) = (or(&mut self.first, no_first, n), or(&mut self.second, no_second, n));
        let (weights, gradients) = (&mut self.weights, &mut self.gradients);
        self.pool.install(|| {
            weights
                .par_chunks_mut(VALUES_PER_TASK)
                .zip(gradients.par_chunks_mut(VALUES_PER_TASK))
                .zip(first.par_chunks_mut(VALUES_PER_TASK))
                .zip(second.par_chunks_mut(VALUES_PER_TASK))
                .for_each(|(((w, g), m), v)| rule.on_slices(lr, time, begun, w, g, m, v));
        });
    }
}

/// Number of updates and moments in a record.
fn values_of<B: AutodiffBackend, const D: usize>(
    record: AdaptorRecord<Rule, B>,
) -> (usize, Option<Vec<f32>>, Option<Vec<f32>>) {
    let RuleState { time, first, second } = record.into_state::<D>();
    (time, first.map(to_host), second.map(to_host))
}

/// A batch's input on the host.
pub(super) struct InputValues {
    insample_y: Vec<f32>,
    insample_mask: Vec<f32>,
    hist_exog: Vec<f32>,
    futr_exog: Vec<f32>,
    stat_exog: Vec<f32>,
}

impl InputValues {
    /// The values of a batch.
    pub fn of<B: Backend>(input: &ModelInput<B>) -> Self {
        Self {
            insample_y: to_host(input.insample_y.clone()),
            insample_mask: to_host(input.insample_mask.clone()),
            hist_exog: input.hist_exog.clone().map(to_host).unwrap_or_default(),
            futr_exog: input.futr_exog.clone().map(to_host).unwrap_or_default(),
            stat_exog: input.stat_exog.clone().map(to_host).unwrap_or_default(),
        }
    }

    /// The values as the network reads them.
    pub fn slices(&self) -> HostInput<'_> {
        HostInput {
            insample_y: &self.insample_y,
            insample_mask: &self.insample_mask,
            hist_exog: &self.hist_exog,
            futr_exog: &self.futr_exog,
            stat_exog: &self.stat_exog,
        }
    }
}

/// Loss and errors of some windows of a batch of weight `weight`, and the gradient of the loss with respect to their
/// forecast, `[B, Q * H]`, quantile-major like `forecast`.
fn loss_of_rows<B: AutodiffBackend>(
    loss: &Loss,
    batch: &WindowBatch<B>,
    forecast: &[f32],
    [horizon, outputs]: [usize; 2],
    weight: f64,
) -> (StepOutput, Vec<f32>) {
    let n = batch.n_windows();
    let device = batch.target.device();
    let by_quantile = TensorData::new(forecast.to_vec(), [n, outputs, horizon]);
    let leaf = Tensor::<B, 3>::from_data(by_quantile, &device).require_grad();
    let y_hat = if outputs == 1 { leaf.clone().reshape([n, horizon, 1]) } else { leaf.clone().swap_dims(1, 2) };
    let mut output = StepOutput { windows: n, ..StepOutput::default() };
    (output.mae, output.mse, output.observed) = errors(loss, batch, y_hat.clone().inner());
    let (target, mask) = (batch.target.clone(), batch.target_mask.clone());
    let insample = batch.input.insample_y.clone();
    let value = if loss.config().is_additive() {
        loss.sum(target, y_hat, mask, insample).div_scalar(weight.max(f64::MIN_POSITIVE))
    } else {
        loss.forward(target, y_hat, mask, insample)
    };
    output.loss = value.clone().inner().into_scalar().elem::<f64>();
    let gradient = leaf.grad(&value.backward()).map_or_else(|| vec![0.0; forecast.len()], to_host);
    (output, gradient)
}
