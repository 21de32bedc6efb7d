//! The product without zeros on x86-64, with AVX2 or AVX-512. It needs nothing of the standard library but memory, so that
//! it also runs where there is no operating system: in the emulator of `.ci/avx512`.

use std::arch::x86_64::*;

use super::super::matrix::{Matrix, MatrixMut, Then, shape};

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

/// An element that is not zero.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(8))]
struct Entry {
    value: f32,
    /// Where in the tile the row lies that it is multiplied by, in bytes.
    at: u32,
}

/// Some terms of some columns of the right matrix, `[terms, columns]`, and room for the end of a register.
#[derive(Debug)]
#[repr(align(64))]
struct Tile([f32; TILE + 2 * EIGHT]);

/// Rows of the left matrix two by two, as like each other as could be found. Where windows are alike, so are the places of
/// their zeros: a pair has 6 to 20 % more entries than half of its rows' together. A piece of the tile is read once for both
/// then, and reading it was what limited the speed.
#[derive(Debug)]
struct Pairs {
    /// Which terms of which row are not zero: 64 terms after 64, `[ROWS and one without terms]` of them.
    masks: Vec<u64>,
    rows: Vec<[u16; 2]>,
    /// The entries: the values of both rows, and where in the tile the row lies that they are multiplied by, in bytes.
    values: Vec<[f32; 2]>,
    at: Vec<u32>,
}

impl Pairs {
    /// Masks of as many terms as one number has bits: a line of whole registers, of which the last row has no terms.
    const LINE: usize = ROWS + EIGHT;

    const fn new() -> Self {
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

/// The part of the right matrix that comes next, to be called into a cache while the tile before it is in use: 3 to 6 %.
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
    /// Part of the terms after part, in each of them row after row.
    entries: Vec<Entry>,
    /// The same, pair of rows after pair.
    pairs: Pairs,
    /// Where the entries of each row, or pair, of each part begin, and where the last ones end.
    begins: Vec<u32>,
    /// Rows of a left matrix that lies by columns.
    turned: Vec<f32>,
    /// Sums, `[rows, columns of a tile]`.
    sums: Vec<f32>,
}

impl Room {
    pub const fn new() -> Self {
        Self {
            pieces: Vec::new(),
            places: Vec::new(),
            tile: Tile([0.0; TILE + 2 * EIGHT]),
            entries: Vec::new(),
            pairs: Pairs::new(),
            begins: Vec::new(),
            turned: Vec::new(),
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
                unsafe { self.list(with, a, first_row..first_row + rows, first_term..first_term + count) };
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
                        let visits = if with == Instructions::Avx512 { self.pairs.rows.len() } else { rows };
                        let begins = &self.begins[part * visits..][..visits + 1];
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
                                    in_registers!(rows_avx2, &self.entries, EIGHT, 1 2 3 4 5 6 7)
                                }
                                Instructions::Avx512 => {
                                    in_registers!(pairs_avx512, &self.pairs, 2 * EIGHT, 1 2 3 4 5 6 7)
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

    /// Lists what is not zero in some rows and terms of `a`, in parts of as many terms as a tile has.
    #[target_feature(enable = "avx2,fma,popcnt")]
    unsafe fn list(&mut self, with: Instructions, a: Matrix, rows: std::ops::Range<usize>, of: std::ops::Range<usize>) {
        if with == Instructions::Avx512 {
            // SAFETY: the caller vouches for it.
            return unsafe { self.list_pairs(a, rows, of) };
        }
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

    /// The same by pairs of rows.
    #[target_feature(enable = "avx512f,popcnt")]
    unsafe fn list_pairs(&mut self, a: Matrix, rows: std::ops::Range<usize>, of: std::ops::Range<usize>) {
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
                self.turned.resize(self.turned.len().max(ROWS * step), 0.0);
                transpose(start, a.column_step, (count, n), self.turned.as_mut_ptr(), step);
                (self.turned.as_ptr(), step)
            }
        };
        let pairs = &mut self.pairs;
        pairs.masks.clear();
        pairs.masks.resize(count.div_ceil(terms) * Pairs::LINE, 0);
        let valid = |from: usize| u16::MAX >> (SIXTEEN - SIXTEEN.min(count - from));
        for row in 0..n {
            for at in (0..count).step_by(SIXTEEN) {
                // SAFETY: no value behind the row's last is read.
                let set = unsafe {
                    let values = _mm512_maskz_loadu_ps(valid(at), values.add(row * step + at));
                    // What is no number is not zero.
                    _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(values, _mm512_setzero_ps())
                };
                pairs.masks[at / terms * Pairs::LINE + row] |= u64::from(set) << (at % terms);
            }
        }
        pairs.find(n);
        // Whole registers are written, of which the last values may be too many.
        let most = pairs.rows.len() * count + SIXTEEN;
        pairs.values.resize(pairs.values.len().max(most), [0.0; 2]);
        pairs.at.resize(pairs.at.len().max(most), 0);
        self.begins.clear();
        let step_of_tile = (Instructions::Avx512.columns() * size_of::<f32>()) as i32;
        let sixteen = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let sixteen = _mm512_mullo_epi32(sixteen, _mm512_set1_epi32(step_of_tile));
        // Where values of the one (from 0 on) and of the other (from 16 on) lie side by side.
        let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        let high = _mm512_add_epi32(low, _mm512_set1_epi32(EIGHT as i32));
        let (values_to, at_to) = (pairs.values.as_mut_ptr(), pairs.at.as_mut_ptr());
        let mut len = 0;
        for (part, line) in pairs.masks.chunks_exact(Pairs::LINE).enumerate() {
            for pair in &pairs.rows {
                self.begins.push(len as u32);
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
        self.begins.push(len as u32);
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

/// Adds the products of each row's entries to its sums, or writes them where they are `new`: `begins` tells where the entries
/// of each row begin, and where the last one's end. Columns of the tile behind `REGISTERS` of them are left out.
#[target_feature(enable = "avx2,fma")]
unsafe fn rows_avx2<const REGISTERS: usize>(
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
unsafe fn pairs_avx512<const REGISTERS: usize>(
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

/// Writes the wanted ones of `width` values of each row side by side. A register more is written behind them.
#[allow(clippy::too_many_arguments)]
#[target_feature(enable = "avx2,popcnt")]
unsafe fn pack(
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
unsafe fn transpose(from: *const f32, from_step: usize, sizes: (usize, usize), to: *mut f32, to_step: usize) {
    // SAFETY: the caller has so many values on both sides.
    unsafe { transpose_rows(from, |row| row * from_step, sizes, to, to_step) }
}

/// The same of rows of which each begins at some place.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn transpose_rows(
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
unsafe fn load(
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

/// How a part of the result is written: with what the sums meet, of the part's first row and column.
#[derive(Debug, Clone, Copy)]
enum Store {
    Write,
    Add,
    Bias(*const f32),
    BiasRelu(*const f32),
    /// And the step from one row to the next.
    Where(*const f32, usize),
}

impl Store {
    fn of(then: Then, row: usize, column: usize, columns: usize, at_once: bool) -> Self {
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
unsafe fn store(
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
