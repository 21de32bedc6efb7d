//! `WindowLoader`: batches of one epoch after the other, each gathered while the one before it is used.

use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

use super::{HostBatch, Sampler, Sampling, Window, WindowBatch, WindowBatcher, WindowError, WindowIndex};

/// A place in training: the next batch is that of step `step` of epoch `epoch`, both counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The epoch.
    pub epoch: u64,
    /// The step within it.
    pub step: usize,
}

/// burn's `DataLoader` of windows.
///
/// Each call of `iter` yields the rest of one epoch, starting at the loader's position, and moves the position to the
/// start of the next. What a step sees depends on seed, epoch and step alone, so a loader that is put at the position
/// where another one stopped goes on exactly like it. One thread gathers one batch ahead; tensors are made on the thread
/// that asks for them, and no thread outlives its iterator.
#[derive(Debug)]
pub struct WindowLoader<B: Backend> {
    source: Source,
    device: B::Device,
    next: Mutex<Position>,
}

/// What batches are made from.
#[derive(Debug, Clone)]
struct Source {
    index: Arc<WindowIndex>,
    /// The windows of the index that take part.
    items: Range<usize>,
    batcher: Arc<WindowBatcher>,
    sampler: Sampler,
}

impl Source {
    fn windows(&self, at: Position) -> Vec<Window> {
        let numbers = self.sampler.indices(at.epoch, at.step);
        numbers.into_iter().filter_map(|i| self.index.get(self.items.start + i)).collect()
    }

    fn gather(&self, at: Position) -> HostBatch {
        self.batcher.gather(&self.windows(at))
    }
}

impl<B: Backend> WindowLoader<B> {
    /// A loader of the windows of `index`, starting at epoch 0, step 0.
    ///
    /// # Errors
    /// [`WindowError::Setting`] if `sampling` asks for empty batches.
    pub fn new(
        index: Arc<WindowIndex>,
        batcher: Arc<WindowBatcher>,
        sampling: Sampling,
        seed: u64,
        device: B::Device,
    ) -> Result<Self, WindowError> {
        let items = 0..index.len();
        let sampler = Sampler::new(sampling, seed, index.len())?;
        Ok(Self::from_source(Source { index, items, batcher, sampler }, device, Position::default()))
    }

    fn from_source(source: Source, device: B::Device, next: Position) -> Self {
        Self { source, device, next: Mutex::new(next) }
    }

    /// The same loader, whose next batch is that of `position`.
    pub fn starting_at(self, position: Position) -> Self {
        Self { next: Mutex::new(position), ..self }
    }

    /// Where the next call of `iter` starts.
    pub fn position(&self) -> Position {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Steps of an epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.source.sampler.steps_per_epoch()
    }

    /// The windows of a step, in the order of its batch.
    pub fn windows(&self, at: Position) -> Vec<Window> {
        self.source.windows(at)
    }

    /// What gathers the batches.
    pub fn batcher(&self) -> &Arc<WindowBatcher> {
        &self.source.batcher
    }

    /// The batches from `position` to the end of its epoch, without moving the loader.
    pub fn batches(&self, position: Position) -> Batches<B> {
        let last = self.steps_per_epoch();
        let (source, from) = (self.source.clone(), position);
        // Without room in the channel the thread holds one finished batch and gathers the next once it is taken.
        let (sender, receiver) = sync_channel(0);
        let thread = std::thread::Builder::new().name("nhits-windows".into()).spawn(move || {
            for step in from.step..last {
                // The receiver is gone when the user stopped before the end of the epoch.
                if sender.send(source.gather(Position { step, ..from })).is_err() {
                    return;
                }
            }
        });
        let ahead = thread.ok().map(|thread| (receiver, thread));
        let sampler = &self.source.sampler;
        let done = (0..position.step.min(last)).map(|step| sampler.batch_len(step)).sum();
        Batches { source: self.source.clone(), device: self.device.clone(), position, last, done, ahead }
    }
}

