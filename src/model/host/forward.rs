//! From windows to forecasts, leaving what the way back needs.

use rayon::ThreadPool;

use super::super::dropout::{DropoutKey, Mask};
use super::super::{Activation, PoolingMode};
use super::fold::{Folded, fold, pays_in_training};
use super::input::{HostInput, covariates, pool};
use super::layout::{BlockPlan, HostNetwork, Linear};
use super::units::{activate, bytes_of_bits, leaves_zeros, live_units, zeros_of};
use crate::kernel::{Matrix, MatrixMut, Panels, Then, Zeros, add_row_product, product, product_then};

/// What one block leaves for the way back; every buffer row-major, one row per window.
#[derive(Debug, Default)]
pub(super) struct Tape {
    /// The block's input, `[B, inputs]`.
    pub x: Vec<f32>,
    /// Where the largest values of the pooled target were, `[B, pooled]`; empty where nothing is chosen.
    pub at: Vec<u32>,
    /// The first two layers as one, where that pays; the first then has no values.
    pub folded: Option<Folded>,
    /// The values of each hidden layer after activation and dropout, `[B, units]`.
    pub hidden: Vec<Vec<f32>>,
    /// Which of them were dropped (1), `[B, units]`; empty without dropout.
    pub dropped: Vec<Vec<u8>>,
    /// Which units of a layer are not zero in all windows of a part ([`window_parts`]), `[parts, bytes of bits]`; empty where
    /// the activation leaves no zeros.
    pub live: Vec<Vec<u8>>,
    /// Each layer's weight as its products read it: on the way forward, then on the way back.
    pub panels: Vec<Panels>,
}

/// One batch on its way through a network. Its buffers stay from batch to batch.
#[derive(Debug, Default)]
pub struct Pass {
    /// Windows in the batch.
    pub(super) n: usize,
    pub(super) tapes: Vec<Tape>,
    /// What is left of the input, newest first, `[B, L]`.
    residual: Vec<f32>,
    /// The input's mask, newest first, `[B, L]`.
    pub(super) mask: Vec<f32>,
    /// `[B, Q * H]`, quantile-major.
    forecast: Vec<f32>,
    /// Backcast and knots of a block, `[B, theta]` of the widest.
    theta: Vec<f32>,
    /// Knots alone, `[B, Q * knots]` of the most.
    knots: Vec<f32>,
    pub(super) back: super::backward::Back,
}

/// The buffers of some windows of a batch.
struct Rows<'a> {
    tapes: Vec<TapeRows<'a>>,
    residual: &'a mut [f32],
    mask: &'a mut [f32],
    forecast: &'a mut [f32],
    theta: &'a mut [f32],
    knots: &'a mut [f32],
}

struct TapeRows<'a> {
    x: &'a mut [f32],
    at: &'a mut [u32],
    folded: Option<&'a Folded>,
    hidden: Vec<&'a mut [f32]>,
    dropped: Vec<&'a mut [u8]>,
    live: Vec<&'a mut [u8]>,
    panels: &'a [Panels],
}

/// Takes the first `n` elements off a slice.
pub(super) fn take<'a, T>(rest: &mut &'a mut [T], n: usize) -> &'a mut [T] {
    let (these, others) = std::mem::take(rest).split_at_mut(n);
    *rest = others;
    these
}

/// The same, of a slice that may be empty because it is not in use.
fn take_if_any<'a, T>(rest: &mut &'a mut [T], n: usize) -> &'a mut [T] {
    if rest.is_empty() { &mut [] } else { take(rest, n) }
}

/// Makes a buffer hold `n` elements at least; what it holds is about to be overwritten.
pub(super) fn fit<T: Clone + Default>(buffer: &mut Vec<T>, n: usize) {
    if buffer.len() < n {
        buffer.resize(n, T::default());
    }
}

/// Where the columns of a block's last layer begin that it needs: the last block gives no backcast.
pub(super) fn first_column(network: &HostNetwork, number: usize) -> usize {
    if number + 1 == network.blocks.len() { network.config.input_size } else { 0 }
}

/// Whether a batch of `n` windows has so many parts that it pays to lay matrices out for them.
pub(super) fn lays_out(network: &HostNetwork, n: usize) -> bool {
    leaves_zeros(network.config.activation) && n >= 3 * WINDOWS_TOGETHER
}

