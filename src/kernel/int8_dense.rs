//! A layer of a network in 8-bit integers: its input is laid on integers, the sums are exact, the output is float again.

use std::ops::Range;

use super::int8::{GROUP, Instructions, Int8Weights, MOST_TERMS, QUAD};
use super::int8_scales::{Int8Input, Int8Matrix, range_of};

/// How a layer's input is laid on integers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RowScale {
    /// By the least and the largest value of each row, as they come.
    Measured,
    /// By a range that was settled before.
    Fixed(Int8Input),
}

/// A layer ready to compute: `y = x W^T + b`.
#[derive(Debug, Clone)]
pub struct Int8Dense {
    outputs: usize,
    inputs: usize,
    weights: Int8Weights,
    scales: Vec<f32>,
    zeros: Option<Vec<i8>>,
    /// The sum of each output's integers: what a zero point of the input adds to a sum.
    sums: Vec<i64>,
    bias: Vec<f32>,
    input: RowScale,
}

/// Rows that go through a layer together, so that their values stay in the processor's first cache.
const ROWS_TOGETHER: usize = 24;

/// What a layer needs while it computes; kept between calls so that nothing is allocated again.
#[derive(Debug, Default)]
pub(crate) struct Int8Scratch {
    /// Rows of integers, filled up with zeros to whole fours.
    integers: Vec<u8>,
    /// The same, as some instructions want them.
    wide: Vec<i16>,
    /// None for a row with a value that is not finite.
    ranges: Vec<Option<Int8Input>>,
    sums: Vec<i32>,
    /// Sums of more terms than fit 32 bits.
    totals: Vec<i64>,
}

impl Int8Dense {
    /// A layer of these weights and biases; `bias` has one value for each output.
    ///
    /// # Panics
    /// When the sizes do not fit: the matrix must have passed [`Int8Matrix::check`].
    pub fn new(matrix: &Int8Matrix, bias: &[f32], input: RowScale) -> Self {
        assert_eq!(bias.len(), matrix.outputs, "one bias for each output");
        let (scales, zeros): (Vec<f32>, Vec<i8>) = (0..matrix.outputs).map(|o| matrix.scale_of(o)).unzip();
        let sums = matrix.values.chunks(matrix.inputs.max(1)).map(|row| row.iter().map(|v| i64::from(*v)).sum());
        Self {
            outputs: matrix.outputs,
            inputs: matrix.inputs,
            sums: sums.collect(),
            weights: Int8Weights::new(&matrix.values, matrix.inputs),
            scales,
            zeros: matrix.zeros.is_some().then_some(zeros),
            bias: bias.to_vec(),
            input,
        }
    }

    /// Outputs of the layer.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Inputs of the layer.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The outputs `[rows, outputs]` for inputs `[rows, inputs]`, row-major.
    ///
    /// A row that holds a value that is not finite gives NaN throughout, as floats would.
    ///
    /// # Panics
    /// When `x` is not whole rows of inputs.
    pub fn forward(&self, with: Instructions, x: &[f32]) -> Vec<f32> {
        assert!(x.len().is_multiple_of(self.inputs), "rows of {} inputs", self.inputs);
        let mut out = vec![0.0; x.len() / self.inputs * self.outputs];
        self.forward_into(with, x, 0..self.outputs, &mut Int8Scratch::default(), &mut out);
        out
    }

    /// The outputs `wanted` only, `[rows, wanted]`, into `out`.
    pub(crate) fn forward_into(
        &self,
        with: Instructions,
        x: &[f32],
        wanted: Range<usize>,
        scratch: &mut Int8Scratch,
        out: &mut [f32],
    ) {
        let parts = x.chunks(ROWS_TOGETHER * self.inputs).zip(out.chunks_mut(ROWS_TOGETHER * wanted.len().max(1)));
        for (x, out) in parts {
            self.few_rows(with, x, &wanted, scratch, out);
        }
    }

