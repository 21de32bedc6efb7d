//! `WindowBatcher`: reads the windows of one batch from the panel, and nothing else, on all cores.

use std::sync::Arc;

use burn::data::dataloader::batcher::Batcher;
use burn::tensor::backend::Backend;
use rayon::prelude::*;

use super::host_batch::{HostBatch, Place};
use super::index::observed;
use super::{
    ColumnScalers, HostSide, Padding, Target, Window, WindowBatch, WindowError, WindowIndex, WindowScaler, WindowShape,
    WindowStatistics,
};
use crate::data::Panel;
use crate::transform::SeriesScaler;

/// Windows that one task gathers: enough work to be worth its start.
const WINDOWS_PER_TASK: usize = 16;

/// Gathers windows of one panel into batches.
///
/// Values are scaled per series as they are read, then per window. The result depends on the windows alone, not on how
/// many threads share the work.
#[derive(Debug, Clone)]
pub struct WindowBatcher {
    panel: Arc<Panel>,
    shape: WindowShape,
    ends: Arc<[usize]>,
    scalers: Arc<ColumnScalers>,
    scaler: WindowScaler,
    padding: Padding,
    target: Arc<Target>,
}

impl WindowBatcher {
    /// A batcher of the windows of `index`, which was made from `panel`.
    ///
    /// # Errors
    /// [`WindowError`] if index or scalers do not belong to the panel.
    pub fn new(
        panel: Arc<Panel>,
        index: &WindowIndex,
        scalers: Arc<ColumnScalers>,
        scaler: WindowScaler,
    ) -> Result<Self, WindowError> {
        let ends = index.ends();
        if ends.len() != panel.n_series() {
            return Err(WindowError::Ranges { expected: panel.n_series(), got: ends.len() });
        }
        if let Some(s) = (0..ends.len()).find(|s| ends[*s] > panel.len_of(*s)) {
            return Err(WindowError::RangeOutside {
                series: panel.ids[s].clone(),
                start: 0,
                end: ends[s],
                rows: panel.len_of(s),
            });
        }
        scalers.check(&panel)?;
        let (padding, target) = (Padding::default(), Arc::default());
        Ok(Self { ends: ends.clone(), shape: index.shape(), panel, scalers, scaler, padding, target })
    }

    /// The same with the target as transforms have made it; it was made from the panel.
    pub fn with_target(self, target: Arc<Target>) -> Self {
        debug_assert_eq!(target.y(&self.panel).len(), self.panel.n_rows(), "a target of another panel");
        Self { target, ..self }
    }

    /// The same for the windows of another index of the panel.
    ///
    /// # Errors
    /// [`WindowError`] if the index does not belong to the panel.
    pub fn with_index(&self, index: &WindowIndex) -> Result<Self, WindowError> {
        let made = Self::new(self.panel.clone(), index, self.scalers.clone(), self.scaler)?;
        Ok(made.with_padding(self.padding).with_target(self.target.clone()))
    }

    /// The target that windows are read from.
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// The same with something else in place of missing values.
    pub fn with_padding(self, padding: Padding) -> Self {
        Self { padding, ..self }
    }

    /// What stands in place of missing values.
    pub fn padding(&self) -> Padding {
        self.padding
    }

    /// The panel that windows are read from.
    pub fn panel(&self) -> &Arc<Panel> {
        &self.panel
    }

    /// The fitted scalers of the columns.
    pub fn scalers(&self) -> &Arc<ColumnScalers> {
        &self.scalers
    }

    /// The scaler of each window.
    pub fn scaler(&self) -> WindowScaler {
        self.scaler
    }

    /// Gathers `windows` in their order. Targets and future covariates beyond the end of the range are padding.
    ///
    /// # Panics
    /// If a window is not one of the index that the batcher was made for.
    pub fn gather(&self, windows: &[Window]) -> HostBatch {
        self.gather_with(windows, None)
    }

