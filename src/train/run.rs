//! The loop of a run: steps, validations, stopping rules, checkpoints, and telling the callbacks.

use std::path::Path;
use std::time::Instant;

use burn::data::dataloader::Progress;
use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;
use burn::train::{
    EventProcessorTraining, InferenceStep, Interrupter, LearnerEvent, SupervisedTrainingEventProcessor, TrainLoader,
    TrainingItem, ValidLoader,
};

use super::TrainError;
use super::average::Average;
use super::callback::{
    Callback, CheckpointEvent, EpochEvent, Next, RunEnd, RunStart, StepEvent, ValidationEvent, Written,
};
use super::checkpoint::{self, CheckpointError, RunIdentity, RunState};
use super::config::{Keep, OnNan};
use super::engine::Engine;
use super::job::Plan;
use super::memory::Memory;
use super::schedule::{Schedule, ScheduleRecord};
use super::strategy::{Components, Outcome};
use super::trainee::{StepOutput, TrainInput, Trainee};
use super::view::{self, Moments, Samples, View};
use crate::bundle::{EpochRecord, StoppedBy};
use crate::loss::Loss;
use crate::model::NHits;

/// Steps between two states that a rollback can go back to.
const SNAPSHOT_EVERY: usize = 50;
/// More rollbacks than this, and the run has failed.
const MOST_ROLLBACKS: usize = 10;
/// The learning rate after a rollback, as a share of the one before.
const ROLLBACK_FACTOR: f64 = 0.5;

/// The settings of the loop.
#[derive(Debug, Clone)]
pub(super) struct LoopPlan {
    pub val_every: usize,
    pub patience: usize,
    pub min_delta: f64,
    /// 0 is off.
    pub gradient_clip: f64,
    pub keep: Keep,
    pub accumulate: usize,
    pub on_nan: OnNan,
    pub max_seconds: Option<f64>,
    pub loss: Loss,
    pub schedule: Schedule,
}

/// What a run of steps ended with.
enum Ended {
    /// The epoch is over.
    Epoch,
    /// The last step is done.
    AllSteps,
    /// Somebody or something asked for an end between two steps.
    Stopped(StoppedBy),
    /// It cannot go on.
    Failed(TrainError),
}

/// What the batches of one optimizer step brought; their gradients are in the engine.
struct Gathered {
    output: StepOutput,
    batches: usize,
}

/// Weights and moments to go back to.
pub(super) struct Snapshot<B: AutodiffBackend> {
    pub net: NHits<B>,
    pub memory: Memory<Trainee<B>, B>,
    pub average: Option<Average<B>>,
}

/// A run under way.
pub(super) struct Run<'a, B: AutodiffBackend> {
    pub settings: &'a LoopPlan,
    pub plan: &'a Plan,
    pub identity: &'a RunIdentity,
    pub samples: &'a Samples,
    pub engine: Engine<'a, B>,
    pub events: &'a mut SupervisedTrainingEventProcessor<Components<B>>,
    pub interrupter: &'a Interrupter,
    pub callbacks: &'a mut [Box<dyn Callback>],
    pub state: RunState,
    pub best: Option<NHits<B::InnerBackend>>,
    pub average: Option<Average<B>>,
    /// What a rollback goes back to; there is none without `on_nan = rollback`.
    pub snapshot: Option<Snapshot<B>>,
    pub outcome: &'a dyn Fn(&mut dyn FnMut(&mut Outcome<B>)),
    pub began: Instant,
}

