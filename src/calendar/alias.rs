//! Frequencies as text: pandas' aliases, new and old, and what was probably meant by the unknown ones.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::CalendarError;
use super::civil::DAY;
use super::frequency::{Cycle, Frequency, MonthDay, Step, Weekday};
use crate::error::nearest;

/// Fixed steps in microseconds, longest first; the first name is the one that is written.
const FIXED: [(i64, &[&str]); 6] = [
    (DAY, &["D", "d"]),
    (3_600_000_000, &["h", "H"]),
    (60_000_000, &["min", "T", "t"]),
    (1_000_000, &["s", "S"]),
    (1_000, &["ms", "L"]),
    (1, &["us", "U"]),
];

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];

/// How many months a letter stands for, before it has an anchor.
#[derive(Clone, Copy)]
enum Span {
    Month,
    Quarter,
    Year,
}

/// Month steps; among equals the first is the one that is written.
const MONTHLY: [(&str, Span, MonthDay); 24] = [
    ("MS", Span::Month, MonthDay::Start),
    ("ME", Span::Month, MonthDay::End),
    ("BMS", Span::Month, MonthDay::BusinessStart),
    ("BME", Span::Month, MonthDay::BusinessEnd),
    ("QS", Span::Quarter, MonthDay::Start),
    ("QE", Span::Quarter, MonthDay::End),
    ("BQS", Span::Quarter, MonthDay::BusinessStart),
    ("BQE", Span::Quarter, MonthDay::BusinessEnd),
    ("YS", Span::Year, MonthDay::Start),
    ("YE", Span::Year, MonthDay::End),
    ("BYS", Span::Year, MonthDay::BusinessStart),
    ("BYE", Span::Year, MonthDay::BusinessEnd),
    ("M", Span::Month, MonthDay::End),
    ("BM", Span::Month, MonthDay::BusinessEnd),
    ("Q", Span::Quarter, MonthDay::End),
    ("BQ", Span::Quarter, MonthDay::BusinessEnd),
    ("A", Span::Year, MonthDay::End),
    ("Y", Span::Year, MonthDay::End),
    ("AS", Span::Year, MonthDay::Start),
    ("BA", Span::Year, MonthDay::BusinessEnd),
    ("BY", Span::Year, MonthDay::BusinessEnd),
    ("BAS", Span::Year, MonthDay::BusinessStart),
    ("AE", Span::Year, MonthDay::End),
    ("BAE", Span::Year, MonthDay::BusinessEnd),
];

/// What people write where they mean an alias.
const WORDS: [(&str, &str); 30] = [
    ("second", "s"),
    ("seconds", "s"),
    ("sec", "s"),
    ("minute", "min"),
    ("minutes", "min"),
    ("m", "min"),
    ("mins", "min"),
    ("minutely", "min"),
    ("hour", "h"),
    ("hours", "h"),
    ("hr", "h"),
    ("hourly", "h"),
    ("day", "D"),
    ("days", "D"),
    ("daily", "D"),
    ("business", "B"),
    ("weekday", "B"),
    ("week", "W-SUN"),
    ("weeks", "W-SUN"),
    ("weekly", "W-SUN"),
    ("month", "MS"),
    ("months", "MS"),
    ("monthly", "MS"),
    ("quarter", "QS"),
    ("quarters", "QS"),
    ("quarterly", "QS"),
    ("year", "YS"),
    ("years", "YS"),
    ("yearly", "YS"),
    ("annual", "YS"),
];

impl FromStr for Frequency {
    type Err = CalendarError;

