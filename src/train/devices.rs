//! How a batch is spread: over threads where the values are in this process's memory, over devices where there are several.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend, Device as _, DeviceId};
use burn::tensor::{DType, Tensor};

use super::error::TrainError;

use super::trainee::Trainee;
use crate::error::InvalidSetting;
use crate::loss::LossConfig;
use crate::model::host::in_host_memory;
use crate::model::{ModelInput, NHits, moved};
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
    let net = net.clone().map(&mut Leaves(device));
    let input = batch.input;
    let batch = WindowBatch {
        input: ModelInput {
            insample_y: moved(input.insample_y, device),
            insample_mask: moved(input.insample_mask, device),
            hist_exog: input.hist_exog.map(|t| moved(t, device)),
            futr_exog: input.futr_exog.map(|t| moved(t, device)),
            stat_exog: input.stat_exog.map(|t| moved(t, device)),
        },
        target: moved(batch.target, device),
        target_mask: moved(batch.target_mask, device),
        host: batch.host,
    };
    (net, batch)
}

/// Makes each weight a leaf of its own on a device: burn's `fork`, which sends from device to device (see [`moved`]).
struct Leaves<'a, B: Backend>(&'a B::Device);

impl<B: AutodiffBackend> ModuleMapper<B> for Leaves<'_, B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (id, tensor, mapper) = param.consume();
        let learns = tensor.is_require_grad();
        let leaf = Tensor::from_inner(moved(tensor.inner(), self.0));
        Param::from_mapped_value(id, if learns { leaf.require_grad() } else { leaf }, mapper)
    }
}

/// Gradients of a part, brought to the device of the network.
pub(super) fn home<B: AutodiffBackend>(
    trainee: &Trainee<B>,
    grads: GradientsParams,
    manner: &Manner,
    own: &B::Device,
) -> GradientsParams {
    if !manner.is_shared() {
        return grads;
    }
    let mut homecoming = Homecoming { own, grads };
    trainee.visit(&mut homecoming);
    homecoming.grads
}

/// Brings the gradient of each weight to a device.
struct Homecoming<'a, B: Backend> {
    own: &'a B::Device,
    grads: GradientsParams,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Homecoming<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(grad) = self.grads.remove::<B::InnerBackend, D>(param.id) {
            self.grads.register(param.id, moved(grad, self.own));
        }
    }
}
