//! A trained network that only forecasts, on the calling thread, in buffers that it keeps.

use std::sync::{Mutex, PoisonError};

use super::super::nhits::NHits;
use super::super::tensors::{read, transpose_into};
use super::super::{Checked, LayerInput, ModelError};
use super::forward::{block_input, explain, fit, interpolate, linear, only_knots, reversed, side_by_side, take};
use super::input::HostInput;
use super::layout::{HostNetwork, weights_of};
use super::units::{activate, leaves_zeros};
use crate::kernel::{Instructions, Int8Dense, Int8Input, Int8Matrix, Int8Scratch, RowScale, Zeros};
use crate::workers::split_evenly;
use burn::tensor::backend::Backend;
use rayon::ThreadPool;

/// Windows that are computed together.
const WINDOWS_AT_ONCE: usize = 256;

/// A network in host memory that forecasts.
#[derive(Debug)]
pub struct HostForecaster {
    network: HostNetwork,
    /// Without those of layers that compute in integers.
    weights: Vec<f32>,
    /// The layers that compute in integers, by their numbers in the network; empty where none does.
    integers: Vec<Option<Int8Dense>>,
    /// How they do.
    with: Instructions,
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
    scratch: Int8Scratch,
}

/// A layer of a quantized model.
#[derive(Debug, Clone, Copy)]
pub struct Int8Layer<'a> {
    /// How its input is laid on integers.
    pub input: LayerInput,
    /// Its weights.
    pub weight: &'a Int8Matrix,
}

impl HostForecaster {
    /// A copy of a network's weights; none where [`HostNetwork::new`] gives none.
    pub fn new<B: Backend>(net: &NHits<B>) -> Option<Self> {
        let network = HostNetwork::new(net.checked())?;
        Some(Self::floats(network, weights_of(net), None))
    }

