//! Time stamps: what kind of clock a column has, and reading and writing single stamps.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::CalendarError;
use super::civil::{DAY, civil_from_days, days_from_civil, days_in_month};

const SECOND: i64 = 1_000_000;

/// How the `i64` time of a row is to be read and written.
///
/// All clocks but [`Clock::Integer`] count microseconds since 1970-01-01T00:00:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// A plain counter (`1, 2, 3, ...`).
    Integer,
    /// Dates: every stamp is at midnight and has no zone.
    Date,
    /// A clock without a zone.
    Local,
    /// The file had offsets or `Z`; times are converted to UTC.
    Utc,
}

impl Clock {
    /// Writes a time: `17`, `1960-01-01`, `2016-07-01 00:15:00`, `2016-07-01T00:15:00Z`.
    ///
    /// A fraction of a second is written only where there is one (3 or 6 digits). [`Clock::Date`] writes a time that is
    /// not at midnight as [`Clock::Local`] does, so nothing is lost.
    pub fn format(self, t: i64) -> String {
        if self == Clock::Integer {
            return t.to_string();
        }
        let (year, month, day) = civil_from_days(t.div_euclid(DAY));
        let micros = t.rem_euclid(DAY);
        let date = format!("{year:04}-{month:02}-{day:02}");
        if self == Clock::Date && micros == 0 {
            return date;
        }
        let (seconds, fraction) = (micros / SECOND, micros % SECOND);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let fraction = match fraction {
            0 => String::new(),
            f if f % 1000 == 0 => format!(".{:03}", f / 1000),
            f => format!(".{f:06}"),
        };
        let (between, end) = if self == Clock::Utc { ("T", "Z") } else { (" ", "") };
        format!("{date}{between}{hour:02}:{minute:02}:{second:02}{fraction}{end}")
    }

    /// The clock that can hold stamps of both.
    ///
    /// # Errors
    /// [`CalendarError::MixedClocks`] for counters beside dates, and for stamps with an offset beside stamps without.
    pub fn join(self, other: Clock) -> Result<Clock, CalendarError> {
        match (self, other) {
            (a, b) if a == b => Ok(a),
            (Clock::Date, Clock::Local) | (Clock::Local, Clock::Date) => Ok(Clock::Local),
            (a, b) => Err(CalendarError::MixedClocks { first: a, second: b }),
        }
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Clock::Integer => "plain integers",
            Clock::Date => "dates",
            Clock::Local => "times without an offset",
            Clock::Utc => "times with an offset",
        })
    }
}

/// The clock that can hold stamps of all `kinds` ([`Clock::join`] over them).
///
/// # Errors
/// [`CalendarError::MixedClocks`] where two do not go together, [`CalendarError::NoStamps`] for none at all.
pub fn join(kinds: impl IntoIterator<Item = Clock>) -> Result<Clock, CalendarError> {
    let mut kinds = kinds.into_iter();
    let first = kinds.next().ok_or(CalendarError::NoStamps)?;
    kinds.try_fold(first, Clock::join)
}

/// One stamp as read from text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The counter, or microseconds since 1970-01-01T00:00:00.
    pub value: i64,
    /// What the text was; [`Clock::Date`] for midnight without an offset, however it was written.
    pub kind: Clock,
}

/// Reads a stamp: `2020-01-02`, `2020-01-02 03:04[:05[.678]]` (or with `T`), the same with `Z` or `+01:00`, `2020-01`,
/// slashes in place of dashes, single digits (`1990/1/1 0:00`), and plain integers (`20200102` is an integer too).
///
/// # Errors
/// [`CalendarError::Stamp`] with the part that is wrong.
pub fn parse_stamp(text: &str) -> Result<Stamp, CalendarError> {
    let bytes = text.trim_ascii().as_bytes();
    let stamp = read(bytes).or_else(|reason| padded(bytes).map_or(Err(reason), |bytes| read(&bytes)));
    stamp.map_err(|reason| CalendarError::Stamp { text: text.to_owned(), reason })
}

/// A stamp whose month, day or hour has one digit with zeros put in front; `None` where none is missing.
///
/// Spreadsheets write such stamps, and some of the published benchmark files have them.
fn padded(b: &[u8]) -> Option<Vec<u8>> {
    let mut out = b.get(..5)?.to_vec();
    let mut rest = &b[5..];
    for _month_day_hour in 0..3 {
        let digits = rest.iter().take_while(|c| c.is_ascii_digit()).count();
        if digits == 1 && matches!(rest.get(1), None | Some(b'-' | b'/' | b':' | b' ' | b'T' | b't')) {
            out.push(b'0');
        }
        // The number and the separator after it.
        let (part, after) = rest.split_at((digits + 1).min(rest.len()));
        out.extend(part);
        rest = after;
    }
    out.extend(rest);
    (out.len() > b.len()).then_some(out)
}

const FORMS: &str = "expected a date such as 2020-01-31, a time such as 2020-01-31 23:59:00 or an integer";