/// The batches of the rest of an epoch.
#[derive(Debug)]
pub struct Batches<B: Backend> {
    source: Source,
    device: B::Device,
    position: Position,
    last: usize,
    done: usize,
    /// The thread that gathers ahead; `None` at the end, or if the system had no thread to give: then batches are
    /// gathered when they are asked for.
    ahead: Option<(Receiver<HostBatch>, JoinHandle<()>)>,
}

impl<B: Backend> Batches<B> {
    /// Where the next batch stands.
    pub fn position(&self) -> Position {
        self.position
    }

    fn take(&mut self) -> HostBatch {
        let Some((receiver, _)) = &self.ahead else { return self.source.gather(self.position) };
        if let Ok(batch) = receiver.recv() {
            return batch;
        }
        // The thread only stops early by a panic, which belongs to whoever asked for the batch.
        match self.ahead.take().map(|(_, thread)| thread.join()) {
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            _ => self.source.gather(self.position),
        }
    }

    fn stop(&mut self) {
        if let Some((receiver, thread)) = self.ahead.take() {
            // Without a receiver the thread's next send fails and it ends.
            drop(receiver);
            let _ = thread.join();
        }
    }
}

impl<B: Backend> Iterator for Batches<B> {
    type Item = WindowBatch<B>;

    fn next(&mut self) -> Option<WindowBatch<B>> {
        if self.position.step >= self.last {
            self.stop();
            return None;
        }
        let batch = self.take();
        self.position.step += 1;
        self.done += batch.windows.len();
        Some(batch.into_tensors(&self.device))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.last.saturating_sub(self.position.step);
        (left, Some(left))
    }
}

impl<B: Backend> Drop for Batches<B> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<B: Backend> DataLoaderIterator<WindowBatch<B>> for Batches<B> {
    fn progress(&self) -> Progress {
        Progress { items_processed: self.done, items_total: self.source.sampler.windows_per_epoch() }
    }
}

