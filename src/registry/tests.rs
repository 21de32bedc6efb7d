//! What the registry promises, sentence by sentence; several processes at once are in `tests/registry.rs`.

use serde_json::json;

use super::model::parse;
use super::*;

pub(super) fn registry() -> (tempfile::TempDir, Registry) {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(dir.path().join("r")).unwrap();
    (dir, registry)
}

/// Metadata with something in every field.
pub(super) fn metadata(name: &str) -> Metadata {
    Metadata {
        description: "hourly prices, two weeks back".into(),
        tags: ["crypto", "hourly"].map(String::from).into(),
        hyperparameters: json!({"lr": 0.001, "model": {"dropout": 0.1}}),
        training: json!({"epochs": 3}),
        metrics: [("val_mae".to_string(), 0.25), ("val_loss".into(), 0.5)].into(),
        architecture: Architecture {
            input_size: Some(336),
            horizon: Some(24),
            hidden: vec![512, 512],
            parameters: Some(1_000_000),
        },
        data: DataCard {
            fingerprint: Some("f00d".into()),
            from: Some("2020-01-01".into()),
            to: Some("2021-01-01".into()),
            frequency: Some("h".into()),
            n_series: Some(2),
            n_rows: Some(17_520),
            statistics: [("missing".to_string(), 0.01)].into(),
        },
        hardware: Hardware { backend: Some("flex".into()), device: Some("cpu".into()), machine: None },
        seed: Some(7),
        program: "nhits 0.1.0".into(),
        extra: json!({"owner": "desk 4", "live": true, "fold": 3}).as_object().unwrap().clone(),
        ..Metadata::new(name, "nhits")
    }
}

fn ids(models: &[Model]) -> Vec<&str> {
    models.iter().map(|m| m.id.as_str()).collect()
}

#[test]
fn what_is_saved_is_loaded_with_all_that_is_known_of_it() {
    let (_dir, r) = registry();
    let given = metadata("btc");
    let id = r.save(b"weights", &given).unwrap();
    assert_eq!(r.load(&id).unwrap(), b"weights");
    let model = r.metadata(&id).unwrap();
    assert_eq!(model.metadata, given);
    assert_eq!((model.reference().as_str(), model.size, model.stage), ("btc@1.0.0", 7, None));
    assert!(model.created.ends_with('Z') && model.created == model.updated && model.created.len() == 27);
    // A second one that knows the folder only finds it, too.
    assert_eq!(Registry::open_existing(r.root()).unwrap().load("btc").unwrap(), b"weights");
    let error = Registry::open_existing(r.root().join("no")).unwrap_err();
    assert!(matches!(error, RegistryError::None { .. }));
    assert!(!r.root().join("no").exists(), "asking makes no registry");
}

#[test]
fn references_name_versions_stages_and_the_latest() {
    let (_dir, r) = registry();
    let save = |version: &str| r.save_as(b"x", &metadata("btc"), &version.parse().unwrap()).unwrap();
    let (a, b, c) = (save("1.0.0"), save("minor"), save("2.0.0-beta.1"));
    let of = |reference: &str| r.metadata(reference).unwrap().id;
    assert_eq!((of("btc@1.0.0"), of("btc@1.1.0"), of("btc@2.0.0-beta.1")), (a.clone(), b.clone(), c));
    assert_eq!((of("btc@latest"), of("btc")), (b.clone(), b.clone()), "a pre-release is not the latest");
    r.promote(&a, Some(Stage::Production)).unwrap();
    assert_eq!((of("btc@production"), of("btc"), of("btc@latest")), (a.clone(), a, b));
    let unknown = |reference: &str| r.metadata(reference).unwrap_err();
    assert!(unknown("btc@3.0.0").to_string().contains("btc@3.0.0"));
    use crate::error::Advise;
    assert_eq!(unknown("bct").hint().unwrap(), "did you mean `btc`?");
    assert!(matches!(unknown("btc@staging"), RegistryError::UnknownModel { .. }));
    let taken = r.save_as(b"y", &metadata("btc"), &"1.1.0".parse().unwrap()).unwrap_err();
    assert!(matches!(taken, RegistryError::VersionTaken { .. }), "{taken}");
}

