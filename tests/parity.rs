//! Which backends this build can run here, several devices and mixed precision: each against the plain run.

mod support;

use std::sync::Arc;

use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Device as _, DeviceId};
use burn::tensor::{DType, Tensor, TensorData};
use burn::train::TrainStep;
use nhits::data::SplitSpec;
use nhits::loss::{Loss, LossConfig};
use nhits::model::{ModelInput, NHits, NHitsConfig, PoolingMode, to_host};
use nhits::train::{Manner, StepSettings, TrainConfig, TrainError, TrainInput, TrainJob, Trainee, Watch, WindowChoice};
use nhits::transform::ScalerKind;
use nhits::window::{ColumnScalers, WindowBatcher, WindowIndex, WindowRules, WindowScaler, WindowShape};
use nhits::workers::Workers;
use nhits_backends::{Job, Taken, compiled_in, usable};
use support::{on_each, panel};

/// The other tests run on every backend that has a device here. Those that must have one are named by `NHITS_BACKENDS`,
/// so that a device that got lost is a failure and not a test that is skipped.
#[test]
fn the_backends_that_must_run_here_do() {
    let here: Vec<&str> = usable().map(|b| b.name).collect();
    let without: Vec<String> = compiled_in()
        .filter(|b| !here.contains(&b.name))
        .map(|b| format!("{}: {}", b.name, b.devices().map_or_else(|m| m.reason, |_| "does not compute".into())))
        .collect();
    println!("tested on {}; without a device: {without:?}", here.join(", "));
    let wanted = std::env::var("NHITS_BACKENDS").unwrap_or_default();
    for name in wanted.split(',').filter(|n| !n.is_empty()) {
        assert!(here.contains(&name), "{name} is not usable here: {here:?}, {without:?}");
    }
    assert!(!here.is_empty(), "{without:?}");
}

fn network() -> NHitsConfig {
    NHitsConfig { input_size: 24, horizon: 6, mlp_units: vec![[16, 16]; 2], dropout: 0.2, ..NHitsConfig::default() }
}

fn job(loss: LossConfig) -> TrainJob {
    let panel = panel(200);
    TrainJob {
        target: Vec::new(),
        features: Default::default(),
        splits: SplitSpec::rows(140, 60, 0).resolve_all(&panel).unwrap(),
        panel: Arc::new(panel),
        network: network().check().unwrap(),
        loss,
        scaler: ScalerKind::Standard,
        window_scaler: WindowScaler::Robust,
        windows: WindowChoice::default(),
        config: TrainConfig {
            max_steps: Some(40),
            steps_per_epoch: Some(20),
            batch_size: 64,
            lr: 3e-3,
            patience: 0,
            ..TrainConfig::default()
        },
        threads: 2,
    }
}

/// Weights and validation losses of a run.
type Ran = Result<(Vec<f32>, Vec<f64>), TrainError>;

/// A run over so many devices.
#[derive(Clone)]
struct Over(TrainJob, usize);

impl Job for Over {
    type Output = Ran;

    fn run<B: AutodiffBackend>(self, taken: &Taken, device: B::Device) -> Ran {
        let graphics = ["wgpu", "vulkan", "webgpu", "metal"].contains(&taken.backend);
        // wgpu's default device is the same adapter with a queue and memory of its own. Elsewhere the same device again.
        let another = if graphics { B::Device::from_id(DeviceId::new(4, 0)) } else { device.clone() };
        assert!(!graphics || another != device);
        let devices: Vec<B::Device> = [device, another].into_iter().cycle().take(self.1).collect();
        let trained = self.0.run_on::<B>(&self.0.plan()?, &devices, Watch::default())?;
        let weights = trained.net.tensors().into_iter().flat_map(|t| t.data).collect();
        Ok((weights, trained.history.iter().filter_map(|r| r.val_loss).collect()))
    }
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |worst, (a, b)| if (a - b).abs() > worst { (a - b).abs() } else { worst })
}

#[test]
fn several_devices_give_the_result_of_one_up_to_rounding() {
    for n in [2, 3] {
        let one = on_each(|| Over(job(LossConfig::Mae), 1));
        let many = on_each(|| Over(job(LossConfig::Mae), n));
        for ((name, one), (_, many)) in one.into_iter().zip(many) {
            let ((one, losses), (many, others)) = (one.unwrap(), many.unwrap());
            assert!(furthest(&one, &many) < 1e-3, "{name}, {n} devices: weights off by {}", furthest(&one, &many));
            for (a, b) in losses.iter().zip(&others) {
                assert!((a / b - 1.0).abs() < 1e-3, "{name}, {n} devices: validation loss {a} and {b}");
            }
        }
    }
}

#[test]
fn a_loss_that_cannot_be_split_is_refused_on_several_devices() {
    for (name, ran) in on_each(|| Over(job(LossConfig::Rmse), 2)) {
        let error = ran.unwrap_err().to_string();
        assert!(error.contains("--devices") && error.contains("rmse"), "{name}: {error}");
    }
}

