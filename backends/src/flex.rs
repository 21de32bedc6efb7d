//! `flex`: burn's pure-Rust CPU backend, SIMD products with AVX-512 code paths where the CPU has them.

use burn::backend::{Autodiff, Flex};

use crate::kind::{DeviceInfo, DeviceOf, Float, Kind, Missing};
use crate::processor::cpu;

pub(crate) struct This;

impl Kind for This {
    type Backend = Autodiff<Flex>;

    fn devices() -> Result<Vec<DeviceInfo>, Missing> {
        let slower =
            "flex computes half precision slower than f32 (f16 1.6 times, bf16 1.3 times the time of a product)";
        Ok(vec![cpu("SIMD kernels", &[Float::F64, Float::F32, Float::F16, Float::Bf16], Err(slower.into()))])
    }

    fn device(_: &DeviceInfo) -> DeviceOf<Self> {
        Default::default()
    }
}