#[test]
fn one_model_of_a_name_is_in_production() {
    let (_dir, r) = registry();
    let (a, b) = (r.save(b"a", &metadata("btc")).unwrap(), r.save(b"b", &metadata("btc")).unwrap());
    let other = r.save(b"c", &metadata("eth")).unwrap();
    for id in [&a, &other] {
        assert_eq!(r.promote(id, Some(Stage::Production)).unwrap(), None);
    }
    assert_eq!(r.promote(&b, Some(Stage::Production)).unwrap(), Some(a.clone()));
    assert_eq!(r.metadata(&a).unwrap().stage, Some(Stage::Archived));
    assert_eq!(r.metadata("eth@production").unwrap().id, other);
    // The database itself refuses a second one.
    let second = "UPDATE models SET stage = 'production' WHERE id = ?1";
    assert!(r.connection().execute(second, [&a]).is_err());
    r.promote(&b, None).unwrap();
    assert!(r.metadata("btc@production").is_err());
}

#[test]
fn lists_are_filtered_by_everything() {
    let (_dir, r) = registry();
    let a = r.save(b"a", &metadata("btc-1h")).unwrap();
    let mut m = metadata("btc-1d");
    m.tags = ["daily".to_string()].into();
    m.metrics = [("val_mae".to_string(), 0.4)].into();
    m.extra = json!({"owner": "x", "live": false}).as_object().unwrap().clone();
    m.kind = "ensemble".into();
    let b = r.save(b"b", &m).unwrap();
    let list = |change: &dyn Fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        let found = r.list(&filter).unwrap();
        ids(&found).into_iter().map(String::from).collect::<Vec<_>>()
    };
    let only = |id: &String| vec![id.clone()];
    let texts = |list: &[&str]| list.iter().map(|t| t.to_string()).collect::<Vec<_>>();
    assert_eq!(list(&|_| ()), [b.clone(), a.clone()], "the newest first");
    assert_eq!(list(&|f| f.limit = Some(1)), only(&b));
    assert_eq!(list(&|f| f.name = Some("btc-1h".into())), only(&a));
    assert_eq!(list(&|f| f.name = Some("btc*".into())).len(), 2);
    assert!(
        list(&|f| f.name = Some("btc-1?".into())).is_empty() && list(&|f| f.name = Some("' OR 1".into())).is_empty()
    );
    assert_eq!(list(&|f| f.kind = Some("ensemble".into())), only(&b));
    assert_eq!(list(&|f| f.all_tags = texts(&["crypto", "hourly"])), only(&a));
    assert!(list(&|f| f.all_tags = texts(&["crypto", "daily"])).is_empty());
    assert_eq!(list(&|f| f.any_tags = texts(&["crypto", "daily"])).len(), 2);
    let metric = |text: &str| list(&|f| f.metrics = vec![text.parse().unwrap()]);
    assert_eq!(metric("val_mae<0.3"), only(&a));
    assert_eq!(metric("val_mae >= 0.3"), only(&b));
    assert_eq!(metric("val_mae=0.4"), only(&b));
    assert_eq!(metric("val_loss>0"), only(&a), "a model without the metric is not in its range");
    assert_eq!(list(&|f| f.metrics = vec!["val_mae>0.2".parse().unwrap(), "val_mae<=0.25".parse().unwrap()]), only(&a));
    for (key, value, expected) in
        [("owner", "desk 4", &a), ("live", "true", &a), ("fold", "3", &a), ("live", "false", &b)]
    {
        assert_eq!(list(&|f| f.extra = vec![(key.into(), value.into())]), only(expected), "{key}={value}");
    }
    let time = r.metadata(&b).unwrap().created;
    assert_eq!(list(&|f| f.created_after = Some(time.clone())), only(&b));
    assert_eq!(list(&|f| f.created_before = Some(time.clone())), [a]);
    assert!(list(&|f| f.created_before = Some("2020-01-01".into())).is_empty());
    r.promote(&b, Some(Stage::Staging)).unwrap();
    assert_eq!(list(&|f| f.stage = Some(Stage::Staging)), [b]);
    for wrong in ["val_mae", "<3", "val_mae<x", "val_mae<NaN"] {
        assert!(wrong.parse::<MetricRange>().is_err(), "{wrong}");
    }
    assert_eq!(time_stamp("2026-01-31T12:00+01:00").unwrap(), "2026-01-31T11:00:00.000000Z");
    assert!(time_stamp("yesterday").is_err());
}

