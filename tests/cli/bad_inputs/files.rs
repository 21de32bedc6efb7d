//! Files that are none, or that hold what cannot be used.

use super::{Bad, bad};
use crate::tool::{Folder, daily, day, hour, panel, wave};

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

pub fn table() -> Vec<Bad> {
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
        bad("several numbers, no target", "train --data x.csv TINY", "unclear-layout", &["`open`, `shut`", "--target"])
            .with("x.csv", "ds,open,shut\n2020-01-01,1,2\n2020-01-02,1,2\n"),
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
