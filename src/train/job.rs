//! `TrainJob`: what is to be trained on what; `Plan`: what that comes to; `Trained`: what came of it.

use std::sync::{Arc, Mutex, PoisonError};

use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::{Interrupter, Learner, SupervisedTraining, TrainingStrategy};

use super::config::TrainConfig;
use super::error::TrainError;
use super::feed::Feed;
use super::optimizer::{Optimizer, Rule};
use super::progress::{Dashboard, Observer, Unlogged, Unseen};
use super::schedule::Schedule;
use super::strategy::{Components, LoopPlan, Outcome, WatchedLoop};
use super::trainee::{StepMetric, StepNumber, StepSettings, Trainee};
use crate::bundle::{EpochRecord, SeriesState, StoppedBy};
use crate::data::{Panel, SeriesSplit};
use crate::error::InvalidSetting;
use crate::loss::{Loss, LossConfig};
use crate::model::{Checked, NHits};
use crate::transform::ScalerKind;
use crate::window::{
    ColumnScalers, Sampling, WindowBatcher, WindowIndex, WindowLoader, WindowRules, WindowScaler, WindowShape,
};
use crate::workers::Workers;

/// A full pass of more steps than this is cut into epochs of so many random steps, where the settings do not say: a
/// validation should come every minute or so, not every hour.
const MOST_STEPS_PER_EPOCH: usize = 500;

/// Values of a validation batch, roughly: keeps its memory below some tens of megabytes.
const VALIDATION_VALUES: usize = 1 << 20;

/// Which training windows are cut from the series.
#[derive(Debug, Clone, Copy, PartialEq)]
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
    /// Memory that the run will take, in MB, roughly.
    pub expected_mb: f64,
    /// What the user should know.
    pub notices: Vec<String>,
    pub(super) index: Arc<WindowIndex>,
    val_index: Arc<WindowIndex>,
    pub(super) sampling: Sampling,
    pub(super) scalers: Arc<ColumnScalers>,
}

impl Plan {
    /// The scalers of each series, fitted on its train rows.
    pub fn scalers(&self) -> &ColumnScalers {
        &self.scalers
    }
}

/// How a run is watched and stopped.
pub struct Watch {
    /// What is shown.
    pub dashboard: Dashboard,
    /// Who looks on; the dashboard's own observer if `None`.
    pub observer: Option<Box<dyn Observer>>,
    /// Stops the run from outside, after the step it is in.
    pub interrupter: Interrupter,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("dashboard", &self.dashboard).finish_non_exhaustive()
    }
}

