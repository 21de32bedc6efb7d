//! A table as its file has it: the columns, what they seem to hold, and the ones that were read.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use crate::calendar::{CalendarError, Clock};
use crate::error::nearest;

use super::csv::CsvTable;
use super::error::{DataError, Place};
use super::files::{FilesTable, matching};
use super::number::parse_number;
use super::parquet::ParquetTable;
use super::problems::{Position, Problem, ProblemKind, Problems};
use super::source::{Content, Format, Source, open};
use super::tsf::TsfTable;

/// What a column seems to hold, judged by its type or by its first rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnKind {
    /// Numbers, some of them with decimals.
    Number,
    /// Whole numbers, which may also be a time.
    Integer,
    /// Dates or times.
    Time,
    /// Numbers written with a decimal comma.
    DecimalComma,
    /// Anything else.
    Text,
    /// Nothing but missing values so far.
    Empty,
    /// Lists, maps or structures (parquet).
    Nested,
    /// A parquet type that has no use here.
    Unsupported,
}

impl ColumnKind {
    /// Whether the column can be a target or a covariate.
    pub(super) fn is_numeric(self) -> bool {
        matches!(self, ColumnKind::Number | ColumnKind::Integer | ColumnKind::Empty)
    }

    /// What it holds, in words.
    pub(super) fn words(self) -> &'static str {
        match self {
            ColumnKind::Number => "numbers",
            ColumnKind::Integer => "whole numbers",
            ColumnKind::Time => "times",
            ColumnKind::DecimalComma => "numbers with a decimal comma",
            ColumnKind::Text => "text",
            ColumnKind::Empty => "nothing but missing values",
            ColumnKind::Nested => "a nested type (list, map or structure)",
            ColumnKind::Unsupported => "a type that cannot be read",
        }
    }
}

/// Name and kind of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub name: String,
    pub kind: ColumnKind,
}

/// What a column is to be read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    /// `f64`; NaN is missing.
    Number,
    /// Stamps; rows without one are reported and left out.
    Time,
    /// Names, each kept once; rows without one are reported and left out.
    Key,
    /// Names of a column that may have missing values.
    Text,
}

impl As {
    /// What is wanted, in words.
    pub(super) fn words(self) -> &'static str {
        match self {
            As::Number => "numbers",
            As::Time => "times",
            As::Key | As::Text => "names",
        }
    }
}

/// A column as read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cells {
    Numbers(Vec<f64>),
    Times { values: Vec<i64>, clock: Clock },
    Keys { codes: Vec<u32>, names: Vec<String> },
}

impl Cells {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        match self {
            Cells::Numbers(values) => values.len(),
            Cells::Times { values, .. } => values.len(),
            Cells::Keys { codes, .. } => codes.len(),
        }
    }

    /// The stamps of the next column, which was read [`As::Time`]; none of another.
    pub(super) fn next_times(cells: &mut impl Iterator<Item = Self>) -> (Vec<i64>, Clock) {
        match cells.next() {
            Some(Cells::Times { values, clock }) => (values, clock),
            _ => (Vec::new(), Clock::Integer),
        }
    }

    /// The numbers of a column that was read [`As::Number`].
    pub(super) fn into_numbers(self) -> Vec<f64> {
        match self {
            Cells::Numbers(values) => values,
            _ => Vec::new(),
        }
    }
}

/// Where rows are in the file: line `first + row`, but for the jumps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Places {
    /// Csv: `(row, line)` of the first row and of each row whose line is not the one after the row before it.
    Lines(Vec<(usize, u64)>),
    /// Parquet: rows count from 1; the row numbers that were left out, ascending.
    Rows { left_out: Vec<u64> },
    /// One line holds many rows: the first row of each, and the line.
    Series(Vec<(usize, u64)>),
    /// Several files: the first row of each, its path and where its rows are in it.
    Files(Vec<(usize, Arc<str>, Places)>),
}

