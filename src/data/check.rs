//! `nhits data check`: everything that is wrong with a file, and what merely looks odd.

use super::config::DataConfig;
use super::error::DataError;
use super::missing::oddities;
use super::problems::{Problem, ProblemKind, Problems};
use super::read::{Loaded, load, message_of};

/// Lists what is wrong under the policies of `config`: errors stop [`read_panel`](super::read_panel), warnings do not.
///
/// Beside what reading finds it warns of constant and very short series, of unsorted rows and of what a policy resolves.
/// The first [`Problems::LIMIT`] problems are kept word by word, all are counted.
///
/// # Errors
/// Only where there is nothing to check: a file that is absent, a folder or unreadable, or a contradictory setting.
/// Everything else is a problem of the file and in the list.
pub fn check(config: &DataConfig) -> Result<Problems, DataError> {
    match load(config) {
        Ok(Loaded { panel, mut problems, .. }) => {
            if let Some(panel) = panel {
                oddities(&panel, &mut problems);
            }
            problems.errors_first();
            Ok(problems)
        }
        Err(DataError::Problems { problems, .. }) => Ok(*problems),
        Err(
            error @ (DataError::Absent { .. }
            | DataError::NoMatch { .. }
            | DataError::Folder { .. }
            | DataError::Io { .. }
            | DataError::Setting(_)),
        ) => Err(error),
        Err(error) => {
            let mut problems = Problems::default();
            problems.push(Problem::new(ProblemKind::File, message_of(&error)));
            Ok(problems)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::problems::Severity;
    use super::*;

    fn checked(bytes: &[u8], change: impl FnOnce(&mut DataConfig)) -> Problems {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.csv");
        std::fs::write(&path, bytes).unwrap();
        let mut config = DataConfig { path, ..Default::default() };
        change(&mut config);
        check(&config).unwrap()
    }

    #[test]
    fn a_clean_file_has_no_problems() {
        assert!(checked(b"ds,y\n1,5\n2,6\n", |_| {}).is_empty());
    }

    #[test]
    fn warnings_stand_beside_errors() {
        let text = b"unique_id,ds,y\nA,2,5\nA,1,5\nB,1,1\nC,1,1\nC,2,\nC,4,2\n";
        let problems = checked(text, |_| {});
        let shown: Vec<(Severity, String)> = problems.list.iter().map(|p| (p.severity, p.to_string())).collect();
        let expected = [
            (Severity::Error, "line 7, series `C`, 4: 1 row of `1` is absent before it, after 2"),
            (Severity::Error, "line 6, series `C`, 2, column `y`: the value is missing"),
            (Severity::Warning, "line 3, series `A`, 1: 1 rows are not in time order"),
            (Severity::Warning, "series `A`: all 2 values are 5"),
            (Severity::Warning, "series `B`: the series has one value"),
        ];
        assert_eq!(shown.len(), expected.len(), "{shown:#?}");
        for (shown, expected) in shown.iter().zip(expected) {
            assert!(shown.0 == expected.0 && shown.1.starts_with(expected.1), "{shown:?} / {expected:?}");
        }
        let resolved = checked(text, |c| {
            c.missing = super::super::Missing::Mask;
            c.gaps = super::super::Gaps::Mask;
        });
        assert!(!resolved.has_errors() && resolved.total == 5, "{resolved}");
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_a_problem_not_a_failure() {
        for (bytes, part) in [
            (&b""[..], "is empty"),
            (b"ds,y\n", "no rows"),
            (b"ds,y,y\n1,2,3\n", "more than one column is named `y`"),
            (b"ds,y\n1,\xff\n", "line 2: is not UTF-8"),
            (b"a,b\nx,y\n", "no column reads as time"),
            (b"PK\x03\x04", "zip archive"),
        ] {
            let problems = checked(bytes, |_| {});
            assert!(problems.errors == 1 && problems.to_string().contains(part), "{problems}");
        }
        let problems = checked(b"ds,y\n1,2\n", |c| c.target = Some("Y".into()));
        assert!(problems.to_string().contains("did you mean `y`?"));
        assert!(check(&DataConfig { path: "/nowhere/at/all.csv".into(), ..Default::default() }).is_err());
    }
}