    /// Gathers `windows` to forecast from: beyond the end of a series, the future covariates are those of `future`,
    /// `[n_series, H, F]` row-major, in the units of the data, the first step being the one after the last row. It may
    /// be empty where the panel has no `futr_exog`.
    ///
    /// # Errors
    /// [`WindowError`] if a window is not one of the panel's or a future value is missing.
    pub fn gather_ahead(&self, windows: &[Window], future: &[f64]) -> Result<HostBatch, WindowError> {
        let (panel, horizon) = (&self.panel, self.shape.horizon);
        let columns = &panel.futr_exog;
        let expected = panel.n_series() * horizon * columns.len();
        if future.is_empty() && expected > 0 {
            // Those that are made are not for the user to give.
            let given = columns.len() - self.scalers.as_is.min(columns.len());
            let columns = columns[..given].iter().map(|c| c.name.clone()).collect();
            return Err(WindowError::FutureMissing { columns, horizon });
        }
        if future.len() != expected {
            return Err(WindowError::FutureShape { expected, got: future.len() });
        }
        if let Some(at) = future.iter().position(|v| !observed(*v)) {
            return Err(WindowError::FutureValue {
                series: panel.ids[at / columns.len() / horizon].clone(),
                step: at / columns.len() % horizon + 1,
                column: columns[at % columns.len()].name.clone(),
                value: future[at],
            });
        }
        for w in windows {
            let (s, origin) = (w.series as usize, w.origin as usize);
            let rows = if s < panel.n_series() { self.ends[s] } else { 0 };
            if origin == 0 || origin > rows {
                let series = panel.ids.get(s).cloned().unwrap_or_else(|| format!("number {s}"));
                return Err(WindowError::Origin { series, origin, rows });
            }
        }
        Ok(self.gather_with(windows, Some(future)))
    }

    /// Forecasts of the network (`[windows, H, Q]` row-major, for any `Q`) in the units of the data: window scaler, series
    /// scaler and transforms of the target undone.
    pub fn invert(&self, host: &HostSide, forecast: &[f32]) -> Vec<f64> {
        let per_window = forecast.len() / host.windows.len().max(1);
        let mut values = host.invert_window(forecast);
        for (row, window) in values.chunks_mut(per_window.max(1)).zip(&host.windows) {
            for v in row.iter_mut() {
                *v = self.scalers.y.invert(window.series as usize, *v);
            }
            let outputs = (per_window / self.shape.horizon).max(1);
            self.target.invert(&self.panel, *window, row, outputs);
        }
        values
    }

    fn gather_with(&self, windows: &[Window], future: Option<&[f64]>) -> HostBatch {
        let n_stat = self.panel.stat_exog.len() + self.panel.stat_cat.len();
        let columns = [self.panel.hist_exog.len(), self.panel.futr_exog.len(), n_stat];
        let mut batch = HostBatch::empty(windows, self.shape, columns, self.scaler);
        batch
            .places()
            .into_par_iter()
            .with_min_len(WINDOWS_PER_TASK)
            .for_each_init(Scratch::default, |scratch, mut place| self.fill(&mut place, future, scratch));
        batch
    }

