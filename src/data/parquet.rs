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
use super::table::{As, ColumnKind, Columns, Guess, Head};
use super::typed::{Builder, MICROS_OF_DAY, Meaning, finished};

/// Records asked for at a time: bounds the memory beside the columns themselves.
const BATCH: usize = 1 << 16;
/// Rows for which memory is asked for at once; columns that turn out longer grow as they are read.
const MOST_RESERVED: usize = 1 << 26;
/// Values of a text column from which its kind is guessed.
const SAMPLE: usize = 1000;

/// A parquet file whose schema was read.
pub(super) struct ParquetTable {
    reader: SerializedFileReader<File>,
    /// For each head: the leaf column and what its values mean; `None` for what cannot be read.
    leaves: Vec<Option<(usize, Meaning)>>,
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
        let mut builders = Vec::with_capacity(wanted.len());
        for (index, what) in wanted {
            let head = &heads[*index];
            let Some((leaf, meaning)) = self.leaves[*index] else {
                return Err(place.column_type(&head.name, head.kind.words(), what.words()));
            };
            let mut builder = Builder::new(&head.name, *what, meaning);
            builder.reserve(self.promised_rows());
            guarded(|| self.read_column(leaf, &mut builder))
                .map_err(|e| place.damaged(format!("column `{}`: {e}", head.name)))?;
            builders.push(builder);
        }
        finished(builders, place)
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

#[cfg(test)]
mod tests;
