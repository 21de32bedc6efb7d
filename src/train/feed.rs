//! The window loader as burn's `Learner` wants it: batches with the number of their step in the run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::tensor::backend::Backend;

use super::trainee::TrainInput;
use crate::window::WindowBatch;

/// A window loader whose batches are numbered over the whole run.
pub(super) struct Feed<B: Backend> {
    loader: Arc<dyn DataLoader<B, WindowBatch<B>>>,
    next_step: Arc<AtomicU64>,
}

impl<B: Backend> Feed<B> {
    /// Numbers the batches of `loader` from `first` on.
    pub fn new(loader: Arc<dyn DataLoader<B, WindowBatch<B>>>, first: u64) -> Self {
        Self { loader, next_step: Arc::new(AtomicU64::new(first)) }
    }

    fn over(&self, loader: Arc<dyn DataLoader<B, WindowBatch<B>>>) -> Arc<dyn DataLoader<B, TrainInput<B>>> {
        Arc::new(Self { loader, next_step: self.next_step.clone() })
    }
}

impl<B: Backend> DataLoader<B, TrainInput<B>> for Feed<B> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<TrainInput<B>> + 'a> {
        Box::new(Numbered { batches: self.loader.iter(), next_step: &self.next_step })
    }

    fn num_items(&self) -> usize {
        self.loader.num_items()
    }

    fn to_device(&self, device: &B::Device) -> Arc<dyn DataLoader<B, TrainInput<B>>> {
        self.over(self.loader.to_device(device))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<B, TrainInput<B>>> {
        self.over(self.loader.slice(start, end))
    }
}

/// Batches of one epoch, numbered on from the last.
struct Numbered<'a, B: Backend> {
    batches: Box<dyn DataLoaderIterator<WindowBatch<B>> + 'a>,
    next_step: &'a AtomicU64,
}

impl<B: Backend> Iterator for Numbered<'_, B> {
    type Item = TrainInput<B>;

    fn next(&mut self) -> Option<TrainInput<B>> {
        let batch = self.batches.next()?;
        Some(TrainInput { batch, step: self.next_step.fetch_add(1, Ordering::Relaxed) })
    }
}

impl<B: Backend> DataLoaderIterator<TrainInput<B>> for Numbered<'_, B> {
    fn progress(&self) -> Progress {
        self.batches.progress()
    }
}
