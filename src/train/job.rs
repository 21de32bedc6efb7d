//! `TrainJob`: what is to be trained on what; `Plan`: what that comes to; `Trained`: what came of it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burn::module::AutodiffModule;
use burn::tensor::backend::{AutodiffBackend, Backend, DeviceOps};
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::{Interrupter, Learner, SupervisedTraining, TrainingStrategy};
use serde::Serialize;

use super::average::{Average, with_identifiers};
use super::callback::Callback;
use super::checkpoint::{Checkpoint, CheckpointError, RunIdentity, RunState, Section};
use super::config::TrainConfig;
use super::devices::{Manner, threads_and_parts};
use super::error::TrainError;
use super::expected::ExpectedMemory;
use super::feed::Feed;
use super::host_steps::HostSteps;
use super::memory::{Memory, SharedOptimizer};
use super::optimizer::Rule;
use super::precision::half;
use super::progress::{Dashboard, Unlogged, Unseen};
use super::run::{LoopPlan, Snapshot};
use super::schedule::Schedule;
use super::strategy::{Components, Outcome, Start, WatchedLoop};
use super::trainee::{StepMetric, StepNumber, StepSettings, Trainee};
use super::view::{self, Samples};
use crate::bundle::{EpochRecord, SeriesState, StoppedBy};
use crate::data::{Panel, SeriesSplit};
use crate::error::InvalidSetting;
use crate::features::FeatureSpec;
use crate::loss::{Loss, LossConfig};
use crate::model::host::without_weights;
use crate::model::{Checked, NHits};
use crate::transform::{ScalerKind, Step, TargetPipeline};
use crate::window::{
    ColumnScalers, Sampling, Target, Window, WindowBatcher, WindowIndex, WindowLoader, WindowRules, WindowScaler,
    WindowShape,
};
use crate::workers::Workers;

/// A full pass of more steps than this is cut into epochs of so many random steps, where the settings do not say: a
/// validation should come every minute or so, not every hour.
const MOST_STEPS_PER_EPOCH: usize = 500;

/// Values of a validation batch, roughly: with its copies on the way to the loss it takes some ten megabytes.
const VALIDATION_VALUES: usize = 1 << 18;

/// Validation windows that callbacks are shown forecasts of.
const SAMPLES: usize = 4;

/// Which training windows are cut from the series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WindowChoice {
    /// Steps between two origins.
    pub stride: usize,
    /// The least share of the input that must be observed.
    pub min_input: f64,
    /// The least share of the target that must be observed.
    pub min_target: f64,
}

impl Default for WindowChoice {
    fn default() -> Self {
        Self { stride: 1, min_input: 0.0, min_target: 0.0 }
    }
}

/// Everything that a training run needs but the backend.
#[derive(Debug, Clone)]
pub struct TrainJob {
    /// The series.
    pub panel: Arc<Panel>,
    /// Train, validation and test rows of each series. Test rows are never read.
    pub splits: Vec<SeriesSplit>,
    /// The network.
    pub network: Checked,
    /// The loss.
    pub loss: LossConfig,
    /// Transforms of the target before its scaler, fitted on the train rows of each series; none leaves it as it is.
    pub target: Vec<Step>,
    /// The features that were made: [`FeatureSpec::extend`] put their columns into the panel.
    pub features: FeatureSpec,
    /// The scaler of each series, fitted on its train rows.
    pub scaler: ScalerKind,
    /// The scaler of each window.
    pub window_scaler: WindowScaler,
    /// Which windows are trained on.
    pub windows: WindowChoice,
    /// The trainer's settings.
    pub config: TrainConfig,
    /// Threads that share a batch.
    pub threads: usize,
}

/// What a job comes to, before the first step.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Windows to train on.
    pub train_windows: usize,
    /// Windows to validate on.
    pub val_windows: usize,
    /// Weights of the network.
    pub n_parameters: usize,
    /// Epochs, at most.
    pub epochs: usize,
    /// Steps of an epoch.
    pub steps_per_epoch: usize,
    /// Steps, at most.
    pub total_steps: usize,
    /// How many times each training window is seen, on average.
    pub passes: f64,
    /// Memory that the run will take.
    pub expected: ExpectedMemory,
    /// What the user should know.
    pub notices: Vec<String>,
    pub(super) index: Arc<WindowIndex>,
    pub(super) val_index: Arc<WindowIndex>,
    pub(super) sampling: Sampling,
    pub(super) scalers: Arc<ColumnScalers>,
    pub(super) target: Arc<Target>,
}

