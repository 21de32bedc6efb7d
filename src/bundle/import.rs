//! neuralforecast's NHITS weights turned into a bundle.
//!
//! A `state_dict` holds weights only. What it does not say is taken from the caller (`ImportOptions`) or worked out from
//! the shapes: blocks and layer sizes from the weights, kernels from the first layers, knots from the last ones.

use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::file::check_weights;
use super::{Bundle, BundleError, ColumnNames, Manifest, PLAIN_FORMAT};
use crate::calendar::{Clock, Frequency};
use crate::features::FeatureSpec;
use crate::loss::{LossConfig, quantiles_from_levels};
use crate::model::{Activation, InterpolationMode, NHitsConfig, NamedTensor, PoolingMode};
use crate::transform::ScalerKind;
use crate::window::WindowScaler;

/// What the weights do not say; the names are neuralforecast's.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ImportOptions {
    /// `input_size`; required.
    pub input_size: Option<usize>,
    /// `h`; required.
    #[serde(alias = "horizon")]
    pub h: Option<usize>,
    /// `n_blocks`, one per stack; every stack one block if absent.
    pub n_blocks: Option<Vec<usize>>,
    /// `n_pool_kernel_size`; worked out from the shapes if absent.
    pub n_pool_kernel_size: Option<Vec<usize>>,
    /// `n_freq_downsample`; worked out from the shapes if absent.
    pub n_freq_downsample: Option<Vec<usize>>,
    /// `MaxPool1d` or `AvgPool1d`.
    pub pooling_mode: Option<PoolingMode>,
    /// `linear`, `nearest` or `cubic`.
    pub interpolation_mode: Option<InterpolationMode>,
    /// `ReLU`, ...
    pub activation: Option<Activation>,
    /// `dropout_prob_theta`; only tells where the layers' indices lie.
    pub dropout_prob_theta: Option<f64>,
    /// Names of `hist_exog_list`.
    pub hist_exog_list: Vec<String>,
    /// Names of `futr_exog_list`.
    pub futr_exog_list: Vec<String>,
    /// Names of `stat_exog_list`.
    pub stat_exog_list: Vec<String>,
    /// `scaler_type` of the windows.
    pub scaler_type: Option<WindowScaler>,
    /// The loss; several outputs per step need it. Read as this crate writes it, or as neuralforecast's class with its
    /// arguments: `"MAE()"`, `["MQLoss", {"level": [80, 90]}]`.
    #[serde(deserialize_with = "either_loss")]
    pub loss: Option<LossConfig>,
    /// Frequency of the series.
    pub freq: Option<Frequency>,
}

/// Reads a loss in either way of writing.
fn either_loss<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<LossConfig>, D::Error> {
    use serde_json::Value;
    let (class, arguments) = match Value::deserialize(deserializer)? {
        Value::Null => return Ok(None),
        Value::String(class) => (class, Value::Null),
        Value::Array(parts) => match <[Value; 2]>::try_from(parts) {
            Ok([Value::String(class), arguments]) => (class, arguments),
            _ => return Err(D::Error::custom("a loss in a list is its class and its arguments: [\"MAE\", {}]")),
        },
        own => return serde_json::from_value(own).map(Some).map_err(D::Error::custom),
    };
    let numbers = |name: &str| arguments.get(name).map(|v| serde_json::from_value::<Vec<f64>>(v.clone()));
    let number = |name: &str| arguments.get(name).and_then(Value::as_f64);
    Ok(Some(match class.trim_end_matches("()") {
        "MAE" => LossConfig::Mae,
        "MSE" => LossConfig::Mse,
        "RMSE" => LossConfig::Rmse,
        "MAPE" => LossConfig::Mape,
        "SMAPE" => LossConfig::Smape,
        "MASE" => LossConfig::Mase {
            season: arguments
                .get("seasonality")
                .and_then(Value::as_u64)
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(1),
        },
        "HuberLoss" => LossConfig::Huber { delta: number("delta").unwrap_or(1.0) },
        "QuantileLoss" => LossConfig::Quantile { q: number("q").unwrap_or(0.5) },
        "MQLoss" => LossConfig::MultiQuantile {
            quantiles: match (numbers("quantiles"), numbers("level")) {
                (Some(quantiles), _) => quantiles.map_err(D::Error::custom)?,
                (None, Some(levels)) => {
                    quantiles_from_levels(&levels.map_err(D::Error::custom)?).map_err(D::Error::custom)?
                }
                (None, None) => quantiles_from_levels(&[80.0, 90.0]).map_err(D::Error::custom)?,
            },
        },
        other => {
            let known = "MAE, MSE, RMSE, MAPE, SMAPE, MASE, HuberLoss, QuantileLoss or MQLoss";
            return Err(D::Error::custom(format!("loss {other} is not known: expected {known}")));
        }
    }))
}

