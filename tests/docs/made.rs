//! Transforms and features in `docs/data.md`: every one is there, and what is written for it is read by the program.

use nhits::features::{CalendarField, FeatureConfig};
use nhits::transform::Step;

const DATA: &str = include_str!("../../docs/data.md");

/// The rows of the table whose first header is `name` and whose second is `second`.
fn rows(second: &str) -> Vec<Vec<&'static str>> {
    let cells = |line: &'static str| line.trim().trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    let mut lines = DATA.lines().skip_while(|l| !(l.starts_with('|') && cells(l).starts_with(&["name", second])));
    assert!(lines.next().is_some(), "docs/data.md has no table of names and {second}");
    lines.skip(1).take_while(|l| l.starts_with('|')).map(cells).collect()
}

/// Everything between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_transform_is_in_the_table_and_reads_as_it_is_written_there() {
    let rows = rows("settings (default)");
    let names: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(names, Step::NAMES);
    for row in &rows {
        let name = row[0].trim_matches('`');
        let written = quoted(row[2]);
        assert!(!written.is_empty(), "{name}");
        for text in written {
            assert_eq!(text.parse::<Step>().unwrap_or_else(|e| panic!("{text}: {e}")).name(), name);
        }
        // Settings that the table names are settings of the program, with those defaults.
        let step = if name == "deseasonalize" { "deseasonalize=24" } else { name }.parse::<Step>().unwrap();
        let printed = step.to_string();
        for default in row[1].split('(').skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let first = default.split(',').next().unwrap().trim_matches('`');
            assert!(first == "fitted" || printed.contains(first), "{name}: {first} is not in {printed}");
        }
    }
}

#[test]
fn every_feature_is_in_the_table_and_its_columns_have_the_names_there() {
    let text = "lags=1;rolling_mean=20;rolling_std=20;rolling_min=20;rolling_max=20;min_periods=2;ema=0.3;roc=1;\
                calendar=dow,month-end;fourier=24:1;holidays=days.csv";
    let config: FeatureConfig = text.parse().unwrap();
    let rows = rows("columns");
    let documented: Vec<&str> = rows.iter().flat_map(|row| quoted(row[0])).collect();
    let asked: Vec<&str> = text.split(';').map(|part| part.split('=').next().unwrap()).collect();
    assert_eq!(documented, asked);
    let made: Vec<String> = config.hist_names().into_iter().chain(config.futr_names()).collect();
    for name in rows.iter().flat_map(|row| quoted(row[1])) {
        assert!(made.iter().any(|m| m == name), "{name} is not in {made:?}");
    }
    let calendar = rows.iter().find(|row| row[0] == "`calendar`").unwrap();
    let fields: Vec<&str> = quoted(calendar[2]);
    assert_eq!(fields, CalendarField::ALL.map(CalendarField::name));
}

#[test]
fn the_examples_of_the_page_say_the_same_in_both_forms() {
    let toml: Vec<&str> = DATA.split("```toml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect();
    let find = |section: &str| *toml.iter().find(|block| block.starts_with(section)).unwrap();
    let flag = |name: &str| {
        let at = DATA.find(&format!("is `--{name} '")).or_else(|| DATA.find(&format!("`--{name} '"))).unwrap();
        DATA[at..].split('\'').nth(1).unwrap()
    };
    let experiment = |text: &str| {
        nhits::experiment::Experiment::from_toml(text, std::path::Path::new("data.md"))
            .unwrap_or_else(|e| panic!("{e}"))
    };
    assert_eq!(experiment(find("[transform]")).transform.target, Step::parse_all(flag("transform")).unwrap());
    assert_eq!(experiment(find("[features]")).features, flag("features").parse::<FeatureConfig>().unwrap());
}