impl Plan {
    /// The target as its transforms have made it.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The scalers of each series, fitted on its train rows.
    pub fn scalers(&self) -> &ColumnScalers {
        &self.scalers
    }
}

/// How a run is watched, stopped and continued.
pub struct Watch {
    /// What is shown.
    pub dashboard: Dashboard,
    /// Who else looks on.
    pub callbacks: Vec<Box<dyn Callback>>,
    /// Stops the run from outside, after the step it is in.
    pub interrupter: Interrupter,
    /// The checkpoint to go on from, with its file for messages.
    pub resume: Option<(PathBuf, Checkpoint)>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let callbacks = self.callbacks.len();
        f.debug_struct("Watch")
            .field("dashboard", &self.dashboard)
            .field("callbacks", &callbacks)
            .finish_non_exhaustive()
    }
}

impl Default for Watch {
    /// Shows nothing, is never stopped, starts at the beginning.
    fn default() -> Self {
        Self { dashboard: Dashboard::None, callbacks: Vec::new(), interrupter: Interrupter::new(), resume: None }
    }
}

/// What a run brought. The epoch that was kept is the best one, or the last (see [`Keep`](super::Keep)).
#[derive(Debug)]
pub struct Trained<B: burn::tensor::backend::Backend> {
    /// The network with the weights of the best epoch.
    pub net: NHits<B>,
    /// What was fitted per series.
    pub series: SeriesState,
    /// The epoch whose weights were kept.
    pub best: EpochRecord,
    /// Every epoch.
    pub history: Vec<EpochRecord>,
    /// Optimizer steps done.
    pub steps: usize,
    /// Why it ended.
    pub stopped_by: StoppedBy,
    /// Times that it went back to earlier weights because a loss was no number.
    pub rollbacks: usize,
    /// SHA-256 of the model that it started from; none if it started from random weights.
    pub from: Option<String>,
    /// The run failed after this best epoch: the weights are good, the reason is here.
    pub failed: Option<TrainError>,
}

impl TrainJob {
    fn shape(&self) -> WindowShape {
        WindowShape { input_size: self.network.input_size, horizon: self.network.horizon }
    }

    pub(super) fn loss(&self) -> Result<Loss, TrainError> {
        let (input_size, horizon) = (self.network.input_size, self.network.horizon);
        Ok(Loss::new(self.loss.clone(), self.config.horizon_weight.clone(), input_size, horizon)?)
    }

