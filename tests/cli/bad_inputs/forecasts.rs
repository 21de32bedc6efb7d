//! Forecasts, evaluations and imports that cannot be.

use super::{Bad, bad};
use crate::bundles::file;
use crate::tool::{day, hour, wave};

pub fn table() -> Vec<Bad> {
    // `[out, in]` of a first layer alone.
    let stranger = file(r#"{"encoder.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &[0; 4]);
    let golden: &[u8] = include_bytes!("../../fixtures/golden/single_stack_h1/weights.safetensors");
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
            "no-test-windows",
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
