//! The trainer as a library: sharing a batch, early stopping, best weights, what a bundle keeps.

mod support;

use std::path::Path;
use std::sync::Arc;

use burn::module::AutodiffModule;
use burn::optim::{GradientsParams, Optimizer as _};
use burn::tensor::backend::AutodiffBackend;
use burn::train::{InferenceStep, TrainStep};
use nhits::bundle::{StoppedBy, TrainingSummary};
use nhits::data::SplitSpec;
use nhits::loss::{Loss, LossConfig};
use nhits::model::{NHits, NHitsConfig};
use nhits::train::{
    FindLr, FoundLr, LrBasis, Optimizer, OptimizerKind, PlateauRules, Rule, ScheduleConfig, StepSettings, TrainConfig,
    TrainEngine, TrainError, TrainInput, TrainJob, Trainee, Watch, WindowChoice, clip_global_norm,
};
use nhits::transform::ScalerKind;
use nhits::window::{ColumnScalers, WindowBatcher, WindowIndex, WindowRules, WindowScaler, WindowShape};
use nhits::workers::Workers;
use nhits_backends::{Job, Taken};
use support::{on_each, panel};

fn network(dropout: f64) -> NHitsConfig {
    NHitsConfig { input_size: 24, horizon: 6, mlp_units: vec![[16, 16]; 2], dropout, ..NHitsConfig::default() }
}

fn job(config: TrainConfig) -> TrainJob {
    let panel = panel(200);
    TrainJob {
        splits: SplitSpec::rows(140, 30, 30).resolve_all(&panel).unwrap(),
        panel: Arc::new(panel),
        network: network(0.2).check().unwrap(),
        loss: LossConfig::Mae,
        target: Vec::new(),
        features: Default::default(),
        scaler: ScalerKind::Standard,
        window_scaler: WindowScaler::Robust,
        windows: WindowChoice::default(),
        config,
        threads: 2,
    }
}

/// The job with three outputs.
fn with_outputs(job: TrainJob) -> TrainJob {
    let network = NHitsConfig { outputs: 3, ..network(0.2) };
    TrainJob { network: network.check().unwrap(), ..job }
}

fn few_steps() -> TrainConfig {
    TrainConfig {
        epochs: 6,
        steps_per_epoch: Some(10),
        batch_size: 16,
        lr: 3e-3,
        patience: 0,
        ..TrainConfig::default()
    }
}

/// One step over the same batch with one worker and with three: loss and gradient norm.
struct SharedStep(LossConfig);

impl Job for SharedStep {
    type Output = Vec<(f64, f64, f64)>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        let panel = Arc::new(panel(200));
        let shape = WindowShape { input_size: 24, horizon: 6 };
        let index = WindowIndex::new(&panel, &[0..100, 0..100], &WindowRules::train(shape)).unwrap();
        let scalers = Arc::new(ColumnScalers::none(&panel));
        let batcher = WindowBatcher::new(panel, &index, scalers, WindowScaler::Standard).unwrap();
        let windows: Vec<_> = index.windows().step_by(3).collect();
        let net = NHits::<B>::new(&network(0.3).check().unwrap(), 5, &device);
        [1, 3]
            .map(|n| {
                let loss = Loss::new(self.0.clone(), None, 24, 6).unwrap();
                let settings = StepSettings { loss, workers: Workers::new(n).unwrap(), shares: n, seed: 9 };
                let trainee = Trainee::new(net.clone(), settings);
                let batch = batcher.gather(&windows).into_tensors::<B>(&device);
                let mut out = TrainStep::step(&trainee, TrainInput { batch, step: 4 });
                let norm = clip_global_norm::<B, _>(&trainee, &mut out.grads, f64::INFINITY);
                (out.item.loss, out.item.mae, norm)
            })
            .to_vec()
    }
}

#[test]
fn a_batch_shared_by_workers_gives_the_loss_and_gradient_of_the_whole() {
    for loss in [LossConfig::Mae, LossConfig::Huber { delta: 0.5 }, LossConfig::Rmse, LossConfig::Smape] {
        for (backend, steps) in on_each(|| SharedStep(loss.clone())) {
            let [(loss_1, mae_1, norm_1), (loss_3, mae_3, norm_3)] = steps[..] else { panic!("two runs") };
            assert!((loss_1 / loss_3 - 1.0).abs() < 1e-5, "{backend} {loss:?}: loss {loss_1} and {loss_3}");
            assert!((mae_1 / mae_3 - 1.0).abs() < 1e-5, "{backend} {loss:?}: mae {mae_1} and {mae_3}");
            assert!((norm_1 / norm_3 - 1.0).abs() < 1e-4, "{backend} {loss:?}: norm {norm_1} and {norm_3}");
        }
    }
}

