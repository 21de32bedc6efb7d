//! Static columns of names: from the file through an embedding to the forecast, known and unknown ones.

use crate::tool::{Folder, TINY, column, day, rows};

/// Noise around 1 for the kind `up` and around -1 for `down`, so large that a short history does not tell the two apart.
fn noisy(kind: &str, seed: usize, i: usize) -> f64 {
    let noise = ((i + 1) * 7919 * (2 * seed + 1) % 1009) as f64 / 1009.0 - 0.5;
    8.0 * noise + if kind == "up" { 1.0 } else { -1.0 }
}

fn training() -> String {
    let mut text = "unique_id,ds,y\n".to_owned();
    for s in 0..8 {
        let kind = if s % 2 == 0 { "up" } else { "down" };
        (0..150).for_each(|i| text += &format!("s{s},{},{:.4}\n", day(i), noisy(kind, s, i)));
    }
    text
}

#[test]
fn the_category_decides_where_the_history_does_not() {
    let folder = Folder::new();
    folder.write("s.csv", training());
    let kinds =
        (0..8).fold("unique_id,kind,n\n".to_owned(), |t, s| t + &format!("s{s},{},{s}\n", ["up", "down"][s % 2]));
    folder.write("kinds.csv", kinds);
    let network = "--horizon 4 --input-size 4 --hidden-size 16 --dropout 0 --scaler none --lr 5e-3 --max-steps 150 \
                   --batch-size 64 --output model.st --run-dir run";
    let train = format!("train --data s.csv --static kinds.csv {network}");
    let plain = folder.json(&format!("{train} --stat-exog n"));
    assert!(
        !String::from_utf8_lossy(&folder.read("model.st")).contains("stat_cat"),
        "a plain bundle says nothing of it"
    );
    assert!(String::from_utf8_lossy(&folder.read("model.st")).contains("\\\"format_version\\\":1"));
    let trained = folder.json(&format!("{train} --stat-exog n --stat-cat kind"));
    // A vector of two values for each of two kinds and the unknown one, and two inputs more for each of three blocks.
    let more = trained["n_parameters"].as_u64().unwrap() - plain["n_parameters"].as_u64().unwrap();
    assert_eq!(more, 3 * 2 + 3 * 2 * 16);
    assert!(String::from_utf8_lossy(&folder.read("model.st")).contains("\\\"format_version\\\":2"));

    // Three series with the same history: only their kind differs.
    let history: String = ["a", "b", "c"]
        .iter()
        .flat_map(|id| (0..20).map(move |i| format!("{id},{},{:.4}\n", day(i), noisy("up", 50, i) - 1.0)))
        .collect();
    folder.write("new.csv", format!("unique_id,ds,y\n{history}"));
    folder.write("kinds.csv", "unique_id,kind,n\na,up,3\nb,down,3\nc,sideways,3\n");
    let ran = folder.ok("predict --model model.st --data new.csv");
    let means: Vec<f64> = column(&ran.stdout, "NHITS").chunks(4).map(|f| f.iter().sum::<f64>() / 4.0).collect();
    assert!(means[0] - means[1] > 0.8, "up {}, down {}", means[0], means[1]);
    assert!(means[1] < means[2] && means[2] < means[0], "an unknown kind lies between: {means:?}");
    assert!(
        ran.stderr.contains("column `kind`: the model was not trained on `sideways`"),
        "it is said: {}",
        ran.stderr
    );
    // The codes of a fresh file are not those of the training: with one kind alone it is code 0 of that file.
    let only = history.lines().filter(|l| l.starts_with('a')).fold("unique_id,ds,y\n".to_owned(), |t, l| t + l + "\n");
    folder.write("only.csv", only);
    let alone = folder.ok("predict --model model.st --data only.csv --quiet").stdout;
    assert_eq!(column(&alone, "NHITS"), column(&ran.stdout, "NHITS")[..4]);
    // The judge takes the same way.
    folder.write("kinds.csv", (0..8).fold("unique_id,kind,n\n".to_owned(), |t, s| t + &format!("s{s},other,{s}\n")));
    let judged = folder.ok("evaluate --model model.st --data s.csv --split 100/30/20");
    assert!(judged.stderr.contains("was not trained on `other`"), "{}", judged.stderr);
}

