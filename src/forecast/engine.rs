//! `Model`: a bundle ready to compute, and the ways to ask it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::backend::Backend;
use rayon::ThreadPoolBuilder;

use super::{ForecastError, Forecasts};
use crate::bundle::{Bundle, Manifest, SeriesState};
use crate::calendar::Clock;
use crate::data::{Column, Panel};
use crate::model::host::{HostForecaster, Int8Layer, in_host_memory};
use crate::model::{NHits, NamedTensor, to_host};
use crate::transform::SeriesScaler;
use crate::window::{
    ColumnScalers, HostBatch, HostSide, Padding, Target, Window, WindowBatcher, WindowError, WindowIndex, WindowRules,
    WindowShape,
};
use crate::workers::Workers;

/// Windows that one worker computes at once; more would only take more memory.
const WINDOWS_PER_BATCH: usize = 256;

/// What computes.
#[derive(Debug, Clone)]
enum Net<B: Backend> {
    /// On a device.
    Tensors(Arc<NHits<B>>),
    /// On slices, where the backend's values lie in host memory anyway.
    Slices(Arc<HostForecaster>),
}

/// A bundle on a device.
#[derive(Debug, Clone)]
pub struct Model<B: Backend> {
    net: Net<B>,
    manifest: Arc<Manifest>,
    series: Option<Arc<SeriesState>>,
    workers: Workers,
    device: B::Device,
}

/// Shape and values of a weight by its name.
fn lent<'a>(weights: [&'a [NamedTensor]; 2]) -> impl Fn(&str) -> Option<(&'a [usize], &'a [f32])> {
    let by_name: HashMap<&str, &NamedTensor> = weights.into_iter().flatten().map(|t| (t.name.as_str(), t)).collect();
    move |name| by_name.get(name).map(|t| (&t.shape[..], &t.data[..]))
}

impl<B: Backend> Model<B> {
    /// Puts a bundle's weights on `device`, computing on `threads` threads.
    ///
    /// # Errors
    /// When the weights do not fit the bundle's configuration.
    pub fn new(bundle: &Bundle, device: &B::Device, threads: usize) -> Result<Self, ForecastError> {
        let checked = bundle.network()?;
        let integers = |layer: &str| {
            let (input, weight) = bundle.quantized_layer(layer)?;
            Some(Int8Layer { input, weight })
        };
        let on_slices = match checked.quantization() {
            _ if !in_host_memory::<B>(device) => None,
            Some(_) => {
                // The others compute in integers.
                let unpacked = bundle.unpacked(|input| !input.is_rounded());
                HostForecaster::with_integers(&checked, integers, lent([&bundle.weights, &unpacked]))?
            }
            None => {
                let pool = ThreadPoolBuilder::new().num_threads(threads.max(1)).build();
                let pool = pool.map_err(|e| ForecastError::Threads { n: threads, detail: e.to_string() })?;
                HostForecaster::with_tensors(&checked, lent([&bundle.weights, &[]]), Some(&pool))?
            }
        };
        let net = match on_slices {
            Some(forecaster) => Net::Slices(Arc::new(forecaster)),
            None => {
                let unpacked = bundle.unpacked(|_| true);
                let lent = lent([&bundle.weights, &unpacked]);
                let source = |name: &str| lent(name).map(|(shape, values)| (shape.to_vec(), values.to_vec()));
                Net::Tensors(Arc::new(NHits::with_tensors(&checked, source, device)?))
            }
        };
        Self::assemble(net, bundle.manifest.clone(), bundle.series.clone(), device, threads)
    }

    /// A model from a network that is on the device already.
    ///
    /// # Errors
    /// When the system refuses the threads.
    pub fn from_parts(
        net: NHits<B>,
        manifest: Manifest,
        series: Option<SeriesState>,
        device: &B::Device,
        threads: usize,
    ) -> Result<Self, ForecastError> {
        let on_slices = if in_host_memory::<B>(device) { HostForecaster::new(&net) } else { None };
        let net = on_slices.map_or_else(|| Net::Tensors(Arc::new(net)), |forecaster| Net::Slices(Arc::new(forecaster)));
        Self::assemble(net, manifest, series, device, threads)
    }

