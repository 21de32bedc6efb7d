//! How a batch is spread: over threads where the values are in this process's memory, over devices where there are several.

use burn::optim::GradientsParams;
use burn::tensor::DType;
use burn::tensor::backend::{AutodiffBackend, Backend, Device as _, DeviceId};

use super::error::TrainError;

use super::trainee::Trainee;
use crate::error::InvalidSetting;
use crate::loss::LossConfig;
use crate::model::host::in_host_memory;
use crate::model::{ModelInput, NHits};
use crate::window::WindowBatch;
use crate::workers::Workers;

/// Where and in what a step is computed; by default on the network's own device, in the type of its weights.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// The devices that take the parts of a batch in turn, the network's own first; empty for that one alone.
    pub devices: Vec<DeviceId>,
    /// The type that the network computes in, if not that of its weights.
    pub half: Option<DType>,
}

impl Manner {
    /// Whether parts are computed elsewhere than where the network is.
    pub fn is_shared(&self) -> bool {
        self.devices.len() > 1
    }

    /// The device of part `i`, where `own` is the network's.
    pub(super) fn device<B: Backend>(&self, i: usize, own: &B::Device) -> B::Device {
        match self.devices.len() {
            0 => own.clone(),
            n => B::Device::from_id(self.devices[i % n]),
        }
    }
}

/// Threads and parts for batches that are computed on `devices`.
///
/// On one device in this process's memory a batch is computed in `shares` parts by `threads` threads. Any other device
/// computes it as a whole, called from one thread: it has its own ways to share the work, and each thread would have a
/// queue of its own that waits for the others. Several devices take an equal part each, called from a thread each.
///
/// # Errors
/// When the loss is not a sum over windows and there are several devices, or the system refuses the threads.
pub(super) fn threads_and_parts<B: Backend>(
    devices: &[B::Device],
    threads: usize,
    shares: usize,
    loss: &LossConfig,
) -> Result<(Workers, usize), TrainError> {
    let threads = threads.max(1);
    let failed = |n| move |e: rayon::ThreadPoolBuildError| TrainError::Threads { n, detail: e.to_string() };
    match devices {
        [] | [_] => {
            let device = devices.first().cloned().unwrap_or_default();
            if in_host_memory::<B>(&device) {
                return Ok((Workers::sharing(threads, shares).map_err(failed(threads))?, shares));
            }
            Ok((Workers::none(), 1))
        }
        many if !loss.is_additive() => {
            let given = format!("{} devices with loss {}", many.len(), loss.name());
            let allowed = "one device: this loss is no sum over windows, so a batch cannot be split";
            Err(InvalidSetting::new("--devices", given, allowed, "take --loss mse, which ranks models alike").into())
        }
        many => {
            let n = many.len();
            Ok((Workers::sharing(threads.max(n), n).map_err(failed(n))?, n))
        }
    }
}

/// A part of a batch where it is computed: a network with leaves of its own, and the rows.
pub(super) fn part<B: AutodiffBackend>(
    net: &NHits<B>,
    batch: WindowBatch<B>,
    device: &B::Device,
) -> (NHits<B>, WindowBatch<B>) {
    use burn::module::Module;
    let net = net.clone().fork(device);
    if batch.target.device() == *device {
        return (net, batch);
    }
    let input = batch.input;
    let batch = WindowBatch {
        input: ModelInput {
            insample_y: input.insample_y.to_device(device),
            insample_mask: input.insample_mask.to_device(device),
            hist_exog: input.hist_exog.map(|t| t.to_device(device)),
            futr_exog: input.futr_exog.map(|t| t.to_device(device)),
            stat_exog: input.stat_exog.map(|t| t.to_device(device)),
        },
        target: batch.target.to_device(device),
        target_mask: batch.target_mask.to_device(device),
        host: batch.host,
    };
    (net, batch)
}

/// Gradients of a part, brought to the device of the network.
pub(super) fn home<B: AutodiffBackend>(
    trainee: &Trainee<B>,
    grads: GradientsParams,
    manner: &Manner,
    own: &B::Device,
) -> GradientsParams {
    if manner.is_shared() { grads.to_device::<B, _>(own, trainee) } else { grads }
}
