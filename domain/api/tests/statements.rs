//! The statements that follow from the views, kept as files beside those that are written by hand:
//! each is reviewed as it changes, and its plan is tested.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use headwater_domain_api::queries::{Items, Overviews, Stores, Users};
use headwater_query_svc::{ServedView, statements};

/// Writes the files anew instead of comparing them.
const RENEW: &str = "HEADWATER_RENEW_SNAPSHOTS";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/generated")
}

fn add<S: ServedView>(all: &mut BTreeMap<String, &'static str>) {
    for (name, sql) in statements::<S>() {
        assert!(all.insert(format!("{name}.sql"), sql).is_none(), "{name} is there twice");
    }
}

fn generated() -> BTreeMap<String, &'static str> {
    let mut all = BTreeMap::new();
    add::<Users>(&mut all);
    add::<Stores>(&mut all);
    add::<Items>(&mut all);
    add::<Overviews>(&mut all);
    all
}

#[test]
fn every_generated_statement_is_the_one_that_was_reviewed() {
    let generated = generated();
    if std::env::var_os(RENEW).is_some() {
        std::fs::create_dir_all(folder()).expect("a folder");
        for (name, sql) in &generated {
            std::fs::write(folder().join(name), sql).expect("written");
        }
    }
    let mut kept = BTreeMap::new();
    for entry in folder().read_dir().expect("the snapshots") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        kept.insert(name, std::fs::read_to_string(&path).expect("a text"));
    }
    let names: Vec<&String> = generated.keys().collect();
    assert_eq!(kept.keys().collect::<Vec<_>>(), names, "{RENEW}=1 writes them anew");
    for (name, sql) in generated {
        assert_eq!(kept[&name], sql, "{name}: if that is meant, {RENEW}=1 writes it anew");
    }
}
