//! Rows of the left matrix two by two, and what is not zero in either.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::super::matrix::Matrix;
use super::moves::transpose;
use super::{EIGHT, Instructions, ROWS};

/// Rows of the left matrix two by two, as like each other as could be found. Where windows are alike, so are the places of
/// their zeros: a pair has 6 to 20 % more entries than half of its rows' together. A piece of the tile is read once for both
/// then, and reading it was what limited the speed.
#[derive(Debug)]
pub(super) struct Pairs {
    /// Which terms of which row are not zero: 64 terms after 64, `[ROWS and one without terms]` of them.
    masks: Vec<u64>,
    pub(super) rows: Vec<[u16; 2]>,
    /// The entries: the values of both rows, and where in the tile the row lies that they are multiplied by, in bytes.
    pub(super) values: Vec<[f32; 2]>,
    pub(super) at: Vec<u32>,
}

impl Pairs {
    /// Masks of as many terms as one number has bits: a line of whole registers, of which the last row has no terms.
    const LINE: usize = ROWS + EIGHT;

    pub(super) const fn new() -> Self {
        Self { masks: Vec::new(), rows: Vec::new(), values: Vec::new(), at: Vec::new() }
    }

    /// Finds the pairs of so many rows by their masks; the last of an odd number is on its own, beside the row without terms.
    fn find(&mut self, rows: usize) {
        let mut order = [0u32; ROWS];
        for (row, key) in order[..rows].iter_mut().enumerate() {
            let terms: u32 = self.masks.chunks_exact(Self::LINE).map(|line| line[row].count_ones()).sum();
            *key = terms << 8 | row as u32;
        }
        // The fullest first: the more entries there are, the more a good partner saves.
        order[..rows].sort_unstable();
        // All bits where the row is still alone.
        let mut alone = [0u64; ROWS];
        alone[..rows].fill(u64::MAX);
        self.rows.clear();
        let counts_bits = is_x86_feature_detected!("avx512vpopcntdq");
        for key in order[..rows].iter().rev() {
            let row = (key & 0xff) as usize;
            if alone[row] == 0 {
                continue;
            }
            alone[row] = 0;
            // SAFETY: the processor has the instructions.
            let other = unsafe {
                if counts_bits {
                    most_in_common_vpopcnt(&self.masks, row, &alone)
                } else {
                    most_in_common(&self.masks, row, &alone)
                }
            };
            if let Some(other) = alone.get_mut(other) {
                *other = 0;
            }
            self.rows.push([row as u16, other as u16]);
        }
    }

