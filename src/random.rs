//! The one source of randomness: a counter-based generator on the host, keyed by seed, purpose and counters.
//!
//! A draw depends on nothing but its key, so weights, windows and dropout masks are the same on every backend, for any
//! number of threads, and a resumed run draws what the uninterrupted one would have drawn.

/// What numbers are drawn for; different purposes never share a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// Initial weights; counters: tensor number.
    Weights = 1,
    /// Which windows a step sees; counters: step.
    Windows = 2,
    /// Dropout masks; counters: step, layer.
    Dropout = 3,
    /// The order of a full pass; counters: epoch.
    Shuffle = 4,
    /// Synthetic series; counters: series.
    Synthetic = 5,
}

/// A stream of random numbers: number `i` is a hash of the key and `i` (SplitMix64 over a mixed key).
#[derive(Debug, Clone)]
pub struct Stream {
    key: u64,
    next: u64,
}

/// The finalizer of SplitMix64: a bijection of `u64` with good avalanche.
#[inline]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

impl Stream {
    /// The stream of `purpose` under `seed`, told apart from others of that purpose by `counters`.
    pub fn new(seed: u64, purpose: Purpose, counters: &[u64]) -> Self {
        let mut key = mix(seed.wrapping_add(GOLDEN));
        key = mix(key ^ (purpose as u64).wrapping_mul(GOLDEN));
        for c in counters {
            key = mix(key.wrapping_add(GOLDEN) ^ c.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        }
        Self { key, next: 0 }
    }

    /// Number `i` of the stream, whatever was drawn before.
    #[inline]
    pub fn at(&self, i: u64) -> u64 {
        mix(self.key.wrapping_add(i.wrapping_add(1).wrapping_mul(GOLDEN)))
    }

    /// The next number.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let v = self.at(self.next);
        self.next += 1;
        v
    }

    /// Uniform in `[0, 1)` with 53 bits.
    #[inline]
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in `0..n`, without bias that matters (multiply-shift on 64 bits). `n` must be positive; 0 gives 0.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// Standard normal (Box-Muller, one of the pair).
    pub fn normal(&mut self) -> f64 {
        let u = 1.0 - self.uniform();
        let v = self.uniform();
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Puts a slice into random order (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_depend_on_every_part_of_the_key() {
        let first = |seed, purpose, counters: &[u64]| Stream::new(seed, purpose, counters).next_u64();
        let base = first(1, Purpose::Windows, &[3, 4]);
        assert_eq!(base, first(1, Purpose::Windows, &[3, 4]));
        for other in [
            first(2, Purpose::Windows, &[3, 4]),
            first(1, Purpose::Dropout, &[3, 4]),
            first(1, Purpose::Windows, &[4, 3]),
            first(1, Purpose::Windows, &[3]),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn moments_of_uniform_and_normal() {
        let mut s = Stream::new(7, Purpose::Synthetic, &[0]);
        let n = 200_000;
        let (mut u, mut z, mut zz) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            u += s.uniform();
            let x = s.normal();
            z += x;
            zz += x * x;
        }
        let n = f64::from(n);
        assert!((u / n - 0.5).abs() < 0.005, "uniform mean {}", u / n);
        assert!((z / n).abs() < 0.01, "normal mean {}", z / n);
        assert!((zz / n - 1.0).abs() < 0.02, "normal variance {}", zz / n);
    }

    #[test]
    fn below_is_even_and_shuffle_is_a_permutation() {
        let mut s = Stream::new(7, Purpose::Shuffle, &[0]);
        let mut counts = [0usize; 7];
        for _ in 0..70_000 {
            counts[s.below(7) as usize] += 1;
        }
        assert!(counts.iter().all(|c| (9_500..10_500).contains(c)), "{counts:?}");
        let mut items: Vec<u32> = (0..1000).collect();
        s.shuffle(&mut items);
        assert_ne!(items, (0..1000).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..1000).collect::<Vec<_>>());
    }
}