/// Turns the bytes of a neuralforecast 3.3 NHITS safetensors file into a bundle; `path` is for messages.
///
/// # Errors
/// When the file is not one, or the options do not fit its shapes.
pub fn import_neuralforecast(bytes: &[u8], path: &Path, options: &ImportOptions) -> Result<Bundle, BundleError> {
    let tensors = SafeTensors::deserialize(bytes)
        .map_err(|e| BundleError::NotSafetensors { path: path.into(), detail: e.to_string() })?;
    let fail = |detail: String, hint: &str| BundleError::Import { path: path.into(), detail, hint: hint.into() };
    let mut weights = Vec::new();
    for (name, view) in tensors.iter().filter(|(name, _)| name.starts_with("blocks.")) {
        if view.dtype() != Dtype::F32 {
            return Err(fail(format!("tensor `{name}` has type {:?}", view.dtype()), "save the weights as float32"));
        }
        let data = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        weights.push(NamedTensor { name: name.to_string(), shape: view.shape().to_vec(), data });
    }
    if weights.is_empty() {
        return Err(fail(
            "it has no tensor named `blocks.*`".into(),
            "expected the state_dict of neuralforecast's NHITS, saved with safetensors",
        ));
    }
    weights.sort_by(|a, b| a.name.cmp(&b.name));
    let missing = |field: &str, flag: &str| {
        fail(format!("`{field}` is not known"), &format!("give {flag}, or --hparams with the model's settings as JSON"))
    };
    let input_size = options.input_size.ok_or_else(|| missing("input_size", "--input-size"))?;
    let horizon = options.h.ok_or_else(|| missing("h", "--horizon"))?;
    let loss = options.loss.clone().unwrap_or_default();
    loss.check().map_err(|e| fail(e.to_string(), "check --loss and --quantiles against the training settings"))?;
    let shapes = Shapes { weights: &weights };
    let n_blocks_total = shapes.n_blocks();
    let n_blocks = options.n_blocks.clone().unwrap_or_else(|| vec![1; n_blocks_total]);
    let named = n_blocks.iter().fold(0usize, |sum, n| sum.saturating_add(*n));
    if named != n_blocks_total {
        return Err(fail(
            format!("n_blocks {n_blocks:?} makes {named} blocks, the file has {n_blocks_total}"),
            "give --n-blocks with one number per stack",
        ));
    }
    let layers = shapes.layers(0);
    if layers.len() < 3 {
        return Err(fail(
            format!("block 0 has {} linear layers, expected at least 3", layers.len()),
            "expected the state_dict of NHITS",
        ));
    }
    let mlp_units: Vec<[usize; 2]> = layers[1..layers.len() - 1].iter().map(|l| [l.fan_in, l.fan_out]).collect();
    let first_blocks: Vec<usize> = n_blocks
        .iter()
        .scan(0, |at, n| {
            let b = *at;
            *at += n;
            Some(b)
        })
        .collect();
    let n_exog = [options.hist_exog_list.len(), options.futr_exog_list.len(), options.stat_exog_list.len()];
    let mut pool = Vec::new();
    let mut freq = Vec::new();
    for (stack, block) in first_blocks.iter().enumerate() {
        let layers = shapes.layers(*block);
        let (Some(first), Some(last)) = (layers.first(), layers.last()) else {
            return Err(fail(format!("block {block} has no layers"), "expected the state_dict of NHITS"));
        };
        let knots = last.fan_out.checked_sub(input_size).filter(|k| *k > 0 && k.is_multiple_of(loss.n_outputs()));
        let Some(knots) = knots.map(|k| k / loss.n_outputs()) else {
            return Err(fail(
                format!(
                    "block {block} has {} outputs, expected input_size {input_size} and a multiple of {} outputs per knot",
                    last.fan_out,
                    loss.n_outputs()
                ),
                "check --input-size and --loss (with --quantiles) against the training settings",
            ));
        };
        let kernel = match options.n_pool_kernel_size.as_ref().and_then(|k| k.get(stack)) {
            Some(k) => *k,
            None => (1..=input_size)
                .find(|k| mlp_input(input_size, horizon, *k, n_exog) == Some(first.fan_in))
                .ok_or_else(|| {
                    fail(
                        format!(
                            "no pooling kernel makes {} inputs of block {block} from input_size {input_size} and {n_exog:?} covariates",
                            first.fan_in
                        ),
                        "check --input-size, and name the covariates as in training (--hist-exog, --futr-exog, --stat-exog)",
                    )
                })?,
        };
        let down = match options.n_freq_downsample.as_ref().and_then(|f| f.get(stack)) {
            Some(f) => *f,
            None => downsampling(horizon, knots).ok_or_else(|| {
                fail(
                    format!("no downsampling of horizon {horizon} has {knots} knots (block {block})"),
                    "check --horizon against the training settings",
                )
            })?,
        };
        pool.push(kernel);
        freq.push(down);
    }
    let dropout = options.dropout_prob_theta.unwrap_or_else(|| if shapes.has_dropout() { 0.1 } else { 0.0 });
    let model = NHitsConfig {
        input_size,
        horizon,
        outputs: loss.n_outputs(),
        n_blocks,
        mlp_units,
        n_pool_kernel_size: pool,
        n_freq_downsample: freq,
        pooling_mode: options.pooling_mode.unwrap_or_default(),
        interpolation_mode: options.interpolation_mode.unwrap_or_default(),
        activation: options.activation.unwrap_or(if shapes.has_slope() { Activation::PRelu } else { Activation::Relu }),
        dropout,
        hist_exog: n_exog[0],
        futr_exog: n_exog[1],
        stat_exog: n_exog[2],
        embeddings: Vec::new(),
    };
    let checked = model.check().map_err(|e| fail(e.to_string(), "check the settings against those of the training"))?;
    check_weights(&checked, &weights, |_| false, path)?;
    let manifest = Manifest {
        format_version: PLAIN_FORMAT,
        program: format!("nhits {}", env!("CARGO_PKG_VERSION")),
        model,
        loss,
        window_scaler: options.scaler_type.unwrap_or(WindowScaler::Identity),
        scaler: ScalerKind::None,
        freq: options.freq,
        clock: Clock::Local,
        columns: ColumnNames {
            id: Some("unique_id".into()),
            time: Some("ds".into()),
            target: Some("y".into()),
            hist_exog: options.hist_exog_list.clone(),
            futr_exog: options.futr_exog_list.clone(),
            stat_exog: options.stat_exog_list.clone(),
            stat_cat: Vec::new(),
            ..ColumnNames::default()
        },
        season: options.freq.map_or(1, Frequency::season),
        training: None,
        data_fingerprint: None,
        seed: 0,
        experiment: serde_json::Value::Null,
        imported_from: Some(format!("neuralforecast: {}", path.file_name().unwrap_or_default().to_string_lossy())),
        quantization: None,
        target: Vec::new(),
        features: FeatureSpec::default(),
    };
    Ok(Bundle { manifest, weights, series: None, integers: Vec::new() })
}

