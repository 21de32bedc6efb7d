//! `HostBatch`: the windows of one batch on the host, between the panel and what computes.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

use super::{HostSide, Window, WindowBatch, WindowScaler, WindowShape, WindowStatistics};
use crate::model::ModelInput;
use crate::model::host::HostInput;

/// A batch of `B` windows on the host, scaled, everything row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct HostBatch {
    /// The windows.
    pub windows: Vec<Window>,
    /// Their size.
    pub shape: WindowShape,
    /// Numbers of historical, future and static columns: `[X, F, S]`; codes of categories are the last of the static ones.
    pub columns: [usize; 3],
    /// `[B, L]`.
    pub insample_y: Vec<f32>,
    /// `[B, L]`.
    pub insample_mask: Vec<f32>,
    /// `[B, L, X]`.
    pub hist_exog: Vec<f32>,
    /// `[B, L + H, F]`.
    pub futr_exog: Vec<f32>,
    /// `[B, S]`.
    pub stat_exog: Vec<f32>,
    /// `[B, H]`.
    pub target: Vec<f32>,
    /// `[B, H]`.
    pub target_mask: Vec<f32>,
    /// The window scaler's statistics of the target, `[B]`.
    pub statistics: Vec<WindowStatistics>,
    /// The window scaler.
    pub scaler: WindowScaler,
}

impl HostBatch {
    /// Room for `windows`, everything missing.
    pub(super) fn empty(windows: &[Window], shape: WindowShape, columns: [usize; 3], scaler: WindowScaler) -> Self {
        let (n, input, horizon) = (windows.len(), shape.input_size, shape.horizon);
        Self {
            windows: windows.to_vec(),
            shape,
            columns,
            insample_y: vec![0.0; n * input],
            insample_mask: vec![0.0; n * input],
            hist_exog: vec![0.0; n * input * columns[0]],
            futr_exog: vec![0.0; n * (input + horizon) * columns[1]],
            stat_exog: vec![0.0; n * columns[2]],
            target: vec![0.0; n * horizon],
            target_mask: vec![0.0; n * horizon],
            statistics: vec![WindowStatistics::IDENTITY; n],
            scaler,
        }
    }

    /// What the network on slices reads.
    pub fn input(&self) -> HostInput<'_> {
        HostInput {
            insample_y: &self.insample_y,
            insample_mask: &self.insample_mask,
            hist_exog: &self.hist_exog,
            futr_exog: &self.futr_exog,
            stat_exog: &self.stat_exog,
        }
    }

    /// The batch as tensors on `device`.
    pub fn into_tensors<B: Backend>(mut self, device: &B::Device) -> WindowBatch<B> {
        let (n, input, horizon) = (self.windows.len(), self.shape.input_size, self.shape.horizon);
        let [hist, futr, stat] = self.columns;
        let matrix =
            |values: Vec<f32>, width: usize| Tensor::<B, 2>::from_data(TensorData::new(values, [n, width]), device);
        let cube = |values: Vec<f32>, steps: usize, columns: usize| {
            (columns > 0).then(|| Tensor::<B, 3>::from_data(TensorData::new(values, [n, steps, columns]), device))
        };
        let take = std::mem::take;
        WindowBatch {
            input: ModelInput {
                insample_y: matrix(take(&mut self.insample_y), input),
                insample_mask: matrix(take(&mut self.insample_mask), input),
                hist_exog: cube(take(&mut self.hist_exog), input, hist),
                futr_exog: cube(take(&mut self.futr_exog), input + horizon, futr),
                stat_exog: (stat > 0).then(|| matrix(take(&mut self.stat_exog), stat)),
            },
            target: matrix(self.target.clone(), horizon),
            target_mask: matrix(self.target_mask.clone(), horizon),
            host: self.into_host(),
        }
    }

    /// What the host needs to know of the batch, without the input.
    pub fn into_host(self) -> HostSide {
        HostSide {
            windows: self.windows,
            target: self.target,
            target_mask: self.target_mask,
            shift: self.statistics.iter().map(|by| by.shift as f32).collect(),
            scale: self.statistics.iter().map(|by| by.scale as f32).collect(),
            statistics: self.statistics,
            scaler: self.scaler,
        }
    }
}

impl HostBatch {
    /// Where each window goes.
    pub(super) fn places(&mut self) -> Vec<Place<'_>> {
        let (input, horizon) = (self.shape.input_size, self.shape.horizon);
        let [hist, futr, stat] = self.columns;
        let mut insample_y = pieces(&mut self.insample_y, input);
        let mut insample_mask = pieces(&mut self.insample_mask, input);
        let mut hist_exog = pieces(&mut self.hist_exog, input * hist);
        let mut futr_exog = pieces(&mut self.futr_exog, (input + horizon) * futr);
        let mut stat_exog = pieces(&mut self.stat_exog, stat);
        let mut target = pieces(&mut self.target, horizon);
        let mut target_mask = pieces(&mut self.target_mask, horizon);
        let place = |(statistics, window): (_, &Window)| Place {
            window: *window,
            insample_y: insample_y(),
            insample_mask: insample_mask(),
            hist_exog: hist_exog(),
            futr_exog: futr_exog(),
            stat_exog: stat_exog(),
            target: target(),
            target_mask: target_mask(),
            statistics,
        };
        self.statistics.iter_mut().zip(&self.windows).map(place).collect()
    }
}

/// Where one window of a batch goes.
pub(super) struct Place<'a> {
    pub(super) window: Window,
    pub(super) insample_y: &'a mut [f32],
    pub(super) insample_mask: &'a mut [f32],
    pub(super) hist_exog: &'a mut [f32],
    pub(super) futr_exog: &'a mut [f32],
    pub(super) stat_exog: &'a mut [f32],
    pub(super) target: &'a mut [f32],
    pub(super) target_mask: &'a mut [f32],
    pub(super) statistics: &'a mut WindowStatistics,
}

/// Cuts pieces of `length` off the front of `values`, also where that is 0.
fn pieces<'a>(values: &'a mut [f32], length: usize) -> impl FnMut() -> &'a mut [f32] {
    let mut rest = values;
    move || {
        let (piece, remaining) = std::mem::take(&mut rest).split_at_mut(length);
        rest = remaining;
        piece
    }
}
