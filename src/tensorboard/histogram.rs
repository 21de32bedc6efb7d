//! A histogram with TensorFlow's buckets: they grow by 10 % from 1e-12 to 1e20 on either side of zero.
//!
//! Weights and gradients lie around zero over many orders of magnitude, with outliers; even bins would put all but the
//! outliers into one. And the limits are the same at every step, so histograms of a tag can be laid side by side.

use std::sync::LazyLock;

/// Upper ends of all buckets, growing; a bucket holds what is below its own limit and not below the one before.
static LIMITS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let positive: Vec<f64> =
        std::iter::successors(Some(1e-12), |v| Some(v * 1.1)).take_while(|v| *v < 1e20).chain([f64::MAX]).collect();
    positive.iter().rev().map(|v| -v).chain([0.0]).chain(positive.iter().copied()).collect()
});

/// TensorFlow's `HistogramProto`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Histogram {
    /// The least value.
    pub min: f64,
    /// The greatest value.
    pub max: f64,
    /// How many values.
    pub num: f64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub sum_squares: f64,
    /// The upper end of each bucket; the first begins at `min`, the last ends at `max`.
    pub limits: Vec<f64>,
    /// How many values each bucket holds; adds up to `num`.
    pub counts: Vec<f64>,
}

impl Histogram {
    /// Of the finite values; `None` where there are none.
    pub fn of(values: &[f32]) -> Option<Self> {
        let mut buckets = vec![0u64; LIMITS.len()];
        let (mut num, mut sum, mut sum_squares) = (0u64, 0.0, 0.0);
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        for v in values.iter().filter(|v| v.is_finite()).map(|v| f64::from(*v)) {
            // A finite f32 is always below the last limit.
            buckets[LIMITS.partition_point(|limit| *limit <= v)] += 1;
            num += 1;
            sum += v;
            sum_squares += v * v;
            (min, max) = (min.min(v), max.max(v));
        }
        let first = buckets.iter().position(|count| *count > 0)?;
        let last = buckets.iter().rposition(|count| *count > 0)?;
        let (mut limits, mut counts) = (Vec::new(), Vec::new());
        for at in first..=last {
            // A run of empty buckets becomes one that ends where the run does.
            if buckets[at] == 0 && buckets[at - 1] == 0 {
                *limits.last_mut()? = LIMITS[at];
            } else {
                limits.push(LIMITS[at]);
                counts.push(buckets[at] as f64);
            }
        }
        Some(Self { min, max, num: num as f64, sum, sum_squares, limits, counts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `values` lie in each bucket, by its definition.
    fn counted(values: &[f32], limits: &[f64]) -> Vec<f64> {
        let inside = |i: usize, v: f64| v < limits[i] && (i == 0 || v >= limits[i - 1]);
        (0..limits.len()).map(|i| values.iter().filter(|v| inside(i, f64::from(**v))).count() as f64).collect()
    }

    #[test]
    fn sums_and_buckets_of_values_over_many_orders() {
        let values = [0.0, -0.0, 1.0, 1.05, -3.5, 2e-9, -1e-20, 1e30, f32::MAX, f32::MIN, 1e-40, 7.0];
        let h = Histogram::of(&values).unwrap();
        assert_eq!((h.num, h.min, h.max), (12.0, f64::from(f32::MIN), f64::from(f32::MAX)));
        assert_eq!(h.sum, values.iter().map(|v| f64::from(*v)).sum::<f64>());
        assert_eq!(h.sum_squares, values.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>());
        assert_eq!(h.counts.iter().sum::<f64>(), h.num);
        assert_eq!(h.counts, counted(&values, &h.limits));
        assert!(h.limits.is_sorted_by(|a, b| a < b));
        assert!(h.counts.windows(2).all(|w| w != [0.0, 0.0]), "runs of empty buckets are one bucket: {:?}", h.counts);
        assert!(h.counts[0] > 0.0 && *h.counts.last().unwrap() > 0.0);
    }

    #[test]
    fn limits_grow_by_a_tenth_on_either_side_of_zero() {
        assert!(LIMITS.is_sorted_by(|a, b| a < b));
        let zero = LIMITS.iter().position(|v| *v == 0.0).unwrap();
        assert_eq!((LIMITS[zero + 1], LIMITS[zero - 1]), (1e-12, -1e-12));
        assert!((LIMITS[zero + 2] - 1.1e-12).abs() < 1e-24);
        assert_eq!((LIMITS[0], *LIMITS.last().unwrap()), (-f64::MAX, f64::MAX));
    }

    #[test]
    fn equal_values_are_one_bucket() {
        let h = Histogram::of(&[2.5; 9]).unwrap();
        assert_eq!((h.counts.as_slice(), h.min, h.max, h.sum), (&[9.0][..], 2.5, 2.5, 22.5));
        assert!(h.limits[0] > 2.5);
    }

    #[test]
    fn what_is_not_finite_is_left_out() {
        let h = Histogram::of(&[f32::NAN, 1.0, f32::INFINITY, 3.0, f32::NEG_INFINITY]).unwrap();
        assert_eq!((h.num, h.min, h.max, h.sum, h.sum_squares), (2.0, 1.0, 3.0, 4.0, 10.0));
        assert_eq!(Histogram::of(&[f32::NAN, f32::INFINITY]), None);
        assert_eq!(Histogram::of(&[]), None);
    }
}
