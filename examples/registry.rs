//! The registry from Rust: file models, find them again, compare them, put one into production, take it elsewhere.

use nhits::registry::{Filter, Metadata, Registry, Similarity, Stage};
use serde_json::json;

/// What is known of a model; its bytes may be anything, a bundle's file as a rule.
fn about(lr: f64, val_mae: f64) -> Metadata {
    let mut metadata = Metadata::new("prices", "nhits");
    metadata.description = "hourly prices, a day ahead".into();
    metadata.tags = ["hourly".to_string()].into();
    metadata.hyperparameters = json!({"lr": lr, "batch_size": 32});
    metadata.metrics = [("val_mae".to_string(), val_mae)].into();
    (metadata.architecture.input_size, metadata.architecture.horizon) = (Some(168), Some(24));
    metadata
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let registry = Registry::open(folder.path().join("registry"))?;
    let first = registry.save(b"the weights", &about(0.001, 0.31))?;
    let mut better = about(0.002, 0.27);
    better.parent = Some("prices@latest".into());
    let second = registry.save(b"better weights", &better)?;
    registry.save(b"other weights", &about(0.1, 0.9))?;

    let good = Filter { metrics: vec!["val_mae<0.5".parse()?], ..Filter::default() };
    for model in registry.list(&good)? {
        println!("{} {} val_mae {}", model.id, model.reference(), model.metadata.metrics["val_mae"]);
    }
    for hit in registry.search("hourly price", 2)? {
        println!("found {} with score {:.3}", hit.model.reference(), hit.score);
    }
    for neighbour in registry.similar(&first, 2, Similarity::L2)? {
        println!("{} lies {:.3} away from prices@1.0.0", neighbour.model.reference(), neighbour.score);
    }

    registry.promote(&first, Some(Stage::Production))?;
    let former = registry.promote(&second, Some(Stage::Production))?;
    assert_eq!(former, Some(first.clone()), "it was archived in the same moment");
    assert_eq!(registry.load("prices@production")?, b"better weights");
    assert_eq!(registry.lineage(&first)?.descendants[0].id, second);
    assert!(registry.delete(&first).is_err(), "the second one came of it");

    let archive = folder.path().join("prices.tar.zst");
    registry.export(&["prices@production".into()], &archive)?;
    let elsewhere = Registry::open(folder.path().join("elsewhere"))?;
    println!("brought {} model elsewhere", elsewhere.import(&archive)?.added.len());
    assert_eq!(elsewhere.load("prices")?, b"better weights");
    assert!(registry.verify()?.ok && elsewhere.verify()?.ok);
    Ok(())
}
