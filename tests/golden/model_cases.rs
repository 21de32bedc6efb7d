//! The network: forward pass block by block, gradients of every weight and of the input, loss, and Adam steps.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsParams, Optimizer as _};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use nhits::loss::Loss;
use nhits::model::NHits;
use nhits::train::{Optimizer, OptimizerKind, Rule};
use nhits_backends::{Job, Taken};
use serde_json::Value;

use crate::cases::{Array, Case, Report, Tally, allowed, find, on_every_backend};
use crate::networks::{Batch, Stats, batch, host, loss_of, named, network, settings_of};

const LEARNING_RATE: f64 = 1e-3;

/// Adam as PyTorch has it by default. burn's own computes its bias corrections in float32, which takes a forecast
/// about 2e-5 away in 50 steps: too far for these cases.
fn adam<B: AutodiffBackend>() -> Optimizer<NHits<B>, B> {
    Rule::new(OptimizerKind::Adam).into()
}

/// Gradients in which the rounding of exact zeros is taken away where it would be trained on.
///
/// A mean absolute error has a derivative of equal terms with both signs in each knot of each window. Where they cancel, the
/// reference's order of summation gives exactly 0, and another order a last bit of one term. From that Adam, which divides by
/// the gradient's own size, makes steps of up to a hundredth of the learning rate: in the knot's bias, and in its weights of
/// all units that are active in such windows alone, which then move the forecast together (by 3e-5 of 10 in the network of
/// full size). The gradients that are compared are those before; no gradient there is truly that small, and everywhere else
/// some are, so nothing else is touched. `terms` is how many values the mean is over.
fn without_rounding<B: AutodiffBackend>(gradients: B::Gradients, model: &NHits<B>, terms: f32) -> GradientsParams {
    struct Cleaner<'a> {
        gradients: &'a mut GradientsParams,
        input_size: usize,
        last_bit: f32,
        path: Vec<String>,
    }
    impl<B: AutodiffBackend> ModuleVisitor<B> for Cleaner<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_string());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let below = match &self.path[..] {
                [.., layer, part] if layer == "output" && part == "bias" => 2.0 * self.last_bit,
                // A term times what a unit gives, which is less than 1.
                [.., layer, part] if layer == "output" && part == "weight" => 0.25 * self.last_bit,
                _ => return,
            };
            let gradient = self.gradients.remove::<B::InnerBackend, D>(param.id).expect("every weight takes part");
            // The last dimension is that of backcast and knots.
            let mut knots = gradient.dims().map(|n| 0..n);
            knots[D - 1].start = self.input_size;
            let of_knots = gradient.clone().slice(knots.clone());
            let rounding = of_knots.clone().abs().lower_elem(below);
            let cleaned = gradient.slice_assign(knots, of_knots.mask_fill(rounding, 0.0));
            self.gradients.register::<B::InnerBackend, D>(param.id, cleaned);
        }
    }
    let mut gradients = GradientsParams::from_grads(gradients, model);
    let (input_size, last_bit) = (model.config().input_size, f32::EPSILON / terms);
    model.visit(&mut Cleaner { gradients: &mut gradients, input_size, last_bit, path: vec![] });
    gradients
}

/// How many values the loss of a batch is a mean over.
fn terms<B: AutodiffBackend>(batch: &Batch<B>) -> f32 {
    host(batch.mask.clone()).iter().sum()
}

fn loss_value<B: AutodiffBackend>(model: &NHits<B>, loss: &Loss, batch: &Batch<B>) -> Tensor<B, 1> {
    let forecast = model.forward(&batch.input);
    loss.forward(batch.y.clone(), forecast, batch.mask.clone(), batch.input.insample_y.clone())
}

/// One case with stored weights.
#[derive(Clone)]
struct StoredJob(Case);

impl Job for StoredJob {
    type Output = Report;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Report {
        let case = &self.0;
        let mut report = Report::new(&case.name);
        let loss = loss_of(case).expect("asked before");
        let config = settings_of(case, loss.n_outputs());
        report.holds("outputs", config.outputs == case.count("outputs", 1));
        report.holds("number of weights", config.n_parameters() == case.count("n_params", 0));
        let loss = Loss::new(loss, None, config.input_size, config.horizon).unwrap();
        let model = network::<B>(&config, &case.tensors("weights.safetensors"), &device);
        let mut data = batch::<B>(&case.tensors("batch.safetensors"), "", &device);

        check_forward(&mut report, case, &model, &data);

        let input = data.input.insample_y.clone().require_grad();
        data.input.insample_y = input.clone();
        let value = loss_value(&model, &loss, &data);
        let grads = case.tensors("grads.safetensors");
        let want = &grads.get("__loss__").data;
        report.close("loss", &host(value.clone()), want, allowed(case.reference_error("loss_abs"), want));
        let gradients = value.backward();
        let own = model.gradients(&gradients);
        let error = case.reference_error("grad_max_abs");
        for (name, want) in grads.iter().filter(|(name, _)| name.starts_with("blocks.")) {
            // Rounding is that of the largest gradient of the network, not of this tensor alone.
            let got = named(&own, name);
            report.holds(&format!("shape of {name}"), got.shape == want.shape);
            let largest = case.config["f32_vs_f64"]["grad_max_value"].as_f64().unwrap() as f32;
            report.close(&format!("gradient of {name}"), &got.data, &want.data, allowed(error, &[largest]));
        }
        let stored = grads.iter().filter(|(name, _)| name.starts_with("blocks.")).count();
        report.holds("a gradient for each weight", own.len() == stored);
        let want = &grads.get("__insample_y__").data;
        let got = host(input.grad(&gradients).expect("the input is tracked"));
        report.close("gradient of the input", &got, want, allowed(error, want));
        data.input.insample_y = data.input.insample_y.detach();

        check_training(&mut report, case, model, &loss, &data);
        report
    }
}

