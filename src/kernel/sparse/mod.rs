//! Matrix products whose left matrix is full of zeros, as values after a `relu` and gradients through one are: two thirds
//! of them in a network that has been trained for a while. Terms with a zero are left out.
//!
//! A row of the left matrix is written as the list of what is not zero in it. For each entry of the list a piece of a row of
//! the right matrix is multiplied and added to sums in registers; that piece comes from a tile in the first cache, so that
//! the multiplications wait for nothing else. Which places are zero changes from window to window, so nothing is known about
//! them beforehand.
//!
//! With AVX-512 three rows that are not zero in nearly the same places have one list, so that each piece of the right matrix is
//! read once for all; where only some of them are zero, the zeros are multiplied.

#[cfg(target_arch = "x86_64")]
use std::cell::RefCell;

use super::matrix::{Matrix, MatrixMut, Then, Zeros};

#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
pub use x86::Panels;

/// A right matrix laid out once for many products without zeros: on this processor they read the matrix itself.
#[cfg(not(target_arch = "x86_64"))]
#[derive(Debug, Default)]
pub struct Panels;

#[cfg(not(target_arch = "x86_64"))]
impl Panels {
    /// No tasks.
    pub fn lay_out<'a>(
        &'a mut self,
        _: Matrix<'a>,
        _: Option<&[u8]>,
        _: Zeros,
    ) -> impl Iterator<Item = impl FnOnce() + Send + 'a> {
        std::iter::empty::<fn()>()
    }
}

/// The fewest columns of a result for which zeros on the left are left out: with fewer, more than half of a tile would be
/// empty. None on processors without AVX2.
pub(super) fn fewest_columns(zeros: Zeros) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    return x86::Instructions::best(zeros).map(|instructions| instructions.columns() / 2 + 1);
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = zeros;
        None
    }
}

/// The product and what happens to it then, without most of the terms for which `a` is zero. False, and nothing done, on processors
/// without AVX2.
///
/// Each element is summed over the terms in their order, as a dense product does it; neither the number of rows nor how
/// they are split over threads changes a bit.
///
/// Where `wanted` has a bit for each column of `c`, from the lowest of the first byte on, columns without one may be zero
/// instead.
///
/// # Panics
/// When the shapes do not fit, or neither step of a matrix is 1.
pub(super) fn product(a: Matrix, b: Matrix, wanted: Option<&[u8]>, c: &mut MatrixMut, then: Then) -> bool {
    #[cfg(target_arch = "x86_64")]
    if let Some(instructions) = x86::Instructions::best(a.zeros) {
        ROOM.with_borrow_mut(|room| room.product(instructions, a, b, wanted, c, then));
        return true;
    }
    let _ = (a, b, wanted, c, then);
    false
}

