//! A quantized network on slices in host memory: layers in 8-bit integers, everything between them in f32.
//!
//! One forecast of one window is limited by how fast the weights can be read, and integers are a quarter of them. The
//! formulas are those of [`NHits`](super::NHits); tests hold both together.

use std::sync::{Mutex, PoisonError};

use burn::tensor::{Tensor, TensorData, backend::Backend};

use super::activation::{LEAKY_SLOPE, SELU_ALPHA, SELU_GAMMA};
use super::config::BlockShape;
use super::{Activation, Checked, LayerInput, ModelError, PoolingMode};
use crate::kernel::{Instructions, Int8Dense, Int8Input, Int8Matrix, Int8Scratch, RowScale};

/// A batch of `B` windows, scaled, everything row-major; see [`ModelInput`](super::ModelInput).
#[derive(Debug, Clone, Copy)]
pub struct Int8Windows<'a> {
    /// `[B, L]`, oldest first.
    pub insample_y: &'a [f32],
    /// `[B, L]`.
    pub insample_mask: &'a [f32],
    /// `[B, L, X]`, empty without such columns.
    pub hist_exog: &'a [f32],
    /// `[B, L + H, F]`, empty without such columns.
    pub futr_exog: &'a [f32],
    /// `[B, S]`, empty without such columns.
    pub stat_exog: &'a [f32],
}

/// Whether a backend keeps its values in this process's memory and gives them out without a copy. Found out by trying:
/// what comes back from a tensor lies where it was put.
pub fn in_host_memory<B: Backend>(device: &B::Device) -> bool {
    let data = TensorData::new(vec![0.0f32; 64], [64]);
    let Ok(put) = data.as_slice::<f32>().map(<[f32]>::as_ptr) else { return false };
    let back = Tensor::<B, 1>::from_data(data, device).into_data();
    back.as_slice::<f32>().is_ok_and(|values| values.as_ptr() == put)
}

/// One linear layer.
#[derive(Debug)]
enum Dense {
    Int8(Int8Dense),
    /// Weight `[out, in]` and bias.
    Float(Vec<f32>, Vec<f32>),
}

#[derive(Debug)]
struct Int8Block {
    shape: BlockShape,
    /// The hidden layers and the last one, to `theta`.
    layers: Vec<Dense>,
    /// The slope of a learnt activation.
    slope: f32,
    /// The interpolation matrix `[knots, H]`; none where it is the identity.
    basis: Option<Vec<f32>>,
}

/// A quantized network that forecasts, on the calling thread, in buffers that it keeps.
#[derive(Debug)]
pub struct Int8Network {
    config: Checked,
    blocks: Vec<Int8Block>,
    with: Instructions,
    /// Buffers that no call is using.
    free: Mutex<Vec<Buffers>>,
}

/// The values of one batch.
#[derive(Debug, Default)]
struct Buffers {
    x: Vec<f32>,
    one: Vec<f32>,
    other: Vec<f32>,
    residual: Vec<f32>,
    mask: Vec<f32>,
    forecast: Vec<f32>,
    scratch: Int8Scratch,
}

/// What a layer of a quantized model is made of.
#[derive(Debug, Clone, Copy)]
pub struct Int8Layer<'a> {
    /// How its input is laid on integers.
    pub input: LayerInput,
    /// Its weights.
    pub weight: &'a Int8Matrix,
}

