//! The shape of a network: its settings, the one place where they are checked, and the sizes that follow from them.

use std::ops::Deref;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::embedding::EmbeddingConfig;
use super::{Activation, InterpolationMode, ModelError, PoolingMode, Quantization};
use crate::error::InvalidSetting;

/// Gives an enum of plain words its `ALL`, `name`, `Display` and `FromStr`; the first word of each line is its name,
/// the others are spellings of neuralforecast.
macro_rules! word_enum {
    ($type:ident, $field:literal, { $($variant:ident => $name:literal $(| $alias:literal)*),+ $(,)? }) => {
        impl $type {
            /// All of them.
            pub const ALL: &'static [$type] = &[$($type::$variant),+];

            /// The word for it in files and on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name),+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = crate::error::InvalidSetting;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($name $(| $alias)* => Ok($type::$variant),)+
                    _ => {
                        let names = [$($name),+];
                        let remedy = match crate::error::nearest(word, names.iter()) {
                            Some(near) => format!("did you mean `{near}`?"),
                            None => String::new(),
                        };
                        let allowed = format!("one of {}", crate::error::listed(&names, names.len()));
                        Err(crate::error::InvalidSetting::new($field, word, allowed, remedy))
                    }
                }
            }
        }
    };
}
pub(crate) use word_enum;

/// The most weights a network may have.
const MOST_WEIGHTS: usize = 1 << 31;
/// The most blocks a network may have, in all its stacks together.
const MOST_BLOCKS: usize = 1000;
/// The most hidden layers a block may have.
const MOST_LAYERS: usize = 100;
/// The longest horizon.
const MOST_STEPS: usize = 1_000_000;
/// The most values that the interpolation matrices of all blocks may hold (1 GiB).
const MOST_INTERPOLATED: usize = 1 << 28;

/// The settings of an N-HiTS network, unchecked; [`NHitsConfig::check`] gives the checked ones that can be built.
///
/// | Name | Default | Range | Purpose |
/// |---|---|---|---|
/// | `input_size` | 168 | >= 1 | input steps `L` |
/// | `horizon` | 24 | 1..=1,000,000 | steps to forecast `H` |
/// | `outputs` | 1 | >= 1 | values per step `Q`; follows from the loss |
/// | `n_blocks` | 1, 1, 1 | each >= 1, at most 1000 in all | blocks of each stack |
/// | `mlp_units` | 2 x [512, 512] | at most 100, each >= 1, chained | inputs and outputs of the hidden layers of every block |
/// | `n_pool_kernel_size` | 2, 2, 1 | each >= 1, one per stack | pooling of the input of each stack |
/// | `n_freq_downsample` | 4, 2, 1 | each >= 1, one per stack | `H / n` knots of each stack's forecast |
/// | `pooling_mode` | max | max, avg | |
/// | `interpolation_mode` | linear | linear, nearest, cubic | from knots to the horizon |
/// | `activation` | relu | see [`Activation`] | after each hidden layer |
/// | `dropout` | 0.1 | 0 <= p < 1 | share of hidden units dropped in training |
/// | `hist_exog`, `futr_exog`, `stat_exog` | 0 | | numbers of historical, future, static columns |
/// | `embeddings` | none | see [`EmbeddingConfig`] | static columns of categories |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NHitsConfig {
    /// Input steps `L`.
    pub input_size: usize,
    /// Steps to forecast `H`.
    pub horizon: usize,
    /// Values per forecast step `Q`: 1 for a point loss, the number of quantiles for a quantile loss.
    pub outputs: usize,
    /// Blocks of each stack; its length is the number of stacks.
    pub n_blocks: Vec<usize>,
    /// Inputs and outputs of the hidden layers of every block, after a first layer to the first of them.
    pub mlp_units: Vec<[usize; 2]>,
    /// Pooling kernel (and stride) of each stack; larger ones see slower movements.
    pub n_pool_kernel_size: Vec<usize>,
    /// Steps per knot of each stack's forecast (the paper's inverse expressivity ratio); larger ones forecast smoother.
    pub n_freq_downsample: Vec<usize>,
    /// What pooling keeps.
    pub pooling_mode: PoolingMode,
    /// How knots are spread over the horizon.
    pub interpolation_mode: InterpolationMode,
    /// The function after each hidden layer.
    pub activation: Activation,
    /// Share of hidden units dropped in training, `[0, 1)`.
    pub dropout: f64,
    /// Columns known up to the origin, `X`.
    pub hist_exog: usize,
    /// Columns known ahead, `F`.
    pub futr_exog: usize,
    /// Columns that do not change with time, `S`.
    pub stat_exog: usize,
    /// Columns of categories that do not change with time, each with a learned vector per category.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub embeddings: Vec<EmbeddingConfig>,
}

