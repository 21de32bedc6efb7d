//! Arithmetic on host slices: what a forecast on a processor comes down to, without tensors.
//!
//! | file | what |
//! |---|---|
//! | `int8` | products of 8-bit integers with exact sums, by the best instructions that the processor has |
//! | `int8_scales` | from floats to 8-bit integers and back: scales, zero points, rounding |
//! | `int8_dense` | a layer of a network in 8-bit integers |

mod int8;
mod int8_dense;
mod int8_scales;

pub use int8::{Instructions, MOST_TERMS, product};
pub(crate) use int8_dense::Int8Scratch;
pub use int8_dense::{Int8Dense, RowScale};
pub use int8_scales::{Int8Input, Int8Matrix, Int8Scheme};
pub(crate) use int8_scales::{LEAST_SCALE, STEPS, SYMMETRIC};
