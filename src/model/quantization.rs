//! A network whose layers compute in 8 bits: what is rounded how, and the same on tensors of any backend.
//!
//! On tensors the integers are imitated: a value is rounded to the float that its integer stands for. In training the
//! gradient passes through the rounding as if it were not there (the straight-through estimator; Bengio et al. 2013,
//! arXiv 1308.3432; Jacob et al. 2018, arXiv 1712.05877), and where ranges are learned, it reaches them (Esser et al.
//! 2020, *Learned step size quantization*, arXiv 1902.08153).

use burn::tensor::{Tensor, backend::Backend};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::word_enum;
use super::{Activation, Checked};
use crate::error::{InvalidSetting, listed, nearest};
use crate::kernel::{Int8Input, Int8Scheme};

/// How the inputs of layers are laid on integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Activations {
    /// Each window by its own least and largest value, while it is forecast: nothing is ever cut off.
    #[default]
    #[serde(rename = "dynamic")]
    Dynamic,
    /// By the least and the largest value that calibration windows have.
    #[serde(rename = "minmax")]
    MinMax,
    /// By the percentiles of the values that calibration windows have: what is outside is cut off.
    #[serde(rename = "percentile")]
    Percentile,
    /// Not at all: only weights are integers.
    #[serde(rename = "none")]
    None,
}

word_enum!(Activations, "quantize.activations", {
    Dynamic => "dynamic",
    MinMax => "minmax" | "min-max",
    Percentile => "percentile",
    None => "none" | "weights-only",
});

/// The settings of a quantization (`[train.quantize]` in TOML, the flags of `nhits quantize`).
///
/// | name | default | range | purpose |
/// |---|---|---|---|
/// | `bits` | 8 | 8 | bits of an integer |
/// | `symmetric` | true | | weights have no zero point; else each range has one |
/// | `per_channel` | true | | each output of a layer has a scale of its own, else one for the layer |
/// | `activations` | dynamic | dynamic, minmax, percentile, none | how the inputs of layers are laid on integers |
/// | `percentile` | 99.99 | 50 < p <= 100 | share of calibration values within the range, for `percentile` |
/// | `calibration_samples` | 1000 | 1..=100,000 | training windows that ranges and errors are measured on |
/// | `float_layers` | none | names of layers | layers that stay in f32, for instance `blocks.0.layers.0` |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QuantizationConfig {
    /// Bits of an integer: 8.
    pub bits: u32,
    /// Weights have no zero point.
    pub symmetric: bool,
    /// Each output has a scale of its own.
    pub per_channel: bool,
    /// How the inputs of layers are laid on integers.
    pub activations: Activations,
    /// Share of calibration values within the range, in percent.
    pub percentile: f64,
    /// Training windows that are looked at.
    pub calibration_samples: usize,
    /// Layers that stay in f32.
    pub float_layers: Vec<String>,
}

impl Default for QuantizationConfig {
    fn default() -> Self {
        Self {
            bits: 8,
            symmetric: true,
            per_channel: true,
            activations: Activations::default(),
            percentile: 99.99,
            calibration_samples: 1000,
            float_layers: Vec::new(),
        }
    }
}

impl QuantizationConfig {
    /// Checks every setting but the names of layers, which depend on the network.
    ///
    /// # Errors
    /// The first one that is out of its range.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        if self.bits != 8 {
            return Err(InvalidSetting::new("quantize.bits", self.bits, "8", "leave it out"));
        }
        if !(self.percentile > 50.0 && self.percentile <= 100.0) {
            let allowed = "a number above 50, at most 100";
            return Err(InvalidSetting::new("quantize.percentile", self.percentile, allowed, "99.99 is usual"));
        }
        if !(1..=100_000).contains(&self.calibration_samples) {
            let n = self.calibration_samples;
            return Err(InvalidSetting::new("quantize.calibration_samples", n, "1..=100000", "1000 is usual"));
        }
        Ok(())
    }

    /// Checks everything, for a network.
    ///
    /// # Errors
    /// The first setting that is out of its range, or a layer that the network does not have.
    pub fn check_for(&self, network: &Checked) -> Result<(), InvalidSetting> {
        self.check()?;
        let names = network.layer_names();
        if let Some(unknown) = self.float_layers.iter().find(|n| !names.contains(n)) {
            let remedy = match nearest(unknown, names.iter()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`nhits quantize` lists the layers".into(),
            };
            let allowed = format!("layers of the network: {}", listed(&names, 4));
            return Err(InvalidSetting::new("quantize.float_layers", unknown, allowed, remedy));
        }
        if self.float_layers.len() >= names.len() && names.iter().all(|n| self.float_layers.contains(n)) {
            let remedy = "leave some of them out";
            return Err(InvalidSetting::new("quantize.float_layers", "all layers", "not all of them", remedy));
        }
        Ok(())
    }

    /// How weights are laid on integers.
    pub fn scheme(&self) -> Int8Scheme {
        Int8Scheme { symmetric: self.symmetric, per_channel: self.per_channel }
    }

    /// Whether a layer of this name stays in f32.
    pub fn is_float(&self, layer: &str) -> bool {
        self.float_layers.iter().any(|n| n == layer)
    }
}

