//! What a window is and which windows a range of rows has.

use serde::{Deserialize, Serialize};

use super::WindowError;
use crate::error::InvalidSetting;

/// The size of a window in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowShape {
    /// Input steps `L` before the origin.
    pub input_size: usize,
    /// Target steps `H` from the origin on.
    pub horizon: usize,
}

impl WindowShape {
    /// The largest `input_size` and `horizon`; far beyond any use, and sums of them cannot overflow.
    pub const MAX: usize = 1 << 30;

    /// Checks that both sizes are in `1..=MAX`.
    ///
    /// # Errors
    /// [`WindowError::Setting`] names the one that is not.
    pub fn check(&self) -> Result<(), WindowError> {
        for (field, value) in [("input_size", self.input_size), ("horizon", self.horizon)] {
            if value == 0 || value > Self::MAX {
                let allowed = format!("a whole number from 1 to {}", Self::MAX);
                return Err(InvalidSetting::new(field, value, allowed, format!("set {field} in rows")).into());
            }
        }
        Ok(())
    }
}

/// One window: a series and an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Number of the series in the panel.
    pub series: u32,
    /// Row, relative to the series, of the first horizon step: inputs are `origin - L..origin`, targets `origin..origin + H`.
    pub origin: u32,
}

/// Where the first window of a series lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Its origin is the first row of the range, so that every row is a target of some window. As much of the input as
    /// lies before the series is padding. For validation and test.
    RangeStart,
    /// Its input is whole. A series that is too short for that is padded on the left first.
    WholeInput {
        /// The length (rows up to the end of the range) that every series is padded to. neuralforecast pads to the
        /// longest series, and counts strides from the padded start; `None` is `L + H`, just enough for a short series
        /// to have `H` windows.
        align: Option<usize>,
    },
    /// Its input has one row, all before it is padding (neuralforecast's `start_padding_enabled`).
    OneInput {
        /// As in [`Start::WholeInput`].
        align: Option<usize>,
    },
}

/// Which windows a range of rows has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowRules {
    /// The size of a window.
    pub shape: WindowShape,
    /// Rows between the origins of two windows of a series.
    pub stride: usize,
    /// The fraction of the `L` input values that must be observed, rounded down, but at least one value.
    pub min_input: f64,
    /// The fraction of the `H` target values that must be observed, rounded down, but at least one value.
    pub min_target: f64,
    /// Whether all `H` target rows must lie in the range. Where not, those beyond it are masked.
    pub whole_targets: bool,
    /// Where the first window of a series lies.
    pub start: Start,
}

impl WindowRules {
    /// The reference's rules of training: every window with at least one observed input and target.
    pub fn train(shape: WindowShape) -> Self {
        Self {
            shape,
            stride: 1,
            min_input: 0.0,
            min_target: 0.0,
            whole_targets: false,
            start: Start::WholeInput { align: None },
        }
    }

    /// The rules of validation and test: `n - H + 1` windows per range of `n` rows, whose inputs reach back before it.
    pub fn evaluate(shape: WindowShape) -> Self {
        Self { whole_targets: true, start: Start::RangeStart, ..Self::train(shape) }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`WindowError::Setting`] names the first that is not allowed.
    pub fn check(&self) -> Result<(), WindowError> {
        self.shape.check()?;
        if self.stride == 0 || self.stride > WindowShape::MAX {
            let allowed = format!("a whole number from 1 to {}", WindowShape::MAX);
            return Err(InvalidSetting::new("stride", self.stride, allowed, "1 takes every window").into());
        }
        for (field, value) in [("min_input", self.min_input), ("min_target", self.min_target)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(InvalidSetting::new(field, value, "a fraction from 0 to 1", "0 asks for one value").into());
            }
        }
        Ok(())
    }

    /// Observed inputs that a window needs.
    pub fn needed_inputs(&self) -> usize {
        needed(self.shape.input_size, self.min_input)
    }

    /// Observed targets that a window needs.
    pub fn needed_targets(&self) -> usize {
        needed(self.shape.horizon, self.min_target)
    }

    /// Smallest and largest origin in a series' rows `start..end`, whatever is observed there; `None` where none fits.
    pub(super) fn origins(&self, start: usize, end: usize) -> Option<(usize, usize)> {
        let (input, horizon) = (self.shape.input_size, self.shape.horizon);
        let last = end.checked_sub(if self.whole_targets { horizon } else { 1 })?;
        let lowest = start.max(1);
        let padding = |align: Option<usize>| align.unwrap_or(input + horizon).saturating_sub(end);
        let (anchor, pad) = match self.start {
            Start::RangeStart => (lowest, 0),
            Start::WholeInput { align } => (input, padding(align)),
            Start::OneInput { align } => (1, padding(align)),
        };
        // In the padded series windows start at `anchor` and follow each other by strides; padding moves them left.
        let behind = (lowest + pad).saturating_sub(anchor);
        let first = anchor + behind.div_ceil(self.stride) * self.stride - pad;
        (first <= last).then(|| (first, first + (last - first) / self.stride * self.stride))
    }
}

