//! Checkpoints and exact resume: a run that is stopped anywhere and goes on ends with the bits of the uninterrupted one.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::backend::AutodiffBackend;
use nhits::bundle::{EpochRecord, StoppedBy};
use nhits::data::SplitSpec;
use nhits::error::Advise;
use nhits::loss::LossConfig;
use nhits::model::{Activations, NHitsConfig, QuantizationConfig};
use nhits::train::{
    Callback, CheckpointError, CheckpointEvent, CheckpointFolder, Checkpoints, Every, Next, OnNan, OptimizerKind,
    PlateauRules, RunEnd, ScheduleConfig, StepEvent, TrainConfig, TrainError, TrainJob, Watch, WindowChoice,
};
use nhits::transform::ScalerKind;
use nhits::window::WindowScaler;
use nhits_backends::{Choice, Device, Job, Taken, compiled_in, with_backend};
use support::{on_each, panel};

fn job(config: TrainConfig) -> TrainJob {
    let panel = panel(120);
    let network = NHitsConfig {
        input_size: 24,
        horizon: 6,
        mlp_units: vec![[16, 16]; 2],
        dropout: 0.3,
        ..NHitsConfig::default()
    };
    TrainJob {
        splits: SplitSpec::rows(80, 25, 15).resolve_all(&panel).unwrap(),
        panel: Arc::new(panel),
        network: network.check().unwrap(),
        loss: LossConfig::Huber { delta: 0.5 },
        target: Vec::new(),
        features: Default::default(),
        scaler: ScalerKind::Standard,
        window_scaler: WindowScaler::Standard,
        windows: WindowChoice::default(),
        config,
        threads: 2,
    }
}

/// Five steps an epoch, dropout on, early stopping and a falling rate.
fn config() -> TrainConfig {
    TrainConfig {
        batch_size: 32,
        epochs: 6,
        lr: 5e-3,
        patience: 2,
        schedule: ScheduleConfig::Step { step_size: Some(7), gamma: 0.7 },
        ..TrainConfig::default()
    }
}

/// Stops after a step.
struct StopAt(usize);

impl Callback for StopAt {
    fn on_step(&mut self, event: &StepEvent<'_>) -> Next {
        if event.step == self.0 { Next::Stop("the test wants it".into()) } else { Next::Go }
    }
}

/// What a run came to: weights and history to the bit.
#[derive(PartialEq)]
struct Came {
    weights: Vec<u32>,
    history: Vec<EpochRecord>,
    best: EpochRecord,
    steps: usize,
    stopped_by: StoppedBy,
}

impl std::fmt::Debug for Came {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} weights, {} steps, {:?}", self.weights.len(), self.steps, self.stopped_by)
    }
}

/// A run with checkpoints in a folder, perhaps stopped, perhaps resumed.
struct Go<'a> {
    job: TrainJob,
    folder: Option<&'a Path>,
    every: Every,
    stop_at: Option<usize>,
    resume: bool,
}

impl Job for Go<'_> {
    type Output = Result<Came, TrainError>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        let mut watch = Watch::default();
        if let Some(folder) = self.folder {
            let folder = CheckpointFolder::new(folder);
            if self.resume {
                watch.resume = Some(folder.newest()?);
            }
            let mut checkpoints = Checkpoints::new(folder);
            checkpoints.every = self.every;
            watch.callbacks.push(Box::new(checkpoints));
        }
        watch.callbacks.extend(self.stop_at.map(|at| Box::new(StopAt(at)) as Box<dyn Callback>));
        let plan = self.job.plan()?;
        let trained = self.job.run::<B>(&plan, &device, watch)?;
        if let Some(error) = trained.failed {
            return Err(error);
        }
        // What the clock says differs from run to run.
        let timeless = |r: EpochRecord| EpochRecord { seconds: 0.0, windows_per_s: 0.0, ..r };
        Ok(Came {
            weights: trained.net.tensors().iter().flat_map(|t| t.data.iter().map(|v| v.to_bits())).collect(),
            history: trained.history.into_iter().map(timeless).collect(),
            best: timeless(trained.best),
            steps: trained.steps,
            stopped_by: trained.stopped_by,
        })
    }
}

