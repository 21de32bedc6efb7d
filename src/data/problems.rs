//! What is wrong inside a file, collected so that all of it is told at once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// Whether a problem stops [`read_panel`](super::read_panel).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Reading with these settings fails.
    Error,
    /// Reading goes on; it is worth knowing.
    Warning,
}

/// The sorts of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ProblemKind {
    /// The file as a whole cannot be used.
    File,
    /// A column that was asked for is not there.
    AbsentColumn,
    /// A row with more or fewer fields than the header.
    RaggedRow,
    /// A field that should be a number.
    UnparsableNumber,
    /// A field that should be a time.
    UnparsableTime,
    /// A row without the name of its series.
    MissingId,
    /// An infinite number.
    InfiniteValue,
    /// Rows that are not in time order.
    UnsortedRows,
    /// More than one row for a series and time.
    Duplicate,
    /// Rows absent from a regular calendar.
    Gap,
    /// A stamp that is not on the grid of the frequency.
    OffGrid,
    /// Missing values.
    MissingValue,
    /// A series without any value.
    NoObservations,
    /// A series that never changes.
    ConstantSeries,
    /// A series of one row.
    ShortSeries,
    /// A static column that is missing or not the same in all rows of a series.
    StaticValue,
    /// A row of known covariates that lies ahead is missing.
    FutureValue,
}

impl ProblemKind {
    fn word(self) -> &'static str {
        match self {
            ProblemKind::File => "file",
            ProblemKind::AbsentColumn => "absent-column",
            ProblemKind::RaggedRow => "ragged-row",
            ProblemKind::UnparsableNumber => "unparsable-number",
            ProblemKind::UnparsableTime => "unparsable-time",
            ProblemKind::MissingId => "missing-id",
            ProblemKind::InfiniteValue => "infinite-value",
            ProblemKind::UnsortedRows => "unsorted-rows",
            ProblemKind::Duplicate => "duplicate",
            ProblemKind::Gap => "gap",
            ProblemKind::OffGrid => "off-grid",
            ProblemKind::MissingValue => "missing-value",
            ProblemKind::NoObservations => "no-observations",
            ProblemKind::ConstantSeries => "constant-series",
            ProblemKind::ShortSeries => "short-series",
            ProblemKind::StaticValue => "static-value",
            ProblemKind::FutureValue => "future-value",
        }
    }

    fn hint(self) -> Option<&'static str> {
        Some(match self {
            ProblemKind::Duplicate => "`--duplicates first|last|mean` keeps one row for each time, `keep` all of them",
            ProblemKind::Gap => {
                "`--gaps fill` or `mask` inserts the rows, `--gaps observed` takes the rows as a sequence of observations"
            }
            ProblemKind::OffGrid => "`--freq` sets the step, `--gaps observed` takes the rows as they come",
            ProblemKind::MissingValue => "`--missing mask`, `interpolate`, `ffill` or `drop`",
            ProblemKind::NoObservations => "leave the series out of the file",
            _ => return None,
        })
    }
}

/// One thing that is wrong, with its place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Problem {
    /// The sort.
    pub kind: ProblemKind,
    /// Whether it stops reading.
    pub severity: Severity,
    /// The file, where a pattern names several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line of a csv file, counted from 1 with the header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Row of a parquet file, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
    /// The column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The series.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
    /// The time, as it would be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// What is wrong.
    pub message: String,
    /// How many rows or values this one entry stands for.
    pub count: u64,
}

impl Problem {
    /// An error for one row or value, without a place yet.
    pub fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            severity: Severity::Error,
            file: None,
            line: None,
            row: None,
            column: None,
            series: None,
            time: None,
            message: message.into(),
            count: 1,
        }
    }

    pub(super) fn at(mut self, place: Position) -> Self {
        match place {
            Position::Line(n) => self.line = Some(n),
            Position::Row(n) => self.row = Some(n),
            Position::InFile(path, place) => {
                self.file = Some(path.to_string());
                return self.at(*place);
            }
        }
        self
    }

    pub(super) fn column(mut self, name: &str) -> Self {
        self.column = Some(name.to_owned());
        self
    }

    pub(super) fn series(mut self, id: &str) -> Self {
        self.series = Some(id.to_owned());
        self
    }

    pub(super) fn time(mut self, time: String) -> Self {
        self.time = Some(time);
        self
    }

    pub(super) fn count(mut self, count: u64) -> Self {
        self.count = count;
        self
    }

    /// The same for the list of another file: the message names the file and the place in it.
    fn in_file(self, path: &str) -> Self {
        Self { severity: self.severity, count: self.count, ..Problem::new(self.kind, format!("{path}: {self}")) }
    }

    pub(super) fn warning_if(mut self, warning: bool) -> Self {
        if warning {
            self.severity = Severity::Warning;
        }
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut place = Vec::new();
        place.extend(self.file.clone());
        place.extend(self.line.map(|n| format!("line {n}")));
        place.extend(self.row.map(|n| format!("row {n}")));
        place.extend(self.series.as_ref().map(|s| format!("series `{s}`")));
        place.extend(self.time.clone());
        place.extend(self.column.as_ref().map(|c| format!("column `{c}`")));
        if !place.is_empty() {
            write!(f, "{}: ", place.join(", "))?;
        }
        f.write_str(&self.message)
    }
}

/// Where a row is in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Position {
    Line(u64),
    Row(u64),
    /// In one of several files.
    InFile(Arc<str>, Box<Position>),
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Position::Line(n) => write!(f, "line {n}"),
            Position::Row(n) => write!(f, "row {n}"),
            Position::InFile(path, place) => write!(f, "{path}, {place}"),
        }
    }
}

