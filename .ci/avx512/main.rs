//! Products of 8-bit integers, and of floats without zeros, by every way that an x86-64 has, against their definition, on a
//! bare processor.
#![no_std]
#![no_main]

extern crate alloc;
extern crate core as std;

#[allow(dead_code, unused_imports, unused_macros)]
mod int8;
#[allow(dead_code, unused_imports, unused_macros)]
mod matrix;
#[allow(dead_code, unused_imports, unused_macros)]
mod sparse {
    pub mod x86;
    pub use x86::Panels;
}

use alloc::vec;
use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::fmt::Write;

use int8::{GROUP, Instructions, Int8Weights, QUAD};
use matrix::{Matrix, MatrixMut, Then};

/// Memory from here on, given out and never taken back; a round begins from the start again.
const HEAP: usize = 0x1000_0000;
static mut NEXT: usize = HEAP;

struct Bump;

// SAFETY: there is one processor, and nothing interrupts it.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            let at = (NEXT + layout.align() - 1) & !(layout.align() - 1);
            NEXT = at + layout.size();
            at as *mut u8
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Bump = Bump;

/// A byte to a port: 0xe9 is what Bochs prints.
fn put(port: u16, byte: u8) {
    // SAFETY: the ports are Bochs' own.
    unsafe { core::arch::asm!("out dx, al", in("dx") port, in("al") byte) }
}

struct Out;

impl Write for Out {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        text.bytes().for_each(|b| put(0xe9, b));
        Ok(())
    }
}

/// Ends the emulator.
fn end() -> ! {
    "Shutdown".bytes().for_each(|b| put(0x8900, b));
    loop {}
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    let _ = writeln!(Out, "PANIC {info}");
    end()
}

/// The sizes of a round, the largest sums first.
fn sizes(round: u32, random: &mut impl FnMut() -> u64) -> (usize, usize, usize) {
    match round {
        0 => (1, 1, int8::MOST_TERMS),
        1 => (7, 5, int8::MOST_TERMS),
        _ => ((random() % 20) as usize, (random() % 40) as usize, 1 + (random() % 200) as usize),
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn rust_main() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    };
    integers(&mut random);
    floats(&mut random);
    end()
}

/// `values` of `rows` rows, or of as many columns.
fn laid_out(values: &[f32], rows: usize, columns: usize, by_columns: bool) -> Vec<f32> {
    if by_columns { (0..rows * columns).map(|i| values[i % rows * columns + i / rows]).collect() } else { values.to_vec() }
}

/// Products without the zeros of the left side.
fn floats(random: &mut impl FnMut() -> u64) {
    let (mut sums, mut wrong) = (0u64, 0u64);
    for round in 0..60 {
        // SAFETY: nothing of the round before is left.
        unsafe { NEXT = HEAP };
        let mut up_to = |most: u64| (random() % most) as usize;
        let (rows, columns) = (1 + up_to(150), 1 + up_to(150));
        let terms = if round % 20 == 0 { 1000 + up_to(200) } else { up_to(130) };
        let (add, left, right, result) = (up_to(2) == 1, up_to(2) == 1, up_to(2) == 1, up_to(2) == 1);
        let every = 1 + up_to(4);
        let mut value = || up_to(2001) as f32 / 1000.0 - 1.0;
        let right_values: Vec<f32> = (0..terms * columns).map(|_| value()).collect();
        let before: Vec<f32> = (0..rows * columns).map(|_| value()).collect();
        let left_values: Vec<f32> = (0..rows * terms).map(|_| (3.0 * value() - 1.5).max(0.0)).collect();
        // Where it is every first, all are wanted; where it is every second to fourth, these are not.
        let is_wanted = |column: usize| every == 1 || column % every != 0;
        let mut wanted: Vec<u8> = vec![0; columns.div_ceil(8)];
        (0..columns).filter(|i| is_wanted(*i)).for_each(|i| wanted[i / 8] |= 1 << (i % 8));
        for with in sparse::x86::Instructions::ALL {
            let (a, b) = (laid_out(&left_values, rows, terms, left), laid_out(&right_values, terms, columns, right));
            let mut c = laid_out(&before, rows, columns, result);
            let a = if left { Matrix::new(&a, terms, rows).transposed() } else { Matrix::new(&a, rows, terms) };
            let b = if right { Matrix::new(&b, columns, terms).transposed() } else { Matrix::new(&b, terms, columns) };
            let mut to = match result {
                true => MatrixMut::new(&mut c, columns, rows).transposed(),
                false => MatrixMut::new(&mut c, rows, columns),
            };
            let then = if add { Then::Add } else { Then::Write };
            sparse::x86::Room::new().product(with, a, b, (round % 2 == 1).then_some(&wanted[..]), &mut to, then);
            for row in 0..rows {
                for column in 0..columns {
                    let products = (0..terms)
                        .map(|t| f64::from(left_values[row * terms + t]) * f64::from(right_values[t * columns + column]));
                    let at = row * columns + column;
                    let want = products.sum::<f64>() + if add { f64::from(before[at]) } else { 0.0 };
                    let got = f64::from(c[if result { column * rows + row } else { at }]);
                    sums += 1;
                    let left_out = round % 2 == 1 && !is_wanted(column) && got == 0.0;
                    // Also what is no number is wrong.
                    if !((got - want).abs() < 1e-3 || left_out) {
                        wrong += 1;
                        if wrong < 5 {
                            let _ = writeln!(Out, "{with:?} {rows}x{terms}x{columns}: row {row} column {column}: {got}, not {want}");
                        }
                    }
                }
            }
        }
    }
    let _ = writeln!(Out, "END {sums} sums without zeros by AVX-512 and AVX2, {wrong} wrong");
}

/// Products of integers.
fn integers(random: &mut impl FnMut() -> u64) {
    let (mut sums, mut wrong) = (0u64, 0u64);
    for round in 0..400 {
        // SAFETY: nothing of the round before is left.
        unsafe { NEXT = HEAP };
        let (rows, outputs, terms) = sizes(round, random);
        let (width, extreme) = (terms.next_multiple_of(QUAD), round < 2);
        let weights: Vec<i8> = (0..outputs * terms).map(|_| if extreme { -128 } else { random() as u8 as i8 }).collect();
        let x: Vec<u8> = (0..rows * width).map(|_| if extreme { 255 } else { random() as u8 }).collect();
        let packed = Int8Weights::new(&weights, terms);
        let line = packed.groups() * GROUP;
        for with in [Instructions::Avx512Vnni, Instructions::Avx2, Instructions::Plain] {
            let mut out = vec![-1i32; rows * line];
            packed.sums(with, &x, &mut Vec::new(), 0..packed.groups(), 0..packed.quads(), &mut out);
            for r in 0..rows {
                for o in 0..outputs {
                    let pairs = x[r * width..][..terms].iter().zip(&weights[o * terms..][..terms]);
                    let want: i32 = pairs.map(|(x, w)| i32::from(*x) * i32::from(*w)).sum();
                    let got = out[r * line + o];
                    sums += 1;
                    if got != want {
                        wrong += 1;
                        if wrong < 5 {
                            let _ = writeln!(Out, "{} {rows}x{outputs}x{terms}: row {r} output {o}: {got}, not {want}", with.name());
                        }
                    }
                }
            }
        }
        if round % 100 == 99 {
            let _ = writeln!(Out, "sizes {}: {sums} sums, {wrong} wrong", round + 1);
        }
    }
    let _ = writeln!(Out, "END {sums} sums by VNNI, AVX2 and portable code, {wrong} wrong");
}
