//! From the gradient of the forecast to that of every weight.
//!
//! Block by block from the last to the first: first the gradients of the layers' values, window by window, then those of
//! the weights, each a product over the whole batch. So no gradient is added up over parts of a batch, and each sum is
//! taken in the same order for any number of threads.

use rayon::ThreadPool;

use super::super::dropout::scale_of_kept;
use super::super::{Activation, PoolingMode};
use super::fold::unfold;
use super::forward::{Pass, Tape, first_column, fit, lays_out, row_parts, side_by_side, take, window_parts};
use super::input::unpool;
use super::layout::{BlockPlan, HostNetwork, Layer};
use super::units::{bytes_of_bits, column_sums, slopes, zeros_of};
use crate::kernel::{Matrix, MatrixMut, Panels, Then, Zeros, product, product_then};

/// Buffers of the way back, one row per window.
#[derive(Debug, Default)]
pub(super) struct Back {
    /// Gradient of what a block leaves of the input, `[B, L]`.
    residual: Vec<f32>,
    /// Gradients of the block's layers before activation; the last one's are those of theta.
    layers: Vec<Vec<f32>>,
    /// Gradient of the knots, `[B, Q * knots]`.
    knots: Vec<f32>,
    /// Gradient of the pooled target, `[B, pooled]`.
    pooled: Vec<f32>,
    /// Gradients of the weight and the bias of a block's first two layers as one, that of the weight `[units, inputs]`.
    folded: (Vec<f32>, Vec<f32>),
    /// The gradients of a block's layers, as the products for those of the weights read them.
    panels: Vec<Panels>,
}

/// Parts of a layer's gradients for each thread.
const PARTS_OF_A_THREAD: usize = 2;

/// The buffers of some windows.
struct Rows<'a> {
    residual: &'a mut [f32],
    layers: Vec<&'a mut [f32]>,
    knots: &'a mut [f32],
    pooled: &'a mut [f32],
}

impl Pass {
    /// Writes the gradients of all weights, laid out as they, for the gradient `forecast` `[B, Q * H]` (quantile-major) of
    /// the forecast that [`Pass::forward`] gave last.
    ///
    /// # Panics
    /// When the lengths are not those of the network and the batch.
    pub fn backward(
        &mut self,
        network: &HostNetwork,
        weights: &[f32],
        forecast: &[f32],
        gradients: &mut [f32],
        pool: &ThreadPool,
    ) {
        let config = &network.config;
        assert_eq!(weights.len(), network.n_weights(), "weights");
        assert_eq!(gradients.len(), network.n_weights(), "gradients");
        assert_eq!(forecast.len(), self.n * config.horizon * config.outputs, "the forecast's gradient");
        let n = self.n;
        let mut back = std::mem::take(&mut self.back);
        fit(&mut back.residual, n * config.input_size);
        back.residual.fill(0.0);
        let mut gradients = gradients;
        let parts = window_parts(n, pool.current_num_threads()).len();
        let live: Vec<Vec<Vec<u8>>> =
            self.tapes.iter().zip(&network.blocks).map(|(tape, block)| live_in_any(tape, block, parts)).collect();
        self.lay_out_transposed(network, weights, &live, pool);
        for number in (0..network.blocks.len()).rev() {
            let (block, live) = (&network.blocks[number], &live[number]);
            let tape = &self.tapes[number];
            values(network, number, weights, forecast, tape, live, &self.mask, n, &mut back, pool);
            let (rest, these) = gradients.split_at_mut(block.layers[0].weight.start);
            let from =
                Gradients { skip: first_column(network, number), zeros: zeros_of(config), values: &back.layers, live };
            let panels = lays_out(network, n).then_some(&mut back.panels);
            weight_gradients(block, from, weights, tape, n, these, panels, &mut back.folded, pool);
            gradients = rest;
        }
        self.back = back;
    }

