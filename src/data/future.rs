//! `--future FILE`: covariates known ahead, joined to the horizon of each series by id and time.

use crate::calendar::Frequency;

use super::config::DataConfig;
use super::error::DataError;
use super::layout::{find_id, find_time};
use super::number::is_missing;
use super::panel::{Column, Panel};
use super::problems::{Problem, ProblemKind, Problems};
use super::table::{As, Cells, Table};

/// Lines that tell what is missing, at most.
const MOST_LISTED: usize = 1000;

/// The covariates of the steps ahead.
#[derive(Debug, Clone, PartialEq)]
pub struct FutureRows {
    /// Steps per series.
    pub horizon: usize,
    /// The stamps of the steps, series after series: series `s` has `s * horizon..(s + 1) * horizon`.
    pub time: Vec<i64>,
    /// One column per name that was asked for, in that order, aligned with `time`.
    pub columns: Vec<Column>,
}

/// Reads the columns `names` of the `horizon` steps after the last row of each series of `panel`.
///
/// The file is long where it has the id column of `config` (`unique_id` by default), else its rows hold for all series;
/// rows of other times and series do not matter. The steps are those of the panel's frequency; where a series is a
/// sequence of observations that does not follow it (a trading calendar), they are the next stamps that the file has.
///
/// # Errors
/// As [`read_panel`](super::read_panel), and [`DataError::Problems`] with each row and value that is missing.
pub fn read_future(
    path: &std::path::Path,
    config: &DataConfig,
    panel: &Panel,
    horizon: usize,
    names: &[String],
) -> Result<FutureRows, DataError> {
    let mut table = Table::open(path)?;
    let mut absent = Problems::default();
    let mut wanted = Vec::new();
    for name in names {
        match table.find(name) {
            Some(i) if table.heads[i].kind.is_numeric() => wanted.push((i, As::Number)),
            Some(i) => return Err(table.place.column_type(name, table.heads[i].kind.words(), "numbers")),
            None => absent.push(table.absent(name, "a futr_exog column of the model")),
        }
    }
    if absent.has_errors() {
        return Err(table.place.problems(absent));
    }
    let id = find_id(&table, config);
    let taken: Vec<usize> = wanted.iter().map(|(i, _)| *i).chain(id).collect();
    let time = match config.time_col.as_deref().and_then(|name| table.find(name)) {
        Some(time) => time,
        None => find_time(&table, &|i| taken.contains(&i), &mut Vec::new())?,
    };
    wanted.push((time, As::Time));
    wanted.extend(id.map(|i| (i, As::Key)));
    let read = table.read(&wanted)?;
    // What is missing ahead is listed whole: the user has to complete the file.
    let mut problems = Problems::with_limit(MOST_LISTED);
    problems.append(read.problems);
    let mut cells = read.cells.into_iter();
    let columns: Vec<Vec<f64>> = cells.by_ref().take(names.len()).map(Cells::into_numbers).collect();
    let (time, clock) = Cells::next_times(&mut cells);
    panel.clock.join(clock).map_err(|e| table.place.calendar(e))?;
    let keys = cells.next();

    let rows = Rows::new(keys.as_ref(), &time);
    let mut out = FutureRows {
        horizon,
        time: Vec::with_capacity(panel.n_series() * horizon),
        columns: names.iter().map(|n| Column { name: n.clone(), values: Vec::new() }).collect(),
    };
    for (s, id) in panel.ids.iter().enumerate() {
        let own = rows.of(id);
        let stamps = steps(panel, s, horizon, own, &time);
        let mut rows_missing = Run::default();
        let mut values_missing = vec![Run::default(); names.len()];
        for step in 0..horizon {
            let stamp = stamps.get(step).copied();
            let row = stamp.and_then(|t| own.binary_search_by_key(&t, |r| time[*r as usize]).ok());
            if let (None, Some(_)) = (row, stamp) {
                rows_missing.add(step);
            }
            out.time.push(stamp.unwrap_or_default());
            for ((column, values), missing) in out.columns.iter_mut().zip(&columns).zip(&mut values_missing) {
                let value = row.map_or(f64::NAN, |r| values[own[r] as usize]);
                if row.is_some() && is_missing(value) {
                    missing.add(step);
                }
                column.values.push(value);
            }
        }
        let stamp = |step: usize| stamps.get(step).map(|t| panel.clock.format(*t)).unwrap_or_default();
        let told = |run: &std::ops::Range<usize>, what: &str| {
            let message = match run.len() {
                1 => format!("the {what} is missing"),
                n => format!("{n} {what}s are missing, up to {}", stamp(run.end - 1)),
            };
            let problem = Problem::new(ProblemKind::FutureValue, message).series(id).time(stamp(run.start));
            problem.count(run.len() as u64)
        };
        rows_missing.runs.iter().for_each(|run| problems.push(told(run, "row")));
        for (name, missing) in names.iter().zip(&values_missing) {
            for run in &missing.runs {
                let row = stamps.get(run.start).and_then(|t| own.binary_search_by_key(t, |r| time[*r as usize]).ok());
                let problem = told(run, "value").column(name);
                problems.push(match row {
                    Some(r) => problem.at(read.places.of(own[r] as usize)),
                    None => problem,
                });
            }
        }
        if stamps.len() < horizon {
            let message = match horizon - stamps.len() {
                1 => format!("no row for step {horizon} of {horizon} ahead"),
                _ => format!("no rows for steps {} to {horizon} of {horizon} ahead", stamps.len() + 1),
            };
            problems.push(Problem::new(ProblemKind::FutureValue, message).series(id));
        }
    }
    if problems.has_errors() { Err(table.place.problems(problems)) } else { Ok(out) }
}