/// All problems of a file: the first ones word by word, the rest counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Problems {
    /// The first problems, at most `limit` of them; errors come before warnings.
    pub list: Vec<Problem>,
    /// How many there are in all.
    pub total: u64,
    /// How many of them are errors.
    pub errors: u64,
    /// How many there are of each kind.
    pub by_kind: BTreeMap<ProblemKind, u64>,
    #[serde(skip)]
    limit: usize,
}

impl Default for Problems {
    fn default() -> Self {
        Self::with_limit(Self::LIMIT)
    }
}

impl Problems {
    /// How many problems are kept word by word by default.
    pub const LIMIT: usize = 20;

    /// None yet, `limit` of them to be kept word by word.
    pub fn with_limit(limit: usize) -> Self {
        Self { list: Vec::new(), total: 0, errors: 0, by_kind: BTreeMap::new(), limit }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Whether reading fails.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.push_with(problem.kind, problem.severity, || problem);
    }

    /// Adds one that is written out only if it is kept.
    pub(super) fn push_with(&mut self, kind: ProblemKind, severity: Severity, write: impl FnOnce() -> Problem) {
        self.total += 1;
        self.errors += u64::from(severity == Severity::Error);
        *self.by_kind.entry(kind).or_default() += 1;
        if self.list.len() < self.limit {
            self.list.push(write());
        } else if severity == Severity::Error
            && let Some(warning) = self.list.iter().rposition(|p| p.severity == Severity::Warning)
        {
            // An error is worth more room than a warning.
            self.list.remove(warning);
            self.list.push(write());
        }
    }

    /// Adds all of another collection.
    pub(super) fn append(&mut self, other: Problems) {
        let (mut total, mut errors, mut by_kind) = (other.total, other.errors, other.by_kind);
        for problem in other.list {
            total -= 1;
            errors -= u64::from(problem.severity == Severity::Error);
            if let Some(n) = by_kind.get_mut(&problem.kind) {
                *n -= 1;
            }
            self.push(problem);
        }
        self.total += total;
        self.errors += errors;
        for (kind, n) in by_kind.into_iter().filter(|(_, n)| *n > 0) {
            *self.by_kind.entry(kind).or_default() += n;
        }
    }

    /// The same as found in one of several files: each problem names the file.
    pub(super) fn of_file(mut self, path: &str) -> Self {
        self.list.iter_mut().for_each(|p| p.file = Some(path.to_owned()));
        self
    }

    /// The same for the list of another file: each message names the file.
    pub(super) fn in_file(mut self, path: &str) -> Self {
        self.list = self.list.into_iter().map(|p| p.in_file(path)).collect();
        self
    }

    /// Puts errors first and keeps the order otherwise.
    pub(super) fn errors_first(&mut self) {
        self.list.sort_by_key(|p| p.severity == Severity::Warning);
    }

    /// The same without the warnings.
    pub(super) fn errors_only(mut self) -> Self {
        self.list.retain(|p| p.severity == Severity::Error);
        self.total = self.errors;
        self
    }

    pub(super) fn first_error_kind(&self) -> &'static str {
        self.list.iter().find(|p| p.severity == Severity::Error).map_or("problems", |p| p.kind.word())
    }

    /// What can be done about the kinds that occur, in the order in which they occur.
    pub(super) fn hint(&self) -> Option<String> {
        let mut hints: Vec<&str> = Vec::new();
        for hint in self.list.iter().filter(|p| p.severity == Severity::Error).filter_map(|p| p.kind.hint()) {
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
        (!hints.is_empty()).then(|| hints.join("; "))
    }
}

/// One problem in the line, several below each other, and how many more there are.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = &self.list[..]
            && self.total == 1
        {
            return only.fmt(f);
        }
        write!(f, "{} problems", self.total)?;
        for problem in &self.list {
            write!(f, "\n  {problem}")?;
        }
        let more = self.total - (self.list.len() as u64).min(self.total);
        if more > 0 {
            write!(f, "\n  and {more} more")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(n: u64) -> Problem {
        Problem::new(ProblemKind::Gap, format!("gap {n}")).at(Position::Line(n)).series("A")
    }

    #[test]
    fn more_than_the_limit_are_counted() {
        let mut problems = Problems::with_limit(2);
        for n in 1..=5 {
            problems.push(error(n));
        }
        assert_eq!(
            problems.to_string(),
            "5 problems\n  line 1, series `A`: gap 1\n  line 2, series `A`: gap 2\n  and 3 more"
        );
        assert_eq!(problems.by_kind[&ProblemKind::Gap], 5);
        assert!(problems.hint().unwrap().contains("--gaps observed"));
    }

    #[test]
    fn one_problem_is_one_line() {
        let mut problems = Problems::default();
        problems
            .push(Problem::new(ProblemKind::UnparsableNumber, "`x` is not a number").at(Position::Row(3)).column("y"));
        assert_eq!(problems.to_string(), "row 3, column `y`: `x` is not a number");
        assert_eq!(problems.first_error_kind(), "unparsable-number");
    }

    #[test]
    fn errors_push_warnings_out_and_sums_stay_right() {
        let mut problems = Problems::with_limit(2);
        let warning = Problem::new(ProblemKind::ConstantSeries, "constant").warning_if(true);
        problems.push(warning.clone());
        problems.push(warning);
        problems.push(error(1));
        let mut sum = Problems::with_limit(2);
        sum.push(error(9));
        sum.append(problems);
        sum.errors_first();
        assert_eq!((sum.total, sum.errors, sum.list.len()), (4, 2, 2));
        assert_eq!(sum.by_kind[&ProblemKind::ConstantSeries], 2);
        let errors = sum.errors_only();
        assert_eq!((errors.total, errors.list.len()), (2, 2));
    }
}