#[test]
fn categories_come_from_the_file_itself_and_training_goes_on_with_them() {
    let folder = Folder::new();
    let text = training();
    let with_kind = text.lines().enumerate().fold(String::new(), |t, (n, line)| match n {
        0 => format!("{line},kind\n"),
        _ => format!("{t}{line},{}\n", if line.as_bytes()[1] % 2 == 0 { "up" } else { "down" }),
    });
    folder.write("s.csv", &with_kind);
    let train = format!("train --data s.csv --target y --stat-cat kind {TINY} --seed 3");
    // A run that goes on from its first checkpoint ends with the bytes of the straight one: the tables are in it.
    let steps = "--max-steps 6 --steps-per-epoch 2 --embedding-dim 3 --checkpoint-every 1epochs --keep-checkpoints 9";
    let train = format!("{train} {steps}").replace("--max-steps 2 ", "");
    folder.ok(&train);
    let straight = folder.read("model.st");
    let mut files: Vec<_> =
        std::fs::read_dir(folder.path("run/checkpoints")).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "ckpt"));
    files.sort();
    assert!(files.len() > 1, "{files:?}");
    let resumed = folder.json(&format!("{train} --resume {}", files[0].display()));
    assert_eq!((&resumed["resumed_at"], &resumed["steps"]), (&2.into(), &6.into()));
    assert!(folder.read("model.st") == straight, "other bytes");
    assert_eq!(rows(&folder.ok("predict --model model.st --data s.csv --quiet").stdout).len(), 1 + 8 * 4);

    for (flags, part) in [
        ("--stat-exog kind", "holds text, expected numbers (--stat-cat takes names)"),
        ("--stat-cat knid", "did you mean `kind`?"),
        ("--embedding-dim 3", "model.embedding_dim"),
        ("--stat-cat kind --embedding-dim 0", "model.embedding_dim"),
    ] {
        let ran = folder.run(&format!("train --data s.csv --target y {flags} {TINY} --json"));
        assert_eq!(ran.code, Some(2));
        assert!(ran.stdout.contains(part), "{flags}: {}", ran.stdout);
    }
    folder.write(
        "s.csv",
        with_kind.replace(&format!("s2,{},", day(7)), &format!("s2,{},1,down\ns2,{},", day(200), day(7))),
    );
    let ran = folder.run(&format!("train --data s.csv --target y --stat-cat kind --gaps observed {TINY} --json"));
    assert!(ran.stdout.contains("series `s2`, column `kind`: a static column changes from"), "{}", ran.stdout);
}

#[test]
fn a_model_with_categories_is_rounded_but_for_its_vectors() {
    let folder = Folder::new();
    folder.write("s.csv", training());
    let kinds = (0..8).fold("unique_id,kind\n".to_owned(), |t, s| t + &format!("s{s},{}\n", ["up", "down"][s % 2]));
    folder.write("kinds.csv", kinds);
    let data = "--data s.csv --static kinds.csv --split 110/20/20";
    folder.ok(&format!("train {data} --stat-cat kind {TINY}"));
    let report = folder.json(&format!("quantize --model model.st {data} --max-degradation 20% --output int8.st"));
    let layers: Vec<&str> = report["layers"].as_array().unwrap().iter().map(|l| l["layer"].as_str().unwrap()).collect();
    assert!(layers.iter().all(|l| l.starts_with("blocks.")), "{layers:?}");
    let forecasts = |model: &str| {
        let ran = folder.ok(&format!("predict --model {model} --data s.csv --static kinds.csv --quiet"));
        column(&ran.stdout, "NHITS").to_vec()
    };
    let (float, int8) = (forecasts("model.st"), forecasts("int8.st"));
    assert!(float.iter().zip(&int8).all(|(a, b)| (a - b).abs() < 0.5), "{float:?} {int8:?}");
    assert_ne!(float, int8);
}
