//! Which frequency a table follows: candidates come from the most common step, the one most steps follow wins.

use std::collections::HashMap;
use std::num::NonZeroU32;

use rayon::prelude::*;

use super::civil::{DAY, civil_from_days, days_in_month, from_month_index, month_index, weekday};
use super::frequency::{Cycle, Frequency, MonthDay, Step, Weekday};
use super::{CalendarError, Clock};

/// A frequency found in data, and how well the rows follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inferred {
    /// The frequency that most steps follow.
    pub freq: Frequency,
    /// Rows whose step to the next row of their series is not exactly one.
    pub irregular: usize,
    /// Of the irregular ones those that are not a whole number of steps forward either (the others are holes).
    pub off_grid: usize,
    /// Steps that were looked at: rows that have a next row.
    pub steps: usize,
}

/// The frequency that most steps follow, over all series; each slice holds the times of one series in order.
///
/// Steps of a day become business days where weekends are jumped; of a week, weeks from their day (`W-SUN`); of a month
/// and more, months, quarters or years on their first, last, or a fixed day. Holes count as irregular. The work is
/// linear in the number of rows.
///
/// # Errors
/// [`CalendarError::NoSteps`] where no series has two different times, [`CalendarError::Irregular`] where fewer than a
/// third of the steps follow even the best frequency.
pub fn infer<'a>(times: impl IntoIterator<Item = &'a [i64]>, clock: Clock) -> Result<Inferred, CalendarError> {
    let series: Vec<&[i64]> = times.into_iter().filter(|s| s.len() > 1).collect();
    let step = most_common_step(&series).ok_or(CalendarError::NoSteps)?;
    let candidates = if clock == Clock::Integer {
        let n = u32::try_from(step).ok().and_then(Frequency::integer);
        n.into_iter().collect()
    } else {
        candidates(&series, step)
    };
    let mut best: Option<(Frequency, usize)> = None;
    for freq in candidates {
        // The first of equals is the most telling one, so that another has to be better.
        let least = best.map_or(usize::MAX, |(_, irregular)| irregular);
        if least == 0 {
            break;
        }
        let irregular = irregular(&series, freq, least);
        if irregular < least {
            best = Some((freq, irregular));
        }
    }
    let (freq, irregular) = best.ok_or(CalendarError::NoSteps)?;
    let steps = series.iter().map(|s| s.len() - 1).sum();
    let regular = steps - irregular;
    if regular * 3 < steps {
        return Err(CalendarError::Irregular { best: freq, regular, steps });
    }
    let off_grid = if irregular == 0 { 0 } else { off_grid(&series, freq) };
    Ok(Inferred { freq, irregular, off_grid, steps })
}

/// Whether every row is `step` after the one before, which is most often so: told without a branch for each row.
fn all_by(times: &[i64], step: i64) -> bool {
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return true };
    // Differences that do not fit would come round to `step`, but not add up to the whole.
    i128::from(*last) - i128::from(*first) == i128::from(step) * (times.len() as i128 - 1)
        && times.windows(2).fold(true, |all, w| all & (w[1].wrapping_sub(w[0]) == step))
}

/// The most common step forward, the smallest among equals, over all series, each of two rows at least.
fn most_common_step(series: &[&[i64]]) -> Option<i64> {
    let of_series = |s: &&[i64]| {
        let first = s[1].wrapping_sub(s[0]);
        if first > 0 && all_by(s, first) {
            return HashMap::from([(first, s.len() - 1)]);
        }
        counted(s.windows(2).map(|w| w[1].wrapping_sub(w[0])).filter(|d| *d > 0))
    };
    let joined = |mut all: HashMap<i64, usize>, more: HashMap<i64, usize>| {
        more.into_iter().for_each(|(step, count)| *all.entry(step).or_default() += count);
        all
    };
    most(series.par_iter().map(of_series).reduce(HashMap::new, joined))
}

