//! What the values of a file are like: seasons, holes, stretches that do not change, and settings that suit them.

use serde::Serialize;

use crate::calendar::Frequency;

use super::panel::Panel;
use super::seasonality::{Season, seasons};

/// Series whose seasons are looked for; of more, so many that lie evenly among them.
const MOST_SERIES: usize = 50;
/// Seasons up to this length are suggested as the horizon.
const MOST_HORIZON: usize = 60;
/// Points of the sketch.
const SKETCH: usize = 150;

/// The values of the target over all series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Portrait {
    /// The target column, or `value` for several wide columns.
    pub target: String,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Rows without a value, those absent from the calendar among them.
    pub missing: usize,
    /// The longest stretch without a value.
    pub longest_missing: Option<Stretch>,
    /// Stretches of equal values, at least [`Portrait::constant_from`] rows long.
    pub constant: usize,
    /// The length from which a stretch of equal values is told.
    pub constant_from: usize,
    /// The longest of them.
    pub longest_constant: Option<Stretch>,
    /// Seasons that at least a third of the series have, the strongest first.
    pub seasons: Vec<Season>,
    /// Share of values farther than five scaled median absolute deviations from the median of their series.
    pub outliers: f64,
    /// Whether the level of the typical series moves: the means of its first and last quarter differ by more than its
    /// standard deviation.
    pub level_moves: bool,
    /// Settings to begin with.
    pub suggested: Suggested,
    /// The series that [`Portrait::sketch`] shows.
    pub sketched: String,
    /// Row and value of up to 150 points of one series: means of equally long pieces.
    #[serde(skip)]
    pub sketch: Vec<(f32, f32)>,
}

/// Rows of a series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stretch {
    /// The series.
    pub series: String,
    /// The first row's time.
    pub from: String,
    /// The last row's time.
    pub to: String,
    /// How many rows.
    pub rows: usize,
    /// The value that does not change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

/// Settings to begin with. They are rules of thumb, not a search.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suggested {
    /// One season, where the series are long enough for it.
    pub horizon: usize,
    /// Five horizons and two seasons, where the series are long enough for it.
    pub input_size: usize,
    /// `robust` where outliers would rule mean and deviation, else `standard`.
    pub scaler: &'static str,
    /// `standard` where the level moves, so that each window is seen from its own level; else `identity`.
    pub window_scaler: &'static str,
    /// Why, one line each.
    pub why: Vec<String>,
}

/// Looks at a panel whose absent and missing rows are NaN; `None` where nothing is observed.
pub(super) fn portrait(panel: &Panel) -> Option<Portrait> {
    let observed = || panel.y.iter().copied().filter(|v| v.is_finite());
    let (min, max) = (observed().reduce(f64::min)?, observed().reduce(f64::max)?);
    let natural = natural_periods(panel.freq);
    let sample: Vec<usize> = evenly(panel.n_series(), MOST_SERIES);
    let found: Vec<Vec<Season>> = sample.iter().map(|s| seasons(panel.series(*s), &natural)).collect();
    let seasons = common(&found);
    let constant_from = seasons.iter().map(|s| s.period).min().unwrap_or(0).max(panel.freq.season()).max(10);
    let (longest_missing, _) = stretches(panel, 1, |a, b| a.is_nan() && b.is_nan(), |v| v.is_nan());
    let (longest_constant, constant) = stretches(panel, constant_from, |a, b| a == b, |v| v.is_finite());
    let longest_constant = longest_constant.map(|(stretch, value)| Stretch { value: Some(value), ..stretch });
    let outliers = mean(sample.iter().filter_map(|s| outliers(panel.series(*s))));
    let moving = sample.iter().filter(|s| level_moves(panel.series(**s))).count();
    let level_moves = moving * 2 > sample.len();
    let shown = (0..panel.n_series()).max_by_key(|s| (panel.len_of(*s), std::cmp::Reverse(*s)))?;
    let suggested = suggest(panel, &seasons, outliers, level_moves);
    Some(Portrait {
        target: panel.target.clone(),
        min,
        max,
        missing: panel.y.iter().filter(|v| v.is_nan()).count(),
        longest_missing: longest_missing.map(|(stretch, _)| stretch),
        constant,
        constant_from,
        longest_constant,
        seasons,
        outliers,
        level_moves,
        suggested,
        sketched: panel.ids[shown].clone(),
        sketch: sketch(panel.series(shown)),
    })
}

/// The periods that a calendar brings with it, in rows: day, week, year.
fn natural_periods(freq: Frequency) -> Vec<usize> {
    let season = freq.season();
    let mut periods = vec![season];
    if freq.is_sub_daily() {
        periods.push(7 * season);
    } else if freq.is_business() {
        periods.extend([21, 252, 261]);
    } else if freq == Frequency::daily() {
        periods.extend([30, 365]);
    }
    periods.retain(|p| *p > 1);
    periods
}