    /// Lays the weights out through which gradients go back, those of units that have some.
    fn lay_out_transposed(&mut self, network: &HostNetwork, weights: &[f32], live: &[Vec<Vec<u8>>], pool: &ThreadPool) {
        if !lays_out(network, self.n) {
            return;
        }
        let mut tasks: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
        for (number, ((tape, block), live)) in self.tapes.iter_mut().zip(&network.blocks).zip(live).enumerate() {
            // A layer's input is the layer before it.
            let layers = tape.panels.iter_mut().zip(&block.layers).skip(2).zip(live.iter().skip(1));
            for (i, ((panels, layer), live)) in (2..).zip(layers) {
                let last = i + 1 == block.layers.len();
                let skip = if last { first_column(network, number) } else { 0 };
                let weight = layer.of(weights).columns(skip).transposed();
                let zeros = of_gradient(zeros_of(&network.config), last);
                tasks.extend(
                    panels.lay_out(weight, Some(live), zeros).map(|task| Box::new(task) as Box<dyn FnOnce() + Send>),
                );
            }
        }
        side_by_side(Some(pool), tasks);
    }
}

/// Where a layer's gradient is zero on its way back. That of theta, the last one's, is not, but units that need no gradient are
/// left out as well where a product looks for zeros.
fn of_gradient(zeros: Zeros, last: bool) -> Zeros {
    if last { Zeros::Alike.when(zeros.are_many()) } else { zeros }
}

/// A bit for each unit of each hidden layer that is not zero in all windows; none where that is not known.
fn live_in_any(tape: &Tape, block: &BlockPlan, parts: usize) -> Vec<Vec<u8>> {
    let of_layer = |(live, units): (&Vec<u8>, usize)| {
        let bytes = bytes_of_bits(units);
        let mut any = vec![0; if live.is_empty() { 0 } else { bytes }];
        for part in live.chunks_exact(bytes).take(parts) {
            any.iter_mut().zip(part).for_each(|(any, part)| *any |= part);
        }
        any
    };
    tape.live.iter().zip(block.layers.iter().map(|layer| layer.outputs)).map(of_layer).collect()
}

/// Gradients of the values of block `number`.
#[allow(clippy::too_many_arguments)]
fn values(
    network: &HostNetwork,
    number: usize,
    weights: &[f32],
    forecast: &[f32],
    tape: &Tape,
    live: &[Vec<u8>],
    mask: &[f32],
    n: usize,
    back: &mut Back,
    pool: &ThreadPool,
) {
    let (config, block) = (&network.config, &network.blocks[number]);
    let skip = first_column(network, number);
    let widths: Vec<usize> = block
        .layers
        .iter()
        .enumerate()
        .map(|(i, layer)| if i + 1 == block.layers.len() { layer.outputs - skip } else { layer.outputs })
        .collect();
    let n_knots = block.shape.knots * config.outputs;
    if back.layers.len() < widths.len() {
        back.layers.resize_with(widths.len(), Vec::new);
    }
    // Of two layers that are one, the first has no values.
    let unused = usize::from(tape.folded.is_some());
    back.layers.iter_mut().zip(&widths).skip(unused).for_each(|(buffer, width)| fit(buffer, n * width));
    fit(&mut back.knots, n * n_knots);
    fit(&mut back.pooled, n * block.pooled);
    let mut layers: Vec<&mut [f32]> = back.layers.iter_mut().map(|l| &mut l[..]).collect();
    let (mut residual, mut knots, mut pooled) = (&mut back.residual[..], &mut back.knots[..], &mut back.pooled[..]);
    let panels = if lays_out(network, n) { &tape.panels } else { &[][..] };
    let mut first = 0;
    let mut tasks: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    for rows in window_parts(n, pool.current_num_threads()) {
        let buffers = Rows {
            residual: take(&mut residual, rows * config.input_size),
            layers: (layers.iter_mut().zip(&widths).enumerate())
                .map(|(i, (l, width))| if i < unused { &mut [][..] } else { take(l, rows * width) })
                .collect(),
            knots: take(&mut knots, rows * n_knots),
            pooled: take(&mut pooled, rows * block.pooled),
        };
        let from = first;
        tasks.push(Box::new(move || {
            value_rows(network, number, weights, forecast, tape, live, panels, mask, from, rows, buffers);
        }));
        first += rows;
    }
    side_by_side(Some(pool), tasks);
}

