//! `Parts`: year, month, day of the week and the like of a time, and the place of a time on a frequency's grid.

use super::civil::{DAY, civil_from_days, days_from_civil, days_in_month, weekday};

/// The parts of a time in microseconds since 1970-01-01T00:00:00, on its own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// Days since 1970-01-01.
    pub days: i64,
    /// Year.
    pub year: i64,
    /// Month, 1 to 12.
    pub month: u32,
    /// Day of the month, from 1.
    pub day: u32,
    /// Hour, 0 to 23.
    pub hour: u32,
    /// Minute, 0 to 59.
    pub minute: u32,
    /// Day of the week, Monday is 0.
    pub weekday: u32,
    /// Day of the year, from 1.
    pub day_of_year: u32,
    /// Week of ISO 8601, 1 to 53.
    pub iso_week: u32,
    /// Days in the month.
    pub month_days: u32,
}

impl Parts {
    /// The parts of `t`.
    pub fn of(t: i64) -> Self {
        let (days, micros) = (t.div_euclid(DAY), t.rem_euclid(DAY));
        let (year, month, day) = civil_from_days(days);
        let minutes = micros / 60_000_000;
        let weekday = weekday(days);
        // A week belongs to the year that has its Thursday.
        let thursday = days - i64::from(weekday) + 3;
        let (week_year, ..) = civil_from_days(thursday);
        Self {
            days,
            year,
            month,
            day,
            hour: (minutes / 60) as u32,
            minute: (minutes % 60) as u32,
            weekday: u32::from(weekday),
            day_of_year: (days - days_from_civil(year, 1, 1)) as u32 + 1,
            iso_week: ((thursday - days_from_civil(week_year, 1, 1)) / 7) as u32 + 1,
            month_days: days_in_month(year, month),
        }
    }
}
