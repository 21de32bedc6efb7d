//! Flags, commands and configuration files that say nothing that can be done.

use super::{Bad, bad};

pub fn table() -> Vec<Bad> {
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
            "bundle in a file",
            "train --data s.csv --horizon 4 --output s.csv/m.st",
            "output",
            &["s.csv/m.st", "s.csv is a file", "--output"],
        ),
        bad(
            "picture of a search in a file",
            "train --data s.csv --horizon 4 --find-lr --run-dir s.csv",
            "output",
            &["s.csv/lr-find.svg", "s.csv is a file"],
        ),
        bad(
            "kind of synthetic series",
            "data generate sinus --output x.csv",
            "unknown-synthetic-kind",
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
        bad("synthetic start", "data generate sine --start soon --output x.csv", "bad-time", &["`soon`"]),
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
        bad("number that a schedule lacks", "config check --config c.toml", "config-syntax", &["c.toml", "gamma"])
            .with("c.toml", "[train.schedule]\nname = \"constant\"\ngamma = 0.5\n"),
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
