//! The product without zeros on x86-64, with AVX2 or AVX-512. It needs nothing of the standard library but memory, so that
//! it also runs where there is no operating system: in the emulator of `.ci/avx512`.

use super::super::matrix::{Matrix, MatrixMut, Then, shape};
use lists::Lists;
use moves::{Store, copy, load, pack, store, transpose, transpose_rows};
use rows::{Ahead, Tile, pairs_avx512, rows_avx2};

mod lists;
mod moves;
mod pairs;
mod rows;

/// The most values of a tile of the right matrix.
const TILE: usize = 8192;
/// Rows of the left matrix for which a tile is kept.
const ROWS: usize = 128;
/// Terms of which lists are made at a time, so that they stay in the second cache.
const TERMS: usize = 1056;
/// Values in a 256-bit register.
const EIGHT: usize = 8;

/// Which instructions multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// 8 values at a time, tiles of 64 columns and 96 terms: 24 KiB of the 32 that a first cache has at least.
    Avx2,
    /// 16 values at a time, tiles of 128 columns and 64 terms: 32 KiB of the 48 that most first caches have beside such
    /// instructions.
    Avx512,
}

impl Instructions {
    /// All of them, the best one last.
    pub const ALL: [Self; 2] = [Self::Avx2, Self::Avx512];

    /// The best that the processor has, if any.
    pub fn best() -> Option<Self> {
        Self::ALL.into_iter().rev().find(|i| i.available())
    }

    /// Whether the processor has them.
    pub fn available(self) -> bool {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let popcnt = is_x86_feature_detected!("popcnt");
        avx2 && popcnt && (self == Self::Avx2 || is_x86_feature_detected!("avx512f"))
    }

    /// Columns of a tile.
    pub const fn columns(self) -> usize {
        match self {
            Self::Avx2 => 64,
            Self::Avx512 => 128,
        }
    }

    /// Terms of a tile.
    const fn terms(self) -> usize {
        match self {
            Self::Avx2 => 96,
            Self::Avx512 => 64,
        }
    }
}

/// Some columns of the result whose sums are in one tile.
#[derive(Debug, Clone, Copy)]
struct Piece {
    first: usize,
    /// Columns in all, and those among them that are wanted.
    width: usize,
    wanted: usize,
}

/// Buffers of a product.
#[derive(Debug)]
pub struct Room {
    /// The columns of the result, tile by tile.
    pieces: Vec<Piece>,
    /// Which columns of a piece are wanted, where those are not all.
    places: Vec<u32>,
    tile: Tile,
    lists: Lists,
    /// Sums, `[rows, columns of a tile]`.
    sums: Vec<f32>,
}

impl Room {
    pub const fn new() -> Self {
        Self {
            pieces: Vec::new(),
            places: Vec::new(),
            tile: Tile([0.0; TILE + 2 * EIGHT]),
            lists: Lists::new(),
            sums: Vec::new(),
        }
    }

    /// The product, as [`super::product`] says.
    ///
    /// # Panics
    /// As there, and when the processor lacks the instructions.
    pub fn product(
        &mut self,
        with: Instructions,
        a: Matrix,
        b: Matrix,
        wanted: Option<&[u8]>,
        c: &mut MatrixMut,
        then: Then,
    ) {
        assert!(with.available(), "{with:?}");
        assert!([a.row_step, a.column_step].contains(&1), "the left matrix lies neither by rows nor by columns");
        assert!([b.row_step, b.column_step].contains(&1), "the right matrix lies neither by rows nor by columns");
        assert!([c.row_step, c.column_step].contains(&1), "the result lies neither by rows nor by columns");
        let sizes = shape(&a, &b, c);
        match then {
            Then::Write | Then::Add => {}
            Then::Bias(bias) | Then::BiasRelu(bias) => assert!(c.column_step == 1 && bias.len() == sizes.2),
            Then::Where(y) => assert!(c.column_step == 1 && y.len() == sizes.0 * sizes.2),
        }
        let wanted = wanted.filter(|_| c.column_step == 1 && matches!(then, Then::Write | Then::Where(_)));
        self.pieces.clear();
        let mut masks = None;
        if let Some(wanted) = wanted {
            let spare = wanted.len() * EIGHT - sizes.2;
            assert!(spare < EIGHT && wanted.last().is_none_or(|last| last.leading_zeros() as usize >= spare));
            masks = self.some_columns(wanted, sizes.2, with.columns()).then_some(wanted);
        }
        if masks.is_none() {
            let columns = with.columns();
            let piece = |first| (columns.min(sizes.2 - first), first);
            self.pieces.extend((0..sizes.2).step_by(columns).map(piece).map(|(width, first)| Piece {
                first,
                width,
                wanted: width,
            }));
        }
        // SAFETY: the processor has the instructions, the steps are as they have to be, and `shape` has found every
        // element inside its slice; the pieces are those of the columns.
        unsafe { self.checked_product(with, sizes, a, b, masks, c, then) }
    }