    fn fill(&self, place: &mut Place, future: Option<&[f64]>, scratch: &mut Scratch) {
        let (panel, scalers) = (&*self.panel, &*self.scalers);
        let (input, horizon) = (self.shape.input_size, self.shape.horizon);
        let (s, origin) = (place.window.series as usize, place.window.origin as usize);
        let first = panel.offsets[s];
        let readable = first..first + self.ends[s];

        let y = &self.target.y(panel)[readable.clone()];
        let y = Source { rows: y, scaler: &scalers.y, series: s, ahead: None };
        *place.statistics = self.scale(self.scaler, &y, origin, input + horizon, scratch);
        for (j, value) in scratch.values.iter().enumerate() {
            let seen = f32::from(u8::from(!value.is_nan()));
            if j < input {
                place.insample_y[j] = self.scaled_or_padding(self.scaler, *value, *place.statistics);
                place.insample_mask[j] = seen;
            } else if seen > 0.0 {
                place.target[j - input] = self.scaler.apply(*value, *place.statistics) as f32;
                place.target_mask[j - input] = seen;
            }
        }
        for (c, (column, scaler)) in panel.hist_exog.iter().zip(&scalers.hist).enumerate() {
            let source = Source { rows: &column.values[readable.clone()], scaler, series: s, ahead: None };
            let by = self.scale(self.scaler, &source, origin, input, scratch);
            for (j, value) in scratch.values.iter().enumerate() {
                place.hist_exog[j * panel.hist_exog.len() + c] = self.scaled_or_padding(self.scaler, *value, by);
            }
        }
        let n_futr = panel.futr_exog.len();
        for (c, (column, scaler)) in panel.futr_exog.iter().zip(&scalers.futr).enumerate() {
            let ahead = future.map(|values| (&values[s * horizon * n_futr + c..], n_futr));
            let source = Source { rows: &column.values[readable.clone()], scaler, series: s, ahead };
            let window_scaler = if c + scalers.as_is < n_futr { self.scaler } else { WindowScaler::Identity };
            let by = self.scale(window_scaler, &source, origin, input + horizon, scratch);
            for (j, value) in scratch.values.iter().enumerate() {
                place.futr_exog[j * n_futr + c] = self.scaled_or_padding(window_scaler, *value, by);
            }
        }
        for (c, (column, (shift, scale))) in panel.stat_exog.iter().zip(&scalers.stat).enumerate() {
            let value = column.values[s];
            place.stat_exog[c] = if observed(value) { ((value - shift) / scale) as f32 } else { 0.0 };
        }
        // Codes are looked up, not scaled.
        for (c, column) in panel.stat_cat.iter().enumerate() {
            place.stat_exog[panel.stat_exog.len() + c] = column.codes[s] as f32;
        }
    }

    /// Reads the `length` values from `origin - L` on into the scratch, NaN where there is none, and returns the
    /// statistics of those before the origin.
    fn scale(
        &self,
        scaler: WindowScaler,
        source: &Source,
        origin: usize,
        length: usize,
        scratch: &mut Scratch,
    ) -> WindowStatistics {
        let input = self.shape.input_size;
        scratch.values.clear();
        // `origin + j` and not `origin - input + j`: rows before the series are negative.
        scratch.values.extend((0..length).map(|j| match (origin + j).checked_sub(input) {
            Some(row) => source.value(row),
            None => f64::NAN,
        }));
        scratch.observed.clear();
        if scaler != WindowScaler::Identity {
            scratch.observed.extend(scratch.values.iter().take(input).filter(|v| !v.is_nan()));
        }
        scaler.statistics(&mut scratch.observed)
    }

    fn scaled_or_padding(&self, scaler: WindowScaler, value: f64, by: WindowStatistics) -> f32 {
        let z = match (value.is_nan(), self.padding) {
            (false, _) => scaler.apply(value, by),
            (true, Padding::Zero) => 0.0,
            (true, Padding::Reference) => scaler.apply(0.0, by),
        };
        z as f32
    }
}

impl<B: Backend> Batcher<B, Window, WindowBatch<B>> for WindowBatcher {
    fn batch(&self, items: Vec<Window>, device: &B::Device) -> WindowBatch<B> {
        self.gather(&items).into_tensors(device)
    }
}

/// One column of one series, as far as it may be read.
struct Source<'a> {
    rows: &'a [f64],
    scaler: &'a SeriesScaler,
    series: usize,
    /// Values after the last row and how far apart they lie.
    ahead: Option<(&'a [f64], usize)>,
}

impl Source<'_> {
    /// The value of `row` in the units of the series scaler, NaN if it is missing or out of reach.
    #[inline]
    fn value(&self, row: usize) -> f64 {
        let raw = match (self.rows.get(row), self.ahead) {
            (Some(value), _) => *value,
            (None, Some((values, apart))) => values[(row - self.rows.len()) * apart],
            (None, None) => f64::NAN,
        };
        if observed(raw) { self.scaler.apply(self.series, raw) } else { f64::NAN }
    }
}

