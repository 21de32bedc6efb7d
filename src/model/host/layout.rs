//! Where the weights of a network lie in one vector, and the way between it and the tensors.

use std::collections::HashMap;
use std::ops::Range;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use rayon::ThreadPool;

use super::super::Activation;
use super::super::config::{BlockShape, Checked};
use super::super::nhits::NHits;
use super::super::tensors::{Weight, to_host};
use super::fold::{Folded, fold, pays};
use crate::kernel::{Matrix, Panels};

/// A linear layer: `weight` `[inputs, outputs]` row-major and `bias` `[outputs]`, as ranges of the vector of weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    pub weight: Range<usize>,
    pub bias: Range<usize>,
    pub inputs: usize,
    pub outputs: usize,
}

/// A layer and its values: `weight` `[inputs, outputs]` row-major and `bias` `[outputs]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Linear<'a> {
    pub weight: &'a [f32],
    pub bias: &'a [f32],
    pub inputs: usize,
    pub outputs: usize,
    /// The weight, or those of its columns that are used, as products without zeros read it.
    pub panels: Option<&'a Panels>,
}

impl<'a> Linear<'a> {
    /// The columns of the weight from `skip` on.
    pub fn columns(&self, skip: usize) -> Matrix<'a> {
        let weight = Matrix::new(self.weight, self.inputs, self.outputs).columns(skip, self.outputs - skip);
        self.panels.map_or(weight, |panels| weight.with_panels(panels))
    }
}

impl Layer {
    /// The layer of these weights.
    pub fn of<'a>(&self, weights: &'a [f32]) -> Linear<'a> {
        let Self { inputs, outputs, .. } = *self;
        Linear {
            weight: &weights[self.weight.clone()],
            bias: &weights[self.bias.clone()],
            inputs,
            outputs,
            panels: None,
        }
    }
}

/// A block: its layers, the last of which gives backcast and knots.
#[derive(Debug, Clone)]
pub(super) struct BlockPlan {
    pub shape: BlockShape,
    pub layers: Vec<Layer>,
    /// Whether the first layer stands for the first two, and so has an activation.
    pub folded: bool,
    /// Pooled steps of the target: the first columns of the block's input.
    pub pooled: usize,
    /// The interpolation matrix `[knots, H]`, row-major; none where it is the identity.
    pub basis: Option<Vec<f32>>,
}

/// The plan of a network on slices: its settings and where its weights lie.
#[derive(Debug, Clone)]
pub struct HostNetwork {
    pub(super) config: Checked,
    pub(super) blocks: Vec<BlockPlan>,
    len: usize,
}

impl HostNetwork {
    /// The plan for checked settings; none if the network learns slopes of activations or vectors of categories, or rounds
    /// as it computes.
    pub fn new(config: &Checked) -> Option<Self> {
        if config.quantization().is_some() {
            return None;
        }
        Self::without(config, |_| false)
    }

    /// The same, where the weights of some layers (by their numbers in the network) lie elsewhere.
    pub(super) fn without(config: &Checked, elsewhere: impl Fn(usize) -> bool) -> Option<Self> {
        if config.activation == Activation::PRelu || !config.embeddings.is_empty() {
            return None;
        }
        let mut number = 0;
        let mut size = |n: usize| {
            number += 1;
            if elsewhere(number - 1) { 0 } else { n }
        };
        let mut at = 0;
        let mut take = |n: usize| {
            at += n;
            at - n..at
        };
        let blocks = config
            .blocks()
            .iter()
            .map(|shape| {
                let layers = config
                    .widths(shape)
                    .into_iter()
                    .chain([shape.theta])
                    .collect::<Vec<_>>()
                    .windows(2)
                    .map(|w| Layer { weight: take(size(w[0] * w[1])), bias: take(w[1]), inputs: w[0], outputs: w[1] })
                    .collect();
                BlockPlan {
                    shape: *shape,
                    layers,
                    folded: false,
                    pooled: config.input_size.div_ceil(shape.pool_kernel),
                    basis: (shape.knots != config.horizon)
                        .then(|| config.interpolation_mode.matrix(shape.knots, config.horizon)),
                }
            })
            .collect();
        Some(Self { config: config.clone(), blocks, len: at })
    }

