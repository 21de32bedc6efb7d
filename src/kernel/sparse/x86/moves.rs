//! Moving values: into a tile, and sums into the result.

use std::arch::x86_64::*;

use super::super::super::matrix::Then;
use super::rows::{Ahead, PLACES};
use super::{EIGHT, Instructions};

/// Copies `rows` rows of `width` values.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn copy(from: *const f32, from_step: usize, to: *mut f32, to_step: usize, rows: usize, width: usize) {
    for row in 0..rows {
        // SAFETY: the caller has rows of this width on both sides.
        unsafe {
            let (from, to) = (from.add(row * from_step), to.add(row * to_step));
            let mut at = 0;
            // Most often all of it: without a call for so short a piece.
            while at + 4 * EIGHT <= width {
                for i in [at, at + EIGHT, at + 2 * EIGHT, at + 3 * EIGHT] {
                    _mm256_storeu_ps(to.add(i), _mm256_loadu_ps(from.add(i)));
                }
                at += 4 * EIGHT;
            }
            while at < width {
                *to.add(at) = *from.add(at);
                at += 1;
            }
        }
    }
}

/// Writes the wanted ones of `width` values of each row side by side. A register more is written behind them.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avx2,popcnt")]
pub(super) unsafe fn pack(
    with: Instructions,
    from: *const f32,
    from_step: usize,
    to: *mut f32,
    to_step: usize,
    rows: usize,
    width: usize,
    masks: &[u8],
) {
    for row in 0..rows {
        // SAFETY: the caller has rows of this width on one side, and so many wanted values and a register more on the other.
        unsafe {
            let (from, to) = (from.add(row * from_step), to.add(row * to_step));
            match with {
                Instructions::Avx2 => pack_avx2(from, to, width, masks),
                Instructions::Avx512 => pack_avx512(from, to, masks),
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,popcnt")]
unsafe fn pack_avx2(mut from: *const f32, mut to: *mut f32, width: usize, masks: &[u8]) {
    for (i, mask) in masks.iter().enumerate() {
        // SAFETY: the caller has `width` values on one side, and so many wanted ones and a register more on the other.
        unsafe {
            if (i + 1) * EIGHT <= width {
                let places = _mm256_loadu_si256(PLACES[*mask as usize].as_ptr().cast());
                _mm256_storeu_ps(to, _mm256_permutevar8x32_ps(_mm256_loadu_ps(from), places));
                to = to.add(mask.count_ones() as usize);
            } else {
                for place in (0..width % EIGHT).filter(|place| mask >> place & 1 == 1) {
                    *to = *from.add(place);
                    to = to.add(1);
                }
            }
        }
        from = from.wrapping_add(EIGHT);
    }
}

#[target_feature(enable = "avx512f,popcnt")]
unsafe fn pack_avx512(mut from: *const f32, mut to: *mut f32, masks: &[u8]) {
    for pair in masks.chunks(2) {
        let mask = u16::from(pair[0]) | u16::from(*pair.get(1).unwrap_or(&0)) << EIGHT;
        // SAFETY: the caller has the wanted values, and no others are read, and room for them and a register more.
        unsafe {
            let values = _mm512_maskz_compress_ps(mask, _mm512_maskz_loadu_ps(mask, from));
            _mm512_storeu_ps(to, values);
            to = to.add(mask.count_ones() as usize);
        }
        from = from.wrapping_add(2 * EIGHT);
    }
}

/// Writes `rows` rows of `columns` values as columns.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn transpose(
    from: *const f32,
    from_step: usize,
    sizes: (usize, usize),
    to: *mut f32,
    to_step: usize,
) {
    // SAFETY: the caller has so many values on both sides.
    unsafe { transpose_rows(from, |row| row * from_step, sizes, to, to_step) }
}

/// The same of rows of which each begins at some place.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn transpose_rows(
    from: *const f32,
    place: impl Fn(usize) -> usize,
    (rows, columns): (usize, usize),
    to: *mut f32,
    to_step: usize,
) {
    let (whole_rows, whole_columns) = (rows - rows % EIGHT, columns - columns % EIGHT);
    // SAFETY: the caller has so many values on both sides.
    unsafe {
        for first in (0..whole_rows).step_by(EIGHT) {
            let rows: [*const f32; EIGHT] = std::array::from_fn(|i| from.add(place(first + i)));
            for column in (0..whole_columns).step_by(EIGHT) {
                transpose_8(&rows, column, to.add(column * to_step + first), to_step);
            }
        }
        for row in 0..rows {
            for column in if row < whole_rows { whole_columns } else { 0 }..columns {
                *to.add(column * to_step + row) = *from.add(place(row) + column);
            }
        }
    }
}

/// Eight by eight of them, from `column` on, in registers.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn transpose_8(rows: &[*const f32; EIGHT], column: usize, to: *mut f32, to_step: usize) {
    // SAFETY: the caller has so many values on both sides.
    unsafe {
        // Rows i and i + 4 side by side, so that nothing has to cross the middle of a register afterwards.
        let half = |row: usize, at: usize| _mm_loadu_ps(rows[row].add(column + at));
        let pair = |row: usize, at: usize| _mm256_set_m128(half(row + 4, at), half(row, at));
        for at in [0, 4] {
            let [a, b, c, d] = [pair(0, at), pair(1, at), pair(2, at), pair(3, at)];
            let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
            let (ab_high, cd_high) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
            let to = to.add(at * to_step);
            _mm256_storeu_ps(to, _mm256_shuffle_ps::<0x44>(ab, cd));
            _mm256_storeu_ps(to.add(to_step), _mm256_shuffle_ps::<0xee>(ab, cd));
            _mm256_storeu_ps(to.add(2 * to_step), _mm256_shuffle_ps::<0x44>(ab_high, cd_high));
            _mm256_storeu_ps(to.add(3 * to_step), _mm256_shuffle_ps::<0xee>(ab_high, cd_high));
        }
    }
}

/// Reads a part of the result.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avx2,popcnt")]
pub(super) unsafe fn load(
    with: Instructions,
    c: *const f32,
    (row_step, column_step): (usize, usize),
    rows: usize,
    width: usize,
    masks: Option<&[u8]>,
    sums: *mut f32,
) {
    let columns = with.columns();
    // SAFETY: the caller has so many values on both sides.
    unsafe {
        match masks {
            Some(masks) => pack(with, c, row_step, sums, columns, rows, width, masks),
            None if column_step == 1 => copy(c, row_step, sums, columns, rows, width),
            None => transpose(c, column_step, (width, rows), sums, columns),
        }
    }
}

/// For each number of 8 bits how many are set before each place.
static RANKS: [[u32; EIGHT]; 256] = {
    let mut ranks = [[0; EIGHT]; 256];
    let mut set = 0usize;
    while set < 256 {
        let mut bit = 0;
        while bit < EIGHT {
            ranks[set][bit] = (set & ((1 << bit) - 1)).count_ones();
            bit += 1;
        }
        set += 1;
    }
    ranks
};

/// How a part of the result is written: with what the sums meet, of the part's first row and column.
#[derive(Debug, Clone, Copy)]
pub(super) enum Store {
    Write,
    Add,
    Bias(*const f32),
    BiasRelu(*const f32),
    /// And the step from one row to the next.
    Where(*const f32, usize),
}

impl Store {
    pub(super) fn of(then: Then, row: usize, column: usize, columns: usize, at_once: bool) -> Self {
        match then {
            Then::Write => Self::Write,
            // What is there is among the sums already.
            Then::Add if !at_once => Self::Write,
            Then::Add => Self::Add,
            Then::Bias(bias) => Self::Bias(bias[column..].as_ptr()),
            Then::BiasRelu(bias) => Self::BiasRelu(bias[column..].as_ptr()),
            Then::Where(y) => Self::Where(y[row * columns + column..].as_ptr(), columns),
        }
    }
}

/// Rows from the one that is written to the one that is called into the cache.
const AHEAD: usize = 4;

/// Calls some values into the first cache.
#[inline(always)]
fn call_line_by_line(values: *const f32, len: usize) {
    for at in (0..len).step_by(Ahead::LINE) {
        // SAFETY: this is a hint, and no address is wrong for it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(values.wrapping_add(at).cast()) };
    }
}

/// Writes a part of the result. With `masks` the sums are those of the wanted columns, and the others become zero; up to a
/// register more is read behind them.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avx2,popcnt")]
pub(super) unsafe fn store(
    how: Store,
    sums: *const f32,
    columns: usize,
    rows: usize,
    width: usize,
    masks: Option<&[u8]>,
    c: *mut f32,
    (row_step, column_step): (usize, usize),
) {
    // SAFETY: the caller has so many values on both sides.
    unsafe {
        match how {
            Store::Write if masks.is_none() && column_step == 1 => copy(sums, columns, c, row_step, rows, width),
            Store::Write if masks.is_none() => transpose(sums, columns, (rows, width), c, column_step),
            Store::Add if column_step != 1 => {
                for row in 0..rows {
                    for column in 0..width {
                        *c.add(row * row_step + column * column_step) += *sums.add(row * columns + column);
                    }
                }
            }
            _ => {
                for row in 0..rows {
                    let (sums, c) = (sums.add(row * columns), c.add(row * row_step));
                    // No pattern that the processor would find: the part is narrower than the matrix.
                    call_line_by_line(c.wrapping_add(AHEAD * row_step), width);
                    if let Store::Where(y, step) = how {
                        call_line_by_line(y.wrapping_add((row + AHEAD) * step), width);
                    }
                    match how {
                        Store::Write => store_row(sums, width, masks, c, c, |v, _| v, |v, _| v),
                        Store::Add => store_row(sums, width, masks, c, c, |v, c| _mm256_add_ps(v, c), |v, c| v + c),
                        Store::Bias(b) => store_row(sums, width, masks, c, b, |v, b| _mm256_add_ps(v, b), |v, b| v + b),
                        Store::BiasRelu(b) => {
                            // The second of the two if one of them is no number.
                            let relu = |v, b| _mm256_max_ps(_mm256_setzero_ps(), _mm256_add_ps(v, b));
                            store_row(sums, width, masks, c, b, relu, |v, b| if v + b < 0.0 { 0.0 } else { v + b });
                        }
                        Store::Where(y, step) => {
                            let y = y.add(row * step);
                            let above = |y| _mm256_cmp_ps::<_CMP_GT_OQ>(y, _mm256_setzero_ps());
                            let keep = |v, y| _mm256_and_ps(v, above(y));
                            store_row(sums, width, masks, c, y, keep, |v, y| if y > 0.0 { v } else { 0.0 });
                        }
                    }
                }
            }
        }
    }
}

/// Writes a row: `eight` and `one` make what is written of the sums and of what they meet.
#[inline(always)]
unsafe fn store_row(
    mut sums: *const f32,
    width: usize,
    masks: Option<&[u8]>,
    c: *mut f32,
    meets: *const f32,
    eight: impl Fn(__m256, __m256) -> __m256,
    one: impl Fn(f32, f32) -> f32,
) {
    // SAFETY: the caller has so many values on all sides, the wanted ones among the sums, and the instructions.
    unsafe {
        let bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
        let whole = width - width % EIGHT;
        for at in (0..whole).step_by(EIGHT) {
            let values = _mm256_loadu_ps(sums);
            let (values, count) = match masks {
                None => (values, EIGHT),
                Some(masks) => {
                    let mask = masks[at / EIGHT];
                    let ranks = _mm256_loadu_si256(RANKS[mask as usize].as_ptr().cast());
                    let set = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(i32::from(mask)), bits), bits);
                    let values = _mm256_permutevar8x32_ps(values, ranks);
                    (_mm256_and_ps(values, _mm256_castsi256_ps(set)), mask.count_ones() as usize)
                }
            };
            _mm256_storeu_ps(c.add(at), eight(values, _mm256_loadu_ps(meets.add(at))));
            sums = sums.add(count);
        }
        for at in whole..width {
            let wanted = masks.is_none_or(|masks| masks[at / EIGHT] >> (at % EIGHT) & 1 == 1);
            *c.add(at) = one(if wanted { *sums } else { 0.0 }, *meets.add(at));
            sums = sums.add(usize::from(wanted));
        }
    }
}