    fn assemble(
        net: Net<B>,
        manifest: Manifest,
        series: Option<SeriesState>,
        device: &B::Device,
        threads: usize,
    ) -> Result<Self, ForecastError> {
        let n = threads.max(1);
        let workers = Workers::new(n).map_err(|e| ForecastError::Threads { n, detail: e.to_string() })?;
        Ok(Self { net, manifest: Arc::new(manifest), series: series.map(Arc::new), workers, device: device.clone() })
    }

    /// What the model is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The size of its windows.
    pub fn shape(&self) -> WindowShape {
        WindowShape { input_size: self.manifest.model.input_size, horizon: self.manifest.model.horizon }
    }

    /// Names of the forecast's columns: `NHITS`, or `NHITS-lo-80`, `NHITS-median`, ...
    pub fn column_names(&self) -> Vec<String> {
        self.manifest.loss.output_names().iter().map(|suffix| format!("NHITS{suffix}")).collect()
    }

    /// Binds the model to a panel as it was read: the columns of the model's features are made here. Series that it was
    /// trained on are transformed and scaled as then; others by their rows `fit_rows[s]`, which must not hold anything that
    /// is to be forecast.
    ///
    /// # Errors
    /// When the panel's columns or frequency are not the model's.
    pub fn on(&self, panel: Arc<Panel>, fit_rows: &[Range<usize>]) -> Result<OnPanel<'_, B>, ForecastError> {
        let features = &self.manifest.features;
        let panel = match features.is_empty() {
            true => panel,
            false => Arc::new(features.extend(Arc::unwrap_or_clone(panel))?),
        };
        self.check_columns(&panel)?;
        let panel = self.with_categories(panel);
        let target = self.target(&panel, fit_rows)?;
        let scalers = self.scalers(&panel, target.y(&panel), fit_rows)?;
        let whole: Vec<Range<usize>> = (0..panel.n_series()).map(|s| 0..panel.len_of(s)).collect();
        let index = WindowIndex::over(&panel, target.y(&panel), &whole, &WindowRules::evaluate(self.shape()))?;
        let batcher = WindowBatcher::new(panel, &index, Arc::new(scalers), self.manifest.window_scaler)?;
        let batcher = batcher.with_target(Arc::new(target)).with_padding(
            // The reference scales the zeros that stand for missing values; its models expect that.
            if self.manifest.imported_from.is_some() { Padding::Reference } else { Padding::Zero },
        );
        Ok(OnPanel { model: self, batcher })
    }

    /// The panel with its categories as the model knows them. One that was recoded already is not copied.
    fn with_categories(&self, panel: Arc<Panel>) -> Arc<Panel> {
        let known = self.manifest.columns.stat_cat.iter().map(|c| &c.levels);
        if panel.stat_cat.iter().map(|c| &c.levels).eq(known) {
            return panel;
        }
        let mut panel = (*panel).clone();
        for line in panel.recode_categories(&self.manifest.columns.levels()) {
            tracing::warn!("{line}");
        }
        Arc::new(panel)
    }

    fn check_columns(&self, panel: &Panel) -> Result<(), ForecastError> {
        let names = |columns: &[Column]| columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        let stat: Vec<String> = panel.stat_exog.iter().map(|c| c.name.clone()).collect();
        let columns = &self.manifest.columns;
        let categories: Vec<String> = columns.stat_cat.iter().map(|c| c.name.clone()).collect();
        for (role, found, wanted) in [
            ("hist_exog", names(&panel.hist_exog), &columns.hist_exog),
            ("futr_exog", names(&panel.futr_exog), &columns.futr_exog),
            ("stat_exog", stat, &columns.stat_exog),
            ("stat_cat", panel.stat_cat.iter().map(|c| c.name.clone()).collect(), &categories),
        ] {
            if &found != wanted {
                return Err(ForecastError::Columns { role, found, wanted: wanted.clone() });
            }
        }
        // Integer steps carry no meaning that could be compared.
        match self.manifest.freq {
            Some(wanted)
                if wanted != panel.freq && panel.clock != Clock::Integer && self.manifest.clock != Clock::Integer =>
            {
                Err(ForecastError::Frequency { found: panel.freq.to_string(), wanted: wanted.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// The scalers of a panel's series: those of training where a series is known, fitted on `fit_rows` where not.
    fn scalers(&self, panel: &Panel, y: &[f64], fit_rows: &[Range<usize>]) -> Result<ColumnScalers, ForecastError> {
        let made = self.manifest.features.columns.n_futr();
        let mut scalers = ColumnScalers::fit_to(self.manifest.scaler, panel, y, made, fit_rows)?;
        let Some(series) = &self.series else { return Ok(scalers) };
        let known = series.known();
        let take = |to: &mut SeriesScaler, from: &SeriesScaler| {
            for (s, id) in panel.ids.iter().enumerate() {
                if let Some(i) = known.get(id.as_str()) {
                    (to.shift[s], to.scale[s]) = (from.shift[*i], from.scale[*i]);
                }
            }
        };
        take(&mut scalers.y, &series.scalers.y);
        scalers.hist.iter_mut().zip(&series.scalers.hist).for_each(|(to, from)| take(to, from));
        scalers.futr.iter_mut().zip(&series.scalers.futr).for_each(|(to, from)| take(to, from));
        scalers.stat.clone_from(&series.scalers.stat);
        Ok(scalers)
    }

    /// The target of a panel: transformed as in training where a series is known, as fitted on `fit_rows` where not.
    fn target(&self, panel: &Panel, fit_rows: &[Range<usize>]) -> Result<Target, ForecastError> {
        if self.manifest.target.is_empty() {
            return Ok(Target::default());
        }
        let known = self.series.as_ref().map(|s| s.known()).unwrap_or_default();
        // What is known need not be fitted, and must not fail on rows that training has not seen.
        let rows: Vec<Range<usize>> = panel
            .ids
            .iter()
            .enumerate()
            .map(
                |(s, id)| if known.contains_key(id.as_str()) { 0..0 } else { fit_rows.get(s).cloned().unwrap_or(0..0) },
            )
            .collect();
        let (mut pipeline, _) = Target::fit(&self.manifest.target, panel, &rows)?;
        if let Some(series) = &self.series {
            for (s, id) in panel.ids.iter().enumerate() {
                if let Some(i) = known.get(id.as_str()) {
                    pipeline.take(s, &series.target, *i);
                }
            }
        }
        Ok(Target::new(panel, pipeline)?)
    }

    /// The network's output for a batch, `[B, H, Q]` row-major, in the network's units.
    fn compute(&self, batch: HostBatch) -> (HostSide, Vec<f32>) {
        compute(&self.net, batch, &self.device)
    }
}

fn compute<B: Backend>(net: &Net<B>, batch: HostBatch, device: &B::Device) -> (HostSide, Vec<f32>) {
    match net {
        Net::Tensors(net) => {
            let batch = batch.into_tensors::<B>(device);
            let output = to_host(net.forward(&batch.input));
            (batch.host, output)
        }
        Net::Slices(forecaster) => {
            let output = forecaster.forecast(&batch.input());
            (batch.into_host(), output)
        }
    }
}

/// A model bound to a panel.
#[derive(Debug)]
pub struct OnPanel<'a, B: Backend> {
    model: &'a Model<B>,
    batcher: WindowBatcher,
}

impl<B: Backend> OnPanel<'_, B> {
    /// The panel, with the columns of the model's features.
    pub fn panel(&self) -> &Arc<Panel> {
        self.batcher.panel()
    }

    /// The windows of some rows of the panel, `rows[s]` of series `s`, and what gathers them as this model takes them.
    ///
    /// # Errors
    /// When the rows are not the panel's.
    pub fn windows(
        &self,
        rows: &[Range<usize>],
        rules: &WindowRules,
    ) -> Result<(WindowIndex, WindowBatcher), ForecastError> {
        let panel = self.batcher.panel();
        let index = WindowIndex::over(panel, self.batcher.target().y(panel), rows, rules)?;
        let batcher = self.batcher.with_index(&index)?;
        Ok((index, batcher))
    }

    /// Forecasts `windows`, whose future covariates are in the panel: `[windows, H, Q]` row-major, in original units.
    ///
    /// # Errors
    /// When a window is not one of the panel's.
    pub fn at(&self, windows: &[Window]) -> Result<Vec<f64>, ForecastError> {
        let panel = self.batcher.panel();
        for w in windows {
            let (s, origin) = (w.series as usize, w.origin as usize);
            let rows = if s < panel.n_series() { panel.len_of(s) } else { 0 };
            if origin == 0 || origin > rows {
                let series = panel.ids.get(s).cloned().unwrap_or_else(|| format!("number {s}"));
                return Err(WindowError::Origin { series, origin, rows }.into());
            }
        }
        self.forecast(windows, &|part| Ok(self.batcher.gather(part)))
    }

    /// Forecasts the steps that follow the data of each series, from `back` rows before its end (0 is the end).
    ///
    /// `future` are the future covariates after the last row, `[n_series, H, F]` row-major; empty if the model has none. The
    /// columns of the model's features are not among them: they are made here.
    /// Steps that the data has rows for carry the times of these; those after the last row continue the calendar by the
    /// panel's frequency.
    ///
    /// # Errors
    /// When no series can be forecast, a covariate is missing or the calendar ends.
    pub fn ahead(&self, back: &[usize], future: &[f64]) -> Result<(Forecasts, Vec<String>), ForecastError> {
        self.ahead_at(back, future, &[])
    }

    /// [`OnPanel::ahead`] with the times of the steps after the last row, `[n_series, H]` row-major, as the future
    /// covariates have them: a trading calendar is known there, and no frequency tells its holidays.
    ///
    /// # Errors
    /// As [`OnPanel::ahead`], and when there are some times but not `n_series` x `H`.
    pub fn ahead_at(
        &self,
        back: &[usize],
        future: &[f64],
        times: &[i64],
    ) -> Result<(Forecasts, Vec<String>), ForecastError> {
        let panel = self.batcher.panel();
        let shape = self.model.shape();
        let expected = panel.n_series() * shape.horizon;
        if !times.is_empty() && times.len() != expected {
            return Err(ForecastError::Times { expected, got: times.len() });
        }
        let mut windows = Vec::new();
        let mut silent = Vec::new();
        for s in 0..panel.n_series() {
            let y = &self.batcher.target().y(panel)[panel.rows(s)];
            for rows_back in back {
                let origin = y.len().checked_sub(*rows_back).filter(|o| *o > 0).ok_or_else(|| {
                    ForecastError::Origin { series: panel.ids[s].clone(), rows: y.len(), back: *rows_back }
                })?;
                if y[origin.saturating_sub(shape.input_size)..origin].iter().all(|v| !v.is_finite()) {
                    silent.push(panel.ids[s].clone());
                    continue;
                }
                // Rows and series of a panel with an index fit u32: the index refused it otherwise.
                windows.push(Window { series: s as u32, origin: origin as u32 });
            }
        }
        if windows.is_empty() {
            return Err(ForecastError::Silent { input_size: shape.input_size });
        }
        // Where every target row is in the data, its covariates are too.
        let inside = windows.iter().all(|w| w.origin as usize + shape.horizon <= panel.len_of(w.series as usize));
        let values = if future.is_empty() && inside {
            self.at(&windows)?
        } else {
            let future = self.with_features(future, times)?;
            self.forecast(&windows, &|part| self.batcher.gather_ahead(part, &future).map_err(ForecastError::from))?
        };
        let columns = self.model.column_names();
        let mut table = Forecasts {
            ids: panel.ids.clone(),
            series: Vec::with_capacity(windows.len() * shape.horizon),
            time: Vec::with_capacity(windows.len() * shape.horizon),
            cutoff: back.iter().any(|b| *b > 0).then(Vec::new),
            clock: panel.clock,
            columns,
            values,
        };
        for w in &windows {
            let s = w.series as usize;
            let known = panel.times(s);
            let cutoff_time = known[w.origin as usize - 1];
            for step in 0..shape.horizon {
                let row = w.origin as usize + step;
                let time = known.get(row).copied().or_else(|| {
                    let beyond = row - known.len();
                    let given = times.get(s * shape.horizon + beyond).copied();
                    given.or_else(|| panel.freq.advance(*known.last()?, i64::try_from(beyond + 1).ok()?))
                });
                let time = time.ok_or_else(|| ForecastError::Calendar { series: panel.ids[s].clone() })?;
                table.series.push(w.series);
                table.time.push(time);
                if let Some(cutoff) = &mut table.cutoff {
                    cutoff.push(cutoff_time);
                }
            }
        }
        Ok((table, silent))
    }

    /// Future covariates after the last row with those of the features behind the given ones; `times` as in
    /// [`OnPanel::ahead_at`].
    fn with_features<'f>(&self, given: &'f [f64], times: &[i64]) -> Result<Cow<'f, [f64]>, ForecastError> {
        let (panel, features) = (self.batcher.panel(), &self.model.manifest.features);
        let (made, horizon) = (features.columns.n_futr(), self.model.shape().horizon);
        let n_given = panel.futr_exog.len() - made;
        let expected = panel.n_series() * horizon * n_given;
        if made == 0 || (given.is_empty() && expected > 0) {
            return Ok(Cow::Borrowed(given));
        }
        if given.len() != expected {
            return Err(WindowError::FutureShape { expected, got: given.len() }.into());
        }
        let mut all = Vec::with_capacity(panel.n_series() * horizon * (n_given + made));
        for s in 0..panel.n_series() {
            let ends = || ForecastError::Calendar { series: panel.ids[s].clone() };
            let given_times = times.get(s * horizon..(s + 1) * horizon).map(<[i64]>::to_vec);
            let times: Vec<i64> = match panel.times(s).last() {
                _ if given_times.is_some() => given_times.unwrap_or_default(),
                // A series without rows is not forecast, whatever stands here.
                None => vec![0; horizon],
                Some(last) => (1..=horizon)
                    .map(|step| i64::try_from(step).ok().and_then(|step| panel.freq.advance(*last, step)))
                    .collect::<Option<_>>()
                    .ok_or_else(ends)?,
            };
            let known = features.ahead(&times, panel);
            for (step, known) in known.chunks_exact(made).enumerate() {
                let at = (s * horizon + step) * n_given;
                all.extend_from_slice(&given[at..at + n_given]);
                all.extend_from_slice(known);
            }
        }
        Ok(Cow::Owned(all))
    }

    /// Forecasts `windows`, gathered by `gather`, some hundreds at a time on all workers.
    fn forecast(
        &self,
        windows: &[Window],
        gather: &dyn Fn(&[Window]) -> Result<HostBatch, ForecastError>,
    ) -> Result<Vec<f64>, ForecastError> {
        let workers = &self.model.workers;
        let mut values =
            Vec::with_capacity(windows.len() * self.model.manifest.model.horizon * self.model.manifest.model.outputs);
        // One batch needs no other thread, and answers sooner without.
        if windows.len() < 2 * workers.count() {
            let (host, output) = self.model.compute(gather(windows)?);
            return Ok(self.batcher.invert(&host, &output));
        }
        let per_batch = WINDOWS_PER_BATCH.min(windows.len().div_ceil(workers.count()));
        for round in windows.chunks(per_batch * workers.count()) {
            let batches = round.chunks(per_batch).map(gather).collect::<Result<Vec<_>, _>>()?;
            let (net, device) = (self.model.net.clone(), self.model.device.clone());
            for (host, output) in workers.map(batches, move |_, batch| compute(&net, batch, &device)) {
                values.extend(self.batcher.invert(&host, &output));
            }
        }
        Ok(values)
    }
}