impl Places {
    pub(super) fn of(&self, row: usize) -> Position {
        match self {
            Places::Lines(jumps) => {
                let at = jumps.partition_point(|(r, _)| *r <= row);
                let (r, line) = if at == 0 { (0, 2) } else { jumps[at - 1] };
                Position::Line(line + (row - r) as u64)
            }
            Places::Rows { left_out } => {
                let mut number = row as u64;
                for left in left_out {
                    if *left > number {
                        break;
                    }
                    number += 1;
                }
                Position::Row(number + 1)
            }
            Places::Series(starts) => {
                let at = starts.partition_point(|(r, _)| *r <= row);
                Position::Line(if at == 0 { 1 } else { starts[at - 1].1 })
            }
            Places::Files(files) => {
                // Of files without rows, which begin at the same row, the last one has it.
                let at = files.partition_point(|(r, ..)| *r <= row).max(1) - 1;
                match files.get(at) {
                    Some((first, path, places)) => Position::InFile(path.clone(), Box::new(places.of(row - first))),
                    None => Position::Row(row as u64 + 1),
                }
            }
        }
    }
}

/// The columns that were asked for, in the order asked.
#[derive(Debug)]
pub(super) struct Columns {
    pub cells: Vec<Cells>,
    pub n_rows: usize,
    pub places: Places,
    /// What could not be read.
    pub problems: Problems,
    /// Whether rows had to be left out, so that holes in the calendar say nothing.
    pub rows_left_out: bool,
}

/// An opened table: its heads are known, its columns are read on demand.
pub(super) struct Table {
    pub place: Place,
    pub format: Format,
    pub heads: Vec<Head>,
    /// What the file says of itself, for the notices.
    pub notices: Vec<String>,
    body: Body,
}

enum Body {
    Csv(CsvTable),
    Parquet(Box<ParquetTable>),
    Tsf(TsfTable),
    Files(FilesTable),
    #[cfg(feature = "polars")]
    Frame(super::polars_frame::FrameTable),
}

impl Table {
    /// Opens a file, or the files of a pattern, and reads the heads.
    pub(super) fn open(path: &std::path::Path) -> Result<Self, DataError> {
        let Some(paths) = matching(path)? else { return Self::from_source(open(path)?) };
        let (files, first, heads) = FilesTable::open(paths)?;
        let mut notices = first.notices;
        notices.push(format!("{} files match `{}`", files.len(), path.display()));
        Ok(Self { place: Place::new(path), format: first.format, heads, notices, body: Body::Files(files) })
    }

    /// A frame in memory.
    #[cfg(feature = "polars")]
    pub(super) fn of_frame(frame: &polars::frame::DataFrame) -> Self {
        let (frame, heads) = super::polars_frame::FrameTable::open(frame);
        let place = Place { path: "the frame".to_owned() };
        Self { place, format: Format::Frame, heads, notices: Vec::new(), body: Body::Frame(frame) }
    }

    pub(super) fn from_source(source: Source) -> Result<Self, DataError> {
        let Source { place, format, content } = source;
        let mut notices = Vec::new();
        let (heads, body) = match content {
            Content::Tsf(text) => {
                let (tsf, heads, said) = TsfTable::open(text, &place)?;
                notices = said;
                (heads, Body::Tsf(tsf))
            }
            Content::Text(text) => {
                let (csv, heads) = CsvTable::open(text, &place)?;
                (heads, Body::Csv(csv))
            }
            Content::Parquet(file) => {
                let (parquet, heads) = ParquetTable::open(file, &place)?;
                (heads, Body::Parquet(Box::new(parquet)))
            }
        };
        let mut twice: Vec<String> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for head in &heads {
            if !seen.insert(head.name.as_str()) && !twice.contains(&head.name) {
                twice.push(head.name.clone());
            }
        }
        if !twice.is_empty() {
            return Err(DataError::DuplicateColumns { path: place.path, names: twice });
        }
        Ok(Self { place, format, heads, notices, body })
    }

    /// The character between the fields of a csv file.
    pub(super) fn delimiter(&self) -> Option<char> {
        match &self.body {
            Body::Csv(csv) => Some(char::from(csv.delimiter())),
            _ => None,
        }
    }

