//! That training learns, that its validation numbers are what they say, and that backends agree on a whole run.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::backend::AutodiffBackend;
use nhits::bundle::EpochRecord;
use nhits::calendar::{Clock, Frequency};
use nhits::data::{Panel, Request, SplitSpec, SyntheticKind, TrendSeasonal, generate};
use nhits::forecast::Model;
use nhits::loss::LossConfig;
use nhits::model::NHitsConfig;
use nhits::train::{
    Callback, CheckpointFolder, Checkpoints, Every, Next, Provenance, StepEvent, TrainConfig, TrainError, TrainJob,
    Trained, Watch, WindowChoice,
};
use nhits::transform::ScalerKind;
use nhits::window::WindowScaler;
use nhits_backends::{Choice, Device, Job, Taken, compiled_in, with_backend};

fn on(name: &str) -> Choice {
    Choice { backend: Some(name.into()), device: Device::Auto }
}

/// Two waves with a slope and some noise.
fn panel() -> Panel {
    let freq: Frequency = "1".parse().unwrap();
    let request = Request { start: 0, clock: Clock::Integer, freq, n: 400, n_series: 2, seed: 3 };
    let made = generate(&SyntheticKind::Trend(TrendSeasonal::default()), &request).unwrap();
    let offsets = (0..=made.ids.len()).map(|s| s * made.n).collect();
    let y = made.columns[0].1.clone();
    Panel::new(made.ids, offsets, made.times, Clock::Integer, freq, y, "y")
}

