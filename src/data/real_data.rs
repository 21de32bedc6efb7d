//! Real files, read with the settings that suit them; without the folder the tests say so and pass.

use std::path::PathBuf;

use super::*;
use crate::calendar::Clock;

/// A file of the data folder (`NHITS_DATA_DIR`, else `../shared/data`), `None` with a message where it is absent.
fn file(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("NHITS_DATA_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let path = folder.join(name);
    if path.is_file() {
        return Some(path);
    }
    println!("skipped: {} is not there", path.display());
    None
}

/// Settings for a file, from TOML.
fn config(path: PathBuf, settings: &str) -> DataConfig {
    DataConfig { path, ..toml::from_str(settings).unwrap() }
}

fn read(name: &str, settings: &str) -> Option<Read> {
    let path = file(name)?;
    Some(read_panel(&config(path, settings)).unwrap_or_else(|e| panic!("{name}: {e}")))
}

fn error(name: &str, settings: &str) -> Option<String> {
    let path = file(name)?;
    Some(read_panel(&config(path, settings)).unwrap_err().to_string())
}

/// Series, rows, frequency, first and last stamp of the first series.
fn shape(read: &Read) -> (usize, usize, String, String, String) {
    let p = &read.panel;
    let stamp = |t: Option<&i64>| p.clock.format(*t.unwrap());
    (p.n_series(), p.n_rows(), p.freq.to_string(), stamp(p.times(0).first()), stamp(p.times(0).last()))
}

fn shaped(n: usize, rows: usize, freq: &str, first: &str, last: &str) -> (usize, usize, String, String, String) {
    (n, rows, freq.into(), first.into(), last.into())
}

#[test]
fn ett_is_the_same_from_csv_and_parquet() {
    let (Some(csv), Some(parquet)) = (read("ETTm2.csv", "targets = 'all'"), read("ETTm2.parquet", "targets = 'all'"))
    else {
        return;
    };
    assert_eq!(shape(&csv), shaped(7, 7 * 69_680, "15min", "2016-07-01 00:00:00", "2018-06-26 19:45:00"));
    assert_eq!(csv.panel.ids, ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]);
    let ot = csv.panel.series(6);
    assert_eq!((ot[0], ot[69_679]), (38.6619987487793, 45.32699966430664));
    assert!(csv.notices.is_empty(), "{:?}", csv.notices);
    assert_eq!(csv.panel, parquet.panel);
    assert_eq!(csv.fingerprint, parquet.fingerprint);
}

#[test]
fn one_column_of_a_wide_file_is_one_series() {
    let Some(r) = read("ETTh1.csv", "target = 'OT'\nfutr_exog = ['HUFL']\nhist_exog = ['LULL', 'MULL']") else {
        return;
    };
    assert_eq!(shape(&r), shaped(1, 17_420, "h", "2016-07-01 00:00:00", "2018-06-26 19:00:00"));
    let p = &r.panel;
    assert_eq!(
        (p.target.as_str(), p.futr_exog[0].values[0], p.hist_exog[1].name.as_str()),
        ("OT", 5.827000141143799, "MULL")
    );
}

#[test]
fn exchange_rates_have_unpadded_dates() {
    let Some(r) = read("exchange_rate.csv", "targets = 'all'") else { return };
    assert_eq!(shape(&r), shaped(8, 8 * 7_588, "D", "1990-01-01", "2010-10-10"));
    assert_eq!((r.panel.ids[0].as_str(), r.panel.series(7)[0], r.panel.clock), ("0", 0.593, Clock::Date));
    assert_eq!(r.panel.series(7)[7_587], 0.692689);
}

#[test]
fn business_days_with_holidays_are_taken_as_they_are() {
    let Some(r) = read("spy_daily.csv", "target = 'close'") else { return };
    assert_eq!(shape(&r), shaped(1, 5_849, "B", "1998-01-02", "2021-03-31"));
    assert_eq!((r.panel.y[0], r.panel.y[5_848]), (97.36, 396.33));
    assert_eq!(r.notices.len(), 1);
    assert!(r.notices[0].starts_with("trading calendar: business days, 215 steps"), "{:?}", r.notices);
    let unnamed = read("spy_daily.csv", "").unwrap();
    assert_eq!(unnamed.panel.y[0], 97.36, "of prices the close is taken");
    assert!(error("spy_daily.csv", "target = 'close'\ngaps = 'error'").unwrap().contains("absent before it"));
}

