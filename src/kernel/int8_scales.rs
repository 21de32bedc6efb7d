//! From floats to 8-bit integers and back: scales, zero points, rounding. Everything is rounded half to even, as burn
//! rounds tensors, so that host and device agree.

use crate::error::InvalidSetting;

/// How weights are laid on integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Int8Scheme {
    /// Zero is the middle of the range; else there is a zero point, so that a lopsided range uses all integers.
    pub symmetric: bool,
    /// One scale for each output, else one for the whole matrix.
    pub per_channel: bool,
}

/// The largest integer of a symmetric range.
pub(crate) const SYMMETRIC: f32 = 127.0;
/// Steps of the whole range.
pub(crate) const STEPS: f32 = 255.0;
/// The smallest scale: its inverse is still a number.
pub(crate) const LEAST_SCALE: f32 = 1e-30;

/// The range of a layer's input on the integers 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Int8Input {
    /// The step between two integers, > 0.
    pub scale: f32,
    /// The integer that stands for 0.
    pub zero: u8,
}

impl Int8Input {
    /// The range from `low` to `high`, widened so that it holds 0, which must be exact: padded values are 0.
    pub fn covering(low: f32, high: f32) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        // Halves first: the difference of two large numbers may be no number.
        let scale = (high / STEPS - low / STEPS).max(LEAST_SCALE);
        Self { scale, zero: (-low / scale).round_ties_even().clamp(0.0, STEPS) as u8 }
    }

    /// The integer of a value.
    #[inline]
    pub fn integer(self, value: f32) -> u8 {
        // A sum of whole numbers below 2^24 is exact; what is outside of the range goes to its end.
        ((value / self.scale).round_ties_even() + f32::from(self.zero)).clamp(0.0, STEPS) as u8
    }

    /// The integers of a row of values, put behind those of `out`.
    pub(crate) fn integers(self, row: &[f32], out: &mut Vec<u8>) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, which was asked just now.
            return unsafe { integers_avx2(self, row, out) };
        }
        integers(self, row, out);
    }

    /// The value that an integer stands for.
    #[inline]
    pub fn value(self, integer: u8) -> f32 {
        (f32::from(integer) - f32::from(self.zero)) * self.scale
    }
}

/// The least and the largest value of a row, 0 among them; none if a value is not finite.
pub(crate) fn range_of(row: &[f32]) -> Option<(f32, f32)> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which was asked just now.
        return unsafe { range_avx2(row) };
    }
    range(row)
}

/// [`range_of`], compiled for AVX2.
///
/// # Safety
/// The processor must have AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn range_avx2(row: &[f32]) -> Option<(f32, f32)> {
    range(row)
}

/// [`Int8Input::integers`], compiled for AVX2.
///
/// # Safety
/// The processor must have AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn integers_avx2(input: Int8Input, row: &[f32], out: &mut Vec<u8>) {
    integers(input, row, out);
}

/// See [`Int8Input::integers`]; the same arithmetic for any processor.
#[inline(always)]
fn integers(input: Int8Input, row: &[f32], out: &mut Vec<u8>) {
    // Added to 1.5 * 2^23, a small number is rounded to a whole one, half to even, and stands in the lowest bits: the
    // same as `Int8Input::integer`, without a call for each value where the processor has no instruction for rounding.
    const MAGIC: f32 = 12_582_912.0;
    let (least, zero) = (-f32::from(input.zero), u32::from(input.zero));
    let (most, shift) = (STEPS + least, zero.wrapping_sub(MAGIC.to_bits()));
    let first = out.len();
    out.resize(first + row.len(), 0);
    for (to, v) in out[first..].iter_mut().zip(row) {
        *to = ((v / input.scale).clamp(least, most) + MAGIC).to_bits().wrapping_add(shift) as u8;
    }
}

/// See [`range_of`]; the same arithmetic for any processor.
#[inline(always)]
fn range(row: &[f32]) -> Option<(f32, f32)> {
    const LANES: usize = 8;
    // Eight of each at a time: comparisons one after the other would wait for each other.
    let (mut low, mut high, mut spoilt) = ([0.0f32; LANES], [0.0f32; LANES], [0.0f32; LANES]);
    let mut lanes = |part: &[f32]| {
        for (i, v) in part.iter().enumerate().take(LANES) {
            low[i] = if *v < low[i] { *v } else { low[i] };
            high[i] = if *v > high[i] { *v } else { high[i] };
            // 0 for every number, NaN for what is none.
            spoilt[i] += v * 0.0;
        }
    };
    let mut parts = row.chunks_exact(LANES);
    parts.by_ref().for_each(&mut lanes);
    lanes(parts.remainder());
    let whole = spoilt.iter().sum::<f32>() == 0.0;
    whole.then(|| (low.into_iter().fold(0.0, f32::min), high.into_iter().fold(0.0, f32::max)))
}

