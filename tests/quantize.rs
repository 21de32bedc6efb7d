//! Models in 8 bits: post-training and trained with rounding, their files, their gate, and that they see train rows only.

mod support;

use std::path::Path;
use std::sync::Arc;

use burn::tensor::backend::AutodiffBackend;
use nhits::bundle::{Bundle, QUANTIZED_FORMAT, QuantizedBy};
use nhits::data::{Panel, SplitSpec};
use nhits::error::Advise;
use nhits::forecast::Model;
use nhits::loss::LossConfig;
use nhits::model::{Activations, LayerInput, NHitsConfig, QuantizationConfig};
use nhits::quantize::{CalibrationData, QuantizeError, gated, post_training, save_quantized};
use nhits::train::{Provenance, TrainConfig, TrainEngine, TrainJob, Watch, WindowChoice};
use nhits::transform::ScalerKind;
use nhits::window::{Window, WindowScaler};
use nhits_backends::{Choice, Job, Taken, with_backend};
use support::{on_each, panel};

fn network() -> NHitsConfig {
    NHitsConfig { input_size: 24, horizon: 6, mlp_units: vec![[32, 32]; 2], dropout: 0.1, ..NHitsConfig::default() }
}

fn job(panel: Arc<Panel>, network: &NHitsConfig, config: TrainConfig) -> TrainJob {
    TrainJob {
        splits: SplitSpec::rows(80, 25, 15).resolve_all(&panel).unwrap(),
        panel,
        network: network.check().unwrap(),
        loss: LossConfig::Mae,
        target: Vec::new(),
        features: Default::default(),
        scaler: ScalerKind::Standard,
        window_scaler: WindowScaler::Standard,
        windows: WindowChoice::default(),
        config,
        threads: 2,
    }
}

fn steps(n: usize) -> TrainConfig {
    TrainConfig { max_steps: Some(n), lr: 5e-3, ..TrainConfig::default() }
}

/// Trains; gives the bundle.
struct Train(TrainJob);

impl Job for Train {
    type Output = Bundle;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Bundle {
        let plan = self.0.plan().unwrap();
        let trained = self.0.run::<B>(&plan, &device, Watch::default()).unwrap();
        trained.bundle(&self.0, &plan, Provenance::default())
    }
}

fn trained(network: &NHitsConfig, config: TrainConfig) -> Bundle {
    with_backend(&Choice::default(), Train(job(Arc::new(panel(120)), network, config))).unwrap()
}

fn data(panel: Panel) -> CalibrationData {
    let splits = SplitSpec::rows(80, 25, 15).resolve_all(&panel).unwrap();
    CalibrationData { panel: Arc::new(panel), splits, threads: 2 }
}

/// Rounds; gives the bundle.
struct Round<'a>(&'a Bundle, &'a CalibrationData, QuantizationConfig);

impl Job for Round<'_> {
    type Output = Result<Bundle, QuantizeError>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        Ok(post_training::<B::InnerBackend>(self.0, self.1, &self.2, &device, &|_| {})?.bundle)
    }
}

fn rounded(bundle: &Bundle, config: &QuantizationConfig) -> Bundle {
    with_backend(&Choice::default(), Round(bundle, &data(panel(120)), config.clone())).unwrap().unwrap()
}

/// Forecasts of all windows of a panel with whole inputs and targets.
struct Forecast<'a>(&'a Bundle);

impl Job for Forecast<'_> {
    type Output = Vec<f64>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Vec<f64> {
        let model = Model::<B::InnerBackend>::new(self.0, &device, 2).unwrap();
        let panel = Arc::new(panel(120));
        let windows: Vec<_> =
            (0..2).flat_map(|series| (24..114).map(move |origin| Window { series, origin })).collect();
        model.on(panel, &[0..80, 0..80]).unwrap().at(&windows).unwrap()
    }
}

fn forecasts(bundle: &Bundle) -> Vec<f64> {
    with_backend(&Choice::default(), Forecast(bundle)).unwrap()
}

/// The largest difference, as a share of the spread of the first.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    let (low, high) = a.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
    a.iter().zip(b).fold(0.0, |most, (a, b)| f64::max(most, (a - b).abs())) / (high - low)
}

