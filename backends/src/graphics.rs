//! GPUs through wgpu, whatever the kernels are written in: what `wgpu`, `vulkan`, `metal` and `webgpu` share.

use burn::backend::wgpu::WgpuDevice;
use burn::backend::{Autodiff, Wgpu};
use wgpu::{AdapterInfo, Backends, DeviceType, Features};

use crate::Device;
use crate::kind::{DeviceInfo, Float, Missing, quietly};

/// One type for all four, so that the training loop is compiled once for them.
pub(crate) type Graphics = Autodiff<Wgpu<f32, i32, u32>>;

/// The interface that CubeCL takes on this system.
const INTERFACE: Backends = if cfg!(target_os = "macos") { Backends::METAL } else { Backends::VULKAN };

/// What a class of adapters comes to in [`DeviceInfo::slot`]: class times this, plus the number within the class.
const CLASS: usize = 1 << 16;

/// What the kernels of this build are written in.
const KERNELS: &str = if cfg!(all(feature = "metal", target_os = "macos")) {
    "MSL"
} else if cfg!(all(feature = "vulkan", not(target_os = "macos"))) {
    "SPIR-V"
} else {
    "WGSL"
};

/// The adapters of this machine, GPUs first; none where `insisted` is another interface than the system's.
pub(crate) fn adapters(insisted: Option<Backends>) -> Result<Vec<DeviceInfo>, Missing> {
    match insisted {
        Some(Backends::METAL) if INTERFACE != Backends::METAL => {
            return Err(Missing::new("Metal is on Apple's systems only", "build with --features vulkan here"));
        }
        Some(Backends::VULKAN) if INTERFACE != Backends::VULKAN => {
            return Err(Missing::new("Vulkan is not used on Apple's systems", "build with --features metal here"));
        }
        _ => {}
    }
    let found = quietly(|| {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: INTERFACE,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let adapters = pollster::block_on(instance.enumerate_adapters(INTERFACE));
        adapters
            .into_iter()
            .map(|adapter| (adapter.get_info(), adapter.features().contains(Features::SHADER_F16)))
            .collect::<Vec<_>>()
    });
    let remedy = "install the GPU's driver and the loader (on Debian: libvulkan1 and mesa-vulkan-drivers, which has a \
                  software device too); `vulkaninfo --summary` shows what is there";
    match found {
        Ok(found) if !found.is_empty() => Ok(numbered(found)),
        Ok(_) if INTERFACE == Backends::METAL => Err(Missing::new("Metal has no device", "check the system's GPU")),
        Ok(_) => Err(Missing::new("Vulkan has no device, or is not installed", remedy)),
        Err(detail) => Err(Missing::new(format!("the adapters cannot be listed: {detail}"), remedy)),
    }
}

/// Gives the adapters their numbers: GPUs in the order discrete, integrated, virtual, then the CPU.
fn numbered(found: Vec<(AdapterInfo, bool)>) -> Vec<DeviceInfo> {
    let mut devices: Vec<DeviceInfo> = Vec::new();
    let of_class = |class: DeviceType| found.iter().filter(move |(info, _)| info.device_type == class).enumerate();
    let mut gpus = 0;
    for (class, kind) in [DeviceType::DiscreteGpu, DeviceType::IntegratedGpu, DeviceType::VirtualGpu, DeviceType::Cpu]
        .into_iter()
        .enumerate()
    {
        for (i, (info, half)) in of_class(kind) {
            let software = kind == DeviceType::Cpu;
            // CubeCL takes the first adapter that is a CPU, whatever the number.
            if software && i > 0 {
                continue;
            }
            let device = if software { Device::Cpu } else { Device::Gpu(gpus) };
            gpus += usize::from(!software);
            let mut floats = vec![Float::F32];
            floats.extend(half.then_some(Float::F16));
            devices.push(DeviceInfo {
                device,
                name: info.name.clone(),
                // wgpu does not tell a device's memory.
                memory: None,
                through: format!("{:?}, {} {}, {KERNELS}", info.backend, info.driver, info.driver_info),
                software,
                floats,
                mixed_precision: match (software, half) {
                    (false, true) => Ok(Float::F16),
                    (true, _) => Err("a software device computes f16 no faster than f32".into()),
                    (false, false) => Err("this GPU's driver offers no f16 in shaders (SHADER_F16)".into()),
                },
                slot: class * CLASS + i,
            });
        }
    }
    devices
}

/// burn's name for an adapter.
pub(crate) fn device(info: &DeviceInfo) -> WgpuDevice {
    let i = info.slot % CLASS;
    match info.slot / CLASS {
        0 => WgpuDevice::DiscreteGpu(i),
        1 => WgpuDevice::IntegratedGpu(i),
        2 => WgpuDevice::VirtualGpu(i),
        _ => WgpuDevice::Cpu,
    }
}
