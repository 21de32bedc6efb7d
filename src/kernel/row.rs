//! A row times a matrix, for a single forecast: reading the weights is all the time it takes, so rows of the matrix that
//! are multiplied by zero are not read. After a `relu` that is about half of them.

/// Rows of the matrix that are added together.
const ROWS: usize = 8;

/// `y += x W` for `W` `[x.len(), y.len()]`, row-major, whose rows lie `step` values apart.
///
/// # Panics
/// When `w` does not hold every element of such a matrix, or rows are longer than `step`.
pub fn add_row_product(x: &[f32], w: &[f32], step: usize, y: &mut [f32]) {
    assert!(y.len() <= step && (x.is_empty() || (x.len() - 1) * step + y.len() <= w.len()), "matrix");
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the instructions.
            return unsafe { with_avx512(x, w, step, y) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            return unsafe { with_avx2(x, w, step, y) };
        }
    }
    add(x, w, step, y, |a, b, c| a * b + c);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn with_avx512(x: &[f32], w: &[f32], step: usize, y: &mut [f32]) {
    add(x, w, step, y, f32::mul_add);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2(x: &[f32], w: &[f32], step: usize, y: &mut [f32]) {
    add(x, w, step, y, f32::mul_add);
}

/// The sum, with `a * b + c` as the instructions at hand do it best. Compiled anew for each set of instructions.
#[inline(always)]
fn add(x: &[f32], w: &[f32], step: usize, y: &mut [f32], fused: impl Fn(f32, f32, f32) -> f32 + Copy) {
    let n = y.len();
    let mut waiting = [(0.0f32, &w[..0]); ROWS];
    let mut count = 0;
    for (i, x) in x.iter().enumerate() {
        // Weights are finite (they are checked when they are read), so nothing is lost; what is no number is not zero.
        if *x == 0.0 {
            continue;
        }
        waiting[count] = (*x, &w[i * step..i * step + n]);
        count += 1;
        if count == ROWS {
            let rows = waiting.map(|(_, row)| &row[..n]);
            for (j, y) in y.iter_mut().enumerate() {
                let mut sum = *y;
                for (row, (x, _)) in rows.iter().zip(&waiting) {
                    sum = fused(*x, row[j], sum);
                }
                *y = sum;
            }
            count = 0;
        }
    }
    for (x, row) in &waiting[..count] {
        y.iter_mut().zip(*row).for_each(|(y, w)| *y = fused(*x, *w, *y));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Stream};

    #[test]
    fn it_is_the_sum_of_products_and_zeros_take_no_part() {
        let mut stream = Stream::new(3, Purpose::Synthetic, &[1]);
        for (k, n, step) in [(0, 5, 5), (1, 1, 1), (3, 7, 9), (40, 33, 33), (129, 64, 70)] {
            for zeros in [0, 2, 3] {
                let mut draw = |len: usize| (0..len).map(|_| stream.normal() as f32).collect::<Vec<_>>();
                let mut x = draw(k);
                let (mut w, start) = (draw(k * step), draw(n));
                for i in (0..k).filter(|i| zeros > 0 && i % zeros == 0) {
                    x[i] = 0.0;
                    // Would show if it were read.
                    w[i * step..i * step + n].fill(f32::NAN);
                }
                let mut y = start.clone();
                add_row_product(&x, &w, step, &mut y);
                let mut plain = start.clone();
                add(&x, &w, step, &mut plain, |a, b, c| a * b + c);
                for j in 0..n {
                    let sum: f64 =
                        (0..k).filter(|i| x[*i] != 0.0).map(|i| f64::from(x[i]) * f64::from(w[i * step + j])).sum();
                    let want = f64::from(start[j]) + sum;
                    assert!((f64::from(y[j]) - want).abs() < 1e-4, "{k} {n}: {} {want}", y[j]);
                    assert!((plain[j] - y[j]).abs() < 1e-4);
                }
            }
        }
        let mut y = [0.0];
        add_row_product(&[f32::NAN], &[1.0], 1, &mut y);
        assert!(y[0].is_nan(), "what is no number stays");
    }
}