/// How the input of a layer of integer weights is treated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerInput {
    /// It stays as it is.
    Float,
    /// Each row is laid on integers by its own range.
    Dynamic,
    /// It is laid on integers by a range that was settled before.
    Fixed {
        /// The step between two integers.
        scale: f32,
        /// The integer that stands for 0.
        zero: u8,
    },
    /// The range is a parameter of the network, and learned with its weights.
    Learned {
        /// Whether there may be negative values.
        signed: bool,
    },
}

impl LayerInput {
    /// Whether it is laid on integers in a way that is settled, so that the layer can compute in integers.
    pub fn is_rounded(self) -> bool {
        matches!(self, Self::Dynamic | Self::Fixed { .. })
    }
}

impl From<Int8Input> for LayerInput {
    fn from(input: Int8Input) -> Self {
        Self::Fixed { scale: input.scale, zero: input.zero }
    }
}

/// What of a network is quantized.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantization {
    /// The input of each layer, in the order of [`Checked::layer_names`]; none for a layer that stays in f32.
    pub layers: Vec<Option<LayerInput>>,
    /// Weights are rounded as they are used (in training); without, they lie on their integers already.
    pub rounding: Option<Int8Scheme>,
}

impl Quantization {
    /// What training under a configuration quantizes: ranges that calibration would settle are learned.
    pub fn training(config: &QuantizationConfig, network: &Checked) -> Self {
        let per_block = network.layers_per_block();
        let layer = |(number, name): (usize, String)| {
            (!config.is_float(&name)).then(|| match config.activations {
                Activations::Dynamic => LayerInput::Dynamic,
                Activations::None => LayerInput::Float,
                // The first two layers see windows, and what a layer without activation gives.
                Activations::MinMax | Activations::Percentile => {
                    LayerInput::Learned { signed: number % per_block < 2 || !gives_no_negative(network.activation) }
                }
            })
        };
        let layers = network.layer_names().into_iter().enumerate().map(layer).collect();
        Self { layers, rounding: Some(config.scheme()) }
    }

    /// Whether the range of layer `number` is a parameter.
    pub(crate) fn learns(&self, number: usize) -> bool {
        matches!(self.layers.get(number), Some(Some(LayerInput::Learned { .. })))
    }
}

fn gives_no_negative(activation: Activation) -> bool {
    matches!(activation, Activation::Relu | Activation::Softplus | Activation::Sigmoid)
}

/// A learned range is `exp(SENSITIVITY * parameter)`: positive whatever the parameter is, and a step of an optimizer that
/// moves every parameter by about its rate changes a range by ten times that share.
const SENSITIVITY: f32 = 10.0;

/// The steps from 0 to the end of a learned range.
fn learned_steps(signed: bool) -> f32 {
    if signed { crate::kernel::SYMMETRIC } else { crate::kernel::STEPS }
}

/// Parameters beyond this are taken for it: their ranges are far from every value, and still numbers.
const MOST_PARAMETER: f32 = 5.0;

/// The parameter of a learned range that begins with a reach of `reach`.
pub(crate) fn first_range(reach: f32) -> f32 {
    (reach.max(1e-6).ln() / SENSITIVITY).min(MOST_PARAMETER)
}

/// The range that a learned parameter stands for.
pub fn learned_range(parameter: f32, signed: bool) -> Int8Input {
    let parameter = parameter.clamp(-MOST_PARAMETER, MOST_PARAMETER);
    let scale = (parameter * SENSITIVITY).exp() / learned_steps(signed);
    Int8Input { scale, zero: if signed { 128 } else { 0 } }
}

/// `value` with the gradient of `like`.
fn straight_through<B: Backend, const D: usize>(value: Tensor<B, D>, like: Tensor<B, D>) -> Tensor<B, D> {
    // The difference is exactly 0, so the value stays to the bit.
    value.detach() + (like.clone() - like.detach())
}

