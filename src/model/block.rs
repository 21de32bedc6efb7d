//! One block: pooled input through hidden layers to a backcast and the knots of a forecast (equations 1 to 4).

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::module::linear;
use burn::tensor::{DType, Tensor, backend::Backend};

use super::activation::Activation;
use super::config::{BlockShape, Checked};
use super::dropout::{self, DropoutKey};

/// One block of a stack.
///
/// Layers as neuralforecast has them: a linear layer *without* activation, then linear + activation (+ dropout) for each
/// pair of `mlp_units`, then a linear layer to `theta` = backcast and knots.
#[derive(Module, Debug)]
pub struct Block<B: Backend> {
    /// The layers before the last; `weight` is `[in, out]`.
    pub(crate) hidden: Vec<Linear<B>>,
    /// The last layer, to `theta`.
    pub(crate) output: Linear<B>,
    /// The slope `[1]` that all activations of a block share, if they learn one.
    pub(crate) slope: Option<Param<Tensor<B, 1>>>,
    /// The interpolation matrix `[knots, H]`: derived, never trained nor stored; none where it is the identity.
    #[module(skip)]
    basis: Option<Tensor<B, 2>>,
    /// The sizes.
    shape: BlockShape,
    /// The function after each hidden layer but the first.
    activation: Activation,
    /// Share of hidden units dropped in training.
    dropout: f64,
    /// Input steps `L`: so many columns of `theta` are the backcast.
    input_size: usize,
    /// Values per step `Q`.
    outputs: usize,
    /// The number of this block's first hidden activation in the network, which names its dropout masks.
    first_dropout: usize,
}

impl<B: Backend> Block<B> {
    /// Block `number` of the network with the given weights.
    pub(crate) fn new(
        config: &Checked,
        number: usize,
        hidden: Vec<Linear<B>>,
        output: Linear<B>,
        slope: Option<Param<Tensor<B, 1>>>,
        device: &B::Device,
    ) -> Self {
        let shape = config.blocks()[number];
        Self {
            hidden,
            output,
            slope,
            basis: config.interpolation_mode.basis(shape.knots, config.horizon, device),
            shape,
            activation: config.activation,
            dropout: config.dropout,
            input_size: config.input_size,
            outputs: config.outputs,
            first_dropout: number * config.mlp_units.len(),
        }
    }

    /// Sizes of the block.
    pub(crate) fn shape(&self) -> BlockShape {
        self.shape
    }

    /// The last hidden layer's values `[B, units]` for a pooled input `[B, inputs]`.
    pub(crate) fn features(&self, input: Tensor<B, 2>, dropout: Option<&DropoutKey>) -> Tensor<B, 2> {
        let mut x = self.hidden[0].forward(input.cast(self.dtype()));
        for (i, layer) in self.hidden[1..].iter().enumerate() {
            x = self.activation.apply(layer.forward(x), self.slope.as_ref().map(Param::val));
            if let Some(key) = dropout.filter(|_| self.dropout > 0.0) {
                x = dropout::apply(x, key, (self.first_dropout + i) as u64, self.dropout);
            }
        }
        x
    }

    /// Backcast and knots together, `[B, L + Q * knots]`.
    pub(crate) fn theta(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        self.output.forward(features).cast(DType::F32)
    }

    /// The type that the layers compute in: f32, or half precision in training. What blocks give is always f32.
    fn dtype(&self) -> DType {
        self.output.weight.val().dtype()
    }

    /// Splits `theta` into the backcast `[B, L]`, in reversed time, and the knots `[B, Q * knots]`.
    pub(crate) fn split(&self, theta: Tensor<B, 2>) -> (Tensor<B, 2>, Tensor<B, 2>) {
        let rows = theta.dims()[0];
        let backcast = theta.clone().slice([0..rows, 0..self.input_size]);
        (backcast, theta.slice([0..rows, self.input_size..self.shape.theta]))
    }

    /// Only the knots `[B, Q * knots]`, from only their columns of the last layer: what the last block needs.
    pub(crate) fn knots(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        let columns = self.input_size..self.shape.theta;
        let weight = self.output.weight.val();
        let rows = weight.dims()[0];
        let bias = self.output.bias.as_ref().map(|b| b.val().slice([columns.clone()]));
        linear(features, weight.slice([0..rows, columns]), bias).cast(DType::F32)
    }

    /// Interpolates knots `[B, Q * knots]`, quantile-major, to a forecast `[B, Q * H]`, quantile-major.
    pub(crate) fn interpolate(&self, knots: Tensor<B, 2>) -> Tensor<B, 2> {
        let Some(basis) = self.basis.clone() else { return knots };
        // A copy of the network on another device still has the basis of the first.
        let basis = basis.to_device(&knots.device());
        if self.outputs == 1 {
            return knots.matmul(basis);
        }
        let ([rows, _], [_, horizon]) = (knots.dims(), basis.dims());
        knots.reshape([rows * self.outputs, self.shape.knots]).matmul(basis).reshape([rows, self.outputs * horizon])
    }
}