/// Two hundred Adam steps on one batch: first and last loss.
struct Overfit;

impl Job for Overfit {
    type Output = (f64, f64);

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> (f64, f64) {
        let panel = Arc::new(panel(60));
        let shape = WindowShape { input_size: 24, horizon: 6 };
        let index = WindowIndex::new(&panel, &[0..60, 0..60], &WindowRules::evaluate(shape)).unwrap();
        let scalers = Arc::new(ColumnScalers::none(&panel));
        let batcher = WindowBatcher::new(panel, &index, scalers, WindowScaler::Standard).unwrap();
        let windows: Vec<_> = index.windows().filter(|w| w.origin >= 24).step_by(7).take(8).collect();
        let config = NHitsConfig { mlp_units: vec![[64, 64]; 2], ..network(0.0) }.check().unwrap();
        let loss = Loss::new(LossConfig::Mse, None, 24, 6).unwrap();
        let settings = StepSettings { loss, workers: Workers::new(1).unwrap(), shares: 1, seed: 9 };
        let mut trainee = Trainee::new(NHits::<B>::new(&config, 5, &device), settings);
        let mut optimizer = Optimizer::<Trainee<B>, B>::from(Rule::new(OptimizerKind::Adam));
        let (mut first, mut last) = (None, 0.0);
        for step in 0..400 {
            let batch = batcher.gather(&windows).into_tensors::<B>(&device);
            let out = TrainStep::step(&trainee, TrainInput { batch, step });
            first.get_or_insert(out.item.loss);
            last = out.item.loss;
            trainee = optimizer.step(3e-3, trainee, out.grads);
        }
        (first.unwrap(), last)
    }
}

#[test]
fn one_batch_is_learned_by_heart() {
    for (backend, (first, last)) in on_each(|| Overfit) {
        assert!(last < first * 1e-3, "{backend}: the loss fell from {first} to {last} only");
    }
}

/// A run, and the validation loss of what it returned, worked out anew.
struct WholeRun(TrainJob);

struct Returned {
    summary: Result<(TrainingSummary, f64, Vec<u32>), TrainError>,
}

impl Job for WholeRun {
    type Output = Returned;

    fn run<B: AutodiffBackend>(self, taken: &Taken, device: B::Device) -> Returned {
        let job = self.0;
        let plan = job.plan().unwrap();
        let trained = match job.run::<B>(&plan, &device, Watch::default()) {
            Ok(trained) => trained,
            Err(error) => return Returned { summary: Err(error) },
        };
        if let Some(error) = trained.failed {
            return Returned { summary: Err(error) };
        }
        let shape = WindowShape { input_size: 24, horizon: 6 };
        let val: Vec<_> = job.splits.iter().map(|s| s.val.clone()).collect();
        let index = WindowIndex::new(&job.panel, &val, &WindowRules::evaluate(shape)).unwrap();
        let scalers = Arc::new(trained.series.scalers.clone());
        let batcher = WindowBatcher::new(job.panel.clone(), &index, scalers, job.window_scaler).unwrap();
        let loss = Loss::new(job.loss.clone(), None, 24, 6).unwrap();
        let settings = StepSettings { loss, workers: Workers::new(1).unwrap(), shares: 1, seed: 0 };
        let bits = trained.net.tensors().iter().flat_map(|t| t.data.iter().map(|v| v.to_bits())).collect();
        let trainee = Trainee::new(trained.net, settings);
        let windows: Vec<_> = index.windows().collect();
        let out = InferenceStep::step(&trainee, batcher.gather(&windows).into_tensors::<B::InnerBackend>(&device));
        let summary = TrainingSummary {
            backend: taken.backend.into(),
            device: taken.device.to_string(),
            n_series: 2,
            n_windows: plan.train_windows,
            steps: trained.steps,
            epochs: trained.history.len(),
            best_epoch: trained.best.epoch,
            train_loss: trained.best.train_loss,
            val_loss: trained.best.val_loss,
            val_mae: trained.best.val_mae,
            stopped_by: trained.stopped_by,
            history: trained.history,
        };
        Returned { summary: Ok((summary, out.loss, bits)) }
    }
}

