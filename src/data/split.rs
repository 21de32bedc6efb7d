//! Splits: which rows of a series are for training, validation and testing, always in time order.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::panel::Panel;
use crate::error::Advise;

/// How far fractions may miss 1 and still mean all rows.
const WHOLE: f64 = 1e-9;

/// How rows are split, as written on the command line: `34560/11520/11520`, `0.7/0.1/0.2`, `*/18/18`, `0.8/0.2`.
///
/// The parts follow each other from the first row: train, then validation, then test. A part written `*` (`None` here)
/// takes what the others leave; without one, rows beyond the last part are not used. Two parts are train and
/// validation. Whole numbers are rows; with a point or an exponent they are fractions (`1.0/0`, not `1/0`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SplitSpec {
    /// Numbers of rows.
    Rows {
        /// Rows for training.
        train: Option<usize>,
        /// Rows for validation.
        val: Option<usize>,
        /// Rows for testing.
        test: Option<usize>,
    },
    /// Fractions of the rows of each series.
    ///
    /// Train and test round down, as `int(f * n)`; validation gets what is left where the fractions sum to 1 (with two
    /// parts too), else it rounds down as well.
    Fractions {
        /// Fraction for training.
        train: Option<f64>,
        /// Fraction for validation.
        val: Option<f64>,
        /// Fraction for testing.
        test: Option<f64>,
    },
}

/// The rows of one series that each part gets, relative to the series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesSplit {
    /// Rows for training; never empty.
    pub train: Range<usize>,
    /// Rows for validation; they follow the training rows.
    pub val: Range<usize>,
    /// Rows for testing; they follow the validation rows.
    pub test: Range<usize>,
}

impl SeriesSplit {
    /// Rows that some part uses: everything before this row.
    pub fn used(&self) -> usize {
        self.test.end
    }
}

/// What can be wrong with a split.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// The text or a number in it is no split.
    #[error("`{split}` is no split: {reason}")]
    Invalid {
        /// The split as written.
        split: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A series is too short for the rows asked for.
    #[error("split {split} needs {needed} rows, but {} has {rows}", named(.series))]
    TooShort {
        /// The split as written.
        split: String,
        /// The series, where it is known.
        series: Option<String>,
        /// Rows that the parts take together.
        needed: usize,
        /// Rows that there are.
        rows: usize,
    },
    /// No rows are left to train on.
    #[error("split {split} leaves no rows to train on in {} with {rows} rows", named(.series))]
    NoTrain {
        /// The split as written.
        split: String,
        /// The series, where it is known.
        series: Option<String>,
        /// Rows that there are.
        rows: usize,
    },
}

fn named(series: &Option<String>) -> String {
    series.as_ref().map_or_else(|| "the series".to_owned(), |id| format!("series `{id}`"))
}

impl SplitError {
    /// The same error with the series named.
    pub(super) fn of(self, id: &str) -> Self {
        let series = Some(id.to_owned());
        match self {
            Self::TooShort { split, needed, rows, .. } => Self::TooShort { split, series, needed, rows },
            Self::NoTrain { split, rows, .. } => Self::NoTrain { split, series, rows },
            other => other,
        }
    }
}

impl Advise for SplitError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "bad-split",
            Self::TooShort { .. } => "split-too-long",
            Self::NoTrain { .. } => "split-without-train",
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Invalid { .. } => {
                "write train/val/test as rows (34560/11520/11520), as fractions (0.7/0.1/0.2), or with * for the rest (*/18/18)"
                    .into()
            }
            Self::TooShort { .. } => {
                "use fewer rows, fractions such as 0.7/0.1/0.2, or * for a part that takes what is left (*/18/18)".into()
            }
            Self::NoTrain { .. } => "give validation and test fewer rows, or leave out the series that are too short".into(),
        })
    }
}

impl SplitSpec {
    /// A split into numbers of rows.
    pub fn rows(train: usize, val: usize, test: usize) -> Self {
        Self::Rows { train: Some(train), val: Some(val), test: Some(test) }
    }

    /// A split into fractions.
    ///
    /// # Errors
    /// [`SplitError::Invalid`] for fractions that are NaN, negative, sum to more than 1, or train on nothing.
    pub fn fractions(train: f64, val: f64, test: f64) -> Result<Self, SplitError> {
        Self::Fractions { train: Some(train), val: Some(val), test: Some(test) }.checked()
    }