/// Gradients of the values of block `number` for the windows from `first` on, as many as `rows`.
#[allow(clippy::too_many_arguments)]
fn value_rows(
    network: &HostNetwork,
    number: usize,
    weights: &[f32],
    forecast: &[f32],
    tape: &Tape,
    live: &[Vec<u8>],
    panels: &[Panels],
    mask: &[f32],
    first: usize,
    rows: usize,
    buffers: Rows,
) {
    let (config, block) = (&network.config, &network.blocks[number]);
    let (steps, horizon) = (config.input_size, config.horizon);
    let Rows { residual, mut layers, knots, pooled } = buffers;
    let skip = first_column(network, number);
    let per_window = horizon * config.outputs;
    let forecast = &forecast[first * per_window..(first + rows) * per_window];
    let lines = rows * config.outputs;
    match &block.basis {
        None => knots.copy_from_slice(forecast),
        Some(basis) => product(
            Matrix::new(forecast, lines, horizon),
            Matrix::new(basis, block.shape.knots, horizon).transposed(),
            MatrixMut::new(knots, lines, block.shape.knots),
            false,
        ),
    }
    let output = block.layers.len() - 1;
    if skip > 0 {
        layers[output].copy_from_slice(knots);
    } else {
        let mask = &mask[first * steps..(first + rows) * steps];
        residual.iter_mut().zip(mask).for_each(|(r, m)| *r *= m);
        let (width, n_knots) = (block.layers[output].outputs, block.shape.knots * config.outputs);
        for (row, theta) in layers[output].chunks_exact_mut(width).enumerate() {
            let (backcast, at_knots) = theta.split_at_mut(steps);
            let left = &residual[row * steps..(row + 1) * steps];
            backcast.iter_mut().zip(left).for_each(|(b, r)| *b = -r);
            at_knots.copy_from_slice(&knots[row * n_knots..(row + 1) * n_knots]);
        }
    }
    let first_layer = usize::from(tape.folded.is_some());
    // Gradients through an activation: not those of theta, nor of the first layer where it is on its own.
    let zeros = zeros_of(config);
    for i in (first_layer..output).rev() {
        let layer = &block.layers[i + 1];
        let skipped = if i + 1 == output { skip } else { 0 };
        let (to, from) = layers.split_at_mut(i + 1);
        let units = layer.inputs;
        let kept = layer.outputs - skipped;
        let g = Matrix::new(from[0], rows, kept).with_zeros(of_gradient(zeros, i + 1 == output));
        let weight = layer.of(weights).columns(skipped).transposed();
        let weight = panels.get(i + 1).map_or(weight, |panels| weight.with_panels(panels));
        let out = MatrixMut::new(to[i], rows, units);
        if i == 0 {
            product(g, weight, out, false);
            continue;
        }
        let these = first * units..(first + rows) * units;
        let y = &tape.hidden[i][these.clone()];
        if config.activation == Activation::Relu {
            // A unit that is zero in all windows has no gradient: the slope is zero there.
            let live = &live[i];
            if config.dropout == 0.0 {
                product_then(g, weight, Some(live), out, Then::Where(y));
                continue;
            }
            product_then(g, weight, Some(live), out, Then::Write);
        } else {
            product(g, weight, out, false);
        }
        through(config, y, tape.dropped[i].get(these), to[i]);
    }
    if number > 0 {
        let layer = tape.folded.as_ref().map_or_else(|| block.layers[0].of(weights), |folded| folded.linear());
        // Only the gradient to the pooled target is read: its rows of the weight come first.
        let weight = &layer.weight[..block.pooled * layer.outputs];
        product(
            Matrix::new(layers[first_layer], rows, layer.outputs).with_zeros(zeros.when(first_layer > 0)),
            Matrix::new(weight, block.pooled, layer.outputs).transposed(),
            MatrixMut::new(pooled, rows, block.pooled),
            false,
        );
        let chosen = config.pooling_mode == PoolingMode::Max && block.shape.pool_kernel > 1;
        for (row, (g, to)) in pooled.chunks_exact(block.pooled).zip(residual.chunks_exact_mut(steps)).enumerate() {
            let at = (first + row) * block.pooled;
            let at = if chosen { &tape.at[at..at + block.pooled] } else { &[] };
            unpool(config.pooling_mode, block.shape.pool_kernel, g, at, to);
        }
    }
}

