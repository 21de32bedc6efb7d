//! Days and civil dates of the proleptic Gregorian calendar: the arithmetic under stamps and frequencies.
//!
//! Written out by hand because reading a million stamps must cost next to nothing (formulas: Howard Hinnant,
//! "chrono-compatible low-level date algorithms"); the tests compare it with `jiff`.

/// Microseconds of a day.
pub(super) const DAY: i64 = 86_400_000_000;
/// 0001-01-01T00:00:00, the first stamp that can be read and written.
pub(super) const FIRST: i64 = days_from_civil(1, 1, 1) * DAY;
/// 9999-12-31T23:59:59.999999, the last one.
pub(super) const LAST: i64 = days_from_civil(10_000, 1, 1) * DAY - 1;

/// A year and a month, for month arithmetic: `12 * year + (month - 1)`.
pub(super) const fn month_index(year: i64, month: u32) -> i64 {
    year * 12 + month as i64 - 1
}

/// Year and month of a [`month_index`].
pub(super) const fn from_month_index(index: i64) -> (i64, u32) {
    (index.div_euclid(12), index.rem_euclid(12) as u32 + 1)
}

/// Days since 1970-01-01 of a civil date.
pub(super) const fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y - era * 400;
    let month_from_march = (month as i64 + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day as i64 - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
pub(super) const fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u32;
    let year = year_of_era + era * 400 + (month <= 2) as i64;
    (year, month, day)
}

/// Number of days in a month.
pub(super) const fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Day of the week of a day number, Monday = 0 .. Sunday = 6.
pub(super) const fn weekday(days: i64) -> u8 {
    (days + 3).rem_euclid(7) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::Date;

    #[test]
    fn every_day_agrees_with_jiff() {
        let mut date = Date::new(1580, 1, 1).unwrap();
        let mut days = days_from_civil(1580, 1, 1);
        while date.year() < 2420 {
            let (y, m, d) = (i64::from(date.year()), date.month() as u32, date.day() as u32);
            assert_eq!(days_from_civil(y, m, d), days, "{date}");
            assert_eq!(civil_from_days(days), (y, m, d), "{date}");
            assert_eq!(i64::from(weekday(days)), i64::from(date.weekday().to_monday_zero_offset()), "{date}");
            assert_eq!(days_in_month(y, m), date.days_in_month() as u32, "{date}");
            date = date.tomorrow().unwrap();
            days += 1;
        }
        assert_eq!(days_from_civil(1970, 1, 1), 0);
    }

    #[test]
    fn the_first_and_last_stamps_are_the_ends_of_four_digit_years() {
        assert_eq!(civil_from_days(FIRST.div_euclid(DAY)), (1, 1, 1));
        assert_eq!(civil_from_days(LAST.div_euclid(DAY)), (9999, 12, 31));
    }

    #[test]
    fn month_indices_go_there_and_back_before_year_zero_too() {
        for index in -30..30 {
            let (year, month) = from_month_index(index);
            assert!((1..=12).contains(&month));
            assert_eq!(month_index(year, month), index);
        }
    }
}
