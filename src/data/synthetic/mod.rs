//! Synthetic series with known properties, for trying things out and for tests that need the truth.
//!
//! Every number comes from the seeded [`Stream`] of the series, so a request gives the same table on every machine.

mod processes;

use std::str::FromStr;

pub use processes::{Autoregressive, Bars, Ohlcv, RandomWalk, Sine, TrendSeasonal};

use crate::calendar::{Clock, Frequency};
use crate::error::{Advise, InvalidSetting, nearest};
use crate::random::{Purpose, Stream};

/// What can be wrong with a request for synthetic series.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SyntheticError {
    /// A setting is out of its range.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// There is no kind of that name.
    #[error("`{name}` is no kind of synthetic series: expected {}", SyntheticKind::NAMES.join(", "))]
    UnknownKind {
        /// The name.
        name: String,
        /// The kind that was probably meant.
        meant: Option<String>,
    },
    /// The series leaves the range of numbers.
    #[error("row {row} of the synthetic {kind} series is {value}, which is no usable number")]
    Overflow {
        /// The kind of series.
        kind: &'static str,
        /// The row, counted from 0.
        row: usize,
        /// The value there.
        value: String,
    },
    /// The stamps leave the range of times.
    #[error("{n} rows with frequency `{freq}` go beyond the last time that can be written")]
    Times {
        /// Rows asked for.
        n: usize,
        /// The frequency.
        freq: Frequency,
    },
}

impl Advise for SyntheticError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Setting(e) => e.kind(),
            Self::UnknownKind { .. } => "unknown-synthetic-kind",
            Self::Overflow { .. } => "synthetic-overflow",
            Self::Times { .. } => "times-out-of-range",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Setting(e) => e.hint(),
            Self::UnknownKind { meant, .. } => meant.as_ref().map(|m| format!("did you mean `{m}`?")),
            Self::Overflow { .. } => Some("use a smaller slope, drift or noise, or fewer rows".into()),
            Self::Times { .. } => Some("use fewer rows, a finer frequency or an earlier start".into()),
        }
    }
}

/// A kind of synthetic series with its settings; made from a name it has the defaults.
#[derive(Debug, Clone, PartialEq)]
pub enum SyntheticKind {
    /// `sine`
    Sine(Sine),
    /// `trend`: trend and season
    Trend(TrendSeasonal),
    /// `random-walk`
    RandomWalk(RandomWalk),
    /// `ar`
    Autoregressive(Autoregressive),
    /// `ohlcv`
    Ohlcv(Ohlcv),
}

impl SyntheticKind {
    /// The names of all kinds.
    pub const NAMES: [&'static str; 5] = ["sine", "trend", "random-walk", "ar", "ohlcv"];

    /// The name of this kind.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sine(_) => "sine",
            Self::Trend(_) => "trend",
            Self::RandomWalk(_) => "random-walk",
            Self::Autoregressive(_) => "ar",
            Self::Ohlcv(_) => "ohlcv",
        }
    }

    /// Whether the settings are usable.
    ///
    /// # Errors
    /// The first setting that is not.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        match self {
            Self::Sine(c) => c.check(),
            Self::Trend(c) => c.check(),
            Self::RandomWalk(c) => c.check(),
            Self::Autoregressive(c) => c.check(),
            Self::Ohlcv(c) => c.check(),
        }
    }

    /// The named columns of one series of `n` rows: `y` alone, or `open, high, low, close, volume`.
    fn columns(&self, n: usize, stream: &mut Stream) -> Result<Vec<(&'static str, Vec<f64>)>, SyntheticError> {
        let one = |y: Vec<f64>| vec![("y", y)];
        Ok(match self {
            Self::Sine(c) => one(c.generate(n, stream)?),
            Self::Trend(c) => one(c.generate(n, stream)?),
            Self::RandomWalk(c) => one(c.generate(n, stream)?),
            Self::Autoregressive(c) => one(c.generate(n, stream)?),
            Self::Ohlcv(c) => {
                let Bars { open, high, low, close, volume } = c.generate(n, stream)?;
                vec![("open", open), ("high", high), ("low", low), ("close", close), ("volume", volume)]
            }
        })
    }
}

impl FromStr for SyntheticKind {
    type Err = SyntheticError;

    fn from_str(text: &str) -> Result<Self, SyntheticError> {
        match text.trim().to_lowercase().replace('_', "-").as_str() {
            "sine" => Ok(Self::Sine(Sine::default())),
            "trend" => Ok(Self::Trend(TrendSeasonal::default())),
            "random-walk" => Ok(Self::RandomWalk(RandomWalk::default())),
            "ar" => Ok(Self::Autoregressive(Autoregressive::default())),
            "ohlcv" => Ok(Self::Ohlcv(Ohlcv::default())),
            other => Err(SyntheticError::UnknownKind {
                name: text.to_owned(),
                meant: nearest(other, Self::NAMES.iter()).map(str::to_owned),
            }),
        }
    }
}

