//! Each query is answered by the index that its header names.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::Projector;
use common::postgres::Postgres;
use tokio_postgres::{Client, SimpleQueryMessage};

#[tokio::test]
async fn every_query_uses_its_index() {
    let primary = Postgres::init();
    let _projector = Projector::start(&primary).await;
    let client = primary.admin().await;
    // On tables this small any scan is cheaper than an index; what is asked is whether it serves.
    client
        .batch_execute("SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan")
        .await
        .unwrap();

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let files = [folder.join("generated"), folder].map(|folder| std::fs::read_dir(folder).unwrap());
    let mut checked = 0;
    for file in files.into_iter().flatten() {
        let path = file.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let (name, sql) = (path.display().to_string(), std::fs::read_to_string(&path).unwrap());
        for header in ["-- lock: ", "-- index: ", "-- invariant: "] {
            assert!(sql.contains(header), "{name}: no line {header:?}");
        }
        let index = sql.lines().find_map(|line| line.strip_prefix("-- index: ")).unwrap();
        let plan = explain(&client, &sql).await;
        assert!(!plan.contains("Seq Scan"), "{name}:\n{plan}");
        let mut used = Vec::new();
        for index in indexes(&plan) {
            used.push(definition(&client, index).await);
        }
        let named = used.iter().any(|definition| definition.ends_with(index));
        assert!(named, "{name}: should use {index:?}, uses {used:?}:\n{plan}");
        checked += 1;
    }
    assert!(checked >= 15, "only {checked} queries were found");
}

/// The plan of a statement for whatever parameters, as text.
async fn explain(client: &Client, sql: &str) -> String {
    let parameters = (1..).take_while(|n| sql.contains(&format!("${n}"))).count();
    let nulls = vec!["NULL"; parameters].join(", ");
    let sql = format!("PREPARE asked AS {sql}; EXPLAIN EXECUTE asked ({nulls}); DEALLOCATE asked");
    let messages = client.simple_query(&sql).await.unwrap();
    let line = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    messages.iter().filter_map(line).collect::<Vec<_>>().join("\n")
}

/// The names of the indexes that a plan scans.
fn indexes(plan: &str) -> Vec<&str> {
    let scans = plan.lines().filter(|line| line.contains("Index"));
    scans.filter_map(|line| word_after(line, "using ").or(word_after(line, "Scan on "))).collect()
}

fn word_after<'a>(line: &'a str, before: &str) -> Option<&'a str> {
    line.split_once(before)?.1.split_whitespace().next()
}

/// What follows the method in the index's definition, as in `… USING btree (email)`: `(email)`.
async fn definition(client: &Client, index: &str) -> String {
    let sql = "SELECT pg_get_indexdef(('headwater_read.' || $1)::regclass)";
    client.query_one(sql, &[&index]).await.unwrap().get(0)
}