    /// Works out windows, steps and memory, and fits the scalers on the train rows.
    ///
    /// # Errors
    /// When a setting is not allowed or there is no window to train on.
    pub fn plan(&self) -> Result<Plan, TrainError> {
        self.config.check()?;
        if let Some(quantize) = &self.config.quantize {
            let named = |e: InvalidSetting| InvalidSetting { field: format!("train.{}", e.field), ..e };
            quantize.check_for(&self.network).map_err(named)?;
        }
        self.loss()?;
        let mut notices = Vec::new();
        let shape = self.shape();
        let train: Vec<_> = self.splits.iter().map(|s| s.train.clone()).collect();
        let val: Vec<_> = self.splits.iter().map(|s| s.val.clone()).collect();
        let longest = train.iter().map(|r| r.len()).max().unwrap_or(0);
        if shape.horizon >= longest {
            // Windows would be cut short all the same, but no step beyond the data would ever be learned.
            let allowed = format!("fewer steps than the longest training part has rows ({longest})");
            let remedy = "use a smaller --horizon, or more rows to train on";
            return Err(InvalidSetting::new("model.horizon", shape.horizon, allowed, remedy).into());
        }
        self.check_features()?;
        let (pipeline, left) = Target::fit(&self.target, &self.panel, &train)?;
        notices.extend(left);
        notices.extend(self.features.notice(&self.panel));
        let target = Target::new(&self.panel, pipeline)?;
        let y = target.y(&self.panel);
        let WindowChoice { stride, min_input, min_target } = self.windows;
        let rules = WindowRules { stride, min_input, min_target, ..WindowRules::train(shape) };
        let index = WindowIndex::over(&self.panel, y, &train, &rules)?.non_empty("training")?;
        let val_rules = WindowRules::evaluate(shape);
        let all = WindowIndex::over(&self.panel, y, &val, &val_rules)?;
        let val_index = match all.len().div_ceil(self.config.val_windows.max(1)) {
            stride if stride > 1 && self.config.val_windows > 0 => {
                WindowIndex::over(&self.panel, y, &val, &WindowRules { stride, ..val_rules })?
            }
            _ => all,
        };
        let val_rows = val.iter().map(|r| r.len()).max().unwrap_or(0);
        if val_index.is_empty() {
            notices.push(if val_rows == 0 {
                "no validation rows: the last weights are kept and training does not stop early".to_string()
            } else {
                format!(
                    "the longest validation part has {val_rows} rows, fewer than the horizon of {}: no validation, the \
                     last weights are kept and training does not stop early",
                    shape.horizon
                )
            });
        }
        notices.extend(self.config.schedule.beside_validation(val_index.len(), self.config.patience)?);
        let made = self.features.columns.n_futr();
        let scalers = ColumnScalers::fit_to(self.scaler, &self.panel, y, made, &train)?;
        let batch_size = self.config.batch_size;
        let pass = index.len().div_ceil(batch_size);
        let accumulate = self.config.accumulate;
        let sampling = match self.config.steps_per_epoch {
            Some(steps_per_epoch) => Sampling::Random { windows_per_step: batch_size, steps_per_epoch },
            None if pass.div_ceil(accumulate) > MOST_STEPS_PER_EPOCH => {
                notices.push(format!(
                    "a full pass takes {} steps: an epoch is {MOST_STEPS_PER_EPOCH} steps of windows drawn at random \
                     (--steps-per-epoch sets another number)",
                    pass.div_ceil(accumulate)
                ));
                Sampling::Random { windows_per_step: batch_size, steps_per_epoch: MOST_STEPS_PER_EPOCH }
            }
            None => Sampling::FullPass { batch_size, shuffled: true },
        };
        let batches_per_epoch = match sampling {
            Sampling::Random { steps_per_epoch, .. } => steps_per_epoch * accumulate,
            Sampling::FullPass { .. } => pass,
        };
        let sampling = match sampling {
            Sampling::Random { windows_per_step, .. } => {
                Sampling::Random { windows_per_step, steps_per_epoch: batches_per_epoch }
            }
            full => full,
        };
        let steps_per_epoch = batches_per_epoch.div_ceil(accumulate);
        let by_epochs = self.config.epochs.saturating_mul(steps_per_epoch);
        let total_steps = self.config.max_steps.map_or(by_epochs, |most| most.min(by_epochs));
        let epochs = total_steps.div_ceil(steps_per_epoch);
        let network = self.trained_network();
        let (batch, val_batch) = (batch_size.min(index.len()), self.val_batch_size().min(val_index.len()));
        let expected = ExpectedMemory::of(&network, &self.panel, &self.config, batch, val_batch);
        Ok(Plan {
            train_windows: index.len(),
            val_windows: val_index.len(),
            n_parameters: network.n_parameters(),
            epochs,
            steps_per_epoch,
            total_steps,
            passes: (total_steps * accumulate) as f64 * batch_size.min(index.len()) as f64 / index.len() as f64,
            expected,
            notices,
            index: Arc::new(index),
            val_index: Arc::new(val_index),
            sampling,
            scalers: Arc::new(scalers),
            target: Arc::new(target),
        })
    }

    /// Windows that are validated at once.
    fn val_batch_size(&self) -> usize {
        let values = self.network.input_size + self.network.horizon * self.network.outputs;
        (VALIDATION_VALUES / values.max(1)).clamp(1, 4096)
    }

    /// What gathers the windows of an index of this job.
    pub(super) fn batcher(&self, plan: &Plan, index: &WindowIndex) -> Result<WindowBatcher, TrainError> {
        let batcher = WindowBatcher::new(self.panel.clone(), index, plan.scalers.clone(), self.window_scaler)?;
        Ok(batcher.with_target(plan.target.clone()))
    }

