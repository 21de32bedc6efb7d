//! From a file to a [`Panel`]: readers, layouts, cleaning, splits and synthetic series; no tensors.
//!
//! A file goes one way through the room:
//!
//! ```text
//! source (what is it?) -> csv | parquet | tsf | many files -> Table (columns as the file has them)
//!   -> layout (which column is what) -> frame (rows by series and time) -> gaps -> missing -> Panel
//! ```
//!
//! [`read_panel`] walks that way and fails with everything that is wrong at once; [`check`] lists the same problems and
//! what merely looks odd; [`inspect`] tells what is in a file without asking it to be right.

mod category;
mod check;
mod config;
mod csv;
mod error;
mod files;
mod fingerprint;
mod frame;
mod future;
mod gaps;
mod inspect;
mod layout;
mod missing;
mod number;
mod panel;
mod parquet;
#[cfg(feature = "polars")]
mod polars_frame;
mod portrait;
mod problems;
mod read;
mod seasonality;
mod source;
mod split;
mod statics;
mod synthetic;
mod table;
mod trading;
mod tsf;
mod typed;

#[cfg(test)]
mod real_data;

pub use category::StaticCategory;
pub use check::check;
pub use config::{DataConfig, Duplicates, Gaps, Missing, Targets, Unusable};
pub use error::DataError;
pub use fingerprint::fingerprint;
pub use future::{FutureRows, read_future};
pub use inspect::{ColumnReport, Inspection, SeriesReport, inspect};
pub use panel::{Column, Panel, StaticColumn};
#[cfg(feature = "polars")]
pub use polars_frame::read_frame;
pub use portrait::{Portrait, Stretch, Suggested};
pub use problems::{Problem, ProblemKind, Problems, Severity};
pub use read::{Read, SeriesRows, Skipped, read_panel};
pub use seasonality::Season;
pub use source::Format;
pub use split::{SeriesSplit, SplitError, SplitSpec};
pub use synthetic::*;
pub use table::ColumnKind;
