//! `nhits data inspect`: what is in a file, told without asking it to be right.

use serde::Serialize;

use crate::calendar::{Clock, Frequency, infer};

use super::config::{DataConfig, Duplicates, Gaps, Missing, Targets, Unusable};
use super::error::DataError;
use super::frame::Frame;
use super::gaps::{Hole, holes};
use super::layout::{self, find_id, find_time, numeric, time_columns};
use super::number::is_unreadable;
use super::portrait::{Portrait, Stretch, portrait};
use super::problems::Problems;
use super::read::{Loaded, load_table, message_of};
use super::source::Format;
use super::table::{As, Cells, ColumnKind, NO_NAME, Table};
use super::trading;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// The file.
    pub path: String,
    /// `csv`, `csv.gz`, `parquet` or `tsf`.
    pub format: Format,
    /// The character between fields of a csv file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// Rows that could be read.
    pub n_rows: usize,
    /// The columns, in the order of the file.
    pub columns: Vec<ColumnReport>,
    /// `long` where there is an id column, else `wide`.
    pub layout: &'static str,
    /// The id column.
    pub id_col: Option<String>,
    /// The time column that would be taken.
    pub time_col: Option<String>,
    /// All columns that read as dates or times.
    pub time_candidates: Vec<String>,
    /// Numeric columns that could be targets.
    pub target_candidates: Vec<String>,
    /// The series, where a time column was found.
    pub series: Option<SeriesReport>,
    /// The values of the target, where it is clear which column that is.
    pub values: Option<Portrait>,
    /// What is unclear or unusual, one line each.
    pub notes: Vec<String>,
}

/// A column of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnReport {
    /// Its name.
    pub name: String,
    /// What it seems to hold.
    pub kind: ColumnKind,
    /// Rows without a value.
    pub missing: usize,
    /// Values that are not of that kind.
    pub unreadable: usize,
    /// Infinite numbers.
    pub infinite: usize,
    /// Smallest number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Largest number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Earliest time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// Latest time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// Number of different texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distinct: Option<usize>,
}

/// The series of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesReport {
    /// How many: ids in the long layout, 1 in the wide one (columns share their rows).
    pub n_series: usize,
    /// Rows of the shortest.
    pub min_len: usize,
    /// Rows of the longest.
    pub max_len: usize,
    /// Earliest stamp.
    pub first: String,
    /// Latest stamp.
    pub last: String,
    /// What the stamps are.
    pub clock: Clock,
    /// The frequency most steps follow.
    pub freq: Option<String>,
    /// Steps that do not follow it.
    pub irregular: usize,
    /// Whether those steps are the nights, weekends and holidays of a trading calendar.
    pub trading: bool,
    /// Holes in the calendar.
    pub holes: usize,
    /// Rows that are absent in them.
    pub absent_rows: u64,
    /// Steps that are no whole number of the frequency.
    pub off_grid: usize,
    /// The longest hole: the first and the last absent row.
    pub longest_hole: Option<Stretch>,
}

/// Tells what is in the file of `config`; only its path, the names of its id, time and target columns and its frequency
/// matter.
///
/// # Errors
/// A file that cannot be opened or whose columns cannot be told apart; flaws of its rows are notes.
pub fn inspect(config: &DataConfig) -> Result<Inspection, DataError> {
    let mut table = Table::open(&config.path)?;
    let mut notes = std::mem::take(&mut table.notices);
    let id = find_id(&table, config);
    let named = config.time_col.as_deref().and_then(|name| table.find(name));
    let time = match named.map_or_else(|| find_time(&table, &|i| Some(i) == id, &mut notes), Ok) {
        Ok(time) => Some(time),
        Err(error) => {
            notes.push(message_of(&error));
            None
        }
    };
    let name = |i: usize| table.heads[i].name.clone();
    let (id_col, time_col) = (id.map(name), time.map(name));
    let time_candidates = time_columns(&table.heads).into_iter().map(name).collect();
    let target_candidates: Vec<String> =
        numeric(&table, &|i| Some(i) != id && Some(i) != time).into_iter().map(name).collect();
    let (columns, n_rows) = columns(&mut table, &mut notes)?;
    let series = match time {
        Some(time) => series(&mut table, id, time, config, &mut notes)?,
        None => None,
    };
    let values = match &series {
        Some(series) => values(&mut table, config, series, &target_candidates, &mut notes),
        None => None,
    };
    Ok(Inspection {
        path: table.place.path.clone(),
        format: table.format,
        delimiter: table.delimiter(),
        n_rows,
        columns,
        layout: if id.is_some() { "long" } else { "wide" },
        id_col,
        time_col,
        time_candidates,
        target_candidates,
        series,
        values,
        notes,
    })
}

