//! One block: pooled input through hidden layers to a backcast and the knots of a forecast (equations 1 to 4).

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::module::linear;
use burn::tensor::{DType, Tensor, backend::Backend};

use super::activation::Activation;
use super::config::{BlockShape, Checked};
use super::dropout::{self, DropoutKey};
use super::quantization::{LayerInput, rounded_input, rounded_weights};
use super::tensors::moved;
use crate::kernel::Int8Scheme;

/// Who wants to see the inputs of linear layers: the number of the layer in the network, and its input `[B, in]`.
pub(crate) type Seen<'a, B> = Option<&'a dyn Fn(usize, &Tensor<B, 2>)>;

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
    /// The parameters `[1]` of learned ranges of the layers' inputs; empty where none is learned.
    pub(crate) ranges: Vec<Option<Param<Tensor<B, 1>>>>,
    /// How the input of each layer is rounded, none for layers in f32; empty where nothing is quantized.
    #[module(skip)]
    inputs: Vec<Option<LayerInput>>,
    /// How weights are rounded as they are used; none where they lie on their integers already.
    #[module(skip)]
    rounding: Option<Int8Scheme>,
    /// The number of this block's first layer in the network.
    first_layer: usize,
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
        ranges: Vec<Option<Param<Tensor<B, 1>>>>,
        device: &B::Device,
    ) -> Self {
        let shape = config.blocks()[number];
        let n_layers = config.layers_per_block();
        let first_layer = number * n_layers;
        let inputs = config.quantization().and_then(|q| q.layers.get(first_layer..first_layer + n_layers));
        Self {
            ranges,
            inputs: inputs.map(<[_]>::to_vec).unwrap_or_default(),
            rounding: config.quantization().and_then(|q| q.rounding),
            first_layer,
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

    /// The same block, rounded in another way: as block `number` of `config`, without learned ranges.
    pub(crate) fn rounded(&self, config: &Checked, number: usize) -> Self {
        let n_layers = config.layers_per_block();
        let first_layer = number * n_layers;
        let inputs = config.quantization().and_then(|q| q.layers.get(first_layer..first_layer + n_layers));
        Self {
            ranges: Vec::new(),
            inputs: inputs.map(<[_]>::to_vec).unwrap_or_default(),
            rounding: config.quantization().and_then(|q| q.rounding),
            ..self.clone()
        }
    }

    /// Sizes of the block.
    pub(crate) fn shape(&self) -> BlockShape {
        self.shape
    }

    /// The last hidden layer's values `[B, units]` for a pooled input `[B, inputs]`.
    pub(crate) fn features(
        &self,
        input: Tensor<B, 2>,
        dropout: Option<&DropoutKey>,
        seen: Seen<'_, B>,
    ) -> Tensor<B, 2> {
        let mut x = self.linear(0, input.cast(self.dtype()), seen);
        for i in 0..self.hidden.len() - 1 {
            x = self.activation.apply(self.linear(i + 1, x, seen), self.slope.as_ref().map(Param::val));
            if let Some(key) = dropout.filter(|_| self.dropout > 0.0) {
                x = dropout::apply(x, key, (self.first_dropout + i) as u64, self.dropout);
            }
        }
        x
    }

    /// Backcast and knots together, `[B, L + Q * knots]`.
    pub(crate) fn theta(&self, features: Tensor<B, 2>, seen: Seen<'_, B>) -> Tensor<B, 2> {
        self.linear(self.hidden.len(), features, seen).cast(DType::F32)
    }

    /// Layer `number` of the block, rounded where it is quantized.
    fn linear(&self, number: usize, x: Tensor<B, 2>, seen: Seen<'_, B>) -> Tensor<B, 2> {
        let (x, layer) = (self.input(number, x, seen), self.hidden.get(number).unwrap_or(&self.output));
        match self.rounding {
            Some(_) if self.quantized(number).is_some() => {
                linear(x, self.weight(number), layer.bias.as_ref().map(Param::val))
            }
            _ => layer.forward(x),
        }
    }

    /// How the input of layer `number` is rounded, if the layer is quantized.
    fn quantized(&self, number: usize) -> Option<LayerInput> {
        self.inputs.get(number).copied().flatten()
    }

    /// The input of layer `number` as the layer takes it.
    fn input(&self, number: usize, x: Tensor<B, 2>, seen: Seen<'_, B>) -> Tensor<B, 2> {
        if let Some(see) = seen {
            see(self.first_layer + number, &x);
        }
        match self.quantized(number) {
            Some(how) => rounded_input(x, how, self.ranges.get(number).and_then(Option::as_ref).map(Param::val)),
            None => x,
        }
    }

    /// The weight `[in, out]` of layer `number` as the layer uses it.
    fn weight(&self, number: usize) -> Tensor<B, 2> {
        let weight = self.hidden.get(number).unwrap_or(&self.output).weight.val();
        match (self.quantized(number), self.rounding) {
            (Some(_), Some(scheme)) => rounded_weights(weight, scheme),
            _ => weight,
        }
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
    pub(crate) fn knots(&self, features: Tensor<B, 2>, seen: Seen<'_, B>) -> Tensor<B, 2> {
        let columns = self.input_size..self.shape.theta;
        let last = self.hidden.len();
        let (features, weight) = (self.input(last, features, seen), self.weight(last));
        let rows = weight.dims()[0];
        let bias = self.output.bias.as_ref().map(|b| b.val().slice([columns.clone()]));
        linear(features, weight.slice([0..rows, columns]), bias).cast(DType::F32)
    }

    /// Interpolates knots `[B, Q * knots]`, quantile-major, to a forecast `[B, Q * H]`, quantile-major.
    pub(crate) fn interpolate(&self, knots: Tensor<B, 2>) -> Tensor<B, 2> {
        let Some(basis) = self.basis.clone() else { return knots };
        // A copy of the network on another device still has the basis of the first.
        let basis = moved(basis, &knots.device());
        if self.outputs == 1 {
            return knots.matmul(basis);
        }
        let ([rows, _], [_, horizon]) = (knots.dims(), basis.dims());
        knots.reshape([rows * self.outputs, self.shape.knots]).matmul(basis).reshape([rows, self.outputs * horizon])
    }
}
