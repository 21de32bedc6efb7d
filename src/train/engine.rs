//! What computes gradients and updates weights: burn's `Learner` on tensors, or [`HostSteps`] on slices.
//!
//! The loop asks the engine and does not know which it is. On slices the `Learner`'s network has no values;
//! [`Engine::net`] has them.

use std::cell::RefCell;
use std::sync::Arc;

use burn::module::{AutodiffModule, Module};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::backend::AutodiffBackend;
use burn::train::Learner;

use super::clip::{global_norm, scale};
use super::host_steps::HostSteps;
use super::memory::{Memory, SharedOptimizer};
use super::schedule::ScheduleRecord;
use super::strategy::Components;
use super::trainee::{StepOutput, TrainInput, Trainee};
use super::view::{self, Moments};
use crate::model::host::{HostForecaster, with_weights, without_weights};
use crate::model::{NHits, NamedTensor};

/// The network in training.
pub(super) struct Engine<'a, B: AutodiffBackend> {
    learner: &'a mut Learner<Components<B>>,
    optimizer: &'a SharedOptimizer<Trainee<B>, B>,
    way: Way<B>,
}

enum Way<B: AutodiffBackend> {
    Tensors {
        /// Of the last batch, or of the step.
        gradients: GradientsParams,
        accumulated: GradientsAccumulator<Trainee<B>>,
    },
    Slices {
        steps: Box<HostSteps>,
        /// The network as tensors, once someone has asked for it since the last update.
        current: RefCell<Option<NHits<B>>>,
    },
}

impl<'a, B: AutodiffBackend> Engine<'a, B> {
    /// The engine of a learner; on slices where `steps` is given, and then the learner's network needs no values.
    pub fn new(
        learner: &'a mut Learner<Components<B>>,
        optimizer: &'a SharedOptimizer<Trainee<B>, B>,
        steps: Option<HostSteps>,
    ) -> Self {
        let way = match steps {
            None => Way::Tensors { gradients: GradientsParams::new(), accumulated: GradientsAccumulator::new() },
            Some(steps) => Way::Slices { steps: Box::new(steps), current: RefCell::new(None) },
        };
        Self { learner, optimizer, way }
    }

    /// Whether it computes on slices.
    fn on_slices(&self) -> bool {
        matches!(self.way, Way::Slices { .. })
    }

    /// Loss and gradients of a batch.
    pub fn compute(&mut self, item: TrainInput<B>) -> StepOutput {
        match &mut self.way {
            Way::Tensors { gradients, .. } => {
                let out = self.learner.train_step(item);
                *gradients = out.grads;
                out.item
            }
            Way::Slices { steps, .. } => steps.compute(item),
        }
    }

    /// Adds the gradients of the last batch, times `weight`, to those before.
    pub fn accumulate(&mut self, weight: f64) {
        match &mut self.way {
            Way::Tensors { gradients, accumulated } => {
                let model = self.learner.model();
                let mut these = std::mem::replace(gradients, GradientsParams::new());
                scale::<B, _>(&model, &mut these, weight);
                accumulated.accumulate(&model, these);
            }
            Way::Slices { steps, .. } => steps.accumulate(weight),
        }
    }

    /// Makes the accumulated gradients, times `factor`, those of the step.
    pub fn finish(&mut self, factor: f64) {
        match &mut self.way {
            Way::Tensors { gradients, accumulated } => {
                *gradients = accumulated.grads();
                scale::<B, _>(&self.learner.model(), gradients, factor);
            }
            Way::Slices { steps, .. } => steps.finish(factor),
        }
    }

    /// The global norm of the gradients.
    pub fn norm(&self) -> f64 {
        match &self.way {
            Way::Tensors { gradients, .. } => global_norm::<B, _>(&self.learner.model(), gradients),
            Way::Slices { steps, .. } => steps.norm(),
        }
    }

    /// Scales the gradients so that their global norm is at most `limit`; returns the norm before. As
    /// [`super::clip_global_norm`].
    pub fn clip(&mut self, limit: f64) -> f64 {
        let norm = self.norm();
        if norm.is_finite() && norm > limit {
            let factor = limit / (norm + 1e-6);
            match &mut self.way {
                Way::Tensors { gradients, .. } => scale::<B, _>(&self.learner.model(), gradients, factor),
                Way::Slices { steps, .. } => steps.scale(factor),
            }
        }
        norm
    }

    /// The gradients by the names of their weights.
    pub fn named_gradients(&self) -> Vec<NamedTensor> {
        let net = self.learner.model().net;
        match &self.way {
            Way::Tensors { gradients, .. } => view::gradients(&net, gradients),
            Way::Slices { steps, .. } => steps.named_gradients(&net),
        }
    }

    /// One update with the schedule's next learning rate; uses the gradients up. Returns the rate.
    pub fn update(&mut self) -> f64 {
        self.learner.lr_step();
        let lr = self.learner.lr_current();
        match &mut self.way {
            Way::Tensors { gradients, .. } => {
                self.learner.optimizer_step(std::mem::replace(gradients, GradientsParams::new()));
            }
            Way::Slices { steps, current } => {
                steps.update(lr);
                *current.get_mut() = None;
            }
        }
        lr
    }

    /// Tells the schedule where it is.
    pub fn load_rate(&mut self, rate: ScheduleRecord) {
        self.learner.load_scheduler(rate);
    }

    /// The network as it is now.
    pub fn net(&self) -> NHits<B> {
        let learned = self.learner.model().net;
        match &self.way {
            Way::Tensors { .. } => learned,
            Way::Slices { steps, current } => {
                current.borrow_mut().get_or_insert_with(|| with_weights(learned, &steps.weights)).clone()
            }
        }
    }

    /// The network as validation runs it: `average` if there is one.
    pub fn validated(&self, average: Option<NHits<B::InnerBackend>>) -> Trainee<B::InnerBackend> {
        let mut trainee = self.learner.model().valid();
        match (&self.way, average) {
            (Way::Tensors { .. }, Some(average)) => trainee.net = average,
            (Way::Tensors { .. }, None) => {}
            (Way::Slices { .. }, Some(average)) => trainee.host = HostForecaster::new(&average).map(Arc::new),
            // The network has no values: where there is a forecaster, it is asked for its settings alone.
            (Way::Slices { steps, .. }, None) => trainee.host = Some(Arc::new(steps.forecaster())),
        }
        trainee
    }

    /// Where the optimizer's moments are.
    pub fn moments(&self) -> Moments<'_, B> {
        match &self.way {
            Way::Tensors { .. } => Moments::Tensors(self.optimizer.memory()),
            Way::Slices { steps, .. } => Moments::Slices(steps),
        }
    }

    /// A copy of the optimizer's moments.
    pub fn memory(&self) -> Memory<Trainee<B>, B> {
        match &self.way {
            Way::Tensors { .. } => self.optimizer.memory(),
            Way::Slices { steps, .. } => steps.memory(&self.learner.model().net),
        }
    }

    /// Goes back to a network and its moments.
    pub fn load(&mut self, net: NHits<B>, memory: Memory<Trainee<B>, B>) {
        if let Way::Slices { steps, current } = &mut self.way {
            steps.load(&net, memory.clone());
            *current.get_mut() = None;
        }
        let mut trainee = self.learner.model();
        trainee.net = if self.on_slices() { without_weights(net) } else { net };
        self.learner.load_model(Module::<B>::into_record(trainee));
        self.optimizer.remember(memory);
    }
}
