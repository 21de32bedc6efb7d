//! Sums of products over every window of a series, without visiting every window.
//!
//! Window `t` of a series `x` is `x[t], x[t + 1] ... x[t + w - 1]`. The sums `G[i][j] = sum over t of x[t + i] x[t + j]`
//! over `m` consecutive windows satisfy `G[i + 1][j + 1] = G[i][j] - x[i] x[j] + x[m + i] x[m + j]`, so only the first
//! row costs `m` products per entry: `O(m w + w²)` in place of `O(m w²)`. All windows are used, none is drawn.

use rayon::prelude::*;

use super::cholesky::dot;

/// Sums over windows of `inputs` values to learn from and the values after them to learn.
///
/// Inputs and targets are taken relative to the last input: `d[i] = x[i] - x[inputs - 1]`.
pub(super) struct Gram {
    /// Features: the inputs before the last one.
    pub features: usize,
    /// Values to learn.
    pub targets: usize,
    /// Windows summed over.
    pub windows: u64,
    /// `sum d[i] d[j]`, `[features, features]`.
    pub xx: Vec<f64>,
    /// `sum d[inputs + k] d[i]`, `[targets, features]`.
    pub yx: Vec<f64>,
    /// `sum d[i]`, `[features]`.
    pub x: Vec<f64>,
    /// `sum d[inputs + k]`, `[targets]`.
    pub y: Vec<f64>,
}

impl Gram {
    /// Sums over every window of `inputs + targets` values of every series; series shorter than that add nothing. The
    /// values must be finite.
    pub(super) fn of(series: &[Vec<f64>], inputs: usize, targets: usize) -> Self {
        let width = inputs + targets;
        let runs: Vec<(&[f64], usize)> =
            series.iter().filter(|x| x.len() >= width).map(|x| (x.as_slice(), x.len() - width + 1)).collect();
        // diagonals[d][i] is G[i][i + d]; one thread sums one diagonal over all series, so the order is always the same
        let diagonals: Vec<Vec<f64>> = (0..width)
            .into_par_iter()
            .map(|d| {
                let mut sums = vec![0.0; inputs.min(width - d)];
                for (x, m) in &runs {
                    let mut g = dot(&x[..*m], &x[d..d + m]);
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum += g;
                        if i + d + 1 < width {
                            g += x[m + i] * x[m + i + d] - x[i] * x[i + d];
                        }
                    }
                }
                sums
            })
            .collect();
        let mut sums = vec![0.0; width];
        for (x, m) in &runs {
            let mut s: f64 = x[..*m].iter().sum();
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum += s;
                if i + 1 < width {
                    s += x[m + i] - x[i];
                }
            }
        }
        let last = inputs - 1;
        let g = |i: usize, j: usize| diagonals[i.abs_diff(j)][i.min(j)];
        let relative = |i: usize, j: usize| g(i, j) - g(i, last) - g(j, last) + g(last, last);
        let features = last;
        Self {
            features,
            targets,
            windows: runs.iter().map(|(_, m)| *m as u64).sum(),
            xx: (0..features * features).map(|k| relative(k / features, k % features)).collect(),
            yx: (0..targets * features).map(|k| relative(inputs + k / features, k % features)).collect(),
            x: (0..features).map(|i| sums[i] - sums[last]).collect(),
            y: (inputs..width).map(|k| sums[k] - sums[last]).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Stream};

    #[test]
    fn sums_are_those_of_visiting_every_window() {
        let mut noise = Stream::new(1, Purpose::Synthetic, &[]);
        let series: Vec<Vec<f64>> = [40, 3, 9, 25].iter().map(|n| (0..*n).map(|_| noise.normal()).collect()).collect();
        let (inputs, targets) = (5, 4);
        let gram = Gram::of(&series, inputs, targets);
        let windows: Vec<Vec<f64>> = series
            .iter()
            .flat_map(|x| x.windows(inputs + targets))
            .map(|w| w.iter().map(|v| v - w[inputs - 1]).collect())
            .collect();
        assert_eq!(gram.windows, 32 + 1 + 17);
        assert_eq!(gram.windows as usize, windows.len());
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-11, "{a} is not {b}");
        for i in 0..4 {
            close(gram.x[i], windows.iter().map(|w| w[i]).sum());
            close(gram.y[i], windows.iter().map(|w| w[inputs + i]).sum());
            for j in 0..4 {
                close(gram.xx[i * 4 + j], windows.iter().map(|w| w[i] * w[j]).sum());
                close(gram.yx[i * 4 + j], windows.iter().map(|w| w[inputs + i] * w[j]).sum());
            }
        }
    }
}
