//! A table of inputs that are wrong: each must end with exit code 2 and a message that says what, where and what instead.

use rayon::prelude::*;
use serde_json::json;

use crate::bundles::{Parts, file};
use crate::tool::{Folder, TINY, daily, day, hour, keys, model_bytes, panel, wave};

/// One wrong input.
struct Bad {
    name: &'static str,
    /// Files beside `s.csv`, `model.st` and the folder `folder`, which are always there.
    files: Vec<(&'static str, Vec<u8>)>,
    /// The arguments; `TINY` stands for a tiny run.
    args: &'static str,
    /// The stable word for the error.
    kind: &'static str,
    /// What message and hint must contain: place, value, expectation.
    says: &'static [&'static str],
}

fn bad(name: &'static str, args: &'static str, kind: &'static str, says: &'static [&'static str]) -> Bad {
    Bad { name, files: Vec::new(), args, kind, says }
}

impl Bad {
    fn with(mut self, name: &'static str, content: impl AsRef<[u8]>) -> Self {
        self.files.push((name, content.as_ref().to_vec()));
        self
    }

    /// What is not as it should be.
    fn failures(&self) -> Vec<String> {
        let folder = Folder::with_model();
        std::fs::create_dir(folder.path("folder")).unwrap();
        std::fs::create_dir(folder.path("folder.csv")).unwrap();
        for (name, content) in &self.files {
            folder.write(name, content);
        }
        let args = self.args.replace("TINY", TINY);
        let plain = folder.run(&args);
        let as_json = folder.run(&format!("{args} --json"));
        let mut failures = Vec::new();
        let mut expect = |holds: bool, what: String| {
            if !holds {
                failures.push(format!("{}: nhits {args}: {what}", self.name));
            }
        };
        expect(plain.code == Some(2), format!("exit code {:?}, stderr {:?}", plain.code, plain.stderr));
        expect(as_json.code == Some(2), format!("with --json: exit code {:?}", as_json.code));
        expect(plain.stdout.is_empty(), format!("stdout {:?}", plain.stdout));
        for ran in [&plain, &as_json] {
            expect(!ran.stderr.contains("panicked"), format!("a panic: {}", ran.stderr));
        }
        for part in self.says {
            expect(plain.stderr.contains(part), format!("stderr lacks {part:?}: {:?}", plain.stderr));
        }
        match serde_json::from_str::<serde_json::Value>(&as_json.stdout) {
            Ok(value) => {
                let error = &value["error"];
                let shape = keys(&value) == ["error"] && keys(error) == ["kind", "message", "hint"];
                expect(shape, format!("JSON of another shape: {value}"));
                expect(error["kind"] == self.kind, format!("kind {} for {}", error["kind"], self.kind));
                let told =
                    format!("{} {}", error["message"].as_str().unwrap_or(""), error["hint"].as_str().unwrap_or(""));
                for part in self.says {
                    expect(told.contains(part), format!("the JSON lacks {part:?}: {told:?}"));
                }
            }
            Err(e) => expect(false, format!("stdout is not one JSON object ({e}): {:?}", as_json.stdout)),
        }
        failures
    }
}

/// Rows of the usual series with one line changed (lines count from 1, the header is line 1).
fn with_line(line: usize, text: &str) -> String {
    let all = daily(40);
    let lines: Vec<&str> = all.lines().enumerate().map(|(i, l)| if i + 1 == line { text } else { l }).collect();
    lines.join("\n") + "\n"
}

fn gz(text: &str) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A real parquet file: forecasts of the tiny model.
fn parquet() -> Vec<u8> {
    let folder = Folder::with_model();
    folder.ok("predict --model model.st --data s.csv --output f.parquet");
    folder.read("f.parquet")
}

fn of_files() -> Vec<Bad> {
    let good = daily(40);
    let parquet = parquet();
    vec![
        bad("absent file", "train --data nowhere.csv TINY", "file-absent", &["nowhere.csv", "no such file"]),
        bad(
            "absent file with a neighbour",
            "train --data ss.csv TINY",
            "file-absent",
            &["ss.csv", "did you mean", "s.csv"],
        ),
        bad("folder", "train --data folder TINY", "file-is-folder", &["folder: is a folder", "expected a csv"]),
        bad("empty file", "train --data x.csv TINY", "file-empty", &["x.csv: is empty"]).with("x.csv", ""),
        bad("header only", "train --data x.csv TINY", "no-rows", &["x.csv", "no rows"])
            .with("x.csv", "unique_id,ds,y\n"),
        bad("no header", "train --data x.csv TINY", "no-header", &["line 1", "2020-01-01,1.5"])
            .with("x.csv", "2020-01-01,1.5\n2020-01-02,2.5\n"),
        bad(
            "ragged row",
            "train --data x.csv TINY",
            "ragged-row",
            &["x.csv", "line 5", "4 fields", "the header has 3"],
        )
        .with("x.csv", with_line(5, "A,2020-01-04,1,2")),
        bad(
            "unparsable number",
            "train --data x.csv TINY",
            "unparsable-number",
            &["line 7", "column `y`", "`1o.5` is not a number"],
        )
        .with("x.csv", with_line(7, "A,2020-01-06,1o.5")),
        bad(
            "unparsable time",
            "train --data x.csv TINY",
            "unparsable-time",
            &["line 9", "column `ds`", "`2020-13-08`"],
        )
        .with("x.csv", with_line(9, "A,2020-13-08,1")),
        bad("infinite value", "train --data x.csv TINY", "infinite-value", &["line 4", "column `y`", "inf", "finite"])
            .with("x.csv", with_line(4, "A,2020-01-03,inf")),
        bad(
            "missing values",
            "train --data x.csv TINY --missing error",
            "missing-value",
            &["line 6", "series `A`", "2020-01-05", "column `y`", "missing", "--missing"],
        )
        .with("x.csv", with_line(6, "A,2020-01-05,NaN")),
        bad("a run of missing values", "train --data x.csv TINY", "missing-value", &["3 values", "2020-01-05"]).with(
            "x.csv",
            daily(40)
                .lines()
                .enumerate()
                .map(|(i, l)| match i {
                    5..=7 => format!("A,{},\n", day(i - 1)),
                    _ => format!("{l}\n"),
                })
                .collect::<String>(),
        ),
        bad(
            "a series without a value",
            "train --data x.csv TINY --missing mask",
            "no-observations",
            &["series `B`", "not a single value"],
        )
        .with("x.csv", format!("{good}B,2020-01-01,\nB,2020-01-02,\n")),
        bad(
            "duplicate rows",
            "train --data x.csv TINY",
            "duplicate",
            &["line 3", "series `A`", "2020-01-02", "line 4", "--duplicates"],
        )
        .with("x.csv", good.replacen("A,2020-01-03", "A,2020-01-02", 1)),
        bad("gap", "train --data x.csv TINY", "gap", &["line 11", "2020-01-11", "1 row of `D` is absent", "--gaps"])
            .with(
                "x.csv",
                good.lines().filter(|l| !l.contains("2020-01-10")).map(|l| format!("{l}\n")).collect::<String>(),
            ),
        bad("stamp beside the grid", "train --data x.csv TINY", "off-grid", &["line 9", "2020-01-01 07:20:00", "`h`"])
            .with(
                "x.csv",
                (0..40).fold("ds,y\n".to_string(), |text, i| {
                    let stamp = if i == 7 { "2020-01-01 07:20:00".into() } else { hour(i) };
                    format!("{text}{stamp},{}\n", wave(i))
                }),
            ),
        bad("not UTF-8", "train --data x.csv TINY", "not-utf8", &["x.csv", "line 2", "0xfc", "iconv"])
            .with("x.csv", b"unique_id,ds,y\nM\xfcnchen,2020-01-01,1\n"),
        bad("UTF-16", "train --data x.csv TINY", "not-utf8", &["UTF-16"]).with("x.csv", b"\xff\xfed\0s\0,\0y\0"),
        bad("truncated gzip", "train --data x.csv.gz TINY", "file-damaged", &["x.csv.gz", "ends too early"]).with(
            "x.csv.gz",
            {
                let whole = gz(&good);
                whole[..whole.len() / 2].to_vec()
            },
        ),
        bad("gzip with a wrong byte", "train --data x.csv.gz TINY", "file-damaged", &["x.csv.gz", "gzip"]).with(
            "x.csv.gz",
            {
                let mut bytes = gz(&good);
                bytes[20] ^= 0xff;
                bytes
            },
        ),
        bad(
            "truncated parquet",
            "train --data x.parquet TINY --target NHITS",
            "file-damaged",
            &["x.parquet", "truncated or damaged"],
        )
        .with("x.parquet", &parquet[..parquet.len() / 2]),
        bad(
            "parquet with a wrong footer",
            "train --data x.parquet TINY --target NHITS",
            "file-damaged",
            &["x.parquet"],
        )
        .with("x.parquet", {
            let mut bytes = parquet.clone();
            let n = bytes.len();
            bytes[n - 8..n - 4].fill(0xff);
            bytes
        }),
        bad(
            "text named parquet",
            "train --data x.parquet TINY",
            "unknown-format",
            &["x.parquet", "does not begin with `PAR1`"],
        )
        .with("x.parquet", &good),
        bad("spreadsheet", "train --data x.csv TINY", "unknown-format", &["xlsx", "expected csv"])
            .with("x.csv", b"PK\x03\x04abc"),
        bad("quote never closed", "train --data x.csv TINY", "file-damaged", &["line 3", "quote"])
            .with("x.csv", "unique_id,ds,y\nA,2020-01-01,1\n\"A,2020-01-02,1\n"),
        bad("column twice", "train --data x.csv TINY", "duplicate-columns", &["x.csv", "`y`"])
            .with("x.csv", "ds,y,y\n2020-01-01,1,2\n"),
        bad("decimal comma", "train --data x.csv TINY", "unclear-layout", &["decimal comma", "3.14"])
            .with("x.csv", "ds;v\n2020-01-01;1,5\n2020-01-02;2,5\n"),
        bad("two time columns", "train --data x.csv TINY", "unclear-layout", &["`from`, `to`", "--time-col"])
            .with("x.csv", "from,to,y\n2020-01-01,2020-01-02,1\n2020-01-02,2020-01-03,2\n"),
        bad("no time column", "train --data x.csv TINY", "unclear-layout", &["no column reads as time", "--time-col"])
            .with("x.csv", "name,y\na,1.5\nb,2.5\n"),
        bad(
            "several numbers, no target",
            "train --data x.csv TINY",
            "unclear-layout",
            &["`open`, `close`", "--target"],
        )
        .with("x.csv", "ds,open,close\n2020-01-01,1,2\n2020-01-02,1,2\n"),
        bad(
            "absent target",
            "train --data s.csv TINY --target yy",
            "absent-column",
            &["`yy` (--target)", "did you mean `y`?"],
        ),
        bad(
            "absent id column",
            "train --data s.csv TINY --id-col shop",
            "absent-column",
            &["`shop` (--id-col)", "`unique_id`"],
        ),
        bad(
            "absent time column",
            "train --data s.csv TINY --time-col dt",
            "absent-column",
            &["`dt` (--time-col)", "did you mean `ds`?"],
        ),
        bad("absent covariate", "train --data s.csv TINY --hist-exog rain", "absent-column", &["`rain` (--hist-exog)"]),
        bad(
            "one column in two roles",
            "train --data s.csv TINY --target y --futr-exog y",
            "unclear-layout",
            &["`y`", "target", "futr_exog"],
        ),
        bad(
            "covariate of text",
            "train --data x.csv TINY --hist-exog name",
            "column-type",
            &["`name` holds text, expected numbers"],
        )
        .with("x.csv", "ds,y,name\n2020-01-01,1,a\n2020-01-02,2,b\n"),
        bad(
            "static table without a series",
            "train --data x.csv TINY --static t.csv",
            "static-value",
            &["series `B`", "column `area`", "no row"],
        )
        .with("x.csv", panel(&[("A", 40), ("B", 40)]))
        .with("t.csv", "unique_id,area\nA,3\n"),
        bad("all together", "train --data x.csv TINY", "ragged-row", &["3 problems", "line 3", "line 4", "line 5"])
            .with("x.csv", "unique_id,ds,y\nA,2020-01-01,1\nA,2020-01-02\nA,x,1\nA,2020-01-04,y\nA,2020-01-05,1\n"),
    ]
}

fn of_settings() -> Vec<Bad> {
    vec![
        bad(
            "frequency with a typo",
            "train --data s.csv TINY --freq daly",
            "unknown-frequency",
            &["`daly`", "did you mean `D`?"],
        ),
        bad(
            "frequency of another calendar",
            "train --data s.csv TINY --freq 3",
            "invalid-setting",
            &["freq = 3", "expected a frequency for"],
        ),
        bad(
            "optimizer",
            "train --data s.csv TINY --optimizer adamx",
            "invalid-setting",
            &["--optimizer = adamx", "rmsprop", "did you mean `adam"],
        ),
        bad(
            "loss",
            "train --data s.csv TINY --loss hubr",
            "invalid-setting",
            &["--loss = hubr", "mqloss", "did you mean `huber`?"],
        ),
        bad(
            "scaler",
            "train --data s.csv TINY --scaler standrd",
            "invalid-setting",
            &["scaler = standrd", "minmax", "did you mean `standard`?"],
        ),
        bad(
            "window scaler",
            "train --data s.csv TINY --window-scaler robst",
            "invalid-setting",
            &["scaler = robst", "revin", "did you mean `robust`?"],
        ),
        bad(
            "preset",
            "train --data s.csv TINY --preset long-horizn",
            "invalid-setting",
            &["--preset = long-horizn", "short-series", "did you mean `long-horizon`?"],
        ),
        bad(
            "schedule",
            "train --data s.csv TINY --lr-schedule cosin",
            "invalid-setting",
            &["--lr-schedule = cosin", "constant", "did you mean `cosine`?"],
        ),
        bad(
            "activation",
            "train --data s.csv TINY --activation rleu",
            "invalid-setting",
            &["activation = rleu", "softplus", "did you mean `relu`?"],
        ),
        bad(
            "pooling",
            "train --data s.csv TINY --pooling maxx",
            "invalid-setting",
            &["pooling_mode = maxx", "avg", "did you mean `max`?"],
        ),
        bad(
            "interpolation",
            "train --data s.csv TINY --interpolation liner",
            "invalid-setting",
            &["liner", "cubic", "did you mean `linear`?"],
        ),
        bad(
            "missing rule",
            "train --data s.csv TINY --missing interpolat",
            "invalid-setting",
            &["missing = interpolat", "ffill", "did you mean `interpolate`?"],
        ),
        bad(
            "gaps rule",
            "train --data s.csv TINY --gaps fil",
            "invalid-setting",
            &["gaps = fil", "observed", "did you mean `fill`?"],
        ),
        bad(
            "duplicates rule",
            "train --data s.csv TINY --duplicates men",
            "invalid-setting",
            &["duplicates = men", "first", "did you mean `mean`?"],
        ),
        bad("dashboard", "train --data s.csv TINY --dashboard gui", "usage", &["'gui'", "--dashboard", "plain"]),
        bad("rate 0", "train --data s.csv TINY --lr 0", "invalid-setting", &["lr = 0", "> 0"]),
        bad("rate below 0", "train --data s.csv TINY --lr -1", "invalid-setting", &["lr = -1", "> 0"]),
        bad("rate NaN", "train --data s.csv TINY --lr nan", "invalid-setting", &["lr = NaN", "finite"]),
        bad("rate of letters", "train --data s.csv TINY --lr fast", "usage", &["'fast'", "--lr"]),
        bad(
            "dropout above 1",
            "train --data s.csv TINY --dropout 1.5",
            "invalid-setting",
            &["dropout = 1.5", "from 0 up to, not including, 1"],
        ),
        bad("dropout below 0", "train --data s.csv TINY --dropout -0.1", "invalid-setting", &["dropout = -0.1"]),
        bad(
            "batch of 0",
            "train --data s.csv TINY --batch-size 0",
            "invalid-setting",
            &["batch_size = 0", "1..=1000000"],
        ),
        bad("epochs 0", "train --data s.csv TINY --epochs 0", "invalid-setting", &["epochs = 0"]),
        bad(
            "steps 0",
            "train --data s.csv --horizon 4 --max-steps 0",
            "invalid-setting",
            &["max_steps = 0", "at least 1"],
        ),
        bad("stride 0", "train --data s.csv TINY --window-stride 0", "invalid-setting", &["stride = 0", "at least 1"]),
        bad(
            "weight decay below 0",
            "train --data s.csv TINY --weight-decay -1",
            "invalid-setting",
            &["weight_decay = -1", ">= 0"],
        ),
        bad(
            "clip below 0",
            "train --data s.csv TINY --gradient-clip -1",
            "invalid-setting",
            &["gradient_clip = -1", ">= 0"],
        ),
        bad(
            "momentum 1",
            "train --data s.csv TINY --optimizer sgd --momentum 1",
            "invalid-setting",
            &["momentum = 1", "< 1"],
        ),
        bad("nesterov without sgd", "train --data s.csv TINY --nesterov", "invalid-setting", &["nesterov", "sgd"]),
        bad("horizon 0", "train --data s.csv --horizon 0", "invalid-setting", &["horizon = 0", "from 1 to"]),
        bad(
            "input 0",
            "train --data s.csv --horizon 4 --input-size 0",
            "invalid-setting",
            &["input_size = 0", "from 1"],
        ),
        bad(
            "horizon longer than the data",
            "train --data s.csv --horizon 100",
            "invalid-setting",
            &["horizon = 100", "48"],
        ),
        bad(
            "horizon beyond counting",
            "train --data s.csv --horizon 99999999999999999999",
            "usage",
            &["--horizon", "99999999999999999999"],
        ),
        bad(
            "horizon of a trillion",
            "train --data s.csv --horizon 1000000000000",
            "invalid-setting",
            &["horizon = 1000000000000", "1000000"],
        ),
        bad(
            "interpolation that fills the memory",
            "train --data s.csv --horizon 900000 --hidden-size 2 --freq-downsample 4,2,1",
            "invalid-setting",
            &["n_freq_downsample = 4, 2, 1", "knots * horizon"],
        ),
        bad(
            "split beyond the rows",
            "train --data s.csv TINY --split 50/10/10",
            "split-too-long",
            &["50/10/10 needs 70 rows", "`A` has 60"],
        ),
        bad(
            "split without train rows",
            "train --data s.csv TINY --split */30/30",
            "split-without-train",
            &["*/30/30", "`A`", "60 rows"],
        ),
        bad(
            "split of letters",
            "train --data s.csv TINY --split a/b/c",
            "bad-split",
            &["`a/b/c`", "`a`", "0.7/0.1/0.2"],
        ),
        bad("split of one part", "train --data s.csv TINY --split 80", "bad-split", &["`80`", "two or three parts"]),
        bad("split of too much", "train --data s.csv TINY --split 0.7/0.7", "bad-split", &["0.7/0.7", "1.4"]),
        bad(
            "validation share 2",
            "train --data s.csv TINY --val-split 2",
            "bad-split",
            &["--val-split 2", "from 0 up to, not including, 1"],
        ),
        bad("validation share below 0", "train --data s.csv TINY --val-split -0.5", "bad-split", &["--val-split -0.5"]),
        bad(
            "kernels of another length",
            "train --data s.csv TINY --n-blocks 1,1,1 --pool-kernels 2,2",
            "invalid-setting",
            &["n_pool_kernel_size = 2, 2", "3 numbers, one per stack"],
        ),
        bad(
            "kernels beside another number of stacks",
            "train --data s.csv TINY --n-stacks 3 --pool-kernels 2,2",
            "invalid-setting",
            &["--pool-kernels = 2,2", "--n-stacks 3"],
        ),
        bad(
            "kernel 0",
            "train --data s.csv TINY --pool-kernels 2,0,1",
            "invalid-setting",
            &["n_pool_kernel_size = 2, 0, 1", "from 1"],
        ),
        bad(
            "downsampling 0",
            "train --data s.csv TINY --freq-downsample 0,2,1",
            "invalid-setting",
            &["n_freq_downsample = 0, 2, 1"],
        ),
        bad(
            "too many weights",
            "train --data s.csv --horizon 4 --hidden-size 100000",
            "invalid-setting",
            &["100000", "2147483648 weights"],
        ),
        bad(
            "too many blocks",
            "train --data s.csv TINY --n-blocks 99999999999,1,1",
            "invalid-setting",
            &["99999999999", "1000 blocks"],
        ),
        bad(
            "quantile of 1",
            "train --data s.csv TINY --loss mqloss --quantiles 0.5,1",
            "invalid-setting",
            &["quantiles = 1", "below 1"],
        ),
        bad(
            "quantile twice",
            "train --data s.csv TINY --quantiles 0.5,0.5",
            "invalid-setting",
            &["quantiles = 0.5", "once"],
        ),
        bad("level of 120", "train --data s.csv TINY --level 120", "invalid-setting", &["level = 120", "below 100"]),
        bad(
            "quantiles of mae",
            "train --data s.csv TINY --loss mae --quantiles 0.5",
            "usage",
            &["--quantiles", "mqloss"],
        ),
        bad("delta of mae", "train --data s.csv TINY --huber-delta 2", "usage", &["--huber-delta", "--loss huber"]),
        bad(
            "delta 0",
            "train --data s.csv TINY --loss huber --huber-delta 0",
            "invalid-setting",
            &["delta = 0", "> 0"],
        ),
        bad("season of mae", "train --data s.csv TINY --loss-season 7", "usage", &["--loss-season", "--loss mase"]),
        bad(
            "season as long as the input",
            "train --data s.csv TINY --loss mase --loss-season 12",
            "invalid-setting",
            &["season = 12", "12"],
        ),
        bad("threads 0", "train --data s.csv TINY --threads 0", "invalid-setting", &["--threads = 0", "at least 1"]),
        bad("unknown device", "train --data s.csv TINY --device tpu", "usage", &["'tpu'", "gpu:N"]),
        bad(
            "gpu of a CPU backend",
            "train --data s.csv TINY --gpu 0",
            "no-such-device",
            &["gpu:0", "CPU only", "nhits backends"],
        ),
        bad("device gpu:1", "backends --device gpu:1", "no-such-device", &["gpu:1", "CPU only"]),
        bad(
            "unknown backend",
            "train --data s.csv TINY --backend flox",
            "unknown-backend",
            &["`flox`", "flex, ndarray"],
        ),
        bad(
            "backend of another version",
            "train --data s.csv TINY --backend wgpu",
            "backend-not-in-this-version",
            &["`wgpu`", "flex, ndarray"],
        ),
    ]
}

fn of_usage() -> Vec<Bad> {
    let mut table = vec![
        bad("unknown command", "trian --data s.csv", "usage", &["'trian'", "train"]),
        bad("unknown flag", "train --data s.csv TINY --learning-rate 1", "usage", &["'--learning-rate'"]),
        bad("flag with a typo", "train --data s.csv TINY --bath-size 1", "usage", &["'--bath-size'", "--batch-size"]),
        bad("flag without a value", "train --data", "usage", &["--data"]),
        bad("no data", "train --horizon 4", "usage", &["no data file", "--data"]),
        bad("no model", "predict --data s.csv", "usage", &["--model"]),
        bad(
            "target and targets",
            "train --data s.csv TINY --target y --targets all",
            "usage",
            &["--target", "--targets"],
        ),
        bad(
            "split and val-split",
            "train --data s.csv TINY --split 0.7/0.1/0.2 --val-split 0.2",
            "usage",
            &["--split", "--val-split"],
        ),
        bad(
            "gaps and fill-gaps",
            "train --data s.csv TINY --gaps error --fill-gaps",
            "usage",
            &["--gaps", "--fill-gaps"],
        ),
        bad("file twice", "data inspect s.csv --data s.csv", "usage", &["--data"]),
        bad(
            "bundle into a folder",
            "train --data s.csv --horizon 4 --output folder",
            "output",
            &["folder is a folder", "--output"],
        ),
        bad(
            "kind of synthetic series",
            "data generate sinus --output x.csv",
            "unknown-synthetic",
            &["`sinus`", "random-walk"],
        ),
        bad(
            "no synthetic rows",
            "data generate sine --n 0 --output x.csv",
            "invalid-setting",
            &["n = 0", "at least 1"],
        ),
        bad(
            "period of a walk",
            "data generate random-walk --period 3 --output x.csv",
            "usage",
            &["--period", "random-walk"],
        ),
        bad("synthetic series into a folder", "data generate sine --output folder", "output", &["folder is a folder"]),
        bad("synthetic start", "data generate sine --start soon --output x.csv", "unparsable-time", &["`soon`"]),
        bad("absent configuration", "train --data s.csv TINY --config no.toml", "config-io", &["no.toml"]),
        bad(
            "unknown field",
            "config check --config c.toml",
            "config-syntax",
            &["c.toml", "line 3", "learning_rat", "lr"],
        )
        .with("c.toml", "[train]\nlr = 0.1\nlearning_rat = 0.1\n"),
        bad("unknown section", "config check --config c.toml", "config-syntax", &["c.toml", "line 1", "trian"])
            .with("c.toml", "[trian]\nlr = 0.1\n"),
        bad("field of another type", "config check --config c.toml", "config-syntax", &["c.toml", "line 2", "lr"])
            .with("c.toml", "[train]\nlr = \"fast\"\n"),
        bad(
            "word that is none",
            "config check --config c.toml",
            "config-syntax",
            &["c.toml", "line 2", "adamx", "adamw"],
        )
        .with("c.toml", "[train]\noptimizer = \"adamx\"\n"),
        bad("no TOML", "config check --config c.toml", "config-syntax", &["c.toml", "line 2"])
            .with("c.toml", "[train]\nlr = = 3\n"),
        bad("configuration out of range", "config check --config c.toml", "invalid-setting", &["model.dropout = 2"])
            .with("c.toml", "[model]\ndropout = 2.0\n"),
        bad("configuration as a folder", "config print --config folder", "config-io", &["folder"]),
    ];
    // Whichever backend this build lacks.
    if cfg!(not(feature = "ndarray")) {
        table.push(bad(
            "backend left out",
            "backends --backend ndarray",
            "backend-not-compiled-in",
            &["`ndarray`", "--features ndarray"],
        ));
    } else if cfg!(not(feature = "flex")) {
        table.push(bad(
            "backend left out",
            "backends --backend flex",
            "backend-not-compiled-in",
            &["`flex`", "--features flex"],
        ));
    }
    table
}

/// The tiny model with something changed.
fn model_with(change: impl FnOnce(&mut Parts)) -> Vec<u8> {
    let mut parts = Parts::of(model_bytes());
    change(&mut parts);
    parts.bytes()
}

fn of_bundles() -> Vec<Bad> {
    let whole = model_bytes();
    let weight = "blocks.0.layers.0.weight";
    vec![
        bad("absent bundle", "predict --model no.st --data s.csv", "bundle-io", &["no.st"]),
        bad("folder as bundle", "predict --model folder --data s.csv", "bundle-io", &["folder"]),
        bad("csv as bundle", "predict --model s.csv --data s.csv", "not-safetensors", &["s.csv"]),
        bad("empty bundle", "predict --model x.st --data s.csv", "not-safetensors", &["x.st", "0 bytes"])
            .with("x.st", ""),
        bad("truncated bundle", "predict --model x.st --data s.csv", "not-safetensors", &["x.st"])
            .with("x.st", &whole[..whole.len() / 2]),
        bad("bundle without its last byte", "predict --model x.st --data s.csv", "not-safetensors", &["x.st"])
            .with("x.st", &whole[..whole.len() - 1]),
        bad("hostile header length", "predict --model x.st --data s.csv", "not-safetensors", &["x.st", "header"])
            .with("x.st", [&u64::MAX.to_le_bytes()[..], &whole[8..]].concat()),
        bad("header that is not JSON", "predict --model x.st --data s.csv", "not-safetensors", &["x.st", "JSON"])
            .with("x.st", file("{not json", &[])),
        bad("hostile offsets", "predict --model x.st --data s.csv", "not-safetensors", &["x.st"]).with(
            "x.st",
            model_with(|p| {
                p.tensors[weight]["data_offsets"] = json!([0, u64::MAX]);
            }),
        ),
        bad("hostile shape", "predict --model x.st --data s.csv", "not-safetensors", &["x.st"]).with(
            "x.st",
            model_with(|p| {
                p.tensors[weight]["shape"] = json!([1u64 << 40, 1u64 << 40]);
            }),
        ),
        bad("no manifest", "predict --model x.st --data s.csv", "not-a-bundle", &["x.st", "`nhits`", "nhits import"])
            .with("x.st", model_with(|p| p.manifest = json!(null))),
        bad("manifest without a network", "predict --model x.st --data s.csv", "bad-manifest", &["x.st", "model"])
            .with(
                "x.st",
                model_with(|p| {
                    p.manifest.as_object_mut().unwrap().remove("model");
                }),
            ),
        bad(
            "newer format",
            "predict --model x.st --data s.csv",
            "newer-format",
            &["x.st", "format 2", "up to 1", "newer version"],
        )
        .with("x.st", model_with(|p| p.manifest["format_version"] = json!(2))),
        bad("format 0", "predict --model x.st --data s.csv", "bad-manifest", &["x.st", "`format_version` is 0"])
            .with("x.st", model_with(|p| p.manifest["format_version"] = json!(0))),
        bad("format of letters", "predict --model x.st --data s.csv", "bad-manifest", &["x.st", "`format_version`"])
            .with("x.st", model_with(|p| p.manifest["format_version"] = json!("one"))),
        bad("network without input", "predict --model x.st --data s.csv", "bad-manifest", &["x.st", "input_size = 0"])
            .with("x.st", model_with(|p| p.manifest["model"]["input_size"] = json!(0))),
        bad("network of a terabyte", "predict --model x.st --data s.csv", "bad-manifest", &["x.st", "weights"])
            .with("x.st", model_with(|p| p.manifest["model"]["mlp_units"] = json!([[1_000_000, 1_000_000]]))),
        bad("a million layers", "predict --model x.st --data s.csv", "bad-manifest", &["x.st", "100 hidden layers"])
            .with("x.st", model_with(|p| p.manifest["model"]["mlp_units"] = json!(vec![[8, 8]; 1_000_000]))),
        bad(
            "hostile horizon",
            "predict --model x.st --data s.csv",
            "bad-manifest",
            &["x.st", "horizon = 1000000000000"],
        )
        .with(
            "x.st",
            model_with(|p| {
                // The shapes of the weights stay the same: knots are horizon / downsampling.
                p.manifest["model"]["horizon"] = json!(1_000_000_000_000u64);
                p.manifest["model"]["n_freq_downsample"] =
                    json!([1_000_000_000_000u64, 500_000_000_000u64, 250_000_000_000u64]);
            }),
        ),
        bad(
            "outputs of another loss",
            "predict --model x.st --data s.csv",
            "bad-manifest",
            &["x.st", "1 outputs", "3"],
        )
        .with("x.st", model_with(|p| p.manifest["model"]["outputs"] = json!(3))),
        bad(
            "covariates without names",
            "predict --model x.st --data s.csv",
            "bad-manifest",
            &["x.st", "`columns.hist_exog`"],
        )
        .with(
            "x.st",
            model_with(|p| {
                p.manifest["model"]["hist_exog"] = json!(1);
                p.manifest["imported_from"] = json!("neuralforecast: x");
            }),
        ),
        bad(
            "tensor missing",
            "predict --model x.st --data s.csv",
            "bad-tensor",
            &["x.st", "`blocks.0.layers.0.weight`", "missing", "[8, 6]"],
        )
        .with(
            "x.st",
            model_with(|p| {
                let tensor = p.tensors.remove(weight).unwrap();
                p.tensors.insert("blocks.9.layers.0.weight".into(), tensor);
            }),
        ),
        bad(
            "tensor of another shape",
            "predict --model x.st --data s.csv",
            "bad-tensor",
            &["x.st", "`blocks.0.layers.0.weight`", "[6, 8]", "[8, 6]"],
        )
        .with("x.st", model_with(|p| p.tensors[weight]["shape"] = json!([6, 8]))),
        bad(
            "tensor of another type",
            "predict --model x.st --data s.csv",
            "bad-tensor",
            &["x.st", "`blocks.0.layers.0.weight`", "I32", "F32"],
        )
        .with("x.st", model_with(|p| p.tensors[weight]["dtype"] = json!("I32"))),
        bad(
            "NaN weight",
            "predict --model x.st --data s.csv",
            "bad-tensor",
            &["x.st", "`blocks.0.layers.0.weight`", "value 0 is NaN"],
        )
        .with("x.st", model_with(|p| p.poke(weight, &f32::NAN.to_le_bytes()))),
        bad(
            "series scale 0",
            "predict --model x.st --data s.csv",
            "bad-tensor",
            &["x.st", "`series.y.scale`", "0", "> 0"],
        )
        .with("x.st", model_with(|p| p.poke("series.y.scale", &0f64.to_le_bytes()))),
        bad(
            "series shift NaN",
            "predict --model x.st --data s.csv",
            "bad-tensor",
            &["x.st", "`series.y.shift`", "NaN", "finite"],
        )
        .with("x.st", model_with(|p| p.poke("series.y.shift", &f64::NAN.to_le_bytes()))),
        bad(
            "series without names",
            "predict --model x.st --data s.csv",
            "bad-tensor",
            &["x.st", "`series.ids`", "JSON"],
        )
        .with("x.st", model_with(|p| p.poke("series.ids", b"{"))),
    ]
}

fn of_predict_and_import() -> Vec<Bad> {
    // `[out, in]` of a first layer alone.
    let stranger = file(r#"{"encoder.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &[0; 4]);
    let golden: &[u8] = include_bytes!("../fixtures/golden/single_stack_h1/weights.safetensors");
    let hours = (0..60).fold("ds,y\n".to_string(), |text, i| format!("{text}{},{}\n", hour(i), wave(i)));
    vec![
        bad(
            "another frequency",
            "predict --model model.st --data x.csv",
            "frequency",
            &["frequency h", "trained on D", "--freq D"],
        )
        .with("x.csv", hours),
        bad(
            "level without quantiles",
            "predict --model model.st --data s.csv --level 80",
            "no-such-level",
            &["-lo-80", "mae", "--level"],
        ),
        bad("level of 120", "predict --model model.st --data s.csv --level 120", "invalid-setting", &["level = 120"]),
        bad(
            "future of a model without",
            "predict --model model.st --data s.csv --future s.csv",
            "usage",
            &["--future", "no future covariates"],
        ),
        bad(
            "window beyond the data",
            "predict --model model.st --data s.csv --window 60",
            "origin",
            &["`A` has 60 rows", "60 rows before its end"],
        ),
        bad(
            "output of unknown format",
            "predict --model model.st --data s.csv --output f.xlsx",
            "unknown-format",
            &["f.xlsx", ".parquet"],
        ),
        bad(
            "output is a folder",
            "predict --model model.st --data s.csv --output folder.csv",
            "output",
            &["folder.csv is a folder"],
        ),
        bad(
            "covariates the model has not",
            "predict --model model.st --data x.csv --hist-exog rain",
            "columns",
            &["`rain`", "hist_exog", "nothing"],
        )
        .with("x.csv", (0..30).fold("ds,y,rain\n".to_string(), |text, i| format!("{text}{},{},0\n", day(i), wave(i)))),
        bad(
            "no test rows",
            "evaluate --model model.st --data s.csv",
            "no-windows",
            &["horizon is 4", "0 rows", "--split"],
        ),
        bad(
            "step 0",
            "evaluate --model model.st --data s.csv --split 40/10/10 --step 0",
            "invalid-setting",
            &["step = 0"],
        ),
        bad(
            "evaluation into a folder",
            "evaluate --model model.st --data s.csv --split 40/10/10 --output folder",
            "output",
            &["folder is a folder"],
        ),
        bad(
            "import of a stranger",
            "import x.st --output y.st --horizon 4 --input-size 8",
            "import",
            &["x.st", "`blocks.*`", "NHITS"],
        )
        .with("x.st", stranger),
        bad("import of a csv", "import s.csv --output y.st --horizon 4 --input-size 8", "not-safetensors", &["s.csv"]),
        bad("import of nothing", "import no.st --output y.st", "bundle-io", &["no.st"]),
        bad(
            "import without horizon",
            "import x.st --output y.st --input-size 5",
            "import",
            &["x.st", "`h`", "--horizon"],
        )
        .with("x.st", golden),
        bad(
            "import without input size",
            "import x.st --output y.st --horizon 1",
            "import",
            &["x.st", "`input_size`", "--input-size"],
        )
        .with("x.st", golden),
        bad(
            "import with another input size",
            "import x.st --output y.st --horizon 1 --input-size 4",
            "import",
            &["x.st", "5", "--input-size"],
        )
        .with("x.st", golden),
        bad(
            "import with a hostile input size",
            "import x.st --output y.st --horizon 1 --input-size 999999999999999",
            "import",
            &["x.st", "input_size 999999999999999"],
        )
        .with("x.st", golden),
        bad(
            "import with a hostile horizon",
            "import x.st --output y.st --horizon 999999999999999 --input-size 5",
            "import",
            &["x.st", "horizon = 999999999999999"],
        )
        .with("x.st", golden),
        bad(
            "import with blocks beyond counting",
            "import x.st --output y.st --horizon 1 --input-size 5 --n-blocks 18446744073709551615,2",
            "import",
            &["x.st", "the file has 1"],
        )
        .with("x.st", golden),
        bad(
            "import with a width",
            "import x.st --output y.st --horizon 1 --hidden-size 8",
            "usage",
            &["--hidden-size", "from the weights"],
        )
        .with("x.st", golden),
        bad(
            "import with broken settings",
            "import x.st --output y.st --hparams h.json",
            "config-syntax",
            &["h.json", "line 1"],
        )
        .with("x.st", golden)
        .with("h.json", "{\"h\": \"one\"}"),
        bad(
            "import with an unknown loss",
            "import x.st --output y.st --hparams h.json",
            "config-syntax",
            &["h.json", "DistributionLoss", "MQLoss"],
        )
        .with("x.st", golden)
        .with("h.json", r#"{"h": 1, "input_size": 5, "loss": "DistributionLoss()"}"#),
        bad(
            "import into a folder",
            "import x.st --output folder --horizon 1 --input-size 5",
            "output",
            &["folder is a folder"],
        )
        .with("x.st", golden),
    ]
}

#[track_caller]
fn hold(table: Vec<Bad>) {
    let failures: Vec<String> = table.par_iter().flat_map(Bad::failures).collect();
    assert!(failures.is_empty(), "{} of {} inputs:\n{}", failures.len(), table.len(), failures.join("\n"));
}

#[test]
fn wrong_files_are_refused_with_place_and_remedy() {
    hold(of_files());
}

#[test]
fn wrong_settings_are_refused_with_what_is_allowed() {
    hold(of_settings());
}

#[test]
fn wrong_usage_is_refused_before_any_work() {
    hold(of_usage());
}

#[test]
fn damaged_and_hostile_bundles_are_refused() {
    hold(of_bundles());
}

#[test]
fn wrong_forecasts_and_imports_are_refused() {
    hold(of_predict_and_import());
}

/// Future covariates need a model of their own.
#[test]
fn future_covariates_that_are_missing_are_named() {
    let folder = Folder::new();
    let rows = |from: usize, n: usize| {
        (from..from + n).map(|i| format!("{},{},{}\n", day(i), wave(i), i % 7)).collect::<String>()
    };
    folder.write("x.csv", format!("ds,y,weekday\n{}", rows(0, 50)));
    folder.ok(&format!("train --data x.csv --target y --futr-exog weekday {TINY}"));
    for (name, content, kind, says) in [
        ("none", None, "future-missing", vec!["4 steps ahead", "`weekday`", "--future"]),
        ("a column", Some("ds,monday\n2020-02-20,1\n".to_string()), "absent-column", vec!["f.csv", "`weekday`"]),
        (
            "a row",
            Some(format!("ds,y,weekday\n{}", rows(50, 3))),
            "future-value",
            vec!["f.csv", "2020-02-23", "missing"],
        ),
        (
            "a value",
            Some(format!("ds,weekday\n{},1\n{},\n{},1\n{},1\n", day(50), day(51), day(52), day(53))),
            "future-value",
            vec!["f.csv", "line 3", "`weekday`", "missing"],
        ),
    ] {
        let mut args = "predict --model model.st --data x.csv --json".to_string();
        if let Some(content) = content {
            folder.write("f.csv", content);
            args += " --future f.csv";
        }
        let ran = folder.run(&args);
        let error = &ran.json()["error"];
        assert_eq!((ran.code, error["kind"].as_str()), (Some(2), Some(kind)), "{name}: {ran:#?}");
        let told = format!("{} {}", error["message"].as_str().unwrap(), error["hint"].as_str().unwrap_or(""));
        for part in says {
            assert!(told.contains(part), "{name}: {part:?} is not in {told:?}");
        }
    }
}
