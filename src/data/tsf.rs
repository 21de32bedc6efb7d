//! Monash `.tsf` files: a header of `@` lines, then one series per line with its attributes, its start and its values.
//!
//! Layout as of Godahewa et al. 2021, "Monash Time Series Forecasting Archive", and their data loader: attributes and the
//! list of values are separated by `:`, values by `,`, a missing value is `?`, a start is `1979-01-01 00-00-00`.

use jiff::ToSpan;
use jiff::civil::DateTime;

use crate::calendar::{Clock, parse_stamp};

use super::error::{DataError, Place};
use super::number::{is_unreadable, number_message, parse_number};
use super::problems::{Position, Problem, ProblemKind, Problems};
use super::table::{As, Cells, ColumnKind, Columns, Head, Keys, Places, settled};

/// The columns that every such file has.
const OWN: [&str; 3] = ["unique_id", "ds", "y"];

/// Frequencies of the archive, for messages.
const FREQUENCIES: &str = "yearly, quarterly, monthly, weekly, daily, hourly, half_hourly, minutely, or a number and a \
                           unit such as 10_minutes";

/// A file whose header was read.
pub(super) struct TsfTable {
    text: String,
    attributes: Vec<Attribute>,
    /// The attribute that names the series; lines are numbered where there is none.
    id: Option<usize>,
    /// The attribute with the first time; a counter from 1 where there is none.
    start: Option<usize>,
    step: Option<Step>,
    /// Where the series begin, and the line they begin on.
    body: usize,
    body_line: u64,
}

struct Attribute {
    name: String,
    kind: AttributeKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AttributeKind {
    Text,
    Number,
    Date,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Seconds(i64),
    Months(i64),
}

/// Whether the first line with content is one of a `.tsf` header.
pub(super) fn is_tsf(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    lines.find(|l| !l.is_empty() && l[0] != b'#').is_some_and(|l| {
        let word: Vec<u8> = l.iter().take_while(|b| !b.is_ascii_whitespace()).map(u8::to_ascii_lowercase).collect();
        matches!(
            word.as_slice(),
            b"@relation" | b"@attribute" | b"@frequency" | b"@horizon" | b"@missing" | b"@equallength" | b"@data"
        )
    })
}

impl TsfTable {
    /// Reads the header. The last value are notices.
    pub(super) fn open(text: String, place: &Place) -> Result<(Self, Vec<Head>, Vec<String>), DataError> {
        let mut table = Self {
            text: String::new(),
            attributes: Vec::new(),
            id: None,
            start: None,
            step: None,
            body: 0,
            body_line: 0,
        };
        let (mut at, mut line_number, mut found_data) = (0, 0u64, false);
        let mut horizon = None;
        let mut frequency = None;
        for line in text.split_inclusive('\n') {
            line_number += 1;
            at += line.len();
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            let key = words.next().unwrap_or_default().to_ascii_lowercase();
            let rest: Vec<&str> = words.collect();
            match (key.as_str(), &rest[..]) {
                ("@data", _) => {
                    found_data = true;
                    break;
                }
                ("@attribute", [name, kind]) => table.attributes.push(Attribute {
                    name: (*name).to_owned(),
                    kind: match kind.to_ascii_lowercase().as_str() {
                        "string" => AttributeKind::Text,
                        "numeric" => AttributeKind::Number,
                        "date" => AttributeKind::Date,
                        _ => {
                            let message =
                                format!("line {line_number}: attribute `{name}` has the unknown type `{kind}`");
                            return Err(place.layout(message, "the types are string, numeric and date"));
                        }
                    },
                }),
                ("@attribute", _) => {
                    let message = format!("line {line_number}: expected `@attribute NAME TYPE`, found `{line}`");
                    return Err(place.layout(message, "give each attribute a name and a type"));
                }
                ("@frequency", [word]) => {
                    table.step = Some(step(word).ok_or_else(|| {
                        let message = format!("line {line_number}: the frequency `{word}` is not known");
                        place.layout(message, format!("the frequencies are {FREQUENCIES}"))
                    })?);
                    frequency = Some((*word).to_owned());
                }
                ("@horizon", [n]) => horizon = Some((*n).to_owned()),
                _ if key.starts_with('@') => {}
                _ => {
                    let message = format!("line {line_number}: expected a line that begins with `@`, found `{line}`");
                    return Err(place.layout(message, "the series begin after a line `@data`"));
                }
            }
        }
        if !found_data {
            return Err(place.damaged("there is no line `@data`"));
        }
        let find = |kind| table.attributes.iter().position(|a| a.kind == kind);
        let named = table.attributes.iter().position(|a| a.name == "series_name" && a.kind == AttributeKind::Text);
        table.id = named.or_else(|| find(AttributeKind::Text));
        table.start = find(AttributeKind::Date);
        if table.start.is_some() && table.step.is_none() {
            return Err(place.layout(
                "series have a start, but there is no line `@frequency`",
                format!("add one: the frequencies are {FREQUENCIES}"),
            ));
        }
        table.body = at;
        table.body_line = line_number + 1;
        table.text = text;
        let clock = if table.start.is_some() { ColumnKind::Time } else { ColumnKind::Integer };
        let mut heads: Vec<Head> = OWN
            .iter()
            .zip([ColumnKind::Text, clock, ColumnKind::Number])
            .map(|(name, kind)| Head { name: (*name).to_owned(), kind })
            .collect();
        heads.extend(table.others().map(|i| Head {
            name: table.attributes[i].name.clone(),
            kind: match table.attributes[i].kind {
                AttributeKind::Number => ColumnKind::Number,
                _ => ColumnKind::Text,
            },
        }));
        let mut notices = Vec::new();
        if let Some(horizon) = horizon {
            let frequency = frequency.map(|f| format!(", frequency {f}")).unwrap_or_default();
            notices.push(format!("the file names a horizon of {horizon}{frequency} (--horizon sets the model's)"));
        }
        Ok((table, heads, notices))
    }

