//! Products of unsigned by signed 8-bit integers, summed exactly in 32 bits, by the best instructions of the processor.
//!
//! Every way of computing them gives the same integers, so a forecast does not depend on the processor that made it.

/// The most terms of one sum: `255 * 128 * 65536` is still below `2^31`.
pub const MOST_TERMS: usize = 1 << 16;

/// How integer products are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// Portable code.
    Plain,
    /// AVX2 of x86-64: products of 16 pairs at a time.
    Avx2,
    /// AVX-512 VNNI of x86-64: 64 pairs at a time.
    Avx512Vnni,
    /// NEON of 64-bit ARM: 8 pairs at a time.
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

/// `out[r, o] = sum over i of x[r, i] * weights[o, i]`, exactly: `x` is `[rows, terms]`, `weights` `[outputs, terms]`,
/// `out` `[rows, outputs]`, all row-major. Instructions that this processor lacks are replaced by portable code.
///
/// # Panics
/// When the slices do not have these sizes, or a sum has more than [`MOST_TERMS`] terms.
pub fn int8_product(with: Instructions, x: &[u8], weights: &[i8], terms: usize, out: &mut [i32]) {
    assert!(terms > 0 && terms <= MOST_TERMS, "{terms} terms, expected 1 to {MOST_TERMS}");
    assert!(x.len().is_multiple_of(terms) && weights.len().is_multiple_of(terms), "rows of {terms} terms");
    let (rows, outputs) = (x.len() / terms, weights.len() / terms);
    assert_eq!(out.len(), rows * outputs, "{rows} rows of {outputs} sums");
    match with {
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 if with.available() => {
            // SAFETY: the processor has AVX2, which was asked just now; the sizes were checked above.
            unsafe { avx2::product(x, weights, terms, out) }
        }
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512Vnni if with.available() => {
            // SAFETY: the processor has AVX-512 F, BW and VNNI, which was asked just now; the sizes were checked above.
            unsafe { vnni::product(x, weights, terms, out) }
        }
        #[cfg(target_arch = "aarch64")]
        Instructions::Neon if with.available() => {
            // SAFETY: the processor has NEON, which was asked just now; the sizes were checked above.
            unsafe { neon::product(x, weights, terms, out) }
        }
        _ => plain(x, weights, terms, out),
    }
}

/// The definition, in portable code.
fn plain(x: &[u8], weights: &[i8], terms: usize, out: &mut [i32]) {
    let outputs = weights.len() / terms;
    for (row, sums) in x.chunks_exact(terms).zip(out.chunks_exact_mut(outputs.max(1))) {
        for (sum, line) in sums.iter_mut().zip(weights.chunks_exact(terms)) {
            *sum = tail(row, line);
        }
    }
}

/// One sum in portable code.
#[inline]
fn tail(x: &[u8], weights: &[i8]) -> i32 {
    x.iter().zip(weights).map(|(a, w)| i32::from(*a) * i32::from(*w)).sum()
}

/// Goes through `rows x outputs` in tiles: blocks of rows that stay in the cache, and within them tiles of at most
/// `TILE_ROWS x TILE_OUTPUTS` whose sums stay in registers. `tile` gets the first row and output and how many there are.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
fn tiles(rows: usize, outputs: usize, mut tile: impl FnMut(usize, usize, usize, usize)) {
    for block in (0..rows).step_by(BLOCK_ROWS) {
        let end = (block + BLOCK_ROWS).min(rows);
        for o in (0..outputs).step_by(TILE_OUTPUTS) {
            for r in (block..end).step_by(TILE_ROWS) {
                tile(r, o, TILE_ROWS.min(end - r), TILE_OUTPUTS.min(outputs - o));
            }
        }
    }
}

/// Goes through all tiles with the `tile` of the module it is used in, which gets `$side`s, terms, first row, first output,
/// outputs and `out`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! in_tiles {
    ($rows:expr, $outputs:expr, [$($side:expr),+], $terms:expr, $out:expr) => {
        super::tiles($rows, $outputs, |r, o, tile_rows, tile_outputs| {
            // SAFETY: the tile lies within the rows and outputs, so every index that it reads and writes is in its slice.
            unsafe {
                match (tile_rows, tile_outputs) {
                    (2, 4) => tile::<2, 4>($($side),+, $terms, r, o, $outputs, $out),
                    (1, 4) => tile::<1, 4>($($side),+, $terms, r, o, $outputs, $out),
                    _ => {
                        for i in 0..tile_rows {
                            for j in 0..tile_outputs {
                                tile::<1, 1>($($side),+, $terms, r + i, o + j, $outputs, $out);
                            }
                        }
                    }
                }
            }
        })
    };
}

