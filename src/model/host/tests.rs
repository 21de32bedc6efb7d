//! The network on slices beside the network of tensors.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::super::{Activation, DropoutKey, InterpolationMode, ModelInput, NHits, NHitsConfig, PoolingMode, to_host};
use super::forward::lays_out;
use super::*;
use crate::random::{Purpose, Stream};

fn values(n: usize, key: u64) -> Vec<f32> {
    let mut stream = Stream::new(11, Purpose::Synthetic, &[key]);
    (0..n).map(|_| stream.normal() as f32).collect()
}

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

/// A batch in both forms; a tenth of the history is missing.
struct Both {
    n: usize,
    y: Vec<f32>,
    mask: Vec<f32>,
    hist: Vec<f32>,
    futr: Vec<f32>,
    stat: Vec<f32>,
}

impl Both {
    fn new(config: &NHitsConfig, n: usize) -> Self {
        let (steps, horizon) = (config.input_size, config.horizon);
        let mask: Vec<f32> = values(n * steps, 2).iter().map(|v| f32::from(u8::from(*v > -1.28))).collect();
        Self {
            n,
            y: values(n * steps, 1).iter().zip(&mask).map(|(y, m)| y * m).collect(),
            mask,
            hist: values(n * steps * config.hist_exog, 3),
            futr: values(n * (steps + horizon) * config.futr_exog, 4),
            stat: values(n * config.stat_exog, 5),
        }
    }

    fn slices(&self) -> HostInput<'_> {
        HostInput {
            insample_y: &self.y,
            insample_mask: &self.mask,
            hist_exog: &self.hist,
            futr_exog: &self.futr,
            stat_exog: &self.stat,
        }
    }

    fn tensors<B: Backend>(&self, config: &NHitsConfig, device: &B::Device) -> ModelInput<B> {
        let (n, steps, horizon) = (self.n, config.input_size, config.horizon);
        let two = |v: &[f32], w: usize| Tensor::<B, 2>::from_data(TensorData::new(v.to_vec(), [n, w]), device);
        let three = |v: &[f32], t: usize, c: usize| {
            (c > 0).then(|| Tensor::<B, 3>::from_data(TensorData::new(v.to_vec(), [n, t, c]), device))
        };
        ModelInput {
            insample_y: two(&self.y, steps),
            insample_mask: two(&self.mask, steps),
            hist_exog: three(&self.hist, steps, config.hist_exog),
            futr_exog: three(&self.futr, steps + horizon, config.futr_exog),
            stat_exog: (config.stat_exog > 0).then(|| two(&self.stat, config.stat_exog)),
        }
    }
}

fn small() -> NHitsConfig {
    NHitsConfig {
        input_size: 23,
        horizon: 6,
        n_blocks: vec![2, 1, 1],
        mlp_units: vec![[18, 17], [17, 15], [15, 16]],
        n_pool_kernel_size: vec![4, 3, 1],
        n_freq_downsample: vec![4, 2, 1],
        dropout: 0.0,
        ..Default::default()
    }
}

/// A first layer so narrow that it is not made one with the second.
const NARROW: &str = "narrow first layer";

/// Layers wide enough for zeros on the left to be looked for.
const WIDE: &str = "wide layers";

fn cases() -> Vec<(String, NHitsConfig)> {
    let mut cases = vec![("plain".to_string(), small())];
    for activation in
        [Activation::Softplus, Activation::Tanh, Activation::Selu, Activation::LeakyRelu, Activation::Sigmoid]
    {
        cases.push((format!("{activation}"), NHitsConfig { activation, ..small() }));
        cases.push((format!("{activation} dropout"), NHitsConfig { activation, dropout: 0.3, ..small() }));
    }
    for interpolation_mode in [InterpolationMode::Nearest, InterpolationMode::Cubic] {
        cases.push((format!("{interpolation_mode}"), NHitsConfig { interpolation_mode, ..small() }));
    }
    let columns = NHitsConfig { hist_exog: 2, futr_exog: 3, stat_exog: 2, outputs: 3, dropout: 0.2, ..small() };
    cases.push(("average".into(), NHitsConfig { pooling_mode: PoolingMode::Avg, ..small() }));
    cases.push(("columns".into(), columns.clone()));
    cases.push(("columns average".into(), NHitsConfig { pooling_mode: PoolingMode::Avg, ..columns }));
    let one = NHitsConfig {
        horizon: 1,
        n_blocks: vec![1],
        mlp_units: vec![[9, 8]],
        n_pool_kernel_size: vec![2],
        n_freq_downsample: vec![1],
        ..small()
    };
    cases.push(("one block".into(), one));
    cases.push((NARROW.into(), NHitsConfig { mlp_units: vec![[2, 40], [40, 15], [15, 16]], ..small() }));
    // Wide enough for zeros of the left matrix to be left out (more than half of a tile's columns), with and without dropout.
    for dropout in [0.0, 0.3] {
        // Of one width, too, so that a matrix and the same one across have one shape.
        let mlp_units = vec![[70, 80], [80, 80], [80, 80]];
        cases.push((format!("{WIDE}, dropout {dropout}"), NHitsConfig { mlp_units, dropout, ..small() }));
    }
    cases
}