/// Weights `[in, out]` rounded to what their integers stand for.
pub(crate) fn rounded_weights<B: Backend>(weight: Tensor<B, 2>, scheme: Int8Scheme) -> Tensor<B, 2> {
    use crate::kernel::{LEAST_SCALE, STEPS, SYMMETRIC};
    let w = weight.clone().detach();
    let whole = |t: Tensor<B, 2>, largest: bool| match (scheme.per_channel, largest) {
        (true, true) => t.max_dim(0),
        (true, false) => t.min_dim(0),
        (false, true) => t.max().reshape([1, 1]),
        (false, false) => t.min().reshape([1, 1]),
    };
    let rounded = if scheme.symmetric {
        let scale = whole(w.clone().abs(), true).div_scalar(SYMMETRIC).clamp_min(LEAST_SCALE);
        (w / scale.clone()).round().clamp(-SYMMETRIC, SYMMETRIC) * scale
    } else {
        let (low, high) = (whole(w.clone(), false).clamp_max(0.0), whole(w.clone(), true).clamp_min(0.0));
        let scale = (high.div_scalar(STEPS) - low.clone().div_scalar(STEPS)).clamp_min(LEAST_SCALE);
        let zero = (low / scale.clone()).neg().sub_scalar(128.0).round().clamp(-128.0, 127.0);
        let integers = ((w / scale.clone()).round() + zero.clone()).clamp(-128.0, 127.0);
        (integers - zero) * scale
    };
    straight_through(rounded, weight)
}

