//! Interpolation from knots to the horizon as a product with a constant matrix, which runs and differentiates on every
//! backend.

use burn::tensor::{Tensor, TensorData, backend::Backend};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::config::word_enum;

/// How the few knots that a block gives are spread over the horizon (the paper's `g`, equation 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum InterpolationMode {
    /// Straight lines between knots, flat beyond the outer ones.
    #[default]
    #[serde(rename = "linear")]
    Linear,
    /// Each step takes one knot: a staircase.
    #[serde(rename = "nearest")]
    Nearest,
    /// Cubic convolution over four knots (`a = -0.75`), outer knots repeated.
    #[serde(rename = "cubic")]
    Cubic,
}

word_enum!(InterpolationMode, "model.interpolation_mode", {
    Linear => "linear",
    Nearest => "nearest",
    Cubic => "cubic",
});

/// The free parameter of cubic convolution, as in PyTorch.
const CUBIC_A: f64 = -0.75;

impl InterpolationMode {
    /// The matrix `[knots, horizon]`, row-major, whose product with knots `[B, knots]` is the interpolated `[B, horizon]`.
    ///
    /// As `F.interpolate(..., align_corners=False)`: step `i` lies at `x = (i + 0.5) * knots / horizon - 0.5`.
    /// Linear clamps `x` at 0 and the right neighbour at the last knot; nearest takes `floor(i * knots / horizon)` with
    /// the ratio in float32; cubic clamps the taps.
    pub(crate) fn matrix(self, knots: usize, horizon: usize) -> Vec<f32> {
        let mut matrix = vec![0.0f64; knots * horizon];
        let last = knots - 1;
        let ratio = knots as f64 / horizon as f64;
        for step in 0..horizon {
            let mut add = |knot: usize, weight: f64| matrix[knot * horizon + step] += weight;
            let at = (step as f64 + 0.5) * ratio - 0.5;
            match self {
                InterpolationMode::Linear => {
                    let at = at.max(0.0);
                    let left = (at.floor() as usize).min(last);
                    let part = at - left as f64;
                    add(left, 1.0 - part);
                    add((left + 1).min(last), part);
                }
                InterpolationMode::Nearest => {
                    // The reference multiplies in float32, which can fall on the other side of a whole number.
                    add(((step as f32 * ratio as f32).floor() as usize).min(last), 1.0);
                }
                InterpolationMode::Cubic => {
                    let left = at.floor();
                    let part = at - left;
                    let weights = [outer(part + 1.0), inner(part), inner(1.0 - part), outer(2.0 - part)];
                    for (tap, weight) in weights.into_iter().enumerate() {
                        let knot = (left as i64 + tap as i64 - 1).clamp(0, last as i64);
                        add(knot as usize, weight);
                    }
                }
            }
        }
        matrix.into_iter().map(|v| v as f32).collect()
    }

    /// The matrix on a device, or none where it is the identity: as many knots as steps.
    pub(crate) fn basis<B: Backend>(self, knots: usize, horizon: usize, device: &B::Device) -> Option<Tensor<B, 2>> {
        (knots != horizon)
            .then(|| Tensor::from_data(TensorData::new(self.matrix(knots, horizon), [knots, horizon]), device))
    }
}

/// Cubic convolution at a distance `x` in `[0, 1]`.
fn inner(x: f64) -> f64 {
    ((CUBIC_A + 2.0) * x - (CUBIC_A + 3.0)) * x * x + 1.0
}

/// Cubic convolution at a distance `x` in `[1, 2]`.
fn outer(x: f64) -> f64 {
    ((CUBIC_A * x - 5.0 * CUBIC_A) * x + 8.0 * CUBIC_A) * x - 4.0 * CUBIC_A
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_is_flat_at_the_ends_and_halfway_between() {
        // x = -0.25, 0.25, 0.75, 1.25 -> the first is clamped to 0, the last has no right neighbour.
        let m = InterpolationMode::Linear.matrix(2, 4);
        assert_eq!(m, [1.0, 0.75, 0.25, 0.0, 0.0, 0.25, 0.75, 1.0]);
    }

    #[test]
    fn nearest_is_a_staircase() {
        // floor(i * 0.4) = 0, 0, 0, 1, 1
        let m = InterpolationMode::Nearest.matrix(2, 5);
        assert_eq!(m, [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn nearest_rounds_as_the_reference_does() {
        // 23 * 14 / 46 is 7, but 23 times the float32 ratio is just below it.
        let m = InterpolationMode::Nearest.matrix(14, 46);
        assert_eq!((m[6 * 46 + 23], m[7 * 46 + 23]), (1.0, 0.0));
    }

    #[test]
    fn cubic_matches_hand_worked_weights() {
        // Step 1 of 3 -> 6 lies at 0.25: taps at distance 1.25, 0.25, 0.75, 1.75.
        let m = InterpolationMode::Cubic.matrix(3, 6);
        let taps: [f32; 4] = [-0.10546875, 0.87890625, 0.26171875, -0.03515625];
        let want = [taps[0] + taps[1], taps[2], taps[3]];
        for (knot, want) in want.into_iter().enumerate() {
            assert!((m[knot * 6 + 1] - want).abs() < 1e-7, "knot {knot}: {} and {want}", m[knot * 6 + 1]);
        }
    }

    #[test]
    fn a_constant_stays_constant_and_as_many_knots_as_steps_is_the_identity() {
        for mode in [InterpolationMode::Linear, InterpolationMode::Nearest, InterpolationMode::Cubic] {
            for (knots, horizon) in [(1, 7), (3, 13), (5, 12), (12, 17)] {
                let m = mode.matrix(knots, horizon);
                for step in 0..horizon {
                    let sum: f32 = (0..knots).map(|k| m[k * horizon + step]).sum();
                    assert!((sum - 1.0).abs() < 1e-6, "{mode} {knots} -> {horizon}: column {step} sums to {sum}");
                }
            }
            let m = mode.matrix(4, 4);
            assert!((0..16).all(|i| m[i] == if i % 5 == 0 { 1.0 } else { 0.0 }), "{mode}: {m:?}");
        }
    }
}