    /// Makes pieces of whole groups of eight columns, with as many wanted ones as a tile has at most. False if so few can be
    /// left out that it does not pay.
    fn some_columns(&mut self, wanted: &[u8], n: usize, columns: usize) -> bool {
        let all: usize = wanted.iter().map(|mask| mask.count_ones() as usize).sum();
        if all * 8 > n * 7 {
            return false;
        }
        // Pieces of one width first; if that takes one more than it could, as wide as they can be.
        let count = all.div_ceil(columns).max(1);
        for most in [all.div_ceil(count).next_multiple_of(2 * EIGHT).clamp(EIGHT, columns), columns] {
            self.pieces.clear();
            let mut piece = Piece { first: 0, width: 0, wanted: 0 };
            for (i, mask) in wanted.iter().enumerate() {
                let (first, more) = (i * EIGHT, mask.count_ones() as usize);
                if piece.wanted + more > most {
                    self.pieces.push(piece);
                    piece = Piece { first, width: 0, wanted: 0 };
                }
                piece.width += EIGHT.min(n - first);
                piece.wanted += more;
            }
            self.pieces.push(piece);
            if self.pieces.len() <= count {
                break;
            }
        }
        true
    }

    /// # Safety
    /// The processor must have the instructions, the matrices the shapes `[m, k]`, `[k, n]` and `[m, n]` with all
    /// elements inside their slices, and one step of each must be 1. The pieces must be those of the `n` columns; with
    /// `masks` they must be of whole groups of eight, `c` must lie by rows, and nothing may have to be added to it. With
    /// `then` other than to write or to add, `c` must lie by rows, and there must be values for all that it needs.
    #[allow(clippy::too_many_arguments)]
    #[target_feature(enable = "avx2,fma,popcnt")]
    unsafe fn checked_product(
        &mut self,
        with: Instructions,
        (m, k, n): (usize, usize, usize),
        a: Matrix,
        b: Matrix,
        masks: Option<&[u8]>,
        c: &mut MatrixMut,
        then: Then,
    ) {
        let columns = with.columns();
        let terms = with.terms();
        // One row more, for the one without terms, and the end of a register.
        self.sums.resize((ROWS + 1) * columns + 2 * EIGHT, 0.0);
        // Where all terms are summed at once, what is in `c` comes last, as in a dense product.
        let at_once = k <= TERMS;
        for first_row in (0..m).step_by(ROWS) {
            let rows = ROWS.min(m - first_row);
            let mut first_term = 0;
            while first_term < k.max(1) {
                let count = TERMS.min(k - first_term);
                let parts = count.div_ceil(terms);
                // SAFETY: rows and terms are some of the matrix's.
                unsafe { self.lists.list(with, a, first_row..first_row + rows, first_term..first_term + count) };
                for number in 0..self.pieces.len() {
                    let piece = self.pieces[number];
                    let Piece { first, width, wanted } = piece;
                    let masks = masks.map(|masks| &masks[first / EIGHT..(first + width).div_ceil(EIGHT)]);
                    // SAFETY: the part lies inside `c`, and the sums have room for it.
                    let place = unsafe { c.values.as_mut_ptr().add(first_row * c.row_step + first * c.column_step) };
                    let steps = (c.row_step, c.column_step);
                    let go_on = first_term > 0 || (matches!(then, Then::Add) && !at_once);
                    if go_on {
                        // SAFETY: as above.
                        unsafe { load(with, place, steps, rows, width, masks, self.sums.as_mut_ptr()) };
                    } else if parts == 0 {
                        self.sums.fill(0.0);
                    }
                    for part in if wanted > 0 { 0..parts } else { 0..0 } {
                        let term = first_term + part * terms;
                        let these = terms.min(first_term + count - term);
                        // SAFETY: terms and columns are some of the matrix's, and the tile has room for them.
                        unsafe { self.fetch(with, b, term..term + these, piece, masks) };
                        let begins = self.lists.begins(with, rows, part);
                        let new = part == 0 && !go_on;
                        let (next_term, next_column) = match part + 1 < parts {
                            true => (term + terms, first),
                            false => (first_term, first + width),
                        };
                        let ahead = Ahead::new(&b, next_term, terms, next_column, width.min(n - next_column));
                        let (tile, sums) = (&self.tile, &mut self.sums[..]);
                        macro_rules! in_registers {
                            ($rows:ident, $lists:expr, $width:expr, $($registers:literal)*) => {
                                match wanted.div_ceil($width) {
                                    $($registers => $rows::<$registers>($lists, begins, tile, sums, new, ahead),)*
                                    _ => $rows::<8>($lists, begins, tile, sums, new, ahead),
                                }
                            };
                        }
                        // SAFETY: the entries of each row, or pair, lie between their beginnings, each of them points to a
                        // row of the tile, and there are sums for each row.
                        unsafe {
                            match with {
                                Instructions::Avx2 => {
                                    in_registers!(rows_avx2, &self.lists.entries, EIGHT, 1 2 3 4 5 6 7)
                                }
                                Instructions::Avx512 => {
                                    in_registers!(pairs_avx512, &self.lists.pairs, 2 * EIGHT, 1 2 3 4 5 6 7)
                                }
                            }
                        }
                    }
                    let how = if first_term + count < k {
                        Store::Write
                    } else {
                        Store::of(then, first_row, first, n, at_once)
                    };
                    // SAFETY: as above; what the sums meet lies where the part lies in its matrix.
                    unsafe { store(how, self.sums.as_ptr(), columns, rows, width, masks, place, steps) };
                }
                first_term += TERMS;
            }
        }
    }