fn straight(config: &TrainConfig) -> Vec<(&'static str, Came)> {
    let go = || Go { job: job(config.clone()), folder: None, every: Every::Steps(1), stop_at: None, resume: false };
    on_each(go).into_iter().map(|(name, came)| (name, came.unwrap())).collect()
}

/// Stops a run after each of `stops`, resuming it every time, and lets it end.
fn interrupted(config: &TrainConfig, stops: &[usize], every: Every) -> Vec<(&'static str, Came)> {
    compiled_in()
        .map(|info| {
            let choice = Choice { backend: Some(info.name.into()), device: Device::Auto };
            let folder = tempfile::tempdir().unwrap();
            let go = |stop_at: Option<usize>, resume: bool| {
                let folder = Some(folder.path());
                with_backend(&choice, Go { job: job(config.clone()), folder, every, stop_at, resume }).unwrap().unwrap()
            };
            for (i, stop) in stops.iter().enumerate() {
                let came = go(Some(*stop), i > 0);
                assert_eq!((came.steps, came.stopped_by), (*stop, StoppedBy::Callback), "{}", info.name);
            }
            (info.name, go(None, true))
        })
        .collect()
}

fn same(config: &TrainConfig, stops: &[usize], every: Every) {
    let (straight, resumed) = (straight(config), interrupted(config, stops, every));
    for ((name, a), (_, b)) in straight.iter().zip(&resumed) {
        assert_eq!(a.history, b.history, "{name}, stopped after {stops:?}");
        assert!(a == b, "{name}: other weights after {stops:?}");
    }
}

#[test]
fn stopped_anywhere_and_resumed_it_ends_with_the_same_bits() {
    // In the middle of an epoch, at its last step, at the first step of the next, one after the other, at the very end.
    for stops in [&[1][..], &[3], &[5], &[6], &[4, 5, 11], &[2, 14]] {
        same(&config(), stops, Every::Steps(1000));
    }
}

#[test]
fn checkpoints_written_on_the_way_do_not_change_the_run() {
    let folder = tempfile::tempdir().unwrap();
    for (name, straight) in straight(&config()) {
        let choice = Choice { backend: Some(name.into()), device: Device::Auto };
        for every in [Every::Steps(1), Every::Epochs(2), Every::Seconds(0.0)] {
            let folder = Some(folder.path());
            let go = Go { job: job(config()), folder, every, stop_at: None, resume: false };
            assert!(with_backend(&choice, go).unwrap().unwrap() == straight, "{name}, {every:?}");
        }
    }
}

#[test]
fn early_stopping_comes_at_the_same_epoch_after_a_resume() {
    // No improvement is large enough, so the first epoch counts and the next three are stale.
    let config = TrainConfig { patience: 3, min_delta: 1e9, epochs: 50, ..config() };
    for (name, came) in straight(&config) {
        assert_eq!((came.stopped_by, came.history.len()), (StoppedBy::EarlyStopping, 4), "{name}");
    }
    same(&config, &[7, 12], Every::Steps(1000));
}