impl Default for NHitsConfig {
    fn default() -> Self {
        Self {
            input_size: 168,
            horizon: 24,
            outputs: 1,
            n_blocks: vec![1; 3],
            mlp_units: vec![[512, 512]; 2],
            n_pool_kernel_size: default_pool_kernels(3),
            n_freq_downsample: default_freq_downsample(3),
            pooling_mode: PoolingMode::default(),
            interpolation_mode: InterpolationMode::default(),
            activation: Activation::default(),
            dropout: 0.1,
            hist_exog: 0,
            futr_exog: 0,
            stat_exog: 0,
            embeddings: Vec::new(),
        }
    }
}

/// The usual steps per knot for so many stacks: descending powers of two that end in 1 (`4, 2, 1` for three).
pub fn default_freq_downsample(n_stacks: usize) -> Vec<usize> {
    (0..n_stacks).rev().map(|i| 1usize << i.min(20)).collect()
}

/// The usual pooling kernels for so many stacks: as [`default_freq_downsample`], capped at 2 (`2, 2, 1` for three).
pub fn default_pool_kernels(n_stacks: usize) -> Vec<usize> {
    default_freq_downsample(n_stacks).into_iter().map(|f| f.min(2)).collect()
}

/// The sizes of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockShape {
    /// The stack it belongs to.
    pub stack: usize,
    /// Its pooling kernel.
    pub pool_kernel: usize,
    /// Columns of its pooled input: `ceil(L/k) + X ceil(L/k) + F ceil((L+H)/k) + S`.
    pub inputs: usize,
    /// Knots of each output over the horizon: `max(H / n_freq_downsample, 1)`.
    pub knots: usize,
    /// Columns of its last layer: `L + Q * knots`.
    pub theta: usize,
}

/// Settings that were checked, with the sizes that follow from them; reads like the [`NHitsConfig`] inside.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    config: NHitsConfig,
    blocks: Vec<BlockShape>,
    n_parameters: usize,
    quantization: Option<Arc<Quantization>>,
}

impl Deref for Checked {
    type Target = NHitsConfig;

    fn deref(&self) -> &NHitsConfig {
        &self.config
    }
}

impl Checked {
    /// Number of stacks.
    pub fn n_stacks(&self) -> usize {
        self.n_blocks.len()
    }

    /// The sizes of each block, in order.
    pub fn blocks(&self) -> &[BlockShape] {
        &self.blocks
    }

    /// Number of weights that are trained.
    pub fn n_parameters(&self) -> usize {
        self.n_parameters
    }

    /// Linear layers of each block.
    pub fn layers_per_block(&self) -> usize {
        self.mlp_units.len() + 2
    }

    /// The linear layers, by the names of their weights without the ending: `blocks.0.layers.0`, ...
    pub fn layer_names(&self) -> Vec<String> {
        let of_blocks = |spec: &super::TensorSpec| spec.shape.len() == 2 && spec.name.starts_with("blocks.");
        let matrices = self.tensor_specs().into_iter().filter(of_blocks);
        matrices.filter_map(|spec| spec.name.strip_suffix(".weight").map(str::to_string)).collect()
    }

    /// The same network with layers in 8 bits. Ranges that are learned are weights of the network.
    #[must_use]
    pub fn with_quantization(&self, quantization: Quantization) -> Self {
        let learned = (0..quantization.layers.len()).filter(|i| quantization.learns(*i)).count();
        let known = self.quantization().map_or(0, |q| (0..q.layers.len()).filter(|i| q.learns(*i)).count());
        let n_parameters = self.n_parameters - known + learned;
        Self { n_parameters, quantization: Some(Arc::new(quantization)), ..self.clone() }
    }

    /// What is quantized, if anything is.
    pub fn quantization(&self) -> Option<&Quantization> {
        self.quantization.as_deref()
    }