    /// Attributes that are columns of their own.
    fn others(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.attributes.len()).filter(|i| Some(*i) != self.id && Some(*i) != self.start)
    }

    /// Reads the `wanted` columns; the heads are those of [`TsfTable::open`].
    pub(super) fn read(&self, heads: &[Head], wanted: &[(usize, As)], place: &Place) -> Result<Columns, DataError> {
        let others: Vec<usize> = self.others().collect();
        let mut out: Vec<Column> = Vec::with_capacity(wanted.len());
        for (index, what) in wanted {
            let column = match (index, what) {
                (0, As::Key | As::Text) => Column::Id(Keys::default()),
                (1, As::Time) => Column::Time(Vec::new()),
                (2, As::Number) => Column::Value(Vec::new()),
                (i, As::Number) if *i > 2 => Column::Numbers(others[i - 3], Vec::new()),
                (i, As::Key | As::Text) if *i > 2 => Column::Texts(others[i - 3], Keys::default()),
                (i, _) => {
                    let head = &heads[*i];
                    return Err(place.column_type(
                        &head.name,
                        head.kind.words(),
                        "another role: it is fixed in a .tsf",
                    ));
                }
            };
            out.push(column);
        }
        let mut problems = Problems::default();
        let mut starts = Vec::new();
        let (mut n_rows, mut left_out, mut number) = (0, false, 0usize);
        for (line, text) in (self.body_line..).zip(self.text[self.body..].lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            number += 1;
            match self.series(text, number, line, &mut out, &mut problems) {
                Some(n) => {
                    starts.push((n_rows, line));
                    n_rows += n;
                }
                None => left_out = true,
            }
        }
        let cells = out.into_iter().map(|column| match column {
            Column::Value(values) | Column::Numbers(_, values) => Cells::Numbers(values),
            Column::Id(keys) | Column::Texts(_, keys) => Cells::Keys { codes: keys.codes, names: keys.names },
            Column::Time(values) => {
                let clock = if self.start.is_some() { settled(Clock::Local, &values) } else { Clock::Integer };
                Cells::Times { values, clock }
            }
        });
        let cells = cells.collect();
        Ok(Columns { cells, n_rows, places: Places::Series(starts), problems, rows_left_out: left_out })
    }

