//! Which windows a step sees: a function of the seed, the epoch and the step, and of nothing else.

use super::WindowError;
use crate::error::InvalidSetting;
use crate::random::{Purpose, Stream};

/// How windows are divided into steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// Every window once per epoch; the last batch is what remains.
    FullPass {
        /// Windows per step.
        batch_size: usize,
        /// Whether each epoch has an order of its own, or the order of the index.
        shuffled: bool,
    },
    /// Windows drawn at random for each step, none twice in a step while there are enough (`windows_batch_size`).
    Random {
        /// Windows per step. Where there are fewer windows, they are repeated as evenly as possible.
        windows_per_step: usize,
        /// Steps that are called an epoch.
        steps_per_epoch: usize,
    },
}

/// Says which windows belong to a step of an epoch.
///
/// Orders are computed, not stored: a pass over a billion windows needs no more memory than one over ten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sampler {
    sampling: Sampling,
    seed: u64,
    n_windows: usize,
}

impl Sampler {
    /// Samples from windows `0..n_windows`.
    ///
    /// # Errors
    /// [`WindowError::Setting`] if a batch or an epoch would be empty.
    pub fn new(sampling: Sampling, seed: u64, n_windows: usize) -> Result<Self, WindowError> {
        let positive = |field: &str, value: usize| {
            if value > 0 {
                return Ok(());
            }
            Err(WindowError::from(InvalidSetting::new(field, value, "a whole number > 0", format!("set {field}"))))
        };
        match sampling {
            Sampling::FullPass { batch_size, .. } => positive("batch_size", batch_size)?,
            Sampling::Random { windows_per_step, steps_per_epoch } => {
                positive("windows_batch_size", windows_per_step)?;
                positive("steps_per_epoch", steps_per_epoch)?;
            }
        }
        Ok(Self { sampling, seed, n_windows })
    }

    /// The same sampling of another number of windows.
    pub fn with_windows(&self, n_windows: usize) -> Self {
        Self { n_windows, ..self.clone() }
    }

    /// How windows are divided into steps.
    pub fn sampling(&self) -> Sampling {
        self.sampling
    }

    /// Number of windows there are to sample from.
    pub fn n_windows(&self) -> usize {
        self.n_windows
    }

    /// Steps of an epoch; 0 if there are no windows.
    pub fn steps_per_epoch(&self) -> usize {
        match self.sampling {
            Sampling::FullPass { batch_size, .. } => self.n_windows.div_ceil(batch_size),
            Sampling::Random { .. } if self.n_windows == 0 => 0,
            Sampling::Random { steps_per_epoch, .. } => steps_per_epoch,
        }
    }

    /// Windows of step `step` of an epoch.
    pub fn batch_len(&self, step: usize) -> usize {
        if step >= self.steps_per_epoch() {
            return 0;
        }
        match self.sampling {
            Sampling::FullPass { batch_size, .. } => batch_size.min(self.n_windows - step * batch_size),
            Sampling::Random { windows_per_step, .. } => windows_per_step,
        }
    }

    /// Windows of all steps of an epoch together.
    pub fn windows_per_epoch(&self) -> usize {
        match self.sampling {
            Sampling::FullPass { .. } => self.n_windows,
            Sampling::Random { windows_per_step, .. } => self.steps_per_epoch().saturating_mul(windows_per_step),
        }
    }

    /// The numbers of the windows of step `step` (from 0) of epoch `epoch` (from 0); none beyond the last step.
    pub fn indices(&self, epoch: u64, step: usize) -> Vec<usize> {
        let (n, count) = (self.n_windows, self.batch_len(step));
        match self.sampling {
            Sampling::FullPass { batch_size, shuffled } => {
                let numbers = step * batch_size..step * batch_size + count;
                if !shuffled {
                    return numbers.collect();
                }
                let order = Permutation::new(n, Stream::new(self.seed, Purpose::Shuffle, &[epoch]));
                numbers.map(|i| order.at(i)).collect()
            }
            Sampling::Random { steps_per_epoch, .. } => {
                let global = epoch.wrapping_mul(steps_per_epoch as u64).wrapping_add(step as u64);
                let round =
                    |r: usize| Permutation::new(n, Stream::new(self.seed, Purpose::Windows, &[global, r as u64]));
                (0..count.div_ceil(n.max(1)))
                    .flat_map(|r| {
                        let order = round(r);
                        (0..n.min(count - r * n)).map(move |i| order.at(i))
                    })
                    .collect()
            }
        }
    }
}

/// A random order of `0..n` of which any element can be computed alone.
///
/// A Feistel network on pairs `(a, b)` with `a < rows`, `b < columns`, `rows * columns >= n` (generalised Feistel cipher of
/// Black and Rogaway, 2002): each round adds a hash of one half to the other, which can be undone, so it is a bijection.
/// Numbers that fall beyond `n` are sent through again until they fall inside (cycle walking); there are fewer than
/// `columns` of them, about the root of `n`, so this is rare.
#[derive(Debug, Clone)]
struct Permutation {
    n: usize,
    rows: u64,
    columns: u64,
    stream: Stream,
}

impl Permutation {
    const ROUNDS: u64 = 8;

    fn new(n: usize, stream: Stream) -> Self {
        let columns = (n as f64).sqrt().ceil().max(1.0) as u64;
        Self { n, rows: (n as u64).div_ceil(columns).max(1), columns, stream }
    }

