//! AVX2: lists of what is not zero in each row of the left matrix, and tiles of the right one in the first cache.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::super::matrix::Matrix;
use super::moves::transpose;
use super::{EIGHT, Instructions};

/// An element that is not zero.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(8))]
struct Entry {
    value: f32,
    /// Where in the tile the row lies that it is multiplied by, in bytes.
    at: u32,
}

/// What is not zero in some rows and terms of a left matrix.
#[derive(Debug)]
pub(super) struct Rows {
    /// Tile of terms after tile, in each of them row after row.
    entries: Vec<Entry>,
    /// Where the entries of each row of each tile begin, and where the last ones end.
    begins: Vec<u32>,
    /// Rows of a left matrix that lies by columns.
    turned: Vec<f32>,
}

impl Rows {
    /// Terms of a tile: with as many columns as there are, 24 KiB of the 32 that a first cache has at least.
    pub(super) const TERMS: usize = 96;

    pub(super) const fn new() -> Self {
        Self { entries: Vec::new(), begins: Vec::new(), turned: Vec::new() }
    }

    /// Lists what is not zero in some rows and terms of `a`.
    ///
    /// # Safety
    /// The processor must have the instructions, and the matrix the rows and terms, with one step of 1.
    #[target_feature(enable = "avx2,fma,popcnt")]
    pub(super) unsafe fn list(&mut self, a: Matrix, rows: Range<usize>, of: Range<usize>) {
        let (count, terms) = (of.len(), Self::TERMS);
        let step_of_tile = (Instructions::Avx2.columns() * size_of::<f32>()) as i32;
        // Whole registers are written, of which the last values may be too many.
        self.entries.resize(self.entries.len().max(rows.len() * count + EIGHT), Entry::default());
        self.turned.resize(self.turned.len().max(EIGHT * terms), 0.0);
        self.begins.clear();
        let mut len = 0;
        for part in of.clone().step_by(terms) {
            let n = terms.min(of.end - part);
            for first in rows.clone().step_by(EIGHT) {
                let these = EIGHT.min(rows.end - first);
                // SAFETY: rows and terms lie in the matrix.
                let (mut row, step) = unsafe {
                    let start = a.values.as_ptr().add(first * a.row_step + part * a.column_step);
                    if a.column_step == 1 {
                        (start, a.row_step)
                    } else {
                        transpose(start, a.column_step, (n, these), self.turned.as_mut_ptr(), terms);
                        (self.turned.as_ptr(), terms)
                    }
                };
                for _ in 0..these {
                    self.begins.push(len as u32);
                    // SAFETY: the values are those of one row, and there is room for as many entries and a register more.
                    unsafe { len += compress_avx2(row, n, step_of_tile, self.entries.as_mut_ptr().add(len)) };
                    row = row.wrapping_add(step);
                }
            }
        }
        self.begins.push(len as u32);
    }

    /// Adds the products of each row's entries of tile `number` to its sums, or writes them where they are `new`. Columns of
    /// the tile behind `REGISTERS` of them are left out.
    ///
    /// # Safety
    /// The processor must have the instructions; the lists must be those of so many rows, and `tile` a tile on 32 bytes.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn multiply<const REGISTERS: usize>(
        &self,
        number: usize,
        rows: usize,
        tile: *const f32,
        sums: &mut [f32],
        new: bool,
        mut ahead: Ahead,
    ) {
        let begins = &self.begins[number * rows..][..rows + 1];
        const ROW: usize = Instructions::Avx2.columns();
        for (row, sums) in begins.windows(2).zip(sums.chunks_exact_mut(ROW)) {
            // SAFETY: there are sums for each row; the caller vouches for the entries.
            unsafe {
                let mut entry = self.entries.as_ptr().add(row[0] as usize);
                let end = self.entries.as_ptr().add(row[1] as usize);
                let to = sums.as_mut_ptr();
                let mut sum = [_mm256_setzero_ps(); REGISTERS];
                if !new {
                    for (i, sum) in sum.iter_mut().enumerate() {
                        *sum = _mm256_loadu_ps(to.add(i * EIGHT));
                    }
                }
                while entry < end {
                    // An entry is read as one number: reading pieces of the tile is what limits the speed, and spreading a
                    // value over a register without reading it again was 5 % faster.
                    let both = *entry.cast::<u64>();
                    let value = _mm256_castsi256_ps(_mm256_set1_epi32(both as u32 as i32));
                    let right = tile.byte_add((both >> 32) as usize);
                    for (i, sum) in sum.iter_mut().enumerate() {
                        *sum = _mm256_fmadd_ps(value, _mm256_load_ps(right.add(i * EIGHT)), *sum);
                    }
                    entry = entry.add(1);
                }
                for (i, sum) in sum.iter().enumerate() {
                    _mm256_storeu_ps(to.add(i * EIGHT), *sum);
                }
                ahead.call();
            }
        }
    }
}

