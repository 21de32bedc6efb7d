//! What happens to a layer's values beside the product: bias, activation, dropout, and their slopes.

use super::super::Activation;
use super::super::activation::{LEAKY_SLOPE, SELU_ALPHA, SELU_GAMMA};

/// Puts the bias into every row of `out` `[rows, width]`, for a product to be added to.
pub(super) fn fill_bias(bias: &[f32], out: &mut [f32]) {
    out.chunks_exact_mut(bias.len()).for_each(|row| row.copy_from_slice(bias));
}

/// Adds the columns of `x` `[rows, width]` up.
pub(super) fn column_sums(x: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    for row in x.chunks_exact(out.len()) {
        out.iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
    }
}

/// Whether so many values are zero after this activation, and gradients before it, that products look for them.
pub(super) fn leaves_zeros(activation: Activation) -> bool {
    activation == Activation::Relu
}

/// The activation of every value, in place. What is no number stays so.
pub(super) fn activate(activation: Activation, x: &mut [f32]) {
    let (alpha, gamma) = (SELU_ALPHA as f32, SELU_GAMMA as f32);
    let leak = LEAKY_SLOPE as f32;
    match activation {
        Activation::Relu => x.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v }),
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
        Activation::Relu => g.iter_mut().zip(y).for_each(|(g, y)| *g = if *y > 0.0 { *g } else { 0.0 }),
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