fn needed(length: usize, fraction: f64) -> usize {
    ((length as f64 * fraction) as usize).clamp(1, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: WindowShape = WindowShape { input_size: 4, horizon: 2 };

    fn rules(start: Start, stride: usize, whole_targets: bool) -> WindowRules {
        WindowRules { start, stride, whole_targets, ..WindowRules::train(SHAPE) }
    }

    #[test]
    fn evaluation_has_n_minus_h_plus_one_windows() {
        let evaluate = WindowRules::evaluate(SHAPE);
        assert_eq!(evaluate.origins(10, 15), Some((10, 13)));
        assert_eq!(evaluate.origins(10, 12), Some((10, 10)));
        assert_eq!(evaluate.origins(10, 11), None);
        // Row 0 has no history at all, so the first row that can be a target is row 1.
        assert_eq!(evaluate.origins(0, 5), Some((1, 3)));
    }

    #[test]
    fn training_starts_with_a_whole_input_and_ends_with_one_target() {
        let train = WindowRules::train(SHAPE);
        assert_eq!(train.origins(0, 10), Some((4, 9)));
        assert_eq!(rules(Start::WholeInput { align: None }, 1, true).origins(0, 10), Some((4, 8)));
        // Rows before the range are inputs, not targets.
        assert_eq!(train.origins(7, 10), Some((7, 9)));
    }

    #[test]
    fn short_series_are_padded_on_the_left() {
        let train = WindowRules::train(SHAPE);
        // Padded to 6 rows: origin 4 of the padded series is row 3 of 5, row 2 of 4, ..., but never before row 1.
        assert_eq!(train.origins(0, 5), Some((3, 4)));
        assert_eq!(train.origins(0, 4), Some((2, 3)));
        assert_eq!(train.origins(0, 2), Some((1, 1)));
        assert_eq!(train.origins(0, 1), None);
        assert_eq!(rules(Start::WholeInput { align: Some(9) }, 1, false).origins(0, 7), Some((2, 6)));
    }

    #[test]
    fn strides_count_from_the_padded_start() {
        // Aligned at 9 rows, the series of 6 begins at 3: padded origins 4 6 8 are its rows 1 3 5.
        assert_eq!(rules(Start::WholeInput { align: Some(9) }, 2, false).origins(0, 6), Some((1, 5)));
        // The series of 7 begins at 2: padded origins 4 6 8 are its rows 2 4 6.
        assert_eq!(rules(Start::WholeInput { align: Some(9) }, 2, false).origins(0, 7), Some((2, 6)));
        // A later start keeps the phase.
        assert_eq!(rules(Start::WholeInput { align: Some(9) }, 3, false).origins(4, 9), Some((4, 7)));
        assert_eq!(rules(Start::WholeInput { align: Some(9) }, 3, false).origins(5, 9), Some((7, 7)));
    }

    #[test]
    fn start_padding_begins_after_one_row() {
        assert_eq!(rules(Start::OneInput { align: None }, 1, false).origins(0, 10), Some((1, 9)));
        assert_eq!(rules(Start::OneInput { align: None }, 4, false).origins(0, 10), Some((1, 9)));
        assert_eq!(rules(Start::OneInput { align: Some(12) }, 4, false).origins(0, 10), Some((3, 7)));
    }

    #[test]
    fn needed_values_are_rounded_down_but_at_least_one() {
        let mut r = WindowRules::train(WindowShape { input_size: 8, horizon: 4 });
        assert_eq!((r.needed_inputs(), r.needed_targets()), (1, 1));
        (r.min_input, r.min_target) = (0.8, 0.5);
        assert_eq!((r.needed_inputs(), r.needed_targets()), (6, 2));
    }

    #[test]
    fn settings_outside_their_range_are_named() {
        let message = |r: WindowRules| r.check().unwrap_err().to_string();
        let good = WindowRules::train(SHAPE);
        assert_eq!(good.check(), Ok(()));
        assert!(message(WindowRules { stride: 0, ..good }).starts_with("stride = 0"));
        assert!(message(WindowRules { min_input: f64::NAN, ..good }).starts_with("min_input = NaN"));
        assert!(message(WindowRules { min_target: 1.5, ..good }).starts_with("min_target = 1.5"));
        let shape = WindowShape { input_size: 4, horizon: usize::MAX };
        assert!(message(WindowRules { shape, ..good }).starts_with("horizon"));
    }
}
