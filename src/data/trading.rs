//! Telling a trading calendar from a calendar with holes.
//!
//! Markets close on weekends, holidays and at night; their rows are a sequence without holes although the stamps jump.
//! What is asked here is whether every jump is of that kind.

use std::collections::HashMap;

use crate::calendar::{Clock, Frequency};

use super::gaps::Hole;

const DAY: i64 = 86_400_000_000;
/// Business days that a market closes in a row at most (a long new year's holiday).
const LONGEST_CLOSURE: i64 = 10;
/// Of its rows a market may lack this share to holidays and early closes.
const HOLIDAY_SHARE: f64 = 0.1;
/// Times of day that are told apart at most.
const MOST_SLOTS: i64 = 90_000;

/// How many steps are absent where all `holes` are those of a trading calendar, `None` where one is not.
///
/// `first` is the row of `times[0]` that the holes count from.
pub(super) fn absent_rows(times: &[i64], first: usize, holes: &[Hole], freq: Frequency, clock: Clock) -> Option<i64> {
    if clock == Clock::Integer {
        return None;
    }
    if freq.is_business() || freq == Frequency::daily() {
        business_days(times, first, holes)
    } else if freq.is_sub_daily() {
        sessions(times, first, holes, freq)
    } else {
        None
    }
}

fn day(t: i64) -> i64 {
    t.div_euclid(DAY)
}

/// Monday is 0.
fn weekday(day: i64) -> i64 {
    (day + 3).rem_euclid(7)
}

fn is_weekend(day: i64) -> bool {
    weekday(day) > 4
}

/// Business days between two days, both excluded.
fn business_days_between(a: i64, b: i64) -> i64 {
    // Business days up to and including a day, counted from a Monday.
    let upto = |day: i64| (day + 3).div_euclid(7) * 5 + (weekday(day) + 1).min(5);
    (upto(b - 1) - upto(a)).max(0)
}

/// Business days with holidays: nearly no row on a weekend, no closure longer than a holiday.
fn business_days(times: &[i64], first: usize, holes: &[Hole]) -> Option<i64> {
    let weekends = times.iter().filter(|t| is_weekend(day(**t))).count();
    let jumped = times.windows(2).filter(|w| (day(w[0]) + 1..day(w[1])).any(is_weekend)).take(1).count();
    if jumped == 0 || weekends * 50 > times.len() {
        return None;
    }
    let mut absent = 0;
    for hole in holes {
        let after = match *hole {
            Hole::Absent { after, .. } | Hole::OffGrid { after } => after - first,
        };
        let (a, b) = (times[after], times[after + 1]);
        let closed = business_days_between(day(a), day(b));
        let beside_the_grid = a.rem_euclid(DAY) != b.rem_euclid(DAY);
        if closed > LONGEST_CLOSURE || beside_the_grid || b <= a {
            return None;
        }
        absent += closed;
    }
    (absent as f64 <= 5.0 + HOLIDAY_SHARE * times.len() as f64).then_some(absent)
}

/// Sessions: the absent steps are at times of day (and of week) at which there are hardly ever rows, or are the rest of a
/// session that did not take place or closed early.
fn sessions(times: &[i64], first: usize, holes: &[Hole], freq: Frequency) -> Option<i64> {
    let step = freq.advance(0, 1)?;
    if step <= 0 || DAY % step != 0 || DAY / step > MOST_SLOTS {
        return None;
    }
    let usual = Usual::of(times)?;
    let (mut absent, mut lost) = (0, 0);
    for hole in holes {
        let Hole::Absent { after, rows } = *hole else { return None };
        if rows > (LONGEST_CLOSURE + 4) * (DAY / step) {
            return None;
        }
        let open = (1..=rows).filter(|k| usual.is_open(times[after - first] + k * step)).count() as i64;
        // A hole that touches no closed time is in the middle of a session.
        if open == rows {
            return None;
        }
        lost += open;
        absent += rows;
    }
    (lost as f64 <= HOLIDAY_SHARE * times.len() as f64).then_some(absent)
}

/// At which times there usually are rows.
struct Usual {
    /// How often each (weekday or 0, time of day) has a row.
    counts: HashMap<(i64, i64), u32>,
    /// How often each weekday could have had one.
    chances: [u32; 7],
    by_weekday: bool,
}

impl Usual {
    /// `None` where there are too few days to tell.
    fn of(times: &[i64]) -> Option<Self> {
        let (start, end) = (day(*times.first()?), day(*times.last()?));
        let by_weekday = end - start >= 28;
        let mut counts: HashMap<(i64, i64), u32> = HashMap::new();
        let mut days = 0;
        let mut weekends = false;
        let mut previous = None;
        for &t in times {
            let d = day(t);
            *counts.entry((if by_weekday { weekday(d) } else { 0 }, t.rem_euclid(DAY))).or_default() += 1;
            if previous != Some(d) {
                days += 1;
                weekends |= is_weekend(d);
            }
            previous = Some(d);
        }
        if days < 4 {
            return None;
        }
        let mut chances = [0u32; 7];
        if by_weekday {
            for d in 0..7 {
                let offset = (d - weekday(start)).rem_euclid(7);
                chances[d as usize] = ((end - start - offset).div_euclid(7) + 1).max(0) as u32;
            }
        } else {
            // Weekends without any row are closed, not days on which a session could have been.
            for (d, chance) in chances.iter_mut().enumerate() {
                *chance = if d < 5 || weekends { days } else { 0 };
            }
        }
        Some(Self { counts, chances, by_weekday })
    }

