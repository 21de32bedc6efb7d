//! Arithmetic on slices in host memory: what CPU backends compute where tensors would only copy. No tensors, no model.
//!
//! | file | what |
//! |---|---|
//! | `matrix` | matrices in slices |
//! | `product` | their products in f32 |
//! | `sparse` | the same without the zeros of one side |
//! | `int8` | products of 8-bit integers with exact sums, by the best instructions that the processor has |
//! | `int8_scales` | from floats to 8-bit integers and back: scales, zero points, rounding |
//! | `int8_dense` | a layer of a network in 8-bit integers |

mod int8;
mod int8_dense;
mod int8_scales;
mod matrix;
mod product;
mod row;
mod sparse;

pub use int8::Instructions;
pub(crate) use int8_dense::Int8Scratch;
pub use int8_dense::{Int8Dense, RowScale};
pub use int8_scales::{Int8Input, Int8Matrix, Int8Scheme};
pub(crate) use int8_scales::{LEAST_SCALE, STEPS, SYMMETRIC};
pub use matrix::{Matrix, MatrixMut, Then, Zeros};
pub use product::{product, product_then, relu, relu_slopes};
pub use row::add_row_product;
pub use sparse::Panels;