#[test]
fn words_are_searched_in_names_descriptions_and_tags() {
    let (_dir, r) = registry();
    let a = r.save(b"a", &metadata("btc-1h")).unwrap();
    let mut m = metadata("eth-1d");
    (m.description, m.tags) = ("Tägliche Preise von BTC und ETH".into(), ["daily".to_string()].into());
    let b = r.save(b"b", &m).unwrap();
    let find = |q: &str| r.search(q, 10).unwrap().into_iter().map(|h| h.model.id).collect::<Vec<_>>();
    let only = |id: &String| vec![id.clone()];
    assert_eq!(find("btc"), [a.clone(), b.clone()], "a name counts more than a description");
    assert_eq!(find("taglich"), only(&b), "the beginning of a word, without its accents");
    assert_eq!(find("daily eth"), only(&b));
    assert!(find("daily crypto").is_empty(), "every word is wanted");
    for odd in ["btc\" OR \"x", "btc*", "(btc)", "btc NEAR", "btc-1h:"] {
        r.search(odd, 10).unwrap();
    }
    assert!(r.search(" \"* ", 10).is_err());
    r.tag(&a, &["alpha".into()], &["crypto".into()]).unwrap();
    assert_eq!((find("alpha"), find("crypto")), (only(&a), vec![]));
    r.delete(&a).unwrap();
    assert_eq!(find("btc"), [b]);
}

#[test]
fn what_something_depends_on_is_not_deleted() {
    let (_dir, r) = registry();
    let a = r.save(b"a", &metadata("btc")).unwrap();
    let b = r.save(b"b", &Metadata { parent: Some("btc@1.0.0".into()), ..metadata("btc") }).unwrap();
    let c = r.save(b"c", &Metadata { fine_tuned_from: Some(b.clone()), ..metadata("eth") }).unwrap();
    assert_eq!(r.metadata(&b).unwrap().metadata.parent, Some(a.clone()), "a reference is kept as an id");
    let refused = |id: &str| r.delete(id).unwrap_err().to_string();
    assert!(refused(&a).contains("btc@1.0.1") && refused(&b).contains("eth@1.0.0"));
    r.promote(&c, Some(Stage::Production)).unwrap();
    assert!(refused(&c).contains("production"));
    let lineage = r.lineage(&b).unwrap();
    assert_eq!((lineage.ancestors[0].id.as_str(), lineage.ancestors[0].relation), (a.as_str(), Relation::Parent));
    assert_eq!(
        (lineage.descendants[0].id.as_str(), lineage.descendants[0].relation),
        (c.as_str(), Relation::FineTuned)
    );
    assert_eq!(lineage.same_data.len(), 2);
    let far = r.lineage(&a).unwrap().descendants;
    assert_eq!(far.iter().map(|d| d.distance).collect::<Vec<_>>(), [1, 2]);
    r.promote(&c, Some(Stage::Archived)).unwrap();
    for id in [&c, &b, &a] {
        r.delete(id).unwrap();
    }
    assert_eq!(
        r.stats().unwrap(),
        Stats { database_bytes: r.stats().unwrap().database_bytes, schema: schema::LATEST, ..Stats::default() }
    );
    let unknown = Metadata { parent: Some("nobody".into()), ..metadata("btc") };
    assert!(matches!(r.save(b"x", &unknown), Err(RegistryError::UnknownModel { .. })));
}

