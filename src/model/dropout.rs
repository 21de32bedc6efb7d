//! Dropout masks made on the host from the counter-based generator, so that they are the same on every backend and for
//! every way of splitting a batch.

use burn::tensor::{Tensor, TensorData, backend::Backend};
use rayon::prelude::*;

use crate::random::{Purpose, Stream};

/// Which masks a training step draws: bit for bit determined by seed, step, layer, row of the whole batch, and unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropoutKey {
    /// The seed of the run.
    pub seed: u64,
    /// The training step.
    pub step: u64,
    /// Where the rows of this call begin in the whole batch of the step; 0 unless the batch was split.
    pub first_row: u64,
}

/// Random bits per unit: four units share one number of the stream.
const BITS: u32 = 16;
const UNITS_PER_DRAW: usize = (u64::BITS / BITS) as usize;
/// Below this many units a mask is made on the calling thread.
const PARALLEL_FROM: usize = 1 << 15;

/// The probability `p` in steps of 2^-16, at least one step and at most all but one.
fn threshold(p: f64) -> u32 {
    let steps = f64::from(1u32 << BITS);
    (p * steps).round().clamp(1.0, steps - 1.0) as u32
}

/// What units that stay are multiplied by where each is dropped with probability `p`.
pub(crate) fn scale_of_kept(p: f64) -> f32 {
    kept(threshold(p))
}

fn kept(threshold: u32) -> f32 {
    let steps = 1u32 << BITS;
    (f64::from(steps) / f64::from(steps - threshold)) as f32
}

/// The masks of one layer in one step: which units of which row of the whole batch are dropped.
#[derive(Debug, Clone)]
pub(crate) struct Mask {
    stream: Stream,
    first_row: u64,
    threshold: u32,
    draws_per_row: u64,
}

impl Mask {
    /// The masks of `layer`, which has `units` units, each dropped with probability `p`.
    pub(crate) fn new(key: &DropoutKey, layer: u64, p: f64, units: usize) -> Self {
        Self {
            stream: Stream::new(key.seed, Purpose::Dropout, &[key.step, layer]),
            first_row: key.first_row,
            threshold: threshold(p),
            draws_per_row: units.div_ceil(UNITS_PER_DRAW) as u64,
        }
    }

    /// What a unit that stays is multiplied by, which keeps the mean.
    pub(crate) fn kept(&self) -> f32 {
        kept(self.threshold)
    }

    /// Writes `dropped` or `kept` for each unit of row `row` of this call.
    pub(crate) fn row<T: Copy>(&self, row: usize, line: &mut [T], dropped: T, kept: T) {
        let first_draw = (self.first_row + row as u64) * self.draws_per_row;
        for (draw, lanes) in line.chunks_mut(UNITS_PER_DRAW).enumerate() {
            let bits = self.stream.at(first_draw + draw as u64);
            for (lane, value) in lanes.iter_mut().enumerate() {
                let drawn = (bits >> (lane as u32 * BITS)) as u32 & ((1 << BITS) - 1);
                *value = if drawn < self.threshold { dropped } else { kept };
            }
        }
    }
}

/// The mask of `layer` for `rows` rows of `units` units, row-major: 0 with probability `p`, else what keeps the mean 1.
fn values(key: &DropoutKey, layer: u64, p: f64, rows: usize, units: usize) -> Vec<f32> {
    let drawn = Mask::new(key, layer, p, units);
    let kept = drawn.kept();
    let mut mask = vec![0.0f32; rows * units];
    let fill = |(row, line): (usize, &mut [f32])| drawn.row(row, line, 0.0, kept);
    if mask.len() < PARALLEL_FROM {
        mask.chunks_mut(units.max(1)).enumerate().for_each(fill);
    } else {
        mask.par_chunks_mut(units.max(1)).enumerate().for_each(fill);
    }
    mask
}

/// `x` `[B, units]` with each unit set to 0 with probability `p` and scaled to keep its mean.
pub(crate) fn apply<B: Backend>(x: Tensor<B, 2>, key: &DropoutKey, layer: u64, p: f64) -> Tensor<B, 2> {
    let [rows, units] = x.dims();
    let mask = TensorData::new(values(key, layer, p, rows, units), [rows, units]);
    let mask = Tensor::<B, 2>::from_data(mask, &x.device()).cast(x.dtype());
    x * mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(step: u64, first_row: u64) -> DropoutKey {
        DropoutKey { seed: 7, step, first_row }
    }

    #[test]
    fn a_mask_does_not_depend_on_how_the_batch_is_split() {
        let whole = values(&key(3, 0), 1, 0.3, 300, 130);
        let first = values(&key(3, 0), 1, 0.3, 100, 130);
        let second = values(&key(3, 100), 1, 0.3, 200, 130);
        assert!(whole.len() >= PARALLEL_FROM && first.len() < PARALLEL_FROM, "both ways of filling are compared");
        assert_eq!(whole, [first, second].concat());
    }

    #[test]
    fn a_mask_has_mean_one_and_drops_its_share() {
        for p in [0.01, 0.1, 0.5, 0.9] {
            let mask = values(&key(0, 0), 2, p, 1000, 513);
            let n = mask.len() as f64;
            let mean = mask.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
            let dropped = mask.iter().filter(|v| **v == 0.0).count() as f64 / n;
            assert!((mean - 1.0).abs() < 0.01 / (1.0 - p), "p {p}: mean {mean}");
            assert!((dropped - p).abs() < 0.005, "p {p}: dropped {dropped}");
        }
    }

    #[test]
    fn steps_layers_and_rows_differ() {
        let base = values(&key(3, 0), 1, 0.5, 1, 256);
        assert_ne!(base, values(&key(4, 0), 1, 0.5, 1, 256));
        assert_ne!(base, values(&key(3, 0), 2, 0.5, 1, 256));
        assert_ne!(base, values(&key(3, 1), 1, 0.5, 1, 256));
    }
}
