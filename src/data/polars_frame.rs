//! Polars frames into panels (cargo feature `polars`): a frame is read as a file is, with the same roles and policies.

use polars::frame::DataFrame;
use polars::prelude::{Column, DataType, PolarsError, TimeUnit};

use crate::calendar::Clock;

use super::config::DataConfig;
use super::error::{DataError, Place};
use super::panel::Panel;
use super::read::{Read, load_table, loaded};
use super::table::{As, ColumnKind, Columns, Guess, Head, Table};
use super::typed::{Builder, MICROS_OF_DAY, Meaning, finished};

/// Values of a text column from which its kind is guessed.
const SAMPLE: usize = 1000;

/// The columns of a frame; their values are shared with it.
pub(super) struct FrameTable {
    columns: Vec<Column>,
}

/// Reads the series of a frame as [`read_panel`](super::read_panel) reads those of a file; `config.path` is not looked at.
///
/// # Errors
/// As [`read_panel`](super::read_panel).
pub fn read_frame(frame: &DataFrame, config: &DataConfig) -> Result<Read, DataError> {
    loaded(load_table(&mut Table::of_frame(frame), config)?)
}

/// With the default settings: `unique_id, ds, y` (or AutoGluon's names), or a time and one column of numbers.
impl TryFrom<&DataFrame> for Panel {
    type Error = DataError;
    fn try_from(frame: &DataFrame) -> Result<Self, DataError> {
        Ok(read_frame(frame, &DataConfig::default())?.panel)
    }
}

/// As from `&DataFrame`.
impl TryFrom<DataFrame> for Panel {
    type Error = DataError;
    fn try_from(frame: DataFrame) -> Result<Self, DataError> {
        Self::try_from(&frame)
    }
}

impl FrameTable {
    pub(super) fn open(frame: &DataFrame) -> (Self, Vec<Head>) {
        let columns = frame.columns().to_vec();
        let heads = columns.iter().map(|column| {
            let kind = match meaning(column.dtype()) {
                Some((Meaning::Text, _)) => guess(column),
                Some((_, kind)) => kind,
                None if column.dtype().is_nested() => ColumnKind::Nested,
                None => ColumnKind::Unsupported,
            };
            Head { name: column.name().to_string(), kind }
        });
        let heads = heads.collect();
        (Self { columns }, heads)
    }

    pub(super) fn read(&self, heads: &[Head], wanted: &[(usize, As)], place: &Place) -> Result<Columns, DataError> {
        let mut builders = Vec::with_capacity(wanted.len());
        for (index, what) in wanted {
            let (column, head) = (&self.columns[*index], &heads[*index]);
            let Some((meaning, _)) = meaning(column.dtype()) else {
                return Err(place.column_type(&head.name, head.kind.words(), what.words()));
            };
            let mut builder = Builder::new(&head.name, *what, meaning);
            builder.reserve(column.len());
            fill(&mut builder, column).map_err(|e| place.damaged(format!("column `{}`: {e}", head.name)))?;
            builders.push(builder);
        }
        finished(builders, place)
    }
}

/// What the values of a column mean, and the kind of column that makes.
fn meaning(dtype: &DataType) -> Option<(Meaning, ColumnKind)> {
    let stamp = |of, per, clock| Some((Meaning::Stamp { of, per, clock }, ColumnKind::Time));
    match dtype {
        DataType::Date => stamp(MICROS_OF_DAY, 1, Clock::Date),
        DataType::Datetime(unit, zone) => {
            let clock = if zone.is_some() { Clock::Utc } else { Clock::Local };
            match unit {
                TimeUnit::Milliseconds => stamp(1000, 1, clock),
                TimeUnit::Microseconds => stamp(1, 1, clock),
                TimeUnit::Nanoseconds => stamp(1, 1000, clock),
            }
        }
        DataType::UInt64 => Some((Meaning::Unsigned64, ColumnKind::Integer)),
        DataType::Boolean => Some((Meaning::Plain, ColumnKind::Integer)),
        DataType::Null => Some((Meaning::Plain, ColumnKind::Empty)),
        DataType::String => Some((Meaning::Text, ColumnKind::Text)),
        // Other types with whole numbers below them (durations, times of day) are no numbers.
        dtype if dtype.is_integer() => Some((Meaning::Plain, ColumnKind::Integer)),
        dtype if dtype.is_float() => Some((Meaning::Plain, ColumnKind::Number)),
        _ => None,
    }
}

fn guess(column: &Column) -> ColumnKind {
    let mut guess = Guess::default();
    if let Ok(texts) = column.str() {
        texts.iter().take(SAMPLE).flatten().for_each(|text| guess.add(text.as_bytes()));
    }
    guess.kind()
}

