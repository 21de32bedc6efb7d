//! Event files that TensorBoard reads, written by hand: a record format of four fields and a handful of messages.
//!
//! ```text
//! EventWriter -> event (protobuf message) -> record (length, checksums) -> events.out.tfevents.<when>.<host>.<pid>.<n>
//! ```
//!
//! | [`EventWriter`] | TensorBoard's page | stored as |
//! |---|---|---|
//! | [`scalar`](EventWriter::scalar) | Time Series, Scalars | `simple_value`, f32 |
//! | [`histogram`](EventWriter::histogram) | Histograms, Distributions | `histo`, TensorFlow's buckets that grow by 10 % |
//! | [`image`](EventWriter::image) | Images | `image`, a PNG |
//! | [`text`](EventWriter::text) | Text, as Markdown | a string tensor of the text plugin |
//!
//! A folder is one run. The file is a log that only grows, so it needs no rename at its end: each record carries its
//! length and two checksums, a crash can tear the last one only, and readers stop in front of a torn record and keep
//! everything before it. A resumed run opens a file of its own beside the old one, so nothing ever follows a torn record.
//!
//! ```
//! use nhits::tensorboard::{EventWriter, Picture};
//!
//! let runs = tempfile::tempdir()?;
//! let mut events = EventWriter::create(&runs.path().join("first"))?;
//! events.scalar("loss/train", 10, 0.25)?;
//! events.image("forecast", 10, &Picture::forecast(&[1.0, 2.0, 3.0], &[4.0, 5.0], &[3.5, 5.5]))?;
//! events.flush()?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod event;
mod histogram;
mod picture;
mod protobuf;
mod record;
mod writer;

pub use picture::{Colour, Picture};
pub use writer::EventWriter;

#[cfg(test)]
mod reading;
