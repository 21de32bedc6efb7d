//! The features of a panel: alignment, causality, what is known ahead.

use super::*;
use crate::calendar::{Clock, parse_stamp};
use crate::data::Panel;

const ALL: &str = "lags=1,3;rolling_mean=4;rolling_std=3;rolling_min=5;rolling_max=2;ema=0.3;roc=1;\
                   calendar=dow,hour,month;fourier=24:2";

fn panel() -> Panel {
    let start = parse_stamp("2024-02-28 20:00:00").unwrap().value;
    let hours = |n: i64| (0..n).map(move |k| start + k * 3_600_000_000);
    let y = |n: usize, level: f64| (0..n).map(move |i| level + (i as f64 * 0.7).sin() * level / 10.0);
    Panel::new(
        vec!["a".into(), "b".into()],
        vec![0, 30, 50],
        hours(30).chain(hours(20)).collect(),
        Clock::Local,
        "h".parse().unwrap(),
        y(30, 10.0).chain(y(20, 500.0)).collect(),
        "y",
    )
}

fn spec(text: &str) -> FeatureSpec {
    text.parse::<FeatureConfig>().unwrap().resolve().unwrap()
}

#[test]
fn what_a_config_prints_reads_back() {
    let text = "lags=1,3,7;rolling_mean=20;rolling_std=20;rolling_min=4;rolling_max=5;min_periods=2;ema=0.3;roc=1;\
                calendar=dow,month-end;fourier=24:3,168:1;holidays=days.csv";
    let config: FeatureConfig = text.parse().unwrap();
    assert_eq!(config.to_string(), text);
    let toml = toml::to_string(&config).unwrap();
    assert_eq!(toml::from_str::<FeatureConfig>(&toml).unwrap(), config);
    assert_eq!((config.n_hist(), config.n_futr()), (9, 2 + 8 + 1));
    assert_eq!(config.hist_names().len(), 9);
    assert_eq!(config.futr_names()[1..4], ["month_end", "fourier_24_sin1", "fourier_24_cos1"]);
    assert!(FeatureConfig::default().is_empty() && !config.is_empty());
}

#[test]
fn what_is_wrong_in_a_config_is_said() {
    for (text, part, hint) in [
        ("lag=1", "features = lag=1 ", "did you mean `lags=...`?"),
        ("lags=0", "features.lags = 0", ""),
        ("lags=-1", "features.lags = -1", ""),
        ("lags=1,x", "features.lags = x", ""),
        ("lags", "features.lags = ", ""),
        ("rolling_std=1", "features.rolling_std = 1", ""),
        ("ema=1.5", "features.ema = 1.5", ""),
        ("ema=NaN", "features.ema = NaN", ""),
        ("calendar=dwo", "features.calendar = dwo", "dow"),
        ("fourier=24:x", "features.fourier = 24:x", ""),
        ("lags=1;lags=2", "`lags` twice", ""),
        ("lags=2,2", "`lag_2` twice", ""),
        ("rolling_mean=3;min_periods=4", "features.min_periods = 4", ""),
        ("holidays=", "features = holidays=", ""),
        ("fourier=24:1000", "2000 columns", ""),
    ] {
        let error = text.parse::<FeatureConfig>().unwrap_err();
        assert!(error.to_string().contains(part), "{text}: {error}");
        assert!(error.hint().unwrap().contains(hint), "{text}: {error:?}");
    }
    assert!(toml::from_str::<FeatureConfig>("lag = [1]").is_err());
}

#[test]
fn columns_are_aligned_to_the_rows_of_each_series() {
    let raw = panel();
    let made = spec(ALL).extend(raw.clone()).unwrap();
    assert_eq!((made.hist_exog.len(), made.futr_exog.len()), (8, 7));
    assert!(made.hist_exog.iter().chain(&made.futr_exog).all(|c| c.values.len() == 50));
    assert_eq!(made.y, raw.y);
    let lag = &made.hist_exog[0];
    assert_eq!((lag.name.as_str(), lag.values[7]), ("lag_1", raw.y[6]));
    // The first row of the second series has nothing before it, whatever stands there in the arena.
    assert!(lag.values[30].is_nan() && lag.values[31] == raw.y[30]);
    assert!(made.hist_exog[2].values[32].is_nan() && made.hist_exog[2].values[33].is_finite());
    let dow = &made.futr_exog[0];
    // 2024-02-28 is a Wednesday (2 of 0..6); row 4 is the day after.
    assert_eq!((dow.name.as_str(), dow.values[0], dow.values[4]), ("dow", 2.0 / 6.0 - 0.5, 0.0));
    assert!(made.futr_exog.iter().flat_map(|c| &c.values).all(|v| v.abs() <= 1.0));
}

