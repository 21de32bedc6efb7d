//! Weights by their neuralforecast names, in its layout: made at random, read from a source, given out.

use burn::module::{Param, ParamId};
use burn::nn::Linear;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, Tensor, TensorData};

use super::ModelError;
use super::activation::{Activation, PRELU_START};
use super::block::Block;
use super::config::Checked;
use super::embedding::EmbeddingConfig;
use super::nhits::NHits;
use crate::random::{Purpose, Stream};

/// The ending of the name of a learned range.
pub(crate) const INPUT_RANGE: &str = "input_range";

/// A weight, gradient or the like: name and layout are those of neuralforecast's `state_dict`.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// The name, for instance `blocks.0.layers.0.weight`.
    pub name: String,
    /// The shape; a layer's weight is `[out, in]`.
    pub shape: Vec<usize>,
    /// The values, row-major.
    pub data: Vec<f32>,
}

/// A weight that a network of given settings has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// The name, for instance `blocks.0.layers.0.weight`.
    pub name: String,
    /// The shape; a layer's weight is `[out, in]`.
    pub shape: Vec<usize>,
    /// The name under which the same weight was given before: a learnt slope appears once for each activation.
    pub same_as: Option<String>,
}

impl Checked {
    /// Every weight of the network in the order of neuralforecast's `state_dict`.
    ///
    /// Layers are numbered as there: linear layers, activations and (where `dropout > 0`) dropouts all count. A learned
    /// range of a layer's input follows the layer's bias, as `blocks.0.layers.0.input_range`.
    pub fn tensor_specs(&self) -> Vec<TensorSpec> {
        let mut specs = vec![];
        for (number, shape) in self.blocks().iter().enumerate() {
            let prefix = format!("blocks.{number}.layers");
            let spec = |name: String, shape: &[usize]| TensorSpec { name, shape: shape.to_vec(), same_as: None };
            let widths = self.widths(shape);
            let mut index = 0;
            let mut slope: Option<String> = None;
            let first = number * self.layers_per_block();
            let learns = |layer: usize| self.quantization().is_some_and(|q| q.learns(first + layer));
            for (layer, pair) in widths.windows(2).enumerate() {
                specs.push(spec(format!("{prefix}.{index}.weight"), &[pair[1], pair[0]]));
                specs.push(spec(format!("{prefix}.{index}.bias"), &[pair[1]]));
                if learns(layer) {
                    specs.push(spec(format!("{prefix}.{index}.{INPUT_RANGE}"), &[1]));
                }
                index += 1;
                if layer > 0 {
                    if self.activation == Activation::PRelu {
                        let name = format!("{prefix}.{index}.weight");
                        specs.push(TensorSpec { name: name.clone(), shape: vec![1], same_as: slope.clone() });
                        slope.get_or_insert(name);
                    }
                    index += 1 + usize::from(self.dropout > 0.0);
                }
            }
            specs.push(spec(format!("{prefix}.{index}.weight"), &[shape.theta, widths[widths.len() - 1]]));
            specs.push(spec(format!("{prefix}.{index}.bias"), &[shape.theta]));
            if learns(widths.len() - 1) {
                specs.push(spec(format!("{prefix}.{index}.{INPUT_RANGE}"), &[1]));
            }
        }
        specs.extend(self.embeddings.iter().enumerate().map(|(i, embedding)| TensorSpec {
            name: EmbeddingConfig::tensor_name(i),
            shape: vec![embedding.rows(), embedding.dim],
            same_as: None,
        }));
        specs
    }
}

