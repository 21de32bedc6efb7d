//! Scalers, windows, and everything from raw series to loss, forecast and a whole fit, against the reference.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use burn::optim::{AdamConfig, GradientsParams, Optimizer};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use nhits::calendar::Clock;
use nhits::data::{Column, Panel, StaticColumn};
use nhits::loss::Loss;
use nhits::model::NHits;
use nhits::transform::{ScalerKind, SeriesScaler};
use nhits::window::{
    ColumnScalers, HostBatch, Padding, Start, WindowBatch, WindowBatcher, WindowIndex, WindowRules, WindowScaler,
    WindowShape,
};
use nhits_backends::{Job, Taken};

use crate::cases::{Array, Case, Report, Tally, Tensors, allowed, find, on_every_backend};
use crate::networks::{host, loss_of, named, network, settings_of};

/// The reference computes statistics in float32: a mean of values as large as `shift` is off by some steps of it.
fn statistics_error(shift: f32) -> f64 {
    8.0 * f64::from(f32::EPSILON) * f64::from(shift.abs())
}

#[test]
fn window_scalers_equal_the_reference() {
    let mut tally = Tally::default();
    for case in find(|case| case.has("temporal_norm.safetensors")) {
        let arrays = case.tensors("temporal_norm.safetensors");
        for scaler in WindowScaler::ALL {
            if arrays.find(&format!("{scaler}.z")).is_some() {
                let mut report = Report::new(format!("window scaler {scaler}"));
                check_window_scaler(&mut report, &arrays, scaler);
                tally.add("host", report);
            }
        }
    }
    tally.finish();
}

fn check_window_scaler(report: &mut Report, arrays: &Tensors, scaler: WindowScaler) {
    let get = |name: &str| arrays.get(&format!("{scaler}.{name}"));
    let (x, mask) = (arrays.get("x"), arrays.get("mask"));
    let [windows, steps, columns] = [x.shape[0], x.shape[1], x.shape[2]];
    for w in 0..windows {
        let seen: Vec<usize> = (0..steps).filter(|t| mask.data[w * steps + t] == 1.0).collect();
        if seen.is_empty() && matches!(scaler, WindowScaler::MinMax | WindowScaler::MinMax1) {
            // The reference overflows to infinity there.
            let by = scaler.statistics(&mut []);
            report.holds(
                "a window without values is left alone",
                (scaler.invert(scaler.apply(3.0, by), by) - 3.0).abs() < 1e-9,
            );
            continue;
        }
        for c in 0..columns {
            let column = |a: &Array| (0..steps).map(|t| a.data[(w * steps + t) * columns + c]).collect::<Vec<f32>>();
            let values = column(x);
            let by = scaler.statistics(&mut seen.iter().map(|t| f64::from(values[*t])).collect::<Vec<_>>());
            let (mut shift, mut scale) = (by.shift, by.scale);
            if scaler == WindowScaler::MinMax1 {
                // The reference stores smallest and range, and maps to -1..1 afterwards.
                (shift, scale) = (shift - scale, 2.0 * scale);
            }
            if scaler == WindowScaler::Revin {
                // The bias and weight that are learned there enter what the reference stores, and its inverse.
                let (bias, weight) = (get("revin_bias").data[c], get("revin_weight").data[c]);
                shift += f64::from(bias);
                scale *= f64::from(weight.max(0.0)) + 1e-6;
            }
            let at = w * columns + c;
            let error = statistics_error(by.shift as f32);
            let what = |name: &str| format!("{name} of window {w} column {c}");
            let (want_shift, want_scale) = (get("x_shift").data[at], get("x_scale").data[at]);
            report.close(&what("shift"), &[shift as f32], &[want_shift], allowed(0.0, &[want_shift]));
            report.close(&what("scale"), &[scale as f32], &[want_scale], error + allowed(0.0, &[want_scale]));
            let z: Vec<f32> = values.iter().map(|v| scaler.apply(f64::from(*v), by) as f32).collect();
            let want = column(get("z"));
            // The error of the shift counts in units of the scale, that of the scale in proportion to z.
            let relative = error / by.scale;
            let largest = want.iter().fold(1.0f64, |m, v| m.max(f64::from(v.abs())));
            report.close(&what("z"), &z, &want, relative * largest + allowed(0.0, &want));
            if scaler != WindowScaler::Revin {
                let back: Vec<f32> = want.iter().map(|z| scaler.invert(f64::from(*z), by) as f32).collect();
                let want = column(get("inverse"));
                report.close(&what("inverse"), &back, &want, error * largest + allowed(0.0, &want));
            }
        }
    }
}