impl Int8Network {
    /// A network of these settings. `integers` gives the layers that are integers, by their names
    /// ([`Checked::layer_names`]); `floats` the other weights, all biases and learnt slopes by their `state_dict` names.
    ///
    /// Layers whose inputs are not rounded multiply floats by the values that their integers stand for.
    ///
    /// # Errors
    /// A weight that is missing or has another shape.
    pub fn new<'a>(
        config: &Checked,
        integers: impl Fn(&str) -> Option<Int8Layer<'a>>,
        floats: impl Fn(&str) -> Option<(&'a [usize], &'a [f32])>,
    ) -> Result<Self, ModelError> {
        let float = |name: String, expected: &[usize]| -> Result<&'a [f32], ModelError> {
            let Some((shape, values)) = floats(&name) else {
                return Err(ModelError::MissingTensor { name, expected: expected.to_vec() });
            };
            if shape != expected || values.len() != expected.iter().product::<usize>() {
                let (expected, found) = (expected.to_vec(), shape.to_vec());
                return Err(ModelError::TensorShape { name, expected, found, values: values.len() });
            }
            Ok(values)
        };
        let specs = config.tensor_specs();
        let mut names = config.layer_names().into_iter();
        let blocks = config.blocks().iter().enumerate().map(|(number, shape)| {
            let mut widths = config.widths(shape);
            widths.push(shape.theta);
            let layer = |pair: &[usize]| {
                let [inputs, outputs] = [pair[0], pair[1]];
                let name = names.next().unwrap_or_default();
                let bias = float(format!("{name}.bias"), &[outputs])?;
                let rows = match integers(&name) {
                    Some(Int8Layer { weight, .. }) if [weight.outputs, weight.inputs] != [outputs, inputs] => {
                        let (found, values) = (vec![weight.outputs, weight.inputs], weight.values.len());
                        let expected = vec![outputs, inputs];
                        return Err(ModelError::TensorShape { name: format!("{name}.weight"), expected, found, values });
                    }
                    Some(Int8Layer { input: LayerInput::Dynamic, weight }) => {
                        return Ok(Dense::Int8(Int8Dense::new(weight, bias, RowScale::Measured)));
                    }
                    Some(Int8Layer { input: LayerInput::Fixed { scale, zero }, weight }) => {
                        let range = RowScale::Fixed(Int8Input { scale, zero });
                        return Ok(Dense::Int8(Int8Dense::new(weight, bias, range)));
                    }
                    Some(Int8Layer { weight, .. }) => weight.to_floats(),
                    None => float(format!("{name}.weight"), &[outputs, inputs])?.to_vec(),
                };
                Ok(Dense::Float(rows, bias.to_vec()))
            };
            let layers = widths.windows(2).map(layer).collect::<Result<_, _>>()?;
            let prefix = format!("blocks.{number}.");
            let slope = specs.iter().find(|s| s.shape == [1] && s.same_as.is_none() && s.name.starts_with(&prefix));
            let slope = match slope.filter(|_| config.activation == Activation::PRelu) {
                Some(spec) => float(spec.name.clone(), &[1])?[0],
                None => 0.0,
            };
            let basis = (shape.knots != config.horizon)
                .then(|| config.interpolation_mode.matrix(shape.knots, config.horizon));
            Ok(Int8Block { shape: *shape, layers, slope, basis })
        });
        let blocks = blocks.collect::<Result<_, ModelError>>()?;
        Ok(Self { config: config.clone(), blocks, with: Instructions::best(), free: Mutex::default() })
    }

    /// The same, computed with other instructions; the integers are the same with any.
    #[must_use]
    pub fn with_instructions(self, with: Instructions) -> Self {
        Self { with, ..self }
    }

    /// The forecast `[B, H, Q]`, row-major.
    ///
    /// # Panics
    /// When the input is not of the network's sizes.
    pub fn forecast(&self, input: &Int8Windows) -> Vec<f32> {
        // A poisoned lock only means that a thread died between two calls: buffers hold nothing from one to the next.
        let mut buffers = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let values = self.run(input, &mut buffers);
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(buffers);
        values
    }

    fn run(&self, input: &Int8Windows, buffers: &mut Buffers) -> Vec<f32> {
        let config = &self.config;
        let (steps, horizon, outputs) = (config.input_size, config.horizon, config.outputs);
        let n = input.insample_y.len() / steps;
        let sizes = [
            (input.insample_y.len(), steps),
            (input.insample_mask.len(), steps),
            (input.hist_exog.len(), steps * config.hist_exog),
            (input.futr_exog.len(), (steps + horizon) * config.futr_exog),
            (input.stat_exog.len(), config.stat_exog),
        ];
        assert!(sizes.iter().all(|(len, per_window)| *len == n * per_window), "a batch of the network's sizes");
        let Buffers { x, one, other, residual, mask, forecast, scratch } = buffers;
        reversed(input.insample_y, steps, residual);
        reversed(input.insample_mask, steps, mask);
        forecast.clear();
        for y in input.insample_y.chunks_exact(steps) {
            forecast.extend(std::iter::repeat_n(y[steps - 1], horizon * outputs));
        }
        let last = self.blocks.len() - 1;
        for (number, block) in self.blocks.iter().enumerate() {
            self.block_input(block, input, residual, x);
            let (output, hidden) = block.layers.split_last().expect("a block has at least two linear layers");
            let (mut from, mut to) = (&mut *x, &mut *one);
            let mut spare = &mut *other;
            for (i, layer) in hidden.iter().enumerate() {
                self.dense(layer, n, from, None, scratch, to);
                if i > 0 {
                    activate(config.activation, block.slope, to);
                }
                std::mem::swap(&mut from, &mut spare);
                std::mem::swap(&mut from, &mut to);
            }
            // The last block's backcast is read by no one.
            let skip = if number == last { steps } else { 0 };
            self.dense(output, n, from, Some(skip..block.shape.theta), scratch, to);
            let (width, knots) = (block.shape.theta - skip, block.shape.knots);
            for (row, theta) in to.chunks_exact(width).enumerate() {
                let (backcast, knots_of_row) = theta.split_at(steps - skip);
                if skip == 0 {
                    let at = row * steps..(row + 1) * steps;
                    let masked = residual[at.clone()].iter_mut().zip(&mask[at]);
                    masked.zip(backcast).for_each(|((left, mask), explained)| *left = (*left - explained) * mask);
                }
                let sums = &mut forecast[row * horizon * outputs..(row + 1) * horizon * outputs];
                for (sums, knots) in sums.chunks_exact_mut(horizon).zip(knots_of_row.chunks_exact(knots)) {
                    match &block.basis {
                        None => sums.iter_mut().zip(knots).for_each(|(sum, part)| *sum += part),
                        Some(basis) => {
                            for (knot, line) in knots.iter().zip(basis.chunks_exact(horizon)) {
                                sums.iter_mut().zip(line).for_each(|(sum, weight)| *sum += knot * weight);
                            }
                        }
                    }
                }
            }
        }
        by_step(forecast, horizon, outputs)
    }

    /// The outputs `wanted` (all of them without) of a layer for `n` rows.
    fn dense(
        &self,
        layer: &Dense,
        n: usize,
        x: &[f32],
        wanted: Option<std::ops::Range<usize>>,
        scratch: &mut Int8Scratch,
        out: &mut Vec<f32>,
    ) {
        match layer {
            Dense::Int8(layer) => {
                let wanted = wanted.unwrap_or(0..layer.outputs());
                out.clear();
                out.resize(n * wanted.len(), 0.0);
                layer.forward_into(self.with, x, wanted, scratch, out);
            }
            Dense::Float(weight, bias) => {
                let wanted = wanted.unwrap_or(0..bias.len());
                let inputs = weight.len() / bias.len();
                out.clear();
                for row in x.chunks_exact(inputs) {
                    let lines = weight[wanted.start * inputs..wanted.end * inputs].chunks_exact(inputs);
                    out.extend(lines.zip(&bias[wanted.clone()]).map(|(line, bias)| dot(row, line) + bias));
                }
            }
        }
    }

    /// The pooled residual and covariates of a block, `[B, inputs]`.
    fn block_input(&self, block: &Int8Block, input: &Int8Windows, residual: &[f32], out: &mut Vec<f32>) {
        let config = &self.config;
        let (steps, horizon, kernel) = (config.input_size, config.horizon, block.shape.pool_kernel);
        out.clear();
        let parts = [
            (input.hist_exog, steps, config.hist_exog),
            (input.futr_exog, steps + horizon, config.futr_exog),
        ];
        for (row, residual) in residual.chunks_exact(steps).enumerate() {
            pool(config.pooling_mode, kernel, 1, residual, out);
            for (values, steps, columns) in parts.iter().filter(|(.., columns)| *columns > 0) {
                let per_window = steps * columns;
                pool(config.pooling_mode, kernel, *columns, &values[row * per_window..(row + 1) * per_window], out);
            }
            out.extend(&input.stat_exog[row * config.stat_exog..(row + 1) * config.stat_exog]);
        }
    }
}