fn fill(builder: &mut Builder<'_>, column: &Column) -> Result<(), PolarsError> {
    let stored = column.to_physical_repr();
    match stored.dtype() {
        DataType::String => stored.str()?.iter().for_each(|v| builder.text(v.map(str::as_bytes))),
        DataType::Null => (0..stored.len()).for_each(|_| builder.integer(None)),
        // The bits of an unsigned number, which the builder reads as such.
        DataType::UInt64 => stored.u64()?.iter().for_each(|v| builder.integer(v.map(|v| v as i64))),
        dtype if dtype.is_float() => {
            stored.cast(&DataType::Float64)?.f64()?.iter().for_each(|v| builder.float(v));
        }
        _ => stored.cast(&DataType::Int64)?.i64()?.iter().for_each(|v| builder.integer(v)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Missing, read_panel};
    use super::*;
    use polars::prelude::{IntoColumn, NamedFrom, Series};

    const DAY: i64 = MICROS_OF_DAY;

    fn frame(columns: Vec<Column>) -> DataFrame {
        DataFrame::new(columns[0].len(), columns).unwrap()
    }

    fn ids(names: &[&str]) -> Column {
        Series::new("unique_id".into(), names).into_column()
    }

    #[test]
    fn a_frame_is_the_panel_that_its_csv_would_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.csv");
        std::fs::write(&path, "unique_id,ds,y\nA,2020-01-01,1.5\nA,2020-01-02,2\nB,2020-01-02,3\nB,2020-01-03,4\n")
            .unwrap();
        let from_file = read_panel(&DataConfig { path, ..Default::default() }).unwrap();
        let days = Series::new("ds".into(), [18_262i32, 18_263, 18_263, 18_264]).into_date();
        let y = Series::new("y".into(), [1.5f64, 2.0, 3.0, 4.0]);
        let made = frame(vec![ids(&["A", "A", "B", "B"]), days.into_column(), y.into_column()]);
        assert_eq!(read_frame(&made, &DataConfig::default()).unwrap().fingerprint, from_file.fingerprint);
        assert_eq!(Panel::try_from(&made).unwrap(), from_file.panel);
        assert_eq!(Panel::try_from(made).unwrap(), from_file.panel);
    }

    #[test]
    fn types_units_zones_and_nulls_mean_what_they_do_in_files() {
        for (unit, per_micro) in
            [(TimeUnit::Milliseconds, 0.001), (TimeUnit::Microseconds, 1.0), (TimeUnit::Nanoseconds, 1000.0)]
        {
            let stamps: Vec<i64> = (0..3).map(|i| ((DAY + i * DAY / 24) as f64 * per_micro) as i64).collect();
            let ds = Series::new("ds".into(), stamps).into_datetime(unit, None).into_column();
            let y = Series::new("y".into(), [Some(1i32), None, Some(3)]).into_column();
            let config = DataConfig { missing: Missing::Mask, ..Default::default() };
            let panel = read_frame(&frame(vec![ds, y]), &config).unwrap().panel;
            assert_eq!(
                (panel.times(0)[1], panel.freq.to_string(), panel.clock),
                (DAY + DAY / 24, "h".into(), Clock::Local)
            );
            assert!(panel.y[0] == 1.0 && panel.y[1].is_nan());
        }
        let counters = Series::new("ds".into(), [1u64, 2]).into_column();
        let texts = Series::new("y".into(), ["5", "6.5"]).into_column();
        assert_eq!(Panel::try_from(frame(vec![counters, texts])).unwrap().y, [5.0, 6.5]);
    }

    #[test]
    fn what_is_wrong_names_the_row_and_the_column() {
        let ds = Series::new("ds".into(), [Some(1i64), None, Some(3)]).into_column();
        let y = Series::new("y".into(), [1.0f32, 2.0, f32::INFINITY]).into_column();
        let error = Panel::try_from(frame(vec![ds.clone(), y])).unwrap_err().to_string();
        assert!(error.contains("row 2, column `ds`: the time is missing"), "{error}");
        assert!(
            error.contains("the frame: ") && error.contains("row 3, column `y`: inf is not a finite number"),
            "{error}"
        );
        let empty = frame(vec![ds.slice(0, 0), Series::new("y".into(), Vec::<f64>::new()).into_column()]);
        assert!(matches!(Panel::try_from(empty).unwrap_err(), DataError::NoRows { .. }));
        let nothing = frame(vec![ds]);
        assert!(matches!(Panel::try_from(nothing).unwrap_err(), DataError::Layout { .. }));
    }
}
