//! `Frequency`: the step between the rows of a series, and walking along it as pandas' offsets do.

use std::num::NonZeroU32;

use super::Clock;
use super::civil::{
    DAY, FIRST, LAST, civil_from_days, days_from_civil, days_in_month, from_month_index, month_index, weekday,
};

/// Day number of a Monday.
const MONDAY: i64 = -3;

/// The step between the rows of a series: a pandas alias such as `15min`, `D`, `B`, `W-SUN`, `MS`, or a plain integer.
///
/// Made from text (`"15min".parse()`), written back in the shortest spelling (`24h` is `D`, `W` is `W-SUN`, `Q` is
/// `QE`), so that equal steps are equal values. A month step that keeps another day than the first or last is written
/// `M@15`; in shorter months such a step falls on the last day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Frequency(pub(super) Step);

/// The kinds of steps; every number in it is positive, and multiples were checked when it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Plain counters.
    Integer(NonZeroU32),
    /// Microseconds, at least one.
    Fixed(i64),
    /// Business days.
    Business(NonZeroU32),
    /// Weeks that begin on a day.
    Week(NonZeroU32, Weekday),
    /// `times` months, quarters or years, on a day of the months that the cycle names.
    Month { times: NonZeroU32, cycle: Cycle, on: MonthDay },
}

/// Which months a month step may land on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Cycle {
    /// Every month.
    Month,
    /// Every third one; the months with this `month_index % 3`.
    Quarter(u8),
    /// One of the year; `month_index % 12`.
    Year(u8),
}

impl Cycle {
    /// Months between neighbours.
    pub(super) fn length(self) -> i64 {
        match self {
            Cycle::Month => 1,
            Cycle::Quarter(_) => 3,
            Cycle::Year(_) => 12,
        }
    }

    fn phase(self) -> i64 {
        match self {
            Cycle::Month => 0,
            Cycle::Quarter(p) | Cycle::Year(p) => i64::from(p),
        }
    }
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl Weekday {
    pub(super) const ALL: [Weekday; 7] = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];
}

/// The day of the month that a month, quarter or year step lands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MonthDay {
    /// The first day (`MS`).
    Start,
    /// The last day (`ME`).
    End,
    /// A day 2..=30, or the last one of shorter months (`M@15`).
    On(u8),
    /// The first day from Monday to Friday (`BMS`).
    BusinessStart,
    /// The last day from Monday to Friday (`BME`).
    BusinessEnd,
}

impl MonthDay {
    /// The day in that month.
    pub(super) fn in_month(self, year: i64, month: u32) -> u32 {
        let last = days_in_month(year, month);
        match self {
            MonthDay::Start => 1,
            MonthDay::End => last,
            MonthDay::On(day) => u32::from(day).min(last),
            MonthDay::BusinessStart => match weekday(days_from_civil(year, month, 1)) {
                5 => 3,
                6 => 2,
                _ => 1,
            },
            MonthDay::BusinessEnd => last - u32::from(weekday(days_from_civil(year, month, last)).saturating_sub(4)),
        }
    }
}

impl Frequency {
    /// A plain integer step for [`Clock::Integer`]; `None` for 0.
    pub fn integer(step: u32) -> Option<Frequency> {
        NonZeroU32::new(step).map(|n| Frequency(Step::Integer(n)))
    }

    /// Calendar days (`D`).
    pub fn daily() -> Frequency {
        Frequency(Step::Fixed(DAY))
    }

    /// Whether this is a plain integer step.
    pub fn is_integer(self) -> bool {
        matches!(self.0, Step::Integer(_))
    }

    /// Whether this counts business days.
    pub fn is_business(self) -> bool {
        matches!(self.0, Step::Business(_))
    }

    /// Whether this is a fixed step shorter than a day.
    pub fn is_sub_daily(self) -> bool {
        matches!(self.0, Step::Fixed(step) if step < DAY)
    }

    /// The time `steps` steps after `t` (before it where negative), with the time of day kept; `None` where that is out
    /// of range (for dates: not in the years 1 to 9999).
    ///
    /// From a time that is not on the grid (a Saturday for `B`, the 15th for `MS`), the first step goes to the next time
    /// that is, as with pandas' offsets. No steps give `t` itself.
    pub fn advance(self, t: i64, steps: i64) -> Option<i64> {
        if steps == 0 {
            return Some(t);
        }
        if let Step::Integer(n) = self.0 {
            return t.checked_add(steps.checked_mul(i64::from(n.get()))?);
        }
        if let Step::Fixed(step) = self.0 {
            return within(t.checked_add(steps.checked_mul(step)?)?);
        }
        let (days, time) = (t.div_euclid(DAY), t.rem_euclid(DAY));
        let number = self.grid_number(days, steps < 0).checked_add(steps.checked_mul(self.times())?)?;
        within(self.grid_day(number)?.checked_mul(DAY)?.checked_add(time)?)
    }

