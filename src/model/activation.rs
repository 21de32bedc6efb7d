//! The activation after each hidden layer of a block, written so that no gradient overflows.

use burn::tensor::{Tensor, activation, backend::Backend};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::word_enum;

/// The function after each hidden layer of a block; the first linear layer of a block has none after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Activation {
    /// `max(x, 0)`
    #[default]
    #[serde(rename = "relu", alias = "ReLU")]
    Relu,
    /// `log(1 + exp(x))`
    #[serde(rename = "softplus", alias = "Softplus")]
    Softplus,
    /// `tanh(x)`
    #[serde(rename = "tanh", alias = "Tanh")]
    Tanh,
    /// `gamma * x` above 0, `gamma * alpha * (exp(x) - 1)` below (Klambauer et al. 2017)
    #[serde(rename = "selu", alias = "SELU")]
    Selu,
    /// `x` above 0, `0.01 * x` below
    #[serde(rename = "leaky_relu", alias = "LeakyReLU")]
    LeakyRelu,
    /// `x` above 0, `slope * x` below, with one learnt slope for each block
    #[serde(rename = "prelu", alias = "PReLU")]
    PRelu,
    /// `1 / (1 + exp(-x))`
    #[serde(rename = "sigmoid", alias = "Sigmoid")]
    Sigmoid,
}

word_enum!(Activation, "model.activation", {
    Relu => "relu" | "ReLU",
    Softplus => "softplus" | "Softplus",
    Tanh => "tanh" | "Tanh",
    Selu => "selu" | "SELU",
    LeakyRelu => "leaky_relu" | "LeakyReLU",
    PRelu => "prelu" | "PReLU",
    Sigmoid => "sigmoid" | "Sigmoid",
});

pub(super) const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
pub(super) const SELU_GAMMA: f64 = 1.050_700_987_355_480_5;
pub(super) const LEAKY_SLOPE: f64 = 0.01;
/// The slope that a learnt [`Activation::PRelu`] starts from.
pub(crate) const PRELU_START: f32 = 0.25;

impl Activation {
    /// Applies the function to each element of `x` `[B, units]`; `slope` `[1]` is what [`Activation::PRelu`] learns.
    pub(crate) fn apply<B: Backend>(self, x: Tensor<B, 2>, slope: Option<Tensor<B, 1>>) -> Tensor<B, 2> {
        match self {
            Activation::Relu => activation::relu(x),
            // Value log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)) and slope 1 / (1 + exp(-x)), each on its own: burn's
            // softplus takes exp(x), which overflows from 89 on, and the gradient of its logarithm takes a reciprocal
            // that ndarray gives to 14 bits only.
            Activation::Softplus => {
                let at = x.clone().detach();
                let value = activation::relu(at.clone()) + at.clone().abs().neg().exp().log1p();
                (x - at.clone()) * activation::sigmoid(at) + value
            }
            Activation::Tanh => activation::tanh(x),
            // burn's own selu takes exp(x) of positive x too, whose infinite gradient turns into NaN.
            Activation::Selu => {
                let below = x.clone().clamp_max(0.0).exp().sub_scalar(1.0).mul_scalar(SELU_ALPHA * SELU_GAMMA);
                activation::relu(x).mul_scalar(SELU_GAMMA) + below
            }
            Activation::LeakyRelu => activation::leaky_relu(x, LEAKY_SLOPE),
            Activation::PRelu => match slope {
                Some(slope) => activation::prelu(x, slope),
                None => activation::leaky_relu(x, f64::from(PRELU_START)),
            },
            Activation::Sigmoid => activation::sigmoid(x),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softplus_has_its_slope_at_zero() {
        on_backend!(|B, device| {
            let x = Tensor::<B, 2>::zeros([1, 1], &device).require_grad();
            let gradient = x.grad(&Activation::Softplus.apply(x.clone(), None).sum().backward()).unwrap();
            assert_eq!(gradient.into_data().to_vec::<f32>().unwrap(), [0.5]);
        });
    }

    #[test]
    fn values_and_slopes_at_ordinary_and_extreme_points() {
        on_backend!(|B, device| {
            let e = std::f32::consts::E;
            let (alpha, gamma) = (SELU_ALPHA as f32, SELU_GAMMA as f32);
            let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
            // Each with value and derivative at -100, -1, 1, 100.
            let table: [(Activation, [f32; 4], [f32; 4]); 7] = [
                (Activation::Relu, [0.0, 0.0, 1.0, 100.0], [0.0, 0.0, 1.0, 1.0]),
                (
                    Activation::Softplus,
                    [0.0, (1.0 + 1.0 / e).ln(), (1.0 + e).ln(), 100.0],
                    [0.0, sigmoid(-1.0), sigmoid(1.0), 1.0],
                ),
                (
                    Activation::Tanh,
                    [-1.0, (-1.0f32).tanh(), 1.0f32.tanh(), 1.0],
                    [0.0, 1.0 - 1.0f32.tanh().powi(2), 1.0 - 1.0f32.tanh().powi(2), 0.0],
                ),
                (
                    Activation::Selu,
                    [-alpha * gamma, gamma * alpha * (1.0 / e - 1.0), gamma, 100.0 * gamma],
                    [0.0, gamma * alpha / e, gamma, gamma],
                ),
                (Activation::LeakyRelu, [-1.0, -0.01, 1.0, 100.0], [0.01, 0.01, 1.0, 1.0]),
                (Activation::PRelu, [-20.0, -0.2, 1.0, 100.0], [0.2, 0.2, 1.0, 1.0]),
                (
                    Activation::Sigmoid,
                    [0.0, sigmoid(-1.0), sigmoid(1.0), 1.0],
                    [0.0, sigmoid(-1.0) * sigmoid(1.0), sigmoid(-1.0) * sigmoid(1.0), 0.0],
                ),
            ];
            for (activation, values, slopes) in table {
                let x = Tensor::<B, 2>::from_floats([[-100.0, -1.0, 1.0, 100.0]], &device).require_grad();
                let slope = (activation == Activation::PRelu).then(|| Tensor::from_floats([0.2], &device));
                let y = activation.apply(x.clone(), slope);
                let gradient = x.grad(&y.clone().sum().backward()).unwrap();
                let close = |got: Vec<f32>, want: [f32; 4], what: &str| {
                    for (g, w) in got.iter().zip(want) {
                        assert!(
                            (g - w).abs() <= 1e-6 * w.abs().max(1.0),
                            "{activation} {what}: {got:?}, want {want:?}"
                        );
                    }
                };
                close(y.into_data().to_vec().unwrap(), values, "values");
                close(gradient.into_data().to_vec().unwrap(), slopes, "slopes");
            }
        });
    }
}
