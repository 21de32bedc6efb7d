//! Windows over a panel: which there are, which a step sees, and how they are gathered and scaled into tensors.
//!
//! A window is a series and an origin: its inputs are the `input_size` rows before the origin, its targets the `horizon`
//! rows from the origin on. [`WindowIndex`] lists the windows of a panel without storing them, [`Sampler`] says which of
//! them belong to a step, [`WindowBatcher`] reads exactly those from the panel, and [`WindowLoader`] does it one batch
//! ahead of its user. Nothing here copies the panel or grows with the number of windows; where the target is transformed,
//! [`Target`] holds that one column once.
//!
//! No input ever comes from a row at or after the origin, and nothing at all from a row at or after the end of the
//! range (train, validation, test) that the windows belong to.

mod batch;
mod columns;
mod error;
mod gather;
mod host_batch;
mod index;
mod loader;
mod sampler;
mod scaler;
mod shape;
mod target;

pub use batch::{HostSide, WindowBatch};
pub use columns::ColumnScalers;
pub use error::WindowError;
pub use gather::WindowBatcher;
pub use host_batch::HostBatch;
pub use index::WindowIndex;
pub use loader::{Batches, Position, WindowLoader};
pub use sampler::{Sampler, Sampling};
pub use scaler::{Padding, WindowScaler, WindowStatistics};
pub use shape::{Start, Window, WindowRules, WindowShape};
pub use target::Target;