impl<B: Backend> NHits<B> {
    /// A network with random weights, the same on every backend: uniform in `±1/sqrt(fan_in)`, weights and biases, as
    /// PyTorch's `Linear` begins; a learnt slope begins at 0.25.
    pub fn new(config: &Checked, seed: u64, device: &B::Device) -> Self {
        let mut number = 0;
        let mut fan_in = 1;
        let drawn: Vec<(TensorSpec, Vec<f32>)> = config
            .tensor_specs()
            .into_iter()
            .filter(|spec| spec.same_as.is_none())
            .map(|spec| {
                let values = if spec.shape == [1] && is_slope(config, &spec) {
                    vec![PRELU_START]
                } else if is_range(&spec) {
                    vec![0.0]
                } else {
                    // A bias follows its weight, whose fan-in is also its own.
                    if let [_, inputs] = spec.shape[..] {
                        fan_in = inputs;
                    }
                    let bound = 1.0 / (fan_in as f64).sqrt();
                    let mut stream = Stream::new(seed, Purpose::Weights, &[number]);
                    number += 1;
                    let n = spec.shape.iter().product();
                    (0..n).map(|_| ((2.0 * stream.uniform() - 1.0) * bound) as f32).collect()
                };
                (spec, values)
            })
            .collect();
        Self::assemble(config, drawn, device)
    }

    /// A network with weights from `source`, which gives shape and row-major values for a `state_dict` name.
    ///
    /// # Errors
    /// A missing weight, another shape than the settings ask for, a value that is not finite, and learnt slopes of one
    /// block that differ.
    pub fn with_tensors(
        config: &Checked,
        source: impl Fn(&str) -> Option<(Vec<usize>, Vec<f32>)>,
        device: &B::Device,
    ) -> Result<Self, ModelError> {
        let given: Vec<(TensorSpec, Option<(Vec<usize>, Vec<f32>)>)> = config
            .tensor_specs()
            .into_iter()
            .map(|spec| {
                let found = source(&spec.name);
                (spec, found)
            })
            .collect();
        let find = |name: &str| {
            let (_, found) = given.iter().find(|(spec, _)| spec.name == name)?;
            found.as_ref().map(|(shape, values)| (&shape[..], &values[..]))
        };
        let values = read(config, |_| false, find)?.into_iter().map(|(spec, values)| (spec, values.to_vec())).collect();
        Ok(Self::assemble(config, values, device))
    }

    /// Builds the network from the values of all its own (not shared) weights, in the order of the specs.
    fn assemble(config: &Checked, values: Vec<(TensorSpec, Vec<f32>)>, device: &B::Device) -> Self {
        let mut values = values.into_iter().peekable();
        let blocks = config.blocks().iter().enumerate().map(|(number, shape)| {
            let layers = config.widths(shape).len();
            let mut linears = Vec::with_capacity(layers);
            let mut slope = None;
            let mut ranges = Vec::new();
            while linears.len() < layers {
                let (spec, weight) = values.next().expect("there is a value for each spec");
                if is_slope(config, &spec) {
                    slope = Some(Param::from_data(TensorData::new(weight, [1]), device));
                    continue;
                }
                let (_, bias) = values.next().expect("a bias follows each weight");
                let [outputs, inputs] = [spec.shape[0], spec.shape[1]];
                let weight = TensorData::new(transposed(&weight, outputs, inputs), [inputs, outputs]);
                linears.push(Linear {
                    weight: Param::from_data(weight, device),
                    bias: Some(Param::from_data(TensorData::new(bias, [outputs]), device)),
                });
                if config.quantization().is_some() {
                    let range = values.next_if(|(spec, _)| is_range(spec));
                    ranges.push(range.map(|(_, v)| Param::from_data(TensorData::new(v, [1]), device)));
                }
            }
            let output = linears.pop().expect("a block has at least two linear layers");
            Block::new(config, number, linears, output, slope, ranges, device)
        });
        let blocks: Vec<_> = blocks.collect();
        let embeddings = values.map(|(spec, table)| {
            let (rows, dim) = (spec.shape[0], spec.shape[1]);
            Param::from_data(TensorData::new(transposed(&table, rows, dim), [dim, rows]), device)
        });
        Self { blocks, embeddings: embeddings.collect(), config: config.clone() }
    }

    /// The same weights, rounded in another way as they are used. Nothing is copied; learned ranges are left out.
    #[must_use]
    pub fn rounded(&self, quantization: super::Quantization) -> Self {
        let config = self.config.with_quantization(quantization);
        let blocks = self.blocks.iter().enumerate().map(|(number, block)| block.rounded(&config, number)).collect();
        Self { blocks, embeddings: self.embeddings.clone(), config }
    }

