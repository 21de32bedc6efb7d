//! Looking into a run: the network's weights and gradients by name, forecasts of a few windows, the window that spoilt a
//! loss, and what goes into a checkpoint.

use std::sync::Arc;

use burn::optim::GradientsParams;
use burn::optim::record::AdaptorRecord;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{ElementConversion, Tensor};

use super::callback::{ForecastSample, NetworkView};
use super::checkpoint::{Checkpoint, Entry, Section};
use super::host_steps::HostSteps;
use super::memory::Memory;
use super::optimizer::{Rule, RuleState};
use super::trainee::Trainee;
use crate::loss::Loss;
use crate::model::{
    Checked, ModelError, NHits, NamedTensor, TensorSpec, Weight, state_dict_order, to_host, transposed,
};
use crate::window::{Window, WindowBatch, WindowBatcher};

/// The validation windows that are shown, and what gathers them.
pub(super) struct Samples {
    pub windows: Vec<Window>,
    pub batcher: Arc<WindowBatcher>,
    pub loss: Loss,
    pub horizon: usize,
}

/// A network that is only fetched when someone looks.
pub(super) struct View<'a, B: Backend> {
    pub net: &'a dyn Fn() -> NHits<B>,
    pub samples: &'a Samples,
}

impl<B: Backend> std::fmt::Debug for View<'_, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

impl<B: Backend> NetworkView for View<'_, B> {
    fn weights(&self) -> Vec<NamedTensor> {
        (self.net)().tensors()
    }

    fn forecasts(&self) -> Vec<ForecastSample> {
        if self.samples.windows.is_empty() {
            return Vec::new();
        }
        let net = (self.net)();
        let Some((_, weight)) = net.weights().into_iter().next() else { return Vec::new() };
        let device = weight.device();
        let batch: WindowBatch<B> = self.samples.batcher.gather(&self.samples.windows).into_tensors(&device);
        let y_hat = to_host(net.forward(&batch.input));
        let values = self.samples.batcher.invert(&batch.host, &y_hat);
        let (horizon, outputs) =
            (self.samples.horizon, values.len() / (batch.n_windows() * self.samples.horizon).max(1));
        let panel = self.samples.batcher.panel();
        let length = net.config().input_size;
        let point = self.samples.loss.config().point_output();
        let per_window = horizon * outputs;
        let cut = |window: &Window, row: &[f64]| {
            let (s, origin) = (window.series as usize, window.origin as usize);
            let y = panel.series(s);
            let target = (origin..origin + horizon).map(|i| y.get(i).copied().unwrap_or(f64::NAN)).collect();
            ForecastSample {
                id: panel.ids[s].clone(),
                input: y[origin.saturating_sub(length)..origin.min(y.len())].to_vec(),
                target,
                forecast: row.iter().skip(point).step_by(outputs.max(1)).copied().collect(),
            }
        };
        self.samples.windows.iter().zip(values.chunks(per_window.max(1))).map(|(w, row)| cut(w, row)).collect()
    }
}

/// The gradients of a network by the names of its weights, in their layout; zeros where a weight took no part.
pub(super) fn gradients<B: AutodiffBackend>(net: &NHits<B>, grads: &GradientsParams) -> Vec<NamedTensor> {
    net.weights()
        .into_iter()
        .map(|(spec, weight)| {
            let found = match weight {
                Weight::Matrix(p) => grads.get::<B::InnerBackend, 2>(p.id).map(state_dict_order),
                Weight::Vector(p) => grads.get::<B::InnerBackend, 1>(p.id).map(to_host),
            };
            let n = spec.shape.iter().product();
            spec.named(found.unwrap_or_else(|| vec![0.0; n]))
        })
        .collect()
}

/// The window of a batch whose forecast is not finite, or else the one whose values are largest, in words.
pub(super) fn culprit<B: AutodiffBackend>(
    net: &NHits<B::InnerBackend>,
    batch: &WindowBatch<B>,
    samples: &Samples,
) -> Option<String> {
    let input = batch.input.inner();
    let y_hat = to_host(net.forward(&input));
    let n = batch.n_windows();
    let (per_window, horizon) = (y_hat.len() / n.max(1), batch.host.target.len() / n.max(1));
    let size =
        |row: &[f32]| row.iter().fold(0.0f32, |most, v| if v.is_finite() { most.max(v.abs()) } else { f32::INFINITY });
    let (at, _) = (0..n)
        .map(|i| {
            let forecast = size(&y_hat[i * per_window..(i + 1) * per_window]);
            (i, forecast.max(size(&batch.host.target[i * horizon..(i + 1) * horizon])))
        })
        .max_by(|a, b| a.1.total_cmp(&b.1))?;
    let window = batch.host.windows.get(at)?;
    let panel = samples.batcher.panel();
    let s = window.series as usize;
    let time = panel.times(s).get(window.origin as usize).map(|t| panel.clock.format(*t)).unwrap_or_default();
    Some(format!("series `{}`, forecast from {time} on", panel.ids.get(s)?))
}

