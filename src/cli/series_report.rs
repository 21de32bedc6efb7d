//! `--series-report`: a line per series, what of it was used, padded or skipped, and why.

use std::path::Path;

use serde::Serialize;

use super::error::CliError;
use super::output::check_file;
use crate::atomic_file::write_atomic;
use crate::data::{SeriesRows, Skipped};
use crate::train::{SeriesUse, Use, UseCounts};

/// What reading and training made of the series.
pub(super) struct SeriesReport {
    /// Of each series of the panel.
    pub rows: Vec<SeriesRows>,
    pub used: Vec<SeriesUse>,
    /// The series that are not in the panel.
    pub skipped: Vec<Skipped>,
}

/// A line of the report.
#[derive(Debug, Serialize)]
struct Line<'a> {
    unique_id: &'a str,
    used: &'static str,
    why: &'a str,
    first: &'a str,
    last: &'a str,
    rows_in_file: usize,
    repeated: usize,
    inserted: usize,
    left_out: usize,
    filled: usize,
    masked: usize,
    train_rows: usize,
    val_rows: usize,
    test_rows: usize,
    train_windows: usize,
    padded_windows: usize,
    val_windows: usize,
}

impl SeriesReport {
    /// Refuses a name whose ending is neither csv nor json, before any work is done.
    pub fn check_name(path: &Path) -> Result<(), CliError> {
        check_file(path)?;
        match path.extension().and_then(|e| e.to_str()) {
            Some("csv" | "json") => Ok(()),
            _ => Err(CliError::input("unknown-format", format!("cannot tell the format of {}", path.display()))
                .hint("give --series-report a name that ends in .csv or .json")),
        }
    }

    /// How many series are used in which way, those that were left out among the skipped.
    pub fn counts(&self) -> UseCounts {
        let counts = UseCounts::of(&self.used);
        UseCounts { skipped: counts.skipped + self.skipped.len(), ..counts }
    }

    /// The counts in words, where there is something to say.
    pub fn summary(&self) -> String {
        let UseCounts { used, padded, skipped } = self.counts();
        if padded + skipped == 0 {
            return String::new();
        }
        let examples = self.lines().into_iter().filter(|l| l.used == word(Use::Skipped)).take(3);
        let examples: Vec<String> =
            examples.map(|l| format!("\n            skipped `{}`: {}", l.unique_id, l.why)).collect();
        format!(
            "\n          {used} series used, {padded} of them padded at the beginning, {skipped} skipped{}",
            examples.concat()
        )
    }

    fn lines(&self) -> Vec<Line<'_>> {
        let empty = SeriesRows::default();
        // A panel that was not read from a file has no rows in one.
        let line = |used: &'static str, why, rows: &SeriesRows| Line {
            unique_id: "",
            used,
            why,
            first: "",
            last: "",
            rows_in_file: rows.in_file,
            repeated: rows.repeated,
            inserted: rows.inserted,
            left_out: rows.left_out,
            filled: rows.filled,
            masked: rows.masked,
            train_rows: 0,
            val_rows: 0,
            test_rows: 0,
            train_windows: 0,
            padded_windows: 0,
            val_windows: 0,
        };
        let used = self.used.iter().enumerate().map(|(s, u)| Line {
            unique_id: &u.unique_id,
            first: &u.first,
            last: &u.last,
            train_rows: u.train_rows,
            val_rows: u.val_rows,
            test_rows: u.test_rows,
            train_windows: u.train_windows,
            padded_windows: u.padded_windows,
            val_windows: u.val_windows,
            ..line(word(u.used), &u.why, self.rows.get(s).unwrap_or(&empty))
        });
        let skipped = self.skipped.iter();
        let skipped =
            skipped.map(|s| Line { unique_id: &s.rows.unique_id, ..line(word(Use::Skipped), &s.why, &s.rows) });
        used.chain(skipped).collect()
    }

    /// Writes the lines as csv or as a JSON list.
    pub fn save(&self, path: &Path) -> Result<(), CliError> {
        let lines = self.lines();
        let as_json = path.extension().is_some_and(|e| e == "json");
        write_atomic(path, |out| {
            if as_json {
                serde_json::to_writer(&mut *out, &lines)?;
                return out.write_all(b"\n");
            }
            let mut writer = csv::Writer::from_writer(out);
            lines.iter().try_for_each(|line| writer.serialize(line))?;
            writer.flush()
        })
        .map_err(|e| CliError::program("write", format!("cannot write {e}")).hint("check the folder and its rights"))
    }
}

fn word(used: Use) -> &'static str {
    match used {
        Use::Whole => "whole",
        Use::Padded => "padded",
        Use::Skipped => "skipped",
    }
}