/// Looks at the values as a panel with everything that is missing or absent masked.
fn values(
    table: &mut Table,
    config: &DataConfig,
    series: &SeriesReport,
    candidates: &[String],
    notes: &mut Vec<String>,
) -> Option<Portrait> {
    let mut lenient = DataConfig {
        path: config.path.clone(),
        id_col: config.id_col.clone(),
        time_col: config.time_col.clone(),
        target: config.target.clone(),
        targets: config.targets.clone(),
        freq: config.freq,
        missing: Missing::Mask,
        unusable: Unusable::Skip,
        duplicates: if config.duplicates == Duplicates::Error { Duplicates::First } else { config.duplicates },
        ..DataConfig::default()
    };
    if lenient.target.is_none() && lenient.targets.is_none() && layout::resolve(table, &lenient).is_err() {
        // Several columns of numbers beside each other are series beside each other.
        if find_id(table, config).is_some() || candidates.is_empty() {
            return None;
        }
        lenient.targets = Some(Targets::All);
    }
    let rules = if series.trading { [Gaps::Observed; 2] } else { [Gaps::Mask, Gaps::Observed] };
    for gaps in rules {
        lenient.gaps = gaps;
        match load_table(table, &lenient) {
            Ok(Loaded { panel: Some(panel), problems, .. }) if gaps == Gaps::Observed || !problems.has_errors() => {
                return portrait(&panel);
            }
            Ok(_) => {}
            Err(error) => {
                notes.push(message_of(&error));
                return None;
            }
        }
    }
    None
}

/// The kinds of problems that were met, as notes.
fn note(problems: &Problems, notes: &mut Vec<String>) {
    notes.extend(problems.list.iter().take(5).map(|p| p.to_string()));
    if problems.total > 5 {
        notes.push(format!("and {} more; `nhits data check` lists them", problems.total - 5));
    }
}

fn columns(table: &mut Table, notes: &mut Vec<String>) -> Result<(Vec<ColumnReport>, usize), DataError> {
    let heads = table.heads.clone();
    let of = |kinds: &[ColumnKind]| (0..heads.len()).filter(|i| kinds.contains(&heads[*i].kind)).collect::<Vec<_>>();
    let mut reports: Vec<ColumnReport> = heads
        .iter()
        .map(|head| ColumnReport {
            name: head.name.clone(),
            kind: head.kind,
            missing: 0,
            unreadable: 0,
            infinite: 0,
            min: None,
            max: None,
            first: None,
            last: None,
            distinct: None,
        })
        .collect();
    // Numbers and texts keep all rows, so one pass reads them; a row without a time is left out by each time column.
    let mut wanted: Vec<(usize, As)> = Vec::new();
    wanted
        .extend(of(&[ColumnKind::Number, ColumnKind::Integer, ColumnKind::Empty]).into_iter().map(|i| (i, As::Number)));
    wanted.extend(of(&[ColumnKind::Text, ColumnKind::DecimalComma]).into_iter().map(|i| (i, As::Text)));
    let read = table.read(&wanted)?;
    let mut n_rows = read.n_rows;
    for ((index, _), cells) in wanted.iter().zip(read.cells) {
        let report = &mut reports[*index];
        match cells {
            Cells::Numbers(values) => {
                report.unreadable = values.iter().filter(|v| is_unreadable(**v)).count();
                report.missing = values.iter().filter(|v| v.is_nan()).count() - report.unreadable;
                report.infinite = values.iter().filter(|v| v.is_infinite()).count();
                let finite = || values.iter().copied().filter(|v| v.is_finite());
                report.min = finite().reduce(f64::min);
                report.max = finite().reduce(f64::max);
            }
            Cells::Keys { codes, names } => {
                report.missing = codes.iter().filter(|c| **c == NO_NAME).count();
                report.distinct = Some(names.len());
            }
            Cells::Times { .. } => {}
        }
    }
    note(&read.problems, notes);
    for index in of(&[ColumnKind::Time]) {
        let read = table.read(&[(index, As::Time)])?;
        if let Cells::Times { values, clock } = &read.cells[0] {
            let report = &mut reports[index];
            report.first = values.iter().min().map(|t| clock.format(*t));
            report.last = values.iter().max().map(|t| clock.format(*t));
            report.unreadable = read.problems.total as usize;
            if wanted.is_empty() {
                n_rows = read.n_rows;
            }
        }
    }
    Ok((reports, n_rows))
}

