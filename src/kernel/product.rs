//! Matrix products of slices on the calling thread: by the `gemm` crate, or without the zeros of one side.

use std::ops::RangeInclusive;

use super::matrix::{Matrix, MatrixMut, Then, shape};
use super::sparse;

/// Results with fewer columns, whose factors lie with their sums side by side, are computed here: the crate takes another
/// way for the smallest of them, and whether a result is one of those would depend on how its rows were split.
const FEW_COLUMNS: usize = 17;
/// For results of at most so many columns ...
const NARROW: usize = 64;
/// ... sums are taken in parts of so many terms, as the crate does where a result has few rows as well.
const TERMS: usize = 512;

/// Where the left matrix is read across its rows, as for a gradient of weights, sums are taken in four parts of at least
/// and at most so many terms: measured 10 to 20 % faster than in one.
const TERMS_ACROSS: RangeInclusive<usize> = 64..=256;

/// `c = a b`, or `c += a b` with `add`. Zeros of a matrix that is said to have many ([`Matrix::with_zeros`]) may be left out:
/// where one meets what is not finite, the sum is that of the other terms or no number.
///
/// Each element is summed in an order that does not depend on the number of rows, so splitting the rows of the result
/// over threads, in parts of 16 or more, changes no bit.
///
/// # Panics
/// When the shapes do not fit.
pub fn product(a: Matrix, b: Matrix, c: MatrixMut, add: bool) {
    product_then(a, b, None, c, if add { Then::Add } else { Then::Write });
}

/// The product `a b` and what happens to it then, as [`product`] else; all but [`Then::Write`] and [`Then::Add`] need a result
/// that lies by rows.
///
/// `wanted` may have a bit for each column of the result, from the lowest of the first byte on. Columns without one, if there
/// are any, are as without `wanted` or zero, whichever is faster.
///
/// # Panics
/// When the shapes do not fit, there are not as many bits as columns, or the result does not lie by rows and has to.
pub fn product_then(a: Matrix, b: Matrix, wanted: Option<&[u8]>, mut c: MatrixMut, then: Then) {
    let (m, _, n) = shape(&a, &b, &c);
    let fits = match then {
        Then::Write | Then::Add => true,
        Then::Bias(bias) | Then::BiasRelu(bias) => c.column_step == 1 && bias.len() == n,
        Then::Where(y) => c.column_step == 1 && y.len() == m * n,
    };
    assert!(fits, "{n} columns that lie by rows, and as many values for them: {then:?}");
    if let Some(wanted) = wanted {
        let spare = (wanted.len() * 8).wrapping_sub(n);
        assert!(spare < 8 && wanted.last().is_none_or(|last| last.leading_zeros() as usize >= spare), "{n} bits");
    }
    if m == 0 || n == 0 {
        return;
    }
    let few = sparse::fewest_columns(a.zeros).unwrap_or(usize::MAX);
    if a.zeros.are_many() && n >= few && sparse::product(a, b, wanted, &mut c, then) {
        return;
    }
    match then {
        Then::Write | Then::Add => {
            let add = matches!(then, Then::Add);
            // Rows and columns exchanged. The columns are the rows of `a` then, which may be some of those of the whole: how
            // many they are must decide nothing.
            let right = b.zeros.are_many() && !a.zeros.are_many();
            if !(right && sparse::product(b.transposed(), a.transposed(), None, &mut c.view().transposed(), then)) {
                dense(a, b, c, add);
            }
        }
        Then::Bias(bias) | Then::BiasRelu(bias) => {
            c.rows_mut().for_each(|row| row.copy_from_slice(bias));
            dense(a, b, c.view(), true);
            if let Then::BiasRelu(_) = then {
                c.rows_mut().for_each(relu);
            }
        }
        Then::Where(y) => {
            dense(a, b, c.view(), false);
            c.rows_mut().zip(y.chunks_exact(n)).for_each(|(row, y)| relu_slopes(y, row));
        }
    }
}