    /// Brings a part of `b` into the tile, of whose columns those that are wanted move together; columns that it does not
    /// have are left as they were.
    #[target_feature(enable = "avx2,fma,popcnt")]
    unsafe fn fetch(
        &mut self,
        with: Instructions,
        b: Matrix,
        terms: std::ops::Range<usize>,
        piece: Piece,
        masks: Option<&[u8]>,
    ) {
        let (to, columns) = (self.tile.0.as_mut_ptr(), with.columns());
        // SAFETY: terms and columns lie in the matrix, and `terms.len() * columns` values in the tile.
        unsafe {
            let from = b.values.as_ptr().add(terms.start * b.row_step + piece.first * b.column_step);
            let by_rows = b.column_step == 1;
            match masks {
                None if by_rows => copy(from, b.row_step, to, columns, terms.len(), piece.width),
                None => transpose(from, b.column_step, (piece.width, terms.len()), to, columns),
                Some(masks) if by_rows => pack(with, from, b.row_step, to, columns, terms.len(), piece.width, masks),
                Some(masks) => {
                    self.places.clear();
                    let places = (0..piece.width as u32).filter(|i| masks[*i as usize / EIGHT] >> (i % 8) & 1 == 1);
                    self.places.extend(places);
                    let place = |i: usize| self.places[i] as usize * b.column_step;
                    transpose_rows(from, place, (self.places.len(), terms.len()), to, columns)
                }
            }
        }
    }
}