    /// The plan and the weights with the first two layers of each block as one where a forecast then has fewer products.
    pub(super) fn folded(self, mut weights: Vec<f32>, pool: Option<&ThreadPool>) -> (Self, Vec<f32>) {
        let mut folds: Vec<Option<Folded>> =
            self.blocks.iter().map(|block| pays(block).then(Folded::default)).collect();
        fold(self.blocks.iter().zip(&mut folds).filter_map(|(b, f)| Some((b, f.as_mut()?))), &weights, pool);
        // A folded layer is smaller than the two that it stands for, so that all others move towards the front: there is no
        // second copy of the weights at any time.
        let mut end = 0;
        let mut blocks = Vec::new();
        for (block, folded) in self.blocks.into_iter().zip(&folds) {
            let mut layers = Vec::new();
            if let Some(Linear { weight, bias, inputs, outputs, .. }) = folded.as_ref().map(Folded::linear) {
                let mut put = |part: &[f32]| {
                    weights[end..end + part.len()].copy_from_slice(part);
                    end += part.len();
                    end - part.len()..end
                };
                layers.push(Layer { weight: put(weight), bias: put(bias), inputs, outputs });
            }
            for layer in block.layers.iter().skip(2 * layers.len()) {
                let mut moved = |part: &Range<usize>| {
                    weights.copy_within(part.clone(), end);
                    end += part.len();
                    end - part.len()..end
                };
                let (weight, bias) = (moved(&layer.weight), moved(&layer.bias));
                layers.push(Layer { weight, bias, inputs: layer.inputs, outputs: layer.outputs });
            }
            blocks.push(BlockPlan { layers, folded: folded.is_some(), ..block });
        }
        weights.truncate(end);
        (Self { config: self.config, blocks, len: end }, weights)
    }

    /// The settings.
    pub fn config(&self) -> &Checked {
        &self.config
    }

    /// Number of weights in the one vector.
    pub fn n_weights(&self) -> usize {
        self.len
    }
}

/// All weights of a network one after the other, in the order of [`NHits::weights`] and the layout of the tensors: a
/// layer's weight as `[in, out]`.
pub fn weights_of<B: Backend>(net: &NHits<B>) -> Vec<f32> {
    let mut values = Vec::with_capacity(net.n_parameters());
    for (spec, weight) in net.weights() {
        if spec.same_as.is_some() {
            continue;
        }
        match weight {
            Weight::Matrix(param) => values.extend(to_host(param.val())),
            Weight::Vector(param) => values.extend(to_host(param.val())),
        }
    }
    values
}

/// Puts new values into parameters by their identifiers.
struct Put<'a> {
    values: HashMap<ParamId, &'a [f32]>,
}

impl<B: Backend> ModuleMapper<B> for Put<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (id, tensor, mapper) = param.consume();
        let tensor = match self.values.remove(&id) {
            None => tensor,
            Some(values) => {
                let new = Tensor::from_data(TensorData::new(values.to_vec(), tensor.shape()), &tensor.device());
                if tensor.is_require_grad() { new.require_grad() } else { new }
            }
        };
        Param::from_mapped_value(id, tensor, mapper)
    }
}

/// The network with `values`, which lie as [`weights_of`] gives them, under its own identifiers.
///
/// # Panics
/// When there are more or fewer values than weights.
pub fn with_weights<B: Backend>(net: NHits<B>, values: &[f32]) -> NHits<B> {
    let mut rest = values;
    let mut by_id = HashMap::new();
    for (spec, weight) in net.weights() {
        if spec.same_as.is_some() {
            continue;
        }
        let (these, others) = rest.split_at(spec.shape.iter().product());
        by_id.insert(weight.id(), these);
        rest = others;
    }
    assert!(rest.is_empty(), "{} values too many", rest.len());
    net.map(&mut Put { values: by_id })
}

/// Puts one zero, seen as many times as there are values, into each parameter.
struct Forget;

impl<B: Backend> ModuleMapper<B> for Forget {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (id, tensor, mapper) = param.consume();
        let nothing = Tensor::<B, D>::zeros([1; D], &tensor.device()).expand(tensor.shape());
        let nothing = if tensor.is_require_grad() { nothing.require_grad() } else { nothing };
        Param::from_mapped_value(id, nothing, mapper)
    }
}

/// The network with its shapes and identifiers, but without its values: what [`with_weights`] needs, and hardly any memory.
pub fn without_weights<B: Backend>(net: NHits<B>) -> NHits<B> {
    net.map(&mut Forget)
}

/// Whether a backend keeps its values in this process's memory and gives them out without a copy. Found out by trying:
/// what comes back from a tensor lies where it was put.
pub fn in_host_memory<B: Backend>(device: &B::Device) -> bool {
    let data = TensorData::new(vec![0.0f32; 64], [64]);
    let Ok(put) = data.as_slice::<f32>().map(<[f32]>::as_ptr) else { return false };
    let back = Tensor::<B, 1>::from_data(data, device).into_data();
    back.as_slice::<f32>().is_ok_and(|values| values.as_ptr() == put)
}
