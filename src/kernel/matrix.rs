//! Matrices in slices.

use super::sparse::Panels;

/// Where the zeros of a matrix are, if there are so many that it is worth looking for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Zeros {
    /// Too few, or nowhere in particular.
    #[default]
    Few,
    /// In the same places of rows that are alike, as after a `relu`.
    Alike,
    /// At random as well, as after dropout.
    Scattered,
}

impl Zeros {
    /// These, or few of them where they are not to be looked for.
    pub fn when(self, wanted: bool) -> Self {
        if wanted { self } else { Self::Few }
    }

    /// Whether it is worth looking for them.
    pub fn are_many(self) -> bool {
        self != Self::Few
    }
}

/// A matrix in a slice: `rows` by `columns`, any step from one row or column to the next.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    pub(super) values: &'a [f32],
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// From one row to the next.
    pub(super) row_step: usize,
    /// From one column to the next.
    pub(super) column_step: usize,
    pub(super) zeros: Zeros,
    /// The same values laid out for products without zeros.
    pub(super) panels: Option<&'a Panels>,
}

/// A matrix in a slice that is written, with such steps.
#[derive(Debug)]
pub struct MatrixMut<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) row_step: usize,
    pub(super) column_step: usize,
}

/// What becomes of the sums of a product on their way into the result.
#[derive(Debug, Clone, Copy)]
pub enum Then<'a> {
    /// They take the place of what is there.
    Write,
    /// They are added to it.
    Add,
    /// They take its place, with a value added for each column, as a layer's bias is.
    Bias(&'a [f32]),
    /// The same, and what is below zero becomes zero, as by a `relu`. What is no number stays.
    BiasRelu(&'a [f32]),
    /// They take its place where this matrix, row-major and of the result's shape, is above zero; the others become zero. So a
    /// gradient goes back through a `relu`, whose values this matrix has.
    Where(&'a [f32]),
}

/// Whether a slice of `len` values holds every element of such a matrix.
fn fits(len: usize, rows: usize, columns: usize, row_step: usize, column_step: usize) -> bool {
    rows == 0 || columns == 0 || (rows - 1) * row_step + (columns - 1) * column_step < len
}

impl<'a> Matrix<'a> {
    /// Row-major values.
    ///
    /// # Panics
    /// When there are not `rows * columns` values.
    pub fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "a {rows} x {columns} matrix");
        Self { values, rows, columns, row_step: columns, column_step: 1, zeros: Zeros::Few, panels: None }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Says where there are zeros.
    pub fn with_zeros(self, zeros: Zeros) -> Self {
        Self { zeros, ..self }
    }

    /// Says where the wanted columns of the same values are laid out for products with this matrix on the right.
    pub fn with_panels(self, panels: &'a Panels) -> Self {
        Self { panels: Some(panels), ..self }
    }

    /// The matrix with rows and columns exchanged; nothing moves.
    pub fn transposed(self) -> Self {
        let Self { values, rows, columns, row_step, column_step, zeros, .. } = self;
        Self { values, rows: columns, columns: rows, row_step: column_step, column_step: row_step, zeros, panels: None }
    }

    /// The columns from `first` on, `n` of them.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn columns(self, first: usize, n: usize) -> Self {
        assert!(first + n <= self.columns, "columns {first}..{} of {}", first + n, self.columns);
        let skip = (first * self.column_step).min(self.values.len());
        Self { values: &self.values[skip..], columns: n, panels: None, ..self }
    }
}

impl<'a> MatrixMut<'a> {
    /// Row-major values.
    ///
    /// # Panics
    /// When there are not `rows * columns` values.
    pub fn new(values: &'a mut [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "a {rows} x {columns} matrix");
        Self { values, rows, columns, row_step: columns, column_step: 1 }
    }

    /// The matrix with rows and columns exchanged; nothing moves.
    pub fn transposed(self) -> Self {
        let Self { values, rows, columns, row_step, column_step } = self;
        Self { values, rows: columns, columns: rows, row_step: column_step, column_step: row_step }
    }

    /// The columns from `first` on, `n` of them.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn columns(self, first: usize, n: usize) -> Self {
        assert!(first + n <= self.columns, "columns {first}..{} of {}", first + n, self.columns);
        let skip = (first * self.column_step).min(self.values.len());
        Self { values: &mut self.values[skip..], columns: n, ..self }
    }

    /// The rows of a matrix that lies by rows.
    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        debug_assert_eq!(self.column_step, 1);
        let columns = self.columns;
        self.values.chunks_mut(self.row_step.max(1)).take(self.rows).map(move |row| &mut row[..columns])
    }

    /// The same, for a while.
    pub(super) fn view(&mut self) -> MatrixMut<'_> {
        MatrixMut { values: self.values, ..*self }
    }
}

/// Rows, terms and columns of the product of two matrices, all of whose elements lie in their slices.
///
/// # Panics
/// When the shapes do not fit.
pub(super) fn shape(a: &Matrix, b: &Matrix, c: &MatrixMut) -> (usize, usize, usize) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    let c_shape = (c.rows, c.columns);
    assert!(b.rows == k && c_shape == (m, n), "[{m}, {k}] x [{}, {n}] -> {c_shape:?}", b.rows);
    assert!(
        fits(a.values.len(), m, k, a.row_step, a.column_step)
            && fits(b.values.len(), k, n, b.row_step, b.column_step)
            && fits(c.values.len(), m, n, c.row_step, c.column_step)
    );
    (m, k, n)
}