    /// Where `i < n` goes.
    fn at(&self, i: usize) -> usize {
        let mut x = i as u64;
        loop {
            x = self.encrypt(x);
            // The bijection maps the walk back to `i < n` in the end, so this ends.
            if x < self.n as u64 {
                return x as usize;
            }
        }
    }

    fn encrypt(&self, x: u64) -> u64 {
        let (mut a, mut b) = (x / self.columns, x % self.columns);
        for round in 0..Self::ROUNDS {
            // Halves are below 2^33, so round and half never collide in one counter.
            let hash = |half: u64| self.stream.at(round << 40 | half);
            if round % 2 == 0 {
                a = (a + below(hash(b), self.rows)) % self.rows;
            } else {
                b = (b + below(hash(a), self.columns)) % self.columns;
            }
        }
        a * self.columns + b
    }
}

/// A hash made a number below `n`, by multiply and shift.
fn below(hash: u64, n: u64) -> u64 {
    ((u128::from(hash) * u128::from(n)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full(n: usize, batch_size: usize, shuffled: bool) -> Sampler {
        Sampler::new(Sampling::FullPass { batch_size, shuffled }, 7, n).unwrap()
    }

    fn random(n: usize, windows_per_step: usize) -> Sampler {
        Sampler::new(Sampling::Random { windows_per_step, steps_per_epoch: 10 }, 7, n).unwrap()
    }

    fn epoch(sampler: &Sampler, epoch: u64) -> Vec<usize> {
        (0..sampler.steps_per_epoch()).flat_map(|step| sampler.indices(epoch, step)).collect()
    }

    #[test]
    fn a_pass_in_order_ends_with_what_remains() {
        let sampler = full(5, 2, false);
        assert_eq!(sampler.steps_per_epoch(), 3);
        assert_eq!(sampler.indices(0, 1), [2, 3]);
        assert_eq!(sampler.indices(0, 2), [4]);
        assert!(sampler.indices(0, 3).is_empty());
        assert_eq!(full(0, 2, true).steps_per_epoch(), 0);
        assert_eq!(random(0, 4).steps_per_epoch(), 0);
    }

    #[test]
    fn a_shuffled_pass_sees_every_window_once_in_an_order_of_its_own() {
        let sampler = full(1000, 64, true);
        let (first, second) = (epoch(&sampler, 0), epoch(&sampler, 1));
        assert_ne!(first, second);
        assert_eq!(first, epoch(&sampler, 0));
        assert_ne!(first, epoch(&Sampler { seed: 8, ..sampler.clone() }, 0));
        for mut order in [first, second] {
            assert!(order.windows(2).filter(|w| w[1] == w[0] + 1).count() < 10, "nearly in order");
            order.sort_unstable();
            assert_eq!(order, (0..1000).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_window_comes_first_equally_often() {
        for n in [2, 3, 5, 7, 12] {
            let (sampler, epochs) = (full(n, 1, true), 6000);
            let mut counts = vec![0usize; n * n];
            for e in 0..epochs {
                for place in 0..n {
                    counts[place * n + sampler.indices(e, place)[0]] += 1;
                }
            }
            let expected = epochs as f64 / n as f64;
            for c in counts {
                assert!((c as f64 - expected).abs() < 5.0 * expected.sqrt() + 1.0, "n {n}: {c} of {expected}");
            }
        }
    }

    #[test]
    fn random_steps_repeat_no_window_while_there_are_enough() {
        let sampler = random(100, 40);
        let (mut a, b) = (sampler.indices(0, 3), sampler.indices(0, 4));
        assert_ne!(a, b);
        assert_eq!(a, sampler.indices(0, 3));
        // Steps are counted through, so step 13 is step 3 of the second epoch.
        assert_eq!(
            sampler.indices(1, 3),
            Sampler::new(Sampling::Random { windows_per_step: 40, steps_per_epoch: 13 }, 7, 100).unwrap().indices(1, 0)
        );
        a.sort_unstable();
        a.dedup();
        assert_eq!(a.len(), 40);
    }

    #[test]
    fn too_few_windows_are_repeated_evenly() {
        let mut counts = [0; 3];
        for i in random(3, 8).indices(0, 0) {
            counts[i] += 1;
        }
        assert!(counts.iter().all(|c| (2..=3).contains(c)), "{counts:?}");
    }

    #[test]
    fn an_order_of_many_windows_costs_nothing_to_make() {
        let sampler = full(usize::MAX / 4, 4, true);
        let some = sampler.indices(3, 1 << 40);
        assert_eq!(some.len(), 4);
        assert!(some.iter().all(|i| *i < usize::MAX / 4));
    }

    #[test]
    fn empty_batches_are_refused() {
        let error = Sampler::new(Sampling::FullPass { batch_size: 0, shuffled: true }, 0, 5).unwrap_err();
        assert!(error.to_string().starts_with("batch_size = 0"), "{error}");
        let sampling = Sampling::Random { windows_per_step: 5, steps_per_epoch: 0 };
        assert!(Sampler::new(sampling, 0, 5).is_err());
    }

    proptest! {
        #[test]
        fn any_order_is_a_permutation(n in 1usize..3000, seed: u64) {
            let order = Permutation::new(n, Stream::new(seed, Purpose::Shuffle, &[0]));
            let mut seen = vec![false; n];
            for i in 0..n {
                let to = order.at(i);
                prop_assert!(!std::mem::replace(&mut seen[to], true));
            }
        }
    }
}
