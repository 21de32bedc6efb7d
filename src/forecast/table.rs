//! Forecasts as a table: one row per series and step, written as csv, parquet or JSON.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use serde_json::{Map, Value};

use super::ForecastError;
use crate::atomic_file::write_atomic;
use crate::calendar::Clock;

/// Forecasts of many series in columns, in original units.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecasts {
    /// `unique_id` of each series.
    pub ids: Vec<String>,
    /// The series of each row, a position in `ids`.
    pub series: Vec<u32>,
    /// `ds` of each row.
    pub time: Vec<i64>,
    /// The last observed time before each row's forecast, where several origins were asked for.
    pub cutoff: Option<Vec<i64>>,
    /// How the times are written.
    pub clock: Clock,
    /// Names of the value columns (`NHITS`, `NHITS-lo-80`, ...).
    pub columns: Vec<String>,
    /// The values, `[rows, columns]` row-major.
    pub values: Vec<f64>,
}

/// The formats that forecasts are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated, with a header.
    Csv,
    /// Parquet with zstd.
    Parquet,
    /// A JSON list of one object per row.
    Json,
}

impl Format {
    /// The format that a file's ending names.
    ///
    /// # Errors
    /// When it is none of csv, parquet and json.
    pub fn of(path: &Path) -> Result<Self, ForecastError> {
        match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("csv") => Ok(Self::Csv),
            Some("parquet") => Ok(Self::Parquet),
            Some("json") => Ok(Self::Json),
            _ => Err(ForecastError::UnknownFormat { path: path.into() }),
        }
    }
}

impl Forecasts {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.time.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.time.is_empty()
    }

    /// The values of row `row`, one per column.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns.len()..(row + 1) * self.columns.len()]
    }

    /// The rows as JSON objects; integer times as numbers, others as text.
    pub fn to_json(&self) -> Vec<Value> {
        let time = |t: i64| match self.clock {
            Clock::Integer => Value::from(t),
            _ => Value::from(self.clock.format(t)),
        };
        (0..self.len())
            .map(|i| {
                let mut row = Map::new();
                row.insert("unique_id".into(), self.ids[self.series[i] as usize].clone().into());
                row.insert("ds".into(), time(self.time[i]));
                if let Some(cutoff) = &self.cutoff {
                    row.insert("cutoff".into(), time(cutoff[i]));
                }
                for (name, value) in self.columns.iter().zip(self.row(i)) {
                    row.insert(name.clone(), Value::from(*value));
                }
                Value::Object(row)
            })
            .collect()
    }

    /// Writes the table to `path` in the format of its ending: aside, synced, renamed.
    ///
    /// # Errors
    /// When the ending is unknown or the file system refuses.
    pub fn save(&self, path: &Path) -> Result<(), ForecastError> {
        let format = Format::of(path)?;
        write_atomic(path, |out| self.write(format, out))
            .map_err(|source| ForecastError::Write { path: path.into(), source })
    }

    /// Writes the table to `out`.
    ///
    /// # Errors
    /// Whatever `out` says.
    pub fn write(&self, format: Format, out: &mut dyn Write) -> std::io::Result<()> {
        match format {
            Format::Csv => self.write_csv(out),
            Format::Json => {
                serde_json::to_writer(&mut *out, &self.to_json())?;
                out.write_all(b"\n")
            }
            Format::Parquet => self.write_parquet(out),
        }
    }

    fn write_csv(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let mut writer = csv::Writer::from_writer(out);
        let mut header = vec!["unique_id", "ds"];
        if self.cutoff.is_some() {
            header.push("cutoff");
        }
        header.extend(self.columns.iter().map(String::as_str));
        writer.write_record(&header)?;
        for i in 0..self.len() {
            writer.write_field(&self.ids[self.series[i] as usize])?;
            writer.write_field(self.clock.format(self.time[i]))?;
            if let Some(cutoff) = &self.cutoff {
                writer.write_field(self.clock.format(cutoff[i]))?;
            }
            for value in self.row(i) {
                writer.write_field(value.to_string())?;
            }
            writer.write_record(None::<&[u8]>)?;
        }
        writer.flush()
    }

    fn write_parquet(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let annotation = match self.clock {
            Clock::Integer => "",
            Clock::Utc => " (TIMESTAMP(MICROS,true))",
            _ => " (TIMESTAMP(MICROS,false))",
        };
        let mut schema =
            format!("message forecasts {{ REQUIRED BYTE_ARRAY unique_id (UTF8); REQUIRED INT64 ds{annotation};");
        if self.cutoff.is_some() {
            schema.push_str(&format!(" REQUIRED INT64 cutoff{annotation};"));
        }
        // Column names hold `-`, which the schema's parser takes within a word.
        for name in &self.columns {
            schema.push_str(&format!(" REQUIRED DOUBLE {name};"));
        }
        schema.push('}');
        let schema = parse_message_type(&schema).map_err(std::io::Error::other)?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        let mut bytes = Vec::new();
        let mut file = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties))
            .map_err(std::io::Error::other)?;
        let mut group = file.next_row_group().map_err(std::io::Error::other)?;
        let ids: Vec<ByteArray> = self.ids.iter().map(|id| ByteArray::from(id.as_str())).collect();
        let of_rows: Vec<ByteArray> = self.series.iter().map(|s| ids[*s as usize].clone()).collect();
        column::<ByteArrayType, _>(&mut group, &of_rows)?;
        column::<Int64Type, _>(&mut group, &self.time)?;
        if let Some(cutoff) = &self.cutoff {
            column::<Int64Type, _>(&mut group, cutoff)?;
        }
        let width = self.columns.len();
        for c in 0..width {
            let values: Vec<f64> = self.values.iter().skip(c).step_by(width).copied().collect();
            column::<DoubleType, _>(&mut group, &values)?;
        }
        group.close().map_err(std::io::Error::other)?;
        file.close().map_err(std::io::Error::other)?;
        out.write_all(&bytes)
    }
}