    /// That the panel has the columns of the features where they belong.
    fn check_features(&self) -> Result<(), TrainError> {
        let made = &self.features.columns;
        for (role, columns, names) in [
            ("hist_exog", &self.panel.hist_exog, made.hist_names()),
            ("futr_exog", &self.panel.futr_exog, made.futr_names()),
        ] {
            let has = columns.iter().map(|c| &c.name).collect::<Vec<_>>();
            if !has.ends_with(&names.iter().collect::<Vec<_>>()) {
                let (given, wanted) = (crate::error::listed(&has, 8), crate::error::listed(&names, 8));
                let allowed = format!("{role} columns that end with {wanted}");
                let remedy = "FeatureSpec::extend makes the columns of a panel";
                return Err(InvalidSetting::new("features", format!("{role} columns {given}"), allowed, remedy).into());
            }
        }
        Ok(())
    }

    /// Mean absolute error of the last value repeated over all validation windows, on the scale of the per-series scaler
    /// after the transforms of the target: comparable with the errors that training prints. `None` without validation rows.
    pub fn naive_mae(&self, plan: &Plan) -> Option<f64> {
        let (scalers, horizon) = (plan.scalers(), self.network.horizon);
        let (mut sum, mut n) = (0.0, 0u64);
        let (transformed, mut naive) = (plan.target.y(&self.panel), vec![0.0; horizon]);
        for (s, split) in self.splits.iter().enumerate() {
            let y = self.panel.series(s);
            for origin in split.val.start.max(1)..(split.val.end + 1).saturating_sub(horizon) {
                let Some(last) = y[..origin].iter().rev().find(|v| v.is_finite()) else { continue };
                // Rows and series of a panel with an index fit u32: the index refused it otherwise.
                let window = Window { series: s as u32, origin: origin as u32 };
                naive.fill(*last);
                plan.target.apply_ahead(&self.panel, window, &mut naive);
                let first = self.panel.offsets[s] + origin;
                for (target, naive) in transformed[first..first + horizon].iter().zip(&naive) {
                    let error = (scalers.y.apply(s, *target) - scalers.y.apply(s, *naive)).abs();
                    if error.is_finite() {
                        sum += error;
                        n += 1;
                    }
                }
            }
        }
        (n > 0).then(|| sum / n as f64)
    }

    /// Trains on `device` of backend `B`.
    ///
    /// # Errors
    /// When the run failed before an epoch was done. A later failure gives the best weights so far, and
    /// [`Trained::failed`] says what happened.
    pub fn run<B: AutodiffBackend>(
        &self,
        plan: &Plan,
        device: &B::Device,
        watch: Watch,
    ) -> Result<Trained<B::InnerBackend>, TrainError> {
        self.run_on::<B>(plan, std::slice::from_ref(device), watch)
    }

    /// How a step is computed on `devices`.
    pub(super) fn step_settings<B: Backend>(
        &self,
        devices: &[B::Device],
    ) -> Result<(StepSettings, Manner), TrainError> {
        let device = devices.first().cloned().unwrap_or_default();
        let (workers, shares) = threads_and_parts::<B>(devices, self.threads, self.config.shares, &self.loss)?;
        let manner = Manner {
            devices: if devices.len() > 1 { devices.iter().map(DeviceOps::id).collect() } else { Vec::new() },
            half: if self.config.mixed_precision { Some(half::<B>(&device)?) } else { None },
        };
        Ok((StepSettings { loss: self.loss()?, workers, shares, seed: self.config.seed }, manner))
    }

