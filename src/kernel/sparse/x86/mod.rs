//! The product without zeros on x86-64, with AVX2 or AVX-512. It needs nothing of the standard library but memory, so that
//! it also runs where there is no operating system: in the emulator of `.ci/avx512`.

use core::sync::atomic::{AtomicU8, Ordering};
use std::arch::x86_64::__cpuid;

use super::super::matrix::{Matrix, MatrixMut, Then, Zeros, shape};
use groups::{Groups, SIXTEEN};
use moves::{Store, load, store};
pub use panels::Panels;
use panels::{Lines, Piece, Pieces, fetch};
use rows::{Ahead, Rows};

mod groups;
mod moves;
mod panels;
mod rows;

/// Rows of the left matrix for which a part of the right one is kept.
const ROWS: usize = 128;
/// Terms of which lists are made at a time, so that they stay in the second cache.
const TERMS: usize = 1056;
/// Values in a 256-bit register.
const EIGHT: usize = 8;

/// Which instructions multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// 8 values at a time, row by row, with parts of the right matrix in the first cache.
    Avx2,
    /// 16 values at a time, rows in groups, with parts of the right matrix in the second cache.
    Avx512,
}

impl Instructions {
    /// All of them, the best one last.
    pub const ALL: [Self; 2] = [Self::Avx2, Self::Avx512];

    /// The best that the processor has for such a left matrix, if any.
    pub fn best(zeros: Zeros) -> Option<Self> {
        // Where zeros are scattered, rows in groups multiply more of them. Half as many values at a time are as fast where the
        // processor takes the others in two halves: 7 to 10 % of a training step with dropout were measured.
        let alone = zeros == Zeros::Scattered && in_halves();
        Self::ALL.into_iter().rev().find(|i| i.available() && !(alone && *i == Self::Avx512))
    }

    /// Whether the processor has them.
    pub fn available(self) -> bool {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let popcnt = is_x86_feature_detected!("popcnt");
        avx2 && popcnt && (self == Self::Avx2 || is_x86_feature_detected!("avx512f"))
    }

    /// Columns of the result whose sums are in registers together.
    pub const fn columns(self) -> usize {
        match self {
            Self::Avx2 => 64,
            Self::Avx512 => groups::REGISTERS * SIXTEEN,
        }
    }
}

/// Whether the processor multiplies 512 bits in two halves: Zen 4.
fn in_halves() -> bool {
    // Asking takes microseconds in a virtual machine: 0 is not asked yet.
    static KNOWN: AtomicU8 = AtomicU8::new(0);
    if KNOWN.load(Ordering::Relaxed) == 0 {
        let maker = __cpuid(0);
        let amd = [maker.ebx, maker.edx, maker.ecx].map(u32::to_le_bytes) == [*b"Auth", *b"enti", *b"cAMD"];
        let version = __cpuid(1).eax;
        let family = (version >> 8 & 0xf) + (version >> 20 & 0xff);
        KNOWN.store(1 + u8::from(amd && family == 0x19), Ordering::Relaxed);
    }
    KNOWN.load(Ordering::Relaxed) == 2
}

/// Buffers of a product.
#[derive(Debug)]
pub struct Room {
    /// How the columns of the result are cut.
    pieces: Pieces,
    /// Which columns of a piece are wanted, where those are not all.
    places: Vec<u32>,
    /// A part of the right matrix.
    part: Lines,
    /// What is not zero in rows of the left matrix, by AVX2 and by AVX-512.
    rows: Rows,
    groups: Groups,
    /// Sums, `[rows, columns of a piece]`.
    sums: Lines,
}

