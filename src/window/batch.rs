//! `WindowBatch`: a batch of windows as tensors, with what the host needs to know about it.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::{Window, WindowScaler, WindowStatistics};
use crate::model::ModelInput;

/// A batch of `B` windows: what the network reads and what it is to find.
#[derive(Debug, Clone)]
pub struct WindowBatch<B: Backend> {
    /// What the network reads, scaled.
    pub input: ModelInput<B>,
    /// The targets, scaled, `[B, H]`; 0 where they are not known.
    pub target: Tensor<B, 2>,
    /// 1 where a target counts, 0 where it is missing or beyond the end of the range, `[B, H]`.
    pub target_mask: Tensor<B, 2>,
    /// What the host knows about the batch.
    pub host: HostSide,
}

/// The host's side of a batch of `B` windows.
#[derive(Debug, Clone, PartialEq)]
pub struct HostSide {
    /// The windows, in the order of the rows of the tensors.
    pub windows: Vec<Window>,
    /// The targets, scaled, `[B, H]` row-major.
    pub target: Vec<f32>,
    /// Which of them count, `[B, H]` row-major.
    pub target_mask: Vec<f32>,
    /// The window scaler's shift of the target, one per window, in the units of the series scaler.
    pub shift: Vec<f32>,
    /// The window scaler's scale of the target, one per window, in the units of the series scaler.
    pub scale: Vec<f32>,
    /// Shift and scale in full precision.
    pub(super) statistics: Vec<WindowStatistics>,
    /// What undoes them.
    pub(super) scaler: WindowScaler,
}

impl HostSide {
    /// Values of the network (row-major, as many per window as you like) with the window scaler undone: in the units of
    /// the series scaler. See [`super::WindowBatcher::invert`] for the units of the data.
    pub fn invert_window(&self, values: &[f32]) -> Vec<f64> {
        let per_window = values.len() / self.windows.len().max(1);
        values
            .chunks(per_window.max(1))
            .zip(&self.statistics)
            .flat_map(|(row, by)| row.iter().map(|z| self.scaler.invert(f64::from(*z), *by)))
            .collect()
    }

    /// The windows `start..end`.
    pub fn rows(&self, start: usize, end: usize) -> Self {
        let horizon = self.target.len() / self.windows.len().max(1);
        Self {
            windows: self.windows[start..end].to_vec(),
            target: self.target[start * horizon..end * horizon].to_vec(),
            target_mask: self.target_mask[start * horizon..end * horizon].to_vec(),
            shift: self.shift[start..end].to_vec(),
            scale: self.scale[start..end].to_vec(),
            statistics: self.statistics[start..end].to_vec(),
            scaler: self.scaler,
        }
    }
}

impl<B: Backend> WindowBatch<B> {
    /// Number of windows.
    pub fn n_windows(&self) -> usize {
        self.host.windows.len()
    }

    /// The windows `start..end` of the batch.
    pub fn rows(&self, start: usize, end: usize) -> Self {
        Self {
            input: self.input.rows(start, end),
            target: self.target.clone().slice(start..end),
            target_mask: self.target_mask.clone().slice(start..end),
            host: self.host.rows(start, end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Column, StaticColumn};
    use crate::window::index::tests::panel;
    use crate::window::{ColumnScalers, WindowBatcher, WindowIndex, WindowRules, WindowShape};
    use burn::data::dataloader::batcher::Batcher;
    use std::sync::Arc;

    fn batch<B: Backend>(device: &B::Device) -> WindowBatch<B> {
        let mut p = panel(&[&[1.0, 2.0, 4.0, 8.0, 16.0]]);
        p.hist_exog.push(Column { name: "a".into(), values: vec![0.0, 1.0, 2.0, 3.0, 4.0] });
        p.futr_exog.push(Column { name: "b".into(), values: vec![10.0, 11.0, 12.0, 13.0, 14.0] });
        p.futr_exog.push(Column { name: "c".into(), values: vec![20.0, 21.0, 22.0, 23.0, 24.0] });
        p.stat_exog.push(StaticColumn { name: "d".into(), values: vec![7.0] });
        let shape = WindowShape { input_size: 2, horizon: 1 };
        let index = WindowIndex::new(&p, std::slice::from_ref(&(0..5)), &WindowRules::train(shape)).unwrap();
        let scalers = ColumnScalers::none(&p);
        let batcher = WindowBatcher::new(Arc::new(p), &index, Arc::new(scalers), WindowScaler::MinMax).unwrap();
        batcher.batch(index.windows().collect(), device)
    }

    #[test]
    fn shapes_and_layout() {
        on_backend!(|B, device| {
            let b = batch::<B>(&device);
            assert_eq!(b.n_windows(), 3);
            assert_eq!(b.input.insample_y.dims(), [3, 2]);
            assert_eq!(b.input.hist_exog.as_ref().unwrap().dims(), [3, 2, 1]);
            assert_eq!(b.input.futr_exog.as_ref().unwrap().dims(), [3, 3, 2]);
            assert_eq!(b.input.stat_exog.as_ref().unwrap().dims(), [3, 1]);
            assert_eq!(b.target.dims(), [3, 1]);
            // Last window: inputs 4 and 8, so z of the target 16 is (16 - 4) / 4.
            let targets = b.target.to_data().to_vec::<f32>().unwrap();
            assert!((targets[2] - 3.0).abs() < 1e-5);
            assert_eq!(targets, b.host.target);
            // Its future covariates, time-major: b and c of rows 2, 3, 4, each over rows 2 and 3.
            let futr = b.input.futr_exog.unwrap().to_data().to_vec::<f32>().unwrap();
            for (got, expected) in futr[12..].iter().zip([0.0, 0.0, 1.0, 1.0, 2.0, 2.0]) {
                assert!((got - expected).abs() < 1e-5, "{futr:?}");
            }
        });
    }

    #[test]
    fn rows_cut_every_part_alike() {
        on_backend!(|B, device| {
            let b = batch::<B>(&device);
            let last = b.rows(2, 3);
            assert_eq!(last.n_windows(), 1);
            assert_eq!(last.host.windows[0].origin, 4);
            assert_eq!(last.target.to_data().to_vec::<f32>().unwrap(), last.host.target);
            assert_eq!(last.host.target, b.host.target[2..]);
            assert_eq!((last.host.shift[0], last.host.scale[0]), (4.0, 4.0 + 1e-6));
        });
    }

    #[test]
    fn undoing_the_window_scaler_takes_any_number_of_values_per_window() {
        on_backend!(|B, device| {
            let b = batch::<B>(&device);
            let y = b.host.invert_window(&b.host.target);
            for (got, expected) in y.iter().zip([4.0, 8.0, 16.0]) {
                assert!((got - expected).abs() < 1e-5, "{y:?}");
            }
            // Windows have shift 1, 2, 4 and scale 1, 2, 4.
            let two = b.host.invert_window(&[0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
            for (got, expected) in two.iter().zip([1.0, 2.0, 2.0, 4.0, 4.0, 8.0]) {
                assert!((got - expected).abs() < 1e-5, "{two:?}");
            }
        });
    }
}