/// The input `[B, in]` of a layer rounded to what its integers stand for; `range` `[1]` is the parameter of a learned one.
pub(crate) fn rounded_input<B: Backend>(
    x: Tensor<B, 2>,
    input: LayerInput,
    range: Option<Tensor<B, 1>>,
) -> Tensor<B, 2> {
    use crate::kernel::{LEAST_SCALE, STEPS};
    match input {
        LayerInput::Float => x,
        LayerInput::Dynamic => {
            let v = x.clone().detach();
            let (low, high) = (v.clone().min_dim(1).clamp_max(0.0), v.clone().max_dim(1).clamp_min(0.0));
            let scale = (high.div_scalar(STEPS) - low.clone().div_scalar(STEPS)).clamp_min(LEAST_SCALE);
            let zero = (low / scale.clone()).neg().round().clamp(0.0, STEPS);
            let integers = ((v / scale.clone()).round() + zero.clone()).clamp(0.0, STEPS);
            straight_through((integers - zero) * scale, x)
        }
        LayerInput::Fixed { scale, zero } => {
            let zero = f32::from(zero);
            let integers = x.clone().detach().div_scalar(scale).round().add_scalar(zero).clamp(0.0, STEPS);
            straight_through(integers.sub_scalar(zero).mul_scalar(scale), x)
        }
        LayerInput::Learned { signed } => {
            // A block that learns ranges has a parameter for each: see `Block::new`.
            let Some(range) = range else { return x };
            let range = range.clamp(-MOST_PARAMETER, MOST_PARAMETER);
            let scale = range.mul_scalar(SENSITIVITY).exp().div_scalar(learned_steps(signed)).reshape([1, 1]);
            let (least, most) = if signed { (-128.0, 127.0) } else { (0.0, STEPS) };
            let steps = (x / scale.clone()).clamp(least, most);
            straight_through(steps.clone().round(), steps) * scale
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::kernel::{Int8Matrix, STEPS};
    use crate::model::{NHitsConfig, state_dict_order, to_host};
    use crate::random::{Purpose, Stream};

    fn tensor<B: Backend, const D: usize>(shape: [usize; D], device: &B::Device) -> Tensor<B, D> {
        let mut stream = Stream::new(3, Purpose::Synthetic, &[shape.iter().sum::<usize>() as u64]);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| stream.normal() as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    #[test]
    fn rounded_weights_are_those_that_the_integers_stand_for() {
        on_backend!(|B, device| {
            let w = tensor::<B, 2>([33, 17], &device);
            for symmetric in [true, false] {
                for per_channel in [true, false] {
                    let scheme = Int8Scheme { symmetric, per_channel };
                    let got = state_dict_order(rounded_weights(w.clone(), scheme));
                    let want = Int8Matrix::from_floats(&state_dict_order(w.clone()), 17, 33, scheme).to_floats();
                    assert_eq!(got, want, "{scheme:?}");
                }
            }
        });
    }

    #[test]
    fn rounded_inputs_are_those_that_the_integers_stand_for() {
        on_backend!(|B, device| {
            let x = tensor::<B, 2>([5, 40], &device);
            let rows = to_host(x.clone());
            let ends = |row: &[f32]| row.iter().fold((0.0f32, 0.0f32), |(l, h), v| (l.min(*v), h.max(*v)));
            let of = |range: &dyn Fn(&[f32]) -> Int8Input| -> Vec<f32> {
                let back = |row: &[f32]| {
                    let range = range(row);
                    row.iter().map(|v| range.value(range.integer(*v))).collect::<Vec<_>>()
                };
                rows.chunks(40).flat_map(back).collect()
            };
            let dynamic = to_host(rounded_input(x.clone(), LayerInput::Dynamic, None));
            assert_eq!(dynamic, of(&|row| Int8Input::covering(ends(row).0, ends(row).1)));
            let fixed = Int8Input::covering(-1.5, 0.7);
            let got = to_host(rounded_input(x.clone(), fixed.into(), None));
            assert_eq!(got, of(&|_| fixed));
            assert_eq!(to_host(rounded_input(x.clone(), LayerInput::Float, None)), rows);
            for signed in [true, false] {
                let parameter = first_range(1.25);
                let range = Tensor::from_floats([parameter], &device);
                let got = to_host(rounded_input(x.clone(), LayerInput::Learned { signed }, Some(range)));
                let range = learned_range(parameter, signed);
                // The scale is computed by the device, whose exponential may be another float.
                for (g, w) in got.iter().zip(of(&|_| range)) {
                    assert!((g - w).abs() < 1e-5, "{g} {w}");
                }
                assert!((range.scale * learned_steps(signed) - 1.25).abs() < 1e-4);
            }
        });
    }

    #[test]
    fn gradients_pass_through_the_rounding_and_reach_learned_ranges() {
        on_backend!(|B, device| {
            let w = tensor::<B, 2>([4, 3], &device).require_grad();
            let scheme = Int8Scheme { symmetric: true, per_channel: true };
            let gradient = w.grad(&rounded_weights(w.clone(), scheme).sum().backward()).unwrap();
            assert_eq!(to_host(gradient), [1.0; 12]);
            // Ranges to 1: 0.3 is inside, 2 and -3 are cut off and have no gradient, the range has that of its ends.
            let x = Tensor::<B, 2>::from_floats([[0.3, 2.0, -3.0]], &device).require_grad();
            let range = Tensor::<B, 1>::from_floats([first_range(1.0)], &device).require_grad();
            let y = rounded_input(x.clone(), LayerInput::Learned { signed: true }, Some(range.clone()));
            let grads = y.sum().backward();
            assert_eq!(to_host(x.grad(&grads).unwrap()), [1.0, 0.0, 0.0]);
            let scale = 1.0 / 127.0;
            let inside = (0.3f32 / scale).round() - 0.3 / scale;
            let want = (inside + 127.0 - 128.0) * scale * SENSITIVITY;
            let got = to_host(range.grad(&grads).unwrap())[0];
            assert!((got - want).abs() < 1e-4, "{got} {want}");
        });
    }

    #[test]
    fn settings_out_of_range_and_unknown_layers_are_named() {
        let network = NHitsConfig::default().check().unwrap();
        QuantizationConfig::default().check_for(&network).unwrap();
        let field = |change: &dyn Fn(&mut QuantizationConfig)| {
            let mut config = QuantizationConfig::default();
            change(&mut config);
            config.check_for(&network).unwrap_err().field
        };
        assert_eq!(field(&|c| c.bits = 4), "quantize.bits");
        assert_eq!(field(&|c| c.percentile = 50.0), "quantize.percentile");
        assert_eq!(field(&|c| c.percentile = f64::NAN), "quantize.percentile");
        assert_eq!(field(&|c| c.calibration_samples = 0), "quantize.calibration_samples");
        assert_eq!(field(&|c| c.float_layers = vec!["blocks.0.layers.9".into()]), "quantize.float_layers");
        assert_eq!(field(&|c| c.float_layers = network.layer_names()), "quantize.float_layers");
        let text = r#"{"symetric": true}"#;
        assert!(serde_json::from_str::<QuantizationConfig>(text).unwrap_err().to_string().contains("symetric"));
    }

    #[test]
    fn training_learns_the_ranges_that_calibration_would_settle() {
        let network = NHitsConfig { dropout: 0.0, ..NHitsConfig::default() }.check().unwrap();
        let with = |activations| {
            let config = QuantizationConfig {
                activations,
                float_layers: vec!["blocks.1.layers.0".into()],
                ..Default::default()
            };
            Quantization::training(&config, &network).layers
        };
        let learned = with(Activations::MinMax);
        assert_eq!(learned.len(), 12);
        assert_eq!(learned[4], None);
        assert_eq!(learned[1], Some(LayerInput::Learned { signed: true }));
        assert_eq!(learned[2], Some(LayerInput::Learned { signed: false }));
        assert_eq!(with(Activations::Dynamic)[0], Some(LayerInput::Dynamic));
        assert_eq!(with(Activations::None)[0], Some(LayerInput::Float));
        let tanh = NHitsConfig { activation: Activation::Tanh, ..NHitsConfig::default() }.check().unwrap();
        let config = QuantizationConfig { activations: Activations::MinMax, ..Default::default() };
        assert_eq!(Quantization::training(&config, &tanh).layers[2], Some(LayerInput::Learned { signed: true }));
        assert!(learned_range(first_range(STEPS), false).scale > 0.99);
    }
}