/// The smallest downsampling that leaves so many knots of the horizon.
fn downsampling(horizon: usize, knots: usize) -> Option<usize> {
    let smallest = horizon / knots.checked_add(1)? + 1;
    ((horizon / smallest).max(1) == knots).then_some(smallest)
}

/// Inputs of a block's first layer, `None` on overflow.
fn mlp_input(input_size: usize, horizon: usize, kernel: usize, [hist, futr, stat]: [usize; 3]) -> Option<usize> {
    let pooled = input_size.div_ceil(kernel);
    let pooled_ahead = input_size.checked_add(horizon)?.div_ceil(kernel);
    pooled.checked_add(hist.checked_mul(pooled)?)?.checked_add(futr.checked_mul(pooled_ahead)?)?.checked_add(stat)
}

struct Layer {
    index: usize,
    fan_in: usize,
    fan_out: usize,
}

/// What the names and shapes of the weights say.
struct Shapes<'a> {
    weights: &'a [NamedTensor],
}

impl Shapes<'_> {
    fn parts(name: &str) -> Option<(usize, usize, &str)> {
        let mut parts = name.split('.');
        match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("blocks"), Some(block), Some("layers"), Some(layer), Some(what), None) => {
                Some((block.parse().ok()?, layer.parse().ok()?, what))
            }
            _ => None,
        }
    }

    fn n_blocks(&self) -> usize {
        let blocks: std::collections::BTreeSet<usize> =
            self.weights.iter().filter_map(|t| Self::parts(&t.name)).map(|p| p.0).collect();
        blocks.len()
    }

    /// The linear layers of a block, by index.
    fn layers(&self, block: usize) -> Vec<Layer> {
        let mut layers: Vec<Layer> = self
            .weights
            .iter()
            .filter_map(|t| match (Self::parts(&t.name)?, t.shape.as_slice()) {
                ((b, index, "weight"), [fan_out, fan_in]) if b == block => {
                    Some(Layer { index, fan_in: *fan_in, fan_out: *fan_out })
                }
                _ => None,
            })
            .collect();
        layers.sort_by_key(|l| l.index);
        layers
    }

    /// With dropout the second hidden layer has index 4, without 3.
    fn has_dropout(&self) -> bool {
        self.layers(0).get(2).is_some_and(|l| l.index == 4)
    }

    /// PReLU keeps its slope as a weight with one dimension.
    fn has_slope(&self) -> bool {
        self.weights.iter().any(|t| t.shape.len() == 1 && t.name.ends_with(".weight"))
    }
}
