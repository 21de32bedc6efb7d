//! Forecasts as a polars frame (cargo feature `polars`), with the columns that a file of them has.

use polars::frame::DataFrame;
use polars::prelude::{Column, IntoColumn, NamedFrom, PolarsError, Series, TimeUnit, TimeZone};

use super::Forecasts;
use crate::calendar::Clock;

/// `unique_id`, `ds` (days, microseconds with or without UTC, or whole numbers, as the data has them), `cutoff` where there
/// are several origins, and one column per output.
impl TryFrom<&Forecasts> for DataFrame {
    type Error = PolarsError;

    fn try_from(table: &Forecasts) -> Result<Self, PolarsError> {
        let ids: Vec<&str> = table.series.iter().map(|s| table.ids[*s as usize].as_str()).collect();
        let mut columns =
            vec![Series::new("unique_id".into(), ids).into_column(), times("ds", table.clock, &table.time)?];
        if let Some(cutoff) = &table.cutoff {
            columns.push(times("cutoff", table.clock, cutoff)?);
        }
        for (c, name) in table.columns.iter().enumerate() {
            let values: Vec<f64> = (0..table.len()).map(|row| table.row(row)[c]).collect();
            columns.push(Series::new(name.as_str().into(), values).into_column());
        }
        DataFrame::new(table.len(), columns)
    }
}

fn times(name: &str, clock: Clock, values: &[i64]) -> Result<Column, PolarsError> {
    const DAY: i64 = 86_400_000_000;
    let days = || values.iter().map(|t| i32::try_from(t.div_euclid(DAY)).ok()).collect::<Vec<_>>();
    Ok(match clock {
        Clock::Integer => Series::new(name.into(), values),
        Clock::Date if values.iter().all(|t| t.rem_euclid(DAY) == 0) => Series::new(name.into(), days()).into_date(),
        Clock::Date | Clock::Local => Series::new(name.into(), values).into_datetime(TimeUnit::Microseconds, None),
        Clock::Utc => {
            Series::new(name.into(), values).into_datetime(TimeUnit::Microseconds, TimeZone::opt_try_new(Some("UTC"))?)
        }
    }
    .into_column())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Panel;

    fn table(clock: Clock, time: Vec<i64>) -> Forecasts {
        Forecasts {
            ids: vec!["a".into(), "b".into()],
            series: vec![0, 0, 1, 1],
            cutoff: None,
            time,
            clock,
            columns: vec!["NHITS".into(), "NHITS-lo-80".into()],
            values: (0..8).map(f64::from).collect(),
        }
    }

    #[test]
    fn forecasts_keep_series_times_and_values() {
        const HOUR: i64 = 3_600_000_000;
        for (clock, step) in [(Clock::Integer, 1), (Clock::Date, 24 * HOUR), (Clock::Local, HOUR), (Clock::Utc, HOUR)] {
            let times = vec![5 * step, 6 * step, 5 * step, 6 * step];
            let forecasts = Forecasts { cutoff: Some(vec![4 * step; 4]), ..table(clock, times.clone()) };
            let frame = DataFrame::try_from(&forecasts).unwrap();
            let names: Vec<String> = frame.columns().iter().map(|c| c.name().to_string()).collect();
            assert_eq!(names, ["unique_id", "ds", "cutoff", "NHITS", "NHITS-lo-80"]);
            let values: Vec<f64> = frame.column("NHITS-lo-80").unwrap().f64().unwrap().iter().flatten().collect();
            assert_eq!(values, [1.0, 3.0, 5.0, 7.0]);
            // Read back as a panel: the same series, clock and times.
            let mut frame = frame.select(["unique_id", "ds", "NHITS"]).unwrap();
            frame.rename("NHITS", "y".into()).unwrap();
            let panel = Panel::try_from(&frame).unwrap();
            assert_eq!((panel.ids.join(","), panel.clock, &panel.time), ("a,b".into(), clock, &times));
            assert_eq!(panel.y, [0.0, 2.0, 4.0, 6.0]);
        }
    }
}
