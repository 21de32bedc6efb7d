//! What happens to a layer's values beside the product: bias, activation, dropout, and their slopes.

use super::super::activation::{LEAKY_SLOPE, SELU_ALPHA, SELU_GAMMA};
use super::super::{Activation, Checked};
use crate::kernel::{Zeros, relu, relu_slopes};

/// Adds the columns of `x` `[rows, width]` up.
pub(super) fn column_sums(x: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    for row in x.chunks_exact(out.len()) {
        out.iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
    }
}

/// Bytes with a bit for each of so many units.
pub(super) fn bytes_of_bits(units: usize) -> usize {
    units.div_ceil(8)
}

/// Sets the bit of each unit that has a value in a row of `x` `[rows, units]`, from the lowest bit of the first byte on: the
/// others are zero in every row.
pub(super) fn live_units(x: &[f32], units: usize, live: &mut [u8]) {
    const TOGETHER: usize = 64;
    for (number, live) in live.chunks_mut(TOGETHER / 8).enumerate() {
        let these = number * TOGETHER..units.min((number + 1) * TOGETHER);
        let mut bits = [0u32; TOGETHER];
        for row in x.chunks_exact(units) {
            bits.iter_mut().zip(&row[these.clone()]).for_each(|(bits, x)| *bits |= x.to_bits());
        }
        for (live, bits) in live.iter_mut().zip(bits.chunks(8)) {
            *live = bits.iter().enumerate().fold(0, |live, (i, bits)| live | u8::from(*bits != 0) << i);
        }
    }
}

/// Whether so many values are zero after this activation, and gradients before it, that products look for them.
pub(super) fn leaves_zeros(activation: Activation) -> bool {
    activation == Activation::Relu
}

/// Where they are, in training.
pub(super) fn zeros_of(config: &Checked) -> Zeros {
    let zeros = if config.dropout > 0.0 { Zeros::Scattered } else { Zeros::Alike };
    zeros.when(leaves_zeros(config.activation))
}

/// The activation of every value, in place. What is no number stays so.
pub(super) fn activate(activation: Activation, x: &mut [f32]) {
    let (alpha, gamma) = (SELU_ALPHA as f32, SELU_GAMMA as f32);
    let leak = LEAKY_SLOPE as f32;
    match activation {
        Activation::Relu => relu(x),
        Activation::Softplus => x.iter_mut().for_each(|v| *v = v.max(0.0) + (-v.abs()).exp().ln_1p()),
        Activation::Tanh => x.iter_mut().for_each(|v| *v = v.tanh()),
        Activation::Selu => x.iter_mut().for_each(|v| {
            *v = if *v > 0.0 { *v * gamma } else { (v.exp() - 1.0) * (alpha * gamma) };
        }),
        Activation::LeakyRelu | Activation::PRelu => {
            x.iter_mut().for_each(|v| *v = if *v < 0.0 { *v * leak } else { *v })
        }
        Activation::Sigmoid => x.iter_mut().for_each(|v| *v = 1.0 / (1.0 + (-*v).exp())),
    }
}

/// Multiplies the gradient `g` by the activation's slope, told by its value `y`.
pub(super) fn slopes(activation: Activation, y: &[f32], g: &mut [f32]) {
    let (alpha, gamma) = (SELU_ALPHA as f32, SELU_GAMMA as f32);
    let leak = LEAKY_SLOPE as f32;
    let each = |f: &dyn Fn(f32) -> f32, g: &mut [f32]| g.iter_mut().zip(y).for_each(|(g, y)| *g *= f(*y));
    match activation {
        Activation::Relu => relu_slopes(y, g),
        // 1 / (1 + exp(-x)) with exp(-y) = 1 / (1 + exp(x)).
        Activation::Softplus => each(&|y| -(-y).exp_m1(), g),
        Activation::Tanh => each(&|y| 1.0 - y * y, g),
        Activation::Selu => each(&|y| if y > 0.0 { gamma } else { y + alpha * gamma }, g),
        Activation::LeakyRelu | Activation::PRelu => {
            g.iter_mut().zip(y).for_each(|(g, y)| *g = if *y > 0.0 { *g } else { *g * leak });
        }
        Activation::Sigmoid => each(&|y| y * (1.0 - y), g),
    }
}