fn series(
    table: &mut Table,
    id: Option<usize>,
    time: usize,
    config: &DataConfig,
    notes: &mut Vec<String>,
) -> Result<Option<SeriesReport>, DataError> {
    let mut wanted = vec![(time, As::Time)];
    wanted.extend(id.map(|i| (i, As::Key)));
    let read = table.read(&wanted)?;
    if read.n_rows == 0 {
        return Ok(None);
    }
    let mut cells = read.cells.into_iter();
    let (values, clock) = Cells::next_times(&mut cells);
    let mut problems = Problems::default();
    let frame =
        Frame::new(cells.next(), values, clock, Vec::new(), Vec::new(), 0, read.places, &mut Vec::new(), &mut problems);
    note(&problems, notes);
    let lengths = || frame.offsets.windows(2).map(|w| w[1] - w[0]);
    let inferred = match infer((0..frame.ids.len()).map(|g| frame.times(g)), clock) {
        Ok(inferred) => Some(inferred),
        Err(error) => {
            notes.push(error.to_string());
            None
        }
    };
    let freq = config.freq.filter(|f| f.fits(clock)).or(inferred.map(|i| i.freq));
    let mut calendar = Calendar { trading: true, ..Calendar::default() };
    if let Some(freq) = freq {
        (0..frame.ids.len()).for_each(|g| calendar.add(&frame, g, freq));
    }
    Ok(Some(SeriesReport {
        n_series: frame.ids.len(),
        min_len: lengths().min().unwrap_or(0),
        max_len: lengths().max().unwrap_or(0),
        first: frame.time.iter().min().map(|t| clock.format(*t)).unwrap_or_default(),
        last: frame.time.iter().max().map(|t| clock.format(*t)).unwrap_or_default(),
        clock,
        freq: freq.map(|f| f.to_string()),
        irregular: inferred.map_or(0, |i| i.irregular),
        trading: calendar.trading && calendar.holes > 0,
        holes: calendar.holes,
        absent_rows: calendar.absent_rows,
        off_grid: calendar.off_grid,
        longest_hole: calendar.longest_hole,
    }))
}

/// The holes met so far.
#[derive(Default)]
struct Calendar {
    trading: bool,
    holes: usize,
    absent_rows: u64,
    off_grid: usize,
    longest_hole: Option<Stretch>,
}

impl Calendar {
    fn add(&mut self, frame: &Frame, g: usize, freq: Frequency) {
        let found = holes(frame, g, freq);
        if !found.is_empty() {
            self.trading &= trading::absent_rows(frame.times(g), frame.offsets[g], &found, freq, frame.clock).is_some();
        }
        for hole in found {
            match hole {
                Hole::OffGrid { .. } => self.off_grid += 1,
                Hole::Absent { after, rows } => {
                    self.holes += 1;
                    self.absent_rows += rows as u64;
                    let n = usize::try_from(rows).unwrap_or(usize::MAX);
                    if self.longest_hole.as_ref().is_none_or(|h| n > h.rows) {
                        let stamp = |steps| frame.clock.format(freq.advance(frame.time[after], steps).unwrap_or(0));
                        let series = frame.ids[g].clone();
                        self.longest_hole =
                            Some(Stretch { series, from: stamp(1), to: stamp(rows), rows: n, value: None });
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspected(text: &str) -> Inspection {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.csv");
        std::fs::write(&path, text).unwrap();
        inspect(&DataConfig { path, ..Default::default() }).unwrap()
    }

    #[test]
    fn columns_and_series_are_told() {
        let i = inspected(
            "unique_id;ds;y;wind\nA;2020-01-01;1;NW\nA;2020-01-02;;SE\nB;2020-01-05;inf;\nB;2020-01-06;-3.5;NW\n",
        );
        assert_eq!((i.format, i.delimiter, i.layout, i.n_rows), (Format::Csv, Some(';'), "long", 4));
        assert_eq!((i.time_col.as_deref(), i.target_candidates.join(",")), (Some("ds"), "y".to_owned()));
        let y = &i.columns[2];
        assert_eq!((y.missing, y.infinite, y.min, y.max), (1, 1, Some(-3.5), Some(1.0)));
        assert_eq!((i.columns[3].distinct, i.columns[3].missing), (Some(2), 1));
        assert_eq!(i.columns[1].first.as_deref(), Some("2020-01-01"));
        let s = i.series.as_ref().unwrap();
        assert_eq!((s.n_series, s.min_len, s.max_len, s.freq.as_deref()), (2, 2, 2, Some("D")));
        assert!(serde_json::to_string(&i).unwrap().contains("\"kind\":\"text\""));
    }

    #[test]
    fn an_unclear_file_is_still_told() {
        let i = inspected("a,b,c\n2020-01-01,2020-02-01,1\nx,2020-02-02,z\n2020-01-03,2020-02-03,2\n");
        assert_eq!((i.time_col.clone(), i.series.is_none()), (None, true));
        assert_eq!((i.columns[0].unreadable, i.columns[2].unreadable), (1, 1));
        assert!(i.notes.iter().any(|n| n.contains("2 columns read as time")), "{:?}", i.notes);
        assert!(i.notes.iter().any(|n| n.contains("line 3, column `c`")), "{:?}", i.notes);
    }
}
