//! `tch-cuda`: libtorch on NVIDIA GPUs. It builds with any libtorch; one with CUDA is needed to run.

use burn::backend::libtorch::LibTorchDevice;
use burn::backend::{Autodiff, LibTorch};

use crate::kind::{DeviceInfo, DeviceOf, Kind, Missing};
use crate::nvidia;

pub(crate) struct This;

impl Kind for This {
    type Backend = Autodiff<LibTorch<f32>>;

    fn devices() -> Result<Vec<DeviceInfo>, Missing> {
        let gpus = nvidia::gpus()?;
        // What libtorch says of itself needs no GPU, and panics nowhere.
        if !tch::utils::has_cuda() {
            return Err(Missing::new(
                "this program was built with a libtorch without CUDA",
                "build again with LIBTORCH naming a libtorch 2.9.0 for CUDA, or with TORCH_CUDA_VERSION=cu128 and no \
                 LIBTORCH to have one downloaded (docs/backends.md)",
            ));
        }
        let usable = tch::Cuda::device_count().max(0) as usize;
        if usable == 0 {
            return Err(Missing::new(
                format!("libtorch can use none of the {} GPUs", gpus.len()),
                "its CUDA may be newer than the driver: compare `nvidia-smi` with docs/backends.md",
            ));
        }
        Ok(gpus.into_iter().take(usable).enumerate().map(|(i, gpu)| gpu.info(i, "libtorch, CUDA")).collect())
    }

    fn device(info: &DeviceInfo) -> DeviceOf<Self> {
        LibTorchDevice::Cuda(info.slot)
    }
}
