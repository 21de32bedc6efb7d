//! Event files read back by the real TensorBoard (`pip install tensorboard`), every value of them.
//!
//! The Python that has it is `NHITS_TENSORBOARD_PYTHON`, or else `python3`; without one the tests say so and do nothing.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;

use nhits::tensorboard::{Colour, EventWriter, Picture};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What `tests/python/read_events.py` finds in a folder, or nothing where TensorBoard is not installed.
fn read(run: &Path) -> Option<Value> {
    let named = std::env::var("NHITS_TENSORBOARD_PYTHON").ok().filter(|python| !python.is_empty());
    let python = named.clone().unwrap_or("python3".into());
    let has_it =
        || Command::new(&python).args(["-c", "import tensorboard, PIL"]).output().is_ok_and(|o| o.status.success());
    if named.is_none() && !has_it() {
        // Not by a macro: the harness would keep it to itself.
        let _ = writeln!(io::stderr(), "skipped: `{python}` has no tensorboard; see NHITS_TENSORBOARD_PYTHON");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/read_events.py");
    let output = Command::new(&python).arg(script).arg(run).output().unwrap_or_else(|e| panic!("{python}: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{python} failed:\n{errors}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Numbers that are the same on every machine.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64 * 2.0 - 1.0
    }
}

fn bits(value: f64) -> Value {
    json!(value.to_bits())
}

fn sha256(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The f64 behind a number that Python printed.
fn number(value: &Value) -> f64 {
    f64::from_bits(value.as_u64().unwrap())
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

/// The steps and values of each tag.
fn series(of: &Value) -> BTreeMap<&str, Vec<(u64, &Value)>> {
    let pair = |v| match Value::as_array(v).map(Vec::as_slice) {
        Some([step, value]) => (step.as_u64().unwrap(), value),
        _ => panic!("{v} is no pair of a step and a value"),
    };
    let tags = of.as_object().unwrap().iter();
    tags.map(|(tag, values)| (tag.as_str(), values.as_array().unwrap().iter().map(pair).collect())).collect()
}

#[test]
fn scalars_come_back_bit_by_bit() {
    let run = tempfile::tempdir().unwrap();
    let mut noise = Noise(1);
    let mut written: BTreeMap<String, Vec<(u64, f64)>> = BTreeMap::new();
    for step in 0..2_000 {
        written.entry("loss/train".into()).or_default().push((step, 3.0 / (step as f64 + 1.0) + noise.next()));
        if step % 10 == 9 {
            written.entry("loss/validation, ünïcode".into()).or_default().push((step, noise.next() * 1e-6));
        }
    }
    let odd =
        [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e-45, 1e-300, 1e300, f32::MAX.into(), 0.1, -1e30];
    written.insert("odd".into(), odd.iter().zip(5..).map(|(v, step)| (step, *v)).collect());
    let steps = [0, 127, 128, 1 << 31, 1 << 40, i64::MAX as u64];
    written.insert("late".into(), steps.map(|step| (step, 1.0)).to_vec());

    let mut events = EventWriter::create(run.path()).unwrap();
    for (tag, values) in &written {
        for (step, value) in values {
            events.scalar(tag, *step, *value).unwrap();
        }
    }
    drop(events);

    let Some(found) = read(run.path()) else { return };
    for view in [&found["stored"]["scalars"], &found["shown"]["scalars"]] {
        let view = series(view);
        assert_eq!(view.len(), written.len());
        for (tag, values) in &written {
            let read = &view[tag.as_str()];
            assert_eq!(read.len(), values.len(), "{tag}");
            for ((step, value), (read_step, read)) in values.iter().zip(read) {
                let (stored, read) = (f64::from(*value as f32), number(read));
                let same = stored.to_bits() == read.to_bits() || (stored.is_nan() && read.is_nan());
                assert!(step == read_step && same, "{tag}, step {step}: {stored}, step {read_step}: {read}");
            }
        }
    }
}

#[test]
fn histograms_come_back_with_every_bucket() {
    let run = tempfile::tempdir().unwrap();
    let mut noise = Noise(2);
    let mut bell = |n: usize, width: f64| -> Vec<f32> {
        (0..n).map(|_| ((0..6).map(|_| noise.next()).sum::<f64>() * width) as f32).collect()
    };
    let mut written: Vec<(&str, u64, Vec<f32>)> = Vec::new();
    for step in 0..20 {
        written.push(("weights/blocks.0", step, bell(3_000, 0.1)));
        let mut gradients = bell(500, 10f64.powi(step as i32 - 15));
        gradients.extend([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0]);
        written.push(("gradients/blocks.0", step, gradients));
    }
    let odd: [&[f32]; 6] =
        [&[0.0], &[7.5; 40], &[f32::MIN, f32::MAX], &[-1e-40, 1e-40], &[1e-12, 1.1e-12, -1e-12], &[-3.0, f32::NAN]];
    written.extend(odd.iter().zip(0..).map(|(values, step)| ("odd", step, values.to_vec())));

    let mut events = EventWriter::create(run.path()).unwrap();
    for (tag, step, values) in &written {
        let left_out = events.histogram(tag, *step, values).unwrap();
        assert_eq!(left_out, values.iter().filter(|v| !v.is_finite()).count());
    }
    events.histogram("never", 1, &[]).unwrap();
    events.histogram("never", 2, &[f32::NAN]).unwrap();
    drop(events);

    let Some(found) = read(run.path()) else { return };
    let (stored, shown) = (series(&found["stored"]["histograms"]), series(&found["shown"]["histograms"]));
    assert_eq!(
        stored.keys().collect::<Vec<_>>(),
        ["gradients/blocks.0", "odd", "weights/blocks.0"].iter().collect::<Vec<_>>()
    );
    assert_eq!(stored.values().map(Vec::len).sum::<usize>(), written.len());
    assert_eq!(shown.values().map(Vec::len).sum::<usize>(), written.len());
    for (tag, step, values) in &written {
        let values: Vec<f64> = values.iter().filter(|v| v.is_finite()).map(|v| f64::from(*v)).collect();
        let place = format!("{tag}, step {step}");
        let at = |view: &BTreeMap<&str, Vec<(u64, &Value)>>| -> Value {
            view[tag].iter().find(|(s, _)| s == step).unwrap_or_else(|| panic!("{place}")).1.clone()
        };
        let histo = at(&stored);
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(histo["num"], bits(values.len() as f64), "{place}");
        assert_eq!(number(&histo["min"]), least, "{place}");
        assert_eq!(number(&histo["max"]), greatest, "{place}");
        assert_eq!(number(&histo["sum"]), values.iter().sum::<f64>(), "{place}");
        assert_eq!(number(&histo["sum_squares"]), values.iter().map(|v| v * v).sum::<f64>(), "{place}");

        let (limits, counts) = (numbers(&histo["bucket_limit"]), numbers(&histo["bucket"]));
        assert!(limits.is_sorted_by(|a, b| a < b) && limits.len() == counts.len(), "{place}");
        for (i, count) in counts.iter().enumerate() {
            let inside = |v: &&f64| **v < limits[i] && (i == 0 || **v >= limits[i - 1]);
            assert_eq!(values.iter().filter(inside).count() as f64, *count, "{place}, bucket {i}");
        }
        assert_eq!(counts.iter().sum::<f64>(), values.len() as f64, "{place}");

        // The page gets rows of (left, right, count) in f32; the outermost ends are the least and the greatest value.
        let rows: Vec<Vec<f64>> = at(&shown).as_array().unwrap().iter().map(numbers).collect();
        let f32s = |values: &[f64]| -> Vec<f64> { values.iter().map(|v| f64::from(*v as f32)).collect() };
        let inner = &limits[..limits.len() - 1];
        let column = |c: usize| -> Vec<f64> { rows.iter().map(|row| row[c]).collect() };
        assert_eq!(column(0), f32s(&[&[least], inner].concat()), "{place}");
        assert_eq!(column(1), f32s(&[inner, &[greatest]].concat()), "{place}");
        assert_eq!(column(2), counts, "{place}");
    }
}

#[test]
fn pictures_and_words_come_back() {
    let run = tempfile::tempdir().unwrap();
    let mut noise = Noise(3);
    let mut wave = |n: usize| -> Vec<f64> { (0..n).map(|i| (i as f64 * 0.4).sin() + 0.2 * noise.next()).collect() };
    let mut pictures: Vec<(u64, Picture)> =
        (0..4).map(|s| (s, Picture::forecast(&wave(96), &wave(24), &wave(24)))).collect();
    pictures.push((4, Picture::stacked(&[pictures[0].1.clone(), pictures[1].1.clone(), pictures[2].1.clone()])));
    pictures.push((5, Picture::lines(&[(&wave(500), Colour([1, 2, 3])), (&[f64::NAN], Colour::ORANGE)], None)));
    pictures.push((6, Picture::blank(3, 2)));
    let words = ["", "plain", "| a | b |\n|---|---|\n| 1 | 2 |", "naïve 時系列 🙂", &"long ".repeat(5_000)];

    let mut events = EventWriter::create(run.path()).unwrap();
    for (step, picture) in &pictures {
        events.image("forecast/series a", *step, picture).unwrap();
    }
    for (step, text) in words.iter().enumerate() {
        events.text("note", step as u64, text).unwrap();
    }
    drop(events);

    let Some(found) = read(run.path()) else { return };
    let (stored, shown) = (series(&found["stored"]["images"]), series(&found["shown"]["images"]));
    let (stored, shown) = (&stored["forecast/series a"], &shown["forecast/series a"]);
    assert_eq!((stored.len(), shown.len()), (pictures.len(), pictures.len()));
    for (i, (step, picture)) in pictures.iter().enumerate() {
        let (width, height) = (picture.width(), picture.height());
        let png = sha256(&picture.png().unwrap());
        let expected = json!({
            "width": width, "height": height, "format": "PNG", "mode": "RGB", "size": [width, height],
            "pixels_sha256": sha256(picture.rgb()), "png_sha256": png,
        });
        assert_eq!(stored[i], (*step, &expected));
        assert_eq!(shown[i], (*step, &json!({"width": width, "height": height, "png_sha256": png})));
    }
    let expected: Vec<Value> = words.iter().enumerate().map(|(step, text)| json!([step, text])).collect();
    assert_eq!(found["shown"]["text"], json!({ "note": expected }));
}

#[test]
fn a_resumed_run_replaces_the_steps_it_writes_again() {
    let run = tempfile::tempdir().unwrap();
    let mut first = EventWriter::create(run.path()).unwrap();
    for step in 0..100 {
        first.scalar("loss", step, 1.0).unwrap();
        first.histogram("weights", step, &[step as f32]).unwrap();
        first.scalar("of the first only", step, step as f64).unwrap();
    }
    let stopped = first.path().to_path_buf();
    drop(first);
    // The first was stopped in the middle of a record.
    let length = fs::metadata(&stopped).unwrap().len();
    OpenOptions::new().write(true).open(&stopped).unwrap().set_len(length - 7).unwrap();

    let mut second = EventWriter::create(run.path()).unwrap();
    second.session_start(60).unwrap();
    for step in 60..120 {
        second.scalar("loss", step, 2.0).unwrap();
        second.histogram("weights", step, &[step as f32 + 0.5]).unwrap();
    }
    drop(second);

    let Some(found) = read(run.path()) else { return };
    for view in ["stored", "shown"] {
        let scalars = series(&found[view]["scalars"]);
        let loss: Vec<(u64, f64)> = scalars["loss"].iter().map(|(step, v)| (*step, number(v))).collect();
        let expected: Vec<(u64, f64)> = (0..120).map(|step| (step, if step < 60 { 1.0 } else { 2.0 })).collect();
        assert_eq!(loss, expected, "{view}");
        let first_only: Vec<u64> = scalars["of the first only"].iter().map(|(step, _)| *step).collect();
        assert_eq!(first_only, (0..60).collect::<Vec<u64>>(), "{view}");
        let steps: Vec<u64> = series(&found[view]["histograms"])["weights"].iter().map(|(step, _)| *step).collect();
        assert_eq!(steps, (0..120).collect::<Vec<u64>>(), "{view}");
    }
}

#[test]
fn a_torn_last_record_costs_only_itself() {
    let run = tempfile::tempdir().unwrap();
    let mut events = EventWriter::create(run.path()).unwrap();
    for step in 0..50 {
        events.scalar("loss", step, step as f64).unwrap();
    }
    let path = events.path().to_path_buf();
    drop(events);
    let whole = fs::metadata(&path).unwrap().len();
    for torn in [3, 5, 20, 30, 33, 37] {
        OpenOptions::new().write(true).open(&path).unwrap().set_len(whole - torn).unwrap();
        let Some(found) = read(run.path()) else { return };
        for view in ["stored", "shown"] {
            let values: Vec<f64> = series(&found[view]["scalars"])["loss"].iter().map(|(_, v)| number(v)).collect();
            assert_eq!(values, (0..49).map(f64::from).collect::<Vec<_>>(), "{view}, {torn} bytes torn off");
        }
    }
}

/// A run of the binary, its curves compared with its own metrics, resumed in the middle.
#[test]
fn a_training_run_is_shown_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let data: String = (0..200).map(|i| format!("{i},{}\n", 10.0 + 3.0 * (f64::from(i) * 0.9).sin())).collect();
    fs::write(folder.path().join("s.csv"), format!("ds,y\n{data}")).unwrap();
    let train = |more: &str| {
        let run = "train --data s.csv --horizon 4 --input-size 12 --hidden-size 8 --dropout 0.1 --batch-size 16 \
                   --max-steps 60 --patience 0 --run-dir r --tensorboard tb --tensorboard-every 5 \
                   --tensorboard-histograms 20 --quiet";
        let mut command = Command::new(env!("CARGO_BIN_EXE_nhits"));
        let output = command.current_dir(folder.path()).args(run.split_whitespace()).args(more.split_whitespace());
        let output = output.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    train("--max-time 0.000001s");
    train("--resume --checkpoint-every 30steps --keep-checkpoints 9");
    // Back to the middle: its second half is written again, and must not be shown twice.
    let middle = fs::read_dir(folder.path().join("r/checkpoints")).unwrap().map(|f| f.unwrap().path());
    let middle = middle.into_iter().find(|f| f.to_string_lossy().contains("step-000000030")).unwrap();
    train(&format!("--resume {}", middle.display()));
    let Some(found) = read(&folder.path().join("tb")) else { return };
    let scalars = series(&found["stored"]["scalars"]);
    let metrics: Vec<Value> = fs::read_to_string(folder.path().join("r/metrics.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (tag, field) in
        [("loss/validation", "val_loss"), ("mae/validation", "val_mae"), ("rmse/validation", "val_rmse")]
    {
        // The first run was stopped after its first step, and validated there: that point stays.
        let mut shown: Vec<(u64, f64)> =
            scalars[tag].iter().map(|(step, v)| (*step, number(v))).filter(|(step, _)| *step > 1).collect();
        // The checkpoint of step 30 stands before the validation of that step, which comes twice, with the same numbers.
        shown.dedup();
        let known: Vec<(u64, f64)> = metrics
            .iter()
            .map(|m| (m["step"].as_u64().unwrap(), f64::from(m[field].as_f64().unwrap() as f32)))
            .collect();
        assert_eq!(shown, known, "{tag}");
    }
    let steps: Vec<u64> = scalars["loss/train"].iter().map(|(step, _)| *step).collect();
    assert_eq!(
        steps,
        std::iter::once(1).chain((5..=60).step_by(5)).collect::<Vec<_>>(),
        "no step twice, none left out"
    );
    assert!(scalars["learning_rate"].iter().all(|(_, v)| number(v) == f64::from(1e-3f32)));
    assert!(scalars["gradient_norm"].iter().all(|(_, v)| number(v) > 0.0));
    let histograms = series(&found["stored"]["histograms"]);
    let named = |prefix: &str| histograms.keys().filter(|tag| tag.starts_with(prefix)).count();
    // Three blocks of three linear layers, each with a weight and a bias.
    assert_eq!((named("weights/"), named("gradients/")), (24, 24), "{:?}", histograms.keys());
    assert_eq!(
        histograms["gradients/blocks.0.layers.0.weight"].iter().map(|(s, _)| *s).collect::<Vec<_>>(),
        [20, 40, 60]
    );
    // Four windows of four steps.
    assert!(histograms["forecasts"].iter().all(|(_, h)| number(&h["num"]) == 16.0));
    assert!(!series(&found["stored"]["images"])["forecast"].is_empty());
}