#[inline]
fn read(b: &[u8]) -> Result<Stamp, &'static str> {
    if b.len() < 7 || !matches!(b[4], b'-' | b'/') {
        return integer(b);
    }
    let year = number(&b[..4]).ok_or(FORMS)?;
    let month = number(&b[5..7]).ok_or(FORMS)?;
    if year == 0 {
        return Err("years go from 0001 to 9999");
    }
    if !(1..=12).contains(&month) {
        return Err("months go from 01 to 12");
    }
    let midnight = |day: u32| days_from_civil(i64::from(year), month, day) * DAY;
    if b.len() == 7 {
        return Ok(Stamp { value: midnight(1), kind: Clock::Date });
    }
    if b.len() < 10 || b[7] != b[4] {
        return Err(FORMS);
    }
    let day = number(&b[8..10]).ok_or(FORMS)?;
    if day == 0 || day > 28 && day > days_in_month(i64::from(year), month) {
        return Err("the month does not have that day");
    }
    if b.len() == 10 {
        return Ok(Stamp { value: midnight(day), kind: Clock::Date });
    }
    if !matches!(b[10], b' ' | b'T' | b't') {
        return Err("expected a space or `T` between date and time");
    }
    let (micros, rest) = time_of_day(&b[11..])?;
    let value = midnight(day) + micros;
    match offset(rest)? {
        Some(offset) => Ok(Stamp { value: value - offset, kind: Clock::Utc }),
        None => Ok(Stamp { value, kind: if micros == 0 { Clock::Date } else { Clock::Local } }),
    }
}

/// A short run of digits as a number; anything else in it is `None`.
#[inline]
fn number(digits: &[u8]) -> Option<u32> {
    let mut value = 0;
    for d in digits {
        let digit = d.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u32::from(digit);
    }
    Some(value)
}

fn integer(b: &[u8]) -> Result<Stamp, &'static str> {
    let digits = match b {
        [b'-' | b'+', rest @ ..] => rest,
        all => all,
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(FORMS);
    }
    let text = std::str::from_utf8(b).map_err(|_| FORMS)?;
    let value = text.parse().map_err(|_| "the integer does not fit into 64 bits")?;
    Ok(Stamp { value, kind: Clock::Integer })
}

/// `HH:MM[:SS[.fraction]]` in microseconds, and what follows it.
#[inline]
fn time_of_day(b: &[u8]) -> Result<(i64, &[u8]), &'static str> {
    const FORM: &str = "expected a time of day such as 23:59, 23:59:30 or 23:59:30.5";
    if b.len() < 5 || b[2] != b':' {
        return Err(FORM);
    }
    let hour = number(&b[..2]).ok_or(FORM)?;
    let minute = number(&b[3..5]).ok_or(FORM)?;
    let mut rest = &b[5..];
    let mut second = 0;
    let mut micros = 0;
    if let [b':', after @ ..] = rest {
        if after.len() < 2 {
            return Err(FORM);
        }
        second = number(&after[..2]).ok_or(FORM)?;
        rest = &after[2..];
        if let [b'.' | b',', after @ ..] = rest {
            let n = after.iter().take_while(|c| c.is_ascii_digit()).count();
            if n == 0 || n > 9 {
                return Err("a fraction of a second has 1 to 9 digits");
            }
            let scale = 10u32.pow(9 - n as u32);
            let nanos = number(&after[..n]).ok_or(FORM)? * scale;
            if !nanos.is_multiple_of(1000) {
                return Err("fractions finer than a microsecond are not supported");
            }
            micros = i64::from(nanos / 1000);
            rest = &after[n..];
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return Err("times of day go from 00:00:00 to 23:59:59");
    }
    Ok((i64::from(hour * 3600 + minute * 60 + second) * SECOND + micros, rest))
}

