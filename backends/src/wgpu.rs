//! `wgpu`: GPUs of every make through Vulkan, or Metal on Apple's systems, kernels in WGSL.

use crate::graphics::{Graphics, adapters, device};
use crate::kind::{DeviceInfo, DeviceOf, Kind, Missing};

pub(crate) struct This;

impl Kind for This {
    type Backend = Graphics;

    fn devices() -> Result<Vec<DeviceInfo>, Missing> {
        adapters(None)
    }

    fn device(info: &DeviceInfo) -> DeviceOf<Self> {
        device(info)
    }
}