/// Tensors and slices are two ways to compute one run: the same curve and weights, up to rounding.
#[test]
fn slices_learn_what_tensors_learn() {
    for optimizer in OptimizerKind::ALL {
        let with = |engine: TrainEngine| {
            let job = job(TrainConfig { engine, optimizer, lr: 1e-3, weight_decay: 1e-3, ..few_steps() });
            on_each(|| {
                WholeRun(TrainJob {
                    loss: LossConfig::MultiQuantile { quantiles: vec![0.1, 0.5, 0.9] },
                    ..with_outputs(job.clone())
                })
            })
        };
        for ((name, a), (_, b)) in with(TrainEngine::Slices).into_iter().zip(with(TrainEngine::Tensors)) {
            let ((a, _, weights_a), (b, _, weights_b)) = (a.summary.unwrap(), b.summary.unwrap());
            assert_eq!(a.history.len(), b.history.len());
            for (a, b) in a.history.iter().zip(&b.history) {
                let near = |a: f64, b: f64| (a - b).abs() <= 1e-4 * b.abs();
                assert!(near(a.train_loss, b.train_loss), "{name} {optimizer:?}: {a:?} {b:?}");
                assert!(near(a.val_loss.unwrap(), b.val_loss.unwrap()), "{name} {optimizer:?}: {a:?} {b:?}");
                assert!(near(a.train_rmse, b.train_rmse), "{name} {optimizer:?}: {a:?} {b:?}");
            }
            let values = |bits: &[u32]| bits.iter().map(|b| f32::from_bits(*b)).collect::<Vec<_>>();
            let (x, y) = (values(&weights_a), values(&weights_b));
            let apart = x.iter().zip(&y).map(|(x, y)| f64::from((x - y).abs())).sum::<f64>() / x.len() as f64;
            assert!(apart < 2e-5, "{name} {optimizer:?}: weights {apart} apart in the mean");
            assert!(x != y, "{name} {optimizer:?}: the engines were the same");
        }
    }
}

#[test]
fn slices_are_refused_where_the_network_learns_slopes() {
    let with = |engine: TrainEngine| {
        let job = job(TrainConfig { engine, max_steps: Some(2), ..few_steps() });
        let network = NHitsConfig { activation: nhits::model::Activation::PRelu, ..network(0.0) };
        on_each(|| WholeRun(TrainJob { network: network.check().unwrap(), ..job.clone() }))
    };
    for (name, ran) in with(TrainEngine::Slices) {
        let error = ran.summary.unwrap_err().to_string();
        assert!(error.contains("train.engine") && error.contains("prelu"), "{name}: {error}");
    }
    assert!(with(TrainEngine::Auto).into_iter().all(|(_, ran)| ran.summary.is_ok()));
}

#[test]
fn the_weights_of_the_best_epoch_come_back() {
    // So large a rate makes the validation loss jump about: the last epoch is hardly ever the best.
    let config = TrainConfig { lr: 2e-2, epochs: 12, ..few_steps() };
    for (backend, run) in on_each(|| WholeRun(job(config.clone()))) {
        let (summary, val_loss, _) = run.summary.unwrap();
        let best = summary.history.iter().map(|r| r.val_loss.unwrap()).fold(f64::INFINITY, f64::min);
        assert_eq!(summary.val_loss, Some(best), "{backend}");
        assert!(summary.best_epoch < summary.epochs, "{backend}: the last epoch is the best, nothing is shown");
        assert!((val_loss / best - 1.0).abs() < 1e-5, "{backend}: returned weights have {val_loss}, best epoch {best}");
    }
}