/// What is below zero becomes zero. What is no number stays.
pub fn relu(x: &mut [f32]) {
    x.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v });
}

/// The gradient `g` of a relu's values `y`, back through it.
pub fn relu_slopes(y: &[f32], g: &mut [f32]) {
    g.iter_mut().zip(y).for_each(|(g, y)| *g = if *y > 0.0 { *g } else { 0.0 });
}

/// The product with all its terms.
fn dense(a: Matrix, b: Matrix, c: MatrixMut, add: bool) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    if n < FEW_COLUMNS && a.column_step == 1 && b.row_step == 1 {
        return dots(a, b, c, add);
    }
    let terms = match (n <= NARROW, a.column_step == 1) {
        (true, _) => TERMS,
        (false, false) => (k / 4).clamp(*TERMS_ACROSS.start(), *TERMS_ACROSS.end()),
        (false, true) => k.max(1),
    };
    for first in (0..k.max(1)).step_by(terms) {
        let (count, add) = (terms.min(k - first), add || first > 0);
        // SAFETY: `shape` has found every element of the three matrices inside its slice, the terms `first..first
        // + count` are some of the `k`, and a shared slice cannot overlap the exclusive one that is written.
        unsafe {
            gemm::gemm(
                m,
                n,
                count,
                c.values.as_mut_ptr(),
                c.column_step as isize,
                c.row_step as isize,
                add,
                a.values.as_ptr().add(first * a.column_step),
                a.column_step as isize,
                a.row_step as isize,
                b.values.as_ptr().add(first * b.row_step),
                b.column_step as isize,
                b.row_step as isize,
                1.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}

/// The product where rows of `a` and columns of `b` lie in one piece each.
fn dots(a: Matrix, b: Matrix, c: MatrixMut, add: bool) {
    let k = a.columns;
    for i in 0..a.rows {
        let row = &a.values[i * a.row_step..][..k];
        for j in 0..b.columns {
            let sum = dot(row, &b.values[j * b.column_step..][..k]);
            let to = &mut c.values[i * c.row_step + j * c.column_step];
            *to = if add { *to + sum } else { sum };
        }
    }
}

/// The sum of products, in eight sums side by side.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0f32; 8];
    for (a, b) in a.zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::super::matrix::Zeros;
    use super::*;
    use crate::random::{Purpose, Stream};

    fn values(n: usize, key: u64) -> Vec<f32> {
        let mut stream = Stream::new(3, Purpose::Synthetic, &[key]);
        (0..n).map(|_| stream.normal() as f32).collect()
    }

    #[test]
    fn it_is_the_sum_of_products() {
        // The last two are summed in parts: one across the rows of `a`, one because it is narrow.
        let sizes =
            [(1, 1, 1), (1, 40, 17), (3, 5, 2), (17, 33, 9), (64, 100, 70), (4, 0, 3), (40, 300, 80), (20, 600, 30)];
        for (m, k, n) in sizes {
            let (a, b) = (values(m * k, 1), values(k * n, 2));
            let across: Vec<f32> = (0..k * m).map(|i| a[(i % m) * k + i / m]).collect();
            for (add, turned) in [(false, false), (true, false), (false, true), (true, true)] {
                let before = values(m * n, 3);
                let mut c = before.clone();
                let left = if turned { Matrix::new(&across, k, m).transposed() } else { Matrix::new(&a, m, k) };
                product(left, Matrix::new(&b, k, n), MatrixMut::new(&mut c, m, n), add);
                for i in 0..m {
                    for j in 0..n {
                        let sum: f64 = (0..k).map(|t| f64::from(a[i * k + t]) * f64::from(b[t * n + j])).sum();
                        let want = sum + if add { f64::from(before[i * n + j]) } else { 0.0 };
                        assert!((f64::from(c[i * n + j]) - want).abs() < 1e-4, "{m} {k} {n} {add} {turned}: {i} {j}");
                    }
                }
            }
        }
    }

    #[test]
    fn transposed_and_cut_matrices_are_read_and_written_where_they_lie() {
        let (m, k, n) = (13, 21, 11);
        let (a, b) = (values(m * k, 1), values(k * n, 2));
        let mut whole = vec![0.0; m * n];
        product(Matrix::new(&a, m, k), Matrix::new(&b, k, n), MatrixMut::new(&mut whole, m, n), false);
        // The same product from the transposed matrices, transposed: c^T = b^T a^T.
        let mut turned = vec![0.0; n * m];
        let (at, bt) = (Matrix::new(&a, m, k).transposed(), Matrix::new(&b, k, n).transposed());
        product(bt, at, MatrixMut::new(&mut turned, n, m), false);
        for add in [false, true] {
            let mut into_turned = vec![1.0; n * m];
            let to = MatrixMut::new(&mut into_turned, n, m).transposed();
            product(Matrix::new(&a, m, k), Matrix::new(&b, k, n), to, add);
            let before = if add { 1.0 } else { 0.0 };
            assert!((0..m * n).all(|i| (into_turned[i % n * m + i / n] - before - whole[i]).abs() < 1e-5), "{add}");
        }
        let mut part = vec![7.0; m * n];
        let (first, count) = (4, 5);
        product(
            Matrix::new(&a, m, k),
            Matrix::new(&b, k, n).columns(first, count),
            MatrixMut::new(&mut part, m, n).columns(first, count),
            false,
        );
        for i in 0..m {
            for j in 0..n {
                assert!((whole[i * n + j] - turned[j * m + i]).abs() < 1e-5);
                let inside = (first..first + count).contains(&j);
                assert_eq!(part[i * n + j], if inside { whole[i * n + j] } else { 7.0 });
            }
        }
    }

    #[test]
    fn what_happens_to_the_sums_is_the_same_on_the_way_as_afterwards() {
        for (m, k, n) in [(1, 5, 1), (20, 30, 16), (33, 70, 100), (150, 90, 277), (3, 1200, 130), (0, 3, 4), (4, 0, 90)]
        {
            let (mut a, b, bias, y) = (values(m * k, 1), values(k * n, 2), values(n, 3), values(m * n, 4));
            a.iter_mut().for_each(|v| *v = v.max(0.0));
            if let Some(a) = a.get_mut(k.max(1) - 1) {
                *a = f32::NAN;
            }
            for zeros in [false, true] {
                let (a, b) = (Matrix::new(&a, m, k).with_zeros(Zeros::Alike.when(zeros)), Matrix::new(&b, k, n));
                let of = |then: Then, wanted: Option<&[u8]>| {
                    let mut c = vec![7.0; m * n];
                    product_then(a, b, wanted, MatrixMut::new(&mut c, m, n), then);
                    c
                };
                let bits = |c: &[f32]| c.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                let sums = of(Then::Write, None);
                let mut with_bias = sums.clone();
                with_bias.iter_mut().enumerate().for_each(|(i, c)| *c += bias[i % n]);
                let close = |c: &[f32]| {
                    c.iter().zip(&with_bias).all(|(c, want)| (c - want).abs() < 1e-5 || c.is_nan() && want.is_nan())
                };
                let with = of(Then::Bias(&bias), None);
                assert!(close(&with), "{m} {k} {n} {zeros}");
                let mut rectified = with;
                relu(&mut rectified);
                assert_eq!(bits(&of(Then::BiasRelu(&bias), None)), bits(&rectified), "{m} {k} {n} {zeros}");
                let mut through = sums;
                relu_slopes(&y, &mut through);
                assert_eq!(bits(&of(Then::Where(&y), None)), bits(&through), "{m} {k} {n} {zeros}");
                // Every fourth column is not wanted.
                let mut wanted = vec![0u8; n.div_ceil(8)];
                (0..n).filter(|i| i % 4 != 2).for_each(|i| wanted[i / 8] |= 1 << (i % 8));
                for (i, (c, all)) in of(Then::Where(&y), Some(&wanted)).iter().zip(&through).enumerate() {
                    let may_be_zero = i % n % 4 == 2 && *c == 0.0;
                    assert!(c.to_bits() == all.to_bits() || may_be_zero, "{m} {k} {n} {zeros}: {i}");
                }
            }
        }
    }

    #[test]
    fn a_part_of_the_rows_has_the_bits_of_the_whole() {
        let sizes = [(257, 480, 512), (96, 256, 40), (1024, 64, 33), (300, 1500, 20), (200, 700, 3), (90, 2, 5)];
        let sizes = sizes.into_iter().chain((1..20).map(|n| (200, 31, n)));
        for ((m, k, n), zeros) in sizes.flat_map(|size| [(size, false), (size, true)]) {
            let (mut a, b) = (values(m * k, 1), values(k * n, 2));
            if zeros {
                a.iter_mut().for_each(|v| *v = v.max(0.0));
            }
            let mut whole = vec![0.0; m * n];
            product(
                Matrix::new(&a, m, k).with_zeros(Zeros::Alike.when(zeros)),
                Matrix::new(&b, k, n),
                MatrixMut::new(&mut whole, m, n),
                false,
            );
            for rows in [16, 24, 40, 128] {
                let mut parts = vec![0.0; m * n];
                for (a, c) in a.chunks(rows * k).zip(parts.chunks_mut(rows * n)) {
                    let r = a.len() / k;
                    product(
                        Matrix::new(a, r, k).with_zeros(Zeros::Alike.when(zeros)),
                        Matrix::new(&b, k, n),
                        MatrixMut::new(c, r, n),
                        false,
                    );
                }
                let done = m / rows * rows * n;
                assert!(whole[..done] == parts[..done], "{m} {k} {n} in parts of {rows}");
            }
            // As on the way back: the right matrix is read by columns.
            let bt: Vec<f32> = (0..n * k).map(|i| b[(i % k) * n + i / k]).collect();
            let mut whole = vec![0.0; m * n];
            let turned = Matrix::new(&bt, n, k).transposed();
            product(
                Matrix::new(&a, m, k).with_zeros(Zeros::Alike.when(zeros)),
                turned,
                MatrixMut::new(&mut whole, m, n),
                false,
            );
            for rows in [16, 24, 40, 128] {
                let mut parts = vec![0.0; m * n];
                for (a, c) in a.chunks(rows * k).zip(parts.chunks_mut(rows * n)).filter(|(a, _)| a.len() >= 16 * k) {
                    let r = a.len() / k;
                    product(
                        Matrix::new(a, r, k).with_zeros(Zeros::Alike.when(zeros)),
                        turned,
                        MatrixMut::new(c, r, n),
                        false,
                    );
                }
                let done = m / rows * rows * n;
                assert!(whole[..done] == parts[..done], "back {m} {k} {n} in parts of {rows}");
            }
            // As in a gradient: the left matrix is read by columns; zeros on the left, on the right or on neither side.
            for (left, right) in [(zeros, false), (false, zeros)] {
                let mut whole = vec![0.0; k * n];
                let g = values(m * n, 4);
                let g = Matrix::new(&g, m, n).with_zeros(Zeros::Alike.when(right));
                let turned = Matrix::new(&a, m, k).with_zeros(Zeros::Alike.when(left)).transposed();
                product(turned, g, MatrixMut::new(&mut whole, k, n), false);
                for rows in [16, 24, 40] {
                    let mut parts = vec![0.0; k * n];
                    for (i, c) in parts.chunks_mut(rows * n).enumerate() {
                        let r = c.len() / n;
                        let a =
                            Matrix::new(&a, m, k).with_zeros(Zeros::Alike.when(left)).columns(i * rows, r).transposed();
                        product(a, g, MatrixMut::new(c, r, n), false);
                    }
                    let done = k / rows * rows * n;
                    assert!(whole[..done] == parts[..done], "gradient {m} {k} {n} in parts of {rows}");
                }
            }
        }
    }
}
