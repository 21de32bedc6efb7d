//! Seasons of a series: peaks of the autocorrelation of its detrended values, rounded to the calendar where near.

use serde::Serialize;

/// Rows that are looked at, the last ones: enough for a yearly season of daily rows many times over.
const MOST_ROWS: usize = 8192;
/// Above this autocorrelation of neighbours a series wanders like a sum of shocks; then its steps are looked at, because
/// a wandering series has broad peaks at any lag.
const WANDERS: f64 = 0.97;
/// The least autocorrelation at a season, however long the series.
const LEAST: f64 = 0.15;
/// How far a peak must stand above the lowest value before it.
const PROMINENCE: f64 = 0.15;
/// Of two seasons of which one is a multiple of the other the longer one is told only if it is so much stronger.
const STRONGER: f64 = 0.05;
/// Seasons that are told.
const MOST: usize = 3;

/// A season that was found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Season {
    /// Its length in rows.
    pub period: usize,
    /// The autocorrelation at that lag, of detrended values (of their steps where the series wanders): at most 1.
    pub strength: f64,
}

/// The seasons of `y` (NaN is missing), the strongest first; `natural` are the periods of its calendar in rows.
///
/// A season must be seen three times. The values are detrended by a straight line, missing ones lie on a line between
/// their neighbours for this purpose only.
pub(super) fn seasons(y: &[f64], natural: &[usize]) -> Vec<Season> {
    let y = &y[y.len().saturating_sub(MOST_ROWS)..];
    let Some(values) = bridged(y) else { return Vec::new() };
    let mut values = detrended(&values);
    let Some(mut r) = autocorrelation(&values) else { return Vec::new() };
    if r.get(1).is_some_and(|r| *r > WANDERS) {
        values = values.windows(2).map(|w| w[1] - w[0]).collect();
        match autocorrelation(&values) {
            Some(of_steps) => r = of_steps,
            None => return Vec::new(),
        }
    }
    let least = LEAST.max(3.0 / (values.len() as f64).sqrt());
    let mut found: Vec<Season> = Vec::new();
    let mut lowest = r.get(1).copied().unwrap_or(1.0);
    for p in 2..r.len() {
        let near = (p / 8).max(1);
        let is_peak =
            (p - near..=(p + near).min(r.len() - 1)).all(|q| q == p || r[q] < r[p] || (r[q] == r[p] && q > p));
        // The last lags have no other side that a peak could fall to.
        if is_peak && p + 1 < r.len() && r[p] >= least && r[p] - lowest >= PROMINENCE {
            // A longer season pulls the peak of a shorter one aside.
            let on_calendar = natural
                .iter()
                .copied()
                .find(|n| p.abs_diff(*n) * 12 <= *n && r.get(*n).is_some_and(|there| *there >= r[p] - STRONGER));
            let period = on_calendar.unwrap_or(p);
            // Peaks repeat at multiples, a little beside them where the season is no whole number of rows.
            let shorter = found.iter().filter(|s| {
                let times = (p as f64 / s.period as f64).round().max(1.0);
                let beside = (times * 0.5 + 1.0).max(0.03 * p as f64);
                (p as f64 - times * s.period as f64).abs() <= beside.min(s.period as f64 / 3.0)
            });
            let told = shorter.map(|s| s.strength).reduce(f64::max);
            if told.is_none_or(|strength| on_calendar.is_some() && r[p] > strength + STRONGER) {
                found.push(Season { period, strength: r[p] });
            }
        }
        lowest = lowest.min(r[p]);
    }
    found.sort_by(|a, b| b.strength.total_cmp(&a.strength));
    // A weak one beside a strong one is a part of it (half a day of a day) or a chance, but for what the calendar knows.
    if let Some(strongest) = found.first().map(|s| s.strength) {
        found.retain(|s| natural.contains(&s.period) || 2.0 * s.strength >= strongest);
    }
    found.truncate(MOST);
    found
}

/// The values with straight lines over the missing ones; `None` where fewer than twelve or half of them are there.
fn bridged(y: &[f64]) -> Option<Vec<f64>> {
    let first = y.iter().position(|v| v.is_finite())?;
    let last = y.iter().rposition(|v| v.is_finite())?;
    let y = &y[first..=last];
    let observed = y.iter().filter(|v| v.is_finite()).count();
    if observed < 12 || observed * 2 < y.len() {
        return None;
    }
    let mut values = y.to_vec();
    let mut known = 0;
    for i in 1..values.len() {
        if !values[i].is_finite() {
            continue;
        }
        for k in known + 1..i {
            values[k] = values[known] + (values[i] - values[known]) * (k - known) as f64 / (i - known) as f64;
        }
        known = i;
    }
    Some(values)
}

