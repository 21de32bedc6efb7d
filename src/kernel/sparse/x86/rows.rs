//! The multiplications: pieces of a tile by the entries of the rows.

use std::arch::x86_64::*;

use super::super::super::matrix::Matrix;
use super::lists::Entry;
use super::pairs::Pairs;
use super::{EIGHT, Instructions, TILE};

/// Some terms of some columns of the right matrix, `[terms, columns]`, and room for the end of a register.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Tile(pub(super) [f32; TILE + 2 * EIGHT]);

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

    pub(super) fn new(b: &Matrix, term: usize, terms: usize, column: usize, columns: usize) -> Self {
        let from = b.values.as_ptr().wrapping_add(term * b.row_step + column * b.column_step);
        let (terms, columns) = (terms.min(b.rows - term), columns.min(b.columns.saturating_sub(column)));
        let by_rows = b.column_step == 1;
        let (step, pieces, len) = if by_rows { (b.row_step, terms, columns) } else { (b.column_step, columns, terms) };
        Self { from, step, pieces, lines: len.div_ceil(Self::LINE) }
    }

    /// Calls for the next piece, into the cache that `HINT` says.
    #[inline(always)]
    fn call<const HINT: i32>(&mut self) {
        if self.pieces > 0 {
            for line in 0..self.lines {
                // SAFETY: this is a hint, and no address is wrong for it.
                unsafe { _mm_prefetch::<HINT>(self.from.wrapping_add(line * Self::LINE).cast()) };
            }
            self.from = self.from.wrapping_add(self.step);
            self.pieces -= 1;
        }
    }
}

/// Adds the products of each row's entries to its sums, or writes them where they are `new`: `begins` tells where the entries
/// of each row begin, and where the last one's end. Columns of the tile behind `REGISTERS` of them are left out.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn rows_avx2<const REGISTERS: usize>(
    entries: &[Entry],
    begins: &[u32],
    tile: &Tile,
    sums: &mut [f32],
    new: bool,
    mut ahead: Ahead,
) {
    const ROW: usize = Instructions::Avx2.columns();
    for (row, sums) in begins.windows(2).zip(sums.chunks_exact_mut(ROW)) {
        // SAFETY: there are sums for each row; the caller vouches for the entries.
        unsafe {
            let mut entry = entries.as_ptr().add(row[0] as usize);
            let end = entries.as_ptr().add(row[1] as usize);
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
                let right = tile.0.as_ptr().byte_add((both >> 32) as usize);
                for (i, sum) in sum.iter_mut().enumerate() {
                    *sum = _mm256_fmadd_ps(value, _mm256_load_ps(right.add(i * EIGHT)), *sum);
                }
                entry = entry.add(1);
            }
            for (i, sum) in sum.iter().enumerate() {
                _mm256_storeu_ps(to.add(i * EIGHT), *sum);
            }
            ahead.call::<_MM_HINT_T0>();
        }
    }
}

/// The same by pairs of rows.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn pairs_avx512<const REGISTERS: usize>(
    pairs: &Pairs,
    begins: &[u32],
    tile: &Tile,
    sums: &mut [f32],
    new: bool,
    mut ahead: Ahead,
) {
    const ROW: usize = Instructions::Avx512.columns();
    const SIXTEEN: usize = 2 * EIGHT;
    for (number, (pair, rows)) in begins.windows(2).zip(&pairs.rows).enumerate() {
        // SAFETY: there are sums for each row and for the one without terms; the caller vouches for the entries.
        unsafe {
            let [one, other] = rows.map(|row| sums.as_mut_ptr().add(usize::from(row) * ROW));
            let (mut ones, mut others) = ([_mm512_setzero_ps(); REGISTERS], [_mm512_setzero_ps(); REGISTERS]);
            if !new {
                // Those of the next pair.
                let next = pairs.rows[(number + 1).min(pairs.rows.len() - 1)];
                let next = next.map(|row| sums.as_ptr().add(usize::from(row) * ROW));
                for i in 0..REGISTERS {
                    ones[i] = _mm512_loadu_ps(one.add(i * SIXTEEN));
                    others[i] = _mm512_loadu_ps(other.add(i * SIXTEEN));
                    next.iter().for_each(|next| _mm_prefetch::<_MM_HINT_T0>(next.add(i * SIXTEEN).cast()));
                }
            }
            for entry in pair[0] as usize..pair[1] as usize {
                let values = pairs.values.as_ptr().add(entry).cast::<f32>();
                let (value, other_value) = (_mm512_set1_ps(*values), _mm512_set1_ps(*values.add(1)));
                let right = tile.0.as_ptr().byte_add(*pairs.at.as_ptr().add(entry) as usize);
                for i in 0..REGISTERS {
                    let right = _mm512_load_ps(right.add(i * SIXTEEN));
                    ones[i] = _mm512_fmadd_ps(value, right, ones[i]);
                    others[i] = _mm512_fmadd_ps(other_value, right, others[i]);
                }
            }
            for i in 0..REGISTERS {
                _mm512_storeu_ps(one.add(i * SIXTEEN), ones[i]);
                _mm512_storeu_ps(other.add(i * SIXTEEN), others[i]);
            }
        }
        // A piece for each of the two rows.
        ahead.call::<_MM_HINT_T1>();
        ahead.call::<_MM_HINT_T1>();
    }
}
