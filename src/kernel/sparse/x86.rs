//! The product without zeros on x86-64, with AVX2 or AVX-512. It needs nothing of the standard library but memory, so that
//! it also runs where there is no operating system: in the emulator of `.ci/avx512`.

use std::arch::x86_64::*;

use super::super::matrix::{Matrix, MatrixMut, shape};

/// Values of a tile of the right matrix: 24 KiB of the 32 that the smallest first cache has.
const TILE: usize = 6144;
/// Rows of the left matrix for which a tile is kept.
const ROWS: usize = 128;
/// Terms of which lists are made at a time, so that they stay in the second cache.
const TERMS: usize = 1056;
/// Values in a 256-bit register.
const EIGHT: usize = 8;

/// Which instructions multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// 8 values at a time, tiles of 64 columns and 96 terms.
    Avx2,
    /// 16 values at a time, tiles of 128 columns and 48 terms.
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
    pub fn columns(self) -> usize {
        match self {
            Self::Avx2 => 64,
            Self::Avx512 => 128,
        }
    }
}

/// An element that is not zero.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(8))]
struct Entry {
    value: f32,
    /// Where in the tile the row lies that it is multiplied by, in bytes.
    at: u32,
}

/// Some terms of some columns of the right matrix, `[terms, columns]`.
#[derive(Debug)]
#[repr(align(64))]
struct Tile([f32; TILE]);

/// Some terms of eight rows of the left matrix: as many as a tile of the fewest columns has.
#[derive(Debug)]
#[repr(align(64))]
struct Eight([f32; EIGHT * TILE / 64]);

/// The part of the right matrix that comes next, to be called into the cache while the tile before it is in use: 3 to 6 %.
struct Ahead {
    from: *const f32,
    step: usize,
    /// Pieces that lie in one piece each, and lines of the cache in one of them.
    pieces: usize,
    lines: usize,
}

impl Ahead {
    /// Floats in a line of the cache.
    const LINE: usize = 16;

