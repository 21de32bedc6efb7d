//! The registry under several processes at once: this test program starts itself as the process that saves.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nhits::registry::{Filter, Metadata, Registry, Stage};

/// The registry's folder, for a process that saves.
const FOLDER: &str = "NHITS_TEST_REGISTRY";
/// What is left to save by it, and its number.
const SAVES: &str = "NHITS_TEST_SAVES";

/// The content of a model, which follows from its note: large enough that a kill may come in the middle of it.
fn content(key: &str) -> Vec<u8> {
    key.bytes().cycle().take(300_000).collect()
}

/// Not a test by itself: saves models until it is killed, and prints what was acknowledged.
#[test]
fn the_process_that_saves() {
    let (Ok(folder), Ok(saves)) = (std::env::var(FOLDER), std::env::var(SAVES)) else { return };
    let (process, n) = saves.split_once(':').unwrap();
    let r = Registry::open(folder).unwrap();
    for i in 0..n.parse().unwrap() {
        let key = format!("{process}-{i}");
        let mut metadata = Metadata::new(format!("m{}", i % 3), "test");
        metadata.description = key.clone();
        metadata.tags = ["killed".to_string()].into();
        metadata.metrics = [("n".to_string(), f64::from(i))].into();
        let id = r.save(&content(&key), &metadata).unwrap();
        println!("\nsaved {id} {key}");
        if i % 7 == 3 {
            r.promote(&id, Some(Stage::Production)).unwrap();
        }
    }
}

fn saver(folder: &Path, process: usize, n: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_that_saves", "--nocapture"])
        .env(FOLDER, folder)
        .env(SAVES, format!("{process}:{n}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Passes on what a process acknowledged, as (id, key), until its end.
fn listen(child: &mut Child, to: mpsc::Sender<(String, String)>) -> std::thread::JoinHandle<()> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    std::thread::spawn(move || {
        // A line that was cut off by the kill has no key.
        for line in lines.map_while(Result::ok) {
            let words: Vec<&str> = line.split(' ').collect();
            if let ["saved", id, key] = words[..] {
                to.send((id.into(), key.into())).unwrap();
            }
        }
    })
}

/// How many saves are to be killed: 40, or what `NHITS_REGISTRY_KILLS` says.
fn kills() -> usize {
    std::env::var("NHITS_REGISTRY_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(40)
}

#[test]
fn kill_9_at_random_points_loses_nothing_acknowledged_and_leaves_nothing_half_there() {
    let dir = tempfile::tempdir().unwrap();
    let (to, acknowledged) = mpsc::channel();
    let (mut random, mut killed, mut next) = (4242u64, 0, 0);
    let mut random = move || {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        random >> 33
    };
    let mut start = || {
        next += 1;
        let mut child = saver(dir.path(), next, 1_000_000);
        let ear = listen(&mut child, to.clone());
        (child, ear)
    };
    let mut processes: Vec<_> = (0..4).map(|_| start()).collect();
    let kills = kills();
    while killed < kills {
        std::thread::sleep(Duration::from_millis(10 + random() % 120));
        let (mut child, ear) = std::mem::replace(&mut processes[random() as usize % 4], start());
        // SIGKILL: nothing in the process can prepare for it.
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
        ear.join().unwrap();
        killed += 1;
    }
    for (mut child, ear) in processes {
        child.kill().unwrap();
        child.wait().unwrap();
        ear.join().unwrap();
    }
    drop(to);
    let r = Registry::open(dir.path()).unwrap();
    let acknowledged: Vec<(String, String)> = acknowledged.iter().collect();
    assert!(acknowledged.len() > kills / 2, "only {} saves", acknowledged.len());
    for (id, key) in &acknowledged {
        let model = r.metadata(id).unwrap();
        assert_eq!(&model.metadata.description, key);
        assert!(r.load(id).unwrap() == content(key), "another content of {key}");
    }
    // What is there beyond that is whole, too: its last words were not heard.
    let all = r.list(&Filter::default()).unwrap();
    assert!(all.len() >= acknowledged.len() && all.len() <= acknowledged.len() + killed + 4);
    for model in &all {
        assert!(r.load(&model.id).unwrap() == content(&model.metadata.description));
        assert_eq!((model.metadata.tags.len(), model.metadata.metrics.len()), (1, 1));
    }
    assert_eq!(r.search("killed", 1_000_000).unwrap().len(), all.len());
    let found = r.verify().unwrap();
    assert!(found.ok, "{found:?}");
    let gone = r.gc().unwrap();
    assert_eq!((gone.orphaned as usize, gone.leftovers as usize), (found.orphaned.len(), found.leftovers.len()));
    let after = r.verify().unwrap();
    assert!(after.ok && after.orphaned.is_empty() && after.leftovers.is_empty() && after.good == found.good);
    let staged = Filter { stage: Some(Stage::Production), ..Filter::default() };
    let mut names: Vec<String> = r.list(&staged).unwrap().into_iter().map(|m| m.metadata.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), r.list(&staged).unwrap().len(), "one of a name in production");
    println!(
        "{killed} kills, {} acknowledged, {} there, {} orphans, {} leftovers",
        acknowledged.len(),
        all.len(),
        gone.orphaned,
        gone.leftovers
    );
}

#[test]
fn processes_that_save_at_once_get_versions_of_their_own_while_gc_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (to, acknowledged) = mpsc::channel();
    // The registry is not there yet: they make it at once, too.
    let processes: Vec<_> = (1..=4)
        .map(|p| {
            let mut child = saver(dir.path(), p, 12);
            let ear = listen(&mut child, to.clone());
            (child, ear)
        })
        .collect();
    drop(to);
    let mut heard = 0;
    for _ in acknowledged.iter() {
        heard += 1;
        assert_eq!(Registry::open_existing(dir.path()).unwrap().gc().unwrap().orphaned, 0);
    }
    for (mut child, ear) in processes {
        assert!(child.wait().unwrap().success());
        ear.join().unwrap();
    }
    let r = Registry::open(dir.path()).unwrap();
    let all = r.list(&Filter::default()).unwrap();
    assert_eq!((heard, all.len()), (48, 48));
    let mut versions: Vec<String> = all.iter().map(|m| m.reference()).collect();
    versions.sort();
    versions.dedup();
    assert_eq!(versions.len(), 48);
    assert!(r.verify().unwrap().ok);
}

#[test]
fn a_bundle_is_registered_and_comes_back_the_same() {
    use nhits::bundle::Bundle;

    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::open(folder.path()).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bundle_v1.safetensors");
    let bundle = Bundle::load(&fixture).unwrap();
    let card = bundle.card("load");
    assert_eq!(card.architecture.horizon, Some(bundle.manifest.model.horizon as u64));
    let id = bundle.register(&registry, &card).unwrap();
    for reference in [id.as_str(), "load@latest", "load@1.0.0"] {
        assert!(Bundle::registered(&registry, reference).unwrap() == bundle, "{reference}");
    }
    assert!(Bundle::registered(&registry, "other@latest").is_err());
    // Bytes that are no bundle are told apart from a bundle that is missing.
    registry.save(b"something else", &Metadata::new("text", "test")).unwrap();
    let error = Bundle::registered(&registry, "text@latest").unwrap_err().to_string();
    assert!(error.contains("text@latest") && error.contains("safetensors"), "{error}");
}