/// What is left of the values beside their straight line of least squares.
fn detrended(values: &[f64]) -> Vec<f64> {
    let n = values.len() as f64;
    let (mid, mean) = ((n - 1.0) / 2.0, values.iter().sum::<f64>() / n);
    let (mut above, mut below) = (0.0, 0.0);
    for (i, v) in values.iter().enumerate() {
        let x = i as f64 - mid;
        above += x * (v - mean);
        below += x * x;
    }
    let slope = if below > 0.0 { above / below } else { 0.0 };
    values.iter().enumerate().map(|(i, v)| v - mean - slope * (i as f64 - mid)).collect()
}

/// Autocorrelations at the lags from 0 to a third of the length; `None` for values that do not vary.
fn autocorrelation(values: &[f64]) -> Option<Vec<f64>> {
    let n = values.len();
    let mean = values.iter().sum::<f64>() / n as f64;
    let centred: Vec<f64> = values.iter().map(|v| v - mean).collect();
    let variance: f64 = centred.iter().map(|v| v * v).sum();
    let scale = values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    // What rounding leaves of a straight line is no variation.
    if n < 8 || !variance.is_finite() || variance <= (1e-9 * scale).powi(2) * n as f64 {
        return None;
    }
    let at = |lag: usize| {
        let sum: f64 = centred[lag..].iter().zip(&centred).map(|(a, b)| a * b).sum();
        // Per pair, so that long lags are not small only because they have fewer pairs.
        sum / variance * n as f64 / (n - lag) as f64
    };
    Some((0..=n / 3 + 1).map(at).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Stream};

    fn noise(n: usize) -> Vec<f64> {
        let mut stream = Stream::new(7, Purpose::Synthetic, &[0]);
        (0..n).map(|_| stream.normal()).collect()
    }

    fn wave(n: usize, period: f64) -> impl Iterator<Item = f64> {
        (0..n).map(move |i| (i as f64 * std::f64::consts::TAU / period).sin())
    }

    fn periods(y: &[f64], natural: &[usize]) -> Vec<usize> {
        seasons(y, natural).iter().map(|s| s.period).collect()
    }

    #[test]
    fn a_season_is_found_under_trend_noise_and_holes() {
        let mut y: Vec<f64> = wave(600, 24.0)
            .zip(noise(600))
            .enumerate()
            .map(|(i, (w, e))| 3.0 * w + 0.05 * i as f64 + 0.7 * e)
            .collect();
        assert_eq!(periods(&y, &[24]), [24]);
        (100..160).for_each(|i| y[i] = f64::NAN);
        assert_eq!(periods(&y, &[24]), [24]);
        assert_eq!(periods(&y, &[]), [24], "without the calendar's help");
    }

    #[test]
    fn two_seasons_are_told_the_stronger_first() {
        let (day, week) = (wave(3000, 24.0), wave(3000, 168.0));
        let y: Vec<f64> = day.zip(week).zip(noise(3000)).map(|((d, w), e)| d + 1.5 * w + 0.3 * e).collect();
        let mut found = periods(&y, &[24, 168]);
        found.sort_unstable();
        assert_eq!(found, [24, 168]);
    }

    #[test]
    fn noise_a_line_a_random_walk_and_short_series_have_none() {
        assert!(seasons(&noise(1000), &[24]).is_empty());
        let line: Vec<f64> = (0..300).map(f64::from).collect();
        assert!(seasons(&line, &[7]).is_empty());
        assert!(seasons(&[5.0; 100], &[7]).is_empty());
        let mut level = 0.0;
        let walk: Vec<f64> = noise(5000)
            .iter()
            .map(|e| {
                level += e;
                level
            })
            .collect();
        assert!(seasons(&walk, &[5, 21]).is_empty(), "{:?}", seasons(&walk, &[5, 21]));
        assert!(seasons(&[1.0, 2.0, 1.0, 2.0], &[2]).is_empty());
        assert!(seasons(&[f64::NAN; 50], &[7]).is_empty());
    }

    #[test]
    fn a_season_beside_the_calendar_is_told_as_it_is() {
        let y: Vec<f64> = wave(900, 11.0).zip(noise(900)).map(|(w, e)| w + 0.2 * e).collect();
        assert_eq!(periods(&y, &[24]), [11]);
    }
}