/// Rows of `steps` values, each turned round.
fn reversed(x: &[f32], steps: usize, out: &mut Vec<f32>) {
    out.clear();
    x.chunks_exact(steps).for_each(|row| out.extend(row.iter().rev()));
}

/// Pools `[T, C]` along time to `[ceil(T / kernel), C]`; a last, partial kernel uses what is there.
fn pool(mode: PoolingMode, kernel: usize, columns: usize, x: &[f32], out: &mut Vec<f32>) {
    if kernel == 1 {
        out.extend_from_slice(x);
        return;
    }
    // What is no number stays.
    let larger = |a: f32, b: f32| if b > a || b.is_nan() { b } else { a };
    for part in x.chunks(kernel * columns) {
        let rows = part.len() / columns;
        for column in 0..columns {
            let values = part[column..].iter().step_by(columns);
            out.push(match mode {
                PoolingMode::Max => values.copied().reduce(larger).unwrap_or(0.0),
                PoolingMode::Avg => values.sum::<f32>() / rows as f32,
            });
        }
    }
}

/// The activation of every value, in place. What is no number stays so.
fn activate(activation: Activation, slope: f32, x: &mut [f32]) {
    let (alpha, gamma) = (SELU_ALPHA as f32, SELU_GAMMA as f32);
    let leaky = |x: &mut [f32], slope: f32| x.iter_mut().for_each(|v| *v = if *v < 0.0 { *v * slope } else { *v });
    match activation {
        Activation::Relu => x.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v }),
        Activation::Softplus => x.iter_mut().for_each(|v| *v = v.max(0.0) + (-v.abs()).exp().ln_1p()),
        Activation::Tanh => x.iter_mut().for_each(|v| *v = v.tanh()),
        Activation::Selu => x.iter_mut().for_each(|v| {
            *v = if *v > 0.0 { *v * gamma } else { (v.exp() - 1.0) * (alpha * gamma) };
        }),
        Activation::LeakyRelu => leaky(x, LEAKY_SLOPE as f32),
        Activation::PRelu => leaky(x, slope),
        Activation::Sigmoid => x.iter_mut().for_each(|v| *v = 1.0 / (1.0 + (-*v).exp())),
    }
}

