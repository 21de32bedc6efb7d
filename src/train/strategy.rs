//! The training loop: burn's `Learner`, metrics and dashboards around steps, validations and stopping rules of our own.
//!
//! burn-train 0.21 validates asynchronously, clips per parameter, keeps the last weights and decides early stopping from
//! a log that may lag behind. Here the loop itself computes the validation loss, so that stopping and the best weights
//! never depend on a race.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use burn::data::dataloader::Progress;
use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;
use burn::train::{
    EventProcessorTraining, InferenceStep, Interrupter, Learner, LearnerEvent, LearningComponentsMarker,
    SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem,
    ValidLoader,
};

use super::TrainError;
use super::clip::clip_global_norm;
use super::config::Keep;
use super::optimizer::Optimizer;
use super::progress::Observer;
use super::schedule::{Plateau, Schedule};
use super::trainee::{StepOutput, Trainee};
use crate::bundle::{EpochRecord, StoppedBy};
use crate::loss::Loss;

/// burn-train's bundle of types for this trainer.
pub(super) type Components<B> = LearningComponentsMarker<B, Schedule, Trainee<B>, Optimizer<Trainee<B>, B>>;

/// The numbers of the loop.
#[derive(Debug, Clone)]
pub(super) struct LoopPlan {
    pub epochs: usize,
    pub total_steps: usize,
    pub val_every: usize,
    pub patience: usize,
    pub min_delta: f64,
    /// 0 is off.
    pub gradient_clip: f64,
    pub has_validation: bool,
    pub keep: Keep,
    pub loss: Loss,
    pub schedule: Schedule,
}

/// The epoch whose weights are to be kept.
#[derive(Debug, Clone)]
pub(super) struct Best<B: AutodiffBackend> {
    pub record: EpochRecord,
    pub trainee: Trainee<B>,
}

/// What the loop leaves behind; shared, so that it survives a dashboard that kills the loop.
#[derive(Debug)]
pub(super) struct Outcome<B: AutodiffBackend> {
    pub history: Vec<EpochRecord>,
    pub best: Option<Best<B>>,
    pub steps: usize,
    pub stopped_by: StoppedBy,
    pub error: Option<TrainError>,
}

impl<B: AutodiffBackend> Default for Outcome<B> {
    fn default() -> Self {
        Self { history: Vec::new(), best: None, steps: 0, stopped_by: StoppedBy::Finished, error: None }
    }
}

/// The loop as burn's custom strategy.
pub(super) struct WatchedLoop<B: AutodiffBackend> {
    pub plan: LoopPlan,
    pub observer: Mutex<Box<dyn Observer>>,
    pub outcome: Arc<Mutex<Outcome<B>>>,
}

/// What a run of steps ended with.
enum Ended {
    /// The epoch is over.
    Epoch,
    /// The last step is done.
    AllSteps,
    /// The user asked.
    Interrupted,
    /// It cannot go on.
    Failed(TrainError),
}

/// One epoch under way.
struct Epoch {
    number: usize,
    /// Steps done in the whole run.
    step: usize,
    began: Instant,
    train: StepOutput,
    stepping_s: f64,
}

impl<B: AutodiffBackend> WatchedLoop<B> {
    fn progress(&self, done: usize, of: usize) -> Progress {
        Progress { items_processed: done, items_total: of }
    }

    /// The steps of one epoch.
    fn steps(
        &self,
        epoch: &mut Epoch,
        learner: &mut Learner<Components<B>>,
        loader: &TrainLoader<Components<B>>,
        events: &mut SupervisedTrainingEventProcessor<Components<B>>,
        interrupter: &Interrupter,
        observer: &mut dyn Observer,
    ) -> Ended {
        let began = Instant::now();
        let (number, step, train) = (epoch.number, &mut epoch.step, &mut epoch.train);
        let ended = loop_over(loader.iter(), |item| {
            learner.lr_step();
            let mut out = learner.train_step(item);
            let loss = out.item.loss;
            if !loss.is_finite() {
                return Some(Ended::Failed(TrainError::NonFiniteLoss { step: *step + 1, epoch: number, loss }));
            }
            if self.plan.gradient_clip > 0.0 {
                let norm = clip_global_norm::<B, _>(&learner.model(), &mut out.grads, self.plan.gradient_clip);
                if !norm.is_finite() {
                    return Some(Ended::Failed(TrainError::NonFiniteGradient { step: *step + 1, epoch: number }));
                }
            }
            learner.optimizer_step(out.grads);
            *step += 1;
            train.merge(&out.item);
            observer.on_step(*step, loss);
            events.process_train(LearnerEvent::ProcessedItem(TrainingItem::new(
                out.item,
                self.progress(*step, self.plan.total_steps),
                self.progress(number, self.plan.epochs),
                Some(*step),
                Some(learner.lr_current()),
            )));
            if *step >= self.plan.total_steps {
                Some(Ended::AllSteps)
            } else if interrupter.should_stop() {
                Some(Ended::Interrupted)
            } else {
                None
            }
        });
        epoch.stepping_s = began.elapsed().as_secs_f64();
        ended.unwrap_or(Ended::Epoch)
    }