#[test]
fn notes_are_kept_in_their_order() {
    let (_dir, r) = registry();
    let id = r.save(b"a", &metadata("btc")).unwrap();
    r.add_note(&id, "first").unwrap();
    r.add_note("btc", "second ").unwrap();
    let notes: Vec<String> = r.notes(&id).unwrap().into_iter().map(|n| n.text).collect();
    assert_eq!(notes, ["first", "second"]);
    assert!(r.add_note(&id, " ").is_err());
}

#[test]
fn equal_content_is_stored_once_and_stays_while_it_is_needed() {
    let (_dir, r) = registry();
    let (a, b) = (r.save(b"same", &metadata("a")).unwrap(), r.save(b"same", &metadata("b")).unwrap());
    let stats = r.stats().unwrap();
    assert_eq!((stats.models, stats.files, stats.file_bytes, stats.content_bytes), (2, 1, 4, 8));
    r.delete(&a).unwrap();
    assert_eq!(r.load(&b).unwrap(), b"same");
    r.delete(&b).unwrap();
    assert_eq!(r.stats().unwrap().files, 0);
}

#[test]
fn checkpoints_are_filed_and_the_last_and_the_best_stay() {
    let (dir, r) = registry();
    let file = dir.path().join("x.ckpt");
    let save = |run: &str, step: usize, loss: f64| {
        std::fs::write(&file, format!("{run} {step}")).unwrap();
        let metrics = [("val_loss".to_string(), loss), ("odd".into(), f64::NAN)].into();
        r.save_checkpoint(&file, &NewCheckpoint { run: run.into(), epoch: step / 10, step, metrics }).unwrap()
    };
    let all: Vec<String> = [(10, 0.5), (20, 0.1), (30, 0.3), (40, 0.2), (50, 0.6)].map(|(s, l)| save("a", s, l)).into();
    let other = save("b", 10, 0.01);
    let (checkpoint, bytes) = r.load_checkpoint(&all[2]).unwrap();
    assert_eq!((bytes.as_slice(), checkpoint.step, checkpoint.epoch), (&b"a 30"[..], 30, 3));
    assert_eq!(checkpoint.metrics, [("val_loss".to_string(), 0.3)].into());
    assert_eq!(r.best_checkpoint("a", "val_loss").unwrap().unwrap().id, all[1]);
    assert_eq!(r.best_checkpoint("a", "mase").unwrap(), None);
    assert_eq!(r.checkpoints(None).unwrap().len(), 6);
    let keep = Retention { last: 2, best: 2, metric: "val_loss".into() };
    let gone = r.prune_checkpoints("a", &keep).unwrap();
    assert_eq!(gone.len(), 2);
    let left: Vec<u64> = r.checkpoints(Some("a")).unwrap().iter().map(|c| c.step).collect();
    assert_eq!(left, [50, 40, 20], "the newest two, and the best two, of which one is among them");
    assert_eq!(r.stats().unwrap().files, 4, "the files of the others went, too");
    assert!(r.load_checkpoint(&other).is_ok() && r.load_checkpoint(&all[0]).is_err());
}

