//! What training makes of each series: its rows by part, its windows, and why there are none or some are padded.

use serde::Serialize;

use super::job::{Plan, TrainJob};

/// How far a series is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Use {
    /// All of its training windows lie within it.
    Whole,
    /// Some of its training windows begin before its first row; zeros with a mask stand there.
    Padded,
    /// It has no training window.
    Skipped,
}

/// What training makes of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeriesUse {
    /// The series.
    pub unique_id: String,
    /// How far it is trained on.
    pub used: Use,
    /// Why it is padded or skipped, or not validated on; empty where there is nothing to say.
    pub why: String,
    /// The first row's time; empty where there is none.
    pub first: String,
    /// The last row's time.
    pub last: String,
    /// Training rows.
    pub train_rows: usize,
    /// Validation rows.
    pub val_rows: usize,
    /// Test rows.
    pub test_rows: usize,
    /// Windows to train on.
    pub train_windows: usize,
    /// Of them, those whose input begins before the first row.
    pub padded_windows: usize,
    /// Windows to validate on.
    pub val_windows: usize,
}

/// How many series are used in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct UseCounts {
    /// Wholly or with padding.
    pub used: usize,
    /// Of these, with padding.
    pub padded: usize,
    /// Not at all.
    pub skipped: usize,
}

impl Plan {
    /// What the plan makes of each series of `job`, which it is the plan of.
    pub fn series(&self, job: &TrainJob) -> Vec<SeriesUse> {
        let (train, val) = (self.index.by_series(), self.val_index.by_series());
        let (input_size, horizon) = (job.network.input_size, job.network.horizon);
        (0..job.panel.n_series())
            .map(|s| {
                let (split, times) = (&job.splits[s], job.panel.times(s));
                let (train_windows, padded_windows) = train[s];
                let rows = split.train.len();
                let mut why = Vec::new();
                let used = match (train_windows, padded_windows) {
                    (0, _) => {
                        let y = &self.target.y(&job.panel)[job.panel.rows(s)][split.train.clone()];
                        let seen = y.iter().filter(|v| v.is_finite()).count();
                        why.push(if rows < 2 {
                            format!("{rows} training rows: a window needs one to look at and one to forecast")
                        } else {
                            format!(
                                "no window of its {rows} training rows has enough observed values ({seen} are there)"
                            )
                        });
                        Use::Skipped
                    }
                    (_, 0) => Use::Whole,
                    (all, padded) => {
                        why.push(format!(
                            "{padded} of {all} windows begin before its first row: {rows} training rows, input_size + \
                             horizon is {}",
                            input_size + horizon
                        ));
                        Use::Padded
                    }
                };
                if val[s].0 == 0 && !split.val.is_empty() && self.val_windows > 0 {
                    why.push(match split.val.len() < horizon {
                        true => format!("not validated on: {} rows, fewer than the horizon", split.val.len()),
                        false => "not validated on: no window of its rows is taken".to_owned(),
                    });
                }
                let stamp = |t: Option<&i64>| t.map(|t| job.panel.clock.format(*t)).unwrap_or_default();
                SeriesUse {
                    unique_id: job.panel.ids[s].clone(),
                    used,
                    why: why.join("; "),
                    first: stamp(times.first()),
                    last: stamp(times.last()),
                    train_rows: rows,
                    val_rows: split.val.len(),
                    test_rows: split.test.len(),
                    train_windows,
                    padded_windows,
                    val_windows: val[s].0,
                }
            })
            .collect()
    }
}

impl UseCounts {
    /// Counts.
    pub fn of(series: &[SeriesUse]) -> Self {
        let count = |used| series.iter().filter(|s| s.used == used).count();
        let (padded, skipped) = (count(Use::Padded), count(Use::Skipped));
        Self { used: series.len() - skipped, padded, skipped }
    }
}
