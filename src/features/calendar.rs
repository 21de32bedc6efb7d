//! Parts of the calendar as columns, waves of a period, and holidays from a file: what is known ahead.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::FeatureError;
use crate::calendar::{Clock, Parts, parse_stamp};
use crate::error::{InvalidSetting, nearest};

/// A part of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CalendarField {
    /// Minute of the hour.
    Minute,
    /// Hour of the day.
    Hour,
    /// Day of the week, Monday is 0.
    Dow,
    /// Day of the month.
    Day,
    /// Day of the year.
    Doy,
    /// Week of ISO 8601.
    Week,
    /// Month.
    Month,
    /// Quarter of the year.
    Quarter,
    /// Saturday or Sunday.
    Weekend,
    /// The first day of a month.
    MonthStart,
    /// The last day of a month.
    MonthEnd,
}

impl CalendarField {
    /// Every field.
    pub const ALL: [Self; 11] = [
        Self::Minute,
        Self::Hour,
        Self::Dow,
        Self::Day,
        Self::Doy,
        Self::Week,
        Self::Month,
        Self::Quarter,
        Self::Weekend,
        Self::MonthStart,
        Self::MonthEnd,
    ];

    /// The name in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Dow => "dow",
            Self::Day => "day",
            Self::Doy => "doy",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Weekend => "weekend",
            Self::MonthStart => "month-start",
            Self::MonthEnd => "month-end",
        }
    }

    /// Smallest and largest number.
    pub const fn range(self) -> (f64, f64) {
        match self {
            Self::Minute => (0.0, 59.0),
            Self::Hour => (0.0, 23.0),
            Self::Dow => (0.0, 6.0),
            Self::Day => (1.0, 31.0),
            Self::Doy => (1.0, 366.0),
            Self::Week => (1.0, 53.0),
            Self::Month => (1.0, 12.0),
            Self::Quarter => (1.0, 4.0),
            Self::Weekend | Self::MonthStart | Self::MonthEnd => (0.0, 1.0),
        }
    }

    /// The number of a time, as people write it; yes is 1, no is 0.
    pub fn number(self, t: i64) -> f64 {
        let parts = Parts::of(t);
        let yes = |is: bool| u32::from(is);
        f64::from(match self {
            Self::Minute => parts.minute,
            Self::Hour => parts.hour,
            Self::Dow => parts.weekday,
            Self::Day => parts.day,
            Self::Doy => parts.day_of_year,
            Self::Week => parts.iso_week,
            Self::Month => parts.month,
            Self::Quarter => (parts.month - 1) / 3 + 1,
            Self::Weekend => yes(parts.weekday >= 5),
            Self::MonthStart => yes(parts.day == 1),
            Self::MonthEnd => yes(parts.day == parts.month_days),
        })
    }

    /// The number on a scale from -0.5 to 0.5, as a network takes it.
    pub fn scaled(self, t: i64) -> f64 {
        let (low, high) = self.range();
        (self.number(t) - low) / (high - low) - 0.5
    }
}

impl FromStr for CalendarField {
    type Err = FeatureError;

    fn from_str(text: &str) -> Result<Self, FeatureError> {
        let names = Self::ALL.map(Self::name);
        let wanted = text.trim().to_ascii_lowercase().replace('_', "-");
        Self::ALL.into_iter().find(|f| f.name() == wanted).ok_or_else(|| {
            let remedy = match nearest(&wanted, names.iter()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "name one of these parts".into(),
            };
            InvalidSetting::new("features.calendar", text, names.join(", "), remedy).into()
        })
    }
}

/// Waves of a period: `period:order`, written so in settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Waves {
    /// Steps of the calendar in a period, above 1; need not be whole (365.25).
    pub period: f64,
    /// Pairs of sine and cosine: one, two, ... `order` turns per period; at least 1.
    pub order: usize,
}

impl fmt::Display for Waves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.period, self.order)
    }
}

impl FromStr for Waves {
    type Err = FeatureError;

    fn from_str(text: &str) -> Result<Self, FeatureError> {
        let wrong = || {
            let allowed = "PERIOD:ORDER, a number of steps above 1 and a count from 1 to 1000";
            InvalidSetting::new("features.fourier", text.trim(), allowed, "24:3 is three waves a day in hourly data")
        };
        let (period, order) = text.trim().split_once(':').unwrap_or((text.trim(), "1"));
        let waves = Self { period: period.parse().map_err(|_| wrong())?, order: order.parse().map_err(|_| wrong())? };
        if waves.period > 1.0 && waves.period.is_finite() && (1..=1000).contains(&waves.order) {
            Ok(waves)
        } else {
            Err(wrong().into())
        }
    }
}

impl Serialize for Waves {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Waves {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|e: FeatureError| serde::de::Error::custom(e))
    }
}

impl JsonSchema for Waves {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Waves".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[0-9.]+(:[0-9]+)?$", "description": "period:order, as in 24:3"})
    }
}

/// Days that are holidays, in ascending order: days since 1970-01-01, written as dates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holidays {
    days: Vec<i64>,
}

/// Microseconds of a day.
pub(super) const DAY: i64 = 86_400_000_000;

impl Holidays {
    /// The holidays of these days since 1970-01-01.
    pub fn new(mut days: Vec<i64>) -> Self {
        days.sort_unstable();
        days.dedup();
        Self { days }
    }

