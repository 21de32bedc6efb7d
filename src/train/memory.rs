//! `SharedOptimizer`: an optimizer whose memory can be looked into while burn's `Learner` owns it, and that updates
//! several weights at once.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use burn::module::{AutodiffModule, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::record::AdaptorRecord;
use burn::optim::{GradientsParams, MultiGradientsParams, Optimizer as BurnOptimizer, SimpleOptimizer};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;

use super::optimizer::{Optimizer, Rule, RuleState};
use crate::workers::Workers;

/// What an optimizer remembers of each parameter.
pub(super) type Memory<M, B> = <Optimizer<M, B> as BurnOptimizer<M, B>>::Record;

/// The rule with its memory. Clones share one memory, so the loop can save it while the `Learner` has a clone.
pub(super) struct SharedOptimizer<M: AutodiffModule<B>, B: AutodiffBackend> {
    rule: Rule,
    workers: Workers,
    memory: Arc<Mutex<Memory<M, B>>>,
}

impl<M: AutodiffModule<B>, B: AutodiffBackend> Clone for SharedOptimizer<M, B> {
    fn clone(&self) -> Self {
        Self { rule: self.rule.clone(), workers: self.workers.clone(), memory: self.memory.clone() }
    }
}

impl<M: AutodiffModule<B>, B: AutodiffBackend> SharedOptimizer<M, B> {
    /// An optimizer that remembers nothing yet.
    pub fn new(rule: Rule, workers: Workers) -> Self {
        Self { rule, workers, memory: Arc::default() }
    }

    fn with<R>(&self, look: impl FnOnce(&mut Memory<M, B>) -> R) -> R {
        look(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is remembered of each parameter.
    pub fn memory(&self) -> Memory<M, B> {
        self.with(|memory| memory.clone())
    }

    /// Replaces what is remembered.
    pub fn remember(&self, now: Memory<M, B>) {
        self.with(|memory| *memory = now);
    }
}

/// The update of one weight, of whatever rank it is.
struct Update {
    id: ParamId,
    size: usize,
    run: Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>,
}

/// Takes weights, gradients and moments together.
struct Gather<'a, M: AutodiffModule<B>, B: AutodiffBackend> {
    rule: &'a Rule,
    lr: f64,
    grads: &'a mut GradientsParams,
    memory: &'a mut Memory<M, B>,
    updates: Vec<Update>,
}

impl<M: AutodiffModule<B>, B: AutodiffBackend> ModuleVisitor<B> for Gather<'_, M, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let Some(grad) = self.grads.remove::<B::InnerBackend, D>(param.id) else { return };
        let state = self.memory.remove(&param.id).map(AdaptorRecord::into_state::<D>);
        let (rule, lr, weight) = (self.rule.clone(), self.lr, param.val().inner());
        let size = weight.shape().num_elements();
        let run = Box::new(move || -> Box<dyn Any + Send> {
            Box::new(SimpleOptimizer::<B::InnerBackend>::step(&rule, lr, weight, grad, state))
        });
        self.updates.push(Update { id: param.id, size, run });
    }
}

/// Puts the new weights in their places.
struct Place<'a, M: AutodiffModule<B>, B: AutodiffBackend> {
    updated: HashMap<ParamId, Box<dyn Any + Send>>,
    memory: &'a mut Memory<M, B>,
}

/// What an update gives.
type Updated<B, const D: usize> = (Tensor<B, D>, Option<RuleState<B, D>>);

impl<M: AutodiffModule<B>, B: AutodiffBackend> ModuleMapper<B> for Place<'_, M, B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (id, tensor, mapper) = param.consume();
        let updated = self.updated.remove(&id).and_then(|any| any.downcast::<Updated<B::InnerBackend, D>>().ok());
        let tensor = match updated {
            None => tensor,
            Some(updated) => {
                let (weight, state) = *updated;
                if let Some(state) = state {
                    self.memory.insert(id, AdaptorRecord::from_state(state));
                }
                let weight = Tensor::from_inner(weight);
                if tensor.is_require_grad() { weight.require_grad() } else { weight }
            }
        };
        Param::from_mapped_value(id, tensor, mapper)
    }
}

impl<M: AutodiffModule<B>, B: AutodiffBackend> BurnOptimizer<M, B> for SharedOptimizer<M, B> {
    type Record = Memory<M, B>;

    /// Each weight is updated by one worker; what an update computes does not depend on which.
    fn step(&mut self, lr: f64, module: M, mut grads: GradientsParams) -> M {
        self.with(|memory| {
            let mut gather =
                Gather::<M, B> { rule: &self.rule, lr, grads: &mut grads, memory: &mut *memory, updates: Vec::new() };
            module.visit(&mut gather);
            let mut updates = gather.updates;
            // Large ones first, so that the workers end at about the same time.
            updates.sort_by_key(|u| std::cmp::Reverse(u.size));
            let updated = self.workers.map(updates, |_, update| (update.id, (update.run)())).into_iter().collect();
            module.map(&mut Place::<M, B> { updated, memory })
        })
    }

    /// Gradients of several devices are not used by this trainer: they are joined on the module's own.
    fn step_multi(&mut self, lr: f64, module: M, grads: MultiGradientsParams) -> M {
        let mut adaptor = Optimizer::<M, B>::from(self.rule.clone());
        adaptor = BurnOptimizer::<M, B>::load_record(adaptor, self.memory());
        let module = BurnOptimizer::step_multi(&mut adaptor, lr, module, grads);
        self.remember(BurnOptimizer::<M, B>::to_record(&adaptor));
        module
    }

    fn to_record(&self) -> Self::Record {
        self.memory()
    }

    fn load_record(self, record: Self::Record) -> Self {
        self.remember(record);
        self
    }
}