impl<B: AutodiffBackend> Run<'_, B> {
    /// Runs until it is over; what came of it is in the outcome.
    pub fn go(&mut self, train: &TrainLoader<Components<B>>, valid: &ValidLoader<Components<B>>) {
        let start = RunStart { plan: self.plan, done: self.state.step, history: &self.state.history };
        self.callbacks.iter_mut().for_each(|c| c.on_train_start(&start));
        self.publish();
        let mut failed = None;
        while self.state.ended.is_none() {
            let (epoch_began, seconds_before) = (Instant::now(), self.state.epoch_seconds);
            let ended = self.steps(train, epoch_began);
            self.state.epoch_seconds = seconds_before + epoch_began.elapsed().as_secs_f64();
            self.events.process_train(LearnerEvent::EndEpoch(self.epoch()));
            match ended {
                Ended::Failed(error) => {
                    failed = Some(error);
                    break;
                }
                Ended::Epoch | Ended::AllSteps => {
                    let finished = matches!(ended, Ended::AllSteps) || self.epoch() >= self.plan.epochs;
                    match self.close_epoch(valid, finished.then_some(StoppedBy::Finished), epoch_began, seconds_before)
                    {
                        Ok(Some(stopped)) if self.state.ended.is_none() => self.stop(stopped),
                        Ok(_) => {}
                        Err(error) => {
                            failed = Some(error);
                            break;
                        }
                    }
                }
                Ended::Stopped(by) => {
                    self.save_before_stop();
                    // The part of an epoch that was done counts for what is kept, but not for a checkpoint: a resumed
                    // run goes on as if nobody had stopped it.
                    if let Err(error) = self.close_epoch(valid, Some(by), epoch_began, seconds_before) {
                        failed = Some(error);
                        break;
                    }
                }
            }
        }
        self.publish();
        let stopped_by = self.state.ended.unwrap_or(StoppedBy::Finished);
        (self.outcome)(&mut |o| o.error = failed.take());
        let end =
            RunEnd { stopped_by, steps: self.state.step, best: self.state.best.as_ref(), history: &self.state.history };
        self.callbacks.iter_mut().for_each(|c| c.on_train_end(&end));
    }

    /// Number of the epoch under way, from 1.
    fn epoch(&self) -> usize {
        self.state.position.epoch as usize + 1
    }

    fn progress(done: usize, of: usize) -> Progress {
        Progress { items_processed: done, items_total: of }
    }

    /// The steps of what is left of an epoch.
    fn steps(&mut self, loader: &TrainLoader<Components<B>>, epoch_began: Instant) -> Ended {
        let (began, before) = (Instant::now(), self.state.stepping_seconds);
        let seconds_before = self.state.epoch_seconds;
        let mut batches = loader.iter();
        // The fewest epochs that hold all steps may leave none for this one (a run resumed at its end).
        let ended = loop {
            if self.state.step >= self.plan.total_steps {
                break Ended::AllSteps;
            }
            let gathered = match self.gather(&mut *batches) {
                Ok(Some(gathered)) => gathered,
                Ok(None) => break Ended::Epoch,
                Err(error) => match self.roll_back(error) {
                    Ok(()) => continue,
                    Err(error) => break Ended::Failed(error),
                },
            };
            // These weights gave a loss that is a number: they are worth going back to.
            if self.settings.on_nan == OnNan::Rollback
                && (self.snapshot.is_none() || self.state.step.is_multiple_of(SNAPSHOT_EVERY))
            {
                self.snapshot = Some(Snapshot {
                    net: self.engine.net(),
                    memory: self.engine.memory(),
                    average: self.average.clone(),
                });
            }
            let next = match self.apply(gathered) {
                Ok(next) => next,
                Err(error) => match self.roll_back(error) {
                    Ok(()) => continue,
                    Err(error) => break Ended::Failed(error),
                },
            };
            self.state.stepping_seconds = before + began.elapsed().as_secs_f64();
            self.state.epoch_seconds = seconds_before + epoch_began.elapsed().as_secs_f64();
            let stop = self.heed(next);
            if self.state.step >= self.plan.total_steps {
                break Ended::AllSteps;
            }
            if let Some(by) = stop.or_else(|| self.stop_from_outside()) {
                break Ended::Stopped(by);
            }
        };
        self.state.stepping_seconds = before + began.elapsed().as_secs_f64();
        ended
    }

    fn stop_from_outside(&self) -> Option<StoppedBy> {
        if self.interrupter.should_stop() {
            return Some(StoppedBy::Interrupted);
        }
        let over = self.settings.max_seconds.is_some_and(|most| self.began.elapsed().as_secs_f64() >= most);
        over.then_some(StoppedBy::TimeLimit)
    }

    /// The gradients of the next optimizer step: of one batch, or of as many as are accumulated. The last step of an
    /// epoch takes what there is, and batches count by their weight, so that no window is lost or counts for more.
    fn gather(
        &mut self,
        batches: &mut dyn burn::data::dataloader::DataLoaderIterator<TrainInput<B>>,
    ) -> Result<Option<Gathered>, TrainError> {
        let (mut output, mut n) = (StepOutput::default(), 0);
        while n < self.settings.accumulate {
            let Some(item) = batches.next() else { break };
            n += 1;
            let keep = item.batch.clone();
            let of_batch = self.engine.compute(item);
            if !of_batch.loss.is_finite() {
                let window = view::culprit::<B>(&self.engine.net().valid(), &keep, self.samples);
                let (step, epoch, loss) = (self.state.step + 1, self.epoch(), of_batch.loss);
                self.skip(n);
                return Err(TrainError::NonFiniteLoss { step, epoch, loss, window });
            }
            output.merge(&of_batch);
            if self.settings.accumulate > 1 {
                self.engine.accumulate(of_batch.weight);
            }
        }
        if n == 0 {
            return Ok(None);
        }
        if self.settings.accumulate > 1 {
            self.engine.finish(1.0 / output.weight.max(f64::MIN_POSITIVE));
        }
        Ok(Some(Gathered { output, batches: n }))
    }

    /// Moves on by batches that brought no step.
    fn skip(&mut self, batches: usize) {
        self.state.position.step += batches;
        self.state.batches += batches as u64;
    }

    /// One optimizer step, and what the callbacks want after it.
    fn apply(&mut self, gathered: Gathered) -> Result<Vec<Next>, TrainError> {
        let Gathered { output, batches } = gathered;
        let step = self.state.step + 1;
        let wanted = self.callbacks.iter().any(|c| c.wants_gradients(step));
        let norm = if self.settings.gradient_clip > 0.0 {
            Some(self.engine.clip(self.settings.gradient_clip))
        } else {
            wanted.then(|| self.engine.norm())
        };
        if norm.is_some_and(|n| !n.is_finite()) {
            self.skip(batches);
            return Err(TrainError::NonFiniteGradient { step, epoch: self.epoch() });
        }
        let shown = wanted.then(|| self.engine.named_gradients());
        self.state.lr = self.engine.update();
        if let Some(average) = &mut self.average {
            average.follow(&self.engine.net(), step);
        }
        self.skip(batches);
        self.state.step = step;
        self.state.epoch_so_far.merge(&output);
        self.events.process_train(LearnerEvent::ProcessedItem(TrainingItem::new(
            output,
            Self::progress(step, self.plan.total_steps),
            Self::progress(self.epoch(), self.plan.epochs),
            Some(step),
            Some(self.state.lr),
        )));
        let network = View { net: &|| self.engine.net().valid(), samples: self.samples };
        let event = StepEvent {
            step,
            epoch: self.state.position.epoch as usize + 1,
            loss: output.loss,
            mae: output.mae,
            lr: self.state.lr,
            gradient_norm: norm,
            gradients: shown.as_deref(),
            network: &network,
        };
        Ok(self.callbacks.iter_mut().map(|c| c.on_step(&event)).collect())
    }

    /// Goes back to the last good state with a smaller learning rate, if that is wanted and possible.
    fn roll_back(&mut self, error: TrainError) -> Result<(), TrainError> {
        let Some(snapshot) = self.snapshot.as_ref().filter(|_| self.state.rollbacks < MOST_ROLLBACKS) else {
            return Err(error);
        };
        self.state.rollbacks += 1;
        self.state.lr_factor *= ROLLBACK_FACTOR;
        tracing::warn!(
            "{error}: going back to the last good weights, learning rate times {} from here (rollback {} of {MOST_ROLLBACKS})",
            self.state.lr_factor,
            self.state.rollbacks
        );
        self.engine.load(snapshot.net.clone(), snapshot.memory.clone());
        self.average = snapshot.average.clone();
        self.load_rate();
        Ok(())
    }

    /// Tells the schedule where it is.
    pub fn load_rate(&mut self) {
        let factor = self.state.lr_factor * self.state.plateau.factor;
        self.engine.load_rate(ScheduleRecord { next: self.state.step, factor });
    }

    /// The network that is validated and kept: the average, where there is one.
    fn current(&self) -> NHits<B::InnerBackend> {
        match &self.average {
            Some(average) => average.net.clone(),
            None => self.engine.net().valid(),
        }
    }

    /// Loss and errors over all validation windows.
    fn validate(&mut self, loader: &ValidLoader<Components<B>>) -> StepOutput {
        let epoch = self.epoch();
        let model = self.engine.validated(self.average.as_ref().map(|average| average.net.clone()));
        let mut total = StepOutput::default();
        for (i, batch) in loader.iter().enumerate() {
            let output = model.step(batch);
            total.merge(&output);
            self.events.process_valid(LearnerEvent::ProcessedItem(TrainingItem::new(
                output,
                Self::progress(total.windows, loader.num_items()),
                Self::progress(epoch, self.plan.epochs),
                Some(i + 1),
                None,
            )));
        }
        self.events.process_valid(LearnerEvent::EndEpoch(epoch));
        total.loss = self.settings.loss.of_mean(total.loss);
        total
    }

    /// Validates, records, decides what is kept and whether to go on. `ending` is why this epoch is the last one, if it
    /// is known. Returns why a callback wants to stop.
    fn close_epoch(
        &mut self,
        valid: &ValidLoader<Components<B>>,
        ending: Option<StoppedBy>,
        began: Instant,
        seconds_before: f64,
    ) -> Result<Option<StoppedBy>, TrainError> {
        let number = self.epoch();
        let planned = matches!(ending, None | Some(StoppedBy::Finished));
        let due = ending.is_some() || number.is_multiple_of(self.settings.val_every);
        let has_validation = self.plan.val_windows > 0;
        let mut validated = (has_validation && due).then(|| self.validate(valid));
        let step = self.state.step;
        if let Some(v) = validated.filter(|v| !v.loss.is_finite()) {
            self.roll_back(TrainError::NonFiniteLoss { step, epoch: number, loss: v.loss, window: None })?;
            validated = Some(self.validate(valid));
        } else if !view::is_finite(&self.current()) {
            // Without validation rows nobody else looks at the weights after the last step.
            self.roll_back(TrainError::NonFiniteGradient { step, epoch: number })?;
        }
        let mut wanted = Vec::new();
        if let Some(v) = &validated {
            let current = self.current();
            let network = View { net: &|| current.clone(), samples: self.samples };
            let event = ValidationEvent {
                epoch: number,
                step: self.state.step,
                loss: v.loss,
                mae: v.mae,
                rmse: v.rmse(),
                network: &network,
            };
            wanted.extend(self.callbacks.iter_mut().map(|c| c.on_validation(&event)));
        }
        self.state.epoch_seconds = seconds_before + began.elapsed().as_secs_f64();
        let so_far = self.state.epoch_so_far;
        let record = EpochRecord {
            epoch: number,
            step: self.state.step,
            train_loss: so_far.loss,
            train_mae: so_far.mae,
            train_rmse: so_far.rmse(),
            val_loss: validated.map(|v| v.loss),
            val_mae: validated.map(|v| v.mae),
            val_rmse: validated.map(|v| v.rmse()),
            lr: self.state.lr,
            seconds: self.state.epoch_seconds,
            windows_per_s: so_far.windows as f64 / self.state.stepping_seconds.max(1e-9),
        };
        let better = match (&self.state.best, record.val_loss) {
            _ if self.settings.keep == Keep::Last => true,
            (Some(best), Some(loss)) => best.val_loss.is_none_or(|b| loss < b),
            // Without validation rows the last epoch is the best one that is known.
            (Some(_), None) => !has_validation,
            (None, _) => true,
        };
        if better {
            self.state.best = Some(record);
            self.best = Some(self.current());
        }
        self.state.history.push(record);
        let mut ended = ending;
        if let Some(loss) = record.val_loss {
            let at = self.settings.schedule.after_validation(&mut self.state.plateau, loss, self.state.step);
            if at.is_some() {
                self.load_rate();
            }
            let enough = self.state.stopping.after(loss, self.settings.patience, self.settings.min_delta);
            if ended.is_none() && enough {
                ended = Some(StoppedBy::EarlyStopping);
            }
        }
        self.state.ended = ended;
        self.state.position.epoch += 1;
        self.state.position.step = 0;
        self.state.epoch_so_far = StepOutput::default();
        (self.state.epoch_seconds, self.state.stepping_seconds) = (0.0, 0.0);
        self.publish();
        let current = self.current();
        let network = View { net: &|| current.clone(), samples: self.samples };
        let event = EpochEvent {
            record: &record,
            epochs: self.plan.epochs,
            best: better && self.settings.keep == Keep::Best && has_validation,
            network: &network,
        };
        wanted.extend(self.callbacks.iter_mut().map(|c| c.on_epoch(&event)));
        if !planned {
            return Ok(None);
        }
        Ok(self.heed(wanted).or_else(|| self.state.ended.is_none().then(|| self.stop_from_outside()).flatten()))
    }

    /// Ends a run between two epochs.
    fn stop(&mut self, by: StoppedBy) {
        self.save_before_stop();
        self.state.ended = Some(by);
        self.publish();
    }

    /// Puts what is known where it survives a dashboard that kills the loop.
    fn publish(&self) {
        (self.outcome)(&mut |o| {
            o.history.clone_from(&self.state.history);
            o.steps = self.state.step;
            o.stopped_by = self.state.ended.unwrap_or(StoppedBy::Finished);
            o.rollbacks = self.state.rollbacks;
            if let (Some(record), Some(net)) = (self.state.best, &self.best) {
                o.best = Some((record, net.clone()));
            }
        });
    }

    /// Does what callbacks want; says why one of them wants to stop.
    fn heed(&mut self, wanted: Vec<Next>) -> Option<StoppedBy> {
        let mut stop = None;
        for next in wanted {
            match next {
                Next::Go => {}
                Next::Save(path) => self.save(&path),
                Next::Stop(reason) => {
                    tracing::info!("training ends: {reason}");
                    stop = Some(StoppedBy::Callback);
                }
            }
        }
        stop
    }

    fn save_before_stop(&mut self) {
        let (step, epoch) = (self.state.step, self.state.history.len());
        let wanted: Vec<Next> = self.callbacks.iter_mut().map(|c| c.on_stop(step, epoch)).collect();
        for next in wanted {
            if let Next::Save(path) = next {
                self.save(&path);
            }
        }
    }

    /// Writes a checkpoint and tells everyone.
    fn save(&mut self, path: &Path) {
        let began = Instant::now();
        let model = self.engine.net().valid();
        let mut state = self.state.clone();
        state.seconds += self.began.elapsed().as_secs_f64();
        let best = self.best.as_ref().filter(|_| self.settings.keep == Keep::Best);
        let average = self.average.as_ref().map(|a| &a.net);
        let snapshot = self.snapshot.as_ref().map(|s| (s.net.valid(), s));
        let now = view::Held { net: &model, moments: self.engine.moments(), average };
        let back = snapshot.as_ref().map(|(net, s)| view::Held {
            net,
            moments: Moments::Tensors(s.memory.clone()),
            average: s.average.as_ref().map(|a| &a.net),
        });
        let (entries, updates) = view::entries::<B>(&now, best, back.as_ref());
        (state.updates, state.updates_of_snapshot) = updates;
        let result = if view::is_finite(&model) {
            checkpoint::write(path, self.identity, &state, &entries)
        } else {
            Err(CheckpointError::NotFinite { step: state.step })
        };
        let event = CheckpointEvent {
            path,
            step: state.step,
            epoch: state.history.len(),
            written: match &result {
                Ok(bytes) => Ok(Written { bytes: *bytes, seconds: began.elapsed().as_secs_f64() }),
                Err(error) => Err(error),
            },
        };
        self.callbacks.iter_mut().for_each(|c| c.on_checkpoint(&event));
    }
}