/// How many series of which length, and their times.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Time of the first row, in the units of `clock`.
    pub start: i64,
    /// The clock of the times.
    pub clock: Clock,
    /// The step between rows; a start that is not on its grid is moved to the next time that is.
    pub freq: Frequency,
    /// Rows per series, at least 1.
    pub n: usize,
    /// Series, at least 1.
    pub n_series: usize,
    /// Seed; series `s` draws from the stream of `(seed, s)`.
    pub seed: u64,
}

/// Generated series in the long layout: the rows of one series lie together, series after series.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// `unique_id` of each series: `series_0`, `series_1`, ...
    pub ids: Vec<String>,
    /// Rows of each series.
    pub n: usize,
    /// Names and values, one value per row of the table: `ids.len() * n`.
    pub columns: Vec<(String, Vec<f64>)>,
    /// The time of each row of the table: the same `n` times for each series.
    pub times: Vec<i64>,
    /// How the times are to be written.
    pub clock: Clock,
    /// The step between rows.
    pub freq: Frequency,
}

impl Generated {
    /// The `unique_id` of a row of the table.
    ///
    /// # Panics
    /// If the table has no such row.
    pub fn id_of(&self, row: usize) -> &str {
        &self.ids[row / self.n]
    }
}

/// Makes the series that a request asks for.
///
/// # Errors
/// A setting out of its range (`n`, `n_series`, a frequency that does not fit the clock, the kind's own ones), values
/// that overflow, or times out of range.
pub fn generate(kind: &SyntheticKind, request: &Request) -> Result<Generated, SyntheticError> {
    let Request { start, clock, freq, n, n_series, seed } = *request;
    kind.check()?;
    for (field, value) in [("n", n), ("n_series", n_series)] {
        if value == 0 {
            return Err(InvalidSetting::new(field, value, "at least 1", format!("raise {field}")).into());
        }
    }
    // A slip of the keyboard should be an error, not the end of the machine's memory.
    let rows = n.checked_mul(n_series).filter(|rows| *rows as u64 <= 1 << 30).ok_or_else(|| {
        InvalidSetting::new("n", format!("{n} x {n_series}"), "at most 2^30 rows in all", "use fewer rows or series")
    })?;
    if !freq.fits(clock) {
        let remedy = "integers step by integers (freq 1); steps within the day need a start with a time of day";
        return Err(InvalidSetting::new("freq", freq, format!("a step that goes with {clock}"), remedy).into());
    }
    let one = times(start, freq, n).ok_or(SyntheticError::Times { n, freq })?;
    let mut columns: Vec<(String, Vec<f64>)> = Vec::new();
    for s in 0..n_series {
        let mut stream = Stream::new(seed, Purpose::Synthetic, &[s as u64]);
        let made = kind.columns(n, &mut stream)?;
        if columns.is_empty() {
            columns = made.iter().map(|(name, _)| ((*name).to_owned(), Vec::with_capacity(rows))).collect();
        }
        for ((_, all), (_, values)) in columns.iter_mut().zip(made) {
            all.extend(values);
        }
    }
    Ok(Generated {
        ids: (0..n_series).map(|s| format!("series_{s}")).collect(),
        n,
        columns,
        times: one.repeat(n_series),
        clock,
        freq,
    })
}