#[cfg(target_arch = "x86_64")]
thread_local! {
    /// What a thread works in, kept from product to product.
    static ROOM: RefCell<x86::Room> = const { RefCell::new(x86::Room::new()) };
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::x86::{Instructions, Room};
    use super::*;
    use crate::random::{Purpose, Stream};

    /// Values of which about two thirds are zero, and rows and columns that are zero altogether.
    fn values(rows: usize, columns: usize, key: u64) -> Vec<f32> {
        let mut stream = Stream::new(3, Purpose::Synthetic, &[key]);
        let drawn = (0..rows * columns).map(|i| {
            let (row, column) = (i / columns, i % columns);
            let (value, place) = (stream.normal() as f32, stream.normal());
            if place < 0.4 || row % 7 == 3 || column % 11 == 5 { 0.0 } else { value }
        });
        drawn.collect()
    }

    fn turned(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
        (0..rows * columns).map(|i| values[i % rows * columns + i / rows]).collect()
    }

    #[test]
    fn without_zeros_it_is_the_sum_of_all_products_by_all_instructions() {
        // Less than a register, than a tile, than eight rows; several tiles, groups of rows; terms listed in two goes.
        let sizes = [
            (1, 1, 1),
            (3, 7, 5),
            (9, 0, 4),
            (8, 96, 64),
            (13, 97, 65),
            (130, 200, 130),
            (257, 40, 33),
            (20, 1500, 70),
            (12, 2200, 9),
        ];
        for with in Instructions::ALL {
            if !with.available() {
                println!("skipped: this processor has no {with:?}");
                continue;
            }
            let mut room = Room::new();
            for (m, k, n) in sizes {
                let (a, b, before) = (values(m, k, 1), values(k, n, 2), values(m, n, 3));
                let (a_turned, b_turned, before_turned) = (turned(&a, m, k), turned(&b, k, n), turned(&before, m, n));
                let mut first: Option<Vec<f32>> = None;
                for way in 0..16 {
                    let [add, a_across, b_across, c_across] = [1, 2, 4, 8].map(|bit| way & bit > 0);
                    let left = if a_across { Matrix::new(&a_turned, k, m).transposed() } else { Matrix::new(&a, m, k) };
                    let right =
                        if b_across { Matrix::new(&b_turned, n, k).transposed() } else { Matrix::new(&b, k, n) };
                    let then = if add { Then::Add } else { Then::Write };
                    let mut c = if c_across { before_turned.clone() } else { before.clone() };
                    if c_across {
                        let mut to = MatrixMut::new(&mut c, n, m).transposed();
                        room.product(with, left, right, None, &mut to, then);
                        c = turned(&c, n, m);
                    } else {
                        room.product(with, left, right, None, &mut MatrixMut::new(&mut c, m, n), then);
                    }
                    for (i, c) in c.iter().enumerate() {
                        let (row, column) = (i / n, i % n);
                        let terms = (0..k).map(|t| f64::from(a[row * k + t]) * f64::from(b[t * n + column]));
                        let want = terms.sum::<f64>() + if add { f64::from(before[i]) } else { 0.0 };
                        assert!((f64::from(*c) - want).abs() < 1e-4, "{with:?} {m} {k} {n} {way}: {row} {column}");
                    }
                    if !add {
                        // How the matrices lie changes no bit.
                        assert_eq!(first.get_or_insert(c.clone()), &c, "{with:?} {m} {k} {n} {way}");
                    }
                }
            }
        }
    }

    #[test]
    fn columns_that_are_not_wanted_may_be_zero_and_the_others_are_the_same_to_the_bit() {
        let sizes = [(1, 5, 1), (3, 7, 8), (9, 0, 20), (13, 97, 65), (40, 100, 130), (130, 70, 261), (5, 1300, 300)];
        for with in Instructions::ALL.into_iter().filter(|with| with.available()) {
            let mut room = Room::new();
            for (m, k, n) in sizes {
                let (a, b) = (values(m, k, 1), values(k, n, 2));
                let b_turned = turned(&b, k, n);
                let mut all = vec![0.0; m * n];
                room.product(
                    with,
                    Matrix::new(&a, m, k),
                    Matrix::new(&b, k, n),
                    None,
                    &mut MatrixMut::new(&mut all, m, n),
                    Then::Write,
                );
                let mut stream = Stream::new(3, Purpose::Synthetic, &[4]);
                for least in [-9.0, -1.5, -0.6, 0.0, 1.0, 9.0] {
                    let mut wanted = vec![0u8; n.div_ceil(8)];
                    (0..n).filter(|_| stream.normal() > least).for_each(|i| wanted[i / 8] |= 1 << (i % 8));
                    let is_wanted = |i: usize| wanted[i / 8] >> (i % 8) & 1 == 1;
                    for across in [false, true] {
                        let right =
                            if across { Matrix::new(&b_turned, n, k).transposed() } else { Matrix::new(&b, k, n) };
                        let mut c = vec![7.0; m * n];
                        let mut to = MatrixMut::new(&mut c, m, n);
                        room.product(with, Matrix::new(&a, m, k), right, Some(&wanted), &mut to, Then::Write);
                        let what = format!("{with:?} {m} {k} {n} {least} {across}");
                        let left_out = (0..n).filter(|i| !is_wanted(*i)).count();
                        for (i, (c, all)) in c.iter().zip(&all).enumerate() {
                            let zero = !is_wanted(i % n) && left_out * 8 >= n;
                            assert_eq!(*c, if zero { 0.0 } else { *all }, "{what}: {i}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_stays_and_what_a_zero_meets_may_be_left_out() {
        let (m, k, n) = (2, 10, 40);
        let (mut a, mut b) = (vec![1.0; m * k], vec![1.0; k * n]);
        a[3] = f32::NAN;
        a[k + 4] = 0.0;
        b[4 * n] = f32::INFINITY;
        let mut c = vec![0.0; m * n];
        let mut to = MatrixMut::new(&mut c, m, n);
        if product(Matrix::new(&a, m, k), Matrix::new(&b, k, n), None, &mut to, Then::Write) {
            assert!(c[..n].iter().all(|v| v.is_nan()), "{:?}", &c[..n]);
            assert!(c[n + 1..].iter().all(|v| *v == 9.0) && (c[n] == 9.0 || c[n].is_nan()), "{:?}", &c[n..]);
        }
    }
}
