//! Products of unsigned by signed 8-bit integers, summed exactly in 32 bits, by the best instructions of the processor.
//!
//! Every way of computing them gives the same integers, so a forecast does not depend on the processor that made it.

use std::ops::Range;

/// The most terms of one sum: `255 * 128 * 65536` is still below `2^31`.
pub(crate) const MOST_TERMS: usize = 1 << 16;
/// Outputs whose weights lie together.
pub(crate) const GROUP: usize = 16;
/// Terms of one output that lie side by side.
pub(crate) const QUAD: usize = 4;
/// How many lines ahead of a single row's product its weights are fetched: 4 KiB, beyond what the processor fetches by itself,
/// which stops at the end of a page. For weights in the third cache that was 1.07 times as fast in quiet, 1.3 to 1.5 times
/// where others used the cache as well; 8 KiB were no better then, and worse in quiet.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 64;
/// Rows of a tile whose sums stay in registers.
const TILE_ROWS: usize = 6;

/// How integer products are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// Portable code.
    Plain,
    /// AVX2 of x86-64: 16 pairs at a time.
    Avx2,
    /// AVX-512 VNNI of x86-64: 64 pairs at a time.
    Avx512Vnni,
    /// NEON of 64-bit ARM: 4 pairs at a time.
    Neon,
}