#[test]
fn training_stops_after_patience_validations_without_improvement() {
    // No improvement is large enough, so the first epoch counts and the next three are stale.
    let config = TrainConfig { patience: 3, min_delta: 1e9, epochs: 50, ..few_steps() };
    for (backend, run) in on_each(|| WholeRun(job(config.clone()))) {
        let (summary, ..) = run.summary.unwrap();
        assert_eq!((summary.stopped_by, summary.epochs), (StoppedBy::EarlyStopping, 4), "{backend}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
    let bits = |seed| {
        let config = TrainConfig { seed, ..few_steps() };
        on_each(|| WholeRun(job(config.clone()))).into_iter().map(|(_, r)| r.summary.unwrap().2).collect::<Vec<_>>()
    };
    let first = bits(1);
    assert_eq!(first, bits(1));
    assert_ne!(first, bits(2));
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_with_its_step() {
    let config = TrainConfig { optimizer: OptimizerKind::Sgd, lr: 1e30, gradient_clip: 0.0, ..few_steps() };
    for (backend, run) in on_each(|| WholeRun(job(config.clone()))) {
        let error = run.summary.err().unwrap_or_else(|| panic!("{backend}: an absurd rate went well"));
        assert!(matches!(error, TrainError::NonFiniteLoss { epoch: 1, .. }), "{backend}: {error}");
    }
}

#[test]
fn max_steps_ends_in_the_middle_of_an_epoch() {
    let config = TrainConfig { max_steps: Some(25), ..few_steps() };
    for (backend, run) in on_each(|| WholeRun(job(config.clone()))) {
        let (summary, ..) = run.summary.unwrap();
        assert_eq!((summary.steps, summary.epochs), (25, 3), "{backend}");
        assert_eq!(summary.history[2].step, 25, "{backend}");
    }
}

/// A bundle of an untrained network: written, read, and forecast from both.
struct KeptBits;

impl Job for KeptBits {
    type Output = (Vec<f64>, Vec<f64>);

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        use nhits::bundle::Bundle;
        use nhits::forecast::Model;
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bundle_v1.safetensors");
        let bundle = Bundle::load(&path).unwrap();
        let copy = Bundle::from_bytes(&bundle.to_bytes().unwrap(), Path::new("copy")).unwrap();
        assert_eq!(bundle.manifest, copy.manifest);
        assert!(bundle.weights == copy.weights && bundle.series == copy.series);
        let forecast = |bundle: &Bundle| {
            let model = Model::<B::InnerBackend>::new(bundle, &device, 1).unwrap();
            let panel = Arc::new(panel(60));
            let (table, silent) = model.on(panel, &[0..60, 0..60]).unwrap().ahead(&[0], &[]).unwrap();
            assert!(silent.is_empty());
            table.values
        };
        (forecast(&bundle), forecast(&copy))
    }
}

/// One file of each format that was ever written is kept, and must stay readable.
#[test]
fn the_first_format_is_still_read_and_keeps_every_bit() {
    for (backend, (first, second)) in on_each(|| KeptBits) {
        assert_eq!(first, second, "{backend}");
        assert_eq!(first.len(), 2 * 6);
        assert!(first.iter().all(|v| (5.0..15.0).contains(v)), "{backend}: {first:?}");
    }
}

/// The gradient of every parameter reaches the optimizer, whichever worker made it.
struct AllGradients;

impl Job for AllGradients {
    type Output = (usize, usize);

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        let net = NHits::<B>::new(&network(0.0).check().unwrap(), 5, &device);
        let before: Vec<_> = net.valid().tensors();
        let loss = Loss::new(LossConfig::Mae, None, 24, 6).unwrap();
        let trainee = Trainee::new(net, StepSettings { loss, workers: Workers::new(2).unwrap(), shares: 2, seed: 0 });
        let panel = Arc::new(panel(100));
        let index = WindowIndex::new(
            &panel,
            &[0..100, 0..100],
            &WindowRules::evaluate(WindowShape { input_size: 24, horizon: 6 }),
        )
        .unwrap();
        let scalers = Arc::new(ColumnScalers::none(&panel));
        let batcher = WindowBatcher::new(panel, &index, scalers, WindowScaler::Standard).unwrap();
        let windows: Vec<_> = index.windows().take(64).collect();
        let out = TrainStep::step(
            &trainee,
            TrainInput { batch: batcher.gather(&windows).into_tensors::<B>(&device), step: 0 },
        );
        let grads: GradientsParams = out.grads;
        let mut optimizer = Optimizer::<Trainee<B>, B>::from(Rule::new(OptimizerKind::Adam));
        let after = optimizer.step(1e-3, trainee, grads).valid().net.tensors();
        let changed = before.iter().zip(&after).filter(|(a, b)| a.data != b.data).count();
        (changed, before.len())
    }
}

#[test]
fn every_weight_is_trained() {
    for (backend, (changed, all)) in on_each(|| AllGradients) {
        assert_eq!(changed, all, "{backend}");
    }
}

#[test]
fn the_last_weights_come_back_where_they_are_asked_for() {
    let config = TrainConfig { lr: 2e-2, epochs: 12, keep: nhits::train::Keep::Last, ..few_steps() };
    for (backend, run) in on_each(|| WholeRun(job(config.clone()))) {
        let (summary, val_loss, _) = run.summary.unwrap();
        let last = summary.history[11].val_loss.unwrap();
        assert_eq!((summary.best_epoch, summary.val_loss), (12, Some(last)), "{backend}");
        assert!((val_loss / last - 1.0).abs() < 1e-5, "{backend}: returned weights have {val_loss}, last epoch {last}");
    }
}

#[test]
fn plateau_lowers_the_rate_after_validations_without_improvement() {
    // A loss below a millionth of the best is not to be had, so every validation but the first is a bad one.
    let rules = PlateauRules { patience: 1, factor: 0.1, threshold: 0.999_999, cooldown: 0, min_lr: 2e-4 };
    let config = TrainConfig { schedule: ScheduleConfig::Plateau(rules), epochs: 8, ..few_steps() };
    let run = || on_each(|| WholeRun(job(config.clone())));
    for ((backend, first), (_, second)) in run().into_iter().zip(run()) {
        let (summary, _, bits) = first.summary.unwrap();
        let rates: Vec<f64> = summary.history.iter().map(|r| r.lr).collect();
        let want = [3e-3, 3e-3, 3e-3, 3e-4, 3e-4, 2e-4, 2e-4, 2e-4];
        assert!(rates.iter().zip(want).all(|(r, w)| (r / w - 1.0).abs() < 1e-12), "{backend}: {rates:?}");
        assert!(bits == second.summary.unwrap().2, "{backend}: the same run ended with other bits");
    }
}

#[test]
fn plateau_without_validation_rows_is_refused() {
    let config = TrainConfig { schedule: ScheduleConfig::named("plateau").unwrap(), ..few_steps() };
    let mut job = job(config);
    job.splits = SplitSpec::rows(140, 0, 60).resolve_all(&job.panel).unwrap();
    let error = job.plan().unwrap_err();
    assert!(matches!(error, TrainError::Setting(_)) && error.to_string().contains("there are none"), "{error}");
}

/// A search for a learning rate.
struct Search(TrainJob, FindLr);

impl Job for Search {
    type Output = Result<FoundLr, TrainError>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        self.0.find_lr::<B>(&self.0.plan().unwrap(), &device, &self.1)
    }
}

