//! Solving symmetric positive definite systems with many right-hand sides, in `f64`.

use rayon::prelude::*;

/// The lower factor `F` of `A = F Fᵀ`, by rows, and its transpose.
pub(super) struct Cholesky {
    n: usize,
    lower: Vec<f64>,
    upper: Vec<f64>,
}

impl Cholesky {
    /// Factors the symmetric `a` (`[n, n]`, of which the lower triangle is read); `None` when it is not positive
    /// definite.
    pub(super) fn of(a: &[f64], n: usize) -> Option<Self> {
        let mut lower = vec![0.0; n * n];
        for i in 0..n {
            let (done, row) = lower.split_at_mut(i * n);
            for j in 0..i {
                let other = &done[j * n..j * n + n];
                row[j] = (a[i * n + j] - dot(&row[..j], &other[..j])) / other[j];
            }
            let pivot = a[i * n + i] - dot(&row[..i], &row[..i]);
            if !(pivot > 0.0 && pivot.is_finite()) {
                return None;
            }
            row[i] = pivot.sqrt();
        }
        let mut upper = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                upper[j * n + i] = lower[i * n + j];
            }
        }
        Some(Self { n, lower, upper })
    }

    /// Replaces each row of `rhs` (`[m, n]`) by the solution of `A x = row`.
    pub(super) fn solve(&self, rhs: &mut [f64]) {
        let n = self.n;
        if n == 0 {
            return;
        }
        rhs.par_chunks_exact_mut(n).for_each(|x| {
            for i in 0..n {
                let row = &self.lower[i * n..i * n + n];
                x[i] = (x[i] - dot(&row[..i], &x[..i])) / row[i];
            }
            for i in (0..n).rev() {
                let row = &self.upper[i * n..i * n + n];
                x[i] = (x[i] - dot(&row[i + 1..], &x[i + 1..])) / row[i];
            }
        });
    }
}

/// Scalar product in eight lanes: the same order of additions everywhere, and one that compilers turn into vectors.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    for (a, b) in a8.iter().zip(b8) {
        for i in 0..8 {
            lanes[i] += a[i] * b[i];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h)) + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_a_system_by_hand() {
        // A = [[4, 2], [2, 3]]: A (1, 2) = (8, 8), A (0, 1) = (2, 3)
        let mut rhs = [8.0, 8.0, 2.0, 3.0];
        Cholesky::of(&[4.0, 2.0, 2.0, 3.0], 2).unwrap().solve(&mut rhs);
        for (x, expected) in rhs.iter().zip([1.0, 2.0, 0.0, 1.0]) {
            assert!((x - expected).abs() < 1e-14, "{rhs:?}");
        }
    }

    #[test]
    fn solves_a_larger_system() {
        let n = 33usize;
        let a: Vec<f64> = (0..n * n).map(|k| 1.0 / (1.0 + (k / n).abs_diff(k % n) as f64)).collect();
        let x: Vec<f64> = (0..n).map(|i| i as f64 - 7.0).collect();
        let mut rhs: Vec<f64> = a.chunks_exact(n).map(|row| dot(row, &x)).collect();
        Cholesky::of(&a, n).unwrap().solve(&mut rhs);
        assert!(rhs.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-10));
    }

    #[test]
    fn an_indefinite_matrix_is_refused() {
        assert!(Cholesky::of(&[1.0, 2.0, 2.0, 1.0], 2).is_none());
        assert!(Cholesky::of(&[f64::NAN], 1).is_none());
    }
}