    fn new(b: &Matrix, term: usize, terms: usize, column: usize, columns: usize) -> Self {
        let from = b.values.as_ptr().wrapping_add(term * b.row_step + column * b.column_step);
        let (terms, columns) = (terms.min(b.rows - term), columns.min(b.columns.saturating_sub(column)));
        let by_rows = b.column_step == 1;
        let (step, pieces, len) = if by_rows { (b.row_step, terms, columns) } else { (b.column_step, columns, terms) };
        Self { from, step, pieces, lines: len.div_ceil(Self::LINE) }
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

/// Buffers of a product.
#[derive(Debug)]
pub struct Room {
    tile: Tile,
    /// Part of the terms after part, in each of them row after row.
    entries: Vec<Entry>,
    /// Where the entries of each row of each part begin, and where the last ones end.
    begins: Vec<u32>,
    /// Eight rows of a left matrix that lies by columns.
    turned: Eight,
    /// Sums, `[rows, columns of a tile]`.
    sums: Vec<f32>,
}

impl Room {
    pub const fn new() -> Self {
        Self {
            tile: Tile([0.0; TILE]),
            entries: Vec::new(),
            begins: Vec::new(),
            turned: Eight([0.0; EIGHT * TILE / 64]),
            sums: Vec::new(),
        }
    }

    /// The product, as [`super::product`] says.
    ///
    /// # Panics
    /// As there, and when the processor lacks the instructions.
    pub fn product(&mut self, with: Instructions, a: Matrix, b: Matrix, c: &mut MatrixMut, add: bool) {
        assert!(with.available(), "{with:?}");
        assert!([a.row_step, a.column_step].contains(&1), "the left matrix lies neither by rows nor by columns");
        assert!([b.row_step, b.column_step].contains(&1), "the right matrix lies neither by rows nor by columns");
        assert!([c.row_step, c.column_step].contains(&1), "the result lies neither by rows nor by columns");
        let sizes = shape(&a, &b, c);
        // SAFETY: the processor has the instructions, the steps are as they have to be, and `shape` has found every
        // element inside its slice.
        unsafe { self.checked_product(with, sizes, a, b, c, add) }
    }

    /// # Safety
    /// The processor must have the instructions, the matrices the shapes `[m, k]`, `[k, n]` and `[m, n]` with all
    /// elements inside their slices, and one step of each must be 1.
    #[target_feature(enable = "avx2,fma,popcnt")]
    unsafe fn checked_product(
        &mut self,
        with: Instructions,
        (m, k, n): (usize, usize, usize),
        a: Matrix,
        b: Matrix,
        c: &mut MatrixMut,
        add: bool,
    ) {
        let columns = with.columns();
        let terms = TILE / columns;
        self.sums.resize(ROWS * columns, 0.0);
        // Where all terms are summed at once, what is in `c` comes last, as in a dense product.
        let at_once = k <= TERMS;
        for first_row in (0..m).step_by(ROWS) {
            let rows = ROWS.min(m - first_row);
            let mut first_term = 0;
            while first_term < k.max(1) {
                let count = TERMS.min(k - first_term);
                let parts = count.div_ceil(terms);
                // SAFETY: rows and terms are some of the matrix's.
                unsafe { self.list(a, first_row..first_row + rows, first_term..first_term + count, terms, columns) };
                for first_column in (0..n).step_by(columns) {
                    let width = columns.min(n - first_column);
                    // SAFETY: the part lies inside `c`, and the sums have room for it.
                    let place =
                        unsafe { c.values.as_mut_ptr().add(first_row * c.row_step + first_column * c.column_step) };
                    let steps = (c.row_step, c.column_step);
                    let go_on = first_term > 0 || (add && !at_once);
                    if go_on {
                        // SAFETY: as above.
                        unsafe { load(place, steps, rows, width, self.sums.as_mut_ptr(), columns) };
                    } else if parts == 0 {
                        self.sums.fill(0.0);
                    }
                    for part in 0..parts {
                        let term = first_term + part * terms;
                        let these = terms.min(first_term + count - term);
                        // SAFETY: terms and columns are some of the matrix's, and the tile has room for them.
                        unsafe { self.fetch(b, term..term + these, first_column..first_column + width, columns) };
                        let begins = &self.begins[part * rows..][..rows + 1];
                        let new = part == 0 && !go_on;
                        let (next_term, next_column) = match part + 1 < parts {
                            true => (term + terms, first_column),
                            false => (first_term, first_column + columns),
                        };
                        let ahead = Ahead::new(&b, next_term, terms, next_column, columns);
                        // SAFETY: the entries of each row lie between their beginnings, each of them points to a row of
                        // the tile, and there are sums for each row.
                        unsafe {
                            match with {
                                Instructions::Avx2 => {
                                    rows_avx2(&self.entries, begins, &self.tile, &mut self.sums, new, ahead)
                                }
                                Instructions::Avx512 => {
                                    rows_avx512(&self.entries, begins, &self.tile, &mut self.sums, new, ahead)
                                }
                            }
                        }
                    }
                    // SAFETY: as above.
                    unsafe { store(self.sums.as_ptr(), columns, rows, width, place, steps, add && at_once) };
                }
                first_term += TERMS;
            }
        }
    }

    /// Lists what is not zero in some rows and terms of `a`, in parts of so many terms.
    #[target_feature(enable = "avx2,fma,popcnt")]
    unsafe fn list(
        &mut self,
        a: Matrix,
        rows: std::ops::Range<usize>,
        of: std::ops::Range<usize>,
        terms: usize,
        columns: usize,
    ) {
        let count = of.len();
        // Whole registers are written, of which the last values may be too many.
        self.entries.resize(self.entries.len().max(rows.len() * count + EIGHT), Entry::default());
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
                        transpose(start, a.column_step, (n, these), self.turned.0.as_mut_ptr(), terms);
                        (self.turned.0.as_ptr(), terms)
                    }
                };
                for _ in 0..these {
                    self.begins.push(len as u32);
                    // SAFETY: the values are those of one row, and there is room for as many entries and a register more.
                    unsafe { len += compress(row, n, columns, self.entries.as_mut_ptr().add(len)) };
                    row = row.wrapping_add(step);
                }
            }
        }
        self.begins.push(len as u32);
    }

    /// Brings a part of `b` into the tile; columns that it does not have are left as they were.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn fetch(&mut self, b: Matrix, terms: std::ops::Range<usize>, part: std::ops::Range<usize>, columns: usize) {
        let to = self.tile.0.as_mut_ptr();
        // SAFETY: terms and columns lie in the matrix, and `terms.len() * columns` values in the tile.
        unsafe {
            let from = b.values.as_ptr().add(terms.start * b.row_step + part.start * b.column_step);
            if b.column_step == 1 {
                copy(from, b.row_step, to, columns, terms.len(), part.len());
            } else {
                transpose(from, b.column_step, (part.len(), terms.len()), to, columns);
            }
        }
    }
}

