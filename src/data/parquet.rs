//! Parquet files into columns: flat schemas, read value by value with the format crate's typed readers, without arrow.

mod guard;

use std::fs::File;

use ::parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::DataType;
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::schema::types::ColumnDescriptor;

use crate::calendar::Clock;

use self::guard::guarded;
use super::error::{DataError, Place};
use super::number::{is_unreadable, number_message, parse_number, parse_time};
use super::problems::{Position, Problem, ProblemKind, Problems};
use super::table::{As, Cells, ColumnKind, Columns, Guess, Head, Keys, NO_NAME, Places, join_clock, settled};

/// Records asked for at a time: bounds the memory beside the columns themselves.
const BATCH: usize = 1 << 16;
/// Rows for which memory is asked for at once; columns that turn out longer grow as they are read.
const MOST_RESERVED: usize = 1 << 26;
/// Values of a text column from which its kind is guessed.
const SAMPLE: usize = 1000;
const MICROS_OF_DAY: i64 = 86_400_000_000;
/// 0001-01-01 and the end of 9999, in microseconds: what a stamp can be.
const STAMPS: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// A parquet file whose schema was read.
pub(super) struct ParquetTable {
    reader: SerializedFileReader<File>,
    /// For each head: the leaf column and what its values mean; `None` for what cannot be read.
    leaves: Vec<Option<(usize, Meaning)>>,
}

/// What the stored integers of a column mean.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Meaning {
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

impl ParquetTable {
    /// Reads the schema; kinds of text columns are guessed from their first values.
    pub(super) fn open(file: File, place: &Place) -> Result<(Self, Vec<Head>), DataError> {
        let length = file.metadata().map_err(|source| DataError::Io { path: place.path.clone(), source })?.len();
        let reader = guarded(|| SerializedFileReader::new(file)).map_err(|e| place.damaged(e))?;
        check_extents(&reader, length).map_err(|detail| place.damaged(detail))?;
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        let mut heads: Vec<Head> = Vec::new();
        let mut leaves: Vec<Option<(usize, Meaning)>> = Vec::new();
        let mut group: Option<usize> = None;
        for (leaf, column) in schema.columns().iter().enumerate() {
            let root = schema.get_column_root_idx(leaf);
            let parts = column.path().parts();
            if parts.len() > 1 || column.max_rep_level() > 0 {
                // All leaves of one nested column are one head.
                if group != Some(root) {
                    let name = parts.first().cloned().unwrap_or_default();
                    heads.push(Head { name, kind: ColumnKind::Nested });
                    leaves.push(None);
                }
                group = Some(root);
                continue;
            }
            let known = meaning(column);
            heads.push(Head {
                name: column.name().to_owned(),
                kind: known.map_or(ColumnKind::Unsupported, |(_, kind)| kind),
            });
            leaves.push(known.map(|(meaning, _)| (leaf, meaning)));
        }
        if heads.is_empty() {
            return Err(place.damaged("the schema has no columns"));
        }
        let table = Self { reader, leaves };
        for (head, leaf) in heads.iter_mut().zip(&table.leaves) {
            if let Some((leaf, Meaning::Text)) = leaf {
                head.kind = guarded(|| table.guess(*leaf)).map_err(|e| place.damaged(e))?;
            }
        }
        Ok((table, heads))
    }

    fn guess(&self, leaf: usize) -> Result<ColumnKind, ParquetError> {
        let mut guess = Guess::default();
        if self.reader.num_row_groups() > 0
            && let ColumnReader::ByteArrayColumnReader(reader) =
                self.reader.get_row_group(0)?.get_column_reader(leaf)?
        {
            each(reader, SAMPLE, |value| value.into_iter().for_each(|v| guess.add(v.data())))?;
        }
        Ok(guess.kind())
    }

