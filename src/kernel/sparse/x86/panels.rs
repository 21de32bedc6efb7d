//! Right matrices in panels, the way products read them.

use super::super::super::matrix::{Matrix, Zeros};
use super::moves::{copy, pack, transpose, transpose_rows};
use super::{EIGHT, Instructions};

/// Columns of a result whose sums are in registers together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) first: usize,
    /// Columns in all, and those among them that are wanted.
    pub(super) width: usize,
    pub(super) wanted: usize,
}

/// How the columns of a result are cut.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pub(super) list: Vec<Piece>,
    /// A bit for each column, from the lowest of the first byte on, if not all of them are wanted. Pieces are of whole bytes
    /// then.
    pub(super) masks: Option<Vec<u8>>,
}

impl Pieces {
    pub(super) const fn new() -> Self {
        Self { list: Vec::new(), masks: None }
    }

    /// Cuts `n` columns, of which those with a bit in `wanted` are wanted. All are if so few can be left out that it does not
    /// pay.
    ///
    /// # Panics
    /// When there are not as many bits as columns.
    pub(super) fn cut(&mut self, n: usize, columns: usize, wanted: Option<&[u8]>) {
        self.list.clear();
        self.masks = wanted.filter(|wanted| self.some(wanted, n, columns)).map(<[u8]>::to_vec);
        if self.masks.is_none() {
            // As wide as each other, in registers, as so many can be.
            let (count, registers) = (n.div_ceil(columns), n.div_ceil(EIGHT * 2));
            let bound = |i: usize| n.min(registers * i / count * EIGHT * 2);
            self.list.extend((0..count).map(|i| {
                let width = bound(i + 1) - bound(i);
                Piece { first: bound(i), width, wanted: width }
            }));
        }
    }

    /// Makes pieces of whole groups of eight columns, with at most so many wanted ones. False if it does not pay.
    fn some(&mut self, wanted: &[u8], n: usize, columns: usize) -> bool {
        let spare = (wanted.len() * EIGHT).wrapping_sub(n);
        assert!(spare < EIGHT && wanted.last().is_none_or(|last| last.leading_zeros() as usize >= spare), "{n} bits");
        let all: usize = wanted.iter().map(|mask| mask.count_ones() as usize).sum();
        if all * 8 > n * 7 {
            return false;
        }
        // Pieces of one width first; if that takes one more than it could, as wide as they can be.
        let count = all.div_ceil(columns).max(1);
        for most in [all.div_ceil(count).next_multiple_of(2 * EIGHT).clamp(EIGHT, columns), columns] {
            self.list.clear();
            let mut piece = Piece { first: 0, width: 0, wanted: 0 };
            for (i, mask) in wanted.iter().enumerate() {
                let (first, more) = (i * EIGHT, mask.count_ones() as usize);
                if piece.wanted + more > most {
                    self.list.push(piece);
                    piece = Piece { first, width: 0, wanted: 0 };
                }
                piece.width += EIGHT.min(n - first);
                piece.wanted += more;
            }
            self.list.push(piece);
            if self.list.len() <= count {
                break;
            }
        }
        true
    }

    /// The bits of a piece.
    pub(super) fn masks_of(&self, piece: Piece) -> Option<&[u8]> {
        let Piece { first, width, .. } = piece;
        self.masks.as_ref().map(|masks| &masks[first / EIGHT..(first + width).div_ceil(EIGHT)])
    }
}

/// Sixteen values, in a line of the cache.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
struct Line([f32; Line::LEN]);

impl Line {
    const LEN: usize = 16;
}

/// Values from the beginning of a line of the cache on.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<Line>);

impl Lines {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Makes room for `n` values and for the end of a register; what is there may be overwritten.
    pub(super) fn fit(&mut self, n: usize) {
        let lines = n.div_ceil(Line::LEN) + 1;
        if self.0.len() < lines {
            self.0 = Vec::new();
            self.0.resize(lines, Line::default());
        }
    }

    pub(super) fn as_ptr(&self) -> *const f32 {
        self.0.as_ptr().cast()
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.0.as_mut_ptr().cast()
    }
}