#[test]
fn mixed_precision_learns_as_well_as_single_precision_and_is_not_the_same() {
    let plain = on_each(|| Over(job(LossConfig::Mae), 1));
    let mixed = on_each(|| {
        let mut job = job(LossConfig::Mae);
        job.config.mixed_precision = true;
        Over(job, 1)
    });
    for ((name, plain), (_, mixed)) in plain.into_iter().zip(mixed) {
        if name == "ndarray" {
            let error = mixed.unwrap_err().to_string();
            assert!(error.contains("train.mixed_precision") && error.contains("no half precision"), "{error}");
            continue;
        }
        let ((plain, losses), (mixed, others)) = (plain.unwrap(), mixed.unwrap_or_else(|e| panic!("{name}: {e}")));
        assert_ne!(plain, mixed, "{name}: nothing was computed in half precision");
        let (a, b) = (losses.last().unwrap(), others.last().unwrap());
        assert!((a / b - 1.0).abs() < 0.03, "{name}: validation loss {a} in f32, {b} in half precision");
    }
}

/// The gradient of each weight in f32 and in another type, for a batch whose loss has small derivatives.
#[derive(Clone)]
struct Gradients(DType);

/// How far the gradients of each weight are from those in f32, relative to their norm; or that the type is not there.
type Apart = Option<Vec<f64>>;

impl Job for Gradients {
    type Output = Apart;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Apart {
        use burn::tensor::backend::Backend;
        if !<B::InnerBackend as Backend>::supports_dtype(&device, self.0) {
            return None;
        }
        // A mean over 48,000 values has derivatives of 2e-5, and those of the first layers are smaller still: less than
        // f16 knows well.
        let panel = Arc::new(panel(4000));
        let shape = WindowShape { input_size: 24, horizon: 6 };
        let index = WindowIndex::new(&panel, &[0..4000, 0..4000], &WindowRules::train(shape)).unwrap();
        let scalers = Arc::new(ColumnScalers::none(&panel));
        let batcher = WindowBatcher::new(panel, &index, scalers, WindowScaler::Standard).unwrap();
        let windows: Vec<_> = index.windows().collect();
        let net = NHits::<B>::new(&NHitsConfig { dropout: 0.0, ..network() }.check().unwrap(), 5, &device);
        let gradients = |half: Option<DType>| {
            let loss = Loss::new(LossConfig::Mae, None, 24, 6).unwrap();
            let settings = StepSettings { loss, workers: Workers::none(), shares: 1, seed: 9 };
            let trainee = Trainee::new(net.clone(), settings).computed(Manner { half, ..Manner::default() });
            let batch = batcher.gather(&windows).into_tensors::<B>(&device);
            let out = TrainStep::step(&trainee, TrainInput { batch, step: 1 });
            flat::<B>(&trainee, out.grads)
        };
        let (single, half) = (gradients(None), gradients(Some(self.0)));
        let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
        let apart = |(a, b): (&Vec<f32>, &Vec<f32>)| {
            let difference = norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b)));
            difference / norm(&mut a.iter().map(|a| f64::from(*a)))
        };
        Some(single.iter().zip(&half).map(apart).collect())
    }
}

/// Gradients of every weight, on the host.
fn flat<B: AutodiffBackend>(trainee: &Trainee<B>, grads: GradientsParams) -> Vec<Vec<f32>> {
    use burn::module::{Module, ModuleVisitor, Param};
    struct Collect(GradientsParams, Vec<Vec<f32>>);
    impl<B: AutodiffBackend> ModuleVisitor<B> for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let grad = self.0.get::<B::InnerBackend, D>(param.id).unwrap();
            assert_eq!(grad.dtype(), DType::F32, "gradients are those of the f32 weights");
            self.1.push(grad.into_data().to_vec().unwrap());
        }
    }
    let mut collect = Collect(grads, Vec::new());
    trainee.visit(&mut collect);
    collect.1
}

#[test]
fn gradients_in_half_precision_are_those_of_single_precision_even_where_they_are_tiny() {
    for (dtype, allowed) in [(DType::F16, 0.03), (DType::BF16, 0.1)] {
        for (name, apart) in on_each(|| Gradients(dtype)) {
            let Some(apart) = apart else {
                println!("{name} has no {dtype:?}");
                continue;
            };
            let worst = apart.iter().fold(0.0, |w: f64, a| if *a > w || a.is_nan() { *a } else { w });
            assert!(worst > 0.0 && worst < allowed, "{name}, {dtype:?}: {apart:?}");
        }
    }
}

/// Forecast of a network on fixed numbers, and the gradients of its mean square.
struct Once(NHitsConfig);