/// For each number of 8 bits the places of those that are set.
static PLACES: [[u32; EIGHT]; 256] = {
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

/// Writes down what is not zero of `n` values; how many that are.
#[target_feature(enable = "avx2,popcnt")]
unsafe fn compress(x: *const f32, n: usize, columns: usize, to: *mut Entry) -> usize {
    let row = (columns * size_of::<f32>()) as i32;
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

/// Adds the products of each row's entries to its sums, or writes them where they are `new`: `begins` tells where the entries
/// of each row begin, and where the last one's end.
macro_rules! rows {
    ($name:ident, $features:literal, $width:literal, $zero:ident, $all:ident, $float:ident, $load:ident, $fused:ident, $loadu:ident, $storeu:ident) => {
        #[target_feature(enable = $features)]
        unsafe fn $name(entries: &[Entry], begins: &[u32], tile: &Tile, sums: &mut [f32], new: bool, mut ahead: Ahead) {
            const REGISTERS: usize = 8;
            for (row, sums) in begins.windows(2).zip(sums.chunks_exact_mut(REGISTERS * $width)) {
                // SAFETY: there are `REGISTERS * $width` sums for each row; the caller vouches for the entries.
                unsafe {
                    let mut entry = entries.as_ptr().add(row[0] as usize);
                    let end = entries.as_ptr().add(row[1] as usize);
                    let to = sums.as_mut_ptr();
                    let mut sum = [$zero(); REGISTERS];
                    if !new {
                        for (i, sum) in sum.iter_mut().enumerate() {
                            *sum = $loadu(to.add(i * $width));
                        }
                    }
                    // An entry is read as one number: reading pieces of the tile is what limits the speed, and spreading a
                    // value over a register without reading it again was 5 % faster.
                    let step = |entry: *const Entry, sum: &mut [_; REGISTERS]| {
                        let both = *entry.cast::<u64>();
                        let value = $all(both as u32 as i32);
                        let right = tile.0.as_ptr().byte_add((both >> 32) as usize);
                        for (i, sum) in sum.iter_mut().enumerate() {
                            *sum = $fused($float(value), $load(right.add(i * $width)), *sum);
                        }
                    };
                    while entry < end {
                        step(entry, &mut sum);
                        entry = entry.add(1);
                    }
                    for (i, sum) in sum.iter().enumerate() {
                        $storeu(to.add(i * $width), *sum);
                    }
                    ahead.call();
                }
            }
        }
    };
}

rows!(
    rows_avx2,
    "avx2,fma",
    8,
    _mm256_setzero_ps,
    _mm256_set1_epi32,
    _mm256_castsi256_ps,
    _mm256_load_ps,
    _mm256_fmadd_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps
);
rows!(
    rows_avx512,
    "avx512f",
    16,
    _mm512_setzero_ps,
    _mm512_set1_epi32,
    _mm512_castsi512_ps,
    _mm512_load_ps,
    _mm512_fmadd_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps
);

/// Copies `rows` rows of `width` values.
#[target_feature(enable = "avx2")]
unsafe fn copy(from: *const f32, from_step: usize, to: *mut f32, to_step: usize, rows: usize, width: usize) {
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

/// Writes `rows` rows of `columns` values as columns.
#[target_feature(enable = "avx2")]
unsafe fn transpose(from: *const f32, from_step: usize, (rows, columns): (usize, usize), to: *mut f32, to_step: usize) {
    let (whole_rows, whole_columns) = (rows - rows % EIGHT, columns - columns % EIGHT);
    // SAFETY: the caller has so many values on both sides.
    unsafe {
        for row in (0..whole_rows).step_by(EIGHT) {
            for column in (0..whole_columns).step_by(EIGHT) {
                let (from, to) = (from.add(row * from_step + column), to.add(column * to_step + row));
                transpose_8(from, from_step, to, to_step);
            }
        }
        for row in 0..rows {
            for column in if row < whole_rows { whole_columns } else { 0 }..columns {
                *to.add(column * to_step + row) = *from.add(row * from_step + column);
            }
        }
    }
}

/// Eight by eight of them, in registers.
#[target_feature(enable = "avx2")]
unsafe fn transpose_8(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
    // SAFETY: the caller has so many values on both sides.
    unsafe {
        // Rows i and i + 4 side by side, so that nothing has to cross the middle of a register afterwards.
        let half = |row: usize, at: usize| _mm_loadu_ps(from.add(row * from_step + at));
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
#[target_feature(enable = "avx2")]
unsafe fn load(
    c: *const f32,
    (row_step, column_step): (usize, usize),
    rows: usize,
    width: usize,
    sums: *mut f32,
    columns: usize,
) {
    // SAFETY: the caller has so many values on both sides.
    unsafe {
        if column_step == 1 {
            copy(c, row_step, sums, columns, rows, width);
        } else {
            transpose(c, column_step, (width, rows), sums, columns);
        }
    }
}

/// Writes a part of the result, or adds it.
#[target_feature(enable = "avx2")]
unsafe fn store(
    sums: *const f32,
    columns: usize,
    rows: usize,
    width: usize,
    c: *mut f32,
    (row_step, column_step): (usize, usize),
    add: bool,
) {
    // SAFETY: the caller has so many values on both sides.
    unsafe {
        if add {
            for row in 0..rows {
                for column in 0..width {
                    *c.add(row * row_step + column * column_step) += *sums.add(row * columns + column);
                }
            }
        } else if column_step == 1 {
            copy(sums, columns, c, row_step, rows, width);
        } else {
            transpose(sums, columns, (rows, width), c, column_step);
        }
    }
}
