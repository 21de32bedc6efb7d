//! What each backend's file says of it: its type, the devices that are there, and what is missing where there is none.

use std::fmt;

use burn::tensor::backend::{AutodiffBackend, BackendTypes};

use crate::{Choice, Device, Job, Taken};

/// The device type of a kind of backend.
pub(crate) type DeviceOf<K> = <<K as Kind>::Backend as BackendTypes>::Device;

/// A backend: one file implements this, one line of the table in `lib.rs` names it.
pub(crate) trait Kind {
    /// burn's type.
    type Backend: AutodiffBackend;

    /// The devices that are there, best first, found out without touching burn: a driver that is missing must be an
    /// error here, because burn panics on it.
    fn devices() -> Result<Vec<DeviceInfo>, Missing>;

    /// burn's device for one of [`devices`](Kind::devices).
    fn device(info: &DeviceInfo) -> DeviceOf<Self>;
}

/// A type of floating-point numbers that a device computes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Float {
    /// Double precision.
    F64,
    /// Single precision, which every backend has.
    F32,
    /// Half precision: 5 bits of exponent, so that small gradients need loss scaling.
    F16,
    /// bfloat16: the range of single precision with 8 bits of mantissa.
    Bf16,
}

impl Float {
    /// The usual short name.
    pub fn name(self) -> &'static str {
        match self {
            Float::F64 => "f64",
            Float::F32 => "f32",
            Float::F16 => "f16",
            Float::Bf16 => "bf16",
        }
    }
}

/// A device that is there.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// How `--device` names it; never [`Device::Auto`].
    pub device: Device,
    /// The name its maker gave it.
    pub name: String,
    /// Its memory in bytes, where it can be known.
    pub memory: Option<u64>,
    /// The driver or library that it is reached through.
    pub through: String,
    /// A GPU's interface that is computed on the CPU: slower than the CPU backends, for tests. Never taken unasked where
    /// there is anything else.
    pub software: bool,
    /// What it computes with.
    pub floats: Vec<Float>,
    /// The type that mixed precision computes in here, or why it has none.
    pub mixed_precision: Result<Float, String>,
    /// The backend's own number for it.
    pub(crate) slot: usize,
}

/// Why a backend has no device on this machine, and what would give it one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What is not there.
    pub reason: String,
    /// What to install or set.
    pub remedy: String,
}

impl Missing {
    pub(crate) fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { reason: reason.into(), remedy: remedy.into() }
    }
}

/// A backend that this crate knows, compiled in or not.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct BackendInfo {
    /// The name on the command line.
    pub name: &'static str,
    /// The cargo feature that brings it.
    pub feature: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Whether this build has it.
    pub compiled_in: bool,
    /// Whether two runs of the same seed give the same bits.
    pub deterministic: bool,
    /// Whether it can compute with quantized tensors.
    pub quantized: bool,
    /// Whether kernels are merged, and the fastest of several looked for: `fusion` and `autotune` of this build.
    pub fusion: bool,
    pub(crate) probe: fn() -> Result<Vec<DeviceInfo>, Missing>,
    pub(crate) touch: fn(&DeviceInfo) -> Result<(), String>,
}

impl BackendInfo {
    /// The devices that are there, best first; asked of the system anew each time.
    ///
    /// # Errors
    /// What is missing, with the remedy. A backend that is not compiled in has no devices.
    pub fn devices(&self) -> Result<Vec<DeviceInfo>, Missing> {
        (self.probe)()
    }
}

impl fmt::Debug for BackendInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendInfo")
            .field("name", &self.name)
            .field("compiled_in", &self.compiled_in)
            .finish_non_exhaustive()
    }
}

/// Runs a job on devices of one kind.
pub(crate) fn run_on<K: Kind, J: Job>(taken: &Taken, infos: &[DeviceInfo], job: J) -> J::Output {
    job.run_on::<K::Backend>(taken, infos.iter().map(K::device).collect())
}

/// Computes one sum on a device and compares it: a driver that is there may still not work. What burn would panic with
/// is the error.
pub(crate) fn touch<K: Kind>(info: &DeviceInfo) -> Result<(), String> {
    use burn::tensor::Tensor;
    let device = K::device(info);
    let sum = quietly(move || {
        let ones = Tensor::<K::Backend, 1>::from_floats([1.0, 2.0, 3.0], &device);
        ones.add_scalar(1.0).sum().into_data().convert::<f32>().to_vec::<f32>().unwrap_or_default()
    })?;
    if sum == [9.0] { Ok(()) } else { Err(format!("it computes 2 + 3 + 4 = {sum:?}")) }
}

/// Runs `work` on a thread of its own without the message that a panic prints; the panic is the error.
pub(crate) fn quietly<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    use std::sync::{Mutex, PoisonError};
    // The hook is the process's: one at a time.
    static HOOK: Mutex<()> = Mutex::new(());
    let _one = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let ended = std::thread::Builder::new().name("nhits-probe".into()).spawn(work).map(std::thread::JoinHandle::join);
    std::panic::set_hook(before);
    match ended {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it failed without a message");
            Err(text.lines().next().unwrap_or_default().trim().to_string())
        }
        Err(e) => Err(format!("no thread to try it on: {e}")),
    }
}

/// The choice that names a backend and one of its devices.
impl From<(&BackendInfo, &DeviceInfo)> for Choice {
    fn from((backend, device): (&BackendInfo, &DeviceInfo)) -> Self {
        Choice { backend: Some(backend.name.to_string()), device: device.device }
    }
}