    /// The index of the column `name`.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.heads.iter().position(|h| h.name == name)
    }

    /// The problem that column `name`, asked for as `what`, is not there.
    pub(super) fn absent(&self, name: &str, what: &str) -> Problem {
        let names: Vec<&str> = self.heads.iter().map(|h| h.name.as_str()).collect();
        let tail = match nearest(name, names.iter()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the columns are {}", crate::error::listed(&names, 12)),
        };
        Problem::new(ProblemKind::AbsentColumn, format!("there is no column `{name}` ({what}); {tail}"))
    }

    /// Reads columns. Infinite numbers are reported here for every format.
    pub(super) fn read(&mut self, wanted: &[(usize, As)]) -> Result<Columns, DataError> {
        let mut columns = self.read_as_is(wanted)?;
        for (cells, (index, _)) in columns.cells.iter().zip(wanted) {
            if let Cells::Numbers(values) = cells {
                report_infinite(values, &self.heads[*index].name, &columns.places, &mut columns.problems);
            }
        }
        Ok(columns)
    }

    /// Reads columns with whatever numbers they have.
    pub(super) fn read_as_is(&mut self, wanted: &[(usize, As)]) -> Result<Columns, DataError> {
        let columns = match &mut self.body {
            Body::Csv(csv) => csv.read(&self.heads, wanted, &self.place)?,
            Body::Parquet(parquet) => parquet.read(&self.heads, wanted, &self.place)?,
            Body::Tsf(tsf) => tsf.read(&self.heads, wanted, &self.place)?,
            Body::Files(files) => files.read(&self.heads, wanted)?,
            #[cfg(feature = "polars")]
            Body::Frame(frame) => frame.read(&self.heads, wanted, &self.place)?,
        };
        if columns.n_rows == 0 && columns.problems.is_empty() {
            return Err(DataError::NoRows { path: self.place.path.clone() });
        }
        Ok(columns)
    }
}

fn report_infinite(values: &[f64], name: &str, places: &Places, problems: &mut Problems) {
    // One pass that the compiler can vectorise, and the search only where there is something to find.
    if !values.iter().fold(false, |any, v| any | v.is_infinite()) {
        return;
    }
    for (row, value) in values.iter().enumerate().filter(|(_, v)| v.is_infinite()) {
        problems.push_with(ProblemKind::InfiniteValue, super::Severity::Error, || {
            Problem::new(ProblemKind::InfiniteValue, format!("{value} is not a finite number"))
                .at(places.of(row))
                .column(name)
        });
    }
}

/// The clock of a column of stamps: midnight throughout is a column of dates, whatever the file calls it.
pub(super) fn settled(clock: Clock, values: &[i64]) -> Clock {
    const DAY: i64 = 86_400_000_000;
    match clock {
        Clock::Local if values.iter().all(|t| t.rem_euclid(DAY) == 0) => Clock::Date,
        clock => clock,
    }
}

/// Joins the clocks of stamps one after the other.
pub(super) fn join_clock(known: Option<Clock>, next: Clock) -> Result<Option<Clock>, CalendarError> {
    match known {
        None => Ok(Some(next)),
        Some(clock) if clock == next => Ok(known),
        Some(clock) => clock.join(next).map(Some),
    }
}

/// The code of a missing name in [`Keys`].
pub(super) const NO_NAME: u32 = u32::MAX;

/// Names that repeat, each kept once.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub codes: Vec<u32>,
    pub names: Vec<String>,
    index: HashMap<Box<[u8]>, u32>,
    last: u32,
    last_is_plain: bool,
    /// A short name that was asked for last, as one number, and which of its bits are the name's; 0 for a longer one.
    last_word: u128,
    last_mask: u128,
}

impl Keys {
    /// The length of the name that was asked for last, if `text` begins with it, and if a field that does so is not quoted and
    /// does not end inside it.
    #[inline]
    pub(super) fn last_name_begins(&self, text: &[u8]) -> Option<usize> {
        let name = self.names.get(self.last as usize).filter(|_| self.last_is_plain)?;
        let same = match text.first_chunk() {
            Some(begin) if self.last_mask != 0 => u128::from_le_bytes(*begin) & self.last_mask == self.last_word,
            _ => text.starts_with(name.as_bytes()),
        };
        same.then_some(name.len())
    }

    /// Adds the code of the name that was asked for last.
    #[inline]
    pub(super) fn again(&mut self) {
        self.codes.push(self.last);
    }

    /// The code of `name`, a new one if it was not seen before.
    #[inline]
    pub(super) fn code(&mut self, name: &[u8]) -> u32 {
        // Rows of one series mostly lie together.
        if self.names.get(self.last as usize).is_some_and(|n| n.as_bytes() == name) {
            return self.last;
        }
        self.last = match self.index.get(name) {
            Some(code) => *code,
            None => {
                let code = self.names.len() as u32;
                self.names.push(String::from_utf8_lossy(name).into_owned());
                self.index.insert(name.into(), code);
                code
            }
        };
        self.last_is_plain = !name.is_empty() && !name.iter().any(|b| matches!(b, b'"' | b'\n' | b',' | b';' | b'\t'));
        let mut word = [0; size_of::<u128>()];
        self.last_mask = match word.get_mut(..name.len()) {
            Some(to) if !name.is_empty() => {
                to.copy_from_slice(name);
                u128::MAX >> (128 - 8 * name.len())
            }
            _ => 0,
        };
        self.last_word = u128::from_le_bytes(word);
        self.last
    }
}