impl Default for Watch {
    /// Shows nothing, is never stopped.
    fn default() -> Self {
        Self { dashboard: Dashboard::None, observer: None, interrupter: Interrupter::new() }
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
        let WindowChoice { stride, min_input, min_target } = self.windows;
        let rules = WindowRules { stride, min_input, min_target, ..WindowRules::train(shape) };
        let index = WindowIndex::new(&self.panel, &train, &rules)?.non_empty("training")?;
        let val_rules = WindowRules::evaluate(shape);
        let all = WindowIndex::new(&self.panel, &val, &val_rules)?;
        let val_index = match all.len().div_ceil(self.config.val_windows.max(1)) {
            stride if stride > 1 && self.config.val_windows > 0 => {
                WindowIndex::new(&self.panel, &val, &WindowRules { stride, ..val_rules })?
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
        let scalers = ColumnScalers::fit(self.scaler, &self.panel, &train)?;
        let batch_size = self.config.batch_size;
        let pass = index.len().div_ceil(batch_size);
        let sampling = match self.config.steps_per_epoch {
            Some(steps_per_epoch) => Sampling::Random { windows_per_step: batch_size, steps_per_epoch },
            None if pass > MOST_STEPS_PER_EPOCH => {
                notices.push(format!(
                    "a full pass takes {pass} steps: an epoch is {MOST_STEPS_PER_EPOCH} steps of windows drawn at random \
                     (--steps-per-epoch sets another number)"
                ));
                Sampling::Random { windows_per_step: batch_size, steps_per_epoch: MOST_STEPS_PER_EPOCH }
            }
            None => Sampling::FullPass { batch_size, shuffled: true },
        };
        let steps_per_epoch = match sampling {
            Sampling::Random { steps_per_epoch, .. } => steps_per_epoch,
            Sampling::FullPass { .. } => pass,
        };
        let by_epochs = self.config.epochs.saturating_mul(steps_per_epoch);
        let total_steps = self.config.max_steps.map_or(by_epochs, |most| most.min(by_epochs));
        let epochs = total_steps.div_ceil(steps_per_epoch);
        let n_parameters = self.network.n_parameters();
        // Weights, gradients, two moments, the best weights; activations of a batch; the panel.
        let widths: usize =
            self.network.mlp_units.iter().map(|[a, b]| a + b).sum::<usize>() + 3 * (shape.input_size + shape.horizon);
        let blocks = self.network.n_blocks.iter().sum::<usize>();
        // Numbers, not counts: with settings that no machine could run their product is beyond any count.
        let floats = 6.0 * n_parameters as f64 + 3.0 * batch_size.min(index.len()) as f64 * (blocks * widths) as f64;
        let columns = 2 + self.panel.hist_exog.len() + self.panel.futr_exog.len();
        let bytes = 4.0 * floats + 8.0 * (columns * self.panel.n_rows()) as f64;
        Ok(Plan {
            train_windows: index.len(),
            val_windows: val_index.len(),
            n_parameters,
            epochs,
            steps_per_epoch,
            total_steps,
            passes: total_steps as f64 * batch_size.min(index.len()) as f64 / index.len() as f64,
            expected_mb: 30.0 + bytes / 1e6,
            notices,
            index: Arc::new(index),
            val_index: Arc::new(val_index),
            sampling,
            scalers: Arc::new(scalers),
        })
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
        let loss = self.loss()?;
        let n = self.threads.max(1);
        let workers = Workers::new(n).map_err(|e| TrainError::Threads { n, detail: e.to_string() })?;
        let batcher = |index: &Arc<WindowIndex>| {
            WindowBatcher::new(self.panel.clone(), index, plan.scalers.clone(), self.window_scaler).map(Arc::new)
        };
        let seed = self.config.seed;
        let train =
            WindowLoader::<B>::new(plan.index.clone(), batcher(&plan.index)?, plan.sampling, seed, device.clone())?;
        let values_per_window = self.network.input_size + self.network.horizon * self.network.outputs;
        let validation =
            Sampling::FullPass { batch_size: (VALIDATION_VALUES / values_per_window).clamp(1, 4096), shuffled: false };
        let valid = WindowLoader::<B::InnerBackend>::new(
            plan.val_index.clone(),
            batcher(&plan.val_index)?,
            validation,
            seed,
            device.clone(),
        )?;
        let outcome = Arc::new(Mutex::new(Outcome::<B>::default()));
        let schedule = Schedule::of(&self.config, plan.total_steps, plan.steps_per_epoch);
        let settings = StepSettings { loss: loss.clone(), workers, seed };
        let watched = WatchedLoop {
            plan: LoopPlan {
                epochs: plan.epochs,
                total_steps: plan.total_steps,
                val_every: self.config.val_every,
                patience: self.config.patience,
                min_delta: self.config.min_delta,
                gradient_clip: self.config.gradient_clip,
                has_validation: plan.val_windows > 0,
                keep: self.config.keep,
                loss,
                schedule: schedule.clone(),
            },
            observer: Mutex::new(watch.observer.unwrap_or_else(|| watch.dashboard.observer())),
            outcome: outcome.clone(),
        };
        let optimizer = Optimizer::<Trainee<B>, B>::from(Rule::of(&self.config));
        let trainee = Trainee::new(NHits::new(&self.network, seed, device), settings);
        let learner = Learner::new(trainee, optimizer, schedule);
        // burn's own folder is for its checkpoints and logs, which this loop does not use.
        let training: SupervisedTraining<Components<B>> =
            SupervisedTraining::new(std::env::temp_dir(), Arc::new(Feed::new(Arc::new(train))), Arc::new(valid))
                .with_application_logger(None)
                .with_metric_logger(Unlogged)
                .with_interrupter(watch.interrupter.clone())
                .metrics((StepMetric::new(StepNumber::Loss), StepMetric::new(StepNumber::Mae)))
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
        let Some(best) = outcome.best else {
            return Err(outcome.error.unwrap_or(TrainError::Killed));
        };
        Ok(Trained {
            net: best.trainee.valid().net,
            series: SeriesState { ids: self.panel.ids.clone(), scalers: plan.scalers.as_ref().clone() },
            best: best.record,
            history: outcome.history,
            steps: outcome.steps,
            stopped_by: if killed { StoppedBy::Interrupted } else { outcome.stopped_by },
            failed: outcome.error,
        })
    }
}
