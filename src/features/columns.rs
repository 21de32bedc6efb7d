//! Columns made from one series by plain functions: lags, exponential means, rates of change, waves, parts of the calendar.

use super::CalendarField;

/// The values `lags` rows before each row, one column per lag; missing where there is no such row.
pub fn create_lags(data: &[f64], lags: &[usize]) -> Vec<Vec<f64>> {
    let column = |lag: usize| {
        (0..data.len()).map(|t| t.checked_sub(lag).map_or(f64::NAN, |before| data[before])).collect::<Vec<f64>>()
    };
    lags.iter().map(|lag| column(*lag)).collect()
}

/// Exponential moving average `e[t] = alpha x[t] + (1 - alpha) e[t - 1]`, which begins with the first value; rows without
/// a value keep the last average (pandas' `ewm(alpha, adjust=False, ignore_na=True)`). `alpha` is above 0 and at most 1.
pub fn ema(data: &[f64], alpha: f64) -> Vec<f64> {
    let mut last = f64::NAN;
    let step = |v: &f64| {
        if v.is_finite() {
            last = if last.is_nan() { *v } else { alpha * v + (1.0 - alpha) * last };
        }
        last
    };
    data.iter().map(step).collect()
}

/// `x[t] / x[t - period] - 1`: missing for the first `period` rows (0 counts as 1), beside a missing value and after a 0.
pub fn rate_of_change(data: &[f64], period: usize) -> Vec<f64> {
    let period = period.max(1);
    let of = |t: usize| match t.checked_sub(period).map(|before| data[before]) {
        Some(before) if before != 0.0 => data[t] / before - 1.0,
        _ => f64::NAN,
    };
    (0..data.len()).map(of).map(|v| if v.is_finite() { v } else { f64::NAN }).collect()
}

/// `sin(2 pi k t / period)` and `cos(2 pi k t / period)` for `k` from 1 to `order`, in this order, at `t = 0..n`.
pub fn fourier_features(n: usize, period: f64, order: usize) -> Vec<Vec<f64>> {
    let column = |f: fn(f64) -> f64, k: usize| (0..n).map(|t| f(angle(t as i64, period, k))).collect::<Vec<f64>>();
    (1..=order).flat_map(|k| [column(f64::sin, k), column(f64::cos, k)]).collect()
}

/// The angle of wave `k` at a place. Whole periods are taken off first: far from 0 they would eat up the digits.
pub(super) fn angle(place: i64, period: f64, k: usize) -> f64 {
    let turns = (place as f64).rem_euclid(period) / period;
    std::f64::consts::TAU * ((k as f64 * turns) % 1.0)
}

/// Every part of the calendar of the times, in microseconds since 1970-01-01T00:00:00 on their own clock, as the numbers
/// that people write (months from 1, hours from 0, Monday is 0).
pub fn calendar_features(times: &[i64]) -> Vec<(CalendarField, Vec<f64>)> {
    CalendarField::ALL.iter().map(|field| (*field, times.iter().map(|t| field.number(*t)).collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::*;
    use crate::transform::golden::{fixture, near, numbers};

    #[test]
    fn columns_are_those_of_pandas() {
        let f = fixture();
        for name in ["holes", "passengers"] {
            let data = numbers(&f["data"][name]);
            let e = &f["features"][name];
            for (key, columns) in e["rolling"].as_object().unwrap() {
                let (window, least) = key.split_once(':').unwrap();
                let rolling = Rolling { window: window.parse().unwrap(), min_periods: least.parse().unwrap() };
                let found = [("mean", rolling.mean(&data)), ("min", rolling.min(&data)), ("max", rolling.max(&data))];
                for (statistic, values) in found {
                    near(&values, &numbers(&columns[statistic]), 1e-11, &format!("{name} {key} {statistic}"));
                }
                if window != "1" {
                    near(&rolling.std(&data), &numbers(&columns["std"]), 1e-10, &format!("{name} {key} std"));
                }
            }
            for (lag, expected) in e["lags"].as_object().unwrap() {
                near(&create_lags(&data, &[lag.parse().unwrap()])[0], &numbers(expected), 0.0, lag);
            }
            for (alpha, expected) in e["ema"].as_object().unwrap() {
                near(&ema(&data, alpha.parse().unwrap()), &numbers(expected), 1e-12, alpha);
            }
            for (period, expected) in e["roc"].as_object().unwrap() {
                near(&rate_of_change(&data, period.parse().unwrap()), &numbers(expected), 1e-12, period);
            }
        }
        let level = numbers(&f["features"]["level"]["data"]);
        near(&rolling_std(&level, 5), &numbers(&f["features"]["level"]["std_5"]), 1e-6, "std on a high level");
    }

    #[test]
    fn parts_of_the_calendar_and_waves_are_those_of_pandas_and_numpy() {
        let f = &fixture()["features"];
        let times: Vec<i64> = f["calendar"]["times"].as_array().unwrap().iter().map(|v| v.as_i64().unwrap()).collect();
        for (field, values) in calendar_features(&times) {
            let name = field.name().replace('-', "_");
            near(&values, &numbers(&f["calendar"][&name]), 0.0, field.name());
        }
        for (k, expected) in f["fourier"]["columns"].as_array().unwrap().iter().enumerate() {
            near(&fourier_features(10, 24.0, 2)[k], &numbers(expected), 1e-12, "fourier");
        }
    }

    #[test]
    fn waves_keep_their_digits_far_from_the_first_place() {
        let near_by = angle(5, 24.0, 3);
        assert!((angle(5 + 24 * 1_000_000_000, 24.0, 3) - near_by).abs() < 1e-12);
        assert!((angle(5 - 24 * 1_000_000, 24.0, 3) - near_by).abs() < 1e-12);
    }

    #[test]
    fn a_rate_after_nothing_is_missing() {
        let roc = rate_of_change(&[0.0, 2.0, f64::NAN, 3.0, 6.0], 1);
        assert!(roc[..4].iter().all(|v| v.is_nan()) && roc[4] == 1.0);
    }
}