fn check_forward<B: AutodiffBackend>(report: &mut Report, case: &Case, model: &NHits<B>, data: &Batch<B>) {
    let want = case.tensors("forward.safetensors");
    let error = case.reference_error("forecast_max_abs");
    let mut close = |what: &str, got: Vec<f32>| {
        let want = &want.get(what).data;
        report.close(what, &got, want, allowed(error, want));
    };
    close("forecast", host(model.forward(&data.input)));
    let parts = model.forward_decomposed(&data.input);
    close("forecast", host(parts.forecast()));
    for (k, block) in parts.blocks.iter().enumerate() {
        close(&format!("block{k}.insample_y"), host(block.insample_y.clone()));
        close(&format!("block{k}.mlp_input"), host(block.mlp_input.clone()));
        close(&format!("block{k}.theta"), host(block.theta.clone()));
        close(&format!("block{k}.backcast"), host(block.backcast.clone()));
        close(&format!("block{k}.forecast"), host(block.forecast.clone()));
    }
    let stored = want.iter().filter(|(name, _)| name.ends_with(".theta")).count();
    report.holds("number of blocks", parts.blocks.len() == stored);
}

/// Trains on the batch and compares wherever a state is stored.
fn check_training<B: AutodiffBackend>(
    report: &mut Report,
    case: &Case,
    mut model: NHits<B>,
    loss: &Loss,
    data: &Batch<B>,
) {
    let mut optimizer = adam::<B>();
    let losses: Vec<f32> = serde_json::from_value(case.config["losses_50_steps"].clone()).unwrap();
    let last = [1, 5, 50].into_iter().filter(|n| case.has(&format!("adam_{n}.safetensors"))).max().unwrap_or(0);
    let mut seen = vec![];
    for step in 1..=last {
        let value = loss_value(&model, loss, data);
        seen.extend(host(value.clone()));
        let gradients = without_rounding(value.backward(), &model, terms(data));
        model = optimizer.step(LEARNING_RATE, model, gradients);
        let file = format!("adam_{step}.safetensors");
        if !case.has(&file) {
            continue;
        }
        let stored = case.tensors(&file);
        let error = |what: &str| case.reference_error(&format!("adam_{step}_{what}"));
        let weights = model.tensors();
        let (mut got_all, mut want_all) = (vec![], vec![]);
        for (name, Array { data: want, .. }) in stored.iter().filter(|(name, _)| name.starts_with("blocks.")) {
            let got = &named(&weights, name).data;
            // In many steps one weight whose gradient is almost 0 may go astray; the root mean square below stays strict.
            let astray = if step == 50 { 1e-5 } else { 0.0 };
            let allowed = allowed(error("weight_max_abs"), want).max(astray);
            report.close(&format!("{name} after {step} steps"), got, want, allowed);
            got_all.extend_from_slice(got);
            want_all.extend_from_slice(want);
        }
        let rms = allowed(error("weight_rms"), &[]).max(f64::from(f32::EPSILON) / 4.0);
        report.close_rms(&format!("all weights after {step} steps"), &got_all, &want_all, rms);
        let want = &stored.get("__forecast__").data;
        let got = host(model.forward(&data.input));
        report.close(&format!("forecast after {step} steps"), &got, want, allowed(error("forecast_max_abs"), want));
    }
    let want = &losses[..last];
    let error = case.reference_error(&format!("adam_{last}_forecast_max_abs"));
    report.close("losses of the steps", &seen, want, allowed(error, want));
}

/// The case whose weights follow from a formula.
#[derive(Clone)]
struct FormulaJob(Case);

impl Job for FormulaJob {
    type Output = Report;

