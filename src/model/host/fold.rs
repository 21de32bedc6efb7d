//! A block's first two linear layers, between which there is no activation, as one.
//!
//! `(x W0 + b0) W1 + b1 = x (W0 W1) + (b0 W1 + b1)`: one product of two is left, and its matrix has to be made once per
//! set of weights. The way back is the same in reverse: from the gradient `M'` of `M = W0 W1`, that of `W0` is `M' W1^T`
//! and that of `W1` is `W0^T M' + b0 s`, with `s` the gradient of the folded bias.

use rayon::ThreadPool;

use super::super::Activation;
use super::forward::{row, row_parts, side_by_side, take};
use super::layout::{BlockPlan, Layer, Linear};
use super::units::leaves_zeros;
use crate::kernel::{Matrix, MatrixMut, product};

/// The two layers as one.
#[derive(Debug, Default)]
pub(super) struct Folded {
    /// `[inputs, units of the second]`.
    weight: Vec<f32>,
    /// `[units of the second]`.
    bias: Vec<f32>,
}

/// The two layers, where a block has two with nothing between them.
fn pair(block: &BlockPlan) -> Option<[&Layer; 2]> {
    match &block.layers[..] {
        [first, second, _, ..] if !block.folded => Some([first, second]),
        _ => None,
    }
}

/// Whether the folded layer has fewer products in a forecast, however few windows: not where the first is narrow.
pub(super) fn pays(block: &BlockPlan) -> bool {
    pair(block).is_some_and(|[a, b]| a.inputs * b.outputs < b.inputs * (a.inputs + b.outputs))
}

/// What a product costs whose gradients are full of zeros ([`leaves_zeros`]), in parts of [`WHOLE`].
const WITH_ZEROS: usize = 6;
/// What other products cost.
const WHOLE: usize = 10;

/// Whether a training step of `n` windows costs less with the layers folded, the folding itself among it.
pub(super) fn pays_in_training(block: &BlockPlan, activation: Activation, n: usize) -> bool {
    let Some([a, b]) = pair(block) else { return false };
    let (inputs, between, units) = (a.inputs, b.inputs, b.outputs);
    let behind = if leaves_zeros(activation) { WITH_ZEROS } else { WHOLE };
    // Forward, gradients of the weights, gradients of the values; behind the second layer is the activation.
    let first = (2 * inputs + block.pooled) * between * WHOLE;
    let apart = first + between * units * (WHOLE + 2 * behind);
    let folded = inputs * units * (WHOLE + behind) + block.pooled * units * behind;
    n * folded + 3 * inputs * between * units * WHOLE < n * apart
}

impl Folded {
    /// As a layer.
    pub fn linear(&self) -> Linear<'_> {
        let outputs = self.bias.len();
        Linear { weight: &self.weight, bias: &self.bias, inputs: self.weight.len() / outputs, outputs, panels: None }
    }
}

/// Folds the first layers of some blocks. How many threads there are changes no bit.
pub(super) fn fold<'a>(
    blocks: impl Iterator<Item = (&'a BlockPlan, &'a mut Folded)>,
    weights: &'a [f32],
    pool: Option<&ThreadPool>,
) {
    let mut tasks: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    for (block, folded) in blocks {
        let Some([a, b]) = pair(block) else { continue };
        let (first, second) = (a.of(weights), b.of(weights));
        folded.weight.resize(first.inputs * second.outputs, 0.0);
        folded.bias.resize(second.outputs, 0.0);
        row(first.bias, second, &mut folded.bias);
        let mut rest = &mut folded.weight[..];
        let mut from = first.weight;
        for rows in row_parts(first.inputs, pool.map_or(1, ThreadPool::current_num_threads)) {
            let to = take(&mut rest, rows * second.outputs);
            let (these, others) = from.split_at(rows * first.outputs);
            from = others;
            tasks.push(Box::new(move || {
                let w = Matrix::new(second.weight, second.inputs, second.outputs);
                let to = MatrixMut::new(to, rows, second.outputs);
                product(Matrix::new(these, rows, first.outputs), w, to, false);
            }));
        }
    }
    side_by_side(pool, tasks);
}

/// Gradients of the two layers of `block`, which were folded: `gradients` as they lie among all (weight and bias of the first, then of the second),
/// from that of the folded layer: `weight` `[inputs, units]` and `bias` `[units]`.
pub(super) fn unfold(
    block: &BlockPlan,
    weights: &[f32],
    weight: &[f32],
    bias: &[f32],
    gradients: &mut [f32],
    pool: &ThreadPool,
) {
    let Some([a, b]) = pair(block) else { return };
    let (first, second) = (a.of(weights), b.of(weights));
    let (inputs, between, units) = (first.inputs, second.inputs, second.outputs);
    let mut rest = gradients;
    let mut first_weight = take(&mut rest, inputs * between);
    let first_bias = take(&mut rest, between);
    let mut second_weight = take(&mut rest, between * units);
    take(&mut rest, units).copy_from_slice(bias);
    let w0 = Matrix::new(first.weight, inputs, between);
    let w1 = Matrix::new(second.weight, between, units);
    let turned = Matrix::new(weight, units, inputs);
    let threads = pool.current_num_threads();
    let mut tasks: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    let mut skip = 0;
    for rows in row_parts(inputs, threads) {
        let to = MatrixMut::new(take(&mut first_weight, rows * between), rows, between);
        let these = turned.columns(skip, rows).transposed();
        skip += rows;
        tasks.push(Box::new(move || product(these, w1.transposed(), to, false)));
    }
    let mut skip = 0;
    for rows in row_parts(between, threads) {
        let (at, to) = (skip, take(&mut second_weight, rows * units));
        skip += rows;
        tasks.push(Box::new(move || {
            product(w0.columns(at, rows).transposed(), turned.transposed(), MatrixMut::new(to, rows, units), false);
            for (to, b0) in to.chunks_exact_mut(units).zip(&first.bias[at..at + rows]) {
                to.iter_mut().zip(bias).for_each(|(to, s)| *to += b0 * s);
            }
        }));
    }
    tasks.push(Box::new(move || {
        product(w1, Matrix::new(bias, units, 1), MatrixMut::new(first_bias, between, 1), false);
    }));
    side_by_side(Some(pool), tasks);
}
