//! `JsonLog` and `CsvLog`: a line per epoch in a file, as it happens.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::atomic_file::write_atomic;
use crate::bundle::EpochRecord;

use super::super::callback::{Callback, EpochEvent, Next, RunStart};

/// A text file that is begun anew with the epochs that are known already, and grows by a line per epoch.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    /// `None` before the run, and after a write failed: the log ends there, the run goes on.
    file: Option<File>,
}

impl Lines {
    pub fn new(path: &Path) -> Self {
        Self { path: path.into(), file: None }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn begin(&mut self, text: &str) {
        let opened = write_atomic(&self.path, |w| w.write_all(text.as_bytes()))
            .and_then(|()| OpenOptions::new().append(true).open(&self.path));
        self.file = self.checked(opened);
    }

    pub fn add(&mut self, line: &str) {
        let Some(file) = &mut self.file else { return };
        // One write per line: a crash between two lines leaves whole lines.
        let written = file.write_all(format!("{line}\n").as_bytes());
        if self.checked(written).is_none() {
            self.file = None;
        }
    }

    fn checked<T>(&self, result: io::Result<T>) -> Option<T> {
        result.inspect_err(|e| tracing::warn!("cannot write the log {}: {e}; it ends here", self.path.display())).ok()
    }
}

/// One JSON object per epoch: the fields of [`EpochRecord`].
#[derive(Debug)]
pub struct JsonLog(Lines);

impl JsonLog {
    /// A log in the file `path`.
    pub fn new(path: &Path) -> Self {
        Self(Lines::new(path))
    }
}

impl Callback for JsonLog {
    fn on_train_start(&mut self, run: &RunStart<'_>) {
        let known: String = run.history.iter().filter_map(|r| Some(serde_json::to_string(r).ok()? + "\n")).collect();
        self.0.begin(&known);
    }

    fn on_epoch(&mut self, event: &EpochEvent<'_>) -> Next {
        if let Ok(line) = serde_json::to_string(event.record) {
            self.0.add(&line);
        }
        Next::Go
    }
}

/// One line of comma-separated values per epoch, with a header; empty where an epoch was not validated.
#[derive(Debug)]
pub struct CsvLog(Lines);

impl CsvLog {
    /// A log in the file `path`.
    pub fn new(path: &Path) -> Self {
        Self(Lines::new(path))
    }

    fn line(r: &EpochRecord) -> String {
        let shown = |v: Option<f64>| v.map(|v| v.to_string()).unwrap_or_default();
        format!(
            "{},{},{},{},{},{},{},{},{},{:.3},{:.1}",
            r.epoch,
            r.step,
            r.train_loss,
            r.train_mae,
            r.train_rmse,
            shown(r.val_loss),
            shown(r.val_mae),
            shown(r.val_rmse),
            r.lr,
            r.seconds,
            r.windows_per_s
        )
    }
}

impl Callback for CsvLog {
    fn on_train_start(&mut self, run: &RunStart<'_>) {
        let header = "epoch,step,train_loss,train_mae,train_rmse,val_loss,val_mae,val_rmse,lr,seconds,windows_per_s\n";
        let known: String = run.history.iter().map(|r| Self::line(r) + "\n").collect();
        self.0.begin(&(header.to_string() + &known));
    }

    fn on_epoch(&mut self, event: &EpochEvent<'_>) -> Next {
        self.0.add(&Self::line(event.record));
        Next::Go
    }
}