/// What the first rows of a column of text say about it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Guess {
    values: usize,
    numbers: usize,
    integers: usize,
    times: usize,
    commas: usize,
}

impl Guess {
    pub(super) fn add(&mut self, field: &[u8]) {
        use super::number::{has_decimal_comma, is_missing_mark, is_unreadable, parse_time};
        let field = field.trim_ascii();
        if is_missing_mark(field) {
            return;
        }
        self.values += 1;
        if !is_unreadable(parse_number(field)) {
            self.numbers += 1;
            let digits = field.strip_prefix(b"-").unwrap_or(field);
            self.integers += usize::from(digits.iter().all(u8::is_ascii_digit));
        } else if has_decimal_comma(field) {
            self.commas += 1;
        } else if parse_time(field).is_ok() {
            self.times += 1;
        }
    }

    /// What most of the values are, so that a few bad ones are reported and do not change the column.
    pub(super) fn kind(&self) -> ColumnKind {
        let most = |n: usize| 2 * n > self.values;
        match () {
            () if self.values == 0 => ColumnKind::Empty,
            () if self.integers == self.values => ColumnKind::Integer,
            () if most(self.numbers) => ColumnKind::Number,
            () if most(self.times) => ColumnKind::Time,
            () if most(self.commas) => ColumnKind::DecimalComma,
            () => ColumnKind::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_is_known_again_at_every_length() {
        for n in 1..40 {
            let name: String = ('a'..='z').cycle().take(n).collect();
            let mut keys = Keys::default();
            assert_eq!(keys.last_name_begins(name.as_bytes()), None);
            let code = keys.code(name.as_bytes());
            // At the end of the text, and with more behind it than one number has room for.
            for more in ["", ",", ",2020-01-01 00:00:00,1.5", "x,2020-01-01 00:00:00,1.5"] {
                let text = format!("{name}{more}");
                assert_eq!(keys.last_name_begins(text.as_bytes()), Some(n), "{text}");
                // Another last letter, and one letter less.
                let other = format!("{}#{more}", &name[..n - 1]);
                assert_eq!(keys.last_name_begins(other.as_bytes()), None, "{other}");
                assert_eq!(keys.last_name_begins(&text.as_bytes()[..n - 1]), None, "{text}");
            }
            keys.again();
            assert_eq!(keys.codes, [code]);
            keys.code(b"another, longer than sixteen");
            assert_eq!(keys.last_name_begins(name.as_bytes()), None, "it is not plain");
        }
    }

    #[test]
    fn places_count_over_jumps() {
        let lines = Places::Lines(vec![(0, 2), (3, 7)]);
        assert_eq!(lines.of(2), Position::Line(4));
        assert_eq!(lines.of(4), Position::Line(8));
        let rows = Places::Rows { left_out: vec![0, 2] };
        assert_eq!((rows.of(0), rows.of(1)), (Position::Row(2), Position::Row(4)));
    }

    #[test]
    fn a_column_is_what_most_of_its_values_are() {
        let guess = |fields: &[&str]| {
            let mut guess = Guess::default();
            fields.iter().for_each(|f| guess.add(f.as_bytes()));
            guess.kind()
        };
        assert_eq!(guess(&["1", "2", "NA"]), ColumnKind::Integer);
        assert_eq!(guess(&["1", "x", "2.5"]), ColumnKind::Number);
        assert_eq!(guess(&["2020-01-01", "2020-01-02 03:00"]), ColumnKind::Time);
        assert_eq!(guess(&["1,5", "2"]), ColumnKind::Text);
        assert_eq!(guess(&["1,5", "2,5"]), ColumnKind::DecimalComma);
        assert_eq!(guess(&["NW", "SE", "1"]), ColumnKind::Text);
        assert_eq!(guess(&["", "NaN"]), ColumnKind::Empty);
    }

    #[test]
    fn midnights_are_dates() {
        assert_eq!(settled(Clock::Local, &[0, 86_400_000_000]), Clock::Date);
        assert_eq!(settled(Clock::Local, &[0, 3_600_000_000]), Clock::Local);
        assert_eq!(settled(Clock::Utc, &[0]), Clock::Utc);
    }
}