/// A section's tensors of a network.
fn section<'a, B: Backend>(section: Section, net: &'a NHits<B>, entries: &mut Vec<Entry<'a>>) {
    for (spec, weight) in net.weights().into_iter().filter(|(spec, _)| spec.same_as.is_none()) {
        entries.push(Entry { section, spec, read: Box::new(move || weight.to_vec()) });
    }
}

/// A network with its moments and its average.
pub(super) struct Held<'a, B: AutodiffBackend> {
    pub net: &'a NHits<B::InnerBackend>,
    pub moments: Moments<'a, B>,
    pub average: Option<&'a NHits<B::InnerBackend>>,
}

/// Where the moments of the weights are.
pub(super) enum Moments<'a, B: AutodiffBackend> {
    Tensors(Memory<Trainee<B>, B>),
    /// They are read where they lie, one at a time: a copy of all of them would be two more of the weights.
    Slices(&'a HostSteps),
}

/// Everything with values that a checkpoint holds, and the number of updates of each weight's moments: now, and in the
/// state that a rollback goes back to.
pub(super) fn entries<'a, B: AutodiffBackend>(
    now: &Held<'a, B>,
    best: Option<&'a NHits<B::InnerBackend>>,
    back: Option<&Held<'a, B>>,
) -> (Vec<Entry<'a>>, (Vec<usize>, Vec<usize>))
where
    B::InnerBackend: 'a,
{
    let mut entries = Vec::new();
    let of_now = held(now, [Section::Weights, Section::First, Section::Second, Section::Average], &mut entries);
    if let Some(net) = best {
        section(Section::Best, net, &mut entries);
    }
    let sections = [Section::BackWeights, Section::BackFirst, Section::BackSecond, Section::BackAverage];
    let of_back = back.map(|back| held(back, sections, &mut entries)).unwrap_or_default();
    (entries, (of_now, of_back))
}

/// The tensors of a network, its moments and its average; returns the number of updates of each weight's moments.
fn held<'a, B: AutodiffBackend>(
    held: &Held<'a, B>,
    [weights, first, second, average]: [Section; 4],
    entries: &mut Vec<Entry<'a>>,
) -> Vec<usize>
where
    B::InnerBackend: 'a,
{
    section(weights, held.net, entries);
    let mut updates = Vec::new();
    let mut at = 0;
    for (spec, weight) in held.net.weights() {
        let range = at..at + spec.shape.iter().product::<usize>();
        at = range.end;
        if spec.same_as.is_some() {
            continue;
        }
        let sections = [first, second];
        updates.push(match (&held.moments, weight) {
            (Moments::Tensors(memory), weight) => {
                let record = memory.get(&weight.id()).cloned();
                match weight {
                    Weight::Matrix(_) => moments::<B, 2>(record, &spec, sections, state_dict_order, entries),
                    Weight::Vector(_) => moments::<B, 1>(record, &spec, sections, to_host, entries),
                }
            }
            (Moments::Slices(steps), weight) => {
                let (time, moments) = steps.moments(range);
                let dims = match weight {
                    Weight::Matrix(p) => p.dims(),
                    Weight::Vector(p) => [1, p.dims()[0]],
                };
                for (section, moment) in sections.into_iter().zip(moments) {
                    let Some(moment) = moment else { continue };
                    let read = move || transposed(moment, dims[0], dims[1]);
                    entries.push(Entry { section, spec: spec.clone(), read: Box::new(read) });
                }
                if moments == [None; 2] { 0 } else { time }
            }
        });
    }
    if let Some(net) = held.average {
        section(average, net, entries);
    }
    updates
}