/// Windows that go through a network together: their values stay in the second level of cache from layer to layer, and a
/// thread that has done with its part takes the next.
const WINDOWS_TOGETHER: usize = 128;
/// The windows of a batch in parts for `threads` threads. The last parts are smaller, so that no thread waits long for the
/// others.
pub(super) fn window_parts(n: usize, threads: usize) -> Vec<usize> {
    let rounds = n.div_ceil(WINDOWS_TOGETHER * threads.max(1));
    let mut parts = row_parts(n, rounds * threads);
    if threads > 1 && rounds > 1 {
        let last = parts.split_off(parts.len() - threads);
        parts.extend(last.iter().map(|rows| rows / 2));
        parts.extend(last.iter().flat_map(|rows| row_parts(rows - rows / 2, 2)));
    }
    parts
}

/// Rows of `n` in at most `parts` parts of 16 or more, so that no product depends on the parts (see [`product`]).
pub(super) fn row_parts(n: usize, parts: usize) -> Vec<usize> {
    let parts = parts.min(n / 16).max(1);
    (0..parts).map(|i| n * (i + 1) / parts - n * i / parts).collect()
}

/// Runs every task, on the threads of `pool` where there are several, the first ones first.
pub(super) fn side_by_side<'a>(pool: Option<&ThreadPool>, tasks: Vec<Box<dyn FnOnce() + Send + 'a>>) {
    match pool {
        Some(pool) if tasks.len() > 1 && pool.current_num_threads() > 1 => {
            pool.scope_fifo(|scope| tasks.into_iter().for_each(|task| scope.spawn_fifo(move |_| task())));
        }
        _ => tasks.into_iter().for_each(|task| task()),
    }
}

impl Pass {
    /// Buffers that fit themselves to what comes.
    pub fn new() -> Self {
        Self::default()
    }

    /// The forecast of the last batch, `[B, Q * H]`, quantile-major.
    pub fn forecast(&self, network: &HostNetwork) -> &[f32] {
        &self.forecast[..self.n * network.config.horizon * network.config.outputs]
    }

    /// Forecasts a batch with `weights`, with the dropout masks of `dropout`, on the threads of `pool`. How many threads
    /// there are changes no bit.
    ///
    /// # Panics
    /// When weights or input are not those of the network's settings.
    pub fn forward(
        &mut self,
        network: &HostNetwork,
        weights: &[f32],
        input: &HostInput,
        dropout: Option<&DropoutKey>,
        pool: &ThreadPool,
    ) {
        assert_eq!(weights.len(), network.n_weights(), "weights");
        let n = input.windows(network).expect("a batch of the network's sizes");
        self.prepare(network, n);
        let folds = self.tapes.iter_mut().zip(&network.blocks).filter_map(|(t, b)| Some((b, t.folded.as_mut()?)));
        fold(folds, weights, Some(pool));
        self.lay_out(network, weights, pool);
        let dropout = dropout.filter(|_| network.config.dropout > 0.0);
        let mut first = 0;
        let mut tasks: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
        for (rows, buffers) in self.rows(network, pool.current_num_threads()) {
            let (from, key) = (first, dropout.copied());
            tasks.push(Box::new(move || forward_rows(network, weights, input, from, rows, buffers, key)));
            first += rows;
        }
        side_by_side(Some(pool), tasks);
    }

    /// Lays the weights out of which each part of the windows makes products without zeros.
    fn lay_out(&mut self, network: &HostNetwork, weights: &[f32], pool: &ThreadPool) {
        if !lays_out(network, self.n) {
            return;
        }
        let mut tasks: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
        for (number, (tape, block)) in self.tapes.iter_mut().zip(&network.blocks).enumerate() {
            tape.panels.resize_with(block.layers.len(), Panels::default);
            for (i, (panels, layer)) in tape.panels.iter_mut().zip(&block.layers).enumerate().skip(2) {
                let skip = if i + 1 == block.layers.len() { first_column(network, number) } else { 0 };
                let weight = Matrix::new(&weights[layer.weight.clone()], layer.inputs, layer.outputs);
                let weight = weight.columns(skip, layer.outputs - skip);
                tasks.extend(
                    panels
                        .lay_out(weight, None, zeros_of(&network.config))
                        .map(|task| Box::new(task) as Box<dyn FnOnce() + Send>),
                );
            }
        }
        side_by_side(Some(pool), tasks);
    }