impl<B: Backend> DataLoader<B, WindowBatch<B>> for WindowLoader<B> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<WindowBatch<B>> + 'a> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let position = *next;
        *next = Position { epoch: position.epoch + 1, step: 0 };
        Box::new(self.batches(position))
    }

    fn num_items(&self) -> usize {
        self.source.sampler.windows_per_epoch()
    }

    fn to_device(&self, device: &B::Device) -> Arc<dyn DataLoader<B, WindowBatch<B>>> {
        Arc::new(Self::from_source(self.source.clone(), device.clone(), self.position()))
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<B, WindowBatch<B>>> {
        let all = &self.source.items;
        let end = (all.start + end).min(all.end);
        let items = (all.start + start).min(end)..end;
        let sampler = self.source.sampler.with_windows(items.len());
        let source = Source { items, sampler, ..self.source.clone() };
        Arc::new(Self::from_source(source, self.device.clone(), self.position()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::index::tests::panel;
    use crate::window::{ColumnScalers, WindowRules, WindowScaler, WindowShape};

    fn loader<B: Backend>(sampling: Sampling, device: &B::Device) -> WindowLoader<B> {
        let y: Vec<f64> = (0..40).map(f64::from).collect();
        let p = panel(&[&y, &y[..20]]);
        let shape = WindowShape { input_size: 4, horizon: 2 };
        let index = WindowIndex::new(&p, &[0..40, 0..20], &WindowRules::train(shape)).unwrap();
        let scalers = Arc::new(ColumnScalers::none(&p));
        let batcher = WindowBatcher::new(Arc::new(p), &index, scalers, WindowScaler::Standard).unwrap();
        WindowLoader::new(Arc::new(index), Arc::new(batcher), sampling, 3, device.clone()).unwrap()
    }

    const SHUFFLED: Sampling = Sampling::FullPass { batch_size: 8, shuffled: true };

    fn epoch<B: Backend>(loader: &WindowLoader<B>) -> Vec<Vec<Window>> {
        loader.iter().map(|batch| batch.host.windows).collect()
    }

    #[test]
    fn an_epoch_is_every_window_once_and_the_next_has_another_order() {
        on_backend!(|B, device| {
            let loader = loader::<B>(SHUFFLED, &device);
            let (first, second) = (epoch(&loader), epoch(&loader));
            assert_eq!(first.len(), 7);
            assert_eq!(first[6].len(), 52 - 6 * 8);
            assert_ne!(first, second);
            let mut all = first.concat();
            all.sort();
            assert_eq!(all, loader.source.index.windows().collect::<Vec<_>>());
            assert_eq!(loader.position(), Position { epoch: 2, step: 0 });
        });
    }

    #[test]
    fn a_loader_put_at_a_position_goes_on_like_the_one_that_was_there() {
        on_backend!(|B, device| {
            for sampling in [SHUFFLED, Sampling::Random { windows_per_step: 5, steps_per_epoch: 6 }] {
                let straight = loader::<B>(sampling, &device);
                let (first, second) = (epoch(&straight), epoch(&straight));
                let resumed = loader::<B>(sampling, &device).starting_at(Position { epoch: 0, step: 4 });
                assert_eq!(epoch(&resumed), first[4..]);
                assert_eq!(epoch(&resumed), second);
            }
        });
    }

    #[test]
    fn batches_carry_the_values_of_their_windows() {
        on_backend!(|B, device| {
            let loader = loader::<B>(Sampling::FullPass { batch_size: 8, shuffled: false }, &device);
            for (step, batch) in loader.batches(Position::default()).enumerate() {
                let expected = loader.source.gather(Position { epoch: 0, step });
                assert_eq!(batch.host.windows, expected.windows);
                assert_eq!(batch.input.insample_y.to_data().to_vec::<f32>().unwrap(), expected.insample_y);
                assert_eq!(batch.target.to_data().to_vec::<f32>().unwrap(), expected.target);
            }
        });
    }

    #[test]
    fn progress_counts_windows() {
        on_backend!(|B, device| {
            let loader = loader::<B>(SHUFFLED, &device);
            assert_eq!(DataLoader::num_items(&loader), 52);
            let mut batches = loader.batches(Position { epoch: 0, step: 2 });
            assert_eq!((batches.progress().items_processed, batches.progress().items_total), (16, 52));
            batches.next();
            assert_eq!(batches.progress().items_processed, 24);
            assert_eq!(batches.size_hint(), (4, Some(4)));
            assert_eq!(batches.position(), Position { epoch: 0, step: 3 });
            assert_eq!(loader.batches(Position { epoch: 0, step: 99 }).count(), 0);
        });
    }

    #[test]
    fn stopping_in_the_middle_ends_the_thread() {
        on_backend!(|B, device| {
            let loader = loader::<B>(SHUFFLED, &device);
            let source = Arc::downgrade(&loader.source.batcher);
            let mut batches = loader.batches(Position::default());
            batches.next();
            drop(batches);
            drop(loader);
            assert_eq!(source.strong_count(), 0);
        });
    }

    #[test]
    fn a_slice_has_only_its_windows() {
        on_backend!(|B, device| {
            let loader = loader::<B>(Sampling::FullPass { batch_size: 8, shuffled: false }, &device);
            let slice = DataLoader::slice(&loader, 40, 99);
            assert_eq!(slice.num_items(), 12);
            let windows: Vec<Window> = slice.iter().flat_map(|b| b.host.windows).collect();
            assert_eq!(windows, loader.source.index.windows().skip(40).collect::<Vec<_>>());
            let moved = loader.starting_at(Position { epoch: 5, step: 1 }).to_device(&device);
            assert_eq!(moved.iter().count(), 6);
        });
    }
}
