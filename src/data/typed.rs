//! Columns whose values have types already (parquet, frames): value by value into what the column is wanted as.

use crate::calendar::Clock;

use super::error::{DataError, Place};
use super::number::{is_unreadable, number_message, parse_number, parse_time};
use super::problems::{Position, Problem, ProblemKind, Problems};
use super::table::{As, Cells, Columns, Keys, NO_NAME, Places, join_clock, settled};

pub(super) const MICROS_OF_DAY: i64 = 86_400_000_000;
/// 0001-01-01 and the end of 9999, in microseconds: what a stamp can be.
const STAMPS: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// What the stored integers of a column mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Meaning {
    Plain,
    Unsigned32,
    Unsigned64,
    /// To be divided by this power of ten.
    Decimal(i32),
    /// Ticks of which so many make a microsecond (`per`) or which are so many microseconds (`of`).
    Stamp {
        of: i64,
        per: i64,
        clock: Clock,
    },
    Text,
}

/// A column being read.
pub(super) struct Builder<'a> {
    name: &'a str,
    what: As,
    meaning: Meaning,
    pub rows: u64,
    cells: Building,
    problems: Problems,
    left_out: Vec<u64>,
}

enum Building {
    Numbers(Vec<f64>),
    Times { values: Vec<i64>, clock: Option<Clock> },
    Keys(Keys),
}

impl Building {
    fn finish(self, left_out: &[u64]) -> Cells {
        fn keep<T>(values: Vec<T>, left_out: &[u64]) -> Vec<T> {
            if left_out.is_empty() {
                return values;
            }
            let mut out = left_out.iter().copied().peekable();
            let kept = values.into_iter().enumerate();
            kept.filter(|(row, _)| out.next_if_eq(&(*row as u64)).is_none()).map(|(_, value)| value).collect()
        }
        match self {
            Building::Numbers(values) => Cells::Numbers(keep(values, left_out)),
            Building::Times { values, clock } => {
                let values = keep(values, left_out);
                let clock = settled(clock.unwrap_or(Clock::Date), &values);
                Cells::Times { values, clock }
            }
            Building::Keys(keys) => Cells::Keys { codes: keep(keys.codes, left_out), names: keys.names },
        }
    }
}

impl<'a> Builder<'a> {
    pub(super) fn new(name: &'a str, what: As, meaning: Meaning) -> Self {
        let cells = match what {
            As::Number => Building::Numbers(Vec::new()),
            As::Time => Building::Times { values: Vec::new(), clock: None },
            As::Key | As::Text => Building::Keys(Keys::default()),
        };
        Self { name, what, meaning, rows: 0, cells, problems: Problems::default(), left_out: Vec::new() }
    }

    /// Room for so many rows, so that growing does not hold a column twice; less where the system has no more.
    pub(super) fn reserve(&mut self, rows: usize) {
        let _ = match &mut self.cells {
            Building::Numbers(values) => values.try_reserve_exact(rows),
            Building::Times { values, .. } => values.try_reserve_exact(rows),
            Building::Keys(keys) => keys.codes.try_reserve_exact(rows),
        };
    }

    fn complain(&mut self, kind: ProblemKind, message: String) {
        let problem = Problem::new(kind, message).at(Position::Row(self.rows + 1)).column(self.name);
        self.problems.push(problem);
    }

    /// Adds a stored integer.
    pub(super) fn integer(&mut self, value: Option<i64>) {
        let value = value.map(|v| match self.meaning {
            Meaning::Unsigned32 => i64::from(v as u32),
            _ => v,
        });
        match &mut self.cells {
            Building::Numbers(numbers) => numbers.push(match (value, self.meaning) {
                (None, _) => f64::NAN,
                (Some(v), Meaning::Decimal(scale)) => v as f64 / 10f64.powi(scale),
                (Some(v), Meaning::Unsigned64) => v as u64 as f64,
                (Some(v), _) => v as f64,
            }),
            Building::Times { .. } => {
                let stamp = value.and_then(|v| self.stamp(v));
                match (value, stamp) {
                    (Some(v), None) => self.bad_time(format!("{v} is outside the years 0001 to 9999")),
                    (_, stamp) => self.time(stamp),
                }
            }
            Building::Keys(_) => {
                let name = value.map(|v| match (self.meaning, self.stamp(v)) {
                    (Meaning::Stamp { .. }, Some((t, clock))) => clock.format(t),
                    (Meaning::Unsigned64, _) => (v as u64).to_string(),
                    _ => v.to_string(),
                });
                self.key(name.as_deref().map(str::as_bytes));
            }
        }
        self.rows += 1;
    }

