//! A large parquet file trains in bounded memory: the bound of docs/data.md, on a smaller file.

use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use crate::tool::Folder;

/// Rows of a row group.
const GROUP: usize = 100_000;

fn column<T: parquet::data_type::DataType>(
    group: &mut SerializedRowGroupWriter<'_, std::fs::File>,
    values: impl Iterator<Item = T::T>,
) {
    let mut writer = group.next_column().unwrap().unwrap();
    writer.typed::<T>().write_batch(&values.collect::<Vec<_>>(), None, None).unwrap();
    writer.close().unwrap();
}

/// Hourly series, one per row group, with a column that nobody asks for.
fn write(folder: &Folder, name: &str, groups: usize) {
    let schema = "message m { required byte_array unique_id (UTF8); required int64 ds (TIMESTAMP(MICROS,false));
                  required double y; required double unused; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = std::fs::File::create(folder.path(name)).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(WriterProperties::builder().build())).unwrap();
    for g in 0..groups {
        let mut group = writer.next_row_group().unwrap();
        let id = ByteArray::from(format!("series-{g}").into_bytes());
        let value = |i: usize| (i as f64 * std::f64::consts::TAU / 24.0).sin() + (i * 7919 % 1009) as f64 / 1009.0;
        column::<ByteArrayType>(&mut group, std::iter::repeat_n(id, GROUP));
        column::<Int64Type>(&mut group, (0..GROUP as i64).map(|i| i * 3_600_000_000));
        column::<DoubleType>(&mut group, (0..GROUP).map(value));
        column::<DoubleType>(&mut group, (0..GROUP).map(|i| value(i) * 2.0));
        group.close().unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn a_large_parquet_file_takes_no_more_than_its_bound_per_row() {
    let folder = Folder::new();
    let peak = |groups: usize| {
        write(&folder, "large.parquet", groups);
        let trained = folder.json(
            "train --data large.parquet --target y --horizon 4 --input-size 12 --hidden-size 8 --max-steps 2 \
             --val-windows 100 --threads 1 --output m.st --run-dir run",
        );
        assert_eq!(trained["n_series"], groups);
        trained["peak_rss_mb"].as_f64()
    };
    let (Some(small), Some(large)) = (peak(2), peak(12)) else {
        println!("skipped: the system does not say how much memory a process held");
        return;
    };
    let per_row = (large - small) * 1024.0 * 1024.0 / (10 * GROUP) as f64;
    assert!(per_row < 40.0, "{per_row} bytes per row: {small} MB with 0.2, {large} MB with 1.2 million rows");
}