/// `n` times from `start`, or from the next time on the grid.
fn times(start: i64, freq: Frequency, n: usize) -> Option<Vec<i64>> {
    // On the grid a step there and back is the way home.
    let next = freq.advance(start, 1)?;
    let first = if freq.advance(next, -1) == Some(start) { start } else { next };
    (0..n).map(|k| freq.advance(first, i64::try_from(k).ok()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::parse_stamp;

    fn request(n: usize, n_series: usize) -> Request {
        let start = parse_stamp("2020-01-01").unwrap().value;
        Request { start, clock: Clock::Local, freq: "h".parse().unwrap(), n, n_series, seed: 7 }
    }

    #[test]
    fn a_request_is_the_same_again_and_another_seed_is_not() {
        for name in SyntheticKind::NAMES {
            let mut kind: SyntheticKind = name.parse().unwrap();
            if let SyntheticKind::Sine(c) = &mut kind {
                c.noise = 0.1;
            }
            let first = generate(&kind, &request(50, 2)).unwrap();
            assert_eq!(first, generate(&kind, &request(50, 2)).unwrap(), "{name}");
            let other = generate(&kind, &Request { seed: 8, ..request(50, 2) }).unwrap();
            for ((column, a), (_, b)) in first.columns.iter().zip(&other.columns) {
                assert_ne!(a, b, "{name} {column}");
                assert_ne!(a[..50], a[50..], "the series of {name} {column}");
            }
            // More series do not change the first.
            let more = generate(&kind, &request(50, 3)).unwrap();
            assert_eq!(more.columns[0].1[..100], first.columns[0].1[..]);
            assert_eq!(kind.name(), name);
        }
    }

    #[test]
    fn the_long_table_repeats_the_times_for_each_series() {
        let made = generate(&"trend".parse().unwrap(), &request(3, 2)).unwrap();
        let hour = 3_600_000_000;
        let start = made.times[0];
        assert_eq!(made.times, [0, 1, 2, 0, 1, 2].map(|k| start + k * hour));
        assert_eq!((made.ids.len(), made.columns.len(), made.columns[0].0.as_str()), (2, 1, "y"));
        assert_eq!((made.columns[0].1.len(), made.id_of(2), made.id_of(3)), (6, "series_0", "series_1"));
    }

    #[test]
    fn a_start_off_the_grid_moves_to_it() {
        let at = |text: &str| parse_stamp(text).unwrap().value;
        for (freq, start, first) in
            [("MS", "2020-01-15", "2020-02-01"), ("MS", "2020-02-01", "2020-02-01"), ("B", "2020-01-04", "2020-01-06")]
        {
            let request = Request { start: at(start), freq: freq.parse().unwrap(), ..request(5, 1) };
            let made = generate(&"sine".parse().unwrap(), &request).unwrap();
            assert_eq!(made.times[0], at(first), "{freq} {start}");
        }
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let sine = |c: Sine| SyntheticKind::Sine(c);
        for (kind, field) in [
            (sine(Sine { noise: f64::NAN, ..Sine::default() }), "noise"),
            (sine(Sine { noise: -1.0, ..Sine::default() }), "noise"),
            (sine(Sine { period: 0.0, ..Sine::default() }), "period"),
            (sine(Sine { amplitude: f64::INFINITY, ..Sine::default() }), "amplitude"),
            (SyntheticKind::Trend(TrendSeasonal { slope: f64::NAN, ..Default::default() }), "slope"),
            (SyntheticKind::RandomWalk(RandomWalk { drift: f64::NAN, ..Default::default() }), "drift"),
            (SyntheticKind::Ohlcv(Ohlcv { start_price: -1.0, ..Default::default() }), "start_price"),
            (SyntheticKind::Ohlcv(Ohlcv { volume: 0.0, ..Default::default() }), "volume"),
        ] {
            let error = generate(&kind, &request(10, 1)).unwrap_err();
            assert!(error.to_string().starts_with(field), "{error}");
            assert_eq!(error.kind(), "invalid-setting");
        }
        let sine: SyntheticKind = "sine".parse().unwrap();
        assert!(generate(&sine, &request(0, 1)).unwrap_err().to_string().starts_with("n = 0"));
        assert!(generate(&sine, &request(1, 0)).unwrap_err().to_string().starts_with("n_series = 0"));
        assert!(generate(&sine, &request(usize::MAX, 2)).is_err());
        let integers = Request { clock: Clock::Integer, ..request(5, 1) };
        assert!(generate(&sine, &integers).unwrap_err().to_string().starts_with("freq = h"));
        let years = Request { freq: "YS".parse().unwrap(), ..request(9_000, 1) };
        assert!(matches!(generate(&sine, &years), Err(SyntheticError::Times { .. })));
    }

    #[test]
    fn values_that_overflow_are_errors() {
        let wild = SyntheticKind::Ohlcv(Ohlcv { drift: 10.0, ..Ohlcv::default() });
        assert!(matches!(generate(&wild, &request(500, 1)), Err(SyntheticError::Overflow { kind: "ohlcv", .. })));
        let sinking = SyntheticKind::Ohlcv(Ohlcv { drift: -10.0, ..Ohlcv::default() });
        assert!(matches!(generate(&sinking, &request(500, 1)), Err(SyntheticError::Overflow { .. })));
        let steep = SyntheticKind::Trend(TrendSeasonal { slope: f64::MAX, ..Default::default() });
        assert!(matches!(generate(&steep, &request(5, 1)), Err(SyntheticError::Overflow { row: 2, .. })));
    }

    #[test]
    fn an_unknown_kind_names_the_nearest() {
        let error = "sinus".parse::<SyntheticKind>().unwrap_err();
        assert!(error.to_string().contains("random-walk"));
        assert_eq!("randomwalk".parse::<SyntheticKind>().unwrap_err().hint().unwrap(), "did you mean `random-walk`?");
        assert_eq!("random_walk".parse::<SyntheticKind>().unwrap().name(), "random-walk");
    }

    #[test]
    fn bars_have_five_columns() {
        let made = generate(&"ohlcv".parse().unwrap(), &request(4, 1)).unwrap();
        let names: Vec<&str> = made.columns.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["open", "high", "low", "close", "volume"]);
    }
}
