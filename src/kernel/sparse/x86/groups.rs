//! AVX-512: rows of the left matrix in groups, and panels of the right matrix that stay in the second cache.
//!
//! All terms of three rows are multiplied in one go, by 128 columns, so that their sums stay in registers: 24 of 32. What is
//! read of the panel for a term, eight registers, is multiplied three times, which takes longer than the second cache needs for
//! the next. Rows and the lines of the panel are read where they lie; only the places of the terms are listed.

use std::arch::x86_64::*;
use std::ops::Range;

use super::super::super::matrix::Matrix;
use super::moves::transpose;
use super::{EIGHT, Instructions, ROWS};

/// Values in a register.
pub(super) const SIXTEEN: usize = 2 * EIGHT;
/// Rows of a group. Of two, three and four three were the fastest: the more rows, the more zeros are multiplied; the fewer, the
/// more has to be read.
const TOGETHER: usize = 3;
/// Registers of sums for each row of a group.
pub(super) const REGISTERS: usize = 8;
/// Terms whose masks are one number.
const WORD: usize = u64::BITS as usize;
/// Terms from the one that is multiplied to the one that is called into the first cache.
const AHEAD: usize = 8;

/// Rows of the left matrix in groups, as like each other as could be found: what is zero in some of them only is multiplied.
/// Where windows are alike, so are the places of their zeros: a group has 1.2 (windows) or 1.3 (units) times as many terms as
/// one of its rows.
#[derive(Debug)]
pub(super) struct Groups {
    /// Which terms of which row are not zero: 64 terms after 64, [`Self::LINE`] of them.
    masks: Vec<u64>,
    /// Terms of each row.
    terms: Vec<u64>,
    /// The rows of each group; [`ROWS`] where there is none.
    rows: Vec<[u16; TOGETHER]>,
    /// The terms of each group, in bytes from the first of a row, and behind them enough for what is called ahead.
    at: Vec<u32>,
    /// Where the terms of each group begin, and where the last ones end.
    begins: Vec<u32>,
    /// Rows of a left matrix that lies by columns.
    turned: Vec<f32>,
}

/// The rows of a left matrix whose terms are listed, one after another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    values: *const f32,
    step: usize,
}

impl Groups {
    /// Masks of as many terms as one number has bits: those of the rows.
    const LINE: usize = ROWS;

    pub(super) const fn new() -> Self {
        Self {
            masks: Vec::new(),
            terms: Vec::new(),
            rows: Vec::new(),
            at: Vec::new(),
            begins: Vec::new(),
            turned: Vec::new(),
        }
    }