    /// Reads an alias with an optional multiple in front (`15min`, `2MS`, `QS-OCT`), or a plain integer step (`1`).
    fn from_str(text: &str) -> Result<Self, CalendarError> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (multiple, name) = text.split_at(digits);
        let refuse = |reason: &str, meant: Option<String>| CalendarError::UnknownFrequency {
            alias: text.to_owned(),
            reason: reason.to_owned(),
            meant,
        };
        let times = match multiple {
            "" if name.is_empty() => return Err(refuse("it is empty", None)),
            "" => NonZeroU32::MIN,
            n => n.parse().map_err(|_| refuse("its multiple must lie between 1 and 4294967295", None))?,
        };
        let name = name.trim_start();
        if name.is_empty() {
            return Ok(Frequency(Step::Integer(times)));
        }
        if let Some((step, _)) = FIXED.iter().find(|(_, names)| names.contains(&name)) {
            let step = step.checked_mul(i64::from(times.get()));
            return step.map(|s| Frequency(Step::Fixed(s))).ok_or_else(|| refuse("the step is too long", None));
        }
        // `MS`, `M` and `ms` differ by case alone, so only the longer names and anchors may be written in any case.
        let (stem, anchor) = match name.split_once(['-', '@']) {
            Some((stem, anchor)) => (stem, Some(anchor)),
            None => (name, None),
        };
        let step = if name.contains('@') { keeping_day(stem, anchor, times) } else { calendar(stem, anchor, times) };
        match step {
            Ok(step) => Ok(Frequency(step)),
            Err(reason) => Err(refuse(&reason, meant(multiple, name))),
        }
    }
}

/// `M@15`: months that keep a day.
fn keeping_day(stem: &str, day: Option<&str>, times: NonZeroU32) -> Result<Step, String> {
    let on = match day.map(str::parse::<u8>) {
        Some(Ok(1)) => MonthDay::Start,
        Some(Ok(31)) => MonthDay::End,
        Some(Ok(day @ 2..=30)) => MonthDay::On(day),
        _ => return Err("expected a day of the month from 1 to 31 after `@`, as in M@15".into()),
    };
    if stem != "M" {
        return Err("only months keep a day, as in M@15 or 3M@15".into());
    }
    Ok(Step::Month { times, cycle: Cycle::Month, on })
}

/// Business days, weeks, months, quarters and years.
fn calendar(stem: &str, anchor: Option<&str>, times: NonZeroU32) -> Result<Step, String> {
    let place = |names: &[&str], anchor: &str| names.iter().position(|n| n.eq_ignore_ascii_case(anchor));
    match (stem, anchor) {
        ("B" | "b", None) => return Ok(Step::Business(times)),
        ("W" | "w", None) => return Ok(Step::Week(times, Weekday::Sunday)),
        ("W" | "w", Some(day)) => {
            let day = place(&WEEKDAYS, day).ok_or("expected a day from MON to SUN after `W-`")?;
            return Ok(Step::Week(times, Weekday::ALL[day]));
        }
        _ => {}
    }
    let Some((_, span, on)) = MONTHLY.iter().find(|(name, ..)| *name == stem) else {
        return Err("it is none of pandas' aliases".into());
    };
    let default = match on {
        MonthDay::Start | MonthDay::BusinessStart => 0,
        _ => 11,
    };
    let month = match anchor {
        None => default,
        Some(_) if matches!(span, Span::Month) => return Err(format!("`{stem}` takes no anchor")),
        Some(name) => {
            place(&MONTHS, name).ok_or_else(|| format!("expected a month from JAN to DEC after `{stem}-`"))?
        }
    } as u8;
    let cycle = match span {
        Span::Month => Cycle::Month,
        Span::Quarter => Cycle::Quarter(month % 3),
        Span::Year => Cycle::Year(month),
    };
    Ok(Step::Month { times, cycle, on: *on })
}

