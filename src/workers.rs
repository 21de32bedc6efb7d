//! Worker threads for tensor work: one pool each, so that products inside a worker stay in it.
//!
//! Two cores that each compute half of a batch are faster than two cores that share every product: element-wise work
//! and the optimizer's glue run in parallel too, and no product waits for the slower half of a split.

use std::sync::{Arc, mpsc};

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// A fixed set of worker threads.
#[derive(Debug, Clone)]
pub struct Workers {
    pools: Arc<[ThreadPool]>,
}

impl Workers {
    /// Starts `n` workers (at least one).
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub fn new(n: usize) -> Result<Self, ThreadPoolBuildError> {
        let pools = (0..n.max(1))
            .map(|i| ThreadPoolBuilder::new().num_threads(1).thread_name(move |_| format!("nhits-worker-{i}")).build())
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { pools: pools.into() })
    }

    /// No threads: work is done where it is asked for, one item after the other.
    pub fn none() -> Self {
        Self { pools: Arc::new([]) }
    }

    /// Workers for `shares` parts of a work that together have `threads` threads: no more of them than threads, and
    /// more than one thread in each where there are more threads than parts.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub fn sharing(threads: usize, shares: usize) -> Result<Self, ThreadPoolBuildError> {
        let (threads, shares) = (threads.max(1), shares.max(1));
        let n = shares.min(threads);
        let pools = (0..n)
            .map(|i| {
                let size = threads * (i + 1) / n - threads * i / n;
                ThreadPoolBuilder::new().num_threads(size).thread_name(move |t| format!("nhits-worker-{i}-{t}")).build()
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { pools: pools.into() })
    }

    /// Number of workers; the caller is one where there are none.
    pub fn count(&self) -> usize {
        self.pools.len().max(1)
    }

    /// Runs `work(i, item)` for every item, item `i` on worker `i % count`, and returns the results in order.
    ///
    /// A panic inside `work` is passed on to the caller after the other items are done.
    pub fn map<T, R, F>(&self, items: Vec<T>, work: F) -> Vec<R>
    where
        T: Send + 'static,
        R: Send + 'static,
        F: Fn(usize, T) -> R + Send + Sync + 'static,
    {
        let n = items.len();
        if self.pools.is_empty() {
            return items.into_iter().enumerate().map(|(i, item)| work(i, item)).collect();
        }
        let work = Arc::new(work);
        let (sender, results) = mpsc::channel();
        for (i, item) in items.into_iter().enumerate() {
            let (sender, work) = (sender.clone(), work.clone());
            self.pools[i % self.pools.len()].spawn(move || {
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(i, item)));
                // The receiver lives until every sender is gone; a closed channel means the caller panicked already.
                let _ = sender.send((i, result));
            });
        }
        drop(sender);
        let mut slots: Vec<Option<R>> = (0..n).map(|_| None).collect();
        let mut panicked = None;
        for (i, result) in results {
            match result {
                Ok(value) => slots[i] = Some(value),
                Err(panic) => panicked = Some(panic),
            }
        }
        if let Some(panic) = panicked {
            std::panic::resume_unwind(panic);
        }
        slots.into_iter().map(|s| s.expect("every item sends one result, and panics were passed on above")).collect()
    }
}

/// The ranges that split `n` rows over `parts` workers as evenly as may be; empty parts are left out.
pub fn split_evenly(n: usize, parts: usize) -> Vec<std::ops::Range<usize>> {
    let parts = parts.max(1);
    (0..parts).map(|i| n * i / parts..n * (i + 1) / parts).filter(|r| !r.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order() {
        let workers = Workers::new(3).unwrap();
        let squares = workers.map((0..20u64).collect(), |i, x| {
            assert_eq!(i as u64, x);
            assert_eq!(rayon::current_num_threads(), 1);
            x * x
        });
        assert_eq!(squares, (0..20u64).map(|x| x * x).collect::<Vec<_>>());
    }

    #[test]
    fn threads_are_shared_out_and_never_exceeded() {
        let sizes = |threads, shares| {
            let workers = Workers::sharing(threads, shares).unwrap();
            workers.pools.iter().map(|p| p.current_num_threads()).collect::<Vec<_>>()
        };
        assert_eq!(sizes(1, 4), [1]);
        assert_eq!(sizes(2, 4), [1, 1]);
        assert_eq!(sizes(7, 2), [3, 4]);
        let order = Workers::sharing(1, 4).unwrap().map(vec![1, 2, 3, 4], |i, x| (i, x));
        assert_eq!(order, [(0, 1), (1, 2), (2, 3), (3, 4)]);
    }

    #[test]
    fn without_workers_the_caller_does_the_work() {
        let here = std::thread::current().id();
        let workers = Workers::none();
        assert_eq!(workers.count(), 1);
        let done = workers.map(vec![5, 6, 7], move |i, x| (i + x, std::thread::current().id() == here));
        assert_eq!(done, [(5, true), (7, true), (9, true)]);
    }

    #[test]
    #[should_panic(expected = "item 3")]
    fn a_panic_is_passed_on() {
        Workers::new(2).unwrap().map(vec![1, 2, 3], |_, x| assert!(x != 3, "item {x}"));
    }

    #[test]
    fn splits_cover_every_row_once() {
        assert_eq!(split_evenly(7, 2), vec![0..3, 3..7]);
        assert_eq!(split_evenly(1, 4), vec![0..1]);
        assert!(split_evenly(0, 2).is_empty());
    }
}