    fn is_open(&self, t: i64) -> bool {
        let weekday = weekday(day(t));
        let slot = (if self.by_weekday { weekday } else { 0 }, t.rem_euclid(DAY));
        let chances = self.chances[weekday as usize];
        chances > 0 && 2 * self.counts.get(&slot).copied().unwrap_or(0) >= chances
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::parse_stamp;

    fn at(text: &str) -> i64 {
        parse_stamp(text).unwrap().value
    }

    fn judge(times: &[i64], freq: &str) -> Option<i64> {
        let freq: Frequency = freq.parse().unwrap();
        let holes: Vec<Hole> = times
            .windows(2)
            .enumerate()
            .filter(|(_, w)| freq.advance(w[0], 1) != Some(w[1]))
            .map(|(after, w)| match freq.steps_between(w[0], w[1]) {
                Some(k) if k > 1 => Hole::Absent { after, rows: k - 1 },
                _ => Hole::OffGrid { after },
            })
            .collect();
        absent_rows(times, 0, &holes, freq, Clock::Local)
    }

    /// Every `step` minutes on weekdays from 9:30 for six and a half hours.
    fn stocks(days: i64, step: i64) -> Vec<i64> {
        let minute = 60_000_000;
        let start = at("2024-01-01");
        let open = (0..days).map(|d| start + d * DAY).filter(|t| !is_weekend(day(*t)));
        open.flat_map(|t| (0..390 / step).map(move |k| t + (570 + k * step) * minute)).collect()
    }

    #[test]
    fn business_days_are_counted() {
        let d = |text: &str| day(at(text));
        assert_eq!(business_days_between(d("2024-01-05"), d("2024-01-08")), 0);
        assert_eq!(business_days_between(d("2024-01-05"), d("2024-01-09")), 1);
        assert_eq!(business_days_between(d("2001-09-10"), d("2001-09-17")), 4);
        assert_eq!(business_days_between(d("2024-01-06"), d("2024-01-15")), 5);
        assert_eq!(business_days_between(d("1969-12-30"), d("1970-01-02")), 2);
    }

    #[test]
    fn business_days_with_holidays_are_a_trading_calendar() {
        let mut days: Vec<i64> = stocks(200, 390).iter().map(|t| t - t.rem_euclid(DAY)).collect();
        days.retain(|t| ![at("2024-01-15"), at("2024-02-19"), at("2024-03-29"), at("2024-07-04")].contains(t));
        assert_eq!(judge(&days, "B"), Some(4));
        assert_eq!(judge(&days, "D"), Some(4), "as calendar days too");
        days.retain(|t| *t < at("2024-03-01") || *t > at("2024-04-15"));
        assert_eq!(judge(&days, "B"), None, "a month without a row is no holiday");
    }

    #[test]
    fn calendar_days_with_a_hole_are_not() {
        let mut days: Vec<i64> = (0..100).map(|d| at("2024-01-01") + d * DAY).collect();
        days.remove(50);
        assert_eq!(judge(&days, "D"), None);
    }

    #[test]
    fn sessions_with_nights_weekends_holidays_and_early_closes_are() {
        for days in [12, 120] {
            let mut times = stocks(days, 30);
            assert!(judge(&times, "30min").is_some(), "{days}");
            times.retain(|t| {
                day(*t) != day(at("2024-01-09")) && !(*t > at("2024-01-10 13:00") && *t < at("2024-01-11"))
            });
            assert_eq!(judge(&times, "30min").is_some(), days > 12, "two of eight sessions are too many to lose");
            times.retain(|t| *t < at("2024-01-08 11:00") || *t > at("2024-01-08 12:00"));
            assert_eq!(judge(&times, "30min"), None, "a hole within a session is a hole");
        }
    }

    #[test]
    fn a_market_that_closes_only_on_weekends_is() {
        let hour = 3_600_000_000;
        let start = at("2024-01-01");
        let times: Vec<i64> = (0..24 * 60).map(|h| start + h * hour).filter(|t| !is_weekend(day(*t))).collect();
        assert!(judge(&times, "h").is_some());
    }

    #[test]
    fn a_market_that_never_closes_has_holes() {
        let hour = 3_600_000_000;
        let mut times: Vec<i64> = (0..24 * 60).map(|h| at("2024-01-01") + h * hour).collect();
        times.drain(200..204);
        assert_eq!(judge(&times, "h"), None);
    }
}
