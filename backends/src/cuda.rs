//! `cuda`: NVIDIA GPUs through CubeCL, whose kernels are compiled at run time.

use burn::backend::cuda::CudaDevice;
use burn::backend::{Autodiff, Cuda};

use crate::kind::{DeviceInfo, DeviceOf, Kind, Missing};
use crate::nvidia;

pub(crate) struct This;

impl Kind for This {
    type Backend = Autodiff<Cuda<f32, i32>>;

    fn devices() -> Result<Vec<DeviceInfo>, Missing> {
        let gpus = nvidia::gpus()?;
        nvidia::compiler()?;
        Ok(gpus.into_iter().enumerate().map(|(i, gpu)| gpu.info(i, "CUDA")).collect())
    }

    fn device(info: &DeviceInfo) -> DeviceOf<Self> {
        CudaDevice::new(info.slot)
    }
}