/// The gradient `g` of a layer's values back through dropout and activation; `y` are the values after both.
fn through(config: &super::super::Checked, y: &[f32], dropped: Option<&[u8]>, g: &mut [f32]) {
    match dropped.filter(|_| config.dropout > 0.0) {
        None => slopes(config.activation, y, g),
        Some(dropped) => {
            let kept = scale_of_kept(config.dropout);
            let mut values = [0.0f32; 64];
            for ((y, dropped), g) in y.chunks(64).zip(dropped.chunks(64)).zip(g.chunks_mut(64)) {
                let values = &mut values[..y.len()];
                // The slopes are told by the values before dropout.
                values.iter_mut().zip(y).for_each(|(v, y)| *v = y / kept);
                g.iter_mut().zip(dropped).for_each(|(g, d)| *g *= if *d == 0 { kept } else { 0.0 });
                slopes(config.activation, values, g);
            }
        }
    }
}

/// What the gradients of a block's weights come from.
#[derive(Clone, Copy)]
struct Gradients<'a> {
    /// Those of the layers' values; the last layer's without the first `skip` columns, which no one reads.
    values: &'a [Vec<f32>],
    skip: usize,
    /// Where the activation leaves zeros.
    zeros: Zeros,
    /// A bit for each unit of each hidden layer that is not zero in all windows.
    live: &'a [Vec<u8>],
}

impl<'a> Gradients<'a> {
    /// Those of layer `i` for `n` windows.
    fn of(&self, i: usize, n: usize, layer: &Layer, last: bool) -> Gradient<'a> {
        let width = layer.outputs - if last { self.skip } else { 0 };
        // There is no activation after the first layer.
        let live = (self.zeros.are_many() && i > 1 && !last).then(|| &self.live[i][..]);
        Gradient { values: &self.values[i][..n * width], zeros: self.zeros.when(i > 0 && !last), live, panels: None }
    }
}

/// Writes the gradients of a block's weights to `gradients`; lays those of the values out in `panels` if there are any.
#[allow(clippy::too_many_arguments)]
fn weight_gradients(
    block: &BlockPlan,
    from: Gradients,
    weights: &[f32],
    tape: &Tape,
    n: usize,
    gradients: &mut [f32],
    panels: Option<&mut Vec<Panels>>,
    (folded_weight, folded_bias): &mut (Vec<f32>, Vec<f32>),
    pool: &ThreadPool,
) {
    let last = block.layers.len() - 1;
    let mut tasks: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    let panels = match panels {
        None => &[][..],
        Some(panels) => {
            panels.resize_with(block.layers.len().max(panels.len()), Panels::default);
            for (i, (panels, layer)) in panels.iter_mut().zip(&block.layers).enumerate().skip(2) {
                let g = from.of(i, n, layer, i == last);
                let tasks_of_layer = panels.lay_out(g.matrix(n), g.live, from.zeros);
                tasks.extend(tasks_of_layer.map(|task| Box::new(task) as Box<dyn FnOnce() + Send>));
            }
            side_by_side(Some(pool), tasks);
            &panels[..]
        }
    };
    let (mut tasks, mut biases): (Vec<Box<dyn FnOnce() + Send>>, Vec<Box<dyn FnOnce() + Send>>) =
        (Vec::new(), Vec::new());
    let mut rest = gradients;
    let mut of_pair: &mut [f32] = &mut [];
    if tape.folded.is_some() {
        let (a, b) = (&block.layers[0], &block.layers[1]);
        of_pair = take(&mut rest, b.bias.end - a.weight.start);
        folded_weight.resize(a.inputs * b.outputs, 0.0);
        folded_bias.resize(b.outputs, 0.0);
        let x = Matrix::new(&tape.x[..n * a.inputs], n, a.inputs);
        let gradient = from.of(1, n, b, false);
        // Unit by unit, so that only one task looks for what is not zero in a unit's gradients.
        let (mut weight, mut first) = (&mut folded_weight[..], 0);
        for units in row_parts(b.outputs, PARTS_OF_A_THREAD * pool.current_num_threads()) {
            let (at, to) = (first, take(&mut weight, units * a.inputs));
            first += units;
            tasks.push(Box::new(move || {
                let g = gradient.matrix(n).columns(at, units).transposed();
                product(g, x, MatrixMut::new(to, units, a.inputs), false);
            }));
        }
        biases.push(Box::new(|| column_sums(gradient.values, folded_bias)));
    }
    for (i, layer) in block.layers.iter().enumerate().skip(if of_pair.is_empty() { 0 } else { 2 }) {
        let x: &[f32] = if i == 0 { &tape.x } else { &tape.hidden[i - 1] };
        let weight = take(&mut rest, layer.inputs * layer.outputs);
        let bias = take(&mut rest, layer.outputs);
        let x = Matrix::new(&x[..n * layer.inputs], n, layer.inputs).with_zeros(from.zeros.when(i > 1));
        let g = Gradient { panels: panels.get(i).filter(|_| i > 1), ..from.of(i, n, layer, i == last) };
        gradients_of_layer(x, g, weight, bias, pool, &mut tasks, &mut biases);
    }
    // The short ones last, so that no thread waits long for the others.
    tasks.extend(biases);
    side_by_side(Some(pool), tasks);
    if !of_pair.is_empty() {
        unfold(block, weights, folded_weight, folded_bias, of_pair, pool);
    }
}