/// A right matrix laid out once for many products without zeros, each of some rows of the left matrix: they would else each lay
/// it out for themselves.
#[derive(Debug, Default)]
pub struct Panels {
    /// What they were laid out for; none where products read the matrix itself.
    with: Option<Instructions>,
    /// Where the matrix lies, its steps and its shape: another one of the same shape must not be taken for it.
    of: (usize, [usize; 4]),
    terms: usize,
    pub(super) pieces: Pieces,
    /// Panel after panel, `[terms, columns of a panel]`, the wanted columns side by side.
    values: Lines,
}

impl Panels {
    /// Tasks that lay `b` out, its `wanted` columns only (as in [`product_then`](crate::kernel::product_then)), to be run before
    /// products whose left matrices have zeros like `left`. On processors without AVX2, and for so few columns that products with them are dense ones, there are none, and products read
    /// the matrix itself.
    ///
    /// # Panics
    /// When neither step of the matrix is 1, or there are not as many bits as columns.
    pub fn lay_out<'a>(
        &'a mut self,
        b: Matrix<'a>,
        wanted: Option<&[u8]>,
        left: Zeros,
    ) -> impl Iterator<Item = impl FnOnce() + Send + 'a> + 'a {
        self.with = Instructions::best(left).filter(|with| b.columns > with.columns() / 2);
        let with = self.with.unwrap_or(Instructions::Avx2);
        (self.of, self.terms) = (Self::key(&b), b.rows);
        assert!([b.row_step, b.column_step].contains(&1), "the right matrix lies neither by rows nor by columns");
        self.pieces.cut(b.columns, with.columns(), wanted);
        let count = if self.with.is_some() { self.pieces.list.len() } else { 0 };
        let size = Self::size(b.rows, with);
        self.values.fit(count * size);
        let pieces = &self.pieces;
        let panels = self.values.0.chunks_exact_mut(size / Line::LEN).take(count);
        panels.zip(&pieces.list).map(move |(panel, piece)| {
            move || {
                let mut places = Vec::new();
                // SAFETY: the processor has the instructions; the piece is one of the matrix, and the panel has room for it.
                unsafe {
                    fetch(with, b, 0..b.rows, *piece, pieces.masks_of(*piece), panel.as_mut_ptr().cast(), &mut places)
                }
            }
        })
    }

    /// The panel of a piece from some term on, if they are laid out for such products.
    pub(super) fn panel(&self, number: usize, term: usize) -> *const f32 {
        let at = |with| number * Self::size(self.terms, with) + term * with.columns();
        self.values.as_ptr().wrapping_add(self.with.map_or(0, at))
    }

    /// Values of a panel, with room for the end of a register behind them.
    fn size(terms: usize, with: Instructions) -> usize {
        terms * with.columns() + Line::LEN
    }

    /// What tells a matrix from others.
    fn key(b: &Matrix) -> (usize, [usize; 4]) {
        (b.values.as_ptr().addr(), [b.row_step, b.column_step, b.rows, b.columns])
    }

    /// Whether this matrix is laid out in them for such products.
    pub(super) fn are_for(&self, with: Instructions, b: &Matrix) -> bool {
        self.with == Some(with) && self.of == Self::key(b)
    }
}

/// Brings some terms of a piece of `b` to `to`, where a term has as many columns as a panel. Columns that are wanted move together;
/// the others are left as they were.
#[target_feature(enable = "avx2,fma,popcnt")]
pub(super) unsafe fn fetch(
    with: Instructions,
    b: Matrix,
    terms: std::ops::Range<usize>,
    piece: Piece,
    masks: Option<&[u8]>,
    to: *mut f32,
    places: &mut Vec<u32>,
) {
    let columns = with.columns();
    // SAFETY: terms and columns lie in the matrix, and there is room for `terms.len() * columns` values.
    unsafe {
        let from = b.values.as_ptr().add(terms.start * b.row_step + piece.first * b.column_step);
        let by_rows = b.column_step == 1;
        match masks {
            None if by_rows => copy(from, b.row_step, to, columns, terms.len(), piece.width),
            None => transpose(from, b.column_step, (piece.width, terms.len()), to, columns),
            Some(masks) if by_rows => pack(with, from, b.row_step, to, columns, terms.len(), piece.width, masks),
            Some(masks) => {
                places.clear();
                places.extend((0..piece.width as u32).filter(|i| masks[*i as usize / EIGHT] >> (i % 8) & 1 == 1));
                let place = |i: usize| places[i] as usize * b.column_step;
                transpose_rows(from, place, (places.len(), terms.len()), to, columns)
            }
        }
    }
}