/// The most common value, the smallest among equals.
fn most_common(values: impl Iterator<Item = i64>) -> Option<i64> {
    most(counted(values))
}

/// The value with the highest count, the smallest among equals.
fn most(counts: HashMap<i64, usize>) -> Option<i64> {
    counts.into_iter().max_by_key(|(value, count)| (*count, std::cmp::Reverse(*value))).map(|(value, _)| value)
}

/// How often each value occurs.
fn counted(values: impl Iterator<Item = i64>) -> HashMap<i64, usize> {
    let mut counts: HashMap<i64, usize> = HashMap::new();
    // Neighbours are mostly equal, so runs are counted before the map is asked.
    let mut run: Option<(i64, usize)> = None;
    for value in values {
        match &mut run {
            Some((of, count)) if *of == value => *count += 1,
            _ => {
                if let Some((of, count)) = run.replace((value, 1)) {
                    *counts.entry(of).or_default() += count;
                }
            }
        }
    }
    if let Some((of, count)) = run {
        *counts.entry(of).or_default() += count;
    }
    counts
}

/// Frequencies whose steps can be `step` long, the most telling first: it wins where several fit alike.
fn candidates(series: &[&[i64]], step: i64) -> Vec<Frequency> {
    let mut found = Vec::new();
    if step >= 28 * DAY {
        months(series, &mut found);
    }
    if step % (7 * DAY) == 0 {
        let day = most_common(series.iter().flat_map(|s| s.iter()).map(|t| i64::from(weekday(t.div_euclid(DAY)))));
        let times = u32::try_from(step / (7 * DAY)).ok().and_then(NonZeroU32::new);
        if let (Some(day), Some(times)) = (day, times) {
            found.push(Frequency(Step::Week(times, Weekday::ALL[day as usize])));
        }
    }
    found.push(Frequency(Step::Fixed(step)));
    if step == DAY {
        found.push(Frequency(Step::Business(NonZeroU32::MIN)));
    }
    found
}

/// Month steps on the days that rows lie on.
fn months(series: &[&[i64]], found: &mut Vec<Frequency>) {
    // Months and days of the month: asked for more than once, and dear.
    let dates: Vec<Vec<(i32, u8)>> = series
        .iter()
        .map(|s| {
            let date = |t: &i64| {
                let (year, month, day) = civil_from_days(t.div_euclid(DAY));
                // Months of the 292,000 years that an `i64` of microseconds reaches.
                (month_index(year, month) as i32, day as u8)
            };
            s.iter().map(date).collect()
        })
        .collect();
    let steps = dates.iter().flat_map(|s| s.windows(2)).map(|w| i64::from(w[1].0 - w[0].0));
    let Some(step) = most_common(steps.filter(|m| *m > 0)) else { return };
    let dates = || dates.iter().flatten().map(|(month, day)| (i64::from(*month), u32::from(*day)));
    let is_last = |month: i64, day: u32| {
        let (year, month) = from_month_index(month);
        day == days_in_month(year, month)
    };
    // The largest day tells a month step on the 29th or 30th from one on the last day.
    let day = most_common(dates().map(|(_, d)| i64::from(d))).unwrap_or(1);
    let kept = if day < 31 && dates().all(|(m, d)| d >= 28 && (i64::from(d) == day || is_last(m, d))) {
        dates().map(|(_, d)| i64::from(d)).max().unwrap_or(day)
    } else {
        day
    };
    let mut on = vec![MonthDay::Start, MonthDay::End];
    if let Ok(day @ 2..=30) = u8::try_from(kept) {
        on.push(MonthDay::On(day));
    }
    on.extend([MonthDay::BusinessStart, MonthDay::BusinessEnd]);
    let phase = |length: i64| most_common(dates().map(|(m, _)| m.rem_euclid(length))).unwrap_or(0) as u8;
    let mut cycles = vec![(1, Cycle::Month)];
    if step % 12 == 0 {
        cycles.insert(0, (12, Cycle::Year(phase(12))));
    } else if step % 3 == 0 {
        cycles.insert(0, (3, Cycle::Quarter(phase(3))));
    }
    for on in on {
        for (length, cycle) in &cycles {
            if matches!((cycle, on), (Cycle::Quarter(_) | Cycle::Year(_), MonthDay::On(_))) {
                continue;
            }
            if let Some(times) = u32::try_from(step / length).ok().and_then(NonZeroU32::new) {
                found.push(Frequency(Step::Month { times, cycle: *cycle, on }));
            }
        }
    }
}