fn job(config: TrainConfig) -> TrainJob {
    let panel = panel();
    let network = NHitsConfig { input_size: 48, horizon: 12, mlp_units: vec![[32, 32]; 2], ..NHitsConfig::default() };
    TrainJob {
        splits: SplitSpec::rows(280, 80, 40).resolve_all(&panel).unwrap(),
        panel: Arc::new(panel),
        network: network.check().unwrap(),
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

fn config(steps: usize) -> TrainConfig {
    TrainConfig {
        max_steps: Some(steps),
        steps_per_epoch: Some(50),
        batch_size: 64,
        lr: 2e-3,
        ..TrainConfig::default()
    }
}

/// A run; its history and the validation errors worked out by hand from its forecasts.
struct Learn {
    job: TrainJob,
    folder: Option<std::path::PathBuf>,
    stop_at: Option<usize>,
    resume: bool,
}

struct Learnt {
    history: Vec<EpochRecord>,
    naive_mae: f64,
    by_hand: (f64, f64),
    weights: Vec<f32>,
}

struct StopAt(usize);

impl Callback for StopAt {
    fn on_step(&mut self, event: &StepEvent<'_>) -> Next {
        if event.step == self.0 { Next::Stop("the test wants it".into()) } else { Next::Go }
    }
}

impl Job for Learn {
    type Output = Result<Learnt, TrainError>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        let plan = self.job.plan()?;
        let mut watch = Watch::default();
        if let Some(folder) = &self.folder {
            let folder = CheckpointFolder::new(folder);
            watch.resume = if self.resume { Some(folder.newest()?) } else { None };
            let mut checkpoints = Checkpoints::new(folder);
            checkpoints.every = Every::Steps(1000);
            watch.callbacks.push(Box::new(checkpoints));
        }
        watch.callbacks.extend(self.stop_at.map(|at| Box::new(StopAt(at)) as Box<dyn Callback>));
        let trained = self.job.run::<B>(&plan, &device, watch)?;
        Ok(Learnt {
            naive_mae: self.job.naive_mae(&plan).unwrap(),
            by_hand: by_hand(&self.job, &plan, &trained, &device),
            weights: trained.net.tensors().into_iter().flat_map(|t| t.data).collect(),
            history: trained.history,
        })
    }
}

/// Mean absolute and root mean squared error over every validation window, from forecasts in the units of the data.
fn by_hand<B: burn::tensor::backend::Backend>(
    job: &TrainJob,
    plan: &nhits::train::Plan,
    trained: &Trained<B>,
    device: &B::Device,
) -> (f64, f64) {
    let bundle = trained.bundle(job, plan, Provenance::default());
    let model = Model::<B>::new(&bundle, device, 1).unwrap();
    let known: Vec<_> = job.splits.iter().map(|s| s.train.clone()).collect();
    let on_panel = model.on(job.panel.clone(), &known).unwrap();
    let scaler = &plan.scalers().y;
    let (mut absolute, mut squared, mut n) = (0.0, 0.0, 0.0);
    for (s, split) in job.splits.iter().enumerate() {
        for origin in split.val.start..=split.val.end - 12 {
            let windows = [nhits::window::Window { series: s as u32, origin: origin as u32 }];
            let forecast = on_panel.at(&windows).unwrap();
            for (h, value) in forecast.iter().enumerate() {
                // Training's errors are on the scale of the per-series scaler.
                let error = (value - job.panel.series(s)[origin + h]) / scaler.scale[s];
                absolute += error.abs();
                squared += error * error;
                n += 1.0;
            }
        }
    }
    (absolute / n, f64::sqrt(squared / n))
}

fn learn(name: &str, config: TrainConfig) -> Learnt {
    let learn = Learn { job: job(config), folder: None, stop_at: None, resume: false };
    with_backend(&on(name), learn).unwrap().unwrap()
}

#[test]
fn it_converges_on_waves_far_below_the_last_value_repeated() {
    for info in compiled_in() {
        let learnt = learn(info.name, config(400));
        let (first, last) = (&learnt.history[0], learnt.history.last().unwrap());
        assert!(last.train_loss < 0.5 * first.train_loss, "{}: {} to {}", info.name, first.train_loss, last.train_loss);
        let best = learnt.history.iter().filter_map(|r| r.val_mae).fold(f64::INFINITY, f64::min);
        assert!(best < 0.25 * learnt.naive_mae, "{}: mae {best}, naive {}", info.name, learnt.naive_mae);
    }
}

#[test]
fn validation_numbers_are_those_worked_out_by_hand() {
    for info in compiled_in() {
        let learnt = learn(info.name, TrainConfig { keep: nhits::train::Keep::Last, ..config(100) });
        let last = learnt.history.last().unwrap();
        let (mae, rmse) = learnt.by_hand;
        assert!((last.val_mae.unwrap() / mae - 1.0).abs() < 1e-5, "{}: {:?}, by hand {mae}", info.name, last.val_mae);
        assert!(
            (last.val_rmse.unwrap() / rmse - 1.0).abs() < 1e-5,
            "{}: {:?}, by hand {rmse}",
            info.name,
            last.val_rmse
        );
    }
}

#[test]
fn backends_agree_on_a_whole_run() {
    let runs: Vec<(&str, Learnt)> = compiled_in().map(|i| (i.name, learn(i.name, config(150)))).collect();
    let (reference, first) = &runs[0];
    for (name, other) in &runs[1..] {
        for (a, b) in first.history.iter().zip(&other.history) {
            let (a, b) = (a.val_loss.unwrap(), b.val_loss.unwrap());
            // Rounding grows with the steps; a wrong operation is off at once.
            assert!((a / b - 1.0).abs() < 2e-3, "{reference} has {a}, {name} {b}");
        }
    }
}

#[test]
fn a_checkpoint_of_one_backend_goes_on_on_another() {
    let names: Vec<&str> = compiled_in().map(|i| i.name).collect();
    let straight = learn(names[0], config(60));
    for name in &names {
        let folder = tempfile::tempdir().unwrap();
        let go = |backend: &str, stop_at: Option<usize>, resume: bool| {
            let folder = Some(Path::to_path_buf(folder.path()));
            with_backend(&on(backend), Learn { job: job(config(60)), folder, stop_at, resume }).unwrap().unwrap()
        };
        go(names[0], Some(35), false);
        let resumed = go(name, None, true);
        let worst =
            straight.weights.iter().zip(&resumed.weights).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
        // The same bits on the same backend, rounding on another.
        let allowed = if *name == names[0] { 0.0 } else { 1e-3 };
        assert!(worst <= allowed, "from {} to {name}: {worst}", names[0]);
    }
}