    /// Widths of a block's layers from its input to its last hidden layer: `[inputs, units...]`.
    pub(crate) fn widths(&self, block: &BlockShape) -> Vec<usize> {
        let mut widths = vec![block.inputs, self.mlp_units[0][0]];
        widths.extend(self.mlp_units.iter().map(|[_, outputs]| *outputs));
        widths
    }
}

impl NHitsConfig {
    /// Checks every setting and works out all sizes.
    ///
    /// # Errors
    /// [`ModelError::Setting`] with field, value, allowed range and remedy, for the first setting that is not allowed;
    /// also where the network would have more than 2^31 weights.
    pub fn check(&self) -> Result<Checked, ModelError> {
        let n_stacks = self.n_blocks.len();
        // The horizon first: the default input follows from it.
        if self.horizon == 0 || self.horizon > MOST_STEPS {
            let allowed = format!("a whole number from 1 to {MOST_STEPS}");
            return Err(invalid("model.horizon", self.horizon, allowed, "give the number of steps to forecast"));
        }
        positive(
            "model.input_size",
            self.input_size,
            "give the number of input steps, for instance twice the horizon",
        )?;
        positive(
            "model.outputs",
            self.outputs,
            "a point loss has 1 output per step, a quantile loss one per quantile",
        )?;
        if n_stacks == 0 {
            return Err(invalid("model.n_blocks", "an empty list", "one number per stack", "use 1, 1, 1"));
        }
        each_positive("model.n_blocks", &self.n_blocks, "use 1, 1, 1")?;
        match self.n_blocks.iter().try_fold(0usize, |sum, n| sum.checked_add(*n)) {
            Some(total) if total <= MOST_BLOCKS => {}
            _ => {
                let allowed = format!("at most {MOST_BLOCKS} blocks in all");
                return Err(invalid("model.n_blocks", shown(&self.n_blocks), allowed, "use fewer blocks"));
            }
        }
        self.check_units()?;
        for (field, values, usual) in [
            ("model.n_pool_kernel_size", &self.n_pool_kernel_size, default_pool_kernels(n_stacks)),
            ("model.n_freq_downsample", &self.n_freq_downsample, default_freq_downsample(n_stacks)),
        ] {
            let remedy = format!("use {}", shown(&usual));
            if values.len() != n_stacks {
                let allowed = format!("{n_stacks} numbers, one per stack (model.n_blocks has {n_stacks})");
                return Err(invalid(field, shown(values), allowed, remedy));
            }
            each_positive(field, values, &remedy)?;
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(invalid("model.dropout", self.dropout, "a number from 0 up to, not including, 1", "use 0.1"));
        }
        for embedding in &self.embeddings {
            embedding.check()?;
        }
        let too_large = || {
            invalid(
                "model.mlp_units",
                self.mlp_units.iter().map(|u| format!("[{}, {}]", u[0], u[1])).collect::<Vec<_>>().join(", "),
                format!("a network of at most {MOST_WEIGHTS} weights"),
                "use fewer hidden units or blocks, a shorter input or horizon, or fewer columns",
            )
        };
        let sizes = self.sizes().ok_or_else(too_large)?;
        let (blocks, n_parameters) = sizes;
        if n_parameters > MOST_WEIGHTS {
            return Err(too_large());
        }
        // With as many knots as steps there is no matrix.
        let matrices = blocks.iter().filter(|b| b.knots != self.horizon).map(|b| b.knots * self.horizon);
        if matrices.fold(0, usize::saturating_add) > MOST_INTERPOLATED {
            return Err(invalid(
                "model.n_freq_downsample",
                shown(&self.n_freq_downsample),
                format!("knots * horizon of all blocks to be at most {MOST_INTERPOLATED} (horizon {})", self.horizon),
                "use larger numbers (fewer knots), fewer blocks or a shorter horizon",
            ));
        }
        Ok(Checked { config: self.clone(), blocks, n_parameters, quantization: None })
    }

    /// Values of the static columns as the blocks see them: numbers, then the vectors of the categories; none on overflow.
    pub(super) fn static_width(&self) -> Option<usize> {
        self.embeddings.iter().try_fold(self.stat_exog, |sum, e| sum.checked_add(e.dim))
    }