/// Steps in a row, so that one line tells of them.
#[derive(Debug, Clone, Default)]
struct Run {
    runs: Vec<std::ops::Range<usize>>,
}

impl Run {
    fn add(&mut self, step: usize) {
        match self.runs.last_mut() {
            Some(run) if run.end == step => run.end += 1,
            _ => self.runs.push(step..step + 1),
        }
    }
}

/// Rows of the file by series, each list in time order with the first row of equal times only.
struct Rows {
    shared: Option<Vec<u32>>,
    by_id: std::collections::HashMap<String, Vec<u32>>,
}

impl Rows {
    fn new(keys: Option<&Cells>, time: &[i64]) -> Self {
        let in_order = |mut rows: Vec<u32>| {
            rows.sort_by_key(|r| time[*r as usize]);
            rows.dedup_by_key(|r| time[*r as usize]);
            rows
        };
        let mut by_id = std::collections::HashMap::new();
        let Some(Cells::Keys { codes, names }) = keys else {
            return Self { shared: Some(in_order((0..time.len() as u32).collect())), by_id };
        };
        let mut lists = vec![Vec::new(); names.len()];
        for (row, code) in codes.iter().enumerate() {
            lists[*code as usize].push(row as u32);
        }
        for (name, rows) in names.iter().zip(lists) {
            by_id.insert(name.clone(), in_order(rows));
        }
        Self { shared: None, by_id }
    }

    fn of(&self, id: &str) -> &[u32] {
        self.shared.as_deref().or_else(|| self.by_id.get(id).map(Vec::as_slice)).unwrap_or_default()
    }
}

/// The stamps of the steps ahead; fewer than `horizon` where the file of an irregular series has no more.
fn steps(panel: &Panel, s: usize, horizon: usize, rows: &[u32], time: &[i64]) -> Vec<i64> {
    let times = panel.times(s);
    let Some(&last) = times.last() else { return Vec::new() };
    let freq: Frequency = panel.freq;
    if times.windows(2).all(|w| freq.advance(w[0], 1) == Some(w[1])) {
        return (1..=horizon as i64).map_while(|k| freq.advance(last, k)).collect();
    }
    rows.iter().map(|r| time[*r as usize]).filter(|t| *t > last).take(horizon).collect()
}