    /// The split of `--val-split f`: the last fraction `val` of the rows for validation, the others for training.
    ///
    /// # Errors
    /// [`SplitError::Invalid`] unless `0 <= val < 1`.
    pub fn val_split(val: f64) -> Result<Self, SplitError> {
        if !(0.0..1.0).contains(&val) {
            let reason = "expected a share from 0 up to, not including, 1".to_owned();
            return Err(SplitError::Invalid { split: format!("--val-split {val}"), reason });
        }
        // 1 - 0.7 is 0.30000000000000004; what is saved with the run should read as the user thinks of it.
        Self::fractions(((1.0 - val) * 1e12).round() / 1e12, val, 0.0)
    }

    fn invalid(&self, reason: impl Into<String>) -> SplitError {
        SplitError::Invalid { split: self.to_string(), reason: reason.into() }
    }

    /// Itself, if its numbers can be a split.
    fn checked(self) -> Result<Self, SplitError> {
        let rests = match self {
            Self::Rows { train, val, test } => {
                if train == Some(0) {
                    return Err(self.invalid("it trains on no rows"));
                }
                [train.is_none(), val.is_none(), test.is_none()]
            }
            Self::Fractions { train, val, test } => {
                let parts = [train, val, test];
                if let Some(f) = parts.into_iter().flatten().find(|f| !(0.0..=1.0).contains(f)) {
                    let remedy = if f > 1.0 { " (rows and fractions cannot be mixed)" } else { "" };
                    return Err(self.invalid(format!("{f} is not a fraction from 0 to 1{remedy}")));
                }
                let sum: f64 = parts.into_iter().flatten().sum();
                if sum > 1.0 + WHOLE {
                    return Err(self.invalid(format!("the fractions sum to {sum}, more than 1")));
                }
                if train == Some(0.0) {
                    return Err(self.invalid("it trains on no rows"));
                }
                parts.map(|p| p.is_none())
            }
        };
        match rests.into_iter().filter(|r| *r).count() {
            0 | 1 => Ok(self),
            _ => Err(self.invalid("only one part can take the rest (`*`)")),
        }
    }

    /// The rows of each part for a series of `len` rows.
    ///
    /// # Errors
    /// [`SplitError::TooShort`] where the parts need more than `len` rows, [`SplitError::NoTrain`] where none is left to
    /// train on, [`SplitError::Invalid`] for numbers that make no split.
    pub fn resolve(&self, len: usize) -> Result<SeriesSplit, SplitError> {
        let [train, val, test] = self.checked()?.counts(len);
        let too_short =
            |needed: usize| Err(SplitError::TooShort { split: self.to_string(), series: None, needed, rows: len });
        let known = [train, val, test].into_iter().flatten().fold(0usize, usize::saturating_add);
        if known > len {
            return too_short(known);
        }
        let rest = len - known;
        let train = train.unwrap_or(rest);
        let val_end = train + val.unwrap_or(rest);
        let test_end = val_end + test.unwrap_or(rest);
        if train == 0 {
            return Err(SplitError::NoTrain { split: self.to_string(), series: None, rows: len });
        }
        Ok(SeriesSplit { train: 0..train, val: train..val_end, test: val_end..test_end })
    }

    /// [`SplitSpec::resolve`] for each series of a panel.
    ///
    /// # Errors
    /// Those of [`SplitSpec::resolve`], with the first series that they are true of.
    pub fn resolve_all(&self, panel: &Panel) -> Result<Vec<SeriesSplit>, SplitError> {
        let one = |s: usize| self.resolve(panel.len_of(s)).map_err(|e| e.of(&panel.ids[s]));
        (0..panel.n_series()).map(one).collect()
    }

    /// Rows of each part, `None` for the one that takes the rest.
    fn counts(&self, len: usize) -> [Option<usize>; 3] {
        match *self {
            Self::Rows { train, val, test } => [train, val, test],
            Self::Fractions { train, val, test } => {
                // Truncation, as the `int(n * f)` of the published protocols.
                let floor = |f: Option<f64>| f.map(|f| (len as f64 * f) as usize);
                let whole = match (train, val, test) {
                    (Some(a), Some(b), Some(c)) => (a + b + c - 1.0).abs() <= WHOLE,
                    _ => false,
                };
                // A validation part of nothing stays nothing: then the last row belongs to whoever is written last.
                match (whole, val, test) {
                    (true, Some(0.0), Some(0.0)) => [None, Some(0), Some(0)],
                    (true, Some(0.0), _) => [floor(train), Some(0), None],
                    (true, ..) => [floor(train), None, floor(test)],
                    (false, ..) => [floor(train), floor(val), floor(test)],
                }
            }
        }
    }
}

impl FromStr for SplitSpec {
    type Err = SplitError;