/// `0..n`, or `most` of it that lie evenly.
fn evenly(n: usize, most: usize) -> Vec<usize> {
    if n <= most { (0..n).collect() } else { (0..most).map(|i| i * n / most).collect() }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0u32), |(sum, n), v| (sum + v, n + 1));
    if n == 0 { 0.0 } else { sum / f64::from(n) }
}

/// Seasons that at least a third of the series have, with the mean of their strengths.
fn common(found: &[Vec<Season>]) -> Vec<Season> {
    let mut by_period: std::collections::BTreeMap<usize, Vec<f64>> = std::collections::BTreeMap::new();
    for season in found.iter().flatten() {
        by_period.entry(season.period).or_default().push(season.strength);
    }
    let mut seasons: Vec<Season> = by_period
        .into_iter()
        .filter(|(_, strengths)| strengths.len() * 3 >= found.len())
        .map(|(period, strengths)| Season { period, strength: mean(strengths.into_iter()) })
        .collect();
    seasons.sort_by(|a, b| b.strength.total_cmp(&a.strength));
    seasons
}

/// The longest run of at least `from` rows that go on, with its value, and how many such runs there are.
fn stretches(
    panel: &Panel,
    from: usize,
    goes_on: impl Fn(f64, f64) -> bool,
    counts: impl Fn(f64) -> bool,
) -> (Option<(Stretch, f64)>, usize) {
    let mut longest: Option<(usize, usize, usize)> = None;
    let mut n = 0;
    for s in 0..panel.n_series() {
        let y = panel.series(s);
        let mut start = 0;
        while start < y.len() {
            let mut end = start + 1;
            while end < y.len() && goes_on(y[end - 1], y[end]) {
                end += 1;
            }
            if counts(y[start]) && end - start >= from {
                n += 1;
                if longest.is_none_or(|(_, a, b)| end - start > b - a) {
                    longest = Some((s, start, end));
                }
            }
            start = end;
        }
    }
    let stretch = longest.map(|(s, start, end)| {
        let at = |row: usize| panel.clock.format(panel.times(s)[row]);
        let series = panel.ids[s].clone();
        (Stretch { series, from: at(start), to: at(end - 1), rows: end - start, value: None }, panel.series(s)[start])
    });
    (stretch, n)
}

/// The share of values that lie farther than five scaled median absolute deviations from the median.
fn outliers(y: &[f64]) -> Option<f64> {
    let mut values: Vec<f64> = y.iter().copied().filter(|v| v.is_finite()).collect();
    if values.len() < 12 {
        return None;
    }
    let median = |values: &mut Vec<f64>| {
        let mid = values.len() / 2;
        *values.select_nth_unstable_by(mid, f64::total_cmp).1
    };
    let centre = median(&mut values);
    let mut deviations: Vec<f64> = values.iter().map(|v| (v - centre).abs()).collect();
    // 1.4826 makes it the standard deviation of normal values.
    let spread = 1.4826 * median(&mut deviations);
    if spread <= 0.0 {
        return None;
    }
    Some(deviations.iter().filter(|d| **d > 5.0 * spread).count() as f64 / deviations.len() as f64)
}

/// Whether the means of the first and the last quarter differ by more than a standard deviation.
fn level_moves(y: &[f64]) -> bool {
    let values: Vec<f64> = y.iter().copied().filter(|v| v.is_finite()).collect();
    let quarter = values.len() / 4;
    if quarter < 3 {
        return false;
    }
    let all = mean(values.iter().copied());
    let deviation = mean(values.iter().map(|v| (v - all).powi(2))).sqrt();
    let (first, last) = (&values[..quarter], &values[values.len() - quarter..]);
    (mean(first.iter().copied()) - mean(last.iter().copied())).abs() > deviation && deviation > 0.0
}

