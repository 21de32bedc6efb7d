//! Arithmetic on slices in host memory: what CPU backends compute where tensors would only copy. No tensors, no model.

mod product;
mod row;

pub use product::{Matrix, MatrixMut, product};
pub use row::add_row_product;