#[test]
fn series_scalers_equal_the_reference() {
    let mut tally = Tally::default();
    for case in find(|case| case.has("local_scalers.safetensors")) {
        let arrays = case.tensors("local_scalers.safetensors");
        let x: Vec<f64> = arrays.get("x").data.iter().map(|v| f64::from(*v)).collect();
        let bounds: Vec<usize> = arrays.get("indptr").data.iter().map(|v| *v as usize).collect();
        tally.skip(&case.name, "not built here: boxcox");
        for kind in ScalerKind::ALL {
            let Some(stats) = arrays.find(&format!("{kind}.stats")) else { continue };
            let mut report = Report::new(format!("series scaler {kind}"));
            let fitted = SeriesScaler::fit(kind, bounds.windows(2).map(|b| &x[b[0]..b[1]]));
            for (s, bounds) in bounds.windows(2).enumerate() {
                let rows = bounds[0]..bounds[1];
                let (shift, scale) = (fitted.shift[s] as f32, fitted.scale[s] as f32);
                let error = statistics_error(shift);
                report.close(&format!("shift of {s}"), &[shift], &stats.data[2 * s..2 * s + 1], error);
                report.close(&format!("scale of {s}"), &[scale], &stats.data[2 * s + 1..2 * s + 2], error);
                let z: Vec<f32> = x[rows.clone()].iter().map(|v| fitted.apply(s, *v) as f32).collect();
                let want = &arrays.get(&format!("{kind}.z")).data[rows.clone()];
                report.close(&format!("z of {s}"), &z, want, 4.0 * error / f64::from(scale) + allowed(0.0, want));
                let back: Vec<f32> = want.iter().map(|z| fitted.invert(s, f64::from(*z)) as f32).collect();
                let inverse = &arrays.get(&format!("{kind}.inverse")).data[rows];
                report.close(&format!("inverse of {s}"), &back, inverse, 4.0 * error);
            }
            tally.add("host", report);
        }
    }
    tally.finish();
}

/// A panel of the arrays that the reference's model receives: series padded on the left to one length.
fn panel_of(case: &Case, arrays: &Tensors) -> Panel {
    let temporal = arrays.get("in.temporal");
    let [n_series, n_columns, length] = [temporal.shape[0], temporal.shape[1], temporal.shape[2]];
    let lens = case.counts("lens");
    let names: Vec<String> = serde_json::from_value(case.config["temporal_cols"].clone()).unwrap();
    let column = |c: usize| -> Vec<f64> {
        let of_series = |s: usize| (s * n_columns + c) * length;
        (0..n_series)
            .flat_map(|s| temporal.data[of_series(s) + length - lens[s]..of_series(s) + length].iter())
            .map(|v| f64::from(*v))
            .collect()
    };
    let mut panel = plain_panel(&lens, column(0));
    let named = |start: &str| -> Vec<Column> {
        let wanted = names.iter().enumerate().filter(|(_, name)| name.starts_with(start));
        wanted.map(|(c, name)| Column { name: name.clone(), values: column(c) }).collect()
    };
    panel.hist_exog = named("hist");
    panel.futr_exog = named("futr");
    if let Some(stat) = arrays.find("in.static") {
        let n = stat.shape[1];
        let values = |c: usize| stat.data.iter().skip(c).step_by(n).map(|v| f64::from(*v)).collect();
        panel.stat_exog = (0..n).map(|c| StaticColumn { name: format!("stat{c}"), values: values(c) }).collect();
    }
    panel
}