#[test]
fn gaps_of_a_market_that_never_closes_are_errors() {
    let Some(text) = error("btcusdt_hourly.parquet", "target = 'close'") else { return };
    assert!(text.contains(": 8 problems"), "{text}");
    assert!(
        text.contains("2017-09-26 19:00:00: 4 rows of `h` are absent before it, after 2017-09-26 14:00:00"),
        "{text}"
    );
    let filled = read("btcusdt_hourly.parquet", "target = 'close'\ngaps = 'fill'").unwrap();
    assert_eq!(shape(&filled), shaped(1, 34_916, "h", "2017-08-17 05:00:00", "2021-08-11 00:00:00"));
    assert_eq!(filled.notices, ["16 absent rows inserted, filled with a straight line"]);
    let masked = read("btcusdt_hourly.parquet", "target = 'close'\ngaps = 'mask'").unwrap();
    assert_eq!(masked.panel.y.iter().filter(|v| v.is_nan()).count(), 16);
    assert_eq!(read("btcusdt_hourly.parquet", "target = 'close'\ngaps = 'observed'").unwrap().panel.n_rows(), 34_900);
}

#[test]
fn weather_can_be_read_row_by_row_as_the_published_results_did() {
    let Some(text) = error("weather.parquet", "targets = 'all'") else { return };
    assert!(text.contains("2020-05-12 06:00:00: 2 rows have this time"), "{text}");
    assert!(text.contains("2020-05-29 11:10:00: 9 rows of `10min` are absent"), "{text}");
    let r = read("weather.parquet", "targets = 'all'\nduplicates = 'keep'\ngaps = 'observed'").unwrap();
    assert_eq!(shape(&r), shaped(21, 21 * 52_696, "10min", "2020-01-01 00:10:00", "2021-01-01 00:00:00"));
    assert_eq!(r.notices, ["1 rows repeat a time of their series: kept all rows as a sequence of observations"]);
    let ot = r.panel.series(r.panel.ids.iter().position(|id| id == "OT").unwrap());
    assert_eq!(ot.iter().filter(|v| **v == -9999.0).count(), 50);
    assert!(r.panel.ids.iter().any(|id| id == "max. PAR (umol/m2/s)"));
    let clean = read("weather.parquet", "targets = ['OT']\nduplicates = 'first'\ngaps = 'fill'").unwrap();
    assert_eq!(clean.panel.n_rows(), 52_696 - 1 + 9);
}

#[test]
fn two_absent_days_are_found() {
    let Some(text) = error("melbourne_min_temp_daily.csv", "") else { return };
    assert!(text.contains("1985-01-01: 1 row of `D` is absent before it, after 1984-12-30"), "{text}");
    assert!(text.contains(": 2 problems"), "{text}");
    let r = read("melbourne_min_temp_daily.csv", "gaps = 'fill'").unwrap();
    assert_eq!(shape(&r), shaped(1, 3_652, "D", "1981-01-01", "1990-12-31"));
    assert_eq!((r.panel.y[0], r.panel.y[3_651], r.notices.len()), (20.7, 13.0, 2));
}

#[test]
fn missing_values_of_beijing_follow_the_policy() {
    let Some(text) = error("beijing_pm25.csv", "target = 'pm2.5'") else { return };
    assert!(text.contains("line 2, series `pm2.5`, 2010-01-01, column `pm2.5`") || text.contains("line 2"), "{text}");
    assert!(text.contains("24 values are missing, up to 2010-01-01 23:00:00"), "{text}");
    let masked = read("beijing_pm25.csv", "target = 'pm2.5'\nmissing = 'mask'\nhist_exog = ['TEMP', 'Iws']").unwrap();
    assert_eq!(shape(&masked), shaped(1, 43_824, "h", "2010-01-01 00:00:00", "2014-12-31 23:00:00"));
    assert_eq!(masked.notices, ["2067 missing values masked"]);
    assert_eq!(masked.panel.hist_exog[1].values[43_823], 249.85);
    let filled = read("beijing_pm25.csv", "target = 'pm2.5'\nmissing = 'interpolate'").unwrap();
    assert_eq!((filled.panel.n_rows(), filled.panel.y[0]), (43_824 - 24, 129.0));
    let dropped = read("beijing_pm25.csv", "target = 'pm2.5'\nmissing = 'drop'").unwrap();
    assert_eq!(dropped.panel.n_rows(), 43_824 - 2_067);
    let all = read("beijing_pm25.csv", "targets = 'all'\nmissing = 'mask'").unwrap();
    assert_eq!(all.panel.ids.join(","), "pm2.5,DEWP,TEMP,PRES,Iws,Is,Ir", "the text column is none");
    assert!(error("beijing_pm25.csv", "target = 'cbwd'").unwrap().contains("column `cbwd` holds text"));
}

#[test]
fn whole_weeks_of_nulls_are_missing_values() {
    let Some(text) = error("gefcom2012_load.parquet", "targets = 'all'") else { return };
    assert!(text.contains("168 values are missing"), "{text}");
    assert!(text.contains("row "), "{text}");
    let r = read("gefcom2012_load.parquet", "targets = 'all'\nmissing = 'mask'").unwrap();
    assert_eq!(shape(&r), shaped(20, 20 * 39_414, "h", "2004-01-01 00:00:00", "2008-06-30 05:00:00"));
    assert_eq!(r.panel.y.iter().filter(|v| v.is_nan()).count(), 20 * 1_344);
}

