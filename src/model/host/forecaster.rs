//! A trained network that only forecasts, on the calling thread, in buffers that it keeps.

use std::sync::{Mutex, PoisonError};

use super::super::nhits::NHits;
use super::super::tensors::{read, transpose_onto};
use super::super::{Checked, ModelError};
use super::forward::{block_input, explain, fit, interpolate, linear, only_knots, reversed};
use super::input::HostInput;
use super::layout::{HostNetwork, weights_of};
use super::units::activate;
use crate::workers::split_evenly;
use burn::tensor::backend::Backend;

/// Windows that are computed together.
const WINDOWS_AT_ONCE: usize = 256;

/// A network in host memory that forecasts.
#[derive(Debug)]
pub struct HostForecaster {
    network: HostNetwork,
    weights: Vec<f32>,
    /// Buffers that no call is using.
    free: Mutex<Vec<Buffers>>,
}

/// The values of one batch.
#[derive(Debug, Default)]
struct Buffers {
    x: Vec<f32>,
    hidden: [Vec<f32>; 2],
    theta: Vec<f32>,
    knots: Vec<f32>,
    residual: Vec<f32>,
    mask: Vec<f32>,
    forecast: Vec<f32>,
}

impl HostForecaster {
    /// A copy of a network's weights; none where [`HostNetwork::new`] gives none.
    pub fn new<B: Backend>(net: &NHits<B>) -> Option<Self> {
        let network = HostNetwork::new(net.checked())?;
        Some(Self { network, weights: weights_of(net), free: Mutex::default() })
    }

    /// A network with weights from `source`, as [`NHits::with_tensors`]; none where [`HostNetwork::new`] gives none.
    ///
    /// # Errors
    /// As [`NHits::with_tensors`].
    pub fn with_tensors<'a>(
        config: &Checked,
        source: impl Fn(&str) -> Option<(&'a [usize], &'a [f32])>,
    ) -> Result<Option<Self>, ModelError> {
        let Some(network) = HostNetwork::new(config) else { return Ok(None) };
        let mut weights = Vec::with_capacity(network.n_weights());
        for (spec, values) in read(config, source)? {
            match spec.shape[..] {
                [outputs, inputs] => transpose_onto(&mut weights, values, outputs, inputs),
                _ => weights.extend_from_slice(values),
            }
        }
        Ok(Some(Self { network, weights, free: Mutex::default() }))
    }

    /// The settings of the network.
    pub fn config(&self) -> &Checked {
        self.network.config()
    }

    /// The forecast `[B, H, Q]`, row-major.
    ///
    /// # Panics
    /// When the input is not of the network's sizes.
    pub fn forecast(&self, input: &HostInput) -> Vec<f32> {
        // A poisoned lock only means that a thread died between two calls: buffers hold nothing from one to the next.
        let mut buffers = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let values = self.run(input, &mut buffers);
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(buffers);
        values
    }

    /// Some hundred windows at a time: their values stay in the processor's cache, and buffers stay small.
    fn run(&self, input: &HostInput, buffers: &mut Buffers) -> Vec<f32> {
        let n = input.windows(&self.network).expect("a batch of the network's sizes");
        let mut values = Vec::with_capacity(n * self.config().horizon * self.config().outputs);
        for rows in split_evenly(n, n.div_ceil(WINDOWS_AT_ONCE)) {
            let config = self.config();
            let part = input.rows(config, &rows);
            self.run_part(&part, rows.len(), buffers, &mut values);
        }
        values
    }

    fn run_part(&self, input: &HostInput, n: usize, buffers: &mut Buffers, values: &mut Vec<f32>) {
        let (network, weights) = (&self.network, &self.weights[..]);
        let config = network.config();
        let (steps, per_window) = (config.input_size, config.horizon * config.outputs);
        let Buffers { x, hidden: [one, other], theta, knots, residual, mask, forecast } = buffers;
        for (buffer, size) in [(&mut *residual, n * steps), (&mut *mask, n * steps), (&mut *forecast, n * per_window)] {
            fit(buffer, size);
        }
        let (residual, mask, forecast) =
            (&mut residual[..n * steps], &mut mask[..n * steps], &mut forecast[..n * per_window]);
        reversed(input.insample_y, steps, residual);
        reversed(input.insample_mask, steps, mask);
        for (out, y) in forecast.chunks_exact_mut(per_window).zip(input.insample_y.chunks_exact(steps)) {
            out.fill(y[steps - 1]);
        }
        let last = network.blocks.len() - 1;
        for (number, block) in network.blocks.iter().enumerate() {
            fit(x, n * block.shape.inputs);
            let x = &mut x[..n * block.shape.inputs];
            block_input(network, block, input, 0, residual, x, None);
            let (output, hidden) = block.layers.split_last().expect("a block has at least two linear layers");
            let (mut from, mut to) = (&mut *one, &mut *other);
            for (i, layer) in hidden.iter().enumerate() {
                fit(to, n * layer.outputs);
                let values = &mut to[..n * layer.outputs];
                linear(layer, weights, n, if i == 0 { x } else { &from[..n * layer.inputs] }, values);
                if i > 0 {
                    activate(config.activation, values);
                }
                std::mem::swap(&mut from, &mut to);
            }
            let features = &from[..n * output.inputs];
            let n_knots = n * block.shape.knots * config.outputs;
            fit(knots, n_knots);
            let knots = &mut knots[..n_knots];
            if number == last {
                only_knots(output, weights, n, steps, features, knots);
            } else {
                fit(theta, n * output.outputs);
                let theta = &mut theta[..n * output.outputs];
                linear(output, weights, n, features, theta);
                explain(theta, steps, residual, mask, knots);
            }
            interpolate(network, block, n, knots, forecast);
        }
        values.extend(by_step(forecast, config.horizon, config.outputs));
    }
}

/// `[B, Q * H]`, quantile-major, as `[B, H, Q]`.
pub(super) fn by_step(values: &[f32], horizon: usize, outputs: usize) -> Vec<f32> {
    if outputs == 1 {
        return values.to_vec();
    }
    let mut out = Vec::with_capacity(values.len());
    for window in values.chunks_exact(horizon * outputs) {
        for step in 0..horizon {
            out.extend((0..outputs).map(|q| window[q * horizon + step]));
        }
    }
    out
}
