//! `ndarray`: burn's CPU backend on the ndarray crate, slower than flex and the oldest of burn's backends.

use burn::backend::{Autodiff, NdArray};

use crate::kind::{DeviceInfo, DeviceOf, Float, Kind, Missing};
use crate::processor::cpu;

pub(crate) struct This;

impl Kind for This {
    type Backend = Autodiff<NdArray<f32>>;

    fn devices() -> Result<Vec<DeviceInfo>, Missing> {
        Ok(vec![cpu("matrixmultiply", &[Float::F64, Float::F32], Err("ndarray has no half precision".into()))])
    }

    fn device(_: &DeviceInfo) -> DeviceOf<Self> {
        Default::default()
    }
}