    /// All weights by their `state_dict` names, in its order; a learnt slope appears once for each of its activations.
    pub fn tensors(&self) -> Vec<NamedTensor> {
        self.weights().into_iter().map(|(spec, weight)| spec.named(weight.to_vec())).collect()
    }

    /// All weights where they lie, with their `state_dict` names and shapes, in its order; a learnt slope appears once for
    /// each of its activations.
    pub fn weights(&self) -> Vec<(TensorSpec, Weight<'_, B>)> {
        let mut weights = vec![];
        for block in &self.blocks {
            for (layer, linear) in block.hidden.iter().chain([&block.output]).enumerate() {
                weights.push(Weight::Matrix(&linear.weight));
                weights.extend(linear.bias.as_ref().map(Weight::Vector));
                weights.extend(block.ranges.get(layer).and_then(Option::as_ref).map(Weight::Vector));
                if let Some(slope) = block.slope.as_ref().filter(|_| (1..block.hidden.len()).contains(&layer)) {
                    weights.push(Weight::Vector(slope));
                }
            }
        }
        weights.extend(self.embeddings.iter().map(Weight::Matrix));
        self.config.tensor_specs().into_iter().zip(weights).collect()
    }
}

/// The values of all of a network's own (not shared) weights, in the order of the specs, from `source`, which gives shape
/// and row-major values for a `state_dict` name; without those that are `elsewhere`.
///
/// # Errors
/// As [`NHits::with_tensors`].
pub(super) fn read<'a>(
    config: &Checked,
    elsewhere: impl Fn(&str) -> bool,
    source: impl Fn(&str) -> Option<(&'a [usize], &'a [f32])>,
) -> Result<Vec<(TensorSpec, &'a [f32])>, ModelError> {
    let mut read: Vec<(TensorSpec, &[f32])> = vec![];
    for spec in config.tensor_specs().into_iter().filter(|spec| !elsewhere(&spec.name)) {
        let name = spec.name.clone();
        let Some((shape, values)) = source(&name) else {
            // A file may well hold a shared slope under one name only.
            if spec.same_as.is_some() {
                continue;
            }
            return Err(ModelError::MissingTensor { name, expected: spec.shape });
        };
        if shape != spec.shape || values.len() != spec.shape.iter().product::<usize>() {
            let found = shape.to_vec();
            return Err(ModelError::TensorShape { name, expected: spec.shape, found, values: values.len() });
        }
        if let Some(at) = first_not_finite(values) {
            return Err(ModelError::NotFinite { name, at, value: values[at] });
        }
        match &spec.same_as {
            None => read.push((spec, values)),
            Some(first) => {
                if read.iter().any(|(other, slope)| other.name == *first && *slope != values) {
                    return Err(ModelError::NotTied { first: first.clone(), second: name });
                }
            }
        }
    }
    Ok(read)
}

/// A weight of a network where it lies.
#[derive(Debug, Clone, Copy)]
pub enum Weight<'a, B: Backend> {
    /// A layer's weight, `[in, out]`, or an embedding's table, `[dim, rows]`: the transpose of what the `state_dict` has.
    Matrix(&'a Param<Tensor<B, 2>>),
    /// A bias or a learnt slope.
    Vector(&'a Param<Tensor<B, 1>>),
}

impl<B: Backend> Weight<'_, B> {
    /// The parameter's identifier, by which optimizers and gradients know it.
    pub fn id(&self) -> ParamId {
        match self {
            Self::Matrix(param) => param.id,
            Self::Vector(param) => param.id,
        }
    }

    /// Where it lies.
    pub fn device(&self) -> B::Device {
        match self {
            Self::Matrix(param) => param.val().device(),
            Self::Vector(param) => param.val().device(),
        }
    }

    /// The values in the layout of the `state_dict`, on the host.
    pub fn to_vec(&self) -> Vec<f32> {
        match self {
            Self::Matrix(param) => state_dict_order(param.val()),
            Self::Vector(param) => to_host(param.val()),
        }
    }
}