#[test]
fn verify_finds_what_is_missing_damaged_and_orphaned_and_gc_removes_orphans_only() {
    let (_dir, r) = registry();
    let keep = ["a", "b", "c"].map(|n| r.save(n.as_bytes(), &metadata(n)).unwrap());
    assert!(r.verify().unwrap().ok && r.verify().unwrap().good == 3);
    let path = |id: &str| r.files.path(&r.metadata(id).unwrap().sha256);
    std::fs::write(path(&keep[0]), "A").unwrap();
    std::fs::remove_file(path(&keep[1])).unwrap();
    let orphan = r.files.put(b"orphan").unwrap();
    let litter = r.root().join("objects/ab/.nhits-x.tmp");
    std::fs::create_dir_all(litter.parent().unwrap()).unwrap();
    std::fs::write(&litter, "half").unwrap();
    let found = r.verify().unwrap();
    assert!(!found.ok && found.good == 1, "{found:?}");
    assert!(found.damaged[0].contains("a@1.0.0") && found.missing[0].contains("b@1.0.0"));
    assert_eq!((found.orphaned, found.leftovers), (vec![orphan], vec![litter]));
    assert!(matches!(r.load("a"), Err(RegistryError::DamagedFile { .. })));
    assert!(matches!(r.load("b"), Err(RegistryError::MissingFile { .. })));
    assert_eq!(r.gc().unwrap(), Collected { orphaned: 1, leftovers: 1, bytes: 6 });
    assert_eq!((r.load("c").unwrap().as_slice(), r.stats().unwrap().models), (&b"c"[..], 3));
    assert_eq!(r.gc().unwrap(), Collected::default());
    // The same content saved again heals both.
    r.save(b"a", &metadata("a")).unwrap();
    r.save(b"b", &metadata("b")).unwrap();
    assert!(r.verify().unwrap().ok && r.load("a@1.0.0").unwrap() == b"a");
}

#[test]
fn gc_waits_for_a_save_that_is_under_way() {
    let (_dir, r) = registry();
    let saving = r.saving().unwrap();
    r.files.put(b"no row yet").unwrap();
    std::thread::scope(|s| {
        let gc = s.spawn(|| r.gc().unwrap());
        std::thread::sleep(Duration::from_millis(100));
        assert!(!gc.is_finished());
        drop(saving);
        assert_eq!(gc.join().unwrap().orphaned, 1);
    });
}

#[test]
fn a_damaged_foreign_or_later_database_is_refused_and_left_as_it_is() {
    let (dir, r) = registry();
    r.save(b"a", &metadata("btc")).unwrap();
    let root = r.root().to_path_buf();
    drop(r);
    let database = root.join(DATABASE);
    let whole = std::fs::read(&database).unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(&database, bytes).unwrap();
        let result = Registry::open(&root).and_then(|r| r.list(&Filter::default()).map(drop));
        assert_eq!(std::fs::read(&database).unwrap(), bytes, "it was changed");
        result.unwrap_err()
    };
    assert!(matches!(refused(b"this is no database, but a text that is long enough"), RegistryError::Damaged { .. }));
    let mut torn = whole.clone();
    torn[100..].fill(0xab);
    let error = refused(&torn);
    assert!(matches!(error, RegistryError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("registry.sqlite"));
    // Bytes 60 to 63 are the version of the schema, 68 to 71 the application's number.
    let mut later = whole.clone();
    later[60..64].copy_from_slice(&99u32.to_be_bytes());
    assert!(matches!(refused(&later), RegistryError::Newer { found: 99, supported: 2, .. }));
    let mut foreign = whole.clone();
    foreign[68..72].fill(0);
    assert!(matches!(refused(&foreign), RegistryError::Foreign { .. }));
    assert!(matches!(refused(&whole[..whole.len() / 2]), RegistryError::Damaged { .. }));
    std::fs::write(&database, &whole).unwrap();
    assert_eq!(Registry::open(&root).unwrap().load("btc").unwrap(), b"a");
    drop(dir);
}

/// The database of a registry with one model, as each version of the schema left it: made once, and kept for ever.
const OLD: [&[u8]; schema::LATEST as usize] =
    [include_bytes!("fixtures/schema-1.sqlite.zst"), include_bytes!("fixtures/schema-2.sqlite.zst")];

