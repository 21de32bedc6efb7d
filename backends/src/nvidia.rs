//! NVIDIA's driver, asked directly: burn and libtorch panic or abort where it is missing.

use std::ffi::{CStr, c_char, c_int, c_uint};

use libloading::Library;

use crate::Device;
use crate::kind::{DeviceInfo, Float, Missing};

/// A GPU as the driver names it.
#[derive(Debug, Clone)]
pub(crate) struct Gpu {
    name: String,
    memory: u64,
    /// Compute capability, as 10 * major + minor.
    capability: u32,
    /// Of the driver, as 1000 * major + 10 * minor.
    version: u32,
}

impl Gpu {
    /// The GPU as device number `i`.
    pub fn info(self, i: usize, through: &str) -> DeviceInfo {
        let mut floats = vec![Float::F64, Float::F32];
        floats.extend((self.capability >= 53).then_some(Float::F16));
        floats.extend((self.capability >= 80).then_some(Float::Bf16));
        let mixed = match self.capability {
            80.. => Ok(Float::Bf16),
            70..80 => Ok(Float::F16),
            _ => Err("a GPU older than Volta has no tensor cores: half precision would not be faster".into()),
        };
        let (c, v) = (self.capability, self.version);
        DeviceInfo {
            device: Device::Gpu(i),
            name: self.name,
            memory: Some(self.memory),
            through: format!("{through} {}.{}, compute capability {}.{}", v / 1000, v % 1000 / 10, c / 10, c % 10),
            software: false,
            floats,
            mixed_precision: mixed,
            slot: i,
        }
    }
}

/// The driver's library.
const DRIVER: &[&str] = if cfg!(windows) { &["nvcuda.dll"] } else { &["libcuda.so.1", "libcuda.so"] };

/// The first of some libraries that can be loaded.
fn load(names: &[String]) -> Option<Library> {
    // SAFETY: these are NVIDIA's libraries, whose initialisers only set up their own tables.
    names.iter().find_map(|name| unsafe { Library::new(name) }.ok())
}

/// The GPUs that the driver lets this process use (`CUDA_VISIBLE_DEVICES` counts).
///
/// # Errors
/// When there is no driver, it does not start, or it has no GPU.
pub(crate) fn gpus() -> Result<Vec<Gpu>, Missing> {
    let names: Vec<String> = DRIVER.iter().map(ToString::to_string).collect();
    let driver = load(&names).ok_or_else(|| {
        Missing::new(
            format!("there is no NVIDIA driver ({} cannot be loaded)", DRIVER[0]),
            "install NVIDIA's driver; in a container, start it with the GPUs (`--gpus all`)",
        )
    })?;
    let asked = ask(&driver);
    // Unloading a driver that was started is asking for trouble.
    std::mem::forget(driver);
    asked
}

/// An entry of the driver's interface.
type Call<T> = unsafe extern "C" fn(T) -> c_int;