    /// Reads the `wanted` columns.
    pub(super) fn read(&self, heads: &[Head], wanted: &[(usize, As)], place: &Place) -> Result<Columns, DataError> {
        let mut problems = Problems::default();
        let mut left_out: Vec<u64> = Vec::new();
        let mut n_rows = None;
        let mut cells = Vec::with_capacity(wanted.len());
        for (index, what) in wanted {
            let head = &heads[*index];
            let Some((leaf, meaning)) = self.leaves[*index] else {
                return Err(place.column_type(&head.name, head.kind.words(), expected(*what)));
            };
            let mut builder = Builder::new(&head.name, *what, meaning);
            builder.reserve(self.promised_rows());
            guarded(|| self.read_column(leaf, &mut builder))
                .map_err(|e| place.damaged(format!("column `{}`: {e}", head.name)))?;
            if *n_rows.get_or_insert(builder.rows) != builder.rows {
                return Err(place.damaged(format!("column `{}` has {} rows", head.name, builder.rows)));
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

    /// The rows that the file says it has, as far as they can be believed before they are read.
    fn promised_rows(&self) -> usize {
        let rows = usize::try_from(self.reader.metadata().file_metadata().num_rows()).unwrap_or(0);
        rows.min(MOST_RESERVED)
    }

    fn read_column(&self, leaf: usize, builder: &mut Builder<'_>) -> Result<(), ParquetError> {
        for group in 0..self.reader.num_row_groups() {
            let group = self.reader.get_row_group(group)?;
            let expected = group.metadata().num_rows();
            let rows = usize::try_from(expected).map_err(|_| ParquetError::General(format!("{expected} rows")))?;
            let read = match group.get_column_reader(leaf)? {
                ColumnReader::BoolColumnReader(r) => each(r, rows, |v| builder.integer(v.map(|v| i64::from(*v)))),
                ColumnReader::Int32ColumnReader(r) => each(r, rows, |v| builder.integer(v.map(|v| i64::from(*v)))),
                ColumnReader::Int64ColumnReader(r) => each(r, rows, |v| builder.integer(v.copied())),
                ColumnReader::Int96ColumnReader(r) => each(r, rows, |v| builder.integer(v.map(|v| v.to_micros()))),
                ColumnReader::FloatColumnReader(r) => each(r, rows, |v| builder.float(v.map(|v| f64::from(*v)))),
                ColumnReader::DoubleColumnReader(r) => each(r, rows, |v| builder.float(v.copied())),
                ColumnReader::ByteArrayColumnReader(r) => each(r, rows, |v| builder.text(v.map(|v| v.data()))),
                ColumnReader::FixedLenByteArrayColumnReader(_) => {
                    return Err(ParquetError::General("fixed-length bytes cannot be read".to_owned()));
                }
            }?;
            if read != rows {
                return Err(ParquetError::EOF(format!("{rows} rows are promised, {read} are there")));
            }
        }
        Ok(())
    }
}

/// The format crate trusts the places of the column chunks; each must lie in the file.
fn check_extents(reader: &SerializedFileReader<File>, length: u64) -> Result<(), String> {
    for (g, group) in reader.metadata().row_groups().iter().enumerate() {
        for column in group.columns() {
            let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            let end = start.checked_add(column.compressed_size());
            let inside = column.data_page_offset() >= 0 && start >= 0 && column.compressed_size() >= 0;
            if !inside || end.is_none_or(|end| end as u64 > length) {
                let name = column.column_path().string();
                return Err(format!("row group {g}: the values of column `{name}` lie outside the file"));
            }
        }
    }
    Ok(())
}

fn expected(what: As) -> &'static str {
    match what {
        As::Number => "numbers",
        As::Time => "times",
        As::Key | As::Text => "names",
    }
}

/// What the values of a flat column mean, and the kind of column that makes.
fn meaning(column: &ColumnDescriptor) -> Option<(Meaning, ColumnKind)> {
    let stamp = |of, per, clock| Some((Meaning::Stamp { of, per, clock }, ColumnKind::Time));
    let clock = |utc: bool| if utc { Clock::Utc } else { Clock::Local };
    match (column.physical_type(), column.logical_type_ref(), column.converted_type()) {
        (Physical::BOOLEAN, ..) => Some((Meaning::Plain, ColumnKind::Number)),
        (Physical::FLOAT | Physical::DOUBLE, ..) => Some((Meaning::Plain, ColumnKind::Number)),
        (Physical::INT96, ..) => stamp(1, 1, Clock::Local),
        (Physical::INT32, Some(LogicalType::Date), _) | (Physical::INT32, None, ConvertedType::DATE) => {
            stamp(MICROS_OF_DAY, 1, Clock::Date)
        }
        (Physical::INT64, Some(LogicalType::Timestamp(t)), _) => match t.unit {
            TimeUnit::MILLIS => stamp(1000, 1, clock(t.is_adjusted_to_u_t_c)),
            TimeUnit::MICROS => stamp(1, 1, clock(t.is_adjusted_to_u_t_c)),
            TimeUnit::NANOS => stamp(1, 1000, clock(t.is_adjusted_to_u_t_c)),
        },
        (Physical::INT64, None, ConvertedType::TIMESTAMP_MILLIS) => stamp(1000, 1, Clock::Utc),
        (Physical::INT64, None, ConvertedType::TIMESTAMP_MICROS) => stamp(1, 1, Clock::Utc),
        (Physical::INT32 | Physical::INT64, Some(LogicalType::Time(_)), _) => None,
        (Physical::INT32 | Physical::INT64, Some(LogicalType::Decimal(_)), _)
        | (Physical::INT32 | Physical::INT64, _, ConvertedType::DECIMAL) => {
            Some((Meaning::Decimal(column.type_scale().clamp(0, 18)), ColumnKind::Number))
        }
        (Physical::INT32, _, ConvertedType::UINT_32) => Some((Meaning::Unsigned32, ColumnKind::Integer)),
        (Physical::INT64, _, ConvertedType::UINT_64) => Some((Meaning::Unsigned64, ColumnKind::Integer)),
        (Physical::INT32 | Physical::INT64, ..) => Some((Meaning::Plain, ColumnKind::Integer)),
        (Physical::BYTE_ARRAY, Some(LogicalType::String | LogicalType::Enum | LogicalType::Json), _)
        | (Physical::BYTE_ARRAY, None, _)
            if column.converted_type() != ConvertedType::DECIMAL =>
        {
            Some((Meaning::Text, ColumnKind::Text))
        }
        _ => None,
    }
}

/// Hands up to `limit` values of a column chunk to `take`, `None` for a null; returns how many.
fn each<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    limit: usize,
    mut take: impl FnMut(Option<&T::T>),
) -> Result<usize, ParquetError> {
    let mut levels = Vec::new();
    let mut values = Vec::new();
    let mut done = 0;
    while done < limit {
        levels.clear();
        values.clear();
        let (records, _, _) = reader.read_records(BATCH.min(limit - done), Some(&mut levels), None, &mut values)?;
        if records == 0 {
            break;
        }
        if levels.is_empty() {
            values.iter().for_each(|v| take(Some(v)));
        } else {
            // A flat optional column has levels 0 (null) and 1.
            let mut present = values.iter();
            for level in &levels {
                take(if *level > 0 { present.next() } else { None });
            }
        }
        done += records;
    }
    Ok(done)
}

/// A column being read.
struct Builder<'a> {
    name: &'a str,
    what: As,
    meaning: Meaning,
    rows: u64,
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
    fn new(name: &'a str, what: As, meaning: Meaning) -> Self {
        let cells = match what {
            As::Number => Building::Numbers(Vec::new()),
            As::Time => Building::Times { values: Vec::new(), clock: None },
            As::Key | As::Text => Building::Keys(Keys::default()),
        };
        Self { name, what, meaning, rows: 0, cells, problems: Problems::default(), left_out: Vec::new() }
    }

    /// Room for so many rows, so that growing does not hold a column twice; less where the system has no more.
    fn reserve(&mut self, rows: usize) {
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
    fn integer(&mut self, value: Option<i64>) {
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
    fn float(&mut self, value: Option<f64>) {
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
    fn text(&mut self, value: Option<&[u8]>) {
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

#[cfg(test)]
mod tests;