    /// A network with weights from `source`, as [`NHits::with_tensors`], laid out and folded on the threads of `pool`; none
    /// where [`HostNetwork::new`] gives none. How many threads there are changes no bit.
    ///
    /// # Errors
    /// As [`NHits::with_tensors`].
    pub fn with_tensors<'a>(
        config: &Checked,
        source: impl Fn(&str) -> Option<(&'a [usize], &'a [f32])>,
        pool: Option<&ThreadPool>,
    ) -> Result<Option<Self>, ModelError> {
        let Some(network) = HostNetwork::new(config) else { return Ok(None) };
        let mut weights = vec![0.0; network.n_weights()];
        let mut rest = &mut weights[..];
        let mut tasks: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
        for (spec, values) in read(config, |_| false, source)? {
            let to = take(&mut rest, values.len());
            tasks.push(Box::new(move || match spec.shape[..] {
                [outputs, inputs] => transpose_into(values, outputs, inputs, to),
                _ => to.copy_from_slice(values),
            }));
        }
        side_by_side(pool, tasks);
        Ok(Some(Self::floats(network, weights, pool)))
    }

    /// A quantized network: `integers` gives its layers by their names ([`Checked::layer_names`]). Those whose inputs are
    /// rounded ([`LayerInput::is_rounded`]) compute in integers, the others in f32: `source` gives all other weights, as for
    /// [`HostForecaster::with_tensors`]. None where [`HostNetwork::new`] gives none for the same network in f32.
    ///
    /// # Errors
    /// As [`NHits::with_tensors`].
    pub fn with_integers<'a>(
        config: &Checked,
        integers: impl Fn(&str) -> Option<Int8Layer<'a>>,
        source: impl Fn(&str) -> Option<(&'a [usize], &'a [f32])>,
    ) -> Result<Option<Self>, ModelError> {
        let names = config.layer_names();
        let scales: Vec<Option<(RowScale, &Int8Matrix)>> = names
            .iter()
            .map(|name| {
                let Int8Layer { input, weight } = integers(name)?;
                match input {
                    LayerInput::Dynamic => Some((RowScale::Measured, weight)),
                    LayerInput::Fixed { scale, zero } => Some((RowScale::Fixed(Int8Input { scale, zero }), weight)),
                    LayerInput::Float | LayerInput::Learned { .. } => None,
                }
            })
            .collect();
        let Some(network) = HostNetwork::without(config, |i| scales[i].is_some()) else { return Ok(None) };
        let mut weights = vec![0.0; network.n_weights()];
        let mut rest = &mut weights[..];
        let mut layers: Vec<Option<Int8Dense>> = (0..names.len()).map(|_| None).collect();
        let layer_of = |name: &str, ending: &str| {
            let layer = name.strip_suffix(ending)?;
            let i = names.iter().position(|n| n == layer)?;
            Some((i, scales[i]?))
        };
        for spec in config.tensor_specs() {
            if let Some((_, (_, weight))) = layer_of(&spec.name, ".weight")
                && [weight.outputs, weight.inputs] != spec.shape[..]
            {
                let (found, values) = (vec![weight.outputs, weight.inputs], weight.values.len());
                return Err(ModelError::TensorShape { name: spec.name, expected: spec.shape, found, values });
            }
        }
        for (spec, values) in read(config, |name| layer_of(name, ".weight").is_some(), source)? {
            let to = take(&mut rest, values.len());
            match spec.shape[..] {
                [outputs, inputs] => transpose_into(values, outputs, inputs, to),
                _ => to.copy_from_slice(values),
            }
            if let Some((i, (scale, weight))) = layer_of(&spec.name, ".bias") {
                layers[i] = Some(Int8Dense::new(weight, values, scale));
            }
        }
        Ok(Some(Self::assemble(network, weights, layers)))
    }

    /// A network in f32 with `weights` in the order of its layout, the first layers of its blocks folded where that saves
    /// products.
    pub(crate) fn floats(network: HostNetwork, weights: Vec<f32>, pool: Option<&ThreadPool>) -> Self {
        let (network, weights) = network.folded(weights, pool);
        Self::assemble(network, weights, Vec::new())
    }

    fn assemble(network: HostNetwork, weights: Vec<f32>, integers: Vec<Option<Int8Dense>>) -> Self {
        Self { network, weights, integers, with: Instructions::best(), free: Mutex::default() }
    }

    /// The same, with other instructions for integers; the forecasts are the same with any.
    #[must_use]
    pub fn with_instructions(self, with: Instructions) -> Self {
        Self { with, ..self }
    }

    /// Layer `at` of block `number`, if it computes in integers.
    fn integer_layer(&self, number: usize, at: usize) -> Option<&Int8Dense> {
        self.integers.get(number * self.network.config().layers_per_block() + at)?.as_ref()
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
        let Buffers { x, hidden: [one, other], theta, knots, residual, mask, forecast, scratch } = buffers;
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
        let (last, zeros) = (network.blocks.len() - 1, Zeros::Alike.when(leaves_zeros(config.activation)));
        for (number, block) in network.blocks.iter().enumerate() {
            fit(x, n * block.shape.inputs);
            let x = &mut x[..n * block.shape.inputs];
            block_input(network, block, input, 0, residual, x, None);
            let (output, hidden) = block.layers.split_last().expect("a block has at least two linear layers");
            let (mut from, mut to) = (&mut *one, &mut *other);
            // There is no activation before the first layer, nor after it unless it stands for two.
            let with_zeros = |layer: usize| zeros.when(layer + usize::from(block.folded) > 1);
            for (i, layer) in hidden.iter().enumerate() {
                fit(to, n * layer.outputs);
                let values = &mut to[..n * layer.outputs];
                let x = if i == 0 { &*x } else { &from[..n * layer.inputs] };
                let activation = (i > 0 || block.folded).then_some(config.activation);
                match self.integer_layer(number, i) {
                    Some(integers) => {
                        integers.forward_into(self.with, x, 0..layer.outputs, scratch, values);
                        if let Some(activation) = activation {
                            activate(activation, values);
                        }
                    }
                    None => linear(layer.of(weights), n, x, with_zeros(i), activation, values),
                }
                std::mem::swap(&mut from, &mut to);
            }
            let features = &from[..n * output.inputs];
            let n_knots = n * block.shape.knots * config.outputs;
            fit(knots, n_knots);
            let knots = &mut knots[..n_knots];
            if number == last {
                match self.integer_layer(number, hidden.len()) {
                    Some(integers) => {
                        integers.forward_into(self.with, features, steps..output.outputs, scratch, knots);
                    }
                    None => only_knots(output.of(weights), n, steps, features, with_zeros(hidden.len()), knots),
                }
            } else {
                fit(theta, n * output.outputs);
                let theta = &mut theta[..n * output.outputs];
                match self.integer_layer(number, hidden.len()) {
                    Some(integers) => integers.forward_into(self.with, features, 0..output.outputs, scratch, theta),
                    None => linear(output.of(weights), n, features, with_zeros(hidden.len()), None, theta),
                }
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