fn every_config() -> Vec<QuantizationConfig> {
    let mut all = vec![];
    for activations in Activations::ALL {
        for (symmetric, per_channel) in [(true, true), (true, false), (false, true), (false, false)] {
            let base = QuantizationConfig::default();
            all.push(QuantizationConfig { activations: *activations, symmetric, per_channel, ..base });
        }
    }
    all
}

#[test]
fn every_way_of_rounding_forecasts_nearly_as_the_float_model_and_comes_back_from_its_file() {
    let float = trained(&network(), steps(60));
    let before = forecasts(&float);
    for config in every_config() {
        let int8 = rounded(&float, &config);
        assert_eq!((int8.precision(), float.precision()), ("int8", "float32"));
        let after = forecasts(&int8);
        assert!(before != after, "{config:?}: nothing was rounded");
        let most = if config.per_channel { 0.02 } else { 0.04 };
        assert!(difference(&before, &after) < most, "{config:?}: {}", difference(&before, &after));
        let record = int8.manifest.quantization.as_ref().unwrap();
        assert_eq!((record.method, record.layers.len()), (QuantizedBy::PostTraining, 12));
        assert_eq!(record.float_parent.as_deref(), Some(float.sha256().unwrap().as_str()));
        assert_eq!(int8.manifest.format_version, QUANTIZED_FORMAT);
        let bytes = int8.to_bytes().unwrap();
        let back = Bundle::from_bytes(&bytes, Path::new("x")).unwrap();
        let mut weights = int8.weights.clone();
        weights.sort_by(|a, b| a.name.cmp(&b.name));
        assert!(back.weights == weights && back.integers == int8.integers && back.series == int8.series);
        // A weight is there once, as integers or as floats, and what integers stand for is near what it was.
        let unpacked = back.unpacked(|_| true);
        assert_eq!((unpacked.len(), unpacked.len() + weights.len()), (12, float.weights.len()), "{config:?}");
        for t in &unpacked {
            let was = float.weights.iter().find(|w| w.name == t.name).unwrap();
            assert_eq!(t.shape, was.shape);
            let most = was.data.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            assert!(t.data.iter().zip(&was.data).all(|(a, b)| (a - b).abs() <= most / 127.0), "{config:?} {}", t.name);
        }
        assert_eq!(back.manifest.quantization, int8.manifest.quantization);
        assert_eq!(back.to_bytes().unwrap(), bytes);
    }
}

#[test]
fn backends_agree_on_a_quantized_model() {
    let float = trained(&network(), steps(40));
    for config in every_config() {
        let int8 = rounded(&float, &config);
        let all = on_each(|| Forecast(&int8));
        for (name, forecasts) in &all[1..] {
            let apart = difference(&all[0].1, forecasts);
            // A value that lies between two integers may be rounded to either.
            assert!(apart < 5e-3, "{name} and {}: {apart}, {config:?}", all[0].0);
        }
    }
}

#[test]
fn the_default_network_becomes_nearly_four_times_smaller() {
    let network = NHitsConfig::default();
    let long = panel(2 * (network.input_size + network.horizon));
    let splits = SplitSpec::fractions(1.0, 0.0, 0.0).unwrap().resolve_all(&long).unwrap();
    let job = TrainJob { splits, ..job(Arc::new(panel(120)), &network, steps(1)) };
    let float = with_backend(&Choice::default(), Train(TrainJob { panel: Arc::new(long), ..job })).unwrap();
    let network = float.manifest.model.check().unwrap();
    let inputs = vec![Some(LayerInput::Dynamic); network.layer_names().len()];
    let int8 = float.quantized(&QuantizationConfig::default(), &inputs, QuantizedBy::PostTraining, None).unwrap();
    let (before, after) = (float.to_bytes().unwrap().len(), int8.to_bytes().unwrap().len());
    let ratio = before as f64 / after as f64;
    assert!(ratio >= 3.8, "{before} and {after} bytes: {ratio}");
}