/// Largest difference, in parts of the largest value.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let most = b.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
    a.iter().zip(b).fold(0.0f32, |d, (a, b)| d.max((a - b).abs())) / most
}

#[test]
fn forecasts_and_gradients_are_those_of_the_tensors() {
    on_backend!(|B, device| {
        for (name, config) in cases() {
            let checked = config.check().unwrap();
            let net = NHits::<B>::new(&checked, 3, &device);
            let network = HostNetwork::new(&checked).unwrap();
            let mut weights = weights_of(&net);
            assert_eq!(weights.len(), network.n_weights());
            // Units that are zero in all windows, of which nothing is computed on the way back: others in each layer.
            let hidden = network.blocks.iter().flat_map(|b| b.layers[1..b.layers.len() - 1].iter().enumerate());
            for (number, layer) in hidden.filter(|_| name.contains(WIDE)) {
                // The later ones of the others are not zero in a few windows only, which differ from part to part.
                for (i, bias) in weights[layer.bias.clone()].iter_mut().enumerate() {
                    let never = i % 3 == number % 3 || (16 * number..16 * number + 16).contains(&i);
                    *bias = if never { -100.0 } else { i as f32 / -40.0 };
                }
            }
            let net = with_weights(net, &weights);
            let (mut pass, workers) = (Pass::new(), pool(2));
            let key = DropoutKey { seed: 5, step: 7, first_row: 0 };
            // In few windows folding the first two layers does not pay. Buffers are those of the batch before, too long for
            // the third.
            let few = [(4, false), (200, name != NARROW), (180, name != NARROW), (3, false)];
            // Enough windows for weights and gradients to be laid out for products.
            let many = Some((400, true)).filter(|_| name.contains(WIDE));
            for (n, folds) in few.into_iter().chain(many) {
                assert_eq!(lays_out(&network, n), n == 400, "{name}");
                let both = Both::new(&config, n);
                let input = both.tensors::<B>(&config, &device);
                let y_hat = net.forward_train(&input, &key);
                let towards = values(y_hat.shape().num_elements(), 9);
                let loss = y_hat.clone() * Tensor::from_data(TensorData::new(towards.clone(), y_hat.dims()), &device);
                let wanted: Vec<f32> = net
                    .gradients(&loss.sum().backward())
                    .into_iter()
                    .flat_map(|t| match t.shape[..] {
                        // As the tensors have it: [in, out].
                        [out, inputs] => (0..inputs)
                            .flat_map(|i| (0..out).map(|o| t.data[o * inputs + i]).collect::<Vec<_>>())
                            .collect(),
                        _ => t.data,
                    })
                    .collect();
                // Gradients are written, not added to: what an update left there must not matter.
                let mut gradients = vec![7.0; weights.len()];
                pass.forward(&network, &weights, &both.slices(), Some(&key), &workers);
                assert!(pass.tapes.iter().all(|tape| tape.folded.is_some() == folds), "{name}: {n} windows");
                let got = forecaster::by_step(pass.forecast(&network), config.horizon, config.outputs);
                let apart = difference(&got, &to_host(y_hat));
                assert!(apart < 2e-5, "{name}, {n} windows: forecast {apart}");
                // The same exchange of two axes, seen from the other side.
                let towards = forecaster::by_step(&towards, config.outputs, config.horizon);
                pass.backward(&network, &weights, &towards, &mut gradients, &workers);
                let apart = difference(&gradients, &wanted);
                assert!(apart < 5e-5, "{name}, {n} windows: gradients {apart}");
            }
        }
    });
}

