//! The CPU as a device: its name, its memory, and whether bf16 products pay on it.

use crate::Device;
use crate::kind::{DeviceInfo, Float};

/// The CPU, as a backend that computes with `floats` sees it.
pub(crate) fn cpu(through: &str, floats: &[Float], mixed_precision: Result<Float, String>) -> DeviceInfo {
    DeviceInfo {
        device: Device::Cpu,
        name: name().unwrap_or_else(|| format!("CPU ({})", std::env::consts::ARCH)),
        memory: memory(),
        through: through.to_string(),
        software: false,
        floats: floats.to_vec(),
        mixed_precision,
        slot: 0,
    }
}

/// What the system calls the CPU.
fn name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

/// Memory of the machine, in bytes.
fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kb| kb * 1024)
}

/// Whether the CPU multiplies bf16 matrices faster than f32 ones: AMX, or AVX-512 with bf16.
#[cfg(any(feature = "tch-cpu", test))]
pub(crate) fn multiplies_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::__cpuid_count;
        // Leaf 7 says what there is; older CPUs have no leaf 7.
        // Where the compiler knows `__cpuid` as safe the block is not needed.
        #[allow(unused_unsafe)]
        let (most, leaf, sub) = unsafe { (__cpuid_count(0, 0).eax, __cpuid_count(7, 0), __cpuid_count(7, 1)) };
        let amx = leaf.edx >> 22 & 1 == 1;
        let avx512_bf16 = leaf.eax >= 1 && sub.eax >> 5 & 1 == 1;
        most >= 7 && (amx || avx512_bf16)
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_says_what_it_is() {
        let cpu = cpu("this test", &[Float::F32], Ok(Float::F32));
        assert!(!cpu.name.is_empty());
        if cfg!(target_os = "linux") {
            assert!(cpu.memory.is_some_and(|bytes| bytes > 64 << 20));
            let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap();
            let told = flags.contains(" amx_bf16") || flags.contains(" avx512_bf16");
            // A container may hide a flag that the CPU has, and not the other way round.
            assert!(multiplies_bf16() || !told);
        }
    }
}
