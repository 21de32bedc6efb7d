//! Baselines: forecasts that need no network, so that a score can be told from what comes for free.
//!
//! | name | forecast of step `k` (from 1) after `n` rows |
//! |---|---|
//! | `naive` | the last observed value |
//! | `seasonal_naive` | the value observed last in the same place of the season |
//! | `drift` | the last observed value, plus the slope from the first to the last observed value |
//! | `nlinear` | a linear map of the input window minus its last value, one for all series, fitted by least squares |
//!
//! All of them use rows before the origin only, and answer NaN where there is none. Missing inputs are passed over: the
//! value observed last before them stands in.

mod cholesky;
mod gram;
mod nlinear;
mod simple;

use super::{EvaluateError, Forecaster, Protocol};
use crate::data::Panel;
use crate::window::Window;

pub use nlinear::NLinear;
pub use simple::{Drift, Naive, SeasonalNaive};

/// A baseline that is ready to forecast.
pub type Baseline = Box<dyn Forecaster>;

/// Every baseline, ready to forecast, and the reason why one is missing (`nlinear` on series that are too short to fit
/// it).
///
/// # Errors
/// What [`Protocol::check`] finds.
pub fn all(panel: &Panel, protocol: &Protocol) -> Result<(Vec<Baseline>, Vec<String>), EvaluateError> {
    protocol.check(panel)?;
    let horizon = protocol.horizon;
    let mut baselines: Vec<Baseline> = vec![
        Box::new(Naive::new(horizon)),
        Box::new(SeasonalNaive::new(horizon, protocol.season)),
        Box::new(Drift::new(horizon)),
    ];
    let mut notices = Vec::new();
    match NLinear::fit(panel, protocol) {
        Ok(linear) => baselines.push(Box::new(linear)),
        Err(e @ EvaluateError::NoTrainWindows { .. }) => notices.push(format!("no baseline `nlinear`: {e}")),
        Err(e) => return Err(e),
    }
    Ok((baselines, notices))
}

/// The last value of `history` that is not NaN; NaN when there is none.
fn last_observed(history: &[f64]) -> f64 {
    history.iter().rev().copied().find(|v| !v.is_nan()).unwrap_or(f64::NAN)
}

/// Writes the last `out.len()` values of `history` to `out`, holes filled with the value observed before them; what lies
/// before the first observed value, and before the first row, takes that value. NaN throughout when nothing was
/// observed.
fn filled(history: &[f64], out: &mut [f64]) {
    let n = history.len().min(out.len());
    let (before, inside) = history.split_at(history.len() - n);
    let mut last = last_observed(before);
    if last.is_nan() {
        last = inside.iter().copied().find(|v| !v.is_nan()).unwrap_or(f64::NAN);
    }
    let padding = out.len() - n;
    out[..padding].fill(last);
    for (o, v) in out[padding..].iter_mut().zip(inside) {
        if !v.is_nan() {
            last = *v;
        }
        *o = last;
    }
}

/// The rows before the origin of `window`.
fn history<'a>(panel: &'a Panel, window: &Window) -> &'a [f64] {
    &panel.series(window.series as usize)[..window.origin as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::judge;
    use crate::evaluate::protocol::tests::{panel, split};
    use crate::random::{Purpose, Stream};

    #[test]
    fn holes_take_the_value_before_them() {
        let n = f64::NAN;
        let mut out = [0.0; 4];
        filled(&[7.0, n, 1.0, n, 2.0], &mut out);
        assert_eq!(out, [7.0, 1.0, 1.0, 2.0]);
        filled(&[n, 5.0], &mut out);
        assert_eq!(out, [5.0; 4]);
        filled(&[n, n], &mut out);
        assert!(out.iter().all(|v| v.is_nan()));
    }

    /// Two noisy series with a season of 6, and holes.
    fn noisy() -> (Panel, Protocol) {
        let mut noise = Stream::new(3, Purpose::Synthetic, &[0]);
        let mut make = |level: f64| -> Vec<f64> {
            let value = |t: usize| level + (t % 6) as f64 + 0.01 * t as f64;
            (0..120).map(|t| if t % 17 == 5 { f64::NAN } else { value(t) + noise.normal() }).collect()
        };
        let data = panel(&[&make(10.0), &make(-300.0)]);
        (data, Protocol::new(12, 4, 6, vec![split(80, 20, 20), split(80, 20, 20)]))
    }

    #[test]
    fn no_baseline_sees_a_row_at_or_after_the_origin() {
        let (data, protocol) = noisy();
        let windows = [Window { series: 0, origin: 105 }, Window { series: 1, origin: 110 }];
        let forecast = |data: &Panel| -> Vec<(String, Vec<u64>)> {
            let (baselines, notices) = all(data, &protocol).unwrap();
            assert!(notices.is_empty());
            let run = |mut b: Baseline| {
                let mut out = vec![f64::NAN; 2 * 4];
                b.forecast(data, &windows, &mut out).unwrap();
                assert!(out.iter().all(|v| v.is_finite()), "{}", b.name());
                (b.name().to_owned(), out.iter().map(|v| v.to_bits()).collect())
            };
            baselines.into_iter().map(run).collect()
        };
        let before = forecast(&data);
        assert_eq!(before.len(), 4);
        let mut changed = data.clone();
        for w in windows {
            let rows = changed.rows(w.series as usize);
            let start = rows.start + w.origin as usize;
            for (i, v) in changed.y[start..rows.end].iter_mut().enumerate() {
                *v = if i % 3 == 0 { f64::NAN } else { 1e6 * i as f64 };
            }
        }
        assert_eq!(before, forecast(&changed));
        // and the test can fail: a change before the origin moves them all
        changed.y[104] += 1.0;
        changed.y[99] += 1.0;
        for (was, is) in before.iter().zip(forecast(&changed)) {
            assert_ne!(was.1[..4], is.1[..4], "{}", was.0);
        }
    }

    #[test]
    fn fitted_and_seasonal_baselines_beat_the_naive_on_a_season() {
        let (data, protocol) = noisy();
        let (baselines, _) = all(&data, &protocol).unwrap();
        let mae: Vec<f64> =
            baselines.into_iter().map(|mut b| judge(&data, &protocol, b.as_mut(), 7).unwrap().scaled.mae).collect();
        assert!(mae[1] < mae[0] && mae[3] < mae[0] && mae[3] < mae[1], "{mae:?}");
    }

    #[test]
    fn series_too_short_for_the_linear_one_leave_it_out_with_a_notice() {
        let data = panel(&[&[1.0, 2.0, 3.0, 4.0]]);
        let (baselines, notices) = all(&data, &Protocol::new(3, 1, 1, vec![split(3, 0, 1)])).unwrap();
        assert_eq!(baselines.len(), 3);
        assert!(notices[0].contains("needs 4 train rows"), "{notices:?}");
    }
}