impl Room {
    pub const fn new() -> Self {
        Self {
            pieces: Pieces::new(),
            places: Vec::new(),
            part: Lines::new(),
            rows: Rows::new(),
            groups: Groups::new(),
            sums: Lines::new(),
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
        let (m, k, n) = shape(&a, &b, c);
        match then {
            Then::Write | Then::Add => {}
            Then::Bias(bias) | Then::BiasRelu(bias) => assert!(c.column_step == 1 && bias.len() == n),
            Then::Where(y) => assert!(c.column_step == 1 && y.len() == m * n),
        }
        let may_leave_out = c.column_step == 1 && matches!(then, Then::Write | Then::Where(_));
        let panels = b.panels.filter(|p| p.are_for(with, &b) && (may_leave_out || p.pieces.masks.is_none()));
        let mut own = std::mem::take(&mut self.pieces);
        if panels.is_none() {
            own.cut(n, with.columns(), wanted.filter(|_| may_leave_out));
        }
        let pieces = panels.map_or(&own, |panels| &panels.pieces);
        // SAFETY: the processor has the instructions, the steps are as they have to be, and `shape` has found every
        // element inside its slice; the pieces are those of the columns, and the panels those of the matrix.
        unsafe { self.checked_product(with, (m, k, n), a, b, panels, pieces, c, then) }
        self.pieces = own;
    }

    /// # Safety
    /// The processor must have the instructions, the matrices the shapes `[m, k]`, `[k, n]` and `[m, n]` with all
    /// elements inside their slices, and one step of each must be 1. The pieces must be those of the `n` columns, and those of
    /// the panels if there are any; with masks `c` must lie by rows, and nothing may have to be added to it. With `then` other
    /// than to write or to add, `c` must lie by rows, and there must be values for all that it needs.
    #[allow(clippy::too_many_arguments)]
    #[target_feature(enable = "avx2,fma,popcnt")]
    unsafe fn checked_product(
        &mut self,
        with: Instructions,
        (m, k, n): (usize, usize, usize),
        a: Matrix,
        b: Matrix,
        panels: Option<&Panels>,
        pieces: &Pieces,
        c: &mut MatrixMut,
        then: Then,
    ) {
        let columns = with.columns();
        // One row more, for the one that does not exist.
        self.sums.fit((ROWS + 1) * columns);
        // Where all terms are summed at once, what is in `c` comes last, as in a dense product.
        let at_once = k <= TERMS;
        for first_row in (0..m).step_by(ROWS) {
            let rows = ROWS.min(m - first_row);
            let mut first_term = 0;
            while first_term < k.max(1) {
                let terms = first_term..k.min(first_term + TERMS);
                let these = first_row..first_row + rows;
                // SAFETY: rows and terms are some of the matrix's.
                let left = unsafe {
                    match with {
                        Instructions::Avx2 => {
                            self.rows.list(a, these, terms.clone());
                            None
                        }
                        Instructions::Avx512 => Some(self.groups.list(a, these, terms.clone())),
                    }
                };
                for (number, piece) in pieces.list.iter().enumerate() {
                    let masks = pieces.masks_of(*piece);
                    let Piece { first, width, wanted } = *piece;
                    // SAFETY: the part lies inside `c`, and the sums have room for it.
                    let place = unsafe { c.values.as_mut_ptr().add(first_row * c.row_step + first * c.column_step) };
                    let steps = (c.row_step, c.column_step);
                    let go_on = first_term > 0 || (matches!(then, Then::Add) && !at_once);
                    let sums = self.sums.as_mut_ptr();
                    // SAFETY: as above; terms and columns are some of the matrix's.
                    unsafe {
                        if go_on {
                            load(with, place, steps, rows, width, masks, sums);
                        } else if terms.is_empty() {
                            sums.write_bytes(0, rows * columns);
                        }
                        let right =
                            Right { b, panel: panels.map(|panels| panels.panel(number, 0)), piece: *piece, masks };
                        if wanted > 0 && !terms.is_empty() {
                            match left {
                                None => self.by_tiles(right, rows, terms.clone(), !go_on),
                                Some(left) => self.by_panel(right, left, terms.clone(), !go_on),
                            }
                        }
                    }
                    let how = if terms.end < k { Store::Write } else { Store::of(then, first_row, first, n, at_once) };
                    // SAFETY: as above; what the sums meet lies where the part lies in its matrix.
                    unsafe { store(how, sums, columns, rows, width, masks, place, steps) };
                }
                first_term += TERMS;
            }
        }
    }

    /// Sums of a piece, by AVX2: tile after tile of the right matrix.
    #[target_feature(enable = "avx2,fma,popcnt")]
    unsafe fn by_tiles(&mut self, right: Right, rows: usize, terms: std::ops::Range<usize>, new: bool) {
        const WITH: Instructions = Instructions::Avx2;
        const COLUMNS: usize = WITH.columns();
        let Right { b, panel, piece, masks } = right;
        self.part.fit(Rows::TERMS * COLUMNS);
        for (number, term) in terms.clone().step_by(Rows::TERMS).enumerate() {
            let end = terms.end.min(term + Rows::TERMS);
            let (tile, ahead) = match panel {
                Some(panel) => {
                    let next = Rows::TERMS.min(b.rows - end);
                    (panel.wrapping_add(term * COLUMNS), Ahead::of_panel(panel.wrapping_add(end * COLUMNS), next))
                }
                None => {
                    // SAFETY: terms and columns are some of the matrix's, and there is room for them.
                    unsafe { fetch(WITH, b, term..end, piece, masks, self.part.as_mut_ptr(), &mut self.places) };
                    let (next, column) =
                        if end < terms.end { (end, piece.first) } else { (terms.start, piece.first + piece.width) };
                    (self.part.as_ptr(), Ahead::of(&b, next, Rows::TERMS, column, piece.width))
                }
            };
            // SAFETY: there are sums for each row, one after another.
            let sums = unsafe { std::slice::from_raw_parts_mut(self.sums.as_mut_ptr(), rows * COLUMNS) };
            let new = new && number == 0;
            macro_rules! in_registers {
                ($($registers:literal)*) => {
                    match piece.wanted.div_ceil(EIGHT) {
                        $($registers => self.rows.multiply::<$registers>(number, rows, tile, sums, new, ahead),)*
                        _ => self.rows.multiply::<8>(number, rows, tile, sums, new, ahead),
                    }
                };
            }
            // SAFETY: the lists are those of these rows and terms.
            unsafe { in_registers!(1 2 3 4 5 6 7) }
        }
    }

    /// Sums of a piece, by AVX-512: all terms at once.
    #[target_feature(enable = "avx512f,avx2,fma,popcnt")]
    unsafe fn by_panel(&mut self, right: Right, left: groups::Left, terms: std::ops::Range<usize>, new: bool) {
        const WITH: Instructions = Instructions::Avx512;
        const COLUMNS: usize = WITH.columns();
        let Right { b, panel, piece, masks } = right;
        // Full registers are read: where a piece ends with less, what lies behind it may not be the matrix's.
        let lies_ready = b.column_step == 1 && masks.is_none() && piece.width % SIXTEEN == 0;
        let (right, step) = match panel {
            Some(panel) => (panel.wrapping_add(terms.start * COLUMNS), COLUMNS),
            None if lies_ready => (b.values.as_ptr().wrapping_add(terms.start * b.row_step + piece.first), b.row_step),
            None => {
                self.part.fit(terms.len() * COLUMNS);
                // SAFETY: terms and columns are some of the matrix's, and there is room for them.
                unsafe { fetch(WITH, b, terms, piece, masks, self.part.as_mut_ptr(), &mut self.places) };
                (self.part.as_ptr(), COLUMNS)
            }
        };
        let next = match panel {
            Some(_) => (right.wrapping_add(b.rows * COLUMNS + SIXTEEN), b.rows * COLUMNS * size_of::<f32>()),
            None => (right, 0),
        };
        let sums = self.sums.as_mut_ptr();
        macro_rules! in_registers {
            ($($registers:literal)*) => {
                match piece.wanted.div_ceil(SIXTEEN) {
                    $($registers => self.groups.multiply::<$registers>(left, right, step, sums, new, next),)*
                    _ => self.groups.multiply::<{ groups::REGISTERS }>(left, right, step, sums, new, next),
                }
            };
        }
        // SAFETY: the lists are those of these terms, and there are sums for each row and one more.
        unsafe { in_registers!(1 2 3 4 5 6 7) }
    }
}

/// A piece of a right matrix.
#[derive(Clone, Copy)]
struct Right<'a> {
    b: Matrix<'a>,
    /// Where it was laid out.
    panel: Option<*const f32>,
    piece: Piece,
    masks: Option<&'a [u8]>,
}
