//! A quantized network on slices forecasts what the imitation of its integers on tensors does.

use burn::tensor::{Tensor, TensorData, backend::Backend};

use super::{HostForecaster, HostInput, Int8Layer};
use crate::kernel::{Instructions, Int8Input, Int8Matrix, Int8Scheme};
use crate::model::{
    Activation, InterpolationMode, LayerInput, ModelInput, NHits, NHitsConfig, NamedTensor, PoolingMode, Quantization,
    to_host,
};
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
    let windows =
        HostInput { insample_y: &y, insample_mask: &mask, hist_exog: &hist, futr_exog: &futr, stat_exog: &stat };
    let got = Instructions::ALL.into_iter().map(|with| {
        let integers = |name: &str| {
            let at = names.iter().position(|n| n == name).unwrap();
            layers[at].map(|input| Int8Layer { input, weight: &matrices[at] })
        };
        let floats = |name: &str| weights.iter().find(|t| t.name == name).map(|t| (&t.shape[..], &t.data[..]));
        let network =
            HostForecaster::with_integers(&config, integers, floats).unwrap().unwrap().with_instructions(with);
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
            NHitsConfig {
                pooling_mode: PoolingMode::Avg,
                interpolation_mode: InterpolationMode::Cubic,
                ..small.clone()
            },
            NHitsConfig { outputs: 1, hist_exog: 0, futr_exog: 0, stat_exog: 0, ..small.clone() },
        ];
        let of = |activation: &Activation| NHitsConfig { activation: *activation, ..small.clone() };
        // A learnt slope is left to the tensors.
        configs.extend(Activation::ALL.iter().filter(|a| **a != Activation::PRelu).map(of));
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
                        let apart: Vec<f32> = want.iter().zip(got).map(|(a, b)| (a - b).abs()).collect();
                        let mean = apart.iter().sum::<f32>() / apart.len() as f32;
                        let apart = apart.into_iter().fold(0.0, f32::max);
                        // A value between two integers may go to either, which is a step of the layer's input.
                        let near = apart <= 1.5e-2 * most && mean <= 2e-3 * most;
                        assert!(near, "{}: {apart}, {mean} of {most}, {config:?} {scheme:?}", with.name());
                    }
                    assert!(got.windows(2).all(|g| g[0] == g[1]), "other instructions, other forecasts");
                }
            }
        }
    });
}

#[test]
fn a_matrix_of_another_shape_is_named_and_a_learnt_slope_left_to_the_tensors() {
    on_backend!(|B, device| {
        let config = NHitsConfig { input_size: 8, horizon: 2, mlp_units: vec![[4, 4]], ..Default::default() };
        let matrix = Int8Matrix { outputs: 4, inputs: 9, values: vec![0; 36], scales: vec![1.0], zeros: None };
        let with = |config: &NHitsConfig| {
            let config = config.check().unwrap();
            let weights = NHits::<B>::new(&config, 3, &device).tensors();
            let floats = |name: &str| weights.iter().find(|t| t.name == name).map(|t| (&t.shape[..], &t.data[..]));
            let integers = |_: &str| Some(Int8Layer { input: LayerInput::Dynamic, weight: &matrix });
            HostForecaster::with_integers(&config, integers, floats).map(|f| f.is_some()).map_err(|e| e.to_string())
        };
        let error = with(&config).unwrap_err();
        assert!(error.contains("blocks.0.layers.0.weight") && error.contains("[4, 9]"), "{error}");
        assert_eq!(with(&NHitsConfig { activation: Activation::PRelu, ..config }), Ok(false));
    });
}