impl TensorSpec {
    /// The tensor of this name and shape with the given row-major values.
    pub fn named(self, data: Vec<f32>) -> NamedTensor {
        NamedTensor { name: self.name, shape: self.shape, data }
    }
}

/// The values of a layer's weight (or of something of its shape: a gradient, a moment), `[in, out]`, on the host in the
/// `state_dict`'s `[out, in]`.
pub fn state_dict_order<B: Backend>(tensor: Tensor<B, 2>) -> Vec<f32> {
    let [rows, columns] = tensor.dims();
    transposed(&to_host(tensor), rows, columns)
}

impl<B: AutodiffBackend> NHits<B> {
    /// The gradients of all weights by the names of [`NHits::tensors`]; zeros where a weight took no part.
    pub fn gradients(&self, gradients: &B::Gradients) -> Vec<NamedTensor> {
        self.weights()
            .into_iter()
            .map(|(spec, weight)| {
                let found = match weight {
                    Weight::Matrix(param) => param.val().grad(gradients).map(state_dict_order),
                    Weight::Vector(param) => param.val().grad(gradients).map(to_host),
                };
                let n = spec.shape.iter().product();
                spec.named(found.unwrap_or_else(|| vec![0.0; n]))
            })
            .collect()
    }
}

/// Whether a spec is a learnt slope: its layer number is that of an activation.
fn is_slope(config: &Checked, spec: &TensorSpec) -> bool {
    config.activation == Activation::PRelu && spec.shape == [1] && spec.name.ends_with(".weight")
}

/// Whether a spec is a learned range.
fn is_range(spec: &TensorSpec) -> bool {
    spec.name.ends_with(INPUT_RANGE)
}

/// The values of a tensor as float32 on the host, row-major.
pub fn to_host<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    let data = tensor.into_data().convert_dtype(DType::F32);
    data.into_vec().expect("the values were just made float32")
}

/// A tensor in another shape, right for parts of tensors too.
///
/// burn 0.21 gets wrong values on CubeCL's backends (wgpu, cuda) where a part whose shape has a 1 is given more dimensions:
/// `[4, 34, 1]` cut to `[4, 2, 1]` and made `[4, 1, 2, 1]` is read with the strides of another tensor, if the part begins at an
/// address that the device likes. Flat in between, such a part is copied, and the same holds for its gradient.
pub(crate) fn reshaped<B: Backend, const D: usize, const E: usize>(x: Tensor<B, D>, shape: [usize; E]) -> Tensor<B, E> {
    let n: usize = x.dims().iter().product();
    let flat: Tensor<B, 1> = x.reshape([n]);
    flat.reshape(shape)
}

/// A tensor on another device, brought there through this process's memory; its values only, no graph.
///
/// burn 0.21's CubeCL backends send from one device to another by a collective that only CUDA with NCCL has; on wgpu other
/// values arrive, without an error.
pub(crate) fn moved<B: Backend, const D: usize>(x: Tensor<B, D>, device: &B::Device) -> Tensor<B, D> {
    if x.device() == *device {
        return x;
    }
    let dtype = x.dtype();
    Tensor::from_data(x.into_data(), (device, dtype))
}

/// A row-major `[rows, columns]` matrix as row-major `[columns, rows]`.
pub(crate) fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    transpose_into(values, rows, columns, &mut out);
    out
}