impl Job for Once {
    type Output = Vec<Vec<f32>>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        const ROWS: usize = 4;
        let config = self.0.check().unwrap();
        let (long, ahead) = (config.input_size, config.horizon);
        let numbers = |n: usize| (0..n).map(|i| (i as f32 * 0.7).sin() + (i as f32 * 0.11).cos()).collect::<Vec<_>>();
        let columns = |steps: usize, n: usize| {
            let shape = [ROWS, steps, n];
            (n > 0).then(|| Tensor::from_data(TensorData::new(numbers(ROWS * steps * n), shape), &device))
        };
        let insample_y = TensorData::new(numbers(ROWS * long), [ROWS, long]);
        let insample_y = Tensor::<B, 2>::from_data(insample_y, &device).require_grad();
        let input = ModelInput {
            insample_y: insample_y.clone(),
            insample_mask: Tensor::ones([ROWS, long], &device),
            hist_exog: columns(long, config.hist_exog),
            futr_exog: columns(long + ahead, config.futr_exog),
            stat_exog: None,
        };
        let net = NHits::<B>::new(&config, 3, &device);
        let forecast = net.forward(&input);
        let gradients = forecast.clone().powi_scalar(2).mean().backward();
        let mut all = vec![to_host(forecast), to_host(insample_y.grad(&gradients).unwrap())];
        all.extend(net.gradients(&gradients).into_iter().map(|t| t.data));
        all
    }
}

/// Parts of tensors with a dimension of 1, which one backend reads wrongly when their shape is changed, are what ragged
/// ends of pooling, single columns and a horizon of one step give.
#[test]
fn every_backend_computes_networks_with_ragged_ends_single_columns_and_one_step() {
    for mode in [PoolingMode::Max, PoolingMode::Avg] {
        for (input_size, horizon, kernels, hist_exog, futr_exog) in [
            (34, 6, vec![4, 2, 1], 1, 1),
            (33, 6, vec![2, 4, 1], 0, 0),
            (65, 1, vec![2, 4, 1], 1, 0),
            (64, 1, vec![1, 1, 1], 0, 1),
            (35, 12, vec![4, 3, 1], 2, 1),
        ] {
            let config = NHitsConfig {
                input_size,
                horizon,
                n_pool_kernel_size: kernels,
                pooling_mode: mode,
                hist_exog,
                futr_exog,
                dropout: 0.0,
                ..network()
            };
            let all = on_each(|| Once(config.clone()));
            for (name, other) in &all[1..] {
                for (first, other) in all[0].1.iter().zip(other) {
                    let off = furthest(first, other);
                    assert!(off < 1e-5, "{name}, {mode}, {input_size} values: off by {off}\n{first:?}\n{other:?}");
                }
            }
        }
    }
}

/// The long-horizon benchmark that is quickest to read, for as many steps as a CPU without half precision has patience for.
///
/// It takes minutes: `NHITS_ETTM2=ETTm2.csv cargo test --test parity accuracy -- --nocapture`.
#[test]
fn the_accuracy_of_half_precision_on_ettm2_is_within_one_percent() {
    use nhits::data::{DataConfig, Targets, read_panel};
    let Some(path) = std::env::var_os("NHITS_ETTM2").map(Into::into) else {
        println!("skipped: NHITS_ETTM2 does not name ETTm2.csv");
        return;
    };
    let steps = std::env::var("NHITS_STEPS").map_or(150, |s| s.parse().unwrap());
    let panel =
        Arc::new(read_panel(&DataConfig { path, targets: Some(Targets::All), ..Default::default() }).unwrap().panel);
    let of = |mixed_precision: bool| {
        let mut job = job(LossConfig::Mae);
        job.splits = SplitSpec::rows(34560, 11520, 11520).resolve_all(&panel).unwrap();
        job.panel = panel.clone();
        job.network = NHitsConfig { input_size: 480, horizon: 96, ..NHitsConfig::default() }.check().unwrap();
        job.window_scaler = WindowScaler::Standard;
        job.config = TrainConfig {
            max_steps: Some(steps),
            steps_per_epoch: Some(steps),
            batch_size: 256,
            lr: 1e-3,
            mixed_precision,
            ..TrainConfig::default()
        };
        Timed(job)
    };
    let single = on_each(|| of(false));
    let half = on_each(|| of(true));
    for ((name, a), (_, b)) in single.into_iter().zip(half) {
        let (Some((a, a_seconds)), Some((b, b_seconds))) = (a, b) else {
            println!("{name} has no half precision");
            continue;
        };
        println!("{name}: validation mae {a:?} in f32 ({a_seconds:.0} s), {b:?} in half precision ({b_seconds:.0} s)");
        assert!((a / b - 1.0).abs() < 0.01, "{name}");
    }
}

/// A run on one device: the last validation error and the seconds that the steps took; none where it is refused.
struct Timed(TrainJob);

impl Job for Timed {
    type Output = Option<(f64, f64)>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        let began = std::time::Instant::now();
        let trained = self.0.run_on::<B>(&self.0.plan().unwrap(), &[device], Watch::default()).ok()?;
        Some((trained.history.last()?.val_mae?, began.elapsed().as_secs_f64()))
    }
}