/// Each schema can still be made from nothing. For a new one, `NHITS_NEW_SCHEMA=1 cargo test --lib each_schema` writes the
/// fixture that is kept from then on.
#[test]
fn each_schema_can_be_made() {
    for version in 1..=schema::LATEST {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/registry/fixtures/schema-{version}.sqlite.zst"));
        let dir = tempfile::tempdir().unwrap();
        let old = Registry::at_schema(dir.path().into(), version).unwrap();
        old.connection().execute_batch(include_str!("fixtures/rows-1.sql")).unwrap();
        if version >= 2 {
            let model = parse(
                &old.connection().query_row("SELECT document FROM models", [], |r| r.get::<_, String>(0)).unwrap(),
            );
            similar::store(&old.connection(), 1, &model.unwrap()).unwrap();
        }
        assert_eq!(schema::found(&old.connection()).unwrap(), version);
        drop(old);
        let kept = std::fs::metadata(&file).is_ok_and(|m| m.len() > 0);
        if kept || std::env::var_os("NHITS_NEW_SCHEMA").is_none() {
            continue;
        }
        let bytes = std::fs::read(dir.path().join(DATABASE)).unwrap();
        std::fs::write(&file, zstd::encode_all(bytes.as_slice(), 19).unwrap()).unwrap();
    }
}

#[test]
fn a_database_of_each_version_is_brought_to_the_latest() {
    for (version, packed) in (1..).zip(OLD) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(DATABASE), zstd::decode_all(packed).unwrap()).unwrap();
        Files::new(dir.path().join("objects")).put(b"weights").unwrap();
        let before = Connection::open(dir.path().join(DATABASE)).unwrap();
        assert_eq!(schema::found(&before).unwrap(), version);
        drop(before);
        let r = Registry::open(dir.path()).unwrap();
        assert_eq!(r.stats().unwrap().schema, schema::LATEST);
        let model = r.metadata("btc@1.0.0").unwrap();
        assert_eq!((model.metadata.metrics["val_mae"], r.load("btc").unwrap().as_slice()), (0.3, &b"weights"[..]));
        assert_eq!((model.stage, model.metadata.tags.len()), (Some(Stage::Production), 1));
        let new = r.save(b"new", &metadata("eth")).unwrap();
        assert_eq!(r.search("hourly", 5).unwrap().len(), 2);
        let found = r.similar(&new, 5, Similarity::L2).unwrap();
        assert_eq!(found[0].model.id, model.id, "vectors are there, also for the models of before");
        assert!(r.verify().unwrap().ok);
    }
}

#[test]
fn an_archive_brings_everything_to_another_registry() {
    let (dir, r) = registry();
    let a = r.save(b"a", &metadata("btc")).unwrap();
    let b = r.save(b"b", &Metadata { parent: Some(a.clone()), ..metadata("btc") }).unwrap();
    r.promote(&b, Some(Stage::Production)).unwrap();
    r.add_note(&a, "good").unwrap();
    let archive = dir.path().join("x.tar.zst");
    let exported = r.export(&["btc@1.0.1".into(), a.clone()], &archive).unwrap();
    assert_eq!(ids(&exported), [&a, &b]);
    let other = Registry::open(dir.path().join("other")).unwrap();
    let imported = other.import(&archive).unwrap();
    assert_eq!(imported, Imported { added: vec![a.clone(), b.clone()], ..Imported::default() });
    for id in [&a, &b] {
        assert_eq!(other.metadata(id).unwrap(), r.metadata(id).unwrap());
        assert_eq!(other.load(id).unwrap(), r.load(id).unwrap());
    }
    assert_eq!(other.notes(&a).unwrap(), r.notes(&a).unwrap());
    assert_eq!(other.lineage(&b).unwrap(), r.lineage(&b).unwrap());
    assert_eq!(other.import(&archive).unwrap().present.len(), 2, "once more changes nothing");
    // One of them alone, where another one is in production.
    let third = Registry::open(dir.path().join("third")).unwrap();
    let own = third.save_as(b"own", &metadata("btc"), &"9.0.0".parse().unwrap()).unwrap();
    third.promote(&own, Some(Stage::Production)).unwrap();
    let alone = dir.path().join("one.tar.zst");
    r.export(std::slice::from_ref(&b), &alone).unwrap();
    let imported = third.import(&alone).unwrap();
    assert_eq!((imported.demoted, imported.cut), (vec![b.clone()], vec![format!("{b} -> {a}")]));
    assert_eq!(third.metadata("btc@production").unwrap().id, own);
    // A version that is another model here: nothing comes.
    let fourth = Registry::open(dir.path().join("fourth")).unwrap();
    fourth.save_as(b"other", &metadata("btc"), &"1.0.1".parse().unwrap()).unwrap();
    assert!(matches!(fourth.import(&archive), Err(RegistryError::VersionTaken { .. })));
    assert_eq!(fourth.stats().unwrap().models, 1, "all or nothing");
    std::fs::remove_file(r.files.path(&r.metadata(&a).unwrap().sha256)).unwrap();
    let before = std::fs::read(&archive).unwrap();
    assert!(matches!(r.export(&[a], &archive), Err(RegistryError::MissingFile { .. })));
    assert_eq!(std::fs::read(&archive).unwrap(), before, "a failed export leaves the old archive");
}