#[test]
fn a_search_suggests_a_usual_rate_and_repeats_bit_for_bit() {
    let search = |seed| {
        let config = TrainConfig { batch_size: 64, seed, ..few_steps() };
        on_each(|| Search(job(config.clone()), FindLr::default()))
    };
    for ((backend, found), (_, again)) in search(1).into_iter().zip(search(1)) {
        let (found, again) = (found.unwrap(), again.unwrap());
        assert_eq!(found.basis, LrBasis::SteepestDescent, "{backend}");
        assert!((1e-4..1e-1).contains(&found.suggested), "{backend}: {}", found.suggested);
        assert!(found.lowest > found.suggested, "{backend}: {}", found.lowest);
        let bits = |f: &FoundLr| f.curve.iter().map(|p| (p.lr.to_bits(), p.loss.to_bits())).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(&again), "{backend}");
    }
    // The test and validation rows are not read: with others in their place the curve is the same.
    let mut other = job(TrainConfig { batch_size: 64, ..few_steps() });
    let mut panel = panel(200);
    for series in 0..2 {
        for row in 140..200 {
            panel.y[series * 200 + row] = f64::NAN;
        }
    }
    other.panel = Arc::new(panel);
    for ((backend, found), (_, clean)) in
        on_each(|| Search(other.clone(), FindLr::default())).into_iter().zip(search(1))
    {
        assert_eq!(found.unwrap(), clean.unwrap(), "{backend}");
    }
}

#[test]
fn a_search_ends_where_the_loss_diverges_and_refuses_bad_settings() {
    let config = TrainConfig { optimizer: OptimizerKind::Sgd, gradient_clip: 0.0, ..few_steps() };
    let wide = FindLr { from: 1e-3, to: 1e12, steps: 60, ..FindLr::default() };
    for (backend, found) in on_each(|| Search(job(config.clone()), wide)) {
        let found = found.unwrap();
        assert!(found.stopped_early && found.curve.len() < 60, "{backend}: {} steps", found.curve.len());
        assert!(found.curve.iter().all(|p| p.loss.is_finite()), "{backend}");
    }
    for (_, found) in on_each(|| Search(job(config.clone()), FindLr { steps: 1, ..wide })) {
        assert!(found.unwrap_err().to_string().contains("find_lr.steps = 1"));
    }
}
