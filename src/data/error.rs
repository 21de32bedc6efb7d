//! What can go wrong on the way from a file to a panel.

use crate::calendar::CalendarError;
use crate::error::{Advise, InvalidSetting, listed};

use super::problems::Problems;
use super::split::SplitError;
use super::synthetic::SyntheticError;

/// An error of the data room. Messages name the file; what is wrong inside a file is listed in [`Problems`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// There is no such file.
    #[error("{path}: there is no such file{}", near(.nearest))]
    Absent {
        /// The file as it was named.
        path: String,
        /// A file of nearly that name in the same folder.
        nearest: Option<String>,
    },
    /// A pattern that names no file.
    #[error("{pattern}: no file matches")]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// The path is a folder.
    #[error("{path}: is a folder, expected a csv, csv.gz, parquet or tsf file")]
    Folder {
        /// The path as it was named.
        path: String,
    },
    /// The file system refused to read it.
    #[error("{path}: cannot be read: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// None of the formats that can be read.
    #[error("{path}: is {found}, expected csv, csv.gz, parquet or tsf")]
    UnknownFormat {
        /// The file.
        path: String,
        /// What its first bytes look like.
        found: String,
    },
    /// The file ends before its content does, or a part of it is damaged.
    #[error("{path}: is truncated or damaged: {detail}")]
    Damaged {
        /// The file.
        path: String,
        /// What the reader of the format says.
        detail: String,
    },
    /// Text that is not UTF-8.
    #[error("{path}: line {line}: is not UTF-8 text ({detail})")]
    NotUtf8 {
        /// The file.
        path: String,
        /// The first line with such bytes, counted from 1.
        line: u64,
        /// The bytes, or the encoding they look like.
        detail: String,
    },
    /// The file has no content.
    #[error("{path}: is empty")]
    Empty {
        /// The file.
        path: String,
    },
    /// The first line is data, not names.
    #[error("{path}: line 1: a header with the names of the columns is expected, but it reads like data: {line}")]
    NoHeader {
        /// The file.
        path: String,
        /// The beginning of the line.
        line: String,
    },
    /// A header and nothing below it.
    #[error("{path}: has column names but no rows")]
    NoRows {
        /// The file.
        path: String,
    },
    /// Two columns have the same name.
    #[error("{path}: more than one column is named {}", listed(.names, 8))]
    DuplicateColumns {
        /// The file.
        path: String,
        /// The names that occur more than once.
        names: Vec<String>,
    },
    /// A column of a type that cannot serve as what it is wanted for.
    #[error("{path}: column `{column}` holds {found}, expected {expected}")]
    ColumnType {
        /// The file.
        path: String,
        /// The column.
        column: String,
        /// What it holds.
        found: String,
        /// What was expected of it.
        expected: String,
    },
    /// Which column is what is not clear.
    #[error("{path}: {message}")]
    Layout {
        /// The file.
        path: String,
        /// What is unclear, with the columns in question.
        message: String,
        /// The flag that decides it.
        hint: String,
    },
    /// The calendar refuses the stamps or the frequency.
    #[error("{path}: {source}")]
    Calendar {
        /// The file.
        path: String,
        /// What the calendar says.
        source: CalendarError,
    },
    /// Things wrong inside the file, all of them at once.
    #[error("{path}: {problems}")]
    Problems {
        /// The file.
        path: String,
        /// What is wrong.
        problems: Box<Problems>,
    },
    /// A setting that is not allowed.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// A split that is none or does not fit a series.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// Synthetic series that cannot be made.
    #[error(transparent)]
    Synthetic(#[from] SyntheticError),
}

fn near(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default()
}

impl Advise for DataError {
    fn kind(&self) -> &'static str {
        match self {
            DataError::Absent { .. } | DataError::NoMatch { .. } => "file-absent",
            DataError::Folder { .. } => "file-is-folder",
            DataError::Io { .. } => "file-unreadable",
            DataError::UnknownFormat { .. } => "unknown-format",
            DataError::Damaged { .. } => "file-damaged",
            DataError::NotUtf8 { .. } => "not-utf8",
            DataError::Empty { .. } => "file-empty",
            DataError::NoHeader { .. } => "no-header",
            DataError::NoRows { .. } => "no-rows",
            DataError::DuplicateColumns { .. } => "duplicate-columns",
            DataError::ColumnType { .. } => "column-type",
            DataError::Layout { .. } => "unclear-layout",
            DataError::Calendar { source, .. } => source.kind(),
            DataError::Problems { problems, .. } => problems.first_error_kind(),
            DataError::Setting(e) => e.kind(),
            DataError::Split(e) => e.kind(),
            DataError::Synthetic(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            DataError::Absent { .. } | DataError::NoMatch { .. } | DataError::Io { .. } => None,
            DataError::Folder { path } => {
                let folder = path.trim_end_matches('/');
                Some(format!("a pattern in quotes reads all of its files: '{folder}/*.csv'"))
            }
            DataError::UnknownFormat { .. } => Some("export it as csv or parquet".to_owned()),
            DataError::Damaged { .. } => Some("copy or export the file again".to_owned()),
            DataError::NotUtf8 { .. } => {
                Some("convert it, e.g. `iconv -f LATIN1 -t UTF-8 in.csv > out.csv`".to_owned())
            }
            DataError::Empty { .. } | DataError::NoRows { .. } => None,
            DataError::NoHeader { .. } => Some("add a first line such as `ds,y`".to_owned()),
            DataError::DuplicateColumns { .. } => Some("rename one of them".to_owned()),
            DataError::ColumnType { .. } => None,
            DataError::Layout { hint, .. } => Some(hint.clone()),
            DataError::Calendar { source, .. } => source.hint(),
            DataError::Problems { problems, .. } => problems.hint(),
            DataError::Setting(e) => e.hint(),
            DataError::Split(e) => e.hint(),
            DataError::Synthetic(e) => e.hint(),
        }
    }
}

/// Makes the errors of one file, so that each of them names it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The file as messages name it (`stdin` for `-`).
    pub path: String,
}

impl Place {
    pub(super) fn new(path: &std::path::Path) -> Self {
        let path = if path.as_os_str() == "-" { "stdin".to_owned() } else { path.display().to_string() };
        Self { path }
    }

    pub(super) fn damaged(&self, detail: impl ToString) -> DataError {
        DataError::Damaged { path: self.path.clone(), detail: detail.to_string() }
    }

    pub(super) fn layout(&self, message: impl Into<String>, hint: impl Into<String>) -> DataError {
        DataError::Layout { path: self.path.clone(), message: message.into(), hint: hint.into() }
    }

    pub(super) fn calendar(&self, source: CalendarError) -> DataError {
        DataError::Calendar { path: self.path.clone(), source }
    }

    pub(super) fn problems(&self, problems: Problems) -> DataError {
        DataError::Problems { path: self.path.clone(), problems: Box::new(problems) }
    }

    pub(super) fn column_type(&self, column: &str, found: &str, expected: &str) -> DataError {
        DataError::ColumnType {
            path: self.path.clone(),
            column: column.to_owned(),
            found: found.to_owned(),
            expected: expected.to_owned(),
        }
    }
}