fn plain_panel(lens: &[usize], y: Vec<f64>) -> Panel {
    let offsets = lens.iter().scan(0, |end, n| {
        *end += n;
        Some(*end)
    });
    let offsets: Vec<usize> = std::iter::once(0).chain(offsets).collect();
    let time = lens.iter().flat_map(|n| 0..*n as i64).collect();
    let ids = (0..lens.len()).map(|s| format!("s{s}")).collect();
    Panel::new(ids, offsets, time, Clock::Integer, "1".parse().unwrap(), y, "y")
}

/// Everything that makes batches of a case.
struct Pipeline {
    panel: Arc<Panel>,
    shape: WindowShape,
    scaler: WindowScaler,
    val: usize,
    test: usize,
}

impl Pipeline {
    fn new(case: &Case, panel: Panel) -> Self {
        Self {
            panel: Arc::new(panel),
            shape: WindowShape { input_size: case.count("input_size", 0), horizon: case.count("h", 0) },
            scaler: case.config["scaler_type"].as_str().map_or(WindowScaler::Identity, |name| name.parse().unwrap()),
            val: case.count("val_size", 0),
            test: case.count("test_size", 0),
        }
    }

    /// Rows from `from_end` to `to_end` before the end of each series, from the start where `from_end` is none.
    fn rows(&self, from_end: Option<usize>, to_end: usize) -> Vec<Range<usize>> {
        let lens = (0..self.panel.n_series()).map(|s| self.panel.len_of(s));
        lens.map(|n| from_end.map_or(0, |from| n - from)..n - to_end).collect()
    }

    /// The windows that the reference trains on.
    fn train(&self, case: &Case) -> (WindowIndex, WindowRules) {
        let extra = &case.config["extra"];
        let align = Some(self.panel.max_len() - self.val - self.test);
        let thresholds = &extra["training_data_availability_threshold"];
        let padded = extra["start_padding_enabled"] == true;
        let rules = WindowRules {
            stride: extra["step_size"].as_u64().unwrap_or(1) as usize,
            min_input: thresholds[0].as_f64().unwrap_or(0.0),
            min_target: thresholds[1].as_f64().unwrap_or(0.0),
            start: if padded { Start::OneInput { align } } else { Start::WholeInput { align } },
            ..WindowRules::train(self.shape)
        };
        (WindowIndex::new(&self.panel, &self.rows(None, self.val + self.test), &rules).unwrap(), rules)
    }

    fn batcher(&self, index: &WindowIndex) -> WindowBatcher {
        let scalers = Arc::new(ColumnScalers::none(&self.panel));
        WindowBatcher::new(self.panel.clone(), index, scalers, self.scaler).unwrap().with_padding(Padding::Reference)
    }

    fn gather(&self, index: &WindowIndex) -> HostBatch {
        self.batcher(index).gather(&index.windows().collect::<Vec<_>>())
    }

    /// What the reference validates on.
    fn validation(&self) -> HostBatch {
        let ranges = self.rows(Some(self.val + self.test), self.test);
        self.gather(&WindowIndex::new(&self.panel, &ranges, &WindowRules::evaluate(self.shape)).unwrap())
    }

    /// What the reference predicts from: the end of each series.
    fn forecast(&self, future: &[f64]) -> (WindowBatcher, HostBatch) {
        let (index, silent) = WindowIndex::at_ends(&self.panel, self.shape).unwrap();
        assert!(silent.is_empty());
        let batcher = self.batcher(&index);
        let batch = batcher.gather_ahead(&index.windows().collect::<Vec<_>>(), future).unwrap();
        (batcher, batch)
    }
}

/// What the network receives is the same, value by value.
fn check_input(report: &mut Report, part: &str, arrays: &Tensors, got: &HostBatch) {
    let mut same = |name: &str, got: &[f32]| {
        let want = arrays.find(&format!("{part}.model_input.{name}"));
        match want {
            Some(want) => report.close(&format!("{part} {name}"), got, &want.data, 2.0 * allowed(0.0, &want.data)),
            None => report.holds(&format!("{part} has no {name}"), got.is_empty()),
        }
    };
    same("insample_y", &got.insample_y);
    same("insample_mask", &got.insample_mask);
    same("hist_exog", &got.hist_exog);
    same("futr_exog", &got.futr_exog);
    same("stat_exog", &got.stat_exog);
}