/// A layer's weights as integers.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Matrix {
    /// Outputs of the layer.
    pub outputs: usize,
    /// Inputs of the layer.
    pub inputs: usize,
    /// The integers, `[outputs, inputs]` row-major.
    pub values: Vec<i8>,
    /// The scale of each output, or one for all.
    pub scales: Vec<f32>,
    /// The integers that stand for 0, one for each scale; none where they are all 0.
    pub zeros: Option<Vec<i8>>,
}

impl Int8Matrix {
    /// Lays weights `[outputs, inputs]`, row-major, on integers: the nearest ones.
    ///
    /// # Panics
    /// When there are not `outputs * inputs` of them.
    pub fn from_floats(weights: &[f32], outputs: usize, inputs: usize, scheme: Int8Scheme) -> Self {
        assert_eq!(weights.len(), outputs * inputs, "[{outputs}, {inputs}] weights");
        let rows_per_scale = if scheme.per_channel { 1 } else { outputs };
        let mut matrix =
            Self { outputs, inputs, values: Vec::with_capacity(weights.len()), scales: vec![], zeros: None };
        let mut zeros = vec![];
        for part in weights.chunks(rows_per_scale * inputs) {
            let (low, high) = part.iter().fold((0.0f32, 0.0f32), |(l, h), w| (l.min(*w), h.max(*w)));
            let (scale, zero) = if scheme.symmetric {
                ((high.max(-low) / SYMMETRIC).max(LEAST_SCALE), 0.0)
            } else {
                let scale = (high / STEPS - low / STEPS).max(LEAST_SCALE);
                (scale, (-128.0 - low / scale).round_ties_even().clamp(-128.0, 127.0))
            };
            let least = if scheme.symmetric { -SYMMETRIC } else { -128.0 };
            let integer = |w: &f32| ((w / scale).round_ties_even() + zero).clamp(least, SYMMETRIC) as i8;
            matrix.values.extend(part.iter().map(integer));
            matrix.scales.push(scale);
            zeros.push(zero as i8);
        }
        matrix.zeros = (!scheme.symmetric).then_some(zeros);
        matrix
    }

    /// Scale and zero point of output `o`.
    pub fn scale_of(&self, o: usize) -> (f32, i8) {
        let at = if self.scales.len() == 1 { 0 } else { o };
        (self.scales[at], self.zeros.as_ref().map_or(0, |z| z[at]))
    }

    /// The weights that the integers stand for, `[outputs, inputs]` row-major.
    pub fn to_floats(&self) -> Vec<f32> {
        let rows = self.values.chunks(self.inputs.max(1)).enumerate();
        rows.flat_map(|(o, row)| {
            let (scale, zero) = self.scale_of(o);
            row.iter().map(move |v| (f32::from(*v) - f32::from(zero)) * scale)
        })
        .collect()
    }