/// The cardinal rule: for every row, what comes after it in any series changes no digit of a feature there.
#[test]
fn the_future_changes_no_feature_before_it() {
    let raw = panel();
    let spec = spec(ALL);
    let bits = |panel: &Panel, s: usize, until: usize| {
        let rows = panel.offsets[s]..panel.offsets[s] + until;
        let columns = panel.hist_exog.iter().chain(&panel.futr_exog);
        columns.flat_map(|c| c.values[rows.clone()].iter().map(|v| v.to_bits()).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let made = spec.extend(raw.clone()).unwrap();
    for from in 0..30 {
        for change in [1e12, f64::NAN] {
            let mut other = raw.clone();
            for s in 0..2 {
                let rows = other.rows(s);
                other.y[rows].iter_mut().skip(from).for_each(|v| *v = change);
            }
            let other = spec.extend(other).unwrap();
            for s in 0..2 {
                let until = from.min(raw.len_of(s));
                assert_eq!(bits(&made, s, until), bits(&other, s, until), "rows from {from} on, series {s}");
            }
            // The test would not see a feature that looks at nothing at all.
            assert_ne!(bits(&made, 0, 30), bits(&other, 0, 30));
        }
    }
}

#[test]
fn what_is_known_ahead_goes_on_as_the_data_would() {
    let raw = panel();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("days.csv");
    std::fs::write(&path, "ds\n2024-02-29\n").unwrap();
    let spec = spec(&format!("{ALL};holidays={}", path.display()));
    let made = spec.extend(raw.clone()).unwrap();
    // Rows 10.. of a shorter history are the steps ahead of its first 10.
    let ahead = spec.ahead(&raw.times(0)[10..14], &raw);
    for (k, column) in made.futr_exog.iter().enumerate() {
        for step in 0..4 {
            assert_eq!(ahead[step * made.futr_exog.len() + k], column.values[10 + step], "{}", column.name);
        }
    }
    let holiday = made.futr_exog.last().unwrap();
    assert_eq!((holiday.name.as_str(), &holiday.values[2..6]), ("holiday", &[0.0, 0.0, 1.0, 1.0][..]));
    let notice = spec.notice(&raw);
    assert_eq!(notice, None, "{notice:?}");
    let mut longer = raw.clone();
    longer.time[29] += 86_400_000_000 * 200;
    assert!(spec.notice(&longer).unwrap().contains("2024-02-29, before the data does on 2024-09-17"));
    // The spec travels without the file.
    let json = serde_json::to_string(&spec).unwrap();
    std::fs::remove_file(&path).unwrap();
    let back: FeatureSpec = serde_json::from_str(&json).unwrap();
    assert_eq!(back.extend(raw).unwrap().futr_exog, made.futr_exog);
    let emptied = FeatureSpec { holidays: Holidays::default(), ..back };
    assert_eq!(emptied.extend(panel()).unwrap_err(), FeatureError::NoHolidays);
}

#[test]
fn columns_that_cannot_be_made_are_refused() {
    let mut named = panel();
    named.hist_exog.push(crate::data::Column { name: "hour".into(), values: vec![0.0; 50] });
    assert_eq!(spec("calendar=hour").extend(named).unwrap_err(), FeatureError::Taken { name: "hour".into() });
    let mut counted = panel();
    counted.clock = Clock::Integer;
    counted.freq = "1".parse().unwrap();
    assert_eq!(spec("calendar=hour").extend(counted.clone()).unwrap_err(), FeatureError::NoDates);
    assert!(spec("fourier=12:1").extend(counted).is_ok());
    assert_eq!(spec("").extend(panel()).unwrap(), panel());
}

#[test]
fn missing_values_are_skipped_where_few_suffice() {
    let y = [1.0, f64::NAN, 3.0, 5.0];
    assert!(spec("rolling_mean=2").historical(&y)[0][..3].iter().all(|v| v.is_nan()));
    assert_eq!(spec("rolling_mean=2;min_periods=1").historical(&y)[0], [1.0, 1.0, 3.0, 4.0]);
}