    /// [`Int8Dense::forward_into`] of so few rows that their values stay in the cache.
    fn few_rows(
        &self,
        with: Instructions,
        x: &[f32],
        wanted: &Range<usize>,
        scratch: &mut Int8Scratch,
        out: &mut [f32],
    ) {
        let (inputs, width) = (self.inputs, self.weights.quads() * QUAD);
        let Int8Scratch { integers, wide, ranges, sums, totals } = scratch;
        integers.clear();
        ranges.clear();
        for row in x.chunks_exact(inputs) {
            let measured = range_of(row);
            let range = match (self.input, measured) {
                (RowScale::Fixed(range), _) => range,
                (RowScale::Measured, Some((low, high))) => Int8Input::covering(low, high),
                (RowScale::Measured, None) => Int8Input { scale: 1.0, zero: 0 },
            };
            range.integers(row, integers);
            integers.resize(integers.len().next_multiple_of(width), 0);
            ranges.push(measured.map(|_| range));
        }
        // Whole groups of outputs are summed; those before and behind the wanted ones are left out below.
        let groups = wanted.start / GROUP..wanted.end.div_ceil(GROUP);
        let (summed, skip) = (groups.len() * GROUP, wanted.start - groups.start * GROUP);
        // What stood there is written over.
        sums.resize(ranges.len() * summed, 0);
        let long = inputs > MOST_TERMS;
        if long {
            totals.clear();
            totals.resize(sums.len(), 0);
            for first in (0..self.weights.quads()).step_by(MOST_TERMS / QUAD) {
                let quads = first..(first + MOST_TERMS / QUAD).min(self.weights.quads());
                self.weights.sums(with, integers, wide, groups.clone(), quads, sums);
                totals.iter_mut().zip(&*sums).for_each(|(total, sum)| *total += i64::from(*sum));
            }
        } else {
            self.weights.sums(with, integers, wide, groups, 0..self.weights.quads(), sums);
        }
        let (scales, bias) = (&self.scales[wanted.clone()], &self.bias[wanted.clone()]);
        let of_weights = &self.sums[wanted.clone()];
        for (i, (values, range)) in out.chunks_exact_mut(wanted.len().max(1)).zip(&*ranges).enumerate() {
            // An integer cannot say that there is no number.
            let Some(range) = range else {
                values.fill(f32::NAN);
                continue;
            };
            let at = i * summed + skip..i * summed + skip + wanted.len();
            if long {
                let zero = i64::from(range.zero);
                let lines = values.iter_mut().zip(scales).zip(bias).zip(of_weights);
                for ((((value, scale), bias), weights), sum) in lines.zip(&totals[at]) {
                    *value = range.scale * scale * (sum - zero * weights) as f32 + bias;
                }
            } else {
                from_sums(*range, &sums[at], of_weights, scales, bias, values);
            }
            if let Some(zeros) = &self.zeros {
                let row = &integers[i * width..][..inputs];
                let of_row = row.iter().map(|v| i64::from(*v)).sum::<i64>() - i64::from(range.zero) * inputs as i64;
                for (value, (zero, scale)) in values.iter_mut().zip(zeros[wanted.clone()].iter().zip(scales)) {
                    *value -= range.scale * scale * (of_row * i64::from(*zero)) as f32;
                }
            }
        }
    }
}

/// The outputs that a row's sums of products stand for.
fn from_sums(range: Int8Input, sums: &[i32], of_weights: &[i64], scales: &[f32], bias: &[f32], out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which was asked just now.
        return unsafe { from_sums_avx2(range, sums, of_weights, scales, bias, out) };
    }
    outputs(range, sums, of_weights, scales, bias, out);
}

/// [`from_sums`], compiled for AVX2.
///
/// # Safety
/// The processor must have AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn from_sums_avx2(
    range: Int8Input,
    sums: &[i32],
    of_weights: &[i64],
    scales: &[f32],
    bias: &[f32],
    out: &mut [f32],
) {
    outputs(range, sums, of_weights, scales, bias, out);
}