/// The gradient of a layer's values, or of the last of them where the others are not read.
#[derive(Clone, Copy)]
struct Gradient<'a> {
    /// `[B, values]`.
    values: &'a [f32],
    /// Where they are zero.
    zeros: Zeros,
    /// A bit for each value that is not zero in all windows, where that is known.
    live: Option<&'a [u8]>,
    /// Those values as products read them.
    panels: Option<&'a Panels>,
}

impl<'a> Gradient<'a> {
    /// Of `n` windows.
    fn matrix(&self, n: usize) -> Matrix<'a> {
        let matrix = Matrix::new(self.values, n, self.values.len() / n.max(1)).with_zeros(self.zeros);
        self.panels.map_or(matrix, |panels| matrix.with_panels(panels))
    }
}

/// Adds the tasks that write the gradients of one layer's weight and bias, from its input `x` and the gradient of its values.
fn gradients_of_layer<'a>(
    x: Matrix<'a>,
    gradient: Gradient<'a>,
    mut weight: &'a mut [f32],
    bias: &'a mut [f32],
    pool: &ThreadPool,
    tasks: &mut Vec<Box<dyn FnOnce() + Send + 'a>>,
    biases: &mut Vec<Box<dyn FnOnce() + Send + 'a>>,
) {
    let n = x.rows();
    let (outputs, width) = (bias.len(), gradient.values.len() / n.max(1));
    let (inputs, skipped) = (weight.len() / outputs, outputs - width);
    let mut first = 0;
    // More parts than threads: one that is done takes the next.
    for rows in row_parts(inputs, PARTS_OF_A_THREAD * pool.current_num_threads()) {
        let (from, to) = (first, take(&mut weight, rows * outputs));
        first += rows;
        tasks.push(Box::new(move || {
            // What no one reads has no gradient; an update may have left something there.
            to.chunks_exact_mut(outputs).for_each(|row| row[..skipped].fill(0.0));
            let x = x.columns(from, rows).transposed();
            let to = MatrixMut::new(to, rows, outputs).columns(skipped, width);
            product_then(x, gradient.matrix(n), gradient.live, to, Then::Write);
        }));
    }
    biases.push(Box::new(move || {
        let (unread, bias) = bias.split_at_mut(skipped);
        unread.fill(0.0);
        column_sums(gradient.values, bias);
    }));
}