    /// Groups some rows, and lists their terms.
    ///
    /// # Safety
    /// The processor must have the instructions, and the matrix the rows, at most [`ROWS`], and terms, with one step of 1.
    #[target_feature(enable = "avx512f,popcnt")]
    pub(super) unsafe fn list(&mut self, a: Matrix, rows: Range<usize>, of: Range<usize>) -> Left {
        let (n, count) = (rows.len(), of.len());
        // SAFETY: rows and terms lie in the matrix.
        let left = unsafe {
            let start = a.values.as_ptr().add(rows.start * a.row_step + of.start * a.column_step);
            if a.column_step == 1 {
                Left { values: start, step: a.row_step }
            } else {
                // A line more, so that values of one term lie in different places of the cache.
                let step = count.next_multiple_of(SIXTEEN) + SIXTEEN;
                self.turned.resize(self.turned.len().max(ROWS * step), 0.0);
                transpose(start, a.column_step, (count, n), self.turned.as_mut_ptr(), step);
                Left { values: self.turned.as_ptr(), step }
            }
        };
        self.masks.clear();
        self.masks.resize(count.div_ceil(WORD) * Self::LINE, 0);
        self.terms.clear();
        self.terms.resize(ROWS, 0);
        for row in 0..n {
            // SAFETY: the row has so many values.
            unsafe { self.mask(row, std::slice::from_raw_parts(left.values.add(row * left.step), count)) };
        }
        self.find(n);
        // Whole registers are written, of which the last values may be too many.
        let most = self.rows.len() * count + SIXTEEN.max(AHEAD);
        self.at.resize(self.at.len().max(most), 0);
        self.begins.clear();
        let sixteen = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60);
        let mut len = 0;
        for group in &self.rows {
            self.begins.push(len as u32);
            let mut at = sixteen;
            for line in self.masks.chunks_exact(Self::LINE) {
                let mut any = group.iter().fold(0, |any, row| any | line.get(usize::from(*row)).unwrap_or(&0));
                for _ in 0..WORD / SIXTEEN {
                    let these = any as u16;
                    // SAFETY: there is room for 16 more than are counted.
                    unsafe {
                        let to = self.at.as_mut_ptr().add(len).cast();
                        _mm512_storeu_epi32(to, _mm512_maskz_compress_epi32(these, at));
                    }
                    len += these.count_ones() as usize;
                    any >>= SIXTEEN;
                    at = _mm512_add_epi32(at, _mm512_set1_epi32((SIXTEEN * size_of::<f32>()) as i32));
                }
            }
        }
        self.begins.push(len as u32);
        left
    }

    /// Notes which values of a row are not zero.
    #[target_feature(enable = "avx512f,popcnt")]
    fn mask(&mut self, row: usize, values: &[f32]) {
        let not_zero = |values: &[f32]| {
            let valid = u16::MAX >> (SIXTEEN - values.len());
            // SAFETY: no value behind the last is read. What is no number is not zero.
            unsafe {
                _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(_mm512_maskz_loadu_ps(valid, values.as_ptr()), _mm512_setzero_ps())
            }
        };
        let mut terms = 0;
        for (line, values) in self.masks.chunks_exact_mut(Self::LINE).zip(values.chunks(WORD)) {
            let masks = values.chunks(SIXTEEN).map(not_zero).enumerate();
            line[row] = masks.fold(0, |all, (i, mask)| all | u64::from(mask) << (i * SIXTEEN));
            terms += u64::from(line[row].count_ones());
        }
        self.terms[row] = terms;
    }

    /// Groups so many rows by their masks.
    fn find(&mut self, rows: usize) {
        let mut order = [0u64; ROWS];
        for (row, (key, terms)) in order[..rows].iter_mut().zip(&self.terms).enumerate() {
            *key = terms << 8 | row as u64;
        }
        // The fullest first: the more terms there are, the more good partners save.
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
            let mut group = [ROWS; TOGETHER];
            group[0] = row;
            for found in 1..group.len() {
                // SAFETY: the processor has the instructions.
                let next = unsafe {
                    if counts_bits {
                        most_alike_vpopcnt(&self.masks, &self.terms, &group[..found], &alone)
                    } else {
                        most_alike(&self.masks, &self.terms, &group[..found], &alone)
                    }
                };
                let Some(next) = next else { break };
                alone[next] = 0;
                group[found] = next;
            }
            self.rows.push(group.map(|row| row as u16));
        }
    }

    /// Adds the products of each group to its sums, or writes them where they are `new`. A term's values begin at `right`,
    /// `right_step` from one term to the next; `REGISTERS` full of them are read. `next`, so many bytes, is called into the
    /// second cache meanwhile.
    ///
    /// # Safety
    /// The processor must have the instructions; `left` is what [`Self::list`] gave, and as many terms must be at `right`; there
    /// must be sums for [`ROWS`] rows and one more, [`Instructions::columns`] from one to the next.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn multiply<const REGISTERS: usize>(
        &self,
        left: Left,
        right: *const f32,
        right_step: usize,
        sums: *mut f32,
        new: bool,
        (next_panel, next_bytes): (*const f32, usize),
    ) {
        let places = self.begins.last().map_or(0, |end| *end as usize);
        let next_step = next_bytes.div_ceil(places.max(1));
        const ROW: usize = Instructions::Avx512.columns();
        for (visit, rows) in self.begins.windows(2).zip(&self.rows) {
            // SAFETY: the caller has the sums and the terms, and there are places behind those of the last group.
            unsafe {
                let to = rows.map(|row| sums.add(usize::from(row) * ROW));
                // For a row that does not exist any other.
                let from = rows.map(|row| {
                    let row = if usize::from(row) == ROWS { rows[0] } else { row };
                    left.values.add(usize::from(row) * left.step)
                });
                let mut sum = [[_mm512_setzero_ps(); REGISTERS]; TOGETHER];
                if !new {
                    for (sum, to) in sum.iter_mut().zip(to) {
                        for (i, sum) in sum.iter_mut().enumerate() {
                            *sum = _mm512_loadu_ps(to.add(i * SIXTEEN));
                        }
                    }
                }
                for place in visit[0] as usize..visit[1] as usize {
                    let at = self.at.as_ptr().add(place);
                    let next = right.wrapping_byte_add(*at.add(AHEAD) as usize * right_step);
                    for i in 0..REGISTERS {
                        _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(i * SIXTEEN).cast());
                    }
                    _mm_prefetch::<_MM_HINT_T1>(next_panel.wrapping_byte_add(place * next_step).cast());
                    let at = *at as usize;
                    let right = right.byte_add(at * right_step);
                    let values = from.map(|from| _mm512_set1_ps(*from.byte_add(at)));
                    for i in 0..REGISTERS {
                        let right = _mm512_loadu_ps(right.add(i * SIXTEEN));
                        for (sum, value) in sum.iter_mut().zip(values) {
                            sum[i] = _mm512_fmadd_ps(value, right, sum[i]);
                        }
                    }
                }
                for (sum, to) in sum.iter().zip(to) {
                    for (i, sum) in sum.iter().enumerate() {
                        _mm512_storeu_ps(to.add(i * SIXTEEN), *sum);
                    }
                }
            }
        }
    }
}

/// Which of the rows that are `alone` adds the fewest terms to those of `to` beside those they share; none where there is none.
macro_rules! most_alike {
    ($name:ident, $features:literal) => {
        #[target_feature(enable = $features)]
        fn $name(masks: &[u64], terms: &[u64], to: &[usize], alone: &[u64; ROWS]) -> Option<usize> {
            let mut shared = [0u64; ROWS];
            for line in masks.chunks_exact(Groups::LINE) {
                let mask = to.iter().fold(0, |all, row| all | line[*row]);
                shared
                    .iter_mut()
                    .zip(line)
                    .for_each(|(shared, other)| *shared += u64::from((mask & other).count_ones()));
            }
            // Of terms that are not shared each counts as much as two that are; never zero, and the first of several.
            let keys = shared.iter().zip(terms).zip(alone).enumerate();
            let best = keys
                .map(|(i, ((shared, terms), alone))| {
                    let likeness = (1 << 32) + 3 * shared - 2 * terms;
                    (likeness << 8 | (255 - i as u64)) & alone
                })
                .max()
                .unwrap_or(0);
            (best > 0).then_some(255 - (best & 0xff) as usize)
        }
    };
}

most_alike!(most_alike, "avx2,popcnt");
most_alike!(most_alike_vpopcnt, "avx512f,avx512vpopcntdq");