/// Buffers that a thread uses again for each window.
#[derive(Default)]
struct Scratch {
    values: Vec<f64>,
    observed: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Column, StaticColumn};
    use crate::random::{Purpose, Stream};
    use crate::transform::ScalerKind;
    use crate::window::WindowRules;
    use crate::window::index::tests::panel;
    use std::ops::Range;

    const SHAPE: WindowShape = WindowShape { input_size: 3, horizon: 2 };
    const HOLE: f64 = f64::NAN;

    fn batcher(p: &Panel, ranges: &[Range<usize>], scaler: WindowScaler) -> (WindowIndex, WindowBatcher) {
        let index = WindowIndex::new(p, ranges, &WindowRules::train(SHAPE)).unwrap();
        let b = WindowBatcher::new(Arc::new(p.clone()), &index, Arc::new(ColumnScalers::none(p)), scaler).unwrap();
        (index, b)
    }

    fn window(series: u32, origin: u32) -> Window {
        Window { series, origin }
    }

    #[test]
    fn inputs_end_before_the_origin_and_targets_at_the_end_of_the_range() {
        let p = panel(&[&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]);
        let (_, b) = batcher(&p, std::slice::from_ref(&(0..6)), WindowScaler::Identity);
        let got = b.gather(&[window(0, 3), window(0, 5), window(0, 1)]);
        assert_eq!(got.insample_y, [0.0, 1.0, 2.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0]);
        assert_eq!(got.insample_mask, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
        // Row 6 exists, but the range ends before it.
        assert_eq!(got.target, [3.0, 4.0, 5.0, 0.0, 1.0, 2.0]);
        assert_eq!(got.target_mask, [1.0, 1.0, 1.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn missing_values_are_masked_and_take_no_part_in_statistics() {
        let p = panel(&[&[1.0, HOLE, 3.0, HOLE, 5.0]]);
        let (_, b) = batcher(&p, std::slice::from_ref(&(0..5)), WindowScaler::Standard);
        let got = b.gather(&[window(0, 3)]);
        assert_eq!((got.statistics[0].shift, got.statistics[0].scale), (2.0, 1.0 + 1e-6));
        assert_eq!(got.insample_mask, [1.0, 0.0, 1.0]);
        assert_eq!(got.insample_y[1], 0.0);
        assert_eq!(got.target_mask, [0.0, 1.0]);
        assert!((got.target[1] - 3.0).abs() < 1e-5 && got.target[0] == 0.0);
        let got = b.with_padding(Padding::Reference).gather(&[window(0, 3)]);
        assert!((got.insample_y[1] + 2.0).abs() < 1e-5, "0 before scaling: (0 - 2) / 1");
    }

    #[test]
    fn covariates_have_statistics_of_their_own_over_the_input() {
        let mut p = panel(&[&[1.0, 2.0, 3.0, 4.0, 5.0]]);
        p.futr_exog.push(Column { name: "f".into(), values: vec![10.0, 20.0, HOLE, 40.0, 50.0] });
        p.hist_exog.push(Column { name: "h".into(), values: vec![5.0, 6.0, 9.0, 1e9, 1e9] });
        p.stat_exog.push(StaticColumn { name: "s".into(), values: vec![HOLE] });
        let (_, b) = batcher(&p, std::slice::from_ref(&(0..5)), WindowScaler::MinMax);
        let got = b.gather(&[window(0, 3)]);
        for (z, expected) in got.futr_exog.iter().zip([0.0, 1.0, 0.0, 3.0, 4.0]) {
            assert!((z - expected).abs() < 1e-5, "{:?}", got.futr_exog);
        }
        for (z, expected) in got.hist_exog.iter().zip([0.0, 0.25, 1.0]) {
            assert!((z - expected).abs() < 1e-5, "{:?}", got.hist_exog);
        }
        assert_eq!(got.stat_exog, [0.0]);
    }

    #[test]
    fn series_are_scaled_as_they_are_read_and_forecasts_come_back_in_their_units() {
        on_backend!(|B, device| {
            let p = panel(&[&[1.0, 3.0, 1.0, 3.0], &[100.0, 300.0, 100.0, 300.0]]);
            let ranges = [0..4, 0..4];
            let index = WindowIndex::new(&p, &ranges, &WindowRules::train(SHAPE)).unwrap();
            let scalers = Arc::new(ColumnScalers::fit(ScalerKind::Standard, &p, &ranges).unwrap());
            let b = WindowBatcher::new(Arc::new(p), &index, scalers, WindowScaler::Identity).unwrap();
            let got = b.gather(&[window(0, 3), window(1, 3)]);
            assert_eq!(got.insample_y, [-1.0, 1.0, -1.0, -1.0, 1.0, -1.0]);
            assert_eq!(got.target, [1.0, 0.0, 1.0, 0.0]);
            let host = got.into_tensors::<B>(&device).host;
            assert_eq!(b.invert(&host, &[1.0, 0.0, 1.0, 0.0]), [3.0, 2.0, 300.0, 200.0]);
            assert_eq!(host.invert_window(&[1.0, 0.0, 1.0, 0.0]), [1.0, 0.0, 1.0, 0.0]);
        });
    }

    #[test]
    fn forecasts_read_future_covariates_of_their_series() {
        let mut p = panel(&[&[1.0, 2.0, 3.0], &[4.0, 5.0]]);
        p.futr_exog.push(Column { name: "f".into(), values: vec![1.0, 2.0, 3.0, 4.0, 5.0] });
        p.futr_exog.push(Column { name: "g".into(), values: vec![10.0, 20.0, 30.0, 40.0, 50.0] });
        let (index, silent) = WindowIndex::at_ends(&p, SHAPE).unwrap();
        assert!(silent.is_empty());
        let b =
            WindowBatcher::new(Arc::new(p.clone()), &index, Arc::new(ColumnScalers::none(&p)), WindowScaler::Identity)
                .unwrap();
        let windows: Vec<_> = index.windows().collect();
        let future = [6.0, 60.0, 7.0, 70.0, 8.0, 80.0, 9.0, 90.0];
        let got = b.gather_ahead(&windows, &future).unwrap();
        assert_eq!(
            got.futr_exog,
            [
                1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 6.0, 60.0, 7.0, 70.0, 0.0, 0.0, 4.0, 40.0, 5.0, 50.0, 8.0, 80.0, 9.0,
                90.0
            ]
        );
        assert_eq!(got.insample_mask, [1.0, 1.0, 1.0, 0.0, 1.0, 1.0]);
        assert!(got.target_mask.iter().all(|m| *m == 0.0));
        // An earlier origin takes what the panel has and then the future.
        let got = b.gather_ahead(&[window(1, 1)], &future).unwrap();
        assert_eq!(got.futr_exog[4..], [4.0, 40.0, 5.0, 50.0, 8.0, 80.0]);
    }

    #[test]
    fn forecasts_without_what_they_need_are_errors() {
        let mut p = panel(&[&[1.0, 2.0, 3.0]]);
        p.futr_exog.push(Column { name: "f".into(), values: vec![1.0, 2.0, 3.0] });
        let (index, _) = WindowIndex::at_ends(&p, SHAPE).unwrap();
        let b =
            WindowBatcher::new(Arc::new(p.clone()), &index, Arc::new(ColumnScalers::none(&p)), WindowScaler::Identity)
                .unwrap();
        let message = |windows: &[Window], future: &[f64]| b.gather_ahead(windows, future).unwrap_err().to_string();
        assert_eq!(message(&[window(0, 3)], &[]), "the 2 steps ahead have no values of `f`");
        assert!(message(&[window(0, 3)], &[1.0]).starts_with("1 future values: expected 2"));
        assert!(message(&[window(0, 3)], &[1.0, HOLE]).starts_with("column `f` of series `s0` is NaN at step 2"));
        for w in [window(0, 4), window(0, 0), window(1, 1)] {
            assert!(message(&[w], &[1.0, 2.0]).starts_with("a forecast of series"));
        }
    }

    #[test]
    fn a_batcher_refuses_what_belongs_to_another_panel() {
        let (p, other) = (panel(&[&[1.0; 9]]), panel(&[&[1.0; 5]]));
        let index = WindowIndex::new(&p, std::slice::from_ref(&(0..9)), &WindowRules::train(SHAPE)).unwrap();
        let scalers = Arc::new(ColumnScalers::none(&p));
        assert!(WindowBatcher::new(Arc::new(other), &index, scalers, WindowScaler::Identity).is_err());
    }

    /// A panel of random values with holes and covariates.
    fn random_panel(lengths: &[usize]) -> Panel {
        let mut stream = Stream::new(1, Purpose::Synthetic, &[9]);
        let series: Vec<Vec<f64>> = lengths
            .iter()
            .map(|n| (0..*n).map(|_| if stream.below(5) == 0 { HOLE } else { stream.normal() }).collect())
            .collect();
        let mut p = panel(&series.iter().map(Vec::as_slice).collect::<Vec<_>>());
        for (name, columns) in [("h", &mut p.hist_exog), ("f", &mut p.futr_exog)] {
            let values = (0..p.y.len()).map(|_| stream.normal()).collect();
            columns.push(Column { name: name.into(), values });
        }
        p
    }

    fn bits(batch: &HostBatch) -> Vec<u32> {
        [&batch.insample_y, &batch.insample_mask, &batch.hist_exog, &batch.futr_exog, &batch.target, &batch.target_mask]
            .into_iter()
            .flatten()
            .map(|v| v.to_bits())
            .collect()
    }

    #[test]
    fn train_batches_do_not_depend_on_rows_after_the_train_range() {
        let p = random_panel(&[40, 23, 31]);
        let train = [0..30, 0..15, 0..31];
        let mut other = p.clone();
        for (s, range) in train.iter().enumerate() {
            for row in p.offsets[s] + range.end..p.offsets[s + 1] {
                other.y[row] = 1e6;
                other.hist_exog[0].values[row] = -1e6;
                other.futr_exog[0].values[row] = HOLE;
            }
        }
        for scaler in WindowScaler::ALL {
            let gather = |p: &Panel| {
                let index = WindowIndex::new(p, &train, &WindowRules::train(SHAPE)).unwrap();
                let scalers = Arc::new(ColumnScalers::fit(ScalerKind::Standard, p, &train).unwrap());
                let b = WindowBatcher::new(Arc::new(p.clone()), &index, scalers, scaler).unwrap();
                b.gather(&index.windows().collect::<Vec<_>>())
            };
            let (a, b) = (gather(&p), gather(&other));
            assert_eq!(a.windows, b.windows);
            assert!(a.windows.len() > 50);
            assert_eq!(bits(&a), bits(&b), "{scaler}");
        }
    }

    #[test]
    fn inputs_do_not_depend_on_rows_from_the_origin_on() {
        let p = random_panel(&[40]);
        for scaler in WindowScaler::ALL {
            let (index, b) = batcher(&p, std::slice::from_ref(&(0..40)), scaler);
            for w in index.windows() {
                let mut other = p.clone();
                for row in w.origin as usize..40 {
                    other.y[row] = 1e6;
                    other.hist_exog[0].values[row] = -1e6;
                }
                let (_, changed) = batcher(&other, std::slice::from_ref(&(0..40)), scaler);
                let (a, c) = (b.gather(&[w]), changed.gather(&[w]));
                assert_eq!(a.insample_y, c.insample_y);
                assert_eq!(a.insample_mask, c.insample_mask);
                assert_eq!(a.hist_exog, c.hist_exog);
                assert_eq!(a.futr_exog, c.futr_exog);
                assert_eq!(a.statistics, c.statistics);
            }
        }
    }

    #[test]
    fn a_batch_is_the_same_for_any_number_of_threads_and_any_company() {
        let p = random_panel(&[300, 200]);
        let (index, b) = batcher(&p, &[0..300, 0..200], WindowScaler::Robust);
        let windows: Vec<_> = index.windows().collect();
        let all = b.gather(&windows);
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(bits(&all), bits(&one.install(|| b.gather(&windows))));
        let alone = b.gather(&windows[100..101]);
        assert_eq!(alone.insample_y, all.insample_y[300..303]);
        assert!(b.gather(&[]).insample_y.is_empty());
    }
}