#[test]
fn a_bundle_without_a_weight_or_with_a_wrong_one_is_refused_by_its_name() {
    let float = trained(&network(), steps(20));
    let int8 = rounded(&float, &QuantizationConfig::default());
    for whole in [&float, &int8] {
        let refused = |change: &dyn Fn(&mut Bundle), parts: &[&str]| {
            let mut broken = whole.clone();
            change(&mut broken);
            let error = Bundle::from_bytes(&broken.to_bytes().unwrap(), Path::new("x.st")).unwrap_err();
            assert_eq!(error.kind(), "bad-tensor", "{error}");
            for part in parts {
                assert!(error.to_string().contains(part), "{part}: {error}");
            }
        };
        let name = "blocks.1.layers.0.bias";
        let weight = |b: &Bundle| b.weights.iter().position(|t| t.name == name).unwrap();
        refused(&|b| drop(b.weights.remove(weight(b))), &["x.st", name, "is missing"]);
        let wrong = |value: f32| {
            move |b: &mut Bundle| {
                let at = weight(b);
                b.weights[at].data[2] = value;
            }
        };
        refused(&wrong(f32::NAN), &[name, "value 2", "NaN"]);
        refused(&wrong(f32::INFINITY), &[name, "value 2", "inf"]);
        let longer = |b: &mut Bundle| {
            let at = weight(b);
            let t = &mut b.weights[at];
            t.data.push(0.0);
            t.shape[0] += 1;
        };
        refused(&longer, &[name, "has shape", "expected"]);
        if let Some(layer) = whole.integers.first().map(|q| q.layer.clone()) {
            refused(&|b| drop(b.integers.remove(0)), &[&layer, "is missing"]);
        }
    }
}

#[test]
fn a_model_that_cannot_be_read_is_named_with_what_could_be() {
    for path in ["none.st", "."] {
        let error = Bundle::load(Path::new(path)).unwrap_err();
        assert!(error.to_string().starts_with(&format!("cannot read {path}: ")), "{error}");
        assert!(error.hint().unwrap().contains("nhits train"), "{:?}", error.hint());
    }
}

#[test]
fn layers_may_stay_in_f32_by_name() {
    let float = trained(&network(), steps(20));
    let kept = "blocks.1.layers.0".to_string();
    let int8 = rounded(&float, &QuantizationConfig { float_layers: vec![kept.clone()], ..Default::default() });
    assert!(int8.quantized_layer(&kept).is_none() && int8.quantized_layer("blocks.0.layers.0").is_some());
    let weight = |b: &Bundle| b.weights.iter().find(|t| t.name == format!("{kept}.weight")).unwrap().data.clone();
    assert_eq!(weight(&int8), weight(&float));
    let unknown = QuantizationConfig { float_layers: vec!["blocks.7.layers.0".into()], ..Default::default() };
    let error = with_backend(&Choice::default(), Round(&float, &data(panel(120)), unknown)).unwrap().unwrap_err();
    assert_eq!(error.kind(), "invalid-setting");
    let again = with_backend(&Choice::default(), Round(&int8, &data(panel(120)), Default::default())).unwrap();
    assert!(again.unwrap_err().to_string().contains("an int8 model"));
}

#[test]
fn ranges_come_from_train_rows_only() {
    let float = trained(&network(), steps(20));
    let mut other = panel(120);
    for s in 0..2 {
        // Validation and test rows become what no range could hold.
        other.y[s * 120 + 80..(s + 1) * 120].fill(1e9);
    }
    for activations in [Activations::MinMax, Activations::Percentile] {
        let config = QuantizationConfig { activations, ..Default::default() };
        let bytes = |panel: Panel| {
            let round = Round(&float, &data(panel), config.clone());
            with_backend(&Choice::default(), round).unwrap().unwrap().to_bytes().unwrap()
        };
        assert_eq!(bytes(panel(120)), bytes(other.clone()), "{activations}");
        // And they do come from them.
        let mut train = panel(120);
        train.y[10..14].fill(500.0);
        assert_ne!(bytes(panel(120)), bytes(train), "{activations}");
    }
}

/// Rounds, judges and saves.
struct Save<'a>(&'a Bundle, QuantizationConfig, f64, &'a Path, CalibrationData);

impl Job for Save<'_> {
    type Output = Result<nhits::quantize::Gated, QuantizeError>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        save_quantized::<B::InnerBackend>(self.0, &self.4, &self.1, self.2, self.3, &device)
    }
}