/// `Z`, `+01:00`, `+0100`, `+01`, or nothing, in microseconds east of UTC.
fn offset(b: &[u8]) -> Result<Option<i64>, &'static str> {
    const FORM: &str = "expected nothing, `Z` or an offset such as +01:00 after the time of day";
    let b = b.trim_ascii_start();
    let (sign, digits) = match b {
        [] => return Ok(None),
        [b'Z' | b'z'] => return Ok(Some(0)),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return Err(FORM),
    };
    let (hours, minutes) = match digits {
        [_, _] => (number(digits), Some(0)),
        [_, _, _, _] => (number(&digits[..2]), number(&digits[2..])),
        [_, _, b':', _, _] => (number(&digits[..2]), number(&digits[3..])),
        _ => return Err(FORM),
    };
    let (Some(hours), Some(minutes)) = (hours, minutes) else { return Err(FORM) };
    if hours > 23 || minutes > 59 {
        return Err("offsets from UTC go from -23:59 to +23:59");
    }
    Ok(Some(sign * i64::from(hours * 3600 + minutes * 60) * SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> String {
        let stamp = parse_stamp(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        format!("{:?} {}", stamp.kind, stamp.kind.format(stamp.value))
    }

    #[test]
    fn every_form_is_read_as_what_it_means() {
        for (text, expected) in [
            ("1970-01-01", "Date 1970-01-01"),
            ("1960-02-29", "Date 1960-02-29"),
            ("2020/01/02", "Date 2020-01-02"),
            ("2020-01", "Date 2020-01-01"),
            ("2020-1", "Date 2020-01-01"),
            ("1990/1/1 0:00", "Date 1990-01-01"),
            ("1990/12/1 9:30:15", "Local 1990-12-01 09:30:15"),
            ("1990-1-12T10:30Z", "Utc 1990-01-12T10:30:00Z"),
            (" 2020-01-02 00:00:00 ", "Date 2020-01-02"),
            ("2016-07-01 00:15", "Local 2016-07-01 00:15:00"),
            ("2016-07-01T00:15:30", "Local 2016-07-01 00:15:30"),
            ("2020/01/02 03:04:05", "Local 2020-01-02 03:04:05"),
            ("2016-07-01 00:15:30.5", "Local 2016-07-01 00:15:30.500"),
            ("2016-07-01 00:15:30.000001000", "Local 2016-07-01 00:15:30.000001"),
            ("1969-12-31 23:59:59.25", "Local 1969-12-31 23:59:59.250"),
            ("2016-07-01T00:15:00Z", "Utc 2016-07-01T00:15:00Z"),
            ("2016-07-01 00:15:00+01:00", "Utc 2016-06-30T23:15:00Z"),
            ("2016-07-01 00:15:00.5 -0530", "Utc 2016-07-01T05:45:00.500Z"),
            ("2016-07-01T00:00+02", "Utc 2016-06-30T22:00:00Z"),
            ("17", "Integer 17"),
            ("-3", "Integer -3"),
            ("20200102", "Integer 20200102"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        assert_eq!(parse_stamp("1970-01-02 00:00:01").unwrap().value, DAY + SECOND);
    }

    #[test]
    fn what_is_not_a_stamp_is_refused_with_the_part_that_is_wrong() {
        for (text, part) in [
            ("", "expected a date"),
            ("abc", "expected a date"),
            ("1.5", "expected a date"),
            ("-", "expected a date"),
            ("2021-02-29", "does not have that day"),
            ("2021-04-31", "does not have that day"),
            ("2021-04-00", "does not have that day"),
            ("2021-13-01", "months go"),
            ("2021-00", "months go"),
            ("0000-01-01", "years go"),
            ("2021-1-", "expected a date"),
            ("2021-1-1-1", "expected a space"),
            ("2021/1-1", "expected a date"),
            ("2021/2/29 0:00", "does not have that day"),
            ("2021-01-1x", "expected a date"),
            ("2021-01/01", "expected a date"),
            ("2021-01-01x", "expected a space"),
            ("2021-01-01 24:00", "times of day go"),
            ("2021-01-01 23:59:60", "times of day go"),
            ("2021-01-01 1:0", "time of day such as"),
            ("2021-01-01 10:0", "time of day such as"),
            ("2021-01-01 10:00:", "time of day such as"),
            ("2021-01-01 10:00:00.", "1 to 9 digits"),
            ("2021-01-01 10:00:00.0000001", "finer than a microsecond"),
            ("2021-01-01 10:00:00 CET", "expected nothing, `Z`"),
            ("2021-01-01 10:00+24:00", "offsets from UTC"),
            ("2021-01-01 10:00+1:00", "expected nothing, `Z`"),
            ("99999999999999999999", "64 bits"),
            ("２０２１", "expected a date"),
            ("2021-0é-01", "expected a date"),
        ] {
            let message = parse_stamp(text).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains(text), "{text}: {message}");
        }
    }

    #[test]
    fn clocks_join_where_nothing_is_lost() {
        assert_eq!(join([Clock::Date, Clock::Local, Clock::Date]).unwrap(), Clock::Local);
        assert_eq!(join([Clock::Utc, Clock::Utc]).unwrap(), Clock::Utc);
        assert_eq!(join([Clock::Integer]).unwrap(), Clock::Integer);
        for pair in [[Clock::Integer, Clock::Date], [Clock::Utc, Clock::Local], [Clock::Date, Clock::Utc]] {
            assert!(matches!(join(pair), Err(CalendarError::MixedClocks { .. })), "{pair:?}");
        }
        assert!(matches!(join([]), Err(CalendarError::NoStamps)));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(t in super::super::civil::FIRST..=super::super::civil::LAST, unit in 0usize..3) {
            let t = t - t.rem_euclid([1, SECOND, DAY][unit]);
            for clock in [Clock::Local, Clock::Utc, Clock::Date, Clock::Integer] {
                let stamp = parse_stamp(&clock.format(t)).unwrap();
                prop_assert_eq!(stamp.value, t);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9TZ:+./ -]{0,30}|.{0,20}") {
            let _ = parse_stamp(&text);
        }
    }
}