/// A product of two rows, in eight sums side by side.
fn dot(x: &[f32], weights: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a, b) = (x.chunks_exact(8), weights.chunks_exact(8));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// `[B, Q * H]`, quantile-major, as `[B, H, Q]`.
fn by_step(values: &[f32], horizon: usize, outputs: usize) -> Vec<f32> {
    if outputs == 1 {
        return values.to_vec();
    }
    let windows = values.chunks_exact(horizon * outputs);
    windows
        .flat_map(|window| (0..horizon).flat_map(move |step| (0..outputs).map(move |q| window[q * horizon + step])))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Int8Scheme;
    use crate::model::{InterpolationMode, ModelInput, NHits, NHitsConfig, NamedTensor, Quantization, to_host};
    use crate::random::{Purpose, Stream};

    fn normal(seed: u64, n: usize) -> Vec<f32> {
        let mut stream = Stream::new(seed, Purpose::Synthetic, &[n as u64]);
        (0..n).map(|_| stream.normal() as f32).collect()
    }

    /// Forecasts on tensors that imitate the integers, and by the integers.
    fn both<B: Backend>(
        config: &NHitsConfig,
        scheme: Int8Scheme,
        inputs: &dyn Fn(usize) -> Option<LayerInput>,
        rows: usize,
        device: &B::Device,
    ) -> (Vec<f32>, Vec<Vec<f32>>) {
        let config = config.check().unwrap();
        let net = NHits::<B>::new(&config, 3, device);
        let names = config.layer_names();
        let layers: Vec<_> = (0..names.len()).map(inputs).collect();
        let weights: Vec<NamedTensor> = net.tensors();
        let find = |name: &str| weights.iter().find(|t| t.name == name).unwrap();
        let matrices: Vec<Int8Matrix> = names
            .iter()
            .map(|name| {
                let w = find(&format!("{name}.weight"));
                Int8Matrix::from_floats(&w.data, w.shape[0], w.shape[1], scheme)
            })
            .collect();
        let imitation = net.rounded(Quantization { layers: layers.clone(), rounding: Some(scheme) });
        let (steps, horizon) = (config.input_size, config.horizon);
        let y = normal(1, rows * steps);
        let mask: Vec<f32> = (0..rows * steps).map(|i| if i % 7 == 3 { 0.0 } else { 1.0 }).collect();
        let hist = normal(2, rows * steps * config.hist_exog);
        let futr = normal(4, rows * (steps + horizon) * config.futr_exog);
        let stat = normal(5, rows * config.stat_exog);
        let some = |n: usize| n > 0;
        let input = ModelInput {
            insample_y: Tensor::from_data(TensorData::new(y.clone(), [rows, steps]), device),
            insample_mask: Tensor::from_data(TensorData::new(mask.clone(), [rows, steps]), device),
            hist_exog: some(config.hist_exog)
                .then(|| Tensor::from_data(TensorData::new(hist.clone(), [rows, steps, config.hist_exog]), device)),
            futr_exog: some(config.futr_exog).then(|| {
                Tensor::from_data(TensorData::new(futr.clone(), [rows, steps + horizon, config.futr_exog]), device)
            }),
            stat_exog: some(config.stat_exog)
                .then(|| Tensor::from_data(TensorData::new(stat.clone(), [rows, config.stat_exog]), device)),
        };
        let want = to_host(imitation.forward(&input));
        let windows = Int8Windows {
            insample_y: &y,
            insample_mask: &mask,
            hist_exog: &hist,
            futr_exog: &futr,
            stat_exog: &stat,
        };
        let got = Instructions::ALL.into_iter().map(|with| {
            let integers = |name: &str| {
                let at = names.iter().position(|n| n == name).unwrap();
                layers[at].map(|input| Int8Layer { input, weight: &matrices[at] })
            };
            let floats = |name: &str| weights.iter().find(|t| t.name == name).map(|t| (&t.shape[..], &t.data[..]));
            let network = Int8Network::new(&config, integers, floats).unwrap().with_instructions(with);
            // Twice: the second call uses the buffers of the first.
            assert_eq!(network.forecast(&windows), network.forecast(&windows));
            network.forecast(&windows)
        });
        (want, got.collect())
    }

    #[test]
    fn integers_forecast_what_the_imitation_on_tensors_does() {
        on_backend!(|B, device| {
            let small = NHitsConfig {
                input_size: 23,
                horizon: 10,
                outputs: 3,
                n_blocks: vec![2, 1],
                mlp_units: vec![[24, 20], [20, 18]],
                n_pool_kernel_size: vec![3, 1],
                n_freq_downsample: vec![4, 1],
                hist_exog: 2,
                futr_exog: 1,
                stat_exog: 2,
                ..NHitsConfig::default()
            };
            let mut configs = vec![
                NHitsConfig { pooling_mode: PoolingMode::Avg, interpolation_mode: InterpolationMode::Cubic, ..small.clone() },
                NHitsConfig { outputs: 1, hist_exog: 0, futr_exog: 0, stat_exog: 0, ..small.clone() },
            ];
            let of = |activation: &Activation| NHitsConfig { activation: *activation, ..small.clone() };
            configs.extend(Activation::ALL.iter().map(of));
            let fixed = LayerInput::from(Int8Input::covering(-1.3, 1.7));
            let scheme = |symmetric, per_channel| Int8Scheme { symmetric, per_channel };
            let cases: [(Int8Scheme, &dyn Fn(usize) -> Option<LayerInput>); 4] = [
                (scheme(true, true), &|_| Some(LayerInput::Dynamic)),
                (scheme(false, true), &|_| Some(fixed)),
                (scheme(true, false), &|i| [None, Some(LayerInput::Dynamic), Some(LayerInput::Float)][i % 3]),
                (scheme(false, false), &|i| [Some(LayerInput::Dynamic), None, Some(fixed)][i % 3]),
            ];
            for config in &configs {
                for (scheme, inputs) in &cases {
                    for rows in [1, 5] {
                        let (want, got) = both::<B>(config, *scheme, inputs, rows, &device);
                        let most = want.iter().fold(0.0f32, |m, v| m.max(v.abs()));
                        for (with, got) in Instructions::ALL.iter().zip(&got) {
                            assert_eq!(got.len(), want.len());
                            let apart = want.iter().zip(got).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
                            // A value between two integers may go to either, which is a step of the layer's input.
                            assert!(apart <= 4e-3 * most, "{}: {apart} of {most}, {config:?} {scheme:?}", with.name());
                        }
                        assert!(got.windows(2).all(|g| g[0] == g[1]), "other instructions, other forecasts");
                    }
                }
            }
        });
    }

    #[test]
    fn a_missing_or_misshapen_weight_is_named() {
        let config = NHitsConfig { input_size: 8, horizon: 2, mlp_units: vec![[4, 4]], ..Default::default() };
        let config = config.check().unwrap();
        let error = Int8Network::new(&config, |_| None, |_| None).unwrap_err().to_string();
        assert!(error.contains("blocks.0.layers.0.bias"), "{error}");
        let bias = [0.0; 4];
        let matrix = Int8Matrix { outputs: 4, inputs: 9, values: vec![0; 36], scales: vec![1.0], zeros: None };
        let integers = |_: &str| Some(Int8Layer { input: LayerInput::Dynamic, weight: &matrix });
        let error = Int8Network::new(&config, integers, |_| Some((&[4], &bias))).unwrap_err().to_string();
        assert!(error.contains("blocks.0.layers.0.weight") && error.contains("[4, 9]"), "{error}");
    }
}