/// Rows of a tile.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const TILE_ROWS: usize = 2;
/// Outputs of a tile.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const TILE_OUTPUTS: usize = 4;
/// Rows that are gone through together, so that they stay in the cache while the weights pass by.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const BLOCK_ROWS: usize = 16;

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::tail;

    /// Terms that one instruction takes.
    const LANES: usize = 16;

    /// See [`super::int8_product`]. The unsigned bytes are widened to 16 bits once, the weights as they are read; a
    /// multiply-add of 16-bit pairs sums two products in 32 bits and cannot overflow, unlike that of 8-bit pairs.
    ///
    /// # Safety
    /// The processor must have AVX2; `x` and `weights` must be whole rows of `terms` values, `out` one sum for each pair.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn product(x: &[u8], weights: &[i8], terms: usize, out: &mut [i32]) {
        let (rows, outputs) = (x.len() / terms, weights.len() / terms);
        let wide: Vec<i16> = x.iter().map(|v| i16::from(*v)).collect();
        in_tiles!(rows, outputs, [x, &wide, weights], terms, out);
    }

    /// The sums of `R` rows from `r` on by `O` outputs from `o` on.
    ///
    /// # Safety
    /// The processor must have AVX2; rows `r..r + R` and outputs `o..o + O` must be there.
    #[target_feature(enable = "avx2")]
    // The sums of a tile are indexed by row and output: that is what they are.
    #[allow(clippy::too_many_arguments, clippy::needless_range_loop)]
    unsafe fn tile<const R: usize, const O: usize>(
        x: &[u8],
        wide: &[i16],
        weights: &[i8],
        terms: usize,
        r: usize,
        o: usize,
        outputs: usize,
        out: &mut [i32],
    ) {
        let mut sums = [[_mm256_setzero_si256(); O]; R];
        let whole = terms - terms % LANES;
        if R == 1 {
            // The next tile's weights are fetched while this one is computed: rows are too short for the processor to
            // see where they lead. A prefetch reads nothing, so it may point beyond the end.
            let next = weights.as_ptr().wrapping_add((o + O) * terms);
            for at in (0..O * terms).step_by(64) {
                _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(at));
            }
        }
        for k in (0..whole).step_by(LANES) {
            let mut left = [_mm256_setzero_si256(); R];
            for (i, value) in left.iter_mut().enumerate() {
                // SAFETY: `k + LANES <= terms`, so the 16 values are inside row `r + i`, which the caller vouches for.
                *value = unsafe { _mm256_loadu_si256(wide.as_ptr().add((r + i) * terms + k).cast()) };
            }
            for j in 0..O {
                // SAFETY: likewise inside row `o + j` of the weights.
                let bytes = unsafe { _mm_loadu_si128(weights.as_ptr().add((o + j) * terms + k).cast()) };
                let right = _mm256_cvtepi8_epi16(bytes);
                for i in 0..R {
                    sums[i][j] = _mm256_add_epi32(sums[i][j], _mm256_madd_epi16(left[i], right));
                }
            }
        }
        for i in 0..R {
            for j in 0..O {
                let sum = sums[i][j];
                let half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
                let half = _mm_add_epi32(half, _mm_shuffle_epi32::<0b01_00_11_10>(half));
                let half = _mm_add_epi32(half, _mm_shuffle_epi32::<0b10_11_00_01>(half));
                let rest = |row: usize| row * terms + whole..(row + 1) * terms;
                let last = tail(&x[rest(r + i)], &weights[rest(o + j)]);
                out[(r + i) * outputs + o + j] = _mm_cvtsi128_si32(half) + last;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    use std::arch::x86_64::*;

    /// Terms that one instruction takes.
    const LANES: usize = 64;

    /// See [`super::int8_product`].
    ///
    /// # Safety
    /// The processor must have AVX-512 F, BW and VNNI; `x` and `weights` must be whole rows of `terms` values, `out` one
    /// sum for each pair.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) unsafe fn product(x: &[u8], weights: &[i8], terms: usize, out: &mut [i32]) {
        let (rows, outputs) = (x.len() / terms, weights.len() / terms);
        in_tiles!(rows, outputs, [x, weights], terms, out);
    }

    /// The sums of `R` rows from `r` on by `O` outputs from `o` on.
    ///
    /// # Safety
    /// The processor must have AVX-512 F, BW and VNNI; rows `r..r + R` and outputs `o..o + O` must be there.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    #[allow(clippy::too_many_arguments, clippy::needless_range_loop)]
    unsafe fn tile<const R: usize, const O: usize>(
        x: &[u8],
        weights: &[i8],
        terms: usize,
        r: usize,
        o: usize,
        outputs: usize,
        out: &mut [i32],
    ) {
        let mut sums = [[_mm512_setzero_si512(); O]; R];
        for k in (0..terms).step_by(LANES) {
            // Beyond the end of a row nothing is read: bytes that the mask leaves out are zero.
            let mask = u64::MAX >> (LANES - LANES.min(terms - k));
            let mut left = [_mm512_setzero_si512(); R];
            for (i, value) in left.iter_mut().enumerate() {
                // SAFETY: the mask allows `terms - k` bytes at most, so they are inside row `r + i`, which the caller
                // vouches for; masked bytes are not touched.
                *value = unsafe { _mm512_maskz_loadu_epi8(mask, x.as_ptr().add((r + i) * terms + k).cast()) };
            }
            for j in 0..O {
                // SAFETY: likewise inside row `o + j` of the weights.
                let right = unsafe { _mm512_maskz_loadu_epi8(mask, weights.as_ptr().add((o + j) * terms + k)) };
                for i in 0..R {
                    sums[i][j] = _mm512_dpbusd_epi32(sums[i][j], left[i], right);
                }
            }
        }
        for i in 0..R {
            for j in 0..O {
                out[(r + i) * outputs + o + j] = _mm512_reduce_add_epi32(sums[i][j]);
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::*;

    use super::tail;

    /// Terms that one round takes.
    const LANES: usize = 8;

    /// See [`super::int8_product`]. Both sides are widened to 16 bits, whose products are added in 32.
    ///
    /// # Safety
    /// The processor must have NEON; `x` and `weights` must be whole rows of `terms` values, `out` one sum for each pair.
    #[target_feature(enable = "neon")]
    pub(super) unsafe fn product(x: &[u8], weights: &[i8], terms: usize, out: &mut [i32]) {
        let (rows, outputs) = (x.len() / terms, weights.len() / terms);
        in_tiles!(rows, outputs, [x, weights], terms, out);
    }

    /// The sums of `R` rows from `r` on by `O` outputs from `o` on.
    ///
    /// # Safety
    /// The processor must have NEON; rows `r..r + R` and outputs `o..o + O` must be there.
    #[target_feature(enable = "neon")]
    #[allow(clippy::too_many_arguments, clippy::needless_range_loop)]
    unsafe fn tile<const R: usize, const O: usize>(
        x: &[u8],
        weights: &[i8],
        terms: usize,
        r: usize,
        o: usize,
        outputs: usize,
        out: &mut [i32],
    ) {
        let mut sums = [[vdupq_n_s32(0); O]; R];
        let whole = terms - terms % LANES;
        for k in (0..whole).step_by(LANES) {
            let mut left = [vdupq_n_s16(0); R];
            for (i, value) in left.iter_mut().enumerate() {
                // SAFETY: `k + LANES <= terms`, so the 8 values are inside row `r + i`, which the caller vouches for.
                let bytes = unsafe { vld1_u8(x.as_ptr().add((r + i) * terms + k)) };
                *value = vreinterpretq_s16_u16(vmovl_u8(bytes));
            }
            for j in 0..O {
                // SAFETY: likewise inside row `o + j` of the weights.
                let right = vmovl_s8(unsafe { vld1_s8(weights.as_ptr().add((o + j) * terms + k)) });
                for i in 0..R {
                    let low = vmlal_s16(sums[i][j], vget_low_s16(left[i]), vget_low_s16(right));
                    sums[i][j] = vmlal_high_s16(low, left[i], right);
                }
            }
        }
        for i in 0..R {
            for j in 0..O {
                let rest = |row: usize| row * terms + whole..(row + 1) * terms;
                let last = tail(&x[rest(r + i)], &weights[rest(o + j)]);
                out[(r + i) * outputs + o + j] = vaddvq_s32(sums[i][j]) + last;
            }
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn every_way_of_computing_gives_the_integers_of_the_plain_one(
            rows in 0usize..40, outputs in 0usize..23, terms in 1usize..200, seed in 0u64..1000,
        ) {
            let (x, weights) = (bytes(seed, rows * terms), signed(seed + 1, outputs * terms));
            let mut want = vec![0; rows * outputs];
            plain(&x, &weights, terms, &mut want);
            for with in Instructions::ALL.into_iter().filter(|i| i.available()) {
                let mut got = vec![-1; rows * outputs];
                int8_product(with, &x, &weights, terms, &mut got);
                prop_assert_eq!(&got, &want, "{} {}x{}x{}", with.name(), rows, outputs, terms);
            }
        }
    }

    #[test]
    fn the_plain_one_is_the_sum_of_products() {
        let mut out = [0; 4];
        int8_product(Instructions::Plain, &[1, 2, 255, 0, 3, 4], &[1, -1, -128, 5, 6, 7], 3, &mut out);
        assert_eq!(out, [1 - 2 - 255 * 128, 5 + 12 + 255 * 7, -3 - 4 * 128, 18 + 28]);
    }

    #[test]
    fn the_longest_sums_of_the_largest_values_do_not_overflow() {
        for with in Instructions::ALL.into_iter().filter(|i| i.available()) {
            for (weight, want) in [(-128i8, -255i64 * 128), (127, 255 * 127)] {
                let mut out = [0];
                int8_product(with, &vec![255; MOST_TERMS], &vec![weight; MOST_TERMS], MOST_TERMS, &mut out);
                assert_eq!(i64::from(out[0]), want * MOST_TERMS as i64, "{}", with.name());
            }
        }
    }

    #[test]
    fn the_best_instructions_are_there_and_others_are_replaced() {
        assert!(Instructions::best().available());
        for with in Instructions::ALL {
            let mut out = [0];
            int8_product(with, &[3, 4], &[5, -6], 2, &mut out);
            assert_eq!(out, [15 - 24], "{}", with.name());
        }
    }
}
