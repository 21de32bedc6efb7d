//! `vulkan`: GPUs through Vulkan, kernels in SPIR-V.

use wgpu::Backends;

use crate::graphics::{Graphics, adapters, device};
use crate::kind::{DeviceInfo, DeviceOf, Kind, Missing};

pub(crate) struct This;

impl Kind for This {
    type Backend = Graphics;

    fn devices() -> Result<Vec<DeviceInfo>, Missing> {
        adapters(Some(Backends::VULKAN))
    }

    fn device(info: &DeviceInfo) -> DeviceOf<Self> {
        device(info)
    }
}
