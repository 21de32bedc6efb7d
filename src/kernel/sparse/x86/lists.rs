//! Lists of what is not zero in the rows of the left matrix.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::super::matrix::Matrix;
use super::moves::transpose;
use super::pairs::Pairs;
use super::{EIGHT, Instructions};

/// An element that is not zero.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(8))]
pub(super) struct Entry {
    value: f32,
    /// Where in the tile the row lies that it is multiplied by, in bytes.
    at: u32,
}

/// What is not zero in some rows and terms of a left matrix.
#[derive(Debug)]
pub(super) struct Lists {
    /// Part of the terms after part, in each of them row after row.
    pub(super) entries: Vec<Entry>,
    /// The same, pair of rows after pair.
    pub(super) pairs: Pairs,
    /// Where the entries of each row, or pair, of each part begin, and where the last ones end.
    begins: Vec<u32>,
    /// Rows of a left matrix that lies by columns.
    turned: Vec<f32>,
}

impl Lists {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new(), pairs: Pairs::new(), begins: Vec::new(), turned: Vec::new() }
    }

    /// Where the entries of each row, or pair, of a part begin, and where the last ones end: the lists are those of `rows`
    /// rows.
    pub(super) fn begins(&self, with: Instructions, rows: usize, part: usize) -> &[u32] {
        let visits = if with == Instructions::Avx512 { self.pairs.rows.len() } else { rows };
        &self.begins[part * visits..][..visits + 1]
    }

    /// Lists what is not zero in some rows and terms of `a`, in parts of as many terms as a tile has.
    ///
    /// # Safety
    /// The processor must have the instructions, and the matrix the rows and terms, with one step of 1.
    #[target_feature(enable = "avx2,fma,popcnt")]
    pub(super) unsafe fn list(&mut self, with: Instructions, a: Matrix, rows: Range<usize>, of: Range<usize>) {
        // SAFETY: the caller vouches for it.
        unsafe {
            match with {
                Instructions::Avx2 => self.list_rows(a, rows, of),
                Instructions::Avx512 => self.pairs.list(a, rows, of, &mut self.turned, &mut self.begins),
            }
        }
    }

    /// Row by row.
    #[target_feature(enable = "avx2,fma,popcnt")]
    unsafe fn list_rows(&mut self, a: Matrix, rows: Range<usize>, of: Range<usize>) {
        let with = Instructions::Avx2;
        let (count, terms) = (of.len(), with.terms());
        let step_of_tile = (with.columns() * size_of::<f32>()) as i32;
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