    fn from_str(text: &str) -> Result<Self, SplitError> {
        let invalid = |reason: String| SplitError::Invalid { split: text.to_owned(), reason };
        let parts: Vec<&str> = text.trim().split('/').map(str::trim).collect();
        let (train, val, test) = match parts[..] {
            [train, val] => (train, val, "0"),
            [train, val, test] => (train, val, test),
            _ => return Err(invalid(format!("expected two or three parts with `/` between, found {}", parts.len()))),
        };
        let is_rows = |part: &str| part == "*" || !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        fn read<T: FromStr>(part: &str) -> Result<Option<T>, String> {
            if part == "*" {
                return Ok(None);
            }
            part.parse().map(Some).map_err(|_| format!("`{part}` is neither a number of rows, nor a fraction, nor `*`"))
        }
        let spec = if is_rows(train) && is_rows(val) && is_rows(test) {
            Self::Rows {
                train: read(train).map_err(invalid)?,
                val: read(val).map_err(invalid)?,
                test: read(test).map_err(invalid)?,
            }
        } else {
            Self::Fractions {
                train: read(train).map_err(invalid)?,
                val: read(val).map_err(invalid)?,
                test: read(test).map_err(invalid)?,
            }
        };
        spec.checked()
    }
}

impl fmt::Display for SplitSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Debug keeps the point of `1.0`, which tells fractions from rows.
        fn part<T: fmt::Debug>(part: Option<T>) -> String {
            part.map_or_else(|| "*".to_owned(), |p| format!("{p:?}"))
        }
        match *self {
            Self::Rows { train, val, test } => write!(f, "{}/{}/{}", part(train), part(val), part(test)),
            Self::Fractions { train, val, test } => write!(f, "{}/{}/{}", part(train), part(val), part(test)),
        }
    }
}

impl Serialize for SplitSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SplitSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for SplitSpec {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "SplitSpec".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "train/val/test as rows (34560/11520/11520), fractions (0.7/0.1/0.2) or with * for the rest (*/18/18)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::{Clock, Frequency};
    use proptest::prelude::*;

    fn split(text: &str, len: usize) -> (Range<usize>, Range<usize>, Range<usize>) {
        let s = text.parse::<SplitSpec>().unwrap().resolve(len).unwrap();
        (s.train, s.val, s.test)
    }

    #[test]
    fn the_published_splits_come_out() {
        assert_eq!(split("34560/11520/11520", 69_680), (0..34_560, 34_560..46_080, 46_080..57_600));
        assert_eq!(split("0.7/0.1/0.2", 52_696), (0..36_887, 36_887..42_157, 42_157..52_696));
        assert_eq!(split("0.7/0.1/0.2", 7_588), (0..5_311, 5_311..6_071, 6_071..7_588));
    }

    #[test]
    fn a_star_takes_the_rest() {
        assert_eq!(split("*/18/18", 100), (0..64, 64..82, 82..100));
        assert_eq!(split("60/*/18", 100), (0..60, 60..82, 82..100));
        assert_eq!(split("60/0/*", 100), (0..60, 60..60, 60..100));
        assert_eq!(split("*/0.1/0.2", 99), (0..71, 71..80, 80..99));
        assert_eq!(split("*/18", 100), (0..82, 82..100, 100..100));
    }

    #[test]
    fn two_parts_are_train_and_validation() {
        assert_eq!(split("80/20", 110), (0..80, 80..100, 100..100));
        assert_eq!(split("0.8/0.2", 99), (0..79, 79..99, 99..99));
        assert_eq!(split("0.5/0.25", 99), (0..49, 49..73, 73..73));
    }

    #[test]
    fn an_empty_validation_part_stays_empty() {
        assert_eq!(split("0.7/0/0.3", 11), (0..7, 7..7, 7..11));
        assert_eq!(split("1.0/0", 11), (0..11, 11..11, 11..11));
        let none = SplitSpec::val_split(0.0).unwrap().resolve(11).unwrap();
        assert_eq!((none.train, none.val), (0..11, 11..11));
    }

    #[test]
    fn val_split_takes_the_last_rows() {
        let spec = SplitSpec::val_split(0.2).unwrap();
        assert_eq!(spec.to_string(), "0.8/0.2/0.0");
        assert_eq!(spec.resolve(144).unwrap(), SeriesSplit { train: 0..115, val: 115..144, test: 144..144 });
        assert_eq!(SplitSpec::val_split(0.7).unwrap().to_string(), "0.3/0.7/0.0");
        for bad in [1.0, -0.1, f64::NAN, 1.5, f64::INFINITY] {
            assert!(matches!(SplitSpec::val_split(bad), Err(SplitError::Invalid { .. })), "{bad}");
        }
    }