/// The alias that was probably meant, with the multiple and anchor put back.
fn meant(multiple: &str, name: &str) -> Option<String> {
    let (stem, anchor) = name.split_once('-').map_or((name, None), |(s, a)| (s, Some(a)));
    let months = MONTHLY.iter().take(12).map(|(name, ..)| *name);
    let aliases: Vec<&str> =
        ["D", "h", "min", "s", "B", "W-SUN"].into_iter().chain(months).chain(["ms", "us"]).collect();
    let word = |word: &str| WORDS.iter().find(|(w, _)| *w == word).map(|(_, alias)| *alias);
    // One edit turns any letter into any other, so only longer names are looked for by nearness.
    let near_word = || nearest(stem, WORDS.iter().map(|(w, _)| w).filter(|w| w.len() > 2)).and_then(word);
    let near_alias = || nearest(stem, aliases.iter().filter(|a| a.len() > 1));
    let found = word(&stem.to_lowercase())
        .or_else(|| aliases.iter().copied().find(|a| a.split('-').next().is_some_and(|a| a.eq_ignore_ascii_case(stem))))
        .or_else(near_word)
        .or_else(near_alias)?;
    let anchored = |names: &[&str]| anchor.filter(|a| names.iter().any(|n| n.eq_ignore_ascii_case(a)));
    let anchor = match found.bytes().nth_back(1) {
        Some(b'Q' | b'Y') => anchored(&MONTHS),
        _ => None,
    };
    Some(format!("{multiple}{found}{}", anchor.map(|a| format!("-{}", a.to_uppercase())).unwrap_or_default()))
}