/// [`transposed`], into `out`, which has as many values.
pub(super) fn transpose_into(values: &[f32], rows: usize, columns: usize, out: &mut [f32]) {
    // Four by four values at a time, which stay in registers: one by one is three times as slow, because neighbours of one
    // side are a whole row of the other apart.
    const SIDE: usize = 4;
    let whole_columns = columns - columns % SIDE;
    let whole_rows = rows - rows % SIDE;
    for column in (0..whole_columns).step_by(SIDE) {
        for row in (0..whole_rows).step_by(SIDE) {
            let mut tile = [[0.0; SIDE]; SIDE];
            for (i, part) in tile.iter_mut().enumerate() {
                part.copy_from_slice(&values[(row + i) * columns + column..][..SIDE]);
            }
            for i in 0..SIDE {
                out[(column + i) * rows + row..][..SIDE].copy_from_slice(&tile.map(|part| part[i]));
            }
        }
    }
    for row in 0..rows {
        let first = if row < whole_rows { whole_columns } else { 0 };
        for column in first..columns {
            out[column * rows + row] = values[row * columns + column];
        }
    }
}

/// Where the first value is that is not finite.
pub(crate) fn first_not_finite(values: &[f32]) -> Option<usize> {
    const PART: usize = 1 << 10;
    // Counted part by part, which takes several at a time; nearly always there is none.
    let wrong = |part: &[f32]| part.iter().map(|v| u32::from(!v.is_finite())).sum::<u32>() > 0;
    let part = values.chunks(PART).position(wrong)?;
    values[part * PART..].iter().position(|v| !v.is_finite()).map(|at| part * PART + at)
}

#[cfg(test)]
mod tests {
    use super::super::NHitsConfig;
    use super::*;

    #[test]
    fn a_transposed_matrix_has_each_value_where_it_belongs() {
        for (rows, columns) in [(1, 1), (1, 9), (9, 1), (4, 4), (3, 5), (5, 3), (8, 12), (17, 23), (64, 31)] {
            let values: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
            let want: Vec<f32> = (0..columns).flat_map(|c| (0..rows).map(move |r| (r * columns + c) as f32)).collect();
            assert_eq!(transposed(&values, rows, columns), want, "{rows} x {columns}");
        }
        assert!(transposed(&[], 0, 3).is_empty());
    }