    fn prepare(&mut self, network: &HostNetwork, n: usize) {
        let config = &network.config;
        self.n = n;
        self.tapes.resize_with(network.blocks.len(), Tape::default);
        for (tape, block) in self.tapes.iter_mut().zip(&network.blocks) {
            fit(&mut tape.x, n * block.shape.inputs);
            if config.pooling_mode == PoolingMode::Max && block.shape.pool_kernel > 1 {
                fit(&mut tape.at, n * block.pooled);
            }
            let hidden = &block.layers[..block.layers.len() - 1];
            tape.folded = pays_in_training(block, config.activation, n).then(|| tape.folded.take().unwrap_or_default());
            tape.hidden.resize_with(hidden.len(), Vec::new);
            tape.dropped.resize_with(hidden.len(), Vec::new);
            tape.live.resize_with(hidden.len(), Vec::new);
            for (i, layer) in hidden.iter().enumerate() {
                if i == 0 && tape.folded.is_some() {
                    tape.hidden[i].clear();
                } else {
                    fit(&mut tape.hidden[i], n * layer.outputs);
                }
                if config.dropout > 0.0 && i > 0 {
                    fit(&mut tape.dropped[i], n * layer.outputs);
                }
            }
        }
        let most = |f: &dyn Fn(&BlockPlan) -> usize| network.blocks.iter().map(f).max().unwrap_or(0);
        fit(&mut self.residual, n * config.input_size);
        fit(&mut self.mask, n * config.input_size);
        fit(&mut self.forecast, n * config.horizon * config.outputs);
        fit(&mut self.theta, n * most(&|b| b.shape.theta));
        fit(&mut self.knots, n * most(&|b| b.shape.knots) * config.outputs);
    }

    /// The buffers in parts for `threads` threads, with the number of windows of each.
    fn rows(&mut self, network: &HostNetwork, threads: usize) -> Vec<(usize, Rows<'_>)> {
        let config = &network.config;
        let theta = network.blocks.iter().map(|b| b.shape.theta).max().unwrap_or(0);
        let knots = network.blocks.iter().map(|b| b.shape.knots).max().unwrap_or(0) * config.outputs;
        let parts = window_parts(self.n, threads);
        let lays_out = lays_out(network, self.n);
        if leaves_zeros(config.activation) {
            for (tape, block) in self.tapes.iter_mut().zip(&network.blocks) {
                // The first layer has no activation.
                for (live, layer) in tape.live.iter_mut().zip(&block.layers).skip(1) {
                    fit(live, parts.len() * bytes_of_bits(layer.outputs));
                }
            }
        }
        let mut tapes: Vec<TapeRows> = self
            .tapes
            .iter_mut()
            .map(|t| TapeRows {
                x: &mut t.x,
                at: &mut t.at,
                folded: t.folded.as_ref(),
                hidden: t.hidden.iter_mut().map(|h| &mut h[..]).collect(),
                dropped: t.dropped.iter_mut().map(|d| &mut d[..]).collect(),
                live: t.live.iter_mut().map(|l| &mut l[..]).collect(),
                panels: if lays_out { &t.panels } else { &[] },
            })
            .collect();
        let (mut residual, mut mask) = (&mut self.residual[..], &mut self.mask[..]);
        let (mut forecast, mut all_theta, mut all_knots) =
            (&mut self.forecast[..], &mut self.theta[..], &mut self.knots[..]);
        parts
            .into_iter()
            .map(|rows| {
                let tapes = tapes
                    .iter_mut()
                    .zip(&network.blocks)
                    .map(|(t, block)| TapeRows {
                        x: take(&mut t.x, rows * block.shape.inputs),
                        at: take_if_any(&mut t.at, rows * block.pooled),
                        folded: t.folded,
                        hidden: (t.hidden.iter_mut().zip(&block.layers))
                            .map(|(h, layer)| take_if_any(h, rows * layer.outputs))
                            .collect(),
                        dropped: (t.dropped.iter_mut().zip(&block.layers))
                            .map(|(d, layer)| take_if_any(d, rows * layer.outputs))
                            .collect(),
                        live: (t.live.iter_mut().zip(&block.layers))
                            .map(|(l, layer)| take_if_any(l, bytes_of_bits(layer.outputs)))
                            .collect(),
                        panels: t.panels,
                    })
                    .collect();
                let buffers = Rows {
                    tapes,
                    residual: take(&mut residual, rows * config.input_size),
                    mask: take(&mut mask, rows * config.input_size),
                    forecast: take(&mut forecast, rows * config.horizon * config.outputs),
                    theta: take(&mut all_theta, rows * theta),
                    knots: take(&mut all_knots, rows * knots),
                };
                (rows, buffers)
            })
            .collect()
    }
}