    fn run<B: AutodiffBackend>(self, _: &Taken, device: B::Device) -> Report {
        let case = &self.0;
        let mut report = Report::new(&case.name);
        let config = settings_of(case, 1);
        let order: Vec<String> = serde_json::from_value(case.config["tensor_order"].clone()).unwrap();
        let specs = config.tensor_specs();
        report.holds("names in the same order", specs.iter().map(|s| &s.name).eq(order.iter()));
        let mut columns = 1;
        let mut weights = vec![];
        for (t, spec) in specs.iter().enumerate() {
            if let [_, inputs] = spec.shape[..] {
                columns = inputs;
            }
            let n: usize = spec.shape.iter().product();
            weights.push((spec, (0..n).map(|i| formula(t as u64, i as u64, columns)).collect::<Vec<f32>>()));
        }
        for (spec, values) in &weights {
            check_stats(&mut report, &spec.name, values, &case.config["weight_stats"][&spec.name], 1e-12, 0.0);
        }
        let source = |name: &str| {
            weights
                .iter()
                .find(|(spec, _)| spec.name == name)
                .map(|(spec, values)| (spec.shape.clone(), values.clone()))
        };
        let mut model = NHits::<B>::with_tensors(&config, source, &device).unwrap();
        let data = batch::<B>(&case.tensors("batch.safetensors"), "", &device);
        let loss = Loss::new(loss_of(case).unwrap(), None, config.input_size, config.horizon).unwrap();
        let stored = case.tensors("forward.safetensors");
        let want = &stored.get("forecast").data;
        let error = case.reference_error("forecast_max_abs");
        report.close("forecast", &host(model.forward(&data.input)), want, allowed(error, want));

        let losses: Vec<f32> = serde_json::from_value(case.config["losses_50_steps"].clone()).unwrap();
        let mut optimizer = adam::<B>();
        for step in 1..=5 {
            let value = loss_value(&model, &loss, &data);
            let want = losses[step - 1];
            report.close(&format!("loss of step {step}"), &host(value.clone()), &[want], allowed(error, &[want]));
            let gradients = value.backward();
            if step == 1 {
                for tensor in model.gradients(&gradients) {
                    let stats = &case.config["grad_stats"][&tensor.name];
                    check_stats(&mut report, &format!("gradient of {}", tensor.name), &tensor.data, stats, 1e-5, 5e-5);
                }
            }
            let gradients = without_rounding(gradients, &model, terms(&data));
            model = optimizer.step(LEARNING_RATE, model, gradients);
            if step == 1 || step == 5 {
                let want = &stored.get(&format!("forecast_after_adam_{step}")).data;
                // Differences grow tenfold every few steps (the reference's own float32 is 0.5 away after 50), so that after
                // five steps another order of summation counts more than the reference's error tells.
                let error = case.reference_error(&format!("adam_{step}_forecast_max_abs")) * [1.0, 4.0][step / 5];
                let got = host(model.forward(&data.input));
                report.close(&format!("forecast after {step} steps"), &got, want, allowed(error, want));
                for tensor in model.tensors() {
                    let stats = &case.config["adam_stats"][step.to_string()][&tensor.name];
                    let what = format!("{} after {step} steps", tensor.name);
                    check_stats(&mut report, &what, &tensor.data, stats, 1e-5, 5e-5);
                }
            }
        }
        report
    }
}

/// Value `i` of tensor `t` by the formula of the golden set's description.
fn formula(t: u64, i: u64, columns: usize) -> f32 {
    let mut z = (t << 32).wrapping_add(i).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    let u = (z >> 40) as f64 / (1u64 << 24) as f64;
    (2.0 * u - 1.0) as f32 * (1.0 / (columns as f64).sqrt()) as f32
}

/// Checks sums within `relative` of the sum of absolute values, and the first and last values within `of_largest` times
/// the root mean square.
fn check_stats(report: &mut Report, what: &str, values: &[f32], stored: &Value, relative: f64, of_largest: f64) {
    let (got, want) = (Stats::of(values), Stats::read(stored));
    report.close_value(&format!("sum of {what}"), got.sum, want.sum, relative * want.abs_sum);
    report.close_value(&format!("absolute sum of {what}"), got.abs_sum, want.abs_sum, relative * want.abs_sum);
    report.close_value(&format!("norm of {what}"), got.l2, want.l2, relative * want.l2);
    let rms = want.l2 / (values.len() as f64).sqrt();
    for (end, got) in [("first", &values[..8.min(values.len())]), ("last", &values[values.len().saturating_sub(8)..])] {
        let want: Vec<f32> = serde_json::from_value(stored[end].clone()).unwrap();
        report.close(&format!("{end} of {what}"), got, &want, of_largest * rms);
    }
}

#[test]
fn networks_equal_the_reference() {
    let mut tally = Tally::default();
    for case in find(|case| case.has("adam_1.safetensors")) {
        match loss_of(&case) {
            Err(why) => tally.skip(&case.name, &why),
            Ok(_) => {
                for (backend, report) in on_every_backend(&StoredJob(case.clone())) {
                    tally.add(backend, report);
                }
            }
        }
    }
    tally.finish();
}

#[test]
fn a_network_of_full_size_equals_the_reference() {
    let cases = find(|case| case.has("batch.safetensors") && case.config["tensor_order"].is_array());
    if cases.is_empty() {
        println!("skipped: the full-size case is not in the repository, only in the whole set");
        return;
    }
    let mut tally = Tally::default();
    for case in cases {
        for (backend, report) in on_every_backend(&FormulaJob(case.clone())) {
            tally.add(backend, report);
        }
    }
    tally.finish();
}