/// The part of the right matrix that comes next, to be called into a cache while the tile before it is in use: 3 to 6 %.
pub(super) struct Ahead {
    from: *const f32,
    step: usize,
    /// Pieces that lie in one piece each, and lines of the cache in one of them.
    pieces: usize,
    lines: usize,
}

impl Ahead {
    /// Floats in a line of the cache.
    pub(super) const LINE: usize = 16;

    /// Some terms and columns of a matrix, as many of them as it has.
    pub(super) fn of(b: &Matrix, term: usize, terms: usize, column: usize, columns: usize) -> Self {
        let from = b.values.as_ptr().wrapping_add(term * b.row_step + column * b.column_step);
        let (terms, columns) = (terms.min(b.rows - term), columns.min(b.columns.saturating_sub(column)));
        let by_rows = b.column_step == 1;
        let (step, pieces, len) = if by_rows { (b.row_step, terms, columns) } else { (b.column_step, columns, terms) };
        Self { from, step, pieces, lines: len.div_ceil(Self::LINE) }
    }

    /// Some terms of a panel.
    pub(super) fn of_panel(from: *const f32, terms: usize) -> Self {
        let columns = Instructions::Avx2.columns();
        Self { from, step: columns, pieces: terms, lines: columns / Self::LINE }
    }

    /// Calls for the next piece.
    #[inline(always)]
    fn call(&mut self) {
        if self.pieces > 0 {
            for line in 0..self.lines {
                // SAFETY: this is a hint, and no address is wrong for it.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(self.from.wrapping_add(line * Self::LINE).cast()) };
            }
            self.from = self.from.wrapping_add(self.step);
            self.pieces -= 1;
        }
    }
}

/// For each number of 8 bits the places of those that are set.
pub(super) static PLACES: [[u32; EIGHT]; 256] = {
    let mut places = [[0; EIGHT]; 256];
    let mut set = 0;
    while set < 256 {
        let (mut bit, mut n) = (0, 0);
        while bit < EIGHT {
            if set >> bit & 1 == 1 {
                places[set][n] = bit as u32;
                n += 1;
            }
            bit += 1;
        }
        set += 1;
    }
    places
};

/// Writes down what is not zero of `n` values, of which each is multiplied by a row of a tile `row` bytes behind the one
/// before; how many that are.
#[target_feature(enable = "avx2,popcnt")]
unsafe fn compress_avx2(x: *const f32, n: usize, row: i32, to: *mut Entry) -> usize {
    let mut at = _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(row));
    let further = _mm256_set1_epi32(EIGHT as i32 * row);
    let mut len = 0;
    for i in (0..n - n % EIGHT).step_by(EIGHT) {
        // SAFETY: the caller has the values and room for 8 entries more than are counted.
        unsafe {
            let values = _mm256_loadu_ps(x.add(i));
            // What is no number is not zero.
            let set = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NEQ_UQ>(values, _mm256_setzero_ps())) as usize;
            let places = _mm256_loadu_si256(PLACES[set].as_ptr().cast());
            let values = _mm256_permutevar8x32_ps(values, places);
            let rows = _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(at, places));
            let (low, high) = (_mm256_unpacklo_ps(values, rows), _mm256_unpackhi_ps(values, rows));
            let to = to.add(len).cast::<f32>();
            _mm256_storeu_ps(to, _mm256_permute2f128_ps::<0x20>(low, high));
            _mm256_storeu_ps(to.add(EIGHT), _mm256_permute2f128_ps::<0x31>(low, high));
            len += set.count_ones() as usize;
        }
        at = _mm256_add_epi32(at, further);
    }
    for i in n - n % EIGHT..n {
        // SAFETY: as above.
        unsafe {
            let value = *x.add(i);
            if value != 0.0 {
                *to.add(len) = Entry { value, at: (i as i32 * row) as u32 };
                len += 1;
            }
        }
    }
    len
}