/// `out = f(x W + b)` for `rows` rows, without `f` where there is no activation; `zeros` says where values of `x` are zero.
pub(super) fn linear(
    layer: Linear,
    rows: usize,
    x: &[f32],
    zeros: Zeros,
    activation: Option<Activation>,
    out: &mut [f32],
) {
    if rows == 1 && layer.inputs > FEW_TERMS {
        row(x, layer, out);
    } else {
        let weight = layer.columns(0);
        let x = Matrix::new(x, rows, layer.inputs).with_zeros(zeros);
        let out = MatrixMut::new(out, rows, layer.outputs);
        if activation == Some(Activation::Relu) {
            return product_then(x, weight, None, out, Then::BiasRelu(layer.bias));
        }
        product_then(x, weight, None, out, Then::Bias(layer.bias));
    }
    if let Some(activation) = activation {
        activate(activation, out);
    }
}

/// Sums of so few terms are added to what is there term by term, for one row as for many.
const FEW_TERMS: usize = 2;

/// `out = x W + b` for one row, of the last columns that `out` has room for. The bias comes last, as it does to the sums
/// of many rows, so that a window alone has the forecast that it has among others.
pub(super) fn row(x: &[f32], layer: Linear, out: &mut [f32]) {
    let skipped = layer.outputs - out.len();
    out.fill(0.0);
    add_row_product(x, &layer.weight[skipped..], layer.outputs, out);
    out.iter_mut().zip(&layer.bias[skipped..]).for_each(|(out, b)| *out += b);
}

/// The target of `rows` windows and its mask, newest first.
pub(super) fn reversed(x: &[f32], steps: usize, out: &mut [f32]) {
    for (out, x) in out.chunks_exact_mut(steps).zip(x.chunks_exact(steps)) {
        out.iter_mut().zip(x.iter().rev()).for_each(|(out, x)| *out = *x);
    }
}