    /// Trains on several devices of backend `B`, each of which takes its part of every batch; the first one holds the
    /// weights. The result is that of one device up to rounding.
    ///
    /// # Errors
    /// As [`run`](Self::run), and when the loss is no sum over windows.
    pub fn run_on<B: AutodiffBackend>(
        &self,
        plan: &Plan,
        devices: &[B::Device],
        watch: Watch,
    ) -> Result<Trained<B::InnerBackend>, TrainError> {
        let device = &devices.first().cloned().unwrap_or_default();
        let (settings, manner) = self.step_settings::<B::InnerBackend>(devices)?;
        let loss = settings.loss.clone();
        // Weights are updated where they are: with several devices on the first.
        let workers = if manner.is_shared() { Workers::none() } else { settings.workers.clone() };
        let batcher = |index: &Arc<WindowIndex>| self.batcher(plan, index).map(Arc::new);
        let seed = self.config.seed;
        let train =
            WindowLoader::<B>::new(plan.index.clone(), batcher(&plan.index)?, plan.sampling, seed, device.clone())?;
        let validation = Sampling::FullPass { batch_size: self.val_batch_size(), shuffled: false };
        let valid = WindowLoader::<B::InnerBackend>::new(
            plan.val_index.clone(),
            batcher(&plan.val_index)?,
            validation,
            seed,
            device.clone(),
        )?;
        let parent = self.parent()?;
        let identity = RunIdentity::of(self, &B::name(device));
        let resumed = match &watch.resume {
            Some((path, checkpoint)) => Some(self.resumed::<B>(checkpoint, &identity, path, device)?),
            None => None,
        };
        let rule = SharedOptimizer::<Trainee<B>, B>::new(Rule::of(&self.config), workers.clone());
        let (net, start) = match resumed {
            Some(Resumed { net, memory, start }) => {
                rule.remember(memory);
                (net, start)
            }
            None => {
                let net = self.first_network::<B>(plan, parent.as_ref(), device)?;
                let average = self.config.ema.map(|decay| Average { net: net.valid(), decay });
                (net, Start { state: RunState::new(), best: None, average, snapshot: None })
            }
        };
        let first_batch = start.state.batches;
        let train = train.starting_at(start.state.position);
        let outcome = Arc::new(Mutex::new(Outcome::<B>::default()));
        let schedule = Schedule::of(&self.config, plan.total_steps, plan.steps_per_epoch);
        // Slices know one kind of number, and one place for it.
        let plain = !manner.is_shared() && manner.half.is_none();
        let steps = match self.config.engine.on_slices::<B::InnerBackend>(&self.trained_network(), device, plain)? {
            false => None,
            true => HostSteps::new(&net, rule.memory(), Rule::of(&self.config), settings.clone(), self.threads.max(1))?,
        };
        // Slices have the values themselves.
        let net = if steps.is_some() { without_weights(net) } else { net };
        let mut callbacks = watch.callbacks;
        callbacks.insert(0, watch.dashboard.callback());
        let samples = Samples {
            windows: samples(&plan.val_index),
            batcher: batcher(&plan.val_index)?,
            loss: loss.clone(),
            horizon: self.network.horizon,
        };
        let watched = WatchedLoop {
            settings: LoopPlan {
                val_every: self.config.val_every,
                patience: self.config.patience,
                min_delta: self.config.min_delta,
                gradient_clip: self.config.gradient_clip,
                keep: self.config.keep,
                accumulate: self.config.accumulate,
                on_nan: self.config.on_nan,
                max_seconds: self.config.max_seconds,
                loss,
                schedule: schedule.clone(),
            },
            plan: plan.clone(),
            identity,
            samples,
            optimizer: rule.clone(),
            steps: Mutex::new(steps),
            callbacks: Mutex::new(callbacks),
            start: Mutex::new(Some(start)),
            outcome: outcome.clone(),
        };
        let learner = Learner::new(Trainee::new(net, settings).computed(manner), rule, schedule);
        let metrics =
            (StepMetric::new(StepNumber::Loss), StepMetric::new(StepNumber::Mae), StepMetric::new(StepNumber::Rmse));
        // burn's own folder is for its checkpoints and logs, which this loop does not use.
        let training: SupervisedTraining<Components<B>> = SupervisedTraining::new(
            std::env::temp_dir(),
            Arc::new(Feed::new(Arc::new(train), first_batch)),
            Arc::new(valid),
        )
        .with_application_logger(None)
        .with_metric_logger(Unlogged)
        .with_interrupter(watch.interrupter.clone())
        .metrics(metrics)
        .metric_train_numeric(StepMetric::new(StepNumber::LearningRate))
        .metric_train_numeric(StepMetric::new(StepNumber::WindowsPerSecond))
        .num_epochs(plan.epochs)
        .with_training_strategy(TrainingStrategy::Custom(Arc::new(watched)));
        let training = match watch.dashboard {
            Dashboard::Tui => training.renderer(TuiMetricsRendererWrapper::new(watch.interrupter, None)),
            _ => training.renderer(Unseen),
        };
        // burn's dashboard ends a run that the user kills with a panic; what was learned is in `outcome`.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| training.launch(learner).model.net));
        let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = std::mem::take(&mut *outcome);
        let killed = match ended {
            Ok(_) => false,
            Err(panic) if watch.dashboard != Dashboard::Tui => std::panic::resume_unwind(panic),
            Err(_) => true,
        };
        let Some((best, net)) = outcome.best else {
            return Err(outcome.error.unwrap_or(TrainError::Killed));
        };
        Ok(Trained {
            net,
            series: SeriesState {
                ids: self.panel.ids.clone(),
                scalers: plan.scalers.as_ref().clone(),
                target: match plan.target.is_plain() {
                    true => TargetPipeline::none(self.panel.n_series()),
                    false => plan.target.pipeline().clone(),
                },
            },
            best,
            history: outcome.history,
            steps: outcome.steps,
            stopped_by: if killed { StoppedBy::Interrupted } else { outcome.stopped_by },
            rollbacks: outcome.rollbacks,
            from: parent.and_then(|p| p.sha256().ok()),
            failed: outcome.error,
        })
    }

