//! burn-train's custom strategy: burn's `Learner`, metrics and dashboards around a loop of our own.
//!
//! burn-train 0.21 validates asynchronously, clips per parameter, keeps the last weights, decides early stopping from a
//! log that may lag behind, and does not save all that a resumed run depends on. Here the loop itself computes the
//! validation loss, so that stopping and the best weights never depend on a race.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use burn::tensor::backend::AutodiffBackend;
use burn::train::{
    Learner, LearningComponentsMarker, SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader,
    TrainingComponents, ValidLoader,
};

use super::TrainError;
use super::average::Average;
use super::callback::Callback;
use super::checkpoint::{RunIdentity, RunState};
use super::engine::Engine;
use super::host_steps::HostSteps;
use super::job::Plan;
use super::memory::SharedOptimizer;
use super::run::{LoopPlan, Run, Snapshot};
use super::schedule::Schedule;
use super::trainee::Trainee;
use super::view::Samples;
use crate::bundle::{EpochRecord, StoppedBy};
use crate::model::NHits;

/// burn-train's bundle of types for this trainer.
pub(super) type Components<B> = LearningComponentsMarker<B, Schedule, Trainee<B>, SharedOptimizer<Trainee<B>, B>>;

/// What the loop leaves behind; shared, so that it survives a dashboard that kills the loop.
#[derive(Debug)]
pub(super) struct Outcome<B: AutodiffBackend> {
    pub history: Vec<EpochRecord>,
    /// The epoch whose weights are kept, and they.
    pub best: Option<(EpochRecord, NHits<B::InnerBackend>)>,
    pub steps: usize,
    pub stopped_by: StoppedBy,
    pub rollbacks: usize,
    pub error: Option<TrainError>,
}

impl<B: AutodiffBackend> Default for Outcome<B> {
    fn default() -> Self {
        let stopped_by = StoppedBy::Finished;
        Self { history: Vec::new(), best: None, steps: 0, stopped_by, rollbacks: 0, error: None }
    }
}

/// Where a run starts: at its beginning, or where a checkpoint was written.
pub(super) struct Start<B: AutodiffBackend> {
    pub state: RunState,
    pub best: Option<NHits<B::InnerBackend>>,
    pub average: Option<Average<B>>,
    pub snapshot: Option<Snapshot<B>>,
}

/// The loop as burn's custom strategy.
pub(super) struct WatchedLoop<B: AutodiffBackend> {
    pub settings: LoopPlan,
    pub plan: Plan,
    pub identity: RunIdentity,
    pub samples: Samples,
    pub optimizer: SharedOptimizer<Trainee<B>, B>,
    /// The network on slices, where it is trained so.
    pub steps: Mutex<Option<HostSteps>>,
    pub callbacks: Mutex<Vec<Box<dyn Callback>>>,
    pub start: Mutex<Option<Start<B>>>,
    pub outcome: Arc<Mutex<Outcome<B>>>,
}

impl<B: AutodiffBackend> SupervisedLearningStrategy<Components<B>> for WatchedLoop<B> {
    fn fit(
        &self,
        components: TrainingComponents<Components<B>>,
        mut learner: Learner<Components<B>>,
        train: TrainLoader<Components<B>>,
        valid: ValidLoader<Components<B>>,
        _starting_epoch: usize,
    ) -> (Trainee<B>, SupervisedTrainingEventProcessor<Components<B>>) {
        let mut events = components.event_processor;
        let mut callbacks = self.callbacks.lock().unwrap_or_else(PoisonError::into_inner);
        let start = self.start.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Start { state, best, average, snapshot } =
            start.unwrap_or_else(|| Start { state: RunState::new(), best: None, average: None, snapshot: None });
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A poisoned lock only means that a dashboard thread died; the data is whole after each change.
        let outcome = |change: &mut dyn FnMut(&mut Outcome<B>)| {
            change(&mut self.outcome.lock().unwrap_or_else(PoisonError::into_inner));
        };
        let mut run = Run {
            settings: &self.settings,
            plan: &self.plan,
            identity: &self.identity,
            samples: &self.samples,
            engine: Engine::new(&mut learner, &self.optimizer, steps),
            events: &mut events,
            interrupter: &components.interrupter,
            callbacks: &mut callbacks,
            state,
            best,
            average,
            snapshot,
            outcome: &outcome,
            began: Instant::now(),
        };
        run.load_rate();
        run.go(&train, &valid);
        (learner.model(), events)
    }
}