    /// Finds pairs and lists what is not zero in them, in parts of as many terms as a tile has; `begins` is told where the
    /// entries of each pair of each part begin, and where the last ones end. Uses `turned` where `a` lies by columns.
    ///
    /// # Safety
    /// The processor must have the instructions, and the matrix the rows and terms, with one step of 1.
    #[target_feature(enable = "avx512f,popcnt")]
    pub(super) unsafe fn list(
        &mut self,
        a: Matrix,
        rows: Range<usize>,
        of: Range<usize>,
        turned: &mut Vec<f32>,
        begins: &mut Vec<u32>,
    ) {
        const SIXTEEN: usize = 2 * EIGHT;
        let (n, count, terms) = (rows.len(), of.len(), Instructions::Avx512.terms());
        const { assert!(Instructions::Avx512.terms() == u64::BITS as usize) };
        // SAFETY: rows and terms lie in the matrix.
        let (values, step) = unsafe {
            let start = a.values.as_ptr().add(rows.start * a.row_step + of.start * a.column_step);
            if a.column_step == 1 {
                (start, a.row_step)
            } else {
                // A line more, so that values of one term lie in different places of the cache.
                let step = count.next_multiple_of(SIXTEEN) + SIXTEEN;
                turned.resize(turned.len().max(ROWS * step), 0.0);
                transpose(start, a.column_step, (count, n), turned.as_mut_ptr(), step);
                (turned.as_ptr(), step)
            }
        };
        self.masks.clear();
        self.masks.resize(count.div_ceil(terms) * Pairs::LINE, 0);
        let valid = |from: usize| u16::MAX >> (SIXTEEN - SIXTEEN.min(count - from));
        for row in 0..n {
            for at in (0..count).step_by(SIXTEEN) {
                // SAFETY: no value behind the row's last is read.
                let set = unsafe {
                    let values = _mm512_maskz_loadu_ps(valid(at), values.add(row * step + at));
                    // What is no number is not zero.
                    _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(values, _mm512_setzero_ps())
                };
                self.masks[at / terms * Pairs::LINE + row] |= u64::from(set) << (at % terms);
            }
        }
        self.find(n);
        // Whole registers are written, of which the last values may be too many.
        let most = self.rows.len() * count + SIXTEEN;
        self.values.resize(self.values.len().max(most), [0.0; 2]);
        self.at.resize(self.at.len().max(most), 0);
        begins.clear();
        let step_of_tile = (Instructions::Avx512.columns() * size_of::<f32>()) as i32;
        let sixteen = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let sixteen = _mm512_mullo_epi32(sixteen, _mm512_set1_epi32(step_of_tile));
        // Where values of the one (from 0 on) and of the other (from 16 on) lie side by side.
        let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        let high = _mm512_add_epi32(low, _mm512_set1_epi32(EIGHT as i32));
        let (values_to, at_to) = (self.values.as_mut_ptr(), self.at.as_mut_ptr());
        let mut len = 0;
        for (part, line) in self.masks.chunks_exact(Pairs::LINE).enumerate() {
            for pair in &self.rows {
                begins.push(len as u32);
                let [one, other] = pair.map(usize::from);
                let (mut one_mask, mut other_mask) = (line[one], line[other]);
                let mut first = part * terms;
                let mut at = sixteen;
                while one_mask | other_mask != 0 {
                    let (ones, others) = (one_mask as u16, other_mask as u16);
                    let any = ones | others;
                    // SAFETY: only values that the masks tell of are read, and there is room for 16 entries more than are
                    // counted.
                    unsafe {
                        let ones = _mm512_maskz_loadu_ps(ones, values.wrapping_add(one * step + first));
                        let others = _mm512_maskz_loadu_ps(others, values.wrapping_add(other * step + first));
                        let (ones, others) =
                            (_mm512_maskz_compress_ps(any, ones), _mm512_maskz_compress_ps(any, others));
                        let to = values_to.add(len).cast::<f32>();
                        _mm512_storeu_ps(to, _mm512_permutex2var_ps(ones, low, others));
                        _mm512_storeu_ps(to.add(SIXTEEN), _mm512_permutex2var_ps(ones, high, others));
                        _mm512_storeu_epi32(at_to.add(len).cast(), _mm512_maskz_compress_epi32(any, at));
                    }
                    len += any.count_ones() as usize;
                    one_mask >>= SIXTEEN;
                    other_mask >>= SIXTEEN;
                    first += SIXTEEN;
                    at = _mm512_add_epi32(at, _mm512_set1_epi32(SIXTEEN as i32 * step_of_tile));
                }
            }
        }
        begins.push(len as u32);
    }
}

/// Which of the rows that are `alone` has the most terms in common with `row`; [`ROWS`] where there is none.
macro_rules! most_in_common {
    ($name:ident, $features:literal) => {
        #[target_feature(enable = $features)]
        fn $name(masks: &[u64], row: usize, alone: &[u64; ROWS]) -> usize {
            let mut shared = [0u64; ROWS];
            for line in masks.chunks_exact(Pairs::LINE) {
                let mask = line[row];
                shared
                    .iter_mut()
                    .zip(line)
                    .for_each(|(shared, other)| *shared += u64::from((mask & other).count_ones()));
            }
            // The first of several, and more than zero even with nothing in common.
            let keys = shared.iter().zip(alone).enumerate();
            let best =
                keys.map(|(i, (shared, alone))| ((shared + 1) << 8 | (255 - i as u64)) & alone).max().unwrap_or(0);
            if best == 0 { ROWS } else { 255 - (best & 0xff) as usize }
        }
    };
}

most_in_common!(most_in_common, "avx2,popcnt");
most_in_common!(most_in_common_vpopcnt, "avx512f,avx512vpopcntdq");