    /// The length of a step where all steps have the same: in microseconds, or in what integers count. `None` for steps
    /// of the calendar.
    pub(crate) fn fixed_step(self) -> Option<i64> {
        match self.0 {
            Step::Integer(n) => Some(i64::from(n.get())),
            Step::Fixed(step) => Some(step),
            _ => None,
        }
    }

    /// How many steps lead from `from` to `to`: the `k` with `advance(from, k) == Some(to)`, if there is one.
    pub fn steps_between(self, from: i64, to: i64) -> Option<i64> {
        if from == to {
            return Some(0);
        }
        let guess = match self.0 {
            Step::Integer(n) => to.checked_sub(from)? / i64::from(n.get()),
            Step::Fixed(step) => to.checked_sub(from)? / step,
            _ => {
                let backward = to < from;
                let number = |t: i64| self.grid_number(t.div_euclid(DAY), backward);
                (number(to) - number(from)) / self.times()
            }
        };
        (self.advance(from, guess) == Some(to)).then_some(guess)
    }

    /// The number of steps from 1970-01-01 (from 0 for integers) to the last time of the grid at or before `t`: times that
    /// follow each other have places that do, in any part of the data.
    pub fn place(self, t: i64) -> i64 {
        match self.0 {
            Step::Integer(n) => t.div_euclid(i64::from(n.get())),
            Step::Fixed(step) => t.div_euclid(step),
            _ => self.grid_number(t.div_euclid(DAY), false).div_euclid(self.times()),
        }
    }

    /// How many days of its grid a calendar step passes at once.
    fn times(self) -> i64 {
        match self.0 {
            Step::Integer(n) | Step::Business(n) | Step::Week(n, _) | Step::Month { times: n, .. } => {
                i64::from(n.get())
            }
            Step::Fixed(_) => 1,
        }
    }

    /// The days a calendar step can land on are numbered in order; this is the number of the last one at or before
    /// `days`, or with `up` of the first one at or after it.
    fn grid_number(self, days: i64, up: bool) -> i64 {
        match self.0 {
            Step::Integer(_) | Step::Fixed(_) => days,
            Step::Business(_) => {
                let week = (days - MONDAY).div_euclid(7) * 5;
                match i64::from(weekday(days)) {
                    day @ 0..=4 => week + day,
                    _ => week + if up { 5 } else { 4 },
                }
            }
            Step::Week(_, on) => {
                let since = days - MONDAY - on as i64;
                since.div_euclid(7) + i64::from(up && since.rem_euclid(7) != 0)
            }
            Step::Month { cycle, on, .. } => {
                let (year, month, day) = civil_from_days(days);
                let months = month_index(year, month) - cycle.phase();
                let (number, into) = (months.div_euclid(cycle.length()), months.rem_euclid(cycle.length()));
                let landing = on.in_month(year, month);
                if up {
                    number + i64::from(into > 0 || day > landing)
                } else {
                    number - i64::from(into == 0 && day < landing)
                }
            }
        }
    }

    /// The day with a [`grid_number`](Self::grid_number).
    fn grid_day(self, number: i64) -> Option<i64> {
        match self.0 {
            Step::Integer(_) | Step::Fixed(_) => Some(number),
            Step::Business(_) => number.div_euclid(5).checked_mul(7)?.checked_add(MONDAY + number.rem_euclid(5)),
            Step::Week(_, on) => number.checked_mul(7)?.checked_add(MONDAY + on as i64),
            Step::Month { cycle, on, .. } => {
                let (year, month) = from_month_index(number.checked_mul(cycle.length())?.checked_add(cycle.phase())?);
                (1..=9999).contains(&year).then(|| days_from_civil(year, month, on.in_month(year, month)))
            }
        }
    }