    fn stamp(&self, value: i64) -> Option<(i64, Clock)> {
        match self.meaning {
            Meaning::Stamp { of, per, clock } => {
                let micros = value.checked_mul(of)?.div_euclid(per);
                STAMPS.contains(&micros).then_some((micros, clock))
            }
            _ => Some((value, Clock::Integer)),
        }
    }

    /// Adds a stored float.
    pub(super) fn float(&mut self, value: Option<f64>) {
        let whole = |v: f64| v.fract() == 0.0 && v.abs() < 9e15;
        match &mut self.cells {
            // A NaN of the file is missing, whatever its payload.
            Building::Numbers(numbers) => numbers.push(value.filter(|v| !v.is_nan()).unwrap_or(f64::NAN)),
            Building::Times { .. } => match value.filter(|v| !v.is_nan()) {
                Some(v) if !whole(v) => self.bad_time(format!("{v} is not a time: integers, dates or times are")),
                v => self.time(v.map(|v| (v as i64, Clock::Integer))),
            },
            Building::Keys(_) => {
                let name = value.filter(|v| !v.is_nan()).map(|v| v.to_string());
                self.key(name.as_deref().map(str::as_bytes));
            }
        }
        self.rows += 1;
    }

    /// Adds a stored string.
    pub(super) fn text(&mut self, value: Option<&[u8]>) {
        match &mut self.cells {
            Building::Numbers(numbers) => {
                let number = value.map_or(f64::NAN, parse_number);
                numbers.push(number);
                if is_unreadable(number) {
                    self.complain(ProblemKind::UnparsableNumber, number_message(value.unwrap_or_default()));
                }
            }
            Building::Times { .. } => match value.map(parse_time) {
                Some(Err(e)) => self.bad_time(e.to_string()),
                Some(Ok(stamp)) => self.time(Some((stamp.value, stamp.kind))),
                None => self.time(None),
            },
            Building::Keys(_) => match value.map(std::str::from_utf8) {
                Some(Err(_)) => {
                    self.complain(ProblemKind::MissingId, "the name is not UTF-8 text".to_owned());
                    self.leave_out();
                }
                _ => self.key(value.map(<[u8]>::trim_ascii)),
            },
        }
        self.rows += 1;
    }

    fn time(&mut self, stamp: Option<(i64, Clock)>) {
        let Some((t, kind)) = stamp else { return self.bad_time("the time is missing".to_owned()) };
        let mut mixed = None;
        if let Building::Times { values, clock } = &mut self.cells {
            match join_clock(*clock, kind) {
                Ok(joined) => {
                    *clock = joined;
                    values.push(t);
                }
                Err(e) => mixed = Some(e),
            }
        }
        if let Some(e) = mixed {
            self.bad_time(format!("`{}`: {e}", kind.format(t)));
        }
    }

    fn bad_time(&mut self, message: String) {
        self.complain(ProblemKind::UnparsableTime, message);
        self.leave_out();
    }

    fn key(&mut self, name: Option<&[u8]>) {
        let name = name.filter(|n| !n.is_empty());
        if name.is_none() && self.what == As::Key {
            self.complain(ProblemKind::MissingId, "the name of the series is missing".to_owned());
            return self.leave_out();
        }
        if let Building::Keys(keys) = &mut self.cells {
            let code = name.map_or(NO_NAME, |n| keys.code(n));
            keys.codes.push(code);
        }
    }

    /// Marks the row to be left out; a value stands in for it until then.
    fn leave_out(&mut self) {
        self.left_out.push(self.rows);
        match &mut self.cells {
            Building::Numbers(values) => values.push(f64::NAN),
            Building::Times { values, .. } => values.push(0),
            Building::Keys(keys) => keys.codes.push(NO_NAME),
        }
    }
}

/// The columns of a table that were read one after the other; rows without a time or a name are left out of all.
pub(super) fn finished(builders: Vec<Builder<'_>>, place: &Place) -> Result<Columns, DataError> {
    let mut problems = Problems::default();
    let mut left_out: Vec<u64> = Vec::new();
    let mut n_rows = None;
    let mut cells = Vec::with_capacity(builders.len());
    for builder in builders {
        if *n_rows.get_or_insert(builder.rows) != builder.rows {
            return Err(place.damaged(format!("column `{}` has {} rows", builder.name, builder.rows)));
        }
        problems.append(builder.problems);
        left_out.extend(&builder.left_out);
        cells.push(builder.cells);
    }
    left_out.sort_unstable();
    left_out.dedup();
    let n_rows = n_rows.unwrap_or(0) as usize - left_out.len();
    let cells = cells.into_iter().map(|c| c.finish(&left_out)).collect();
    let rows_left_out = !left_out.is_empty();
    Ok(Columns { cells, n_rows, places: Places::Rows { left_out }, problems, rows_left_out })
}