/// See [`from_sums`]; the same arithmetic for any processor.
#[inline(always)]
fn outputs(range: Int8Input, sums: &[i32], of_weights: &[i64], scales: &[f32], bias: &[f32], out: &mut [f32]) {
    // What is left without the zero point fits 32 bits, so it is right whatever wraps on the way there.
    let zero = i32::from(range.zero);
    let lines = out.iter_mut().zip(scales).zip(bias).zip(of_weights).zip(sums);
    for ((((value, scale), bias), weights), sum) in lines {
        let sum = sum.wrapping_sub(zero.wrapping_mul(*weights as i32));
        *value = range.scale * scale * sum as f32 + bias;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Int8Scheme;
    use crate::random::{Purpose, Stream};

    fn normal(seed: u64, n: usize) -> Vec<f32> {
        let mut stream = Stream::new(seed, Purpose::Synthetic, &[n as u64]);
        (0..n).map(|_| stream.normal() as f32).collect()
    }

    /// `x W^T + b` in floats of the values that the integers stand for.
    fn in_floats(m: &Int8Matrix, bias: &[f32], input: RowScale, x: &[f32]) -> Vec<f32> {
        let w = m.to_floats();
        let mut out = vec![];
        for row in x.chunks(m.inputs) {
            let range = match input {
                RowScale::Fixed(range) => range,
                RowScale::Measured => Int8Input::covering(
                    row.iter().copied().fold(0.0, f32::min),
                    row.iter().copied().fold(0.0, f32::max),
                ),
            };
            let row: Vec<f64> = row.iter().map(|v| f64::from(range.value(range.integer(*v)))).collect();
            for (line, b) in w.chunks(m.inputs).zip(bias) {
                let sum: f64 = row.iter().zip(line).map(|(a, w)| a * f64::from(*w)).sum();
                out.push((sum + f64::from(*b)) as f32);
            }
        }
        out
    }

    #[test]
    fn it_is_the_float_product_of_what_the_integers_stand_for() {
        for (rows, outputs, inputs) in [(1, 5, 84), (7, 13, 33), (20, 8, 512), (2 * ROWS_TOGETHER + 3, 17, 30)] {
            for symmetric in [true, false] {
                for per_channel in [true, false] {
                    let w = normal(1, outputs * inputs);
                    let m = Int8Matrix::from_floats(&w, outputs, inputs, Int8Scheme { symmetric, per_channel });
                    let (bias, x) = (normal(2, outputs), normal(3, rows * inputs));
                    for input in [RowScale::Measured, RowScale::Fixed(Int8Input::covering(-2.0, 3.0))] {
                        let layer = Int8Dense::new(&m, &bias, input);
                        let want = in_floats(&m, &bias, input, &x);
                        for with in Instructions::ALL {
                            let got = layer.forward(with, &x);
                            for (g, w) in got.iter().zip(&want) {
                                assert!((g - w).abs() <= 1e-5 * w.abs().max(1.0), "{}: {g} {w}", with.name());
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn more_terms_than_fit_32_bits_are_summed_in_parts() {
        let inputs = MOST_TERMS + 100;
        let m =
            Int8Matrix::from_floats(&vec![1.0; inputs], 1, inputs, Int8Scheme { symmetric: true, per_channel: true });
        let layer = Int8Dense::new(&m, &[0.5], RowScale::Fixed(Int8Input { scale: 1.0, zero: 0 }));
        let got = layer.forward(Instructions::best(), &vec![255.0; inputs]);
        let want = 255.0 * inputs as f32 + 0.5;
        assert!((got[0] - want).abs() <= 1e-6 * want, "{} {want}", got[0]);
    }

    #[test]
    fn a_row_without_numbers_gives_none_and_leaves_the_others_alone() {
        let m = Int8Matrix::from_floats(&[1.0, 2.0], 1, 2, Int8Scheme { symmetric: true, per_channel: true });
        let layer = Int8Dense::new(&m, &[0.0], RowScale::Measured);
        let got = layer.forward(Instructions::best(), &[1.0, f32::NAN, 1.0, 1.0, f32::INFINITY, 0.0]);
        assert!(got[0].is_nan() && (got[1] - 3.0).abs() < 0.02 && got[2].is_nan(), "{got:?}");
    }

    #[test]
    fn a_part_of_the_outputs_is_that_part_of_all() {
        let (w, x) = (normal(5, 9 * 40), normal(6, 3 * 40));
        let m = Int8Matrix::from_floats(&w, 9, 40, Int8Scheme { symmetric: false, per_channel: true });
        let layer = Int8Dense::new(&m, &normal(7, 9), RowScale::Measured);
        let all = layer.forward(Instructions::best(), &x);
        let mut part = vec![0.0; 3 * 4];
        layer.forward_into(Instructions::best(), &x, 5..9, &mut Int8Scratch::default(), &mut part);
        let want: Vec<f32> = all.chunks(9).flat_map(|row| row[5..].to_vec()).collect();
        assert_eq!(part, want);
    }
}
