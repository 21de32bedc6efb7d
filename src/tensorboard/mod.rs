//! Pictures of a run.

mod picture;

pub use picture::{Colour, Picture};
