//! The way of a file through the room: [`read_panel`].

use serde::Serialize;

use crate::error::InvalidSetting;

use super::config::{DataConfig, Unusable};
use super::error::{DataError, Place};
use super::frame::Frame;
use super::panel::Panel;
use super::problems::{Problem, ProblemKind, Problems};
use super::split::{SplitError, SplitSpec};
use super::statics::Statics;
use super::table::{As, Cells, Table};
use super::{fingerprint, gaps, layout, missing};

/// A panel and what there is to say about its reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The series.
    pub panel: Panel,
    /// What was decided or changed on the way, one line each.
    pub notices: Vec<String>,
    /// [`fingerprint`](super::fingerprint) of the panel.
    pub fingerprint: String,
    /// What became of the rows of each series of the panel, in its order.
    pub rows: Vec<SeriesRows>,
    /// The series that were left out (`unusable = "skip"`), and why.
    pub skipped: Vec<Skipped>,
}

/// What became of the rows that a file has of a series.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SeriesRows {
    /// The series.
    pub unique_id: String,
    /// Rows in the file.
    pub in_file: usize,
    /// Of them, rows left out because another one has their time.
    pub repeated: usize,
    /// Rows inserted where the calendar had holes.
    pub inserted: usize,
    /// Rows left out because a value is missing, those before the first and after the last value among them.
    pub left_out: usize,
    /// Missing targets that were filled.
    pub filled: usize,
    /// Rows whose target is missing and masked.
    pub masked: usize,
}

/// A series that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its rows.
    pub rows: SeriesRows,
    /// Why it cannot be used.
    pub why: String,
}

impl Read {
    /// Leaves out the series that have fewer rows than `split` needs.
    ///
    /// # Errors
    /// [`SplitError`] where no series has enough, and for numbers that are no split.
    pub fn skip_short(&mut self, split: &SplitSpec) -> Result<(), SplitError> {
        let mut keep = vec![true; self.panel.n_series()];
        let mut first = None;
        for (s, keep) in keep.iter_mut().enumerate() {
            match split.resolve(self.panel.len_of(s)) {
                Ok(_) => {}
                Err(e @ (SplitError::TooShort { .. } | SplitError::NoTrain { .. })) => {
                    *keep = false;
                    self.skipped.push(Skipped { rows: self.rows[s].clone(), why: e.to_string() });
                    first.get_or_insert(e.of(&self.panel.ids[s]));
                }
                Err(e) => return Err(e),
            }
        }
        match first {
            Some(error) if !keep.contains(&true) => return Err(error),
            None => return Ok(()),
            Some(_) => {}
        }
        self.notices.push(skipped_notice(keep.iter().filter(|k| !**k).count(), "too short for the split"));
        self.panel = self.panel.keep_series(&keep);
        let mut kept = keep.iter();
        self.rows.retain(|_| *kept.next().unwrap_or(&true));
        Ok(())
    }
}

fn skipped_notice(n: usize, why: &str) -> String {
    format!("{n} series left out: {why}")
}

/// Reads the series of a file.
///
/// # Errors
/// A file that cannot be opened or understood, columns that are not there, and [`DataError::Problems`] with everything
/// that is wrong with the rows under the policies of `config`.
pub fn read_panel(config: &DataConfig) -> Result<Read, DataError> {
    loaded(load(config)?)
}

/// What was read, if nothing of it is an error.
pub(super) fn loaded(loaded: Loaded) -> Result<Read, DataError> {
    let Loaded { panel, notices, problems, place, rows, skipped } = loaded;
    match panel {
        Some(panel) if !problems.has_errors() => {
            let fingerprint = fingerprint(&panel);
            Ok(Read { panel, notices, fingerprint, rows, skipped })
        }
        _ => Err(place.problems(problems.errors_only())),
    }
}

/// What reading came to.
pub(super) struct Loaded {
    /// `None` where errors left nothing to make a panel of.
    pub panel: Option<Panel>,
    pub notices: Vec<String>,
    pub problems: Problems,
    pub place: Place,
    pub rows: Vec<SeriesRows>,
    pub skipped: Vec<Skipped>,
}

