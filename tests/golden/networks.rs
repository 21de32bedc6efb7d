//! What a golden case says, as this crate's types: settings, loss, weights, batches.

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};
use nhits::loss::{LossConfig, quantiles_from_levels};
use nhits::model::{Checked, ModelInput, NHits, NHitsConfig, NamedTensor};
use serde_json::Value;

use crate::cases::{Array, Case, Tensors};

/// The loss of a case, the mean absolute error where none is named.
///
/// # Errors
/// The reference's name of a loss that is not built here.
pub fn loss_of(case: &Case) -> Result<LossConfig, String> {
    let named = &case.config["loss"];
    let (name, arguments) = (named[0].as_str().unwrap_or("MAE"), &named[1]);
    let number = |field: &str| arguments[field].as_f64();
    Ok(match name {
        "MAE" => LossConfig::Mae,
        "MSE" => LossConfig::Mse,
        "RMSE" => LossConfig::Rmse,
        "HuberLoss" => LossConfig::Huber { delta: number("delta").unwrap_or(1.0) },
        "QuantileLoss" => LossConfig::Quantile { q: number("q").expect("a quantile") },
        "MQLoss" => {
            let levels: Vec<f64> = serde_json::from_value(arguments["level"].clone()).expect("levels");
            LossConfig::MultiQuantile { quantiles: quantiles_from_levels(&levels).unwrap() }
        }
        other => return Err(format!("its loss {other} is not built here")),
    })
}

/// The settings of the network of a case.
pub fn settings_of(case: &Case, outputs: usize) -> Checked {
    let word = |field: &str| case.word(field);
    let config = NHitsConfig {
        input_size: case.count("input_size", 0),
        horizon: case.count("h", 0),
        outputs,
        n_blocks: case.counts("n_blocks"),
        mlp_units: serde_json::from_value(case.config["mlp_units"].clone()).unwrap(),
        n_pool_kernel_size: case.counts("n_pool_kernel_size"),
        n_freq_downsample: case.counts("n_freq_downsample"),
        pooling_mode: word("pooling_mode").parse().unwrap(),
        interpolation_mode: word("interpolation_mode").parse().unwrap(),
        activation: word("activation").parse().unwrap(),
        dropout: case.config["dropout_prob_theta"].as_f64().unwrap_or(0.0),
        hist_exog: case.count("n_hist", 0),
        futr_exog: case.count("n_futr", 0),
        stat_exog: case.count("n_stat", 0),
        embeddings: Vec::new(),
    };
    config.check().unwrap_or_else(|e| panic!("{}: {e}", case.name))
}

/// A network with the weights of a file.
pub fn network<B: Backend>(config: &Checked, weights: &Tensors, device: &B::Device) -> NHits<B> {
    let source = |name: &str| weights.find(name).map(|a| (a.shape.clone(), a.data.clone()));
    NHits::with_tensors(config, source, device).unwrap()
}

/// A batch: what the network receives, targets and their mask `[B, H]`.
pub struct Batch<B: Backend> {
    pub input: ModelInput<B>,
    pub y: Tensor<B, 2>,
    pub mask: Tensor<B, 2>,
}

/// The batch in `arrays`, whose names begin with `prefix`.
pub fn batch<B: Backend>(arrays: &Tensors, prefix: &str, device: &B::Device) -> Batch<B> {
    let name = |name: &str| format!("{prefix}{name}");
    let columns = |n: &str| arrays.find(&name(n)).map(|a| tensor(a, [a.shape[0], a.shape[1], a.shape[2]], device));
    let input = ModelInput {
        insample_y: plane(arrays.get(&name("insample_y")), device),
        insample_mask: plane(arrays.get(&name("insample_mask")), device),
        hist_exog: columns("hist_exog"),
        futr_exog: columns("futr_exog"),
        stat_exog: arrays.find(&name("stat_exog")).map(|a| plane(a, device)),
    };
    let y = plane(arrays.get(&name("outsample_y")), device);
    Batch { input, y, mask: plane(arrays.get(&name("outsample_mask")), device) }
}

/// An array `[n, m]` or `[n, m, 1]` as `[n, m]`.
pub fn plane<B: Backend>(array: &Array, device: &B::Device) -> Tensor<B, 2> {
    tensor(array, [array.shape[0], array.shape[1]], device)
}

/// An array as a tensor of `shape`.
pub fn tensor<B: Backend, const D: usize>(array: &Array, shape: [usize; D], device: &B::Device) -> Tensor<B, D> {
    Tensor::from_data(TensorData::new(array.data.clone(), shape), device)
}

/// The values of a tensor on the host.
pub fn host<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert_dtype(DType::F32).into_vec().unwrap()
}

/// The tensor of that name.
pub fn named<'a>(tensors: &'a [NamedTensor], name: &str) -> &'a NamedTensor {
    tensors.iter().find(|t| t.name == name).unwrap_or_else(|| panic!("no tensor `{name}`"))
}

/// Sum, sum of absolute values, and Euclidean norm, in float64.
pub struct Stats {
    pub sum: f64,
    pub abs_sum: f64,
    pub l2: f64,
}

impl Stats {
    /// Of values.
    pub fn of(values: &[f32]) -> Self {
        let wide = || values.iter().map(|v| f64::from(*v));
        Self { sum: wide().sum(), abs_sum: wide().map(f64::abs).sum(), l2: wide().map(|v| v * v).sum::<f64>().sqrt() }
    }

    /// As stored in a `config.json`.
    pub fn read(value: &Value) -> Self {
        let number = |field: &str| value[field].as_f64().unwrap_or_else(|| panic!("no number `{field}`"));
        Self { sum: number("sum"), abs_sum: number("abs_sum"), l2: number("l2") }
    }
}