#[cfg(test)]
mod tests {
    use super::super::config::Gaps;
    use super::super::read_panel;
    use super::*;

    fn panel(dir: &tempfile::TempDir, text: &str) -> (Panel, DataConfig) {
        let path = dir.path().join("history.csv");
        std::fs::write(&path, text).unwrap();
        let config = DataConfig { path, futr_exog: vec!["x".into()], gaps: Gaps::Observed, ..DataConfig::default() };
        (read_panel(&config).unwrap().panel, config)
    }

    fn future(history: &str, text: &str, horizon: usize) -> Result<FutureRows, DataError> {
        let dir = tempfile::tempdir().unwrap();
        let (panel, config) = panel(&dir, history);
        let path = dir.path().join("future.csv");
        std::fs::write(&path, text).unwrap();
        read_future(&path, &config, &panel, horizon, &["x".to_owned()])
    }

    const HISTORY: &str = "unique_id,ds,y,x\nA,1,1,0\nA,2,2,0\nB,1,1,0\nB,2,2,0\nB,3,3,0\n";

    #[test]
    fn rows_are_joined_by_id_and_time() {
        let rows = future(HISTORY, "unique_id,ds,x\nB,5,50\nB,4,40\nA,3,3\nA,4,4\nA,2,9\nC,1,9\n", 2).unwrap();
        assert_eq!(rows.columns[0].values, [3., 4., 40., 50.]);
        assert_eq!(rows.time, [3, 4, 4, 5]);
        let shared = future(HISTORY, "ds,x\n3,30\n4,40\n5,50\n", 2).unwrap();
        assert_eq!(shared.columns[0].values, [30., 40., 40., 50.]);
    }

    #[test]
    fn what_is_missing_is_listed_exactly() {
        let error = future(HISTORY, "unique_id,ds,x\nA,3,3\nB,4,\nB,5,5\n", 2).unwrap_err().to_string();
        assert!(error.contains("series `A`, 4: the row is missing"), "{error}");
        assert!(error.contains("line 3, series `B`, 4, column `x`: the value is missing"), "{error}");
        assert!(error.contains(": 2 problems"), "{error}");
        let error = future(HISTORY, "unique_id,ds,x\nA,3,3\nA,6,\nA,7,\nB,9,\n", 5).unwrap_err().to_string();
        for part in [
            "series `A`, 4: 2 rows are missing, up to 5",
            "line 3, series `A`, 6, column `x`: 2 values are missing, up to 7",
            "series `B`, 4: 5 rows are missing, up to 8",
        ] {
            assert!(error.contains(part), "{error}");
        }
        assert!(error.contains(": 3 problems"), "{error}");
        let error = future(HISTORY, "unique_id,ds,X\nA,3,3\n", 1).unwrap_err().to_string();
        assert!(error.contains("`x` (a futr_exog column of the model); did you mean `X`?"), "{error}");
        let error = future(HISTORY, "unique_id,ds,x\nA,2020-01-01,3\n", 1).unwrap_err().to_string();
        assert!(error.contains("plain integers"), "{error}");
    }

    #[test]
    fn a_sequence_of_observations_takes_the_next_stamps_of_the_file() {
        let history = "ds,y,x\n2024-01-11,1,0\n2024-01-12,1,0\n2024-01-16,1,0\n2024-01-17,2,0\n";
        let rows = future(history, "ds,x\n2024-01-19,2\n2024-01-18,1\n2024-01-23,3\n", 3).unwrap();
        assert_eq!(rows.columns[0].values, [1., 2., 3.]);
        let error = future(history, "ds,x\n2024-01-18,1\n", 2).unwrap_err().to_string();
        assert!(error.contains("no row for step 2 of 2 ahead"), "{error}");
    }
}