/// Walks the whole way and collects problems instead of stopping at the first.
pub(super) fn load(config: &DataConfig) -> Result<Loaded, DataError> {
    if config.path.as_os_str().is_empty() {
        return Err(InvalidSetting::new(
            "data.path",
            "``",
            "a file, or `-` for standard input",
            "name one with --data",
        )
        .into());
    }
    load_table(&mut Table::open(&config.path)?, config)
}

/// The same for a table that is open already.
pub(super) fn load_table(table: &mut Table, config: &DataConfig) -> Result<Loaded, DataError> {
    let roles = layout::resolve(table, config)?;
    let mut notices = std::mem::take(&mut table.notices);
    notices.extend(roles.notices);
    let mut wanted: Vec<(usize, As)> = roles.id.iter().map(|i| (*i, As::Key)).collect();
    wanted.push((roles.time, As::Time));
    let value_columns = [&roles.targets, &roles.hist_exog, &roles.futr_exog].into_iter().flatten();
    let names: Vec<String> = value_columns.clone().map(|i| table.heads[*i].name.clone()).collect();
    wanted.extend(value_columns.chain(&roles.stat_exog).map(|i| (*i, As::Number)));
    wanted.extend(roles.stat_cat.iter().map(|i| (*i, As::Text)));
    let read = table.read(&wanted)?;
    let place = table.place.clone();
    let mut problems = read.problems;
    if read.n_rows == 0 {
        return Ok(Loaded { panel: None, notices, problems, place, rows: Vec::new(), skipped: Vec::new() });
    }

    let mut cells = read.cells.into_iter();
    let keys = roles.id.and_then(|_| cells.next());
    let (time, clock) = Cells::next_times(&mut cells);
    let columns: Vec<Vec<f64>> = cells.by_ref().take(names.len()).map(Cells::into_numbers).collect();
    let static_names = roles.stat_exog.iter().chain(&roles.stat_cat).map(|i| table.heads[*i].name.clone());
    let static_columns = static_names.zip(cells).collect();
    let statics = match &config.static_file {
        Some(path) => Statics::read(config, path, &mut problems)?,
        None => Statics::gather(keys.as_ref(), static_columns, &read.places, &mut problems),
    };

    let n_targets = roles.targets.len();
    let mut frame = Frame::new(keys, time, clock, columns, names, n_targets, read.places, &mut notices, &mut problems);
    let in_file = frame.lengths();
    frame.resolve_duplicates(config.duplicates, &mut notices, &mut problems);
    let at_other_times = frame.lengths();
    let freq = match gaps::frequency(&frame, config.freq, &place) {
        Ok(freq) => freq,
        Err(error) if problems.has_errors() => {
            problems.push(Problem::new(ProblemKind::File, message_of(&error)));
            return Ok(Loaded { panel: None, notices, problems, place, rows: Vec::new(), skipped: Vec::new() });
        }
        Err(error) => return Err(error),
    };
    // Rows that could not be read leave holes that are not the calendar's.
    if !read.rows_left_out {
        gaps::resolve(&mut frame, freq, config.gaps, &mut notices, &mut problems);
    }
    let n_hist = roles.hist_exog.len();
    let on_calendar = frame.lengths();
    let policies = (config.missing, config.unusable);
    let (mut panel, done) = missing::into_panel(frame, freq, policies, n_hist, &mut notices, &mut problems);
    let mut rows: Vec<SeriesRows> = (0..panel.n_series())
        .map(|s| {
            // The columns of a wide file share the rows of one group.
            let g = if n_targets > 1 { 0 } else { s };
            let done = done.get(s).cloned().unwrap_or_default();
            SeriesRows {
                unique_id: panel.ids[s].clone(),
                in_file: in_file[g],
                repeated: in_file[g] - at_other_times[g],
                inserted: on_calendar[g] - at_other_times[g],
                left_out: (done.dropped + done.ends) as usize,
                filled: done.of_target as usize,
                masked: panel.series(s).iter().filter(|v| v.is_nan()).count(),
            }
        })
        .collect();
    let mut skipped = Vec::new();
    if config.unusable == Unusable::Skip {
        let keep: Vec<bool> = (0..panel.n_series()).map(|s| panel.series(s).iter().any(|v| v.is_finite())).collect();
        // Where nothing is left, an empty panel says less than the list of series without a value.
        if keep.contains(&true) && keep.contains(&false) {
            panel = panel.keep_series(&keep);
            let mut kept = keep.iter();
            let (good, bad): (Vec<_>, Vec<_>) = rows.into_iter().partition(|_| *kept.next().unwrap_or(&true));
            rows = good;
            let why = "there is not a single value";
            skipped = bad.into_iter().map(|rows| Skipped { rows, why: why.to_owned() }).collect();
            notices.push(skipped_notice(skipped.len(), "not a single value"));
        } else if !keep.contains(&true) {
            problems.push(Problem::new(ProblemKind::NoObservations, "no series has a value"));
        }
    }
    statics.add_to(&mut panel, &mut problems);
    problems.errors_first();
    Ok(Loaded { panel: Some(panel), notices, problems, place, rows, skipped })
}

