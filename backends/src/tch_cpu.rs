//! `tch-cpu`: libtorch, PyTorch's library, on the CPU.

use burn::backend::libtorch::LibTorchDevice;
use burn::backend::{Autodiff, LibTorch};

use crate::kind::{DeviceInfo, DeviceOf, Float, Kind, Missing};
use crate::processor::{cpu, multiplies_bf16};

pub(crate) struct This;

impl Kind for This {
    type Backend = Autodiff<LibTorch<f32>>;

    fn devices() -> Result<Vec<DeviceInfo>, Missing> {
        let half = if multiplies_bf16() {
            Ok(Float::Bf16)
        } else {
            Err("this CPU has no bf16 products (AMX or AVX-512 BF16): libtorch would compute bf16 slower than f32"
                .into())
        };
        Ok(vec![cpu("libtorch", &[Float::F64, Float::F32, Float::F16, Float::Bf16], half)])
    }

    fn device(_: &DeviceInfo) -> DeviceOf<Self> {
        LibTorchDevice::Cpu
    }
}