#[test]
fn an_archive_that_lies_is_refused_whole() {
    let (dir, r) = registry();
    let id = r.save(b"weights", &metadata("btc")).unwrap();
    let good = dir.path().join("good.tar.zst");
    r.export(&[id], &good).unwrap();
    let sha256 = files::hash(b"weights");
    let plain = zstd::decode_all(std::fs::File::open(&good).unwrap()).unwrap();
    let mut tar = tar::Archive::new(plain.as_slice());
    let mut manifest = String::new();
    std::io::Read::read_to_string(&mut tar.entries().unwrap().next().unwrap().unwrap(), &mut manifest).unwrap();
    let path = dir.path().join("bad.tar.zst");
    // Entries as name, kind and content; names are put in as bytes, because the writer would refuse some of them.
    let refused = |entries: &[(&str, tar::EntryType, &[u8])]| {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        let bytes = zstd::encode_all(builder.into_inner().unwrap().as_slice(), 1).unwrap();
        std::fs::write(&path, bytes).unwrap();
        let target = Registry::open(dir.path().join("target")).unwrap();
        let error = target.import(&path).unwrap_err();
        assert_eq!(target.stats().unwrap().models, 0);
        assert!(matches!(error, RegistryError::Archive { .. }), "{error:?}");
        error.to_string()
    };
    use tar::EntryType::{Regular, Symlink};
    let object = format!("objects/{sha256}");
    let first = ("manifest.json", Regular, manifest.as_bytes());
    for outside in
        ["../evil", "/tmp/nhits-evil", "objects/../../evil", "objects/..", &format!("objects/../objects/{sha256}")]
    {
        let told = refused(&[first, (outside, Regular, b"weights")]);
        assert!(told.contains("does not name"), "{told}");
    }
    assert!(!dir.path().join("evil").exists() && !std::path::Path::new("/tmp/nhits-evil").exists());
    assert!(refused(&[first, (&object, Symlink, b"")]).contains("does not name"));
    assert!(refused(&[first, (&object, Regular, b"weightz")]).contains("damaged"));
    assert!(refused(&[first, (&object, Regular, b"weights and more")]).contains("bytes"));
    assert!(refused(&[first]).contains("missing"));
    assert!(
        refused(&[first, (&object, Regular, b"weights"), (&object, Regular, b"weights")]).contains("does not name")
    );
    assert!(refused(&[(&object, Regular, b"weights")]).contains("first entry"));
    assert!(refused(&[("manifest.json", Regular, b"{}")]).contains("format_version"));
    let change = |from: &str, to: &str| {
        assert!(manifest.contains(from), "{from} in {manifest}");
        refused(&[("manifest.json", Regular, manifest.replace(from, to).as_bytes()), (&object, Regular, b"weights")])
    };
    assert!(change("\"format_version\": 1", "\"format_version\": 2").contains("format 2"));
    assert!(change(&sha256, "../../../../etc/passwd").contains("hash"));
    assert!(change("\"size\": 7", "\"size\": 70000000000000").contains("size"));
    let whole = std::fs::read(&good).unwrap();
    for length in (0..whole.len()).step_by(7) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let target = Registry::open(dir.path().join("target")).unwrap();
        assert!(target.import(&path).is_err(), "cut off at {length}");
        assert_eq!(target.stats().unwrap().models, 0);
    }
}