    /// The usual season in steps: a day for steps within the day, a week for days (`D` 7, `B` 5), a year for weeks (52),
    /// months (12) and quarters (4); 1 where a season is not a whole number of steps, and for years and integers.
    pub fn season(self) -> usize {
        let part = |whole: i64, step: i64| if whole % step == 0 { whole / step } else { 1 };
        let season = match self.0 {
            Step::Integer(_) => 1,
            Step::Fixed(step) if step <= DAY / 2 => part(DAY, step),
            Step::Fixed(step) if step % (7 * DAY) == 0 => part(52, step / (7 * DAY)),
            Step::Fixed(step) => part(7 * DAY, step),
            Step::Business(n) => part(5, i64::from(n.get())),
            Step::Week(n, _) => part(52, i64::from(n.get())),
            Step::Month { times, cycle, .. } => part(12, i64::from(times.get()) * cycle.length()),
        };
        usize::try_from(season).unwrap_or(1)
    }

    /// Whether rows of this clock can step so: integers go with integers, and a step within the day needs a clock that
    /// has times of day.
    pub fn fits(self, clock: Clock) -> bool {
        match (self.0, clock) {
            (Step::Integer(_), clock) => clock == Clock::Integer,
            (_, Clock::Integer) => false,
            (Step::Fixed(step), Clock::Date) => step % DAY == 0,
            _ => true,
        }
    }
}

/// `t` if it is a stamp that can be read and written.
fn within(t: i64) -> Option<i64> {
    (FIRST..=LAST).contains(&t).then_some(t)
}

#[cfg(test)]
mod tests {
    use super::super::parse_stamp;
    use super::*;
    use proptest::prelude::*;

    fn freq(alias: &str) -> Frequency {
        alias.parse().unwrap()
    }

    fn at(text: &str) -> i64 {
        parse_stamp(text).unwrap().value
    }

    const ALIASES: [&str; 24] = [
        "s", "15min", "h", "D", "3D", "B", "2B", "W-WED", "2W-FRI", "MS", "2MS", "ME", "M@15", "3M@30", "QS", "QS-FEB",
        "QE", "YS-APR", "YE", "2YE", "BMS", "BME", "BQE", "BYS",
    ];

    /// Made with pandas 3.1: `Timestamp(start) + to_offset(alias) * step`, starts on and off the grid.
    #[test]
    fn rows_that_follow_each_other_have_places_that_do() {
        for (alias, start) in [
            ("h", "2024-02-28 22:30:00"),
            ("7h", "1969-12-30 05:00:00"),
            ("D", "2024-02-27 08:00:00"),
            ("B", "2024-02-29"),
            ("2B", "2024-02-29"),
            ("W-SUN", "2024-02-25"),
            ("2W", "2024-02-25"),
            ("MS", "2023-11-01"),
            ("ME", "2023-11-30"),
            ("BME", "2023-09-29"),
            ("QE", "2023-09-30"),
            ("YS", "1968-01-01"),
        ] {
            let freq: Frequency = alias.parse().unwrap();
            let first = crate::calendar::parse_stamp(start).unwrap().value;
            let place = |k| freq.place(freq.advance(first, k).unwrap());
            assert!((0..30).all(|k| place(k) == freq.place(first) + k), "{alias}");
        }
        assert_eq!(Frequency::integer(3).unwrap().place(-1), -1);
    }

    #[test]
    fn steps_land_where_pandas_offsets_do() {
        let table = include_str!("../../tests/fixtures/calendar.csv");
        let mut rows = 0;
        for line in table.lines().skip(1) {
            let [alias, start, step, expected] = line.split(',').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let (freq, start, step) = (freq(alias), at(start), step.parse().unwrap());
            let landed = freq.advance(start, step).unwrap();
            assert_eq!(Clock::Local.format(landed), expected, "{line}");
            assert_eq!(freq.steps_between(start, landed), Some(step), "{line}");
            rows += 1;
        }
        assert!(rows > 500, "{rows} rows");
    }

    #[test]
    fn a_month_step_that_keeps_a_day_comes_back_to_it_after_february() {
        let walk =
            |alias: &str, start: &str, steps: i64| Clock::Date.format(freq(alias).advance(at(start), steps).unwrap());
        assert_eq!(walk("M@15", "2020-01-15", 1), "2020-02-15");
        assert_eq!(walk("M@15", "2020-01-15", -1), "2019-12-15");
        assert_eq!(walk("M@30", "2021-01-30", 1), "2021-02-28");
        assert_eq!(walk("M@30", "2021-02-28", 1), "2021-03-30");
        assert_eq!(walk("3M@15", "2020-01-15", 1), "2020-04-15");
    }