    fn check_units(&self) -> Result<(), ModelError> {
        const FIELD: &str = "model.mlp_units";
        let remedy = "use [[512, 512], [512, 512]]";
        if self.mlp_units.is_empty() {
            return Err(invalid(FIELD, "an empty list", "at least one pair of inputs and outputs", remedy));
        }
        if self.mlp_units.len() > MOST_LAYERS {
            let value = format!("a list of {}", self.mlp_units.len());
            return Err(invalid(FIELD, value, format!("at most {MOST_LAYERS} hidden layers"), remedy));
        }
        for (i, pair) in self.mlp_units.iter().enumerate() {
            each_positive(FIELD, pair, remedy)?;
            if i > 0 && self.mlp_units[i - 1][1] != pair[0] {
                let value = format!("[{}, {}] as pair {}", pair[0], pair[1], i + 1);
                let before = self.mlp_units[i - 1][1];
                let allowed = format!("{before} inputs, the outputs of the pair before");
                return Err(invalid(
                    FIELD,
                    value,
                    allowed,
                    "let each pair begin with the number the last one ended in",
                ));
            }
        }
        Ok(())
    }

    /// The shape of every block and the number of weights; none on overflow. Requires settings in range.
    fn sizes(&self) -> Option<(Vec<BlockShape>, usize)> {
        let steps = self.input_size.checked_add(self.horizon)?;
        let mut blocks = vec![];
        let mut n_parameters = 0usize;
        for (stack, n_blocks) in self.n_blocks.iter().enumerate() {
            let kernel = self.n_pool_kernel_size[stack];
            let pooled = self.input_size.div_ceil(kernel);
            let inputs = pooled
                .checked_add(self.hist_exog.checked_mul(pooled)?)?
                .checked_add(self.futr_exog.checked_mul(steps.div_ceil(kernel))?)?
                .checked_add(self.static_width()?)?;
            let knots = (self.horizon / self.n_freq_downsample[stack]).max(1);
            let theta = self.input_size.checked_add(self.outputs.checked_mul(knots)?)?;
            let linear = |inputs: usize, outputs: usize| inputs.checked_add(1)?.checked_mul(outputs);
            let mut weights = linear(inputs, self.mlp_units[0][0])?;
            for [inputs, outputs] in &self.mlp_units {
                weights = weights.checked_add(linear(*inputs, *outputs)?)?;
            }
            let last = self.mlp_units[self.mlp_units.len() - 1][1];
            weights = weights.checked_add(linear(last, theta)?)?;
            weights = weights.checked_add(usize::from(self.activation == Activation::PRelu))?;
            n_parameters = n_parameters.checked_add(weights.checked_mul(*n_blocks)?)?;
            blocks.extend(vec![BlockShape { stack, pool_kernel: kernel, inputs, knots, theta }; *n_blocks]);
        }
        for embedding in &self.embeddings {
            n_parameters = n_parameters.checked_add(embedding.rows().checked_mul(embedding.dim)?)?;
        }
        Some((blocks, n_parameters))
    }
}

fn invalid(
    field: &str,
    value: impl std::fmt::Display,
    allowed: impl Into<String>,
    remedy: impl Into<String>,
) -> ModelError {
    ModelError::Setting(InvalidSetting::new(field, value, allowed, remedy))
}

fn positive(field: &str, value: usize, remedy: &str) -> Result<(), ModelError> {
    if value == 0 { Err(invalid(field, value, "a whole number from 1", remedy)) } else { Ok(()) }
}

fn each_positive(field: &str, values: &[usize], remedy: &str) -> Result<(), ModelError> {
    if values.contains(&0) { Err(invalid(field, shown(values), "whole numbers from 1", remedy)) } else { Ok(()) }
}