fn suggest(panel: &Panel, seasons: &[Season], outliers: f64, level_moves: bool) -> Suggested {
    let mut lengths: Vec<usize> = (0..panel.n_series()).map(|s| panel.len_of(s)).collect();
    lengths.sort_unstable();
    let typical = lengths[lengths.len() / 2];
    let mut why = Vec::new();
    // A year of days or a solar cycle of months is no horizon to begin with.
    let usual = panel.freq.season();
    let shortest = seasons.iter().map(|s| s.period).filter(|p| *p <= MOST_HORIZON || *p == usual).min();
    let wanted = match shortest {
        Some(period) => {
            why.push(format!("horizon: one season of {period} rows"));
            period
        }
        None => {
            let found = if seasons.is_empty() { "no season was found" } else { "the season is long" };
            why.push(format!("horizon: {found}; `{}` usually has one of {usual}", panel.freq));
            usual.max(4)
        }
    };
    // A forecast must be seen in training many times over.
    let horizon = wanted.min(typical / 10).max(1);
    if horizon < wanted {
        why.push(format!("horizon: cut to a tenth of the typical series ({typical} rows)"));
    }
    let two = 2 * seasons.iter().map(|s| s.period).filter(|p| *p <= 30 * horizon).max().unwrap_or(0);
    let wanted = (5 * horizon).max(two);
    let input_size = wanted.min((typical / 3).max(horizon)).max(1);
    why.push(match input_size == wanted {
        true if two > 5 * horizon => format!("input_size: two seasons of {} rows", two / 2),
        true => "input_size: five horizons".to_owned(),
        false => format!("input_size: a third of the typical series ({typical} rows)"),
    });
    let scaler = if outliers > 0.005 { "robust" } else { "standard" };
    why.push(format!("scaler: {:.2} % of the values are far from the others", 100.0 * outliers));
    let window_scaler = if level_moves { "standard" } else { "identity" };
    if level_moves {
        why.push("window_scaler: the level moves, so that later windows lie outside what training saw".to_owned());
    }
    Suggested { horizon, input_size, scaler, window_scaler, why }
}

/// Means of equally long pieces.
fn sketch(y: &[f64]) -> Vec<(f32, f32)> {
    let n = y.len().min(SKETCH);
    let piece = |i: usize| i * y.len() / n.max(1)..(i + 1) * y.len() / n.max(1);
    (0..n)
        .filter_map(|i| {
            let values: Vec<f64> = y[piece(i)].iter().copied().filter(|v| v.is_finite()).collect();
            (!values.is_empty()).then(|| (piece(i).start as f32, mean(values.iter().copied()) as f32))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::Clock;
    use crate::random::{Purpose, Stream};

    fn panel(series: &[Vec<f64>], freq: &str) -> Panel {
        let mut offsets = vec![0];
        let mut time = Vec::new();
        let freq: Frequency = freq.parse().unwrap();
        for y in series {
            offsets.push(offsets[offsets.len() - 1] + y.len());
            time.extend((0..y.len() as i64).map(|i| freq.advance(0, i).unwrap()));
        }
        let ids = (0..series.len()).map(|s| format!("s{s}")).collect();
        Panel::new(ids, offsets, time, Clock::Local, freq, series.concat(), "y")
    }

    fn noise(n: usize, k: u64) -> Vec<f64> {
        let mut stream = Stream::new(k, Purpose::Synthetic, &[0]);
        (0..n).map(|_| stream.normal()).collect()
    }

    fn hourly(n: usize) -> Vec<f64> {
        (0..n)
            .map(|i| (i as f64 * std::f64::consts::TAU / 24.0).sin() + 0.1 * ((i * 7919 % 101) as f64 / 101.0))
            .collect()
    }

    #[test]
    fn seasons_stretches_and_settings_are_told() {
        let mut y = hourly(2000);
        y[100..140].fill(7.5);
        y[500..512].fill(f64::NAN);
        y[600] = f64::NAN;
        let p = portrait(&panel(&[y], "h")).unwrap();
        assert_eq!((p.seasons[0].period, p.missing, p.constant), (24, 13, 1));
        let constant = p.longest_constant.unwrap();
        assert_eq!((constant.rows, constant.value, constant.from.as_str()), (40, Some(7.5), "1970-01-05 04:00:00"));
        let missing = p.longest_missing.unwrap();
        assert_eq!((missing.rows, missing.to.as_str(), missing.value), (12, "1970-01-22 07:00:00", None));
        assert_eq!((p.suggested.horizon, p.suggested.input_size, p.suggested.window_scaler), (24, 120, "identity"));
        assert_eq!(p.suggested.scaler, "robust", "2 % of the values are 7.5, far from a wave of height 1");
        assert_eq!((p.sketch.len(), p.max), (150, 7.5));
    }

    #[test]
    fn settings_fit_short_and_moving_series() {
        let rising: Vec<f64> = noise(40, 2).iter().enumerate().map(|(i, e)| i as f64 + e).collect();
        let p = portrait(&panel(&[rising.clone(), rising], "MS")).unwrap();
        assert!(p.level_moves);
        assert_eq!((p.suggested.horizon, p.suggested.window_scaler), (4, "standard"));
        assert!(p.suggested.input_size <= 40 / 3 + 4, "{:?}", p.suggested);
        assert!(portrait(&panel(&[vec![f64::NAN; 5]], "D")).is_none());
        let one = portrait(&panel(&[vec![1.0]], "D")).unwrap();
        assert_eq!((one.suggested.horizon, one.suggested.input_size), (1, 1));
    }

    #[test]
    fn what_few_series_have_is_not_told_of_all() {
        let mut series: Vec<Vec<f64>> = (1..8).map(|k| noise(500, k)).collect();
        series.push(hourly(500));
        assert!(portrait(&panel(&series, "h")).unwrap().seasons.is_empty());
    }
}