    #[test]
    fn what_is_no_split_is_refused_with_the_reason() {
        for (text, part) in [
            ("", "two or three parts"),
            ("100", "two or three parts"),
            ("1/2/3/4", "two or three parts"),
            ("a/b/c", "neither a number"),
            ("1//2", "neither a number"),
            ("-1/2/3", "from 0 to 1"),
            ("0/10/10", "no rows"),
            ("0.0/0.5/0.5", "no rows"),
            ("0.7/0.2/0.2", "sum to"),
            ("0.7/100/0.2", "mixed"),
            ("NaN/0.1/0.2", "not a fraction"),
            ("inf/0.1/0.2", "not a fraction"),
            ("0.7/-0.1/0.2", "not a fraction"),
            ("*/*/18", "only one part"),
            ("99999999999999999999/1/1", "neither a number"),
        ] {
            let error = text.parse::<SplitSpec>().unwrap_err();
            assert!(error.to_string().contains(part), "{text}: {error}");
            assert!(error.hint().unwrap().contains("0.7/0.1/0.2"));
        }
        assert!(SplitSpec::fractions(0.5, f64::NAN, 0.1).is_err());
        // A value that was not made from text is checked as well.
        let huge = SplitSpec::rows(usize::MAX, usize::MAX, 1);
        assert!(matches!(huge.resolve(10), Err(SplitError::TooShort { .. })));
        assert!(matches!(SplitSpec::rows(0, 1, 1).resolve(10), Err(SplitError::Invalid { .. })));
    }

    #[test]
    fn a_series_that_is_too_short_is_named() {
        let panel = Panel::new(
            vec!["long".into(), "short".into()],
            vec![0, 50, 60],
            (0..50).chain(0..10).collect(),
            Clock::Integer,
            Frequency::integer(1).unwrap(),
            vec![0.0; 60],
            "y",
        );
        let all = "*/4/4".parse::<SplitSpec>().unwrap().resolve_all(&panel).unwrap();
        assert_eq!((all[0].train.clone(), all[1].train.clone(), all[1].used()), (0..42, 0..2, 10));
        let error = "20/4/4".parse::<SplitSpec>().unwrap().resolve_all(&panel).unwrap_err();
        assert_eq!(error.to_string(), "split 20/4/4 needs 28 rows, but series `short` has 10");
        let error = "*/5/5".parse::<SplitSpec>().unwrap().resolve_all(&panel).unwrap_err();
        assert!(matches!(&error, SplitError::NoTrain { series: Some(id), .. } if id == "short"), "{error}");
    }

    fn any_spec() -> impl Strategy<Value = SplitSpec> {
        let rows = (1usize..300, 0usize..300, 0usize..300).prop_map(|(a, b, c)| SplitSpec::rows(a, b, c));
        let parts = (0.01f64..1.0, 0.0f64..1.0, 0.0f64..1.0, 0.5f64..=1.0).prop_map(|(a, b, c, used)| {
            let scale = used / (a + b + c).max(1.0);
            SplitSpec::fractions(a * scale, b * scale, c * scale).unwrap()
        });
        let rest = (any_star(), 1usize..200, 0usize..200).prop_map(|(star, a, b)| match star {
            0 => SplitSpec::Rows { train: None, val: Some(a), test: Some(b) },
            1 => SplitSpec::Rows { train: Some(a), val: None, test: Some(b) },
            _ => SplitSpec::Rows { train: Some(a), val: Some(b), test: None },
        });
        prop_oneof![rows, parts, rest]
    }

    fn any_star() -> impl Strategy<Value = u8> {
        0u8..3
    }

    proptest! {
        #[test]
        fn parts_are_in_time_order_without_overlap(spec in any_spec(), len in 0usize..1000) {
            if let Ok(s) = spec.resolve(len) {
                prop_assert!(!s.train.is_empty() && s.train.start == 0);
                prop_assert_eq!(s.train.end, s.val.start);
                prop_assert_eq!(s.val.end, s.test.start);
                prop_assert!(s.val.start <= s.val.end && s.test.start <= s.test.end && s.used() <= len);
            }
        }

        #[test]
        fn what_is_written_reads_back(spec in any_spec()) {
            prop_assert_eq!(spec.to_string().parse::<SplitSpec>().unwrap(), spec);
            let json = serde_json::to_string(&spec).unwrap();
            prop_assert_eq!(serde_json::from_str::<SplitSpec>(&json).unwrap(), spec);
        }

        #[test]
        fn fractions_that_sum_to_one_use_every_row(train in 1u32..100, val in 0u32..100, test in 0u32..100, len in 1usize..2000) {
            let sum = f64::from(train + val + test);
            let spec = SplitSpec::fractions(f64::from(train) / sum, f64::from(val) / sum, f64::from(test) / sum).unwrap();
            if let Ok(s) = spec.resolve(len) {
                prop_assert_eq!(s.used(), len);
            }
        }
    }
}