    #[test]
    fn what_is_off_the_grid_is_no_number_of_steps() {
        for (alias, from, to) in [
            ("h", "2020-01-01 00:00", "2020-01-01 00:30"),
            ("2h", "2020-01-01 00:00", "2020-01-01 03:00"),
            ("B", "2020-01-03", "2020-01-04"),
            ("2B", "2020-01-06", "2020-01-07"),
            ("W-SUN", "2020-01-05", "2020-01-13"),
            ("2W-SUN", "2020-01-05", "2020-01-12"),
            ("MS", "2020-01-01", "2020-02-02"),
            ("MS", "2020-01-01 00:00", "2020-02-01 01:00"),
            ("2MS", "2020-01-01", "2020-02-01"),
            ("ME", "2020-01-31", "2020-02-28"),
            ("QS", "2020-01-01", "2020-02-01"),
            ("YS", "2020-01-01", "2020-07-01"),
            ("MS", "2020-01-01", "2019-12-31"),
        ] {
            assert_eq!(freq(alias).steps_between(at(from), at(to)), None, "{alias} {from} {to}");
        }
        assert_eq!(freq("2").steps_between(4, 7), None);
        assert_eq!(freq("2").steps_between(4, -2), Some(-3));
        assert_eq!(freq("MS").steps_between(17, 17), Some(0));
    }

    #[test]
    fn out_of_range_is_none_and_not_a_panic() {
        for alias in ALIASES {
            for t in [at("9999-12-31"), at("0001-01-01"), i64::MAX, i64::MIN] {
                for steps in [i64::MAX, i64::MIN, i64::MAX / 2, 10_000_000_000_000] {
                    assert_eq!(freq(alias).advance(t, steps), None, "{alias} {t} {steps}");
                }
                let _ = freq(alias).steps_between(t, i64::MAX);
                let _ = freq(alias).steps_between(i64::MIN, t);
            }
        }
        assert_eq!(freq("1").advance(i64::MAX, 1), None);
        assert_eq!(freq("3").advance(2, i64::MIN), None);
        assert_eq!(freq("D").advance(at("9999-12-31"), 1), None);
    }

    #[test]
    fn seasons_are_the_usual_ones() {
        for (alias, season) in [
            ("s", 86_400),
            ("min", 1440),
            ("15min", 96),
            ("h", 24),
            ("2h", 12),
            ("7h", 1),
            ("D", 7),
            ("7D", 52),
            ("2D", 1),
            ("B", 5),
            ("W-SUN", 52),
            ("2W-SUN", 26),
            ("MS", 12),
            ("ME", 12),
            ("2MS", 6),
            ("5MS", 1),
            ("QS", 4),
            ("2QS", 2),
            ("YS", 1),
            ("2YE", 1),
            ("1", 1),
            ("7", 1),
        ] {
            assert_eq!(freq(alias).season(), season, "{alias}");
        }
    }

    #[test]
    fn integers_go_with_integers_and_hours_need_a_clock() {
        assert!(freq("1").fits(Clock::Integer) && !freq("1").fits(Clock::Date) && !freq("D").fits(Clock::Integer));
        assert!(!freq("h").fits(Clock::Date) && freq("h").fits(Clock::Local) && freq("h").fits(Clock::Utc));
        assert!(freq("D").fits(Clock::Date) && freq("24h").fits(Clock::Date) && freq("ME").fits(Clock::Date));
    }

    proptest! {
        #[test]
        fn there_and_back_and_in_two_parts(
            which in 0..ALIASES.len(), t in at("1800-01-01")..at("2300-01-01"), a in -500i64..500, b in -500i64..500,
        ) {
            let freq = freq(ALIASES[which]);
            // One step first, so that the walk starts on the grid.
            let start = freq.advance(t, 1).unwrap();
            let there = freq.advance(start, a).unwrap();
            prop_assert_eq!(freq.advance(there, -a), Some(start));
            prop_assert_eq!(freq.advance(there, b), freq.advance(start, a + b));
            prop_assert_eq!(freq.steps_between(start, there), Some(a));
            prop_assert_eq!(there > start, a > 0);
        }

        #[test]
        fn counting_from_off_the_grid_agrees_with_walking(
            which in 0..ALIASES.len(), t in at("1800-01-01")..at("2300-01-01"), steps in -500i64..500,
        ) {
            let freq = freq(ALIASES[which]);
            prop_assert_eq!(freq.steps_between(t, freq.advance(t, steps).unwrap()), Some(steps));
        }
    }
}