/// Whether every weight is a finite number.
pub(super) fn is_finite<B: Backend>(net: &NHits<B>) -> bool {
    net.weights().into_iter().all(|(_, weight)| {
        // A sum of absolute values is finite if and only if each of them is, unless it overflows: in f32 that takes
        // weights that no network survives.
        let sum = match weight {
            Weight::Matrix(p) => p.val().abs().sum().into_scalar().elem::<f64>(),
            Weight::Vector(p) => p.val().abs().sum().into_scalar().elem::<f64>(),
        };
        sum.is_finite()
    })
}

/// The moments of one weight; returns their number of updates.
fn moments<'a, B: AutodiffBackend, const D: usize>(
    record: Option<AdaptorRecord<Rule, B>>,
    spec: &TensorSpec,
    [of_first, of_second]: [Section; 2],
    read: fn(Tensor<B::InnerBackend, D>) -> Vec<f32>,
    entries: &mut Vec<Entry<'a>>,
) -> usize
where
    B::InnerBackend: 'a,
{
    let Some(record) = record else { return 0 };
    let RuleState { time, first, second } = record.into_state::<D>();
    for (section, moment) in [(of_first, first), (of_second, second)] {
        if let Some(moment) = moment {
            entries.push(Entry { section, spec: spec.clone(), read: Box::new(move || read(moment.clone())) });
        }
    }
    time
}

/// A section of a checkpoint as a network.
pub(super) fn network<B: Backend>(
    checkpoint: &Checkpoint,
    section: Section,
    config: &Checked,
    device: &B::Device,
) -> Option<Result<NHits<B>, ModelError>> {
    checkpoint.tensors.get(&section)?;
    Some(NHits::with_tensors(config, |name| checkpoint.tensor(section, name), device))
}

/// The optimizer's memory in two sections of a checkpoint, for the parameters of `net`, with the number of updates of
/// each weight's moments.
pub(super) fn memory<B: AutodiffBackend>(
    checkpoint: &Checkpoint,
    [first, second]: [Section; 2],
    updates: &[usize],
    net: &NHits<B>,
    config: &Checked,
    device: &B::Device,
) -> Result<Memory<Trainee<B>, B>, ModelError> {
    // Moments have the shapes of weights: they are read as networks, and taken out in the same order.
    let first = network::<B::InnerBackend>(checkpoint, first, config, device).transpose()?;
    let second = network::<B::InnerBackend>(checkpoint, second, config, device).transpose()?;
    let own = |net: &'_ NHits<B::InnerBackend>| -> Vec<Moment<B::InnerBackend>> {
        let weights = net.weights().into_iter().filter(|(spec, _)| spec.same_as.is_none());
        weights.map(|(_, weight)| Moment::of(&weight)).collect()
    };
    let mut first = first.as_ref().map(own).unwrap_or_default().into_iter();
    let mut second = second.as_ref().map(own).unwrap_or_default().into_iter();
    let mut updates = updates.iter();
    let mut memory = Memory::<Trainee<B>, B>::default();
    for (_, weight) in net.weights().into_iter().filter(|(spec, _)| spec.same_as.is_none()) {
        let time = updates.next().copied().unwrap_or(0);
        let (first, second) = (first.next(), second.next());
        if time == 0 {
            continue;
        }
        let record = match weight {
            Weight::Matrix(_) => AdaptorRecord::from_state::<2>(RuleState {
                time,
                first: first.and_then(Moment::matrix),
                second: second.and_then(Moment::matrix),
            }),
            Weight::Vector(_) => AdaptorRecord::from_state::<1>(RuleState {
                time,
                first: first.and_then(Moment::vector),
                second: second.and_then(Moment::vector),
            }),
        };
        memory.insert(weight.id(), record);
    }
    Ok(memory)
}

/// A moment of a weight, in burn's layout.
enum Moment<B: Backend> {
    Matrix(Tensor<B, 2>),
    Vector(Tensor<B, 1>),
}

impl<B: Backend> Moment<B> {
    fn of(weight: &Weight<'_, B>) -> Self {
        match weight {
            Weight::Matrix(p) => Self::Matrix(p.val()),
            Weight::Vector(p) => Self::Vector(p.val()),
        }
    }

    fn matrix(self) -> Option<Tensor<B, 2>> {
        match self {
            Self::Matrix(t) => Some(t),
            Self::Vector(_) => None,
        }
    }

    fn vector(self) -> Option<Tensor<B, 1>> {
        match self {
            Self::Matrix(_) => None,
            Self::Vector(t) => Some(t),
        }
    }
}