    #[test]
    fn the_first_value_that_is_not_finite_is_found_anywhere() {
        let n = 5000;
        assert_eq!(first_not_finite(&vec![f32::MAX; n]), None);
        assert_eq!(first_not_finite(&[]), None);
        for at in [0, 1, 1023, 1024, 1025, 4095, n - 1] {
            for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut values = vec![-1.0; n];
                (values[at], values[n - 1]) = (wrong, wrong);
                assert_eq!(first_not_finite(&values), Some(at), "{wrong} at {at}");
            }
        }
    }

    fn config(activation: Activation, dropout: f64) -> Checked {
        NHitsConfig {
            input_size: 5,
            horizon: 2,
            n_blocks: vec![1, 1],
            mlp_units: vec![[4, 3], [3, 2]],
            n_pool_kernel_size: vec![2, 1],
            n_freq_downsample: vec![2, 1],
            activation,
            dropout,
            ..Default::default()
        }
        .check()
        .unwrap()
    }

    #[test]
    fn names_and_shapes_are_those_of_the_reference() {
        let names = |config: &Checked| {
            let of_first = |s: &TensorSpec| s.name.strip_prefix("blocks.0.layers.").map(str::to_string);
            config.tensor_specs().iter().filter_map(of_first).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            names(&config(Activation::Relu, 0.0)),
            "0.weight 0.bias 1.weight 1.bias 3.weight 3.bias 5.weight 5.bias"
        );
        assert_eq!(
            names(&config(Activation::PRelu, 0.1)),
            "0.weight 0.bias 1.weight 1.bias 2.weight 4.weight 4.bias 5.weight 7.weight 7.bias"
        );
        let shapes: Vec<_> = config(Activation::Relu, 0.0).tensor_specs().into_iter().map(|s| s.shape).collect();
        assert_eq!(shapes[..4], [vec![4, 3], vec![4], vec![3, 4], vec![3]]);
        assert_eq!(shapes[6..8], [vec![6, 2], vec![6]]);
    }

    #[test]
    fn weights_repeat_with_the_seed_and_lie_within_their_bound() {
        on_backend!(|B, device| {
            let config = config(Activation::PRelu, 0.0);
            let weights = NHits::<B>::new(&config, 5, &device).tensors();
            assert_eq!(weights, NHits::<B>::new(&config, 5, &device).tensors());
            assert_ne!(weights, NHits::<B>::new(&config, 6, &device).tensors());
            let find = |name: &str| weights.iter().find(|t| t.name == name).unwrap();
            assert_eq!(find("blocks.1.layers.4.weight").data, [0.25]);
            for (name, fan_in) in [("blocks.0.layers.1.weight", 4.0f32), ("blocks.0.layers.0.bias", 3.0)] {
                let bound = 1.0 / fan_in.sqrt();
                let largest = find(name).data.iter().fold(0.0f32, |m, v| m.max(v.abs()));
                assert!(largest <= bound && largest > 0.4 * bound, "{name}: {largest}, bound {bound}");
            }
            let all: usize = weights.iter().filter(|t| t.shape != [1]).map(|t| t.data.len()).sum();
            assert_eq!(all + 2, config.n_parameters(), "one slope in each of two blocks");
            use burn::module::Module;
            assert_eq!(NHits::<B>::new(&config, 5, &device).num_params(), config.n_parameters());
        });
    }

    #[test]
    fn weights_given_out_can_be_read_back() {
        on_backend!(|B, device| {
            for activation in [Activation::Relu, Activation::PRelu] {
                let config = config(activation, 0.1);
                let weights = NHits::<B>::new(&config, 5, &device).tensors();
                let source =
                    |name: &str| weights.iter().find(|t| t.name == name).map(|t| (t.shape.clone(), t.data.clone()));
                let read = NHits::<B>::with_tensors(&config, source, &device).unwrap();
                assert_eq!(read.tensors(), weights);
                let specs: Vec<_> = config.tensor_specs().into_iter().map(|s| (s.name, s.shape)).collect();
                let given: Vec<_> = weights.iter().map(|t| (t.name.clone(), t.shape.clone())).collect();
                assert_eq!(given, specs);
            }
        });
    }

    #[test]
    fn a_bad_source_is_refused_by_name() {
        on_backend!(|B, device| {
            let config = config(Activation::PRelu, 0.0);
            let good = NHits::<B>::new(&config, 5, &device).tensors();
            let with = |change: &dyn Fn(&NamedTensor) -> Option<NamedTensor>| {
                let changed: Vec<_> = good.iter().filter_map(change).collect();
                let source =
                    |name: &str| changed.iter().find(|t| t.name == name).map(|t| (t.shape.clone(), t.data.clone()));
                NHits::<B>::with_tensors(&config, source, &device).err()
            };
            let at = |t: &NamedTensor, name: &str| t.name == name;
            assert_eq!(with(&|t| Some(t.clone())), None);
            assert_eq!(with(&|t| (!at(t, "blocks.0.layers.4.weight")).then(|| t.clone())), None, "a shared name");
            let missing = with(&|t| (!at(t, "blocks.1.layers.3.bias")).then(|| t.clone())).unwrap();
            assert!(missing.to_string().contains("blocks.1.layers.3.bias"), "{missing}");
            let turned = |t: &NamedTensor| {
                let shape = if at(t, "blocks.0.layers.0.weight") { vec![3, 4] } else { t.shape.clone() };
                Some(NamedTensor { shape, ..t.clone() })
            };
            let error = with(&turned).unwrap().to_string();
            assert!(error.contains("[3, 4]") && error.contains("[4, 3]"), "{error}");
            let spoilt = |t: &NamedTensor| {
                let mut t = t.clone();
                if at(&t, "blocks.0.layers.5.bias") {
                    t.data[3] = f32::NAN;
                }
                Some(t)
            };
            assert!(matches!(with(&spoilt), Some(ModelError::NotFinite { at: 3, .. })));
            let untied = |t: &NamedTensor| {
                let mut t = t.clone();
                if at(&t, "blocks.1.layers.4.weight") {
                    t.data[0] = 0.5;
                }
                Some(t)
            };
            assert!(matches!(with(&untied), Some(ModelError::NotTied { .. })));
        });
    }
}
