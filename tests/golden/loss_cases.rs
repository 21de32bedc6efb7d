//! The losses: values and gradients of neuralforecast, with and without mask, with and without horizon weights.

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{DType, Tensor, TensorData};
use nhits::loss::{Loss, LossConfig, quantile_name, quantiles_from_levels};
use nhits_backends::{Job, Taken};
use serde_json::Value;

use crate::cases::{Array, Case, Report, Tally, Tensors, allowed, find, on_every_backend};

/// What the reference calls the loss, and what it is here; none for a loss that is not built here.
fn loss_of(name: &str) -> Option<LossConfig> {
    Some(match name {
        "MAE" => LossConfig::Mae,
        "MSE" => LossConfig::Mse,
        "RMSE" => LossConfig::Rmse,
        "MAPE" => LossConfig::Mape,
        "SMAPE" => LossConfig::Smape,
        "MASE_s4_2d" => LossConfig::Mase { season: 4 },
        "HuberLoss" => LossConfig::Huber { delta: 1.0 },
        "HuberLoss_d0.5" => LossConfig::Huber { delta: 0.5 },
        "QuantileLoss_q0.9" => LossConfig::Quantile { q: 0.9 },
        "MQLoss_l80_90" => LossConfig::MultiQuantile { quantiles: quantiles_from_levels(&[80.0, 90.0]).unwrap() },
        _ => return None,
    })
}

#[derive(Clone)]
struct LossJob(Case);

impl Job for LossJob {
    type Output = Report;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Report {
        let case = &self.0;
        let mut report = Report::new(&case.name);
        let arrays = case.tensors("arrays.safetensors");
        for (key, value) in values(case) {
            let (Some((name, masked)), Some(value)) = (key.split_once('/'), value.as_f64()) else { continue };
            let Some(config) = loss_of(name.trim_end_matches("_hw")) else { continue };
            let weights = name.ends_with("_hw").then(|| arrays.get("horizon_weight").data.clone());
            let input_size = arrays.get("y_insample").shape[1];
            let y: Tensor<B, 2> = plane(&arrays, "y", &device);
            let loss = Loss::new(config.clone(), weights, input_size, y.dims()[1]).unwrap();
            let y_hat = if config.n_outputs() == 1 { "y_hat" } else { "y_hat_q5" };
            let y_hat = cube::<B>(arrays.get(y_hat), &device).require_grad();
            let mask = if masked == "mask" { plane(&arrays, "mask", &device) } else { y.ones_like() };
            let insample = plane(&arrays, "y_insample", &device);
            let whole = loss.forward(y.clone(), y_hat.clone(), mask.clone(), insample.clone());
            let gradient = y_hat.grad(&whole.clone().backward()).expect("the forecast is tracked");
            let got = host(whole)[0];
            report.close(&key, &[got], &[value as f32], allowed(0.0, &[value as f32]));
            let want = &arrays.get(&format!("grad.{name}.{masked}")).data;
            report.close(&format!("{key} gradient"), &host(gradient), want, allowed(0.0, want));
            let weight = loss.weight(&host(mask.clone()));
            let mean = f64::from(host(loss.sum(y, y_hat, mask, insample))[0]) / weight;
            report.close_value(&format!("{key} in parts"), loss.of_mean(mean), value, allowed(0.0, &[value as f32]));
        }
        report
    }
}

fn values(case: &Case) -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(case.path.join("values.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    all["values"].as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn plane<B: AutodiffBackend>(arrays: &Tensors, name: &str, device: &B::Device) -> Tensor<B, 2> {
    let Array { shape, data } = arrays.get(name).clone();
    Tensor::from_data(TensorData::new(data, [shape[0], shape[1]]), device)
}

fn cube<B: AutodiffBackend>(array: &Array, device: &B::Device) -> Tensor<B, 3> {
    let shape = [array.shape[0], array.shape[1], array.shape[2]];
    Tensor::from_data(TensorData::new(array.data.clone(), shape), device)
}

fn host<B: burn::tensor::backend::Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert_dtype(DType::F32).into_vec().unwrap()
}

#[test]
fn losses_equal_the_reference() {
    let mut tally = Tally::default();
    for case in find(|case| case.has("values.json") && case.has("arrays.safetensors")) {
        let mut absent: Vec<String> = vec![];
        for (key, value) in values(&case) {
            let name = key.split('/').next().unwrap_or_default().trim_end_matches("_hw").to_string();
            if value.is_number() && loss_of(&name).is_none() && !absent.contains(&name) {
                absent.push(name);
            }
        }
        // MASE_s4_3d is a broadcast bug of the reference: the sum over all windows' scales times the MAE.
        tally.skip(&case.name, &format!("not built here: {}", absent.join(", ")));
        for (backend, report) in on_every_backend(&LossJob(case.clone())) {
            tally.add(backend, report);
        }
        let names = values(&case).into_iter().find(|(key, _)| key == "MQLoss_output_names_l80_90").unwrap().1;
        let quantiles = quantiles_from_levels(&[80.0, 90.0]).unwrap();
        let mut report = Report::new("quantiles of levels");
        report.holds("names of the outputs", names == Value::from_iter(quantiles.iter().map(|q| quantile_name(*q))));
        let arrays = case.tensors("arrays.safetensors");
        let want = &arrays.get("mq_quantiles_l80_90").data;
        let got: Vec<f32> = quantiles.iter().map(|q| *q as f32).collect();
        report.close("quantiles", &got, want, allowed(0.0, want));
        tally.add("host", report);
    }
    tally.finish();
}