    /// What a checkpoint of this job is on a device.
    fn resumed<B: AutodiffBackend>(
        &self,
        checkpoint: &Checkpoint,
        identity: &RunIdentity,
        path: &Path,
        device: &B::Device,
    ) -> Result<Resumed<B>, TrainError> {
        let differences = checkpoint.identity.differences(identity);
        if !differences.is_empty() {
            let differences = differences.join("; ");
            return Err(CheckpointError::OtherRun { path: path.into(), differences }.into());
        }
        let config = &self.trained_network();
        checkpoint.check(config, path)?;
        let inner = |section| view::network::<B::InnerBackend>(checkpoint, section, config, device).transpose();
        let net = NHits::<B>::with_tensors(config, |name| checkpoint.tensor(Section::Weights, name), device)?;
        let moments = [Section::First, Section::Second];
        let memory = view::memory(checkpoint, moments, &checkpoint.state.updates, &net, config, device)?;
        let average = match (self.config.ema, inner(Section::Average)?) {
            (Some(decay), Some(net)) => Some(Average { net, decay }),
            _ => None,
        };
        let state = checkpoint.state.clone();
        let best = match (inner(Section::Best)?, &state.best) {
            (Some(net), _) => Some(net),
            // A run that keeps its last weights has no others.
            (None, Some(_)) => Some(average.as_ref().map_or_else(|| net.valid(), |a| a.net.clone())),
            (None, None) => None,
        };
        // Averages follow weights by the identifiers of these.
        let average = average.map(|a| a.of(&net.valid()));
        let snapshot = match view::network::<B>(checkpoint, Section::BackWeights, config, device).transpose()? {
            None => None,
            Some(back) => {
                let moments = [Section::BackFirst, Section::BackSecond];
                let updates = &checkpoint.state.updates_of_snapshot;
                // Under the identifiers of the network's own parameters, which the optimizer knows.
                let memory = view::memory(checkpoint, moments, updates, &net, config, device)?;
                let average = match (self.config.ema, inner(Section::BackAverage)?) {
                    (Some(decay), Some(net)) => Some(Average { net, decay }),
                    _ => None,
                };
                Some(Snapshot {
                    net: with_identifiers(&back, &net),
                    memory,
                    average: average.map(|a| a.of(&net.valid())),
                })
            }
        };
        Ok(Resumed { net, memory, start: Start { state, best, average, snapshot } })
    }
}

/// A checkpoint on a device.
struct Resumed<B: AutodiffBackend> {
    net: NHits<B>,
    memory: Memory<Trainee<B>, B>,
    start: Start<B>,
}

/// A few validation windows, evenly spaced.
fn samples(index: &WindowIndex) -> Vec<Window> {
    let n = index.len();
    let shown = SAMPLES.min(n);
    (0..shown).filter_map(|i| index.get((2 * i + 1) * n / (2 * shown))).collect()
}