    /// Adds the rows of one series; `None` where the line cannot be understood.
    fn series(
        &self,
        text: &str,
        number: usize,
        line: u64,
        out: &mut [Column],
        problems: &mut Problems,
    ) -> Option<usize> {
        let fields: Vec<&str> = text.split(':').collect();
        let expected = self.attributes.len() + 1;
        if fields.len() != expected {
            let message = format!("the line has {} parts between `:`, the header has {expected}", fields.len());
            problems.push(Problem::new(ProblemKind::RaggedRow, message).at(Position::Line(line)));
            return None;
        }
        let id = match self.id {
            Some(i) => fields[i].trim().to_owned(),
            None => number.to_string(),
        };
        if id.is_empty() {
            let problem = Problem::new(ProblemKind::MissingId, "the name of the series is missing");
            problems.push(problem.at(Position::Line(line)));
            return None;
        }
        let values = fields[expected - 1];
        let n = values.split(',').count();
        let times = match self.times(&fields, n) {
            Ok(times) => times,
            Err(message) => {
                let problem = Problem::new(ProblemKind::UnparsableTime, message).at(Position::Line(line)).series(&id);
                problems.push(problem);
                return None;
            }
        };
        for column in out {
            match column {
                Column::Id(keys) => {
                    let code = keys.code(id.as_bytes());
                    keys.codes.extend(std::iter::repeat_n(code, n));
                }
                Column::Time(to) => to.extend(&times),
                Column::Value(to) => {
                    for (i, field) in values.split(',').enumerate() {
                        let field = field.trim().as_bytes();
                        let value = if field == b"?" { f64::NAN } else { parse_number(field) };
                        if is_unreadable(value) {
                            let message = format!("value {}: {}", i + 1, number_message(field));
                            let problem = Problem::new(ProblemKind::UnparsableNumber, message);
                            problems.push(problem.at(Position::Line(line)).series(&id).column(OWN[2]));
                        }
                        to.push(value);
                    }
                }
                Column::Numbers(attribute, to) => {
                    let field = fields[*attribute].trim().as_bytes();
                    let value = if field == b"?" { f64::NAN } else { parse_number(field) };
                    if is_unreadable(value) {
                        let problem = Problem::new(ProblemKind::UnparsableNumber, number_message(field));
                        let name = &self.attributes[*attribute].name;
                        problems.push(problem.at(Position::Line(line)).series(&id).column(name));
                    }
                    to.extend(std::iter::repeat_n(value, n));
                }
                Column::Texts(attribute, keys) => {
                    let code = keys.code(fields[*attribute].trim().as_bytes());
                    keys.codes.extend(std::iter::repeat_n(code, n));
                }
            }
        }
        Some(n)
    }

    /// The stamps of a series of `n` values.
    fn times(&self, fields: &[&str], n: usize) -> Result<Vec<i64>, String> {
        let (Some(start), Some(step)) = (self.start, self.step) else {
            return Ok((1..=n as i64).collect());
        };
        let text = fields[start].trim();
        // The archive writes the time of day with dashes.
        let written = match text.split_once(' ') {
            Some((date, time)) => format!("{date} {}", time.replace('-', ":")),
            None => text.to_owned(),
        };
        let stamp = parse_stamp(&written).ok().filter(|s| matches!(s.kind, Clock::Date | Clock::Local));
        let first = stamp.ok_or_else(|| format!("the start `{text}` is not a time such as 1979-01-01 00-00-00"))?.value;
        let beyond = || format!("{n} steps from `{text}` on end beyond the year 9999");
        match step {
            Step::Seconds(seconds) => {
                let last = (n as i64).checked_mul(seconds * 1_000_000).and_then(|d| first.checked_add(d));
                // The end of 9999.
                if last.is_none_or(|t| t > 253_402_300_799_999_999) {
                    return Err(beyond());
                }
                Ok((0..n as i64).map(|i| first + i * seconds * 1_000_000).collect())
            }
            // Counted from the start, so that a month without a 31st does not shorten those after it.
            Step::Months(months) => (0..n as i64).map(|i| add_months(first, i * months).ok_or_else(beyond)).collect(),
        }
    }
}