fn shown(values: &[usize]) -> String {
    values.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_the_reference_default() {
        let config = NHitsConfig { input_size: 480, horizon: 96, mlp_units: vec![[512, 512]; 3], ..Default::default() };
        let checked = config.check().unwrap();
        let shapes: Vec<_> = checked.blocks().iter().map(|b| (b.stack, b.inputs, b.knots, b.theta)).collect();
        assert_eq!(shapes, [(0, 240, 24, 504), (1, 240, 48, 528), (2, 480, 96, 576)]);
        assert_eq!(checked.n_parameters(), 3_681_864);
        assert_eq!(checked.horizon, 96);
    }

    #[test]
    fn exogenous_columns_are_pooled_over_their_own_length() {
        let config = NHitsConfig {
            input_size: 35,
            horizon: 12,
            n_blocks: vec![1],
            n_pool_kernel_size: vec![4],
            n_freq_downsample: vec![100],
            hist_exog: 2,
            futr_exog: 3,
            stat_exog: 2,
            ..Default::default()
        };
        let block = config.check().unwrap().blocks()[0];
        assert_eq!((block.inputs, block.knots, block.theta), (9 + 2 * 9 + 3 * 12 + 2, 1, 36));
    }

    #[test]
    fn usual_rates_follow_the_number_of_stacks() {
        assert_eq!((default_freq_downsample(3), default_pool_kernels(3)), (vec![4, 2, 1], vec![2, 2, 1]));
        assert_eq!((default_freq_downsample(1), default_pool_kernels(1)), (vec![1], vec![1]));
        assert_eq!(default_freq_downsample(5), [16, 8, 4, 2, 1]);
        assert_eq!(default_freq_downsample(200).len(), 200);
    }

    #[test]
    fn each_bad_setting_is_named() {
        type Change = fn(&mut NHitsConfig);
        let changes: [(&str, Change); 17] = [
            ("model.input_size", |c| c.input_size = 0),
            ("model.horizon", |c| c.horizon = 0),
            ("model.outputs", |c| c.outputs = 0),
            ("model.n_blocks", |c| c.n_blocks = vec![]),
            ("model.n_blocks", |c| c.n_blocks = vec![1, 0, 1]),
            ("model.n_blocks", |c| c.n_blocks = vec![usize::MAX, usize::MAX, 1]),
            ("model.mlp_units", |c| c.mlp_units = vec![]),
            ("model.mlp_units", |c| c.mlp_units = vec![[8, 0]]),
            ("model.mlp_units", |c| c.mlp_units = vec![[8, 16], [8, 8]]),
            ("model.n_pool_kernel_size", |c| c.n_pool_kernel_size = vec![2, 1]),
            ("model.n_freq_downsample", |c| c.n_freq_downsample = vec![4, 0, 1]),
            ("model.dropout", |c| c.dropout = 1.0),
            ("model.dropout", |c| c.dropout = f64::NAN),
            ("model.mlp_units", |c| c.mlp_units = vec![[1 << 40, 1 << 40]]),
            ("model.mlp_units", |c| c.mlp_units = vec![[1, 1]; 101]),
            ("model.horizon", |c| c.horizon = 1_000_001),
            ("model.n_freq_downsample", |c| (c.horizon, c.n_freq_downsample) = (600_000, vec![1000; 3])),
        ];
        for (field, change) in changes {
            let mut config = NHitsConfig::default();
            change(&mut config);
            match config.check() {
                Err(ModelError::Setting(e)) => {
                    assert_eq!(e.field, field, "{e}");
                    assert!(!e.remedy.is_empty());
                }
                other => panic!("{field}: {other:?}"),
            }
        }
        let just_too_large = NHitsConfig { mlp_units: vec![[40_000, 40_000]; 2], ..Default::default() };
        assert!(just_too_large.check().is_err());
    }

    #[test]
    fn files_may_use_the_words_of_neuralforecast_and_no_unknown_field() {
        let read = |text: &str| serde_json::from_str::<NHitsConfig>(text);
        let config = read(r#"{"pooling_mode": "AvgPool1d", "activation": "LeakyReLU", "horizon": 7}"#).unwrap();
        assert_eq!((config.pooling_mode, config.activation), (PoolingMode::Avg, Activation::LeakyRelu));
        assert_eq!((config.horizon, config.input_size), (7, 168));
        assert!(read(r#"{"horizons": 7}"#).unwrap_err().to_string().contains("horizons"));
        let text = serde_json::to_string(&config).unwrap();
        assert!(text.contains("leaky_relu"), "{text}");
        assert_eq!(read(&text).unwrap(), config);
    }

    #[test]
    fn words_read_back_and_a_typo_is_answered() {
        for a in Activation::ALL {
            assert_eq!(a.name().parse::<Activation>().unwrap(), *a);
            assert_eq!(serde_json::to_value(a).unwrap(), a.name());
        }
        let error = "lienar".parse::<InterpolationMode>().unwrap_err();
        assert_eq!(error.remedy, "did you mean `linear`?");
    }
}