/// How many rows are not one step of `freq` before the next one of their series, counted up to `most`.
fn irregular(series: &[&[i64]], freq: Frequency, most: usize) -> usize {
    if let Some(step) = freq.fixed_step()
        && series.par_iter().all(|s| all_by(s, step))
    {
        return 0;
    }
    crooked(series, freq).take(most).count()
}

/// How many rows are not a whole number of steps of `freq` before the next one of their series.
fn off_grid(series: &[&[i64]], freq: Frequency) -> usize {
    crooked(series, freq).filter(|pair| freq.steps_between(pair[0], pair[1]).is_none_or(|k| k < 1)).count()
}

/// Rows and the next ones of their series that are not one step of `freq` apart.
fn crooked<'a>(series: &'a [&'a [i64]], freq: Frequency) -> impl Iterator<Item = &'a [i64]> {
    series.iter().flat_map(|s| s.windows(2)).filter(move |pair| freq.advance(pair[0], 1) != Some(pair[1]))
}

#[cfg(test)]
mod tests {
    use super::super::parse_stamp;
    use super::*;

    fn at(text: &str) -> i64 {
        parse_stamp(text).unwrap().value
    }

    fn grid(alias: &str, start: &str, rows: i64) -> Vec<i64> {
        let (freq, start): (Frequency, _) = (alias.parse().unwrap(), at(start));
        (0..rows).map(|k| freq.advance(start, k).unwrap()).collect()
    }

    fn found(series: &[&[i64]]) -> (String, usize, usize) {
        let i = infer(series.iter().copied(), Clock::Local).unwrap();
        (i.freq.to_string(), i.irregular, i.off_grid)
    }

    #[test]
    fn steps_that_come_round_at_the_end_of_the_numbers_are_not_of_one_length() {
        const STEP: i64 = 1 << 62;
        assert!(all_by(&[-STEP, 0, STEP], STEP) && all_by(&[5], 1) && all_by(&[], 1));
        assert!(!all_by(&[0, STEP, STEP.wrapping_mul(2)], STEP));
        assert!(!all_by(&[0, 1, 3, 3], 1));
    }

    /// Made with pandas 3.1: `infer_freq(date_range(start, periods=rows, freq=alias))`.
    #[test]
    fn grids_are_told_as_pandas_tells_them() {
        for line in include_str!("../../tests/fixtures/calendar_inferred.csv").lines().skip(1) {
            let [alias, start, rows, inferred] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let expected: Frequency = inferred.parse().unwrap();
            assert_eq!(expected, alias.parse().unwrap(), "{line}");
            let times = grid(alias, start, rows.parse().unwrap());
            let i = infer([&times[..]], Clock::Local).unwrap();
            assert_eq!((i.freq, i.irregular, i.off_grid), (expected, 0, 0), "{line}");
            assert_eq!(i.steps, times.len() - 1);
        }
    }

    #[test]
    fn holes_are_counted_and_change_nothing() {
        for alias in ["15min", "D", "B", "W-SUN", "MS", "ME", "QS", "QE", "YS", "BME", "M@15"] {
            let mut times = grid(alias, "1999-12-31", 60);
            // The first row may be off the grid, a hole of one row, one of two, and one more.
            for hole in [40, 31, 30, 20, 0] {
                times.remove(hole);
            }
            assert_eq!(found(&[&times]), (alias.to_string(), 3, 0), "{alias}");
        }
    }

    #[test]
    fn weekdays_are_business_days_only_where_a_weekend_is_jumped() {
        let week = grid("B", "2024-01-01", 5);
        assert_eq!(found(&[&week]).0, "D");
        let mut days = grid("B", "2024-01-01", 60);
        days.retain(|t| *t != at("2024-01-15") && *t != at("2024-02-19"));
        assert_eq!(found(&[&days]), ("B".into(), 2, 0));
        // A single trading Saturday does not make it a daily series.
        days.push(at("2024-02-03"));
        days.sort_unstable();
        assert_eq!(found(&[&days]).0, "B");
        let mut daily = grid("D", "2024-01-01", 60);
        daily.remove(30);
        assert_eq!(found(&[&daily]), ("D".into(), 1, 0));
    }

    #[test]
    fn two_rows_are_enough_for_a_month() {
        for (from, to, alias) in [
            ("2021-02-01", "2021-03-01", "MS"),
            ("2020-01-31", "2020-02-29", "ME"),
            ("2020-01-31", "2020-03-31", "2ME"),
            ("2020-01-15", "2020-02-15", "M@15"),
            ("2020-01-15", "2020-04-15", "3M@15"),
            ("2020-01-01", "2020-01-29", "4W-WED"),
            ("2020-01-01", "2020-01-08", "W-WED"),
            ("2020-01-01", "2021-01-01", "YS"),
            ("2020-01-01 00:00:00", "2020-01-01 00:00:05", "5s"),
        ] {
            assert_eq!(found(&[&[at(from), at(to)]]), (alias.into(), 0, 0), "{from} {to}");
        }
    }

    #[test]
    fn months_kept_on_the_thirtieth_are_not_month_ends() {
        assert_eq!(found(&[&grid("M@30", "2020-01-30", 30)]), ("M@30".into(), 0, 0));
        assert_eq!(found(&[&grid("M@29", "2021-01-29", 30)]), ("M@29".into(), 0, 0));
        assert_eq!(found(&[&grid("M@28", "2021-01-28", 30)]), ("M@28".into(), 0, 0));
    }

    #[test]
    fn series_that_start_on_other_days_share_what_fits_them_all() {
        let (a, b) = (grid("W-SUN", "2020-01-05", 30), grid("W-WED", "2020-01-08", 30));
        assert_eq!(found(&[&a, &b]), ("7D".into(), 0, 0));
        let (a, b) = (grid("YS", "2000-01-01", 9), grid("YS-APR", "2000-04-01", 9));
        assert_eq!(found(&[&a, &b]), ("12MS".into(), 0, 0));
    }

    #[test]
    fn repeated_and_crooked_rows_are_off_the_grid() {
        let mut times = grid("10min", "2020-01-01 00:10", 100);
        times.insert(50, times[50]);
        times[80] += 1_000_000;
        assert_eq!(found(&[&times]), ("10min".into(), 3, 3));
    }

    #[test]
    fn integers_take_the_most_common_step() {
        let i = infer([&[1, 2, 3, 5][..], &[10, 11]], Clock::Integer).unwrap();
        assert_eq!((i.freq.to_string(), i.irregular, i.steps), ("1".into(), 1, 4));
        let i = infer([&[0, 10, 20][..]], Clock::Integer).unwrap();
        assert_eq!(i.freq.to_string(), "10");
    }

    #[test]
    fn where_there_is_no_step_it_says_so() {
        assert!(matches!(infer([&[5][..], &[]], Clock::Integer), Err(CalendarError::NoSteps)));
        assert!(matches!(infer([&[5, 5][..]], Clock::Date), Err(CalendarError::NoSteps)));
        let squares: Vec<i64> = (0..50).map(|i| i * i * 7_777).collect();
        assert!(matches!(infer([&squares[..]], Clock::Local), Err(CalendarError::Irregular { regular: 1, .. })));
        assert!(matches!(infer([&[i64::MIN, i64::MAX][..]], Clock::Integer), Err(CalendarError::NoSteps)));
    }
}