#[test]
fn every_option_that_has_a_state_is_resumed() {
    same(&TrainConfig { ema: Some(0.9), ..config() }, &[3, 8], Every::Steps(1000));
    same(&TrainConfig { accumulate: 2, ..config() }, &[2, 7], Every::Steps(1000));
    same(&TrainConfig { steps_per_epoch: Some(4), max_steps: Some(18), ..config() }, &[6], Every::Steps(1000));
    // Learned ranges are weights of the network; dynamic ones have no state at all.
    for activations in [Activations::MinMax, Activations::Dynamic] {
        let quantize = Some(QuantizationConfig { activations, ..QuantizationConfig::default() });
        same(&TrainConfig { quantize: quantize.clone(), ..config() }, &[3, 8], Every::Steps(1000));
        same(&TrainConfig { quantize, ema: Some(0.9), on_nan: OnNan::Rollback, ..config() }, &[4], Every::Steps(1000));
    }
    let rules = PlateauRules { patience: 0, factor: 0.5, threshold: 0.5, ..PlateauRules::default() };
    let plateau = TrainConfig { schedule: ScheduleConfig::Plateau(rules), patience: 0, ..config() };
    for (name, came) in straight(&plateau) {
        assert!(came.history.last().unwrap().lr < came.history[0].lr, "{name}: the plateau schedule had nothing to do");
    }
    same(&plateau, &[6, 13], Every::Steps(1000));
    for optimizer in [OptimizerKind::Adam, OptimizerKind::Sgd, OptimizerKind::RmsProp] {
        let config = TrainConfig { optimizer, lr: 1e-3, keep: nhits::train::Keep::Last, ..config() };
        same(&config, &[4], Every::Steps(1000));
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let with = |threads: usize| {
        on_each(|| {
            let job = TrainJob { threads, ..job(config()) };
            Go { job, folder: None, every: Every::Steps(1), stop_at: None, resume: false }
        })
    };
    let one = with(1);
    for threads in [2, 3, 5] {
        for ((name, a), (_, b)) in one.iter().zip(&with(threads)) {
            assert!(a.as_ref().unwrap() == b.as_ref().unwrap(), "{name}: {threads} threads");
        }
    }
}

#[test]
fn a_run_that_has_ended_is_not_trained_further() {
    let folder = tempfile::tempdir().unwrap();
    for info in compiled_in() {
        let choice = Choice { backend: Some(info.name.into()), device: Device::Auto };
        let go = |resume| {
            let folder = Some(folder.path());
            let go = Go { job: job(config()), folder, every: Every::Epochs(1), stop_at: None, resume };
            with_backend(&choice, go).unwrap().unwrap()
        };
        assert!(go(false) == go(true), "{}", info.name);
    }
}

fn resumed(job: TrainJob, folder: &Path) -> Result<Came, TrainError> {
    with_backend(
        &Choice::default(),
        Go { job, folder: Some(folder), every: Every::Steps(1000), stop_at: None, resume: true },
    )
    .unwrap()
}

/// A folder with a run that was stopped after step 8, with a checkpoint after every step.
fn stopped() -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let go =
        Go { job: job(config()), folder: Some(folder.path()), every: Every::Steps(1), stop_at: Some(8), resume: false };
    with_backend(&Choice::default(), go).unwrap().unwrap();
    let files = CheckpointFolder::new(folder.path()).list().unwrap();
    assert_eq!(files.len(), 2, "the newest two are kept");
    (folder, files)
}

#[test]
fn another_configuration_or_other_data_is_refused_with_the_difference() {
    let (folder, _) = stopped();
    let error = resumed(job(TrainConfig { lr: 1e-2, batch_size: 16, ..config() }), folder.path()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("train.lr was 0.005, is 0.01") && text.contains("train.batch_size was 32, is 16"), "{text}");
    assert_eq!(error.kind(), "checkpoint-of-another-run");
    let mut other = job(config());
    let mut panel = (*other.panel).clone();
    panel.y[3] += 1.0;
    other.panel = Arc::new(panel);
    let text = resumed(other, folder.path()).unwrap_err().to_string();
    assert!(text.contains("the data was"), "{text}");
    // What a step computes does not depend on the time allowed.
    resumed(job(TrainConfig { max_seconds: Some(3600.0), ..config() }), folder.path()).unwrap();
}

#[test]
fn a_damaged_checkpoint_is_passed_over() {
    let (folder, files) = stopped();
    let straight = straight(&config()).remove(0).1;
    let whole = std::fs::read(&files[0]).unwrap();
    for damage in [0, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&files[0], &whole[..damage]).unwrap();
        let (path, _) = CheckpointFolder::new(folder.path()).newest().unwrap();
        assert_eq!(path, files[1]);
    }
    assert!(resumed(job(config()), folder.path()).unwrap() == straight, "from the older one");
    for file in CheckpointFolder::new(folder.path()).list().unwrap() {
        std::fs::write(file, "").unwrap();
    }
    let error = CheckpointFolder::new(folder.path()).newest().unwrap_err();
    assert!(matches!(error, CheckpointError::None { .. }), "{error}");
}

/// Remembers what it is told of checkpoints.
#[derive(Clone, Default)]
struct Told(Arc<std::sync::Mutex<Vec<bool>>>, Arc<std::sync::Mutex<Option<StoppedBy>>>);