/// Writes the next column of a row group.
fn column<T: parquet::data_type::DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
) -> std::io::Result<()> {
    let mut writer = group
        .next_column()
        .map_err(std::io::Error::other)?
        .ok_or_else(|| std::io::Error::other("the schema has fewer columns than the table"))?;
    writer.typed::<T>().write_batch(values, None, None).map_err(std::io::Error::other)?;
    writer.close().map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Forecasts {
        Forecasts {
            ids: vec!["a".into(), "b,c".into()],
            series: vec![0, 1],
            time: vec![7, 8],
            cutoff: None,
            clock: Clock::Integer,
            columns: vec!["NHITS".into(), "NHITS-lo-80".into()],
            values: vec![1.5, 1.0, -2.0, 0.1],
        }
    }

    #[test]
    fn csv_quotes_names_and_keeps_every_digit() {
        let mut out = Vec::new();
        table().write(Format::Csv, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "unique_id,ds,NHITS,NHITS-lo-80\na,7,1.5,1\n\"b,c\",8,-2,0.1\n");
    }

    #[test]
    fn json_has_one_object_per_row() {
        let rows = table().to_json();
        assert_eq!(rows[1].to_string(), r#"{"unique_id":"b,c","ds":8,"NHITS":-2.0,"NHITS-lo-80":0.1}"#);
    }

    #[test]
    fn parquet_is_read_back() {
        use parquet::file::reader::{FileReader, SerializedFileReader};
        use parquet::record::RowAccessor;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.parquet");
        let table = Forecasts { cutoff: Some(vec![1, 2]), clock: Clock::Local, ..table() };
        table.save(&path).unwrap();
        let reader = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1].get_string(0).unwrap(), "b,c");
        assert_eq!(rows[1].get_double(4).unwrap(), 0.1);
    }

    #[test]
    fn an_unknown_ending_is_refused() {
        assert!(matches!(Format::of(Path::new("x.xlsx")), Err(ForecastError::UnknownFormat { .. })));
    }
}