impl fmt::Display for Frequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = |n: NonZeroU32| if n.get() == 1 { String::new() } else { n.to_string() };
        match self.0 {
            Step::Integer(n) => write!(f, "{n}"),
            Step::Fixed(step) => {
                let (unit, names) = FIXED.iter().find(|(unit, _)| step % unit == 0).unwrap_or(&FIXED[5]);
                if step == *unit { f.write_str(names[0]) } else { write!(f, "{}{}", step / unit, names[0]) }
            }
            Step::Business(n) => write!(f, "{}B", times(n)),
            Step::Week(n, on) => write!(f, "{}W-{}", times(n), WEEKDAYS[on as usize]),
            Step::Month { times: n, cycle: Cycle::Month, on: MonthDay::On(day) } => write!(f, "{}M@{day}", times(n)),
            Step::Month { times: n, cycle, on } => {
                let starts = matches!(on, MonthDay::Start | MonthDay::BusinessStart);
                let business = matches!(on, MonthDay::BusinessStart | MonthDay::BusinessEnd);
                let (letter, anchor) = match cycle {
                    Cycle::Month => ("M", None),
                    Cycle::Quarter(0) if starts => ("Q", None),
                    Cycle::Quarter(2) if !starts => ("Q", None),
                    // Four months name the same quarters; these are the names that pandas infers.
                    Cycle::Quarter(phase) => ("Q", Some(if starts { phase } else { 9 + phase })),
                    Cycle::Year(0) if starts => ("Y", None),
                    Cycle::Year(11) if !starts => ("Y", None),
                    Cycle::Year(month) => ("Y", Some(month)),
                };
                let (b, end) = (if business { "B" } else { "" }, if starts { "S" } else { "E" });
                write!(f, "{}{b}{letter}{end}", times(n))?;
                match anchor.and_then(|m| MONTHS.get(usize::from(m))) {
                    Some(month) => write!(f, "-{month}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl Serialize for Frequency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Frequency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Frequency {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Frequency".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": format!("Step between rows, a pandas alias: {}", super::FREQUENCY_EXAMPLES),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Advise;

    #[test]
    fn aliases_are_written_in_one_way_and_read_back() {
        for (text, written) in [
            ("s", "s"),
            ("min", "min"),
            ("15min", "15min"),
            ("60min", "h"),
            ("90s", "90s"),
            ("h", "h"),
            ("24h", "D"),
            ("36h", "36h"),
            ("D", "D"),
            ("7D", "7D"),
            ("100ms", "100ms"),
            ("us", "us"),
            ("B", "B"),
            ("W", "W-SUN"),
            ("W-wed", "W-WED"),
            ("2W-FRI", "2W-FRI"),
            ("MS", "MS"),
            ("2MS", "2MS"),
            ("ME", "ME"),
            ("QS", "QS"),
            ("QS-OCT", "QS"),
            ("QS-FEB", "QS-FEB"),
            ("QS-DEC", "QS-MAR"),
            ("QE", "QE"),
            ("QE-JAN", "QE-OCT"),
            ("QE-MAR", "QE"),
            ("YS", "YS"),
            ("YS-JAN", "YS"),
            ("YS-APR", "YS-APR"),
            ("YE", "YE"),
            ("YE-DEC", "YE"),
            ("YE-JUN", "YE-JUN"),
            ("BME", "BME"),
            ("BQS-FEB", "BQS-FEB"),
            ("BYE", "BYE"),
            ("M@15", "M@15"),
            ("M@1", "MS"),
            ("M@31", "ME"),
            ("3M@30", "3M@30"),
            ("1", "1"),
            ("12", "12"),
            (" 2 h ", "2h"),
            // Old spellings.
            ("H", "h"),
            ("T", "min"),
            ("5T", "5min"),
            ("S", "s"),
            ("L", "ms"),
            ("U", "us"),
            ("M", "ME"),
            ("Q", "QE"),
            ("Q-MAR", "QE"),
            ("A", "YE"),
            ("Y", "YE"),
            ("A-JUN", "YE-JUN"),
            ("AS", "YS"),
            ("BM", "BME"),
            ("BA", "BYE"),
        ] {
            let freq: Frequency = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(freq.to_string(), written, "{text}");
            assert_eq!(written.parse::<Frequency>().unwrap(), freq, "{text}");
            let json = serde_json::to_string(&freq).unwrap();
            assert_eq!(json, format!("\"{written}\""));
            assert_eq!(serde_json::from_str::<Frequency>(&json).unwrap(), freq);
        }
    }

    #[test]
    fn an_unknown_alias_is_answered_with_the_nearest_and_examples() {
        for (text, meant) in [
            ("hourly", "h"),
            ("monthly", "MS"),
            ("montly", "MS"),
            ("minutes", "min"),
            ("15mn", "15min"),
            ("15m", "15min"),
            ("w-sun-", "W-SUN"),
            ("ms-JAN", "MS"),
            ("qs-oct", "QS-OCT"),
            ("2ye", "2YE"),
            ("MSS", "MS"),
            ("Me", "ME"),
            ("dayly", "D"),
        ] {
            let error = text.parse::<Frequency>().unwrap_err();
            let hint = error.hint().unwrap();
            assert!(hint.contains(&format!("`{meant}`")) && hint.contains("15min, h"), "{text}: {hint}");
            assert!(error.to_string().contains(text), "{error}");
        }
        let hint = "fortnight".parse::<Frequency>().unwrap_err().hint().unwrap();
        assert!(!hint.contains("did you mean") && hint.contains("15min, h"), "{hint}");
    }

    #[test]
    fn what_makes_no_step_is_refused() {
        for (text, part) in [
            ("", "empty"),
            ("0", "multiple"),
            ("0h", "multiple"),
            ("-1D", "aliases"),
            ("1.5h", "aliases"),
            ("99999999999h", "multiple"),
            ("4294967295D", "too long"),
            ("W-FOO", "MON to SUN"),
            ("QS-FOO", "JAN to DEC"),
            ("MS-JAN", "takes no anchor"),
            ("M@0", "1 to 31"),
            ("M@x", "1 to 31"),
            ("W@3", "only months"),
            ("é", "aliases"),
        ] {
            match text.parse::<Frequency>() {
                Ok(freq) => assert!(freq.advance(0, 1).is_none(), "{text} was read as {freq}"),
                Err(e) => assert!(e.to_string().contains(part), "{text}: {e}"),
            }
        }
    }
}