    /// Checks what came from a file: sizes, and scales that are numbers > 0. The field of the error is `scale`,
    /// `zero_point` or `weight`.
    ///
    /// # Errors
    /// The first thing that cannot be.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        let remedy = "quantize the float model again";
        if self.values.len() != self.outputs * self.inputs {
            let allowed = format!("{} integers", self.outputs * self.inputs);
            return Err(InvalidSetting::new("weight", self.values.len(), allowed, remedy));
        }
        if self.scales.len() != 1 && self.scales.len() != self.outputs {
            let allowed = format!("1 scale or {}, one for each output", self.outputs);
            return Err(InvalidSetting::new("scale", format!("a list of {}", self.scales.len()), allowed, remedy));
        }
        // A scale beyond this makes weights that overflow.
        let usable = |s: &f32| s.is_finite() && *s > 0.0 && *s <= f32::MAX / (2.0 * STEPS);
        if let Some(at) = self.scales.iter().position(|s| !usable(s)) {
            let value = format!("{} at position {at}", self.scales[at]);
            return Err(InvalidSetting::new("scale", value, "finite numbers > 0", remedy));
        }
        match &self.zeros {
            Some(zeros) if zeros.len() != self.scales.len() => {
                let value = format!("a list of {}", zeros.len());
                Err(InvalidSetting::new("zero_point", value, format!("{}, one per scale", self.scales.len()), remedy))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SCHEMES: [Int8Scheme; 4] = [
        Int8Scheme { symmetric: true, per_channel: true },
        Int8Scheme { symmetric: true, per_channel: false },
        Int8Scheme { symmetric: false, per_channel: true },
        Int8Scheme { symmetric: false, per_channel: false },
    ];

    #[test]
    fn values_worked_out_by_hand() {
        let m = Int8Matrix::from_floats(&[127.0, -63.5, 0.5, 2.0, 0.0, -1.0], 2, 3, SCHEMES[0]);
        // 63.5 and 0.5 lie between two integers and go to the even one.
        assert_eq!(m.values, [127, -64, 0, 127, 0, -64]);
        assert_eq!(m.scales, [1.0, 2.0 / 127.0]);
        let m = Int8Matrix::from_floats(&[0.0, 255.0, 100.0], 1, 3, SCHEMES[2]);
        assert_eq!((m.values.clone(), m.zeros.clone()), (vec![-128, 127, -28], Some(vec![-128])));
        assert_eq!(m.to_floats(), [0.0, 255.0, 100.0]);
        let input = Int8Input::covering(-1.0, 4.1);
        assert_eq!((input.zero, input.integer(0.0), input.value(input.zero)), (50, 50, 0.0));
        assert_eq!((input.integer(-100.0), input.integer(100.0)), (0, 255));
        assert_eq!(Int8Input::covering(2.0, 5.1).zero, 0, "the range always holds 0");
    }

    #[test]
    fn one_scale_for_each_output_or_one_for_all() {
        let weights = [1.0, -0.5, 100.0, 50.0];
        let floats = |scheme| Int8Matrix::from_floats(&weights, 2, 2, scheme).to_floats();
        assert!((floats(SCHEMES[0])[1] + 0.5).abs() < 0.005);
        assert!((floats(SCHEMES[1])[1] + 0.5).abs() > 0.2, "one scale for all has steps of 0.8");
    }

    #[test]
    fn a_matrix_of_zeros_has_a_scale_that_is_allowed() {
        for scheme in SCHEMES {
            let m = Int8Matrix::from_floats(&[0.0; 6], 2, 3, scheme);
            m.check().unwrap();
            assert_eq!(m.to_floats(), [0.0; 6]);
        }
        assert_eq!(Int8Input::covering(0.0, 0.0).integer(0.0), 0);
    }

    #[test]
    fn what_cannot_be_is_refused_by_field() {
        let good = Int8Matrix::from_floats(&[1.0, 2.0, 3.0, 4.0], 2, 2, SCHEMES[2]);
        good.check().unwrap();
        let field = |change: &dyn Fn(&mut Int8Matrix)| {
            let mut m = good.clone();
            change(&mut m);
            m.check().unwrap_err().field
        };
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, f32::MAX] {
            assert_eq!(field(&|m| m.scales[1] = scale), "scale", "{scale}");
        }
        assert_eq!(field(&|m| m.scales.push(1.0)), "scale");
        assert_eq!(field(&|m| m.scales.clear()), "scale");
        assert_eq!(field(&|m| m.zeros = Some(vec![1])), "zero_point");
        assert_eq!(field(&|m| m.values.truncate(3)), "weight");
    }

    #[test]
    fn the_range_of_a_row_has_zero_in_it_and_needs_numbers() {
        let row: Vec<f32> = (0..37).map(|i| ((i * 29) % 37) as f32 - 5.5).collect();
        assert_eq!(range_of(&row), Some((-5.5, 30.5)));
        assert_eq!(range_of(&[2.0, 1.0]), Some((0.0, 2.0)));
        assert_eq!(range_of(&[]), Some((0.0, 0.0)));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 7, 8, 36] {
                let mut row = row.clone();
                row[at] = bad;
                assert_eq!(range_of(&row), None, "{bad} at {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_row_of_integers_is_the_integer_of_each_value(
            row in proptest::collection::vec(-1e4f32..1e4, 0..70), low in -30f32..0.0, width in 1e-3f32..60.0,
        ) {
            let input = Int8Input::covering(low, low + width);
            let mut row = row;
            // Values between two integers, and far beyond the range.
            row.extend((-4..260).map(|i| (i as f32 + 0.5) * input.scale));
            row.extend([f32::MAX, f32::MIN, 1e-40, -0.0]);
            let mut got = vec![];
            input.integers(&row, &mut got);
            let want: Vec<u8> = row.iter().map(|v| input.integer(*v)).collect();
            prop_assert_eq!(got, want);
        }

        #[test]
        fn an_integer_is_at_most_half_a_step_off(
            weights in proptest::collection::vec(-1e3f32..1e3, 12), which in 0usize..4,
        ) {
            let m = Int8Matrix::from_floats(&weights, 3, 4, SCHEMES[which]);
            m.check().unwrap();
            for (i, (a, b)) in weights.iter().zip(m.to_floats()).enumerate() {
                let (scale, _) = m.scale_of(i / 4);
                // The zero point of a lopsided range is rounded, too: at its ends that is another half step.
                let most = if SCHEMES[which].symmetric { 0.501 } else { 1.001 };
                prop_assert!((a - b).abs() <= most * scale, "{} {} step {}", a, b, scale);
            }
        }

        #[test]
        fn an_input_in_the_range_is_at_most_a_step_off(low in -50f32..0.0, width in 0.01f32..100.0, at in 0f32..1.0) {
            let input = Int8Input::covering(low, low + width);
            let value = low + at * width;
            let back = input.value(input.integer(value));
            prop_assert!((back - value).abs() <= 1.001 * input.scale, "{} {}", value, back);
        }
    }
}