/// Loss of a batch in the units of the data, as the reference validates.
fn loss_in_units<B: Backend>(model: &NHits<B>, loss: &Loss, batch: WindowBatch<B>) -> f64 {
    let device = batch.target.device();
    let forecast = model.forward(&batch.input);
    let dims = forecast.dims();
    let whole = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect::<Vec<f32>>();
    let y_hat = TensorData::new(whole(batch.host.invert_window(&host(forecast))), dims);
    let y = TensorData::new(whole(batch.host.invert_window(&batch.host.target)), batch.target.dims());
    let value = loss.forward(
        Tensor::from_data(y, &device),
        Tensor::from_data(y_hat, &device),
        batch.target_mask.clone(),
        batch.input.insample_y.clone(),
    );
    f64::from(host(value)[0])
}

#[derive(Clone)]
struct PipelineJob(Case);

impl Job for PipelineJob {
    type Output = Report;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Report {
        let case = &self.0;
        let mut report = Report::new(&case.name);
        let arrays = case.tensors("pipeline.safetensors");
        let pipeline = Pipeline::new(case, panel_of(case, &arrays));
        let (index, rules) = pipeline.train(case);
        check_numbers(&mut report, case, &arrays, &index, &rules);
        let hidden = case.config["extra"]["exclude_insample_y"] == true;
        let hide = |mut batch: HostBatch| {
            if hidden {
                batch.insample_y.fill(0.0);
            }
            batch
        };
        let train = hide(pipeline.gather(&index));
        check_input(&mut report, "train", &arrays, &train);
        let weights = case.tensors("weights.safetensors");
        let affine = revin(&weights);
        check_statistics(&mut report, &arrays, &train, affine);
        if pipeline.val > 0 {
            check_input(&mut report, "val", &arrays, &hide(pipeline.validation()));
        }
        let Ok(loss) = loss_of(case) else { return report };
        let config = settings_of(case, loss.n_outputs());
        let model = network::<B>(&config, &weights, &device);
        let loss = Loss::new(loss, None, config.input_size, config.horizon).unwrap();

        let train: WindowBatch<B> = train.into_tensors(&device);
        let forecast = model.forward(&train.input);
        let want = &arrays.get("train.forecast").data;
        // Rounding is that of the largest value in the network, which padding makes large.
        let largest = &arrays.get("train.model_input.insample_y").data;
        let rounding = allowed(0.0, largest).max(allowed(0.0, want));
        report.close("train forecast", &host(forecast.clone()), want, rounding);
        let value =
            loss.forward(train.target.clone(), forecast, train.target_mask.clone(), train.input.insample_y.clone());
        let want = &arrays.get("train.loss").data;
        report.close("train loss", &host(value.clone()), want, allowed(0.0, want));
        let gradients = model.gradients(&value.backward());
        let stored: Vec<_> = arrays.iter().filter_map(|(name, a)| Some((name.strip_prefix("grad.")?, a))).collect();
        let all: Vec<f32> = stored.iter().flat_map(|(_, a)| a.data.iter().copied()).collect();
        for (name, want) in stored.iter().filter(|(name, _)| name.starts_with("blocks.")) {
            report.close(&format!("gradient of {name}"), &named(&gradients, name).data, &want.data, allowed(0.0, &all));
        }

        if let Some(want) = arrays.find("val.loss") {
            let got = loss_in_units(&model, &loss, pipeline.validation().into_tensors(&device));
            report.close("val loss", &[got as f32], &want.data, allowed(0.0, &want.data));
        }
        let (batcher, batch) = pipeline.forecast(&future(&arrays, pipeline.panel.futr_exog.len()));
        let batch = hide(batch);
        check_input(&mut report, "predict", &arrays, &batch);
        let batch: WindowBatch<B> = batch.into_tensors(&device);
        let z = host(model.forward(&batch.input));
        let mut got: Vec<f32> = batcher.invert(&batch.host, &z).into_iter().map(|v| v as f32).collect();
        if let Some((bias, weight)) = affine {
            let per_window = z.len() / batch.n_windows();
            for (i, (v, z)) in got.iter_mut().zip(&z).enumerate() {
                let w = i / per_window;
                *v = z * batch.host.scale[w] * (weight + 1e-6) + batch.host.shift[w] + bias;
            }
        }
        let want = &arrays.get("predict.y_hat").data;
        report.close("forecast in the units of the data", &got, want, 2.0 * allowed(0.0, want));
        report
    }
}