#[test]
fn the_gate_writes_what_is_good_enough_and_nothing_else() {
    let float = trained(&network(), steps(60));
    let folder = tempfile::tempdir().unwrap();
    let save = |config: QuantizationConfig, limit: f64, name: &str| {
        let path = folder.path().join(name);
        let data = data(panel(120));
        (with_backend(&Choice::default(), Save(&float, config, limit, &path, data)).unwrap(), path)
    };
    let (found, path) = save(QuantizationConfig::default(), 0.05, "good.st");
    let found = found.unwrap();
    assert!(found.passed && found.comparison.degradation <= 0.05, "{found:?}");
    assert_eq!(found.comparison.per_step.len(), 6);
    assert_eq!(found.comparison.per_series.len(), 2);
    assert_eq!(found.comparison.n_windows, 2 * (25 - 6 + 1), "every window of the validation rows");
    assert_eq!(Bundle::load(&path).unwrap().precision(), "int8");
    // The layers are sorted by the error that they add, and their shares are of all of it.
    assert!(found.layers.windows(2).all(|l| l[0].share >= l[1].share && l[0].sqnr_db <= l[1].sqnr_db));
    assert!((found.layers.iter().map(|l| l.share).sum::<f64>() - 1.0).abs() < 1e-9);
    // One scale for a whole layer, and a range that cuts off half of the values.
    let coarse = QuantizationConfig {
        activations: Activations::Percentile,
        percentile: 70.0,
        per_channel: false,
        ..Default::default()
    };
    let (found, path) = save(coarse, 1e-4, "bad.st");
    let error = found.unwrap_err();
    assert_eq!(error.kind(), "accuracy-gate");
    assert!(!path.exists(), "nothing was written");
    let QuantizeError::Gate(found) = &error else { panic!("{error}") };
    assert!(!found.passed && found.comparison.degradation > 1e-4 && found.output.is_none());
    let suggestion = found.suggestion.as_ref().unwrap();
    assert_eq!(suggestion.float_layers[0], found.layers[0].layer, "the worst layer comes first");
    let hint = error.hint().unwrap();
    assert!(hint.contains(&suggestion.float_layers[0]) && hint.contains("--quantize qat"), "{hint}");
    // What it suggests does help.
    assert!(suggestion.degradation < found.comparison.degradation, "{suggestion:?}");
}

/// Judges only.
struct Gate<'a>(&'a Bundle, f64, CalibrationData);

impl Job for Gate<'_> {
    type Output = Result<nhits::quantize::Gated, QuantizeError>;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
        Ok(gated::<B::InnerBackend>(self.0, &self.2, &QuantizationConfig::default(), self.1, &device, &|_| {})?.1)
    }
}

#[test]
fn the_gate_judges_on_validation_rows_and_asks_for_some() {
    let float = trained(&network(), steps(20));
    let found = |data| with_backend(&Choice::default(), Gate(&float, 1.0, data)).unwrap();
    let mut test_rows = panel(120);
    for s in 0..2 {
        test_rows.y[s * 120 + 105..(s + 1) * 120].fill(-1e6);
    }
    let (a, b) = (found(data(panel(120))).unwrap(), found(data(test_rows)).unwrap());
    assert_eq!(a.comparison, b.comparison, "test rows are never read");
    let mut none = data(panel(120));
    none.splits = SplitSpec::rows(80, 5, 35).resolve_all(&none.panel).unwrap();
    let error = found(none).unwrap_err();
    assert!(error.hint().unwrap().contains("validation rows"), "{error}: {:?}", error.hint());
    let error = with_backend(&Choice::default(), Gate(&float, f64::NAN, data(panel(120)))).unwrap().unwrap_err();
    assert!(error.to_string().contains("--max-degradation"), "{error}");
}