impl Callback for Told {
    fn on_checkpoint(&mut self, event: &CheckpointEvent<'_>) {
        self.0.lock().unwrap().push(event.written.is_ok());
    }
    fn on_train_end(&mut self, end: &RunEnd<'_>) {
        *self.1.lock().unwrap() = Some(end.stopped_by);
    }
}

/// A run whose checkpoints cannot be written.
struct Unwritable(PathBuf, Told);

impl Job for Unwritable {
    type Output = StoppedBy;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> StoppedBy {
        let mut checkpoints = Checkpoints::new(CheckpointFolder::new(self.0));
        checkpoints.every = Every::Steps(5);
        let watch = Watch { callbacks: vec![Box::new(checkpoints), Box::new(self.1)], ..Watch::default() };
        let job = job(config());
        job.run::<B>(&job.plan().unwrap(), &device, watch).unwrap().stopped_by
    }
}

#[test]
fn a_checkpoint_that_cannot_be_written_does_not_end_the_run() {
    let folder = tempfile::tempdir().unwrap();
    // A file where the folder should be: neither rights nor a full disk could be less writable.
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let told = Told::default();
    let ended = with_backend(&Choice::default(), Unwritable(file.join("checkpoints"), told.clone())).unwrap();
    let written = told.0.lock().unwrap().clone();
    assert!(!written.is_empty() && written.iter().all(|ok| !ok), "{written:?}");
    assert_eq!(*told.1.lock().unwrap(), Some(ended));
}

#[test]
fn accumulated_batches_make_the_step_of_one_large_batch() {
    // No dropout: its masks belong to batches.
    let with = |batch_size, accumulate| {
        on_each(|| {
            let config = TrainConfig {
                batch_size,
                accumulate,
                shares: 1,
                steps_per_epoch: None,
                epochs: 1,
                gradient_clip: 0.0,
                optimizer: OptimizerKind::Sgd,
                ..config()
            };
            let mut job = job(config);
            let network = NHitsConfig { dropout: 0.0, ..(*job.network).clone() };
            job.network = network.check().unwrap();
            Go { job, folder: None, every: Every::Steps(1000), stop_at: None, resume: false }
        })
    };
    let large = with(64, 1);
    for (small, accumulate) in [(32, 2), (16, 4)] {
        for ((name, a), (_, b)) in large.iter().zip(&with(small, accumulate)) {
            let (a, b) = (a.as_ref().unwrap(), b.as_ref().unwrap());
            assert_eq!(a.steps, b.steps, "{name}: the last step takes what is left");
            let worst = a
                .weights
                .iter()
                .zip(&b.weights)
                .fold(0.0f32, |w, (x, y)| w.max((f32::from_bits(*x) - f32::from_bits(*y)).abs()));
            assert!(worst < 1e-6, "{name}: {small} x {accumulate} differs by {worst}");
        }
    }
}

#[test]
fn a_rollback_halves_the_rate_and_goes_on() {
    let absurd = TrainConfig {
        optimizer: OptimizerKind::Sgd,
        lr: 1e20,
        gradient_clip: 0.0,
        on_nan: OnNan::Rollback,
        schedule: ScheduleConfig::Constant,
        patience: 0,
        ..config()
    };
    let run = |config: &TrainConfig| {
        on_each(|| Go { job: job(config.clone()), folder: None, every: Every::Steps(1), stop_at: None, resume: false })
    };
    for (name, came) in run(&absurd) {
        // Ten halvings of 1e20 are not enough: the run goes back ten times, then says so.
        let error = came.unwrap_err();
        assert!(matches!(error, TrainError::NonFiniteLoss { .. }), "{name}: {error}");
        assert!(error.to_string().contains("series `"), "{name}: the window is named: {error}");
    }
    for (name, came) in run(&TrainConfig { epochs: 2, ..absurd.clone() }) {
        let rates: Vec<f64> = came.unwrap().history.iter().map(|r| r.lr).collect();
        assert!(rates.windows(2).all(|r| r[1] < r[0]) && rates[0] < 1e20, "{name}: {rates:?}");
    }
    // What a rollback goes back to is in the checkpoint: the run goes on as if it had not been stopped.
    same(&TrainConfig { epochs: 2, lr: 1e12, ..absurd }, &[1, 2], Every::Steps(1000));
}