/// The reference numbers windows of the padded series one series after the other, and keeps those that fit.
fn check_numbers(report: &mut Report, case: &Case, arrays: &Tensors, index: &WindowIndex, rules: &WindowRules) {
    let (first, align) = match rules.start {
        Start::WholeInput { align: Some(align) } => (rules.shape.input_size, align),
        Start::OneInput { align: Some(align) } => (1, align),
        other => panic!("{other:?}"),
    };
    let per_series = (align - first) / rules.stride + 1;
    let numbers: Vec<f32> = index
        .windows()
        .map(|w| {
            let s = w.series as usize;
            let place = w.origin as usize + align - index.ends()[s] - first;
            assert_eq!(place % rules.stride, 0);
            (s * per_series + place / rules.stride) as f32
        })
        .collect();
    report.close("numbers of windows", &numbers, &arrays.get("train.valid_window_indices").data, 0.0);
    report.holds("number of windows", index.len() == case.count("n_windows_valid", 0));
    report.holds("windows tried", per_series * index.ends().len() == case.count("n_windows_total", 0));
}

/// The reference's learned bias and weight of the target, which its `revin` applies on the way back.
fn revin(weights: &Tensors) -> Option<(f32, f32)> {
    let of_y = |name: &str| weights.find(&format!("scaler.revin_{name}")).map(|a| a.data[0]);
    Some((of_y("bias")?, of_y("weight")?.max(0.0)))
}

fn check_statistics(report: &mut Report, arrays: &Tensors, batch: &HostBatch, affine: Option<(f32, f32)>) {
    for (name, got) in [
        ("shift", batch.statistics.iter().map(|by| by.shift as f32).collect::<Vec<_>>()),
        ("scale", batch.statistics.iter().map(|by| by.scale as f32).collect()),
    ] {
        let want = arrays.get(&format!("train.x_{name}"));
        let columns = want.shape[2];
        let mut want: Vec<f32> = want.data.iter().step_by(columns).copied().collect();
        if let Some((bias, weight)) = affine {
            want.iter_mut().for_each(|v| *v = if name == "shift" { *v - bias } else { *v / (weight + 1e-6) });
        }
        report.close(name, &got, &want, allowed(0.0, &want));
    }
}

/// The last `H` steps of the future covariates, series by series, step by step.
fn future(arrays: &Tensors, n: usize) -> Vec<f64> {
    if n == 0 {
        return Vec::new();
    }
    let (now, then) = (arrays.get("in.temporal"), arrays.get("predict.in.temporal"));
    let [n_series, columns, length] = [then.shape[0], then.shape[1], then.shape[2]];
    let mut values = Vec::new();
    for s in 0..n_series {
        for t in now.shape[2]..length {
            // Future columns come right after the target in these cases.
            values.extend((1..=n).map(|c| f64::from(then.data[(s * columns + c) * length + t])));
        }
    }
    values
}

#[test]
fn pipelines_equal_the_reference() {
    let mut tally = Tally::default();
    for case in find(|case| case.has("pipeline.safetensors")) {
        if let Err(why) = loss_of(&case) {
            tally.skip(&case.name, &format!("only its windows are checked: {why}"));
        }
        for (backend, report) in on_every_backend(&PipelineJob(case.clone())) {
            tally.add(backend, report);
        }
    }
    tally.finish();
}

/// A whole fit on all windows at once, with the learning rate halved twice.
#[derive(Clone)]
struct FitJob(Case);