    /// Loss and error over all validation windows.
    fn validate(
        &self,
        epoch: usize,
        learner: &Learner<Components<B>>,
        loader: &ValidLoader<Components<B>>,
        events: &mut SupervisedTrainingEventProcessor<Components<B>>,
    ) -> StepOutput {
        let model = learner.model().valid();
        let mut total = StepOutput::default();
        for (i, batch) in loader.iter().enumerate() {
            let output = model.step(batch);
            total.merge(&output);
            events.process_valid(LearnerEvent::ProcessedItem(TrainingItem::new(
                output,
                self.progress(total.windows, loader.num_items()),
                self.progress(epoch, self.plan.epochs),
                Some(i + 1),
                None,
            )));
        }
        events.process_valid(LearnerEvent::EndEpoch(epoch));
        total.loss = self.plan.loss.of_mean(total.loss);
        total
    }

    fn with_outcome<R>(&self, change: impl FnOnce(&mut Outcome<B>) -> R) -> R {
        // A poisoned lock only means that a dashboard thread died; the data is whole after each change.
        change(&mut self.outcome.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Feeds items to `body` until it returns something or there are no more.
fn loop_over<T, R>(items: impl Iterator<Item = T>, mut body: impl FnMut(T) -> Option<R>) -> Option<R> {
    for item in items {
        if let Some(result) = body(item) {
            return Some(result);
        }
    }
    None
}

impl<B: AutodiffBackend> SupervisedLearningStrategy<Components<B>> for WatchedLoop<B> {
    fn fit(
        &self,
        components: TrainingComponents<Components<B>>,
        mut learner: Learner<Components<B>>,
        train: TrainLoader<Components<B>>,
        valid: ValidLoader<Components<B>>,
        starting_epoch: usize,
    ) -> (Trainee<B>, SupervisedTrainingEventProcessor<Components<B>>) {
        let mut events = components.event_processor;
        let interrupter = components.interrupter;
        let mut observer = self.observer.lock().unwrap_or_else(PoisonError::into_inner);
        observer.on_start(self.plan.total_steps);
        let (mut step, mut stale, mut reference) = (0, 0, f64::INFINITY);
        let mut plateau = Plateau::default();
        for number in starting_epoch..=self.plan.epochs {
            let mut epoch =
                Epoch { number, step, began: Instant::now(), train: StepOutput::default(), stepping_s: 0.0 };
            let ended = self.steps(&mut epoch, &mut learner, &train, &mut events, &interrupter, &mut **observer);
            step = epoch.step;
            events.process_train(LearnerEvent::EndEpoch(number));
            if let Ended::Failed(error) = ended {
                self.with_outcome(|o| o.error = Some(error));
                break;
            }
            let last = number == self.plan.epochs || !matches!(ended, Ended::Epoch);
            let validated = (self.plan.has_validation && (last || number.is_multiple_of(self.plan.val_every)))
                .then(|| self.validate(number, &learner, &valid, &mut events));
            if let Some(v) = validated.filter(|v| !v.loss.is_finite()) {
                self.with_outcome(|o| {
                    o.error = Some(TrainError::NonFiniteLoss { step, epoch: number, loss: v.loss });
                });
                break;
            }
            let record = EpochRecord {
                epoch: number,
                step,
                train_loss: epoch.train.loss,
                train_mae: epoch.train.mae,
                val_loss: validated.map(|v| v.loss),
                val_mae: validated.map(|v| v.mae),
                lr: learner.lr_current(),
                seconds: epoch.began.elapsed().as_secs_f64(),
                windows_per_s: epoch.train.windows as f64 / epoch.stepping_s.max(1e-9),
            };
            let best = self.with_outcome(|o| {
                o.steps = step;
                o.history.push(record);
                let better = match (&o.best, record.val_loss) {
                    _ if self.plan.keep == Keep::Last => true,
                    (Some(best), Some(loss)) => best.record.val_loss.is_none_or(|b| loss < b),
                    // Without validation rows the last epoch is the best one that is known.
                    (Some(_), None) => !self.plan.has_validation,
                    (None, _) => true,
                };
                if better {
                    o.best = Some(Best { record, trainee: learner.model() });
                }
                better
            });
            observer.on_epoch(&record, self.plan.epochs, best && self.plan.keep == Keep::Best);
            if let Some(loss) = record.val_loss {
                if let Some(at) = self.plan.schedule.after_validation(&mut plateau, loss, step) {
                    learner.load_scheduler(at);
                }
                if loss < reference - self.plan.min_delta {
                    (reference, stale) = (loss, 0);
                } else {
                    stale += 1;
                }
                if self.plan.patience > 0 && stale >= self.plan.patience && !last {
                    self.with_outcome(|o| o.stopped_by = StoppedBy::EarlyStopping);
                    break;
                }
            }
            match ended {
                Ended::Interrupted => {
                    self.with_outcome(|o| o.stopped_by = StoppedBy::Interrupted);
                    break;
                }
                Ended::AllSteps => break,
                Ended::Epoch | Ended::Failed(_) => {}
            }
        }
        observer.on_end();
        let model = self.with_outcome(|o| o.best.as_ref().map(|b| b.trainee.clone()));
        (model.unwrap_or_else(|| learner.model()), events)
    }
}