/// A column being read; the numbers are attributes.
enum Column {
    Id(Keys),
    Time(Vec<i64>),
    Value(Vec<f64>),
    Numbers(usize, Vec<f64>),
    Texts(usize, Keys),
}

/// Microseconds since 1970, `months` later on the same day of the month, or on the last one where it has no such day.
fn add_months(t: i64, months: i64) -> Option<i64> {
    let epoch = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    let at = epoch.checked_add(t.microseconds()).ok()?;
    let span = jiff::Span::new().try_months(months).ok()?;
    let later = at.checked_add(span).ok()?;
    let days = later.date().since((jiff::Unit::Day, epoch.date())).ok()?.get_days();
    Some(i64::from(days) * 86_400_000_000 + t.rem_euclid(86_400_000_000))
}

fn step(word: &str) -> Option<Step> {
    let word = word.to_ascii_lowercase();
    let (count, unit) = match word.split_once('_') {
        Some(("half", "hourly")) => return Some(Step::Seconds(1800)),
        Some((count, unit)) => (count.parse::<u32>().ok().filter(|n| *n > 0)?, unit),
        None => (1, word.as_str()),
    };
    let count = i64::from(count);
    Some(match unit {
        "secondly" | "second" | "seconds" => Step::Seconds(count),
        "minutely" | "minute" | "minutes" => Step::Seconds(60 * count),
        "hourly" | "hour" | "hours" => Step::Seconds(3600 * count),
        "daily" | "day" | "days" => Step::Seconds(86_400 * count),
        "weekly" | "week" | "weeks" => Step::Seconds(7 * 86_400 * count),
        "monthly" | "month" | "months" => Step::Months(count),
        "quarterly" | "quarter" | "quarters" => Step::Months(3 * count),
        "yearly" | "year" | "years" => Step::Months(12 * count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{DataConfig, Missing, Read, read_panel};
    use super::*;
    use crate::error::Advise;

    fn read(text: impl AsRef<[u8]>, missing: Missing) -> Result<Read, DataError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("series.data");
        std::fs::write(&path, text.as_ref()).unwrap();
        read_panel(&DataConfig { path, missing, ..Default::default() })
    }

    const HEADER: &str = "# comment\n@relation x\n@attribute series_name string\n@attribute start_timestamp date\n@frequency FREQ\n@horizon 8\n@data\n";

    fn with(freq: &str, lines: &str) -> String {
        HEADER.replace("FREQ", freq) + lines
    }

    #[test]
    fn series_have_their_names_starts_and_values() {
        let text = with("monthly", "T1:1979-11-01 00-00-00:1.5,?,3\nT2:1980-01-01 00-00-00:4,5,6\n");
        let r = read(&text, Missing::Mask).unwrap();
        let p = &r.panel;
        assert_eq!(
            (p.ids.join(","), p.offsets.clone(), p.freq.to_string()),
            ("T1,T2".into(), vec![0, 3, 6], "MS".into())
        );
        let stamps: Vec<String> = p.times(0).iter().map(|t| p.clock.format(*t)).collect();
        assert_eq!(stamps, ["1979-11-01", "1979-12-01", "1980-01-01"]);
        assert!(p.y[0] == 1.5 && p.y[1].is_nan() && p.y[5] == 6.0);
        assert!(r.notices.iter().any(|n| n.contains("horizon of 8, frequency monthly")), "{:?}", r.notices);
        let error = read(&text, Missing::Error).unwrap_err().to_string();
        assert!(error.contains("line 8, series `T1`, 1979-12-01, column `y`: the value is missing"), "{error}");
    }

    #[test]
    fn every_frequency_of_the_archive_makes_a_regular_calendar() {
        let cases = [
            ("yearly", "YS", "1979-01-01 12-00-00"),
            ("quarterly", "QS", "1979-01-01 00-00-00"),
            ("monthly", "ME", "1980-01-31 00-00-00"),
            ("weekly", "W-MON", "1979-01-01 00-00-00"),
            ("daily", "D", "1979-01-01 00-00-00"),
            ("hourly", "h", "1979-01-01 00-00-00"),
            ("half_hourly", "30min", "1979-01-01 00-00-00"),
            ("10_minutes", "10min", "1979-01-01 00-00-00"),
            ("4_seconds", "4s", "1979-01-01 00-00-00"),
        ];
        for (word, alias, start) in cases {
            let r = read(with(word, &format!("A:{start}:1,2,3,4,5,6,7,8,9\n")), Missing::Error);
            let p = r.unwrap_or_else(|e| panic!("{word}: {e}")).panel;
            let found = p.freq.to_string();
            assert!(found == alias || found.starts_with(&format!("{alias}-")), "{word}: {found}");
            assert_eq!(p.times(0)[8], p.freq.advance(p.times(0)[0], 8).unwrap(), "{word}");
        }
    }

    #[test]
    fn without_a_start_rows_are_counted_and_attributes_are_columns() {
        let text = "@attribute series_name string\n@attribute size numeric\n@data\nA:7.5:1,2\nB:8:3,4,5\n";
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.tsf");
        std::fs::write(&path, text).unwrap();
        let config = DataConfig { path, stat_exog: vec!["size".into()], ..Default::default() };
        let p = read_panel(&config).unwrap().panel;
        assert_eq!(
            (p.clock, p.times(1).to_vec(), p.stat_exog[0].values.clone()),
            (Clock::Integer, vec![1, 2, 3], vec![7.5, 8.0])
        );
    }

    #[test]
    fn comments_may_be_in_an_old_encoding() {
        let mut text = b"# Universit\xe9\n".to_vec();
        text.extend(with("daily", "A:2020-01-01:1,2\n").bytes());
        assert_eq!(read(text, Missing::Error).unwrap().panel.y, [1.0, 2.0]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, part) in [
            (with("fortnightly", "A:2020-01-01:1\n"), "line 5: the frequency `fortnightly` is not known"),
            (with("daily", "A:1,2\n"), "line 8: the line has 2 parts between `:`, the header has 3"),
            (with("daily", "A:yesterday:1,2\n"), "line 8, series `A`: the start `yesterday` is not a time"),
            (with("daily", "A:2020-01-01:1,x\n"), "line 8, series `A`, column `y`: value 2: `x` is not a number"),
            (with("yearly", "A:9998-01-01:1,2,3\n"), "3 steps from `9998-01-01` on end beyond the year 9999"),
            (with("daily", ":2020-01-01:1,2\n"), "line 8: the name of the series is missing"),
            ("@relation x\n@attribute a b c\n@data\n".into(), "line 2: expected `@attribute NAME TYPE`"),
            ("@relation x\n@attribute a colour\n@data\n".into(), "has the unknown type `colour`"),
            ("@relation x\n".into(), "there is no line `@data`"),
            ("@relation x\nA:1\n@data\n".into(), "line 2: expected a line that begins with `@`"),
            ("@attribute s date\n@data\n2020-01-01:1\n".into(), "there is no line `@frequency`"),
        ] {
            let error = read(&text, Missing::Error).unwrap_err();
            assert!(error.to_string().contains(part), "{error}\n{part}");
            assert!(error.kind() != "problems");
        }
    }
}