#[test]
fn long_files_with_counters_are_ragged_panels() {
    let Some(r) = read("m3_monthly_train.parquet", "") else { return };
    let p = &r.panel;
    assert_eq!((p.n_series(), p.n_rows(), p.clock, p.freq.to_string().as_str()), (1_428, 141_858, Clock::Integer, "1"));
    assert_eq!((p.ids[0].as_str(), p.len_of(0), p.times(0)[0], p.target.as_str()), ("N1402", 50, 1, "y"));
    assert!(p.min_len() < p.max_len() && r.notices.is_empty());
    for (name, n_series, rows) in [
        ("m4_weekly_train.parquet", 359, 366_912),
        ("tourism_yearly_train.parquet", 518, 10_685),
        ("m3_other_test.parquet", 174, 1_392),
    ] {
        let r = read(name, "").unwrap();
        assert_eq!((r.panel.n_series(), r.panel.n_rows()), (n_series, rows), "{name}");
    }
}

#[test]
fn static_columns_join_by_id() {
    let Some(info) = file("m3_monthly_info.csv") else { return };
    let settings = format!("static_file = '{}'\nstat_exog = ['n_train']", info.display());
    let r = read("m3_monthly_train.parquet", &settings).unwrap();
    let lengths: Vec<f64> = (0..r.panel.n_series()).map(|s| r.panel.len_of(s) as f64).collect();
    assert_eq!(r.panel.stat_exog[0].values, lengths);
    let text = error("m3_monthly_train.parquet", &settings.replace("n_train", "category")).unwrap();
    assert!(text.contains("column `category` holds text"), "{text}");
}

#[test]
fn the_other_files_read_without_settings() {
    for (name, rows, freq, y) in [
        ("air_passengers.csv", 144, "MS", 112.0),
        ("sunspots_monthly.csv", 2_820, "MS", 58.0),
        ("us_births_daily.csv", 7_305, "D", 8_486.0),
        ("nyc_taxi_30min.csv", 10_320, "30min", 10_844.0),
    ] {
        let Some(r) = read(name, "") else { return };
        assert_eq!((r.panel.n_rows(), r.panel.freq.to_string().as_str(), r.panel.y[0]), (rows, freq, y), "{name}");
    }
    let r = read("traffic_weekly.parquet", "targets = 'all'").unwrap();
    assert_eq!((r.panel.n_series(), r.panel.len_of(0), r.panel.freq.to_string().as_str()), (862, 104, "W-THU"));
    let r = read("epf_nordpool.csv", "target = 'price'\nfutr_exog = ['grid_load_forecast', 'wind_power_forecast']")
        .unwrap();
    assert_eq!((r.panel.n_rows(), r.panel.futr_exog[1].values[52_415]), (52_416, 3_306.0));
}

#[test]
fn files_are_checked_and_inspected() {
    let Some(path) = file("beijing_pm25.csv") else { return };
    let problems = check(&config(path.clone(), "target = 'pm2.5'")).unwrap();
    assert!(
        problems.errors > 20
            && problems.list.len() == 20
            && problems.by_kind[&ProblemKind::MissingValue] == problems.errors
    );
    let i = inspect(&config(path, "")).unwrap();
    assert_eq!((i.n_rows, i.layout, i.columns.len(), i.time_col.as_deref()), (43_824, "wide", 9, Some("date")));
    let pm = &i.columns[1];
    assert_eq!((pm.kind, pm.missing, pm.min, pm.max), (ColumnKind::Number, 2_067, Some(0.0), Some(994.0)));
    assert_eq!((i.columns[5].kind, i.columns[5].distinct), (ColumnKind::Text, Some(4)));
    let i = inspect(&config(file("m3_monthly_train.parquet").unwrap(), "")).unwrap();
    let series = i.series.unwrap();
    assert_eq!((i.layout, series.n_series, series.freq.as_deref()), ("long", 1_428, Some("1")));
}

#[test]
fn covariates_ahead_are_read_from_the_rest_of_the_file() {
    let Some(r) = read("epf_nordpool.csv", "target = 'price'\nfutr_exog = ['grid_load_forecast']") else { return };
    let cut = r.panel.slice_rows(|_| 0..52_416 - 24);
    let c = config(file("epf_nordpool.csv").unwrap(), "");
    let names = ["grid_load_forecast".to_owned()];
    let rows = read_future(&c.path, &c, &cut, 24, &names).unwrap();
    assert_eq!(rows.columns[0].values, r.panel.futr_exog[0].values[52_416 - 24..]);
    let text = read_future(&c.path, &c, &r.panel, 2, &names).unwrap_err().to_string();
    assert!(
        text.contains("series `price`, 2018-12-25 00:00:00: 2 rows are missing, up to 2018-12-25 01:00:00"),
        "{text}"
    );
}