impl Job for FitJob {
    type Output = Report;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Report {
        let case = &self.0;
        let mut report = Report::new(&case.name);
        let read = |file: &str| std::fs::read_to_string(case.path.join(file)).unwrap();
        let y = csv_column(&read("train.csv"), "y");
        let pipeline = Pipeline::new(case, plain_panel(&case.counts("lens"), y));
        let (index, _) = pipeline.train(case);
        let config = settings_of(case, loss_of(case).unwrap().n_outputs());
        let loss = Loss::new(loss_of(case).unwrap(), None, config.input_size, config.horizon).unwrap();
        let mut model = network::<B>(&config, &case.tensors("weights_init.safetensors"), &device);
        let train: WindowBatch<B> = pipeline.gather(&index).into_tensors(&device);
        let validation = pipeline.validation();
        let trajectory =
            |field: &str| -> Vec<(usize, f64)> { serde_json::from_value(case.config[field].clone()).unwrap() };
        let validated: BTreeMap<usize, f64> = trajectory("valid_trajectory").into_iter().collect();
        let steps = case.count("max_steps", 0);
        let halve_every = steps / case.count("num_lr_decays", 1);
        let mut rate = case.config["learning_rate"].as_f64().unwrap();
        let mut adam = AdamConfig::new().with_epsilon(1e-8).init::<B, NHits<B>>();
        // Thirty steps amplify rounding; a wrong window or statistic would be far beyond this.
        let close = 2e-5;
        for (step, want) in trajectory("train_trajectory") {
            let forecast = model.forward(&train.input);
            let value =
                loss.forward(train.target.clone(), forecast, train.target_mask.clone(), train.input.insample_y.clone());
            report.close_value(&format!("loss of step {step}"), f64::from(host(value.clone())[0]), want, close * want);
            if let Some(want) = validated.get(&step) {
                let got = loss_in_units(&model, &loss, validation.clone().into_tensors(&device));
                report.close_value(&format!("val loss at step {step}"), got, *want, close * want);
            }
            let gradients = GradientsParams::from_grads(value.backward(), &model);
            model = adam.step(rate, model, gradients);
            if (step + 1) % halve_every == 0 {
                rate /= 2.0;
            }
        }
        let got = loss_in_units(&model, &loss, validation.into_tensors(&device));
        report.close_value("last val loss", got, validated[&steps], close * validated[&steps]);
        let weights = model.tensors();
        let (mut got_all, mut want_all) = (vec![], vec![]);
        for (name, want) in case.tensors("weights_final.safetensors").iter().filter(|(n, _)| n.starts_with("blocks.")) {
            got_all.extend_from_slice(&named(&weights, name).data);
            want_all.extend_from_slice(&want.data);
        }
        // Adam divides by the gradient's own size, so a weight whose gradient is rounding may be off by some of a step.
        report.close("weights at the end", &got_all, &want_all, 3e-4);
        report.close_rms("weights at the end", &got_all, &want_all, 5e-6);
        let (batcher, batch) = pipeline.forecast(&[]);
        let batch: WindowBatch<B> = batch.into_tensors(&device);
        let got = batcher.invert(&batch.host, &host(model.forward(&batch.input)));
        let predictions = read("predictions.csv");
        let outputs = loss.config().output_names();
        for (q, name) in outputs.iter().enumerate() {
            let name = format!("NHITS{name}");
            let want: Vec<f32> = csv_column(&predictions, &name).into_iter().map(|v| v as f32).collect();
            let got: Vec<f32> = got.iter().skip(q).step_by(outputs.len()).map(|v| *v as f32).collect();
            report.close(&name, &got, &want, 5e-3);
        }
        report
    }
}

/// A column of numbers of a csv file, as float32 like the reference reads it.
fn csv_column(text: &str, name: &str) -> Vec<f64> {
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let at = header.iter().position(|c| *c == name).unwrap_or_else(|| panic!("no column `{name}` in {header:?}"));
    lines.map(|cells| f64::from(cells[at].parse::<f32>().unwrap())).collect()
}

#[test]
fn whole_fits_equal_the_reference() {
    let mut tally = Tally::default();
    for case in find(|case| case.has("train.csv") && case.has("weights_init.safetensors")) {
        for (backend, report) in on_every_backend(&FitJob(case.clone())) {
            tally.add(backend, report);
        }
    }
    tally.finish();
}
