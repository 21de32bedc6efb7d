//! Parquet files made here, value by value, and files that are damaged.

use std::sync::Arc;

use ::parquet::basic::Compression;
use ::parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DoubleType, FloatType, Int32Type, Int64Type, Int96, Int96Type,
};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::parser::parse_message_type;

use super::super::problems::Position;
use super::super::source::from_bytes;
use super::super::table::Cells;
use super::super::table::Table;
use super::*;

/// Writes one column: values and, for an optional one, definition levels.
fn column<T: DataType>(group: &mut SerializedRowGroupWriter<'_, Vec<u8>>, values: &[T::T], levels: Option<&[i16]>) {
    let mut writer = group.next_column().unwrap().unwrap();
    writer.typed::<T>().write_batch(values, levels, None).unwrap();
    writer.close().unwrap();
}

type WriteGroup<'a> = &'a dyn Fn(&mut SerializedRowGroupWriter<'_, Vec<u8>>);

/// A file with the given schema, one row group per call of `groups`.
fn file(schema: &str, compression: Compression, groups: &[WriteGroup<'_>]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
    for write in groups {
        let mut group = writer.next_row_group().unwrap();
        write(&mut group);
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

fn open(bytes: Vec<u8>) -> Result<Table, DataError> {
    Table::from_source(from_bytes(Place { path: "f".into() }, bytes, true)?)
}

fn strings(texts: &[&str]) -> Vec<ByteArray> {
    texts.iter().map(|t| ByteArray::from(t.as_bytes().to_vec())).collect()
}

const SCHEMA: &str = "message m {
    optional byte_array id (UTF8); required int64 ms (TIMESTAMP(MILLIS,false)); optional int64 ns (TIMESTAMP(NANOS,true));
    required int32 day (DATE); optional double y; required float f; required int32 i; required boolean b;
    required int32 u (UINT_32); required int64 dec (DECIMAL(9,2)); required int96 old;
    required group list { repeated group inner { optional int32 item; } } required fixed_len_byte_array(4) raw;
}";

fn sample() -> Vec<u8> {
    let write = |group: &mut SerializedRowGroupWriter<'_, Vec<u8>>| {
        column::<ByteArrayType>(group, &strings(&["A", "B"]), Some(&[1, 0, 1]));
        column::<Int64Type>(group, &[0, 86_400_000, 172_800_000], None);
        column::<Int64Type>(group, &[1_500, -1], Some(&[1, 1, 0]));
        column::<Int32Type>(group, &[-1, 0, 1], None);
        column::<DoubleType>(group, &[1.5, f64::INFINITY], Some(&[1, 0, 1]));
        column::<FloatType>(group, &[0.5, 1.5, 2.5], None);
        column::<Int32Type>(group, &[7, 8, 9], None);
        column::<BoolType>(group, &[true, false, true], None);
        column::<Int32Type>(group, &[-1, 0, 1], None);
        column::<Int64Type>(group, &[125, -50, 0], None);
        let mut noon = Int96::new();
        noon.set_data((43_200_000_000_000u64 & 0xffff_ffff) as u32, (43_200_000_000_000u64 >> 32) as u32, 2_440_589);
        column::<Int96Type>(group, &[noon; 3], None);
        let mut writer = group.next_column().unwrap().unwrap();
        writer.typed::<Int32Type>().write_batch(&[1, 2, 3], Some(&[2, 2, 2]), Some(&[0, 0, 0])).unwrap();
        writer.close().unwrap();
        let raw: Vec<::parquet::data_type::FixedLenByteArray> =
            (0..3).map(|_| ByteArray::from(vec![0u8; 4]).into()).collect();
        column::<::parquet::data_type::FixedLenByteArrayType>(group, &raw, None);
    };
    file(SCHEMA, Compression::SNAPPY, &[&write, &write])
}

fn read(table: &mut Table, wanted: &[(&str, As)]) -> Columns {
    let wanted: Vec<(usize, As)> = wanted.iter().map(|(name, what)| (table.find(name).unwrap(), *what)).collect();
    table.read(&wanted).unwrap()
}

#[test]
fn every_type_is_read_as_what_it_means() {
    let mut table = open(sample()).unwrap();
    use ColumnKind::*;
    let kinds: Vec<ColumnKind> = table.heads.iter().map(|h| h.kind).collect();
    assert_eq!(
        kinds,
        [Text, Time, Time, Time, Number, Number, Integer, Number, Integer, Number, Time, Nested, Unsupported]
    );
    let numbers = ["f", "i", "b", "u", "dec"].map(|n| (n, As::Number));
    let columns = read(&mut table, &numbers);
    let values: Vec<Vec<f64>> = columns.cells.into_iter().map(|c| c.into_numbers()[..3].to_vec()).collect();
    assert_eq!(values[0], [0.5, 1.5, 2.5]);
    assert_eq!(values[1], [7., 8., 9.]);
    assert_eq!(values[2], [1., 0., 1.]);
    assert_eq!(values[3], [4_294_967_295., 0., 1.]);
    assert_eq!(values[4], [1.25, -0.5, 0.]);
    assert_eq!(columns.n_rows, 6, "two row groups");
    for (name, clock, shown) in [
        ("ms", Clock::Date, "1970-01-02"),
        ("day", Clock::Date, "1970-01-01"),
        ("old", Clock::Local, "1970-01-02 12:00:00"),
    ] {
        let Cells::Times { values, clock: found } = &read(&mut table, &[(name, As::Time)]).cells[0] else { panic!() };
        assert_eq!((*found, found.format(values[1])), (clock, shown.to_owned()), "{name}");
    }
}

#[test]
fn nulls_are_missing_values_and_rows_without_id_or_time_are_reported() {
    let mut table = open(sample()).unwrap();
    let y = read(&mut table, &[("y", As::Number)]);
    assert_eq!(y.problems.list[0].to_string(), "row 3, column `y`: inf is not a finite number");
    let values = y.cells.into_iter().next().unwrap().into_numbers();
    assert!(values[0] == 1.5 && values[1].is_nan() && values[2].is_infinite());

    let columns = read(&mut table, &[("id", As::Key), ("ns", As::Time), ("i", As::Number)]);
    let shown: Vec<String> = columns.problems.list.iter().map(|p| p.to_string()).collect();
    assert_eq!(shown[0], "row 2, column `id`: the name of the series is missing");
    assert_eq!(shown[2], "row 3, column `ns`: the time is missing");
    assert_eq!((columns.n_rows, columns.places.of(1)), (2, Position::Row(4)));
    let Cells::Times { values, clock } = &columns.cells[1] else { panic!() };
    assert_eq!((&values[..], *clock), (&[1i64, 1][..], Clock::Utc), "nanoseconds become microseconds");
    assert_eq!(columns.cells[2].clone().into_numbers(), [7., 7.]);
    let texts = read(&mut table, &[("id", As::Text)]);
    assert_eq!((texts.n_rows, texts.problems.total), (6, 0));
}

#[test]
fn columns_that_cannot_be_read_are_named() {
    let mut table = open(sample()).unwrap();
    for (name, what) in [("list", "a nested type"), ("raw", "a type that cannot be read")] {
        let index = table.find(name).unwrap();
        let error = table.read(&[(index, As::Number)]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("f: column `{name}` holds {what}")), "{error}");
    }
}

#[test]
fn texts_and_integers_serve_as_times_and_names() {
    let schema = "message m { required byte_array ds (UTF8); required int64 id; required byte_array v (UTF8); required double t; }";
    let bytes = file(
        schema,
        Compression::ZSTD(Default::default()),
        &[&|group| {
            column::<ByteArrayType>(group, &strings(&["2020-01-01", "2020-01-02", "soon"]), None);
            column::<Int64Type>(group, &[17, 17, 18], None);
            column::<ByteArrayType>(group, &strings(&["1.5", "x", "NA"]), None);
            column::<DoubleType>(group, &[1.0, 2.0, 2.5], None);
        }],
    );
    let mut table = open(bytes).unwrap();
    assert_eq!((table.heads[0].kind, table.heads[2].kind), (ColumnKind::Time, ColumnKind::Text));
    let columns = read(&mut table, &[("id", As::Key), ("ds", As::Time), ("v", As::Number)]);
    assert!(matches!(&columns.cells[0], Cells::Keys { names, .. } if names[..] == ["17", "18"]));
    let shown = columns.problems.to_string();
    assert!(shown.contains("row 3, column `ds`: `soon`") && shown.contains("row 2, column `v`: `x` is not a number"));
    let times = read(&mut table, &[("t", As::Time)]);
    assert!(matches!(&times.cells[0], Cells::Times { values, clock: Clock::Integer } if values[..] == [1, 2]));
    assert!(times.problems.to_string().contains("row 3, column `t`: 2.5 is not a time"));
}

#[test]
fn stamps_out_of_range_are_reported() {
    let schema = "message m { required int64 ds (TIMESTAMP(MILLIS,true)); }";
    let write = |group: &mut SerializedRowGroupWriter<'_, Vec<u8>>| column::<Int64Type>(group, &[0, i64::MAX], None);
    let mut table = open(file(schema, Compression::LZ4_RAW, &[&write])).unwrap();
    let times = read(&mut table, &[("ds", As::Time)]);
    assert!(times.problems.to_string().contains("outside the years 0001 to 9999"), "{}", times.problems);
}

#[test]
fn a_file_that_ends_too_early_is_damaged() {
    let bytes = sample();
    for keep in [4, 8, bytes.len() / 2, bytes.len() - 1] {
        let error = open(bytes[..keep].to_vec()).err().unwrap();
        assert!(matches!(error, DataError::Damaged { .. }), "{keep}: {error}");
    }
    let empty = file("message m { required int64 ds; required double y; }", Compression::UNCOMPRESSED, &[]);
    assert!(matches!(open(empty).unwrap().read(&[(0, As::Time)]).unwrap_err(), DataError::NoRows { .. }));
}

/// Changed bytes anywhere give an error or other values, never a panic.
#[test]
fn changed_bytes_do_not_make_it_panic() {
    let mut random = crate::random::Stream::new(7, crate::random::Purpose::Synthetic, &[]);
    let original = sample();
    for _ in 0..3000 {
        let mut bytes = original.clone();
        for _ in 0..1 + random.next_u64() % 3 {
            let at = 4 + (random.next_u64() as usize) % (bytes.len() - 8);
            bytes[at] = match random.next_u64() % 4 {
                0 => 0xff,
                1 => 0,
                _ => random.next_u64() as u8,
            };
        }
        if let Ok(mut table) = open(bytes) {
            for index in 0..table.heads.len() {
                let what = [As::Number, As::Time, As::Key][index % 3];
                let _ = table.read(&[(index, what)]);
            }
        }
    }
}