#[test]
fn a_model_trained_with_rounding_forecasts_in_its_bundle_what_training_saw() {
    for activations in Activations::ALL {
        let quantize = QuantizationConfig { activations: *activations, calibration_samples: 50, ..Default::default() };
        let config = TrainConfig { quantize: Some(quantize), ..steps(30) };
        struct Seen(TrainJob);
        impl Job for Seen {
            type Output = (Bundle, f64);
            fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> (Bundle, f64) {
                let plan = self.0.plan().unwrap();
                let trained = self.0.run::<B>(&plan, &device, Watch::default()).unwrap();
                let bundle = trained.bundle(&self.0, &plan, Provenance::default());
                // What the fake-quantized network forecasts, and what its integers do.
                let panel = self.0.panel.clone();
                let windows: Vec<_> = (30..100).map(|origin| Window { series: 0, origin }).collect();
                let series = bundle.series.clone();
                let manifest = bundle.manifest.clone();
                let fake = Model::from_parts(trained.net, manifest, series, &device, 1).unwrap();
                let real = Model::<B::InnerBackend>::new(&bundle, &device, 1).unwrap();
                let at =
                    |m: &Model<B::InnerBackend>| m.on(panel.clone(), &[0..80, 0..80]).unwrap().at(&windows).unwrap();
                (bundle.clone(), difference(&at(&fake), &at(&real)))
            }
        }
        let job = job(Arc::new(panel(120)), &network(), config);
        for (name, (bundle, apart)) in on_each(|| Seen(job.clone())) {
            assert!(apart < 2e-3, "{name}, {activations}: {apart}");
            let record = bundle.manifest.quantization.as_ref().unwrap();
            assert_eq!((record.method, &record.float_parent), (QuantizedBy::Qat, &None));
            assert!(bundle.weights.iter().all(|t| !t.name.contains("input_range")));
            assert!(bundle.manifest.training.as_ref().unwrap().val_loss.is_some());
            Bundle::from_bytes(&bundle.to_bytes().unwrap(), Path::new("x")).unwrap();
        }
    }
}

#[test]
fn training_with_rounding_may_start_from_a_float_model() {
    let float = trained(&network(), steps(60));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("float.st");
    float.save(&path).unwrap();
    let quantize = Some(QuantizationConfig { activations: Activations::MinMax, ..Default::default() });
    let with = |network: &NHitsConfig, from: &Path| {
        let config = TrainConfig { quantize: quantize.clone(), from: Some(from.into()), lr: 1e-4, ..steps(3) };
        let job = job(Arc::new(panel(120)), network, config);
        struct Try(TrainJob);
        impl Job for Try {
            type Output = Result<Bundle, nhits::train::TrainError>;
            fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Self::Output {
                let plan = self.0.plan()?;
                let trained = self.0.run::<B>(&plan, &device, Watch::default())?;
                Ok(trained.bundle(&self.0, &plan, Provenance::default()))
            }
        }
        with_backend(&Choice::default(), Try(job)).unwrap()
    };
    let int8 = with(&network(), &path).unwrap();
    let record = int8.manifest.quantization.as_ref().unwrap();
    assert_eq!(record.float_parent.as_deref(), Some(float.sha256().unwrap().as_str()));
    // Three small steps from it, the forecasts are still nearly its own.
    let apart = difference(&forecasts(&float), &forecasts(&int8));
    assert!(apart < 0.05, "{apart}");
    let error = with(&NHitsConfig { horizon: 7, ..network() }, &path).unwrap_err();
    assert!(error.to_string().contains("horizon 6, here it is 7"), "{error}");
    let missing = with(&network(), &folder.path().join("no.st")).unwrap_err();
    assert_eq!(missing.kind(), "bundle-io");
    let saved = folder.path().join("int8.st");
    int8.save(&saved).unwrap();
    assert!(with(&network(), &saved).unwrap_err().to_string().contains("a float model"));
}

#[test]
fn training_with_rounding_learns() {
    // Ranges that are learned from random weights on lag behind these for a while.
    for (activations, most) in [(Activations::Dynamic, 1.1), (Activations::MinMax, 1.3)] {
        let quantize = QuantizationConfig { activations, ..Default::default() };
        let config = TrainConfig { quantize: Some(quantize), ..steps(200) };
        // On the engine that rounds: another order of summation leads 200 steps elsewhere, further than rounding does.
        let float = TrainConfig { engine: TrainEngine::Tensors, ..steps(200) };
        let (float, int8) = (trained(&network(), float), trained(&network(), config));
        let loss = |b: &Bundle| b.manifest.training.as_ref().unwrap().val_loss.unwrap();
        println!("{activations}: {} and {} without rounding", loss(&int8), loss(&float));
        assert!(loss(&int8) < most * loss(&float), "{activations}: {} and {}", loss(&int8), loss(&float));
    }
}