#[test]
fn the_forecaster_forecasts_what_the_tensors_do() {
    on_backend!(|B, device| {
        for (name, config) in cases() {
            let checked = config.check().unwrap();
            let net = NHits::<B>::new(&checked, 3, &device);
            let forecaster = HostForecaster::new(&net).unwrap();
            // A single window takes a way of its own.
            for n in [1, 37] {
                let both = Both::new(&config, n);
                let want = to_host(net.forward(&both.tensors::<B>(&config, &device)));
                let apart = difference(&forecaster.forecast(&both.slices()), &want);
                assert!(apart < 2e-5, "{name}, {n} windows: {apart}");
            }
            let both = Both::new(&config, 37);
            let named = net.tensors();
            let source = |name: &str| named.iter().find(|t| t.name == name).map(|t| (&t.shape[..], &t.data[..]));
            for pool in [None, Some(pool(3))] {
                let read = HostForecaster::with_tensors(&checked, source, pool.as_ref()).unwrap().unwrap();
                assert!(
                    read.forecast(&both.slices()) == forecaster.forecast(&both.slices()),
                    "{name}: from named weights"
                );
            }
        }
    });
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    on_backend!(|B, device| {
        let (_, config) = cases().into_iter().find(|(name, _)| name == "columns").unwrap();
        let config = NHitsConfig { mlp_units: vec![[64, 64]; 3], ..config };
        let checked = config.check().unwrap();
        let weights = weights_of(&NHits::<B>::new(&checked, 3, &device));
        let network = HostNetwork::new(&checked).unwrap();
        let both = Both::new(&config, 203);
        let key = DropoutKey { seed: 5, step: 7, first_row: 0 };
        let towards = values(203 * config.horizon * config.outputs, 9);
        let run = |threads: usize| {
            let (mut pass, mut gradients) = (Pass::new(), vec![0.0; weights.len()]);
            let workers = pool(threads);
            pass.forward(&network, &weights, &both.slices(), Some(&key), &workers);
            pass.backward(&network, &weights, &towards, &mut gradients, &workers);
            (pass.forecast(&network).to_vec(), gradients)
        };
        let one = run(1);
        for threads in [2, 3, 5, 16] {
            assert!(run(threads) == one, "{threads} threads");
        }
    });
}

#[test]
fn many_windows_are_forecast_as_few() {
    on_backend!(|B, device| {
        let (_, config) = cases().into_iter().find(|(name, _)| name == "columns").unwrap();
        let net = NHits::<B>::new(&config.check().unwrap(), 3, &device);
        let both = Both::new(&config, 700);
        let forecaster = HostForecaster::new(&net).unwrap();
        let apart = difference(
            &forecaster.forecast(&both.slices()),
            &to_host(net.forward(&both.tensors::<B>(&config, &device))),
        );
        assert!(apart < 2e-5, "{apart}");
        assert!(forecaster.forecast(&Both::new(&config, 0).slices()).is_empty());
        // Where sums are fused, a window alone has the bits that it has among others.
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("fma") {
            for (name, config) in cases() {
                let net = NHits::<B>::new(&config.check().unwrap(), 3, &device);
                let forecaster = HostForecaster::new(&net).unwrap();
                let both = Both::new(&config, 20);
                let per_window = config.horizon * config.outputs;
                for n in [2, 20] {
                    let all = forecaster.forecast(&both.slices().rows(&config, &(0..n)));
                    for i in [0, 1, n - 1] {
                        let one = both.slices().rows(&config, &(i..i + 1));
                        let among = &all[i * per_window..(i + 1) * per_window];
                        assert_eq!(forecaster.forecast(&one), among, "{name}: window {i} of {n}");
                    }
                }
            }
        }
    });
}

#[test]
fn weights_go_into_the_tensors_and_come_out() {
    on_backend!(|B, device| {
        let checked = small().check().unwrap();
        let (a, b) = (NHits::<B>::new(&checked, 1, &device), NHits::<B>::new(&checked, 2, &device));
        let put = with_weights(a.clone(), &weights_of(&b));
        assert_eq!(put.tensors(), b.tensors());
        let ids = |net: &NHits<B>| net.weights().iter().map(|(_, w)| w.id()).collect::<Vec<_>>();
        assert_eq!(ids(&put), ids(&a));
        assert_eq!(weights_of(&put), weights_of(&b));
        let nothing = without_weights(a.clone());
        assert!(weights_of(&nothing).iter().all(|v| *v == 0.0));
        assert_eq!(ids(&nothing), ids(&a));
        assert_eq!(with_weights(nothing, &weights_of(&b)).tensors(), b.tensors());
    });
}

#[test]
fn what_is_no_number_stays_one() {
    on_backend!(|B, device| {
        for pooling_mode in [PoolingMode::Max, PoolingMode::Avg] {
            let config = NHitsConfig { pooling_mode, ..small() };
            let net = NHits::<B>::new(&config.check().unwrap(), 1, &device);
            let mut both = Both::new(&config, 3);
            both.y[config.input_size + 4] = f32::NAN;
            let forecast = HostForecaster::new(&net).unwrap().forecast(&both.slices());
            let per_window = config.horizon;
            assert!(forecast[..per_window].iter().all(|v| v.is_finite()), "the window before");
            assert!(forecast[per_window..2 * per_window].iter().all(|v| v.is_nan()), "{forecast:?}");
            assert!(forecast[2 * per_window..].iter().all(|v| v.is_finite()), "the window after");
        }
    });
}

#[test]
fn a_learnt_slope_is_left_to_the_tensors() {
    let config = NHitsConfig { activation: Activation::PRelu, ..small() };
    assert!(HostNetwork::new(&config.check().unwrap()).is_none());
}