fn ask(driver: &Library) -> Result<Vec<Gpu>, Missing> {
    let old = |e: libloading::Error| {
        Missing::new(format!("the NVIDIA driver lacks an entry: {e}"), "install a newer driver (CUDA 11 or later)")
    };
    let failed = |what: &str, code: c_int| {
        let (reason, remedy) = match code {
            100 => ("the NVIDIA driver finds no GPU".to_string(), "check `nvidia-smi` and CUDA_VISIBLE_DEVICES"),
            803 => ("the NVIDIA driver's library and kernel module differ".to_string(), "restart the machine"),
            _ => (format!("{what} of the NVIDIA driver fails with code {code}"), "check `nvidia-smi`"),
        };
        Missing::new(reason, remedy)
    };
    // SAFETY: names and signatures are those of cuda.h, unchanged since CUDA 3.2; every pointer is to a live variable of
    // the size that the call writes.
    unsafe {
        let init = driver.get::<Call<c_uint>>(b"cuInit\0").map_err(old)?;
        let version_of = driver.get::<Call<*mut c_int>>(b"cuDriverGetVersion\0").map_err(old)?;
        let count_of = driver.get::<Call<*mut c_int>>(b"cuDeviceGetCount\0").map_err(old)?;
        let get = driver.get::<unsafe extern "C" fn(*mut c_int, c_int) -> c_int>(b"cuDeviceGet\0").map_err(old)?;
        let name_of = driver
            .get::<unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int>(b"cuDeviceGetName\0")
            .map_err(old)?;
        let memory_of =
            driver.get::<unsafe extern "C" fn(*mut usize, c_int) -> c_int>(b"cuDeviceTotalMem_v2\0").map_err(old)?;
        let attribute_of = driver
            .get::<unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int>(b"cuDeviceGetAttribute\0")
            .map_err(old)?;
        let check = |what: &str, code: c_int| if code == 0 { Ok(()) } else { Err(failed(what, code)) };
        check("cuInit", init(0))?;
        let (mut version, mut count) = (0, 0);
        check("cuDriverGetVersion", version_of(&mut version))?;
        check("cuDeviceGetCount", count_of(&mut count))?;
        if count <= 0 {
            return Err(failed("cuDeviceGetCount", 100));
        }
        (0..count)
            .map(|i| {
                let (mut device, mut memory, mut major, mut minor) = (0, 0usize, 0, 0);
                let mut name = [0 as c_char; 256];
                check("cuDeviceGet", get(&mut device, i))?;
                check("cuDeviceGetName", name_of(name.as_mut_ptr(), 255, device))?;
                check("cuDeviceTotalMem", memory_of(&mut memory, device))?;
                // 75 and 76: major and minor of the compute capability.
                check("cuDeviceGetAttribute", attribute_of(&mut major, 75, device))?;
                check("cuDeviceGetAttribute", attribute_of(&mut minor, 76, device))?;
                Ok(Gpu {
                    // The array is longer than what is written, so it ends with a zero.
                    name: CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned(),
                    memory: memory as u64,
                    capability: (10 * major + minor).max(0) as u32,
                    version: version.max(0) as u32,
                })
            })
            .collect()
    }
}

/// Looks for what CubeCL compiles its kernels with: NVIDIA's run-time compiler and CUDA's headers.
#[cfg(feature = "cuda")]
pub(crate) fn compiler() -> Result<(), Missing> {
    let names: Vec<String> = if cfg!(windows) {
        ["13_0", "12_0", "120_0", "112_0"].iter().map(|v| format!("nvrtc64_{v}.dll")).collect()
    } else {
        ["", ".13", ".12", ".11"].iter().map(|v| format!("libnvrtc.so{v}")).collect()
    };
    let found = load(&names);
    if found.is_none() {
        return Err(Missing::new(
            "NVIDIA's run-time compiler (libnvrtc) cannot be loaded",
            "install the CUDA toolkit (on Debian: cuda-nvrtc-12-8 of NVIDIA's repository), and put its `lib64` into \
             LD_LIBRARY_PATH",
        ));
    }
    std::mem::forget(found);
    let folders = match std::env::var_os("CUDA_PATH") {
        Some(path) => vec![std::path::PathBuf::from(path)],
        None => ["/usr/local/cuda", "/opt/cuda", "/usr"].iter().map(Into::into).collect(),
    };
    // The kernels include this one.
    if folders.iter().any(|f| f.join("include/cuda_runtime.h").exists()) || cfg!(windows) {
        return Ok(());
    }
    let looked: Vec<String> = folders.iter().map(|f| f.join("include").display().to_string()).collect();
    Err(Missing::new(
        format!("CUDA's headers are not there (looked for cuda_runtime.h in {})", looked.join(", ")),
        "install the CUDA toolkit (on Debian: cuda-cudart-dev-12-8), and set CUDA_PATH to its folder",
    ))
}