/// Adds the interpolated knots `[rows, Q * knots]` to the forecast `[rows, Q * H]`.
pub(super) fn interpolate(network: &HostNetwork, block: &BlockPlan, rows: usize, knots: &[f32], forecast: &mut [f32]) {
    let (lines, horizon) = (rows * network.config.outputs, network.config.horizon);
    match &block.basis {
        None => forecast.iter_mut().zip(knots).for_each(|(sum, part)| *sum += part),
        Some(basis) if lines == 1 && block.shape.knots > FEW_TERMS => {
            let mut part = vec![0.0; horizon];
            add_row_product(knots, basis, horizon, &mut part);
            forecast.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        Some(basis) => product(
            Matrix::new(knots, lines, block.shape.knots),
            Matrix::new(basis, block.shape.knots, horizon),
            MatrixMut::new(forecast, lines, horizon),
            true,
        ),
    }
}

/// The windows from `first` on, as many as `rows`, through all blocks.
fn forward_rows(
    network: &HostNetwork,
    weights: &[f32],
    input: &HostInput,
    first: usize,
    rows: usize,
    buffers: Rows,
    dropout: Option<DropoutKey>,
) {
    let config = &network.config;
    let (steps, outputs) = (config.input_size, config.horizon * config.outputs);
    let Rows { mut tapes, residual, mask, forecast, theta, knots } = buffers;
    let y = &input.insample_y[first * steps..(first + rows) * steps];
    reversed(y, steps, residual);
    reversed(&input.insample_mask[first * steps..(first + rows) * steps], steps, mask);
    // The level: the last value of each window.
    for (out, y) in forecast.chunks_exact_mut(outputs).zip(y.chunks_exact(steps)) {
        out.fill(y[steps - 1]);
    }
    let last = network.blocks.len() - 1;
    let (activation, zeros) = (Some(config.activation), zeros_of(config));
    let mut number_of_mask = 0;
    for (number, (block, tape)) in network.blocks.iter().zip(&mut tapes).enumerate() {
        block_input(network, block, input, first, residual, tape.x, Some(&mut *tape.at));
        let hidden = block.layers.len() - 1;
        for i in 0..hidden {
            let layer = Linear { panels: tape.panels.get(i), ..block.layers[i].of(weights) };
            let (before, now) = tape.hidden.split_at_mut(i);
            match (i, tape.folded) {
                // Together with the next one.
                (0, Some(_)) => {}
                // There is no activation after the first layer.
                (0, None) => linear(layer, rows, tape.x, Zeros::Few, None, now[0]),
                (1, Some(folded)) => linear(folded.linear(), rows, tape.x, Zeros::Few, activation, now[0]),
                _ => linear(layer, rows, before[i - 1], zeros.when(i > 1), activation, now[0]),
            }
            if i == 0 {
                continue;
            }
            if let Some(key) = &dropout {
                let drawn = Mask::new(key, number_of_mask, config.dropout, layer.outputs);
                drop_units(&drawn, first, layer.outputs, now[0], tape.dropped[i]);
            }
            if zeros.are_many() {
                live_units(now[0], layer.outputs, tape.live[i]);
            }
            number_of_mask += 1;
        }
        let output = Linear { panels: tape.panels.get(hidden), ..block.layers[hidden].of(weights) };
        let x: &[f32] = tape.hidden[hidden - 1];
        let n_knots = block.shape.knots * config.outputs;
        let knots = &mut knots[..rows * n_knots];
        if number == last {
            only_knots(output, rows, steps, x, zeros.when(hidden > 1), knots);
        } else {
            let theta = &mut theta[..rows * block.shape.theta];
            linear(output, rows, x, zeros.when(hidden > 1), None, theta);
            explain(theta, steps, residual, mask, knots);
        }
        interpolate(network, block, rows, knots, forecast);
    }
}

/// The input of a block: the pooled residual, then the covariates. `at` learns where the largest values were.
pub(super) fn block_input(
    network: &HostNetwork,
    block: &BlockPlan,
    input: &HostInput,
    first: usize,
    residual: &[f32],
    x: &mut [f32],
    mut at: Option<&mut [u32]>,
) {
    let (steps, kernel) = (network.config.input_size, block.shape.pool_kernel);
    for (row, (x, residual)) in x.chunks_exact_mut(block.shape.inputs).zip(residual.chunks_exact(steps)).enumerate() {
        let (target, columns) = x.split_at_mut(block.pooled);
        let at = at
            .as_deref_mut()
            .filter(|at| !at.is_empty())
            .map(|at| &mut at[row * block.pooled..(row + 1) * block.pooled]);
        pool(network.config.pooling_mode, kernel, residual, target, at);
        if !columns.is_empty() {
            covariates(network, kernel, input, first + row, columns);
        }
    }
}

/// The knots alone, from their columns of the last layer: what the last block needs.
pub(super) fn only_knots(layer: Linear, rows: usize, steps: usize, x: &[f32], zeros: Zeros, knots: &mut [f32]) {
    let n = layer.outputs - steps;
    if rows == 1 && layer.inputs > FEW_TERMS {
        return row(x, layer, knots);
    }
    let x = Matrix::new(x, rows, layer.inputs).with_zeros(zeros);
    product_then(x, layer.columns(steps), None, MatrixMut::new(knots, rows, n), Then::Bias(&layer.bias[steps..]));
}

/// Takes the backcast in `theta` off the residual, and the knots out of it.
pub(super) fn explain(theta: &[f32], steps: usize, residual: &mut [f32], mask: &[f32], knots: &mut [f32]) {
    let rows = residual.len() / steps;
    let (theta_width, n_knots) = (theta.len() / rows.max(1), knots.len() / rows.max(1));
    for (row, theta) in theta.chunks_exact(theta_width.max(1)).enumerate() {
        let (backcast, these) = theta.split_at(steps);
        let at = row * steps..(row + 1) * steps;
        for ((r, b), m) in residual[at.clone()].iter_mut().zip(backcast).zip(&mask[at]) {
            *r = (*r - b) * m;
        }
        knots[row * n_knots..(row + 1) * n_knots].copy_from_slice(these);
    }
}

/// Drops units of `x` `[rows, units]` and writes down which.
fn drop_units(drawn: &Mask, first: usize, units: usize, x: &mut [f32], dropped: &mut [u8]) {
    let kept = drawn.kept();
    for (row, (x, dropped)) in x.chunks_exact_mut(units).zip(dropped.chunks_exact_mut(units)).enumerate() {
        drawn.row(first + row, dropped, 1u8, 0);
        // Times 0, not replaced by 0: what is no number stays.
        x.iter_mut().zip(&*dropped).for_each(|(x, d)| *x *= if *d == 0 { kept } else { 0.0 });
    }
}
