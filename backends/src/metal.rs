//! `metal`: Apple's GPUs through Metal, kernels in MSL.

use wgpu::Backends;

use crate::graphics::{Graphics, adapters, device};
use crate::kind::{DeviceInfo, DeviceOf, Kind, Missing};

pub(crate) struct This;

impl Kind for This {
    type Backend = Graphics;

    fn devices() -> Result<Vec<DeviceInfo>, Missing> {
        adapters(Some(Backends::METAL))
    }

    fn device(info: &DeviceInfo) -> DeviceOf<Self> {
        device(info)
    }
}