impl Instructions {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Avx2, Self::Avx512Vnni, Self::Neon];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Avx2 => "avx2",
            Self::Avx512Vnni => "avx512-vnni",
            Self::Neon => "neon",
        }
    }

    /// Whether this processor has them.
    pub fn available(self) -> bool {
        match self {
            Self::Plain => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// The fastest that this processor has.
    pub fn best() -> Self {
        let order = [Self::Avx512Vnni, Self::Avx2, Self::Neon];
        order.into_iter().find(|i| i.available()).unwrap_or(Self::Plain)
    }
}

/// Four weights of each of 16 outputs, in one line of the processor's cache.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([i8; GROUP * QUAD]);

/// Weights in the order in which they are read: groups of 16 outputs, in each of them four terms of all outputs after the
/// other, so that a product reads one piece of memory from its start to its end and keeps 16 sums side by side. Outputs
/// and terms are filled up with zeros.
#[derive(Debug, Clone)]
pub(crate) struct Int8Weights {
    lines: Vec<Line>,
    /// Lines of a group.
    quads: usize,
}

impl Int8Weights {
    /// Weights `[outputs, terms]`, row-major.
    ///
    /// # Panics
    /// When there are no terms, or the values are not whole rows of them.
    pub(crate) fn new(values: &[i8], terms: usize) -> Self {
        assert!(terms > 0 && values.len().is_multiple_of(terms), "{} values in rows of {terms}", values.len());
        let quads = terms.div_ceil(QUAD);
        let mut lines = vec![Line([0; GROUP * QUAD]); (values.len() / terms).div_ceil(GROUP) * quads];
        for (o, row) in values.chunks_exact(terms).enumerate() {
            let group = &mut lines[o / GROUP * quads..][..quads];
            for (line, part) in group.iter_mut().zip(row.chunks(QUAD)) {
                line.0[o % GROUP * QUAD..][..part.len()].copy_from_slice(part);
            }
        }
        Self { lines, quads }
    }

    /// Fours of terms of an output, the last one filled up.
    pub(crate) fn quads(&self) -> usize {
        self.quads
    }

    /// Groups of outputs, the last one filled up.
    pub(crate) fn groups(&self) -> usize {
        self.lines.len() / self.quads
    }

    /// `out[r, o] = sum over i of x[r, i] * weights[o, i]`, exactly, for the outputs of `groups` and the terms of `quads`:
    /// `x` is `[rows, 4 * self.quads()]`, `out` `[rows, 16 * groups]`, both row-major. `wide` is room to work in.
    /// Instructions that this processor lacks are replaced by portable code.
    ///
    /// # Panics
    /// When the slices do not have these sizes, or a sum has more than [`MOST_TERMS`] terms.
    pub(crate) fn sums(
        &self,
        with: Instructions,
        x: &[u8],
        wide: &mut Vec<i16>,
        groups: Range<usize>,
        quads: Range<usize>,
        out: &mut [i32],
    ) {
        let (width, outputs) = (self.quads * QUAD, groups.len() * GROUP);
        assert!(groups.end <= self.groups() && quads.end <= self.quads, "{groups:?}, {quads:?}");
        assert!(quads.len() * QUAD <= MOST_TERMS, "{} terms", quads.len() * QUAD);
        assert!(x.len().is_multiple_of(width), "rows of {width} terms");
        let rows = x.len() / width;
        assert_eq!(out.len(), rows * outputs, "{rows} rows of {outputs} sums");
        // What the processor has is asked here, once for all tiles.
        let with = if with.available() { with } else { Instructions::Plain };
        match with {
            // SAFETY: the processor has AVX2, which was asked above.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => unsafe { avx2::widen(x, wide) },
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon => {
                wide.clear();
                wide.extend(x.iter().map(|v| i16::from(*v)));
            }
            _ => {}
        }
        for (to, group) in groups.enumerate() {
            let lines = &self.lines[group * self.quads..][quads.clone()];
            for r in (0..rows).step_by(TILE_ROWS) {
                let n = TILE_ROWS.min(rows - r);
                let first = r * width + quads.start * QUAD;
                let out = &mut out[r * outputs + to * GROUP..];
                match with {
                    #[cfg(target_arch = "x86_64")]
                    Instructions::Avx2 => {
                        // SAFETY: the processor has AVX2, which was asked above; the tile's rows are in `wide`.
                        unsafe { avx2::rows(n, &wide[first..], width, lines, out, outputs) }
                    }
                    #[cfg(target_arch = "x86_64")]
                    Instructions::Avx512Vnni => {
                        // SAFETY: the processor has AVX-512 F, BW and VNNI, which was asked above; the tile's rows are in `x`.
                        unsafe { vnni::rows(n, &x[first..], width, lines, out, outputs) }
                    }
                    #[cfg(target_arch = "aarch64")]
                    Instructions::Neon => {
                        // SAFETY: the processor has NEON, which was asked above; the tile's rows are in `wide`.
                        unsafe { neon::rows(n, &wide[first..], width, lines, out, outputs) }
                    }
                    _ => plain(n, &x[first..], width, lines, out, outputs),
                }
            }
        }
    }
}

/// The sums of `n` rows that are `width` apart by a group's outputs, in portable code.
fn plain(n: usize, x: &[u8], width: usize, lines: &[Line], out: &mut [i32], outputs: usize) {
    for i in 0..n {
        let mut sums = [0; GROUP];
        for (x, line) in x[i * width..].chunks_exact(QUAD).zip(lines) {
            for (sum, weights) in sums.iter_mut().zip(line.0.chunks_exact(QUAD)) {
                *sum += x.iter().zip(weights).map(|(x, w)| i32::from(*x) * i32::from(*w)).sum::<i32>();
            }
        }
        out[i * outputs..][..GROUP].copy_from_slice(&sums);
    }
}

/// Calls `tile` of the module it is used in for so many rows: their number is known when it is compiled.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! tile_of {
    ($n:expr, $($rest:expr),+) => {
        match $n {
            1 => tile::<1>($($rest),+),
            2 => tile::<2>($($rest),+),
            3 => tile::<3>($($rest),+),
            4 => tile::<4>($($rest),+),
            5 => tile::<5>($($rest),+),
            _ => tile::<{ super::TILE_ROWS }>($($rest),+),
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{AHEAD, GROUP, Line, QUAD};

    /// The same values in 16 bits, compiled for AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) fn widen(x: &[u8], wide: &mut Vec<i16>) {
        wide.resize(x.len(), 0);
        wide.iter_mut().zip(x).for_each(|(to, v)| *to = i16::from(*v));
    }

    /// The sums of `n` rows of `x` that are `width` apart by a group's outputs, into rows of `out` that are `outputs` apart.
    ///
    /// Both sides are 16 bits wide: the rows were widened once, the weights are as they are read. A multiply-add of 16-bit
    /// pairs sums two products in 32 bits and cannot overflow, unlike that of 8-bit pairs.
    ///
    /// # Safety
    /// The processor must have AVX2; each of the `n` rows must have [`QUAD`] values for every line.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn rows(n: usize, x: &[i16], width: usize, lines: &[Line], out: &mut [i32], outputs: usize) {
        // SAFETY: as the caller vouches.
        unsafe {
            if n == 1 {
                return one(x, lines, out);
            }
            for half in 0..2 {
                tile_of!(n, x, width, lines, half, &mut out[half * GROUP / 2..], outputs);
            }
        }
    }

    /// One row by all outputs of a group.
    ///
    /// # Safety
    /// As [`rows`].
    #[target_feature(enable = "avx2")]
    unsafe fn one(x: &[i16], lines: &[Line], out: &mut [i32]) {
        debug_assert!(x.len() >= lines.len() * QUAD);
        let mut sums = [_mm256_setzero_si256(); 4];
        for (q, line) in lines.iter().enumerate() {
            // A prefetch reads nothing, so it may point beyond the end.
            _mm_prefetch::<_MM_HINT_T0>((line as *const Line).wrapping_add(AHEAD).cast());
            // SAFETY: the row has values for every line, as the caller vouches.
            let left = unsafe { _mm256_set1_epi64x(x.as_ptr().add(q * QUAD).cast::<i64>().read_unaligned()) };
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: four parts of 16 bytes are the line's 64, which starts at a multiple of 64.
                let bytes = unsafe { _mm_load_si128(line.0.as_ptr().add(i * 16).cast()) };
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(left, _mm256_cvtepi8_epi16(bytes)));
            }
        }
        store([sums[0], sums[1]], out);
        store([sums[2], sums[3]], &mut out[GROUP / 2..]);
    }

    /// `R` rows by one half of a group's outputs.
    ///
    /// # Safety
    /// As [`rows`], with `R` rows.
    #[target_feature(enable = "avx2")]
    unsafe fn tile<const R: usize>(
        x: &[i16],
        width: usize,
        lines: &[Line],
        half: usize,
        out: &mut [i32],
        outputs: usize,
    ) {
        debug_assert!(half < 2 && x.len() >= (R - 1) * width + lines.len() * QUAD);
        let mut sums = [[_mm256_setzero_si256(); 2]; R];
        for (q, line) in lines.iter().enumerate() {
            // SAFETY: two parts of 16 bytes are one half of the line's 64, which starts at a multiple of 64.
            let (low, high) = unsafe {
                let half = line.0.as_ptr().add(half * 32);
                (_mm_load_si128(half.cast()), _mm_load_si128(half.add(16).cast()))
            };
            let (low, high) = (_mm256_cvtepi8_epi16(low), _mm256_cvtepi8_epi16(high));
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: each row has values for every line, as the caller vouches.
                let left =
                    unsafe { _mm256_set1_epi64x(x.as_ptr().add(i * width + q * QUAD).cast::<i64>().read_unaligned()) };
                sum[0] = _mm256_add_epi32(sum[0], _mm256_madd_epi16(left, low));
                sum[1] = _mm256_add_epi32(sum[1], _mm256_madd_epi16(left, high));
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            store(sums, &mut out[i * outputs..]);
        }
    }

    /// Adds the two sums of each of eight outputs, which stand side by side, and writes them.
    #[target_feature(enable = "avx2")]
    fn store([low, high]: [__m256i; 2], out: &mut [i32]) {
        // Of each half of 128 bits two outputs of `low`, then two of `high`.
        let sums = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(low, high));
        let out = &mut out[..8];
        // SAFETY: there is room for eight sums.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), sums) }
    }
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    use std::arch::x86_64::*;

    use super::{AHEAD, GROUP, Line, QUAD};

    /// Sums of a row that are taken side by side where there is only one: each has to wait for the one before it.
    const SIDE_BY_SIDE: usize = 4;

    /// The sums of `n` rows of `x` that are `width` apart by a group's outputs, into rows of `out` that are `outputs` apart.
    ///
    /// # Safety
    /// The processor must have AVX-512 F, BW and VNNI; each of the `n` rows must have [`QUAD`] values for every line.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) unsafe fn rows(n: usize, x: &[u8], width: usize, lines: &[Line], out: &mut [i32], outputs: usize) {
        // SAFETY: as the caller vouches.
        unsafe {
            if n == 1 {
                return one(x, lines, out);
            }
            tile_of!(n, x, width, lines, out, outputs);
        }
    }

    /// Four values of a row, 16 times.
    ///
    /// # Safety
    /// The processor must have AVX-512 F, and `x` four values from `at` on.
    #[target_feature(enable = "avx512f")]
    unsafe fn quad(x: &[u8], at: usize) -> __m512i {
        debug_assert!(at + QUAD <= x.len());
        // SAFETY: the four bytes are there, as the caller vouches.
        _mm512_set1_epi32(unsafe { x.as_ptr().add(at).cast::<i32>().read_unaligned() })
    }

    /// The weights of a line.
    #[target_feature(enable = "avx512f")]
    fn weights(line: &Line) -> __m512i {
        // SAFETY: a line is 64 bytes that start at a multiple of 64.
        unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
    }

    /// One row.
    ///
    /// # Safety
    /// As [`rows`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn one(x: &[u8], lines: &[Line], out: &mut [i32]) {
        let mut sums = [_mm512_setzero_si512(); SIDE_BY_SIDE];
        for (first, lines) in lines.chunks(SIDE_BY_SIDE).enumerate() {
            for (i, (sum, line)) in sums.iter_mut().zip(lines).enumerate() {
                // A prefetch reads nothing, so it may point beyond the end.
                _mm_prefetch::<_MM_HINT_T0>((line as *const Line).wrapping_add(AHEAD).cast());
                // SAFETY: the row has values for every line, as the caller vouches.
                let left = unsafe { quad(x, (first * SIDE_BY_SIDE + i) * QUAD) };
                *sum = _mm512_dpbusd_epi32(*sum, left, weights(line));
            }
        }
        let [a, b, c, d] = sums;
        store(_mm512_add_epi32(_mm512_add_epi32(a, b), _mm512_add_epi32(c, d)), out);
    }

    /// `R` rows.
    ///
    /// # Safety
    /// As [`rows`], with `R` rows.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn tile<const R: usize>(x: &[u8], width: usize, lines: &[Line], out: &mut [i32], outputs: usize) {
        let mut sums = [_mm512_setzero_si512(); R];
        for (q, line) in lines.iter().enumerate() {
            let right = weights(line);
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: each row has values for every line, as the caller vouches.
                *sum = _mm512_dpbusd_epi32(*sum, unsafe { quad(x, i * width + q * QUAD) }, right);
            }
        }
        for (i, sum) in sums.into_iter().enumerate() {
            store(sum, &mut out[i * outputs..]);
        }
    }

    /// Writes the sums of a group.
    #[target_feature(enable = "avx512f")]
    fn store(sums: __m512i, out: &mut [i32]) {
        let out = &mut out[..GROUP];
        // SAFETY: there is room for the 16 sums.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sums) }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::*;

    use super::{GROUP, Line, QUAD};

    /// The sums of `n` rows of `x` that are `width` apart by a group's outputs, into rows of `out` that are `outputs` apart.
    /// Both sides are 16 bits wide, whose products are added in 32.
    ///
    /// # Safety
    /// The processor must have NEON; each of the `n` rows must have [`QUAD`] values for every line.
    #[target_feature(enable = "neon")]
    pub(super) unsafe fn rows(n: usize, x: &[i16], width: usize, lines: &[Line], out: &mut [i32], outputs: usize) {
        for part in 0..GROUP / 4 {
            // SAFETY: as the caller vouches.
            unsafe { tile_of!(n, x, width, lines, part, &mut out[part * 4..], outputs) }
        }
    }

    /// `R` rows by four of a group's outputs: `part` tells which.
    ///
    /// # Safety
    /// As [`rows`], with `R` rows.
    #[target_feature(enable = "neon")]
    unsafe fn tile<const R: usize>(
        x: &[i16],
        width: usize,
        lines: &[Line],
        part: usize,
        out: &mut [i32],
        outputs: usize,
    ) {
        debug_assert!(part < 4 && x.len() >= (R - 1) * width + lines.len() * QUAD);
        let mut sums = [[vdupq_n_s32(0); 4]; R];
        for (q, line) in lines.iter().enumerate() {
            // SAFETY: four parts of 16 bytes are the line's 64.
            let bytes = unsafe { vld1q_s8(line.0.as_ptr().add(part * 16)) };
            let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes));
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: each row has values for every line, as the caller vouches.
                let left = unsafe { vld1_s16(x.as_ptr().add(i * width + q * QUAD)) };
                sum[0] = vmlal_s16(sum[0], left, vget_low_s16(low));
                sum[1] = vmlal_s16(sum[1], left, vget_high_s16(low));
                sum[2] = vmlal_s16(sum[2], left, vget_low_s16(high));
                sum[3] = vmlal_s16(sum[3], left, vget_high_s16(high));
            }
        }
        for (i, [a, b, c, d]) in sums.into_iter().enumerate() {
            let out = &mut out[i * outputs..][..4];
            // SAFETY: there is room for four sums.
            unsafe { vst1q_s32(out.as_mut_ptr(), vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d))) }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::{Purpose, Stream};

    fn bytes(seed: u64, n: usize) -> Vec<u8> {
        let mut stream = Stream::new(seed, Purpose::Synthetic, &[n as u64]);
        (0..n).map(|_| stream.next_u64() as u8).collect()
    }

    fn signed(seed: u64, n: usize) -> Vec<i8> {
        bytes(seed, n).into_iter().map(|b| b as i8).collect()
    }

    /// Rows of `terms` values, each filled up with values that count for nothing.
    fn filled_up(x: &[u8], terms: usize) -> Vec<u8> {
        let filling = vec![77; terms.next_multiple_of(QUAD) - terms];
        x.chunks(terms).flat_map(|row| [row, &filling].concat()).collect()
    }

    /// All sums, without those of outputs that fill up the last group.
    fn sums(with: Instructions, x: &[u8], weights: &[i8], terms: usize) -> Vec<i32> {
        let packed = Int8Weights::new(weights, terms);
        let (rows, outputs) = (x.len() / terms, packed.groups() * GROUP);
        let mut out = vec![-1; rows * outputs];
        let all = (0..packed.groups(), 0..packed.quads());
        packed.sums(with, &filled_up(x, terms), &mut vec![5], all.0, all.1, &mut out);
        out.chunks(outputs.max(1)).flat_map(|row| row[..weights.len() / terms].to_vec()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn every_way_of_computing_gives_the_sums_of_products(
            rows in 0usize..20, outputs in 0usize..40, terms in 1usize..200, seed in 0u64..1000,
        ) {
            let (x, weights) = (bytes(seed, rows * terms), signed(seed + 1, outputs * terms));
            let sum = |row: &[u8], line: &[i8]| row.iter().zip(line).map(|(x, w)| i32::from(*x) * i32::from(*w)).sum();
            let want: Vec<i32> =
                x.chunks(terms).flat_map(|row| weights.chunks(terms).map(|line| sum(row, line)).collect::<Vec<_>>()).collect();
            for with in Instructions::ALL.into_iter().filter(|i| i.available()) {
                prop_assert_eq!(&sums(with, &x, &weights, terms), &want, "{} {}x{}x{}", with.name(), rows, outputs, terms);
            }
        }

        #[test]
        fn sums_of_parts_add_up_to_those_of_all(
            rows in 1usize..9, groups in 1usize..4, quads in 2usize..30, at in 0usize..100, seed in 0u64..1000,
        ) {
            let (x, weights) = (bytes(seed, rows * quads * QUAD), signed(seed + 1, groups * GROUP * quads * QUAD));
            let packed = Int8Weights::new(&weights, quads * QUAD);
            let (first, cut) = (at % groups, 1 + at % (quads - 1));
            for with in Instructions::ALL.into_iter().filter(|i| i.available()) {
                let of = |quads| {
                    let mut out = vec![0; rows * (groups - first) * GROUP];
                    packed.sums(with, &x, &mut vec![], first..groups, quads, &mut out);
                    out
                };
                let parts: Vec<i32> = of(0..cut).iter().zip(of(cut..quads)).map(|(a, b)| a + b).collect();
                prop_assert_eq!(&parts, &of(0..quads), "{}", with.name());
                let all = sums(with, &x, &weights, quads * QUAD);
                let want: Vec<i32> =
                    all.chunks(groups * GROUP).flat_map(|row| row[first * GROUP..].to_vec()).collect();
                prop_assert_eq!(parts, want, "{}", with.name());
            }
        }
    }

    #[test]
    fn the_longest_sums_of_the_largest_values_do_not_overflow() {
        for with in Instructions::ALL.into_iter().filter(|i| i.available()) {
            for (weight, want) in [(-128i8, -255i64 * 128), (127, 255 * 127)] {
                for rows in [1, 2] {
                    let x = vec![255; rows * MOST_TERMS];
                    let out = sums(with, &x, &vec![weight; MOST_TERMS], MOST_TERMS);
                    let all: Vec<i64> = out.into_iter().map(i64::from).collect();
                    assert_eq!(all, vec![want * MOST_TERMS as i64; rows], "{}", with.name());
                }
            }
        }
    }

    #[test]
    fn the_best_instructions_are_there_and_others_are_replaced() {
        assert!(Instructions::best().available());
        for with in Instructions::ALL {
            assert_eq!(sums(with, &[3, 4], &[5, -6], 2), [15 - 24], "{}", with.name());
        }
    }
}