/// An error's message without the file, for lists that name it already.
pub(super) fn message_of(error: &DataError) -> String {
    match error {
        DataError::Calendar { source, .. } => source.to_string(),
        DataError::Layout { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::{Duplicates, Gaps, Missing};
    use super::*;
    use crate::error::Advise;
    use std::path::PathBuf;

    fn config(dir: &tempfile::TempDir, text: &str) -> DataConfig {
        let path = dir.path().join("data.csv");
        std::fs::write(&path, text).unwrap();
        DataConfig { path, ..Default::default() }
    }

    fn read(text: &str, change: impl FnOnce(&mut DataConfig)) -> Result<Read, DataError> {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(&dir, text);
        change(&mut config);
        read_panel(&config)
    }

    #[test]
    fn a_long_file_becomes_a_panel() {
        let text = "unique_id,ds,y,promo,area\nB,2020-01-01,1,0,7\nB,2020-01-02,2,1,7\nA,2020-01-01,3,0,9\nA,2020-01-02,4,0,9\nA,2020-01-03,5,1,9\n";
        let r = read(text, |c| {
            c.futr_exog = vec!["promo".into()];
            c.stat_exog = vec!["area".into()];
        })
        .unwrap();
        let p = &r.panel;
        assert_eq!(
            (p.ids.join(","), p.offsets.clone(), p.y.clone()),
            ("B,A".into(), vec![0, 2, 5], vec![1., 2., 3., 4., 5.])
        );
        assert_eq!(
            (p.target.as_str(), p.freq.to_string().as_str(), p.clock.format(p.time[4])),
            ("y", "D", "2020-01-03".into())
        );
        assert_eq!(
            (p.futr_exog[0].values.clone(), p.stat_exog[0].values.clone()),
            (vec![0., 1., 0., 0., 1.], vec![7., 9.])
        );
        assert!(r.notices.is_empty());
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let text = "unique_id,ds,y\nA,1,1\nA,1,2\nA,2,\nA,5,inf\nB,1,7\nB,x,8\nB,3,z\n";
        let error = read(text, |_| {}).unwrap_err();
        let DataError::Problems { problems, path } = &error else { panic!("{error}") };
        assert!(path.ends_with("data.csv"));
        let shown: Vec<String> = problems.list.iter().map(|p| p.to_string()).collect();
        let expected = [
            "line 7, column `ds`: `x` is not a time",
            "line 8, column `y`: `z` is not a number",
            "line 5, column `y`: inf is not a finite number",
            "line 2, series `A`, 1: 2 rows have this time (again in line 3)",
            "line 4, series `A`, 2, column `y`: the value is missing",
        ];
        assert_eq!(shown.len(), expected.len(), "{shown:#?}");
        for (shown, expected) in shown.iter().zip(expected) {
            assert!(shown.starts_with(expected), "{shown} / {expected}");
        }
        assert_eq!(error.kind(), "unparsable-time");
        assert!(error.hint().unwrap().contains("--duplicates"));
    }

    #[test]
    fn many_problems_are_cut_and_counted() {
        let rows: String = (0..100).map(|i| format!("{i},x\n")).collect();
        let error = read(&format!("ds,y\n{rows}"), |c| c.target = Some("y".into())).unwrap_err();
        assert!(error.to_string().contains("holds text, expected numbers"), "{error}");
        let rows: String = (0..100).map(|i| if i % 2 == 0 { format!("{i},1\n") } else { format!("{i},\n") }).collect();
        let error = read(&format!("ds,y\n{rows}"), |_| {}).unwrap_err().to_string();
        assert!(error.contains(": 50 problems\n") && error.ends_with("\n  and 30 more"), "{error}");
        assert_eq!(error.lines().count(), 22);
    }

    #[test]
    fn policies_are_applied_on_the_way() {
        let text = "ds,y\n2020-01-01,1\n2020-01-01,3\n2020-01-02,\n2020-01-03,4\n2020-01-05,8\n2020-01-06,9\n";
        let r = read(text, |c| {
            c.duplicates = Duplicates::Mean;
            c.missing = Missing::Interpolate;
            c.gaps = Gaps::Fill;
        })
        .unwrap();
        assert_eq!(r.panel.y, [2., 3., 4., 6., 8., 9.]);
        assert_eq!(r.notices.len(), 3, "{:?}", r.notices);
        let kept = read(text, |c| {
            c.duplicates = Duplicates::Keep;
            c.missing = Missing::Mask;
            c.gaps = Gaps::Observed;
        })
        .unwrap();
        assert_eq!((kept.panel.n_rows(), kept.panel.y[1]), (6, 3.0));
        assert_ne!(kept.fingerprint, r.fingerprint);
    }

    #[test]
    fn wide_columns_share_times_and_covariates() {
        let text = "date,A,B,rain\n2020-01-01,1,4,0\n2020-01-02,2,5,1\n2020-01-03,3,6,0\n";
        let r = read(text, |c| {
            c.targets = Some("A,B".parse().unwrap());
            c.hist_exog = vec!["rain".into()];
        })
        .unwrap();
        assert_eq!(
            (r.panel.ids.join(","), r.panel.y.clone(), r.panel.target.as_str()),
            ("A,B".into(), vec![1., 2., 3., 4., 5., 6.], "value")
        );
        assert_eq!(r.panel.hist_exog[0].values, [0., 1., 0., 0., 1., 0.]);
        let one = read(text, |c| c.target = Some("B".into())).unwrap();
        assert_eq!((one.panel.ids.join(","), one.panel.target.as_str()), ("B".into(), "B"));
    }

    #[test]
    fn static_columns_come_from_the_file_or_from_a_table_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let text = "unique_id,ds,y,area\nA,1,1,7\nA,2,2,8\nB,1,3,9\nB,2,4,9\n";
        let mut c = config(&dir, text);
        c.stat_exog = vec!["area".into()];
        let error = read_panel(&c).unwrap_err().to_string();
        assert!(error.contains("line 3, series `A`, column `area`: a static column changes from 7 to 8"), "{error}");

        let table: PathBuf = dir.path().join("static.csv");
        std::fs::write(&table, "unique_id,area,name\nB,9,x\n").unwrap();
        c.static_file = Some(table.clone());
        let error = read_panel(&c).unwrap_err().to_string();
        assert!(error.contains("series `A`, column `area`: the static table has no row for it"), "{error}");
        std::fs::write(&table, "unique_id,area,name\nB,9,x\nA,5,y\n").unwrap();
        assert_eq!(read_panel(&c).unwrap().panel.stat_exog[0].values, [5., 9.]);
        c.stat_exog = Vec::new();
        assert_eq!(read_panel(&c).unwrap().panel.stat_exog.len(), 1, "all its numeric columns");
        c.stat_exog = vec!["name".into()];
        assert!(read_panel(&c).unwrap_err().to_string().contains("column `name` holds text"));
        std::fs::write(&table, "unique_id,area\nB,9\nA,5\nA,6\n").unwrap();
        c.stat_exog = Vec::new();
        let error = read_panel(&c).unwrap_err().to_string();
        assert!(error.contains("static.csv: line 4, series `A`, column `area`: a static column changes"), "{error}");
    }

    #[test]
    fn what_became_of_the_rows_of_each_series_is_told() {
        let text = "unique_id,ds,y\nA,1,1\nA,1,2\nA,2,\nA,4,5\nB,1,1\nB,2,\nB,3,4\nC,1,\nC,2,\n";
        let settings = |c: &mut DataConfig| {
            c.duplicates = Duplicates::First;
            c.gaps = Gaps::Mask;
            c.missing = Missing::Mask;
        };
        let error = read(text, settings).unwrap_err().to_string();
        assert!(error.contains("series `C`") && error.contains("not a single value"), "{error}");
        let r = read(text, |c| {
            settings(c);
            c.unusable = Unusable::Skip;
        })
        .unwrap();
        let a =
            SeriesRows { unique_id: "A".into(), in_file: 4, repeated: 1, inserted: 1, masked: 2, ..Default::default() };
        let b = SeriesRows { unique_id: "B".into(), in_file: 3, masked: 1, ..Default::default() };
        assert_eq!((r.rows.clone(), r.panel.ids.join(",")), (vec![a, b], "A,B".into()));
        assert_eq!((r.skipped.len(), r.skipped[0].rows.unique_id.as_str()), (1, "C"));
        assert!(r.notices.iter().any(|n| n == "1 series left out: not a single value"), "{:?}", r.notices);
        let r = read(text, |c| {
            settings(c);
            c.missing = Missing::Interpolate;
            c.unusable = Unusable::Skip;
        })
        .unwrap();
        assert_eq!((r.rows[1].filled, r.rows[1].masked, r.rows[1].left_out), (1, 0, 0));
        let nothing = read("ds,y\n1,\n2,\n", |c| {
            settings(c);
            c.unusable = Unusable::Skip;
        });
        assert!(nothing.unwrap_err().to_string().contains("no series has a value"));
    }

    #[test]
    fn series_too_short_for_a_split_can_be_left_out() {
        let text = "unique_id,ds,y,z\nA,1,1,0\nA,2,2,0\nB,1,1,1\nB,2,2,1\nB,3,4,1\nC,1,9,2\nC,2,8,2\nC,3,7,2\n";
        let mut r = read(text, |c| c.stat_exog = vec!["z".into()]).unwrap();
        r.skip_short(&"*/1/1".parse().unwrap()).unwrap();
        assert_eq!((r.panel.ids.join(","), r.panel.offsets.clone()), ("B,C".into(), vec![0, 3, 6]));
        assert_eq!(
            (r.panel.y.clone(), r.panel.stat_exog[0].values.clone()),
            (vec![1., 2., 4., 9., 8., 7.], vec![1., 2.])
        );
        assert_eq!((r.rows.len(), r.rows[0].unique_id.as_str(), r.skipped[0].rows.unique_id.as_str()), (2, "B", "A"));
        assert!(r.notices.iter().any(|n| n.contains("too short for the split")), "{:?}", r.notices);
        let all = r.skip_short(&"*/2/2".parse().unwrap()).unwrap_err().to_string();
        assert!(all.contains("`B`"), "{all}");
    }

    #[test]
    fn files_without_rows_and_settings_without_a_file_are_refused() {
        assert!(matches!(read("ds,y\n", |_| {}).unwrap_err(), DataError::NoRows { .. }));
        assert!(matches!(read("", |_| {}).unwrap_err(), DataError::Empty { .. }));
        assert!(matches!(read_panel(&DataConfig::default()).unwrap_err(), DataError::Setting(_)));
        let error = read("ds,y\n2020-01-01,1\n", |_| {}).unwrap_err();
        assert_eq!(error.kind(), "no-steps");
        assert!(read("ds,y\n2020-01-01,1\n", |c| c.freq = Some("D".parse().unwrap())).is_ok());
        let all_bad = read("ds,y\n2020-01-0x,1\n", |c| c.time_col = Some("ds".into())).unwrap_err();
        assert!(all_bad.to_string().contains("line 2, column `ds`"), "{all_bad}");
    }

    #[test]
    fn gzip_reads_as_the_plain_file_does() {
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        let mut c = config(&dir, "ds,y\n1,5\n2,6\n");
        let plain = read_panel(&c).unwrap();
        let path = dir.path().join("zipped");
        let mut gz = flate2::write::GzEncoder::new(std::fs::File::create(&path).unwrap(), flate2::Compression::fast());
        gz.write_all(b"ds;y\n1;5\n2;6\n").unwrap();
        gz.finish().unwrap();
        c.path = path;
        assert_eq!(read_panel(&c).unwrap().fingerprint, plain.fingerprint);
    }
}