    /// Reads a csv file with one holiday per row: the column `ds` or `date`, else the first one; other columns (names) are
    /// for people. A file without a header is a list of dates.
    ///
    /// # Errors
    /// [`FeatureError::Holidays`] with the line that is no date.
    pub fn read(path: &Path) -> Result<Self, FeatureError> {
        let failed = |detail: String| FeatureError::Holidays { path: path.into(), detail };
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .comment(Some(b'#'))
            .from_path(path)
            .map_err(|e| failed(e.to_string()))?;
        let mut column = 0;
        let mut days = Vec::new();
        for (i, record) in reader.records().enumerate() {
            let record = record.map_err(|e| failed(e.to_string()))?;
            let line = record.position().map_or(i as u64 + 1, |p| p.line());
            if i == 0 {
                let named = |c: &str| {
                    ["ds", "date"].iter().any(|n| c.trim().trim_start_matches('\u{feff}').eq_ignore_ascii_case(n))
                };
                column = record.iter().position(named).unwrap_or(0);
            }
            let cell = record.get(column).unwrap_or_default().trim().trim_start_matches('\u{feff}');
            match parse_stamp(cell) {
                Ok(stamp) if stamp.kind != Clock::Integer => days.push(stamp.value.div_euclid(DAY)),
                // The first line may be the header.
                _ if i == 0 => {}
                Ok(_) => {
                    return Err(failed(format!("line {line}: `{cell}` is a number, expected a date as 2024-12-25")));
                }
                Err(e) => return Err(failed(format!("line {line}: {e}"))),
            }
        }
        if days.is_empty() {
            return Err(failed("it has no dates".into()));
        }
        Ok(Self::new(days))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.days.is_empty()
    }

    /// Number of holidays.
    pub fn len(&self) -> usize {
        self.days.len()
    }

    /// Whether the day of a time is one.
    pub fn holds(&self, t: i64) -> bool {
        self.days.binary_search(&t.div_euclid(DAY)).is_ok()
    }

    /// The last one, as a time.
    pub fn last(&self) -> Option<i64> {
        self.days.last().and_then(|d| d.checked_mul(DAY))
    }
}

impl Serialize for Holidays {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.days.iter().map(|d| Clock::Date.format(d.saturating_mul(DAY))))
    }
}

impl<'de> Deserialize<'de> for Holidays {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let dates = Vec::<String>::deserialize(deserializer)?;
        let day = |text: &String| match parse_stamp(text) {
            Ok(stamp) if stamp.kind == Clock::Date => Ok(stamp.value.div_euclid(DAY)),
            _ => Err(serde::de::Error::custom(format!("`{text}` is no date"))),
        };
        Ok(Self::new(dates.iter().map(day).collect::<Result<_, _>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Holidays, FeatureError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("holidays.csv");
        std::fs::write(&path, text).unwrap();
        Holidays::read(&path)
    }

    #[test]
    fn holidays_are_read_with_and_without_a_header() {
        let christmas = parse_stamp("2024-12-25 13:00:00").unwrap().value;
        for text in [
            "2024-12-25\n2025-01-01\n",
            "name,ds\nChristmas,2024-12-25\nNew Year,2025-01-01\n",
            "\u{feff}Date,name\n2025-01-01,New Year\n2024-12-25,Christmas\n2024-12-25,again\n",
            "# from the city\nholiday\n2024-12-25\n2025-01-01\n",
        ] {
            let found = read(text).unwrap();
            assert_eq!(found.len(), 2, "{text}");
            assert!(found.holds(christmas) && !found.holds(christmas + DAY), "{text}");
            let json = serde_json::to_string(&found).unwrap();
            assert_eq!(json, r#"["2024-12-25","2025-01-01"]"#);
            assert_eq!(serde_json::from_str::<Holidays>(&json).unwrap(), found);
        }
    }

    #[test]
    fn what_is_no_list_of_holidays_is_refused_with_its_line() {
        let message = |text: &str| read(text).unwrap_err().to_string();
        assert!(message("ds\n2024-12-25\nEaster\n").contains("line 3: `Easter`"), "{}", message("ds\nEaster\n"));
        assert!(message("ds\n7\n").contains("`7` is a number"));
        assert!(message("ds\n").contains("no dates"));
        assert!(message("").contains("no dates"));
        assert!(Holidays::read(Path::new("/nowhere.csv")).unwrap_err().to_string().contains("/nowhere.csv"));
        assert!(serde_json::from_str::<Holidays>(r#"["soon"]"#).is_err());
    }

    #[test]
    fn fields_and_waves_read_back() {
        for field in CalendarField::ALL {
            assert_eq!(field.name().parse::<CalendarField>().unwrap(), field);
            assert_eq!(serde_json::to_string(&field).unwrap(), format!("\"{}\"", field.name()));
            for t in [0, DAY * 200 + 3_600_000_000 * 23] {
                assert!((-0.5..=0.5).contains(&field.scaled(t)));
            }
        }
        assert!("dwo".parse::<CalendarField>().unwrap_err().to_string().contains("minute, hour, dow"));
        let waves: Waves = "365.25:2".parse().unwrap();
        assert_eq!(serde_json::to_string(&waves).unwrap(), "\"365.25:2\"");
        assert_eq!("24".parse::<Waves>().unwrap(), Waves { period: 24.0, order: 1 });
        for bad in ["", "24:0", "1:2", "x:2", "24:x", "NaN:1", "inf:1", "24:99999"] {
            assert!(bad.parse::<Waves>().is_err(), "{bad}");
        }
    }
}
