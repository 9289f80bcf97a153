//! The read database's schema: made once, checked by servers, with the least rights; and the plans
//! of the statements.

mod common_pg;
mod counters;
mod projector_rig;

use common_pg::sql;
use counters::{CounterRow, Event, OwnerRow};
use headwater_kernel::{About, FoldResult, Touch, View, row};
use headwater_projector::migrate::{SchemaError, check, migrate};
use headwater_projector::projection::Projection;
use headwater_projector::statements;
use projector_rig::{Rig, connect, projection};
use tokio_postgres::Row;

#[tokio::test]
async fn migrating_again_changes_nothing() {
    let server = common_pg::shared();
    let url = server.database().await;
    let client = connect(&url).await.expect("connected");
    let missing = check(&client, &[projection()]).await.expect_err("nothing is there");
    assert!(matches!(missing, SchemaError::Missing), "{missing}");
    // Two at once: one does it, the other waits.
    let projections = [projection()];
    let (one, other) = tokio::join!(migrate(&url, &projections), migrate(&url, &projections));
    let mut created = one.expect("migrated").created;
    created.extend(other.expect("migrated").created);
    assert_eq!(created, ["owner_v1", "counter_v1", "bucket_v1"]);
    check(&client, &projections).await.expect("all is there");
    let indexes =
        "SELECT indexdef FROM pg_indexes WHERE tablename = 'counter_v1' ORDER BY indexname";
    assert_eq!(client.query(indexes, &[]).await.expect("read").len(), 3);
}

#[tokio::test]
async fn the_views_of_the_domain_migrate() {
    let server = common_pg::shared();
    let url = server.database().await;
    let created =
        migrate(&url, &headwater_domain_api::projections()).await.expect("migrated").created;
    assert_eq!(created, ["user_v1", "store_v1", "item_v1", "store_overview_v1"]);
    let client = connect(&url).await.expect("connected");
    check(&client, &headwater_domain_api::projections()).await.expect("all is there");
    for view in ["user", "store", "item", "store_overview"] {
        let select = format!(r#"SELECT * FROM headwater_read."{view}""#);
        client.query(&select, &[]).await.expect("a view of that name");
    }
}

/// Defines the view of owners with another column, in a version.
macro_rules! owners {
    ($row:ident, $version:literal) => {
        row! {
            struct $row {
                bucket: String,
            }
        }

        impl View for $row {
            const NAME: &'static str = "owner";
            const VERSION: u32 = $version;
            type Event = Event;

            fn touches(_: &Event, _: &About) -> Vec<Touch> {
                Vec::new()
            }

            fn fold(row: Option<Self>, _: &Event, _: &About) -> FoldResult<Self> {
                Ok(row)
            }
        }
    };
}
owners!(OtherColumns, 1);
owners!(OtherVersion, 2);

#[tokio::test]
async fn a_changed_view_is_not_mixed_with_the_old_one() {
    let server = common_pg::shared();
    let url = server.database().await;
    let old = Projection::of::<Event>("counters").view::<OwnerRow>().build();
    migrate(&url, &[old]).await.expect("migrated");
    let client = connect(&url).await.expect("connected");
    let changed = Projection::of::<Event>("counters").view::<OtherColumns>().build();
    let refused = migrate(&url, std::slice::from_ref(&changed)).await.expect_err("not the same");
    assert!(refused.to_string().contains("raise View::VERSION"), "{refused}");
    let refused = check(&client, &[changed]).await.expect_err("not the same");
    assert!(refused.to_string().contains("raise View::VERSION"), "{refused}");
    let newer = Projection::of::<Event>("counters").view::<OtherVersion>().build();
    let migrated = migrate(&url, std::slice::from_ref(&newer)).await.expect("the rest is there");
    assert_eq!((migrated.created.len(), migrated.to_rebuild), (0, vec!["counters"]));
    let refused = check(&client, &[newer]).await.expect_err("not the same");
    assert!(refused.to_string().contains("headwater rebuild views"), "{refused}");
    sql(&url, "UPDATE headwater_read.view_version SET version = 7").await;
    let known = Projection::of::<Event>("counters").view::<OwnerRow>().build();
    let refused = check(&client, &[known]).await.expect_err("newer");
    assert!(refused.to_string().contains("upgrade this program"), "{refused}");
    sql(&url, "UPDATE headwater_read.schema_version SET version = 99").await;
    let refused = migrate(&url, &[]).await.expect_err("newer");
    assert!(refused.to_string().contains("upgrade this program"), "{refused}");
}

/// What version 3 had instead of revisions in the changes, with the function as its watches call
/// it.
const VERSION_3: &str = r#"
    DROP FUNCTION headwater_read.revise;
    DROP FUNCTION headwater_read.changed;
    ALTER TABLE headwater_read.checkpoint DROP COLUMN watched_revision;
    ALTER TABLE headwater_read.change DROP CONSTRAINT change_pkey, DROP COLUMN revision,
        DROP COLUMN revised, ADD PRIMARY KEY (projection, applied, view);
    CREATE FUNCTION headwater_read.changed(
        in_projection text, in_view text, in_applied bigint, in_key text, in_limit integer
    ) RETURNS TABLE (key text, applied bigint, former text[])
    LANGUAGE sql STABLE
    AS $changed$
        SELECT u.key, max(c.applied), array_agg(DISTINCT u.former) FILTER (WHERE u.former IS NOT NULL)
          FROM headwater_read.change c, unnest(c.keys, c.former) u(key, former)
         WHERE c.projection = in_projection AND c.view = in_view AND c.applied >= in_applied
         GROUP BY u.key
        HAVING (max(c.applied), u.key COLLATE "C") > (in_applied, in_key COLLATE "C")
         ORDER BY max(c.applied), u.key COLLATE "C"
         LIMIT in_limit
    $changed$;
    UPDATE headwater_read.schema_version SET version = 3;
    INSERT INTO headwater_read.checkpoint
        (projection, log_id, epoch, positions, digests, as_of, revision, watched_from)
    VALUES ('counters', gen_random_uuid(), 1, '{5}', '{""}', now(), 2, '{0}');
    INSERT INTO headwater_read.change (projection, applied, view, positions, keys, former)
    VALUES ('counters', 5, 'counter', '{5}', '{a}', '{NULL}');
"#;
/// A commit as a projector of version 3 records it.
const COMMIT_3: &str = "
    UPDATE headwater_read.checkpoint SET positions = '{7}';
    INSERT INTO headwater_read.change (projection, applied, view, positions, keys, former)
    VALUES ('counters', 7, 'counter', '{7}', '{b}', '{NULL}');
";

#[tokio::test]
async fn a_database_of_version_3_keeps_its_changes() {
    let server = common_pg::shared();
    let url = server.database().await;
    let projections = [projection()];
    migrate(&url, &projections).await.expect("migrated");
    sql(&url, VERSION_3).await;
    let client = connect(&url).await.expect("connected");
    let refused = check(&client, &projections).await.expect_err("an older one");
    assert!(refused.to_string().contains("run `headwater migrate`"), "{refused}");
    for _ in 0..2 {
        migrate(&url, &projections).await.expect("migrated");
    }
    check(&client, &projections).await.expect("all is there");
    // Programs that were running go on, and what they record comes in order.
    sql(&url, COMMIT_3).await;
    let revise = "SELECT headwater_read.revise('counters', 'counter', '{a}', '{NULL}')";
    assert_eq!(client.query_one(revise, &[]).await.expect("revised").get::<_, i64>(0), 3);
    let changed = async |place: &str| {
        let sql = format!(
            "SELECT key, applied, revision \
             FROM headwater_read.changed('counters', 'counter', {place}, 10)"
        );
        let rows = client.query(&sql, &[]).await.expect("read");
        let row = |row: &Row| (row.get(0), row.get(1), row.get(2));
        rows.iter().map(row).collect::<Vec<(String, i64, i64)>>()
    };
    let (b, a) = (("b".to_owned(), 7, 0), ("a".to_owned(), 7, 3));
    assert_eq!(changed("0, 0, ''").await, [b, a.clone()]);
    assert_eq!(changed("7, 1, ''").await, [a]);
    assert_eq!(changed("7, 4, ''").await, []);
    let as_before = "SELECT key FROM headwater_read.changed('counters', 'counter', 0, '', 10)";
    assert_eq!(client.query(as_before, &[]).await.expect("read").len(), 2);
}

#[tokio::test]
async fn a_view_cannot_join_a_projection_whose_events_have_gone_by() {
    let rig = Rig::new(1).await;
    let read_url = rig.server.database().await;
    let old = Projection::of::<Event>("counters").view::<OwnerRow>().build();
    migrate(&read_url, std::slice::from_ref(&old)).await.expect("migrated");
    let rig = Rig { read_url, projection: old, ..rig };
    let wider = Projection::of::<Event>("counters").view::<OwnerRow>().view::<CounterRow>();
    let wider = wider.build();
    rig.writer().await.append(&[(1_000, Event::Named("Ann".into()))]).await;
    let running = rig.run();
    rig.wait_applied(1).await;
    running.stop().await;
    let wider = [wider];
    let migrated = migrate(&rig.read_url, &wider).await.expect("migrated");
    assert_eq!(migrated.to_rebuild, ["counters"], "too late to begin with nothing");
    let client = connect(&rig.read_url).await.expect("connected");
    let refused = check(&client, &wider).await.expect_err("it lacks a view");
    assert!(refused.to_string().contains("headwater rebuild views"), "{refused}");
}

#[tokio::test]
async fn roles_have_the_least_rights() {
    let rig = Rig::new(1).await;
    // Roles are of the whole server; these are this test's own.
    for (login, role) in
        [("query_tester", "headwater_query"), ("projector_tester", "headwater_projector")]
    {
        sql(&rig.read_url, &format!("CREATE ROLE {login} LOGIN IN ROLE {role}")).await;
    }
    sql(&rig.write_url, "GRANT headwater_feed TO projector_tester").await;
    let url_of = |url: &str, login: &str| url.replace("postgres@", &format!("{login}@"));
    let cases = [
        ("query_tester", "SELECT * FROM headwater_read.counter", true),
        ("query_tester", "SELECT * FROM headwater_read.checkpoint", true),
        ("query_tester", "SELECT * FROM headwater_read.parked", false),
        ("query_tester", "SELECT projection, view, row_key FROM headwater_read.parked", true),
        ("query_tester", "SELECT FROM headwater_read.dropped", false),
        ("projector_tester", "DELETE FROM headwater_read.dropped", false),
        ("query_tester", "DELETE FROM headwater_read.counter_v1", false),
        ("query_tester", "DELETE FROM headwater_read.counter", false),
        ("query_tester", "UPDATE headwater_read.checkpoint SET as_of = now()", false),
        ("projector_tester", "DELETE FROM headwater_read.counter_v1", true),
        ("projector_tester", "DELETE FROM headwater_read.parked", false),
        ("projector_tester", "DELETE FROM headwater_read.checkpoint", false),
        ("projector_tester", "UPDATE headwater_read.view_version SET live = false", false),
        ("projector_tester", "DROP TABLE headwater_read.counter_v1", false),
    ];
    for (login, statement, allowed) in cases {
        let client = connect(&url_of(&rig.read_url, login)).await.expect("connected");
        let done = client.batch_execute(statement).await;
        assert_eq!(done.is_ok(), allowed, "{login}: {statement}: {done:?}");
    }
    // The projector's role is enough for the projector.
    let (write_url, read_url) =
        (url_of(&rig.write_url, "projector_tester"), url_of(&rig.read_url, "projector_tester"));
    let mut writer = rig.writer().await;
    writer.append(&[(7, Event::Added(1)), (8, Event::Poison)]).await;
    let rig = Rig { write_url, ..rig };
    let owner_url = rig.read_url.clone();
    let rig = Rig { read_url, ..rig };
    let running = rig.run();
    let rig = Rig { read_url: owner_url, ..rig };
    rig.wait_applied(2).await;
    running.stop().await;
}

/// Every statement goes by an index, even on empty tables without statistics: a plan is made once
/// and kept.
#[tokio::test]
async fn every_statement_goes_by_an_index() {
    let server = common_pg::shared();
    let url = server.database().await;
    let projections = headwater_domain_api::projections();
    migrate(&url, &projections).await.expect("migrated");
    let client = connect(&url).await.expect("connected");
    let session = include_str!("../sql/projector/session.sql");
    client.batch_execute(session).await.expect("the session's settings");
    let retail = projections[0].views();
    let mut checked: Vec<String> = retail.iter().map(statements::by_key).collect();
    checked.push(statements::by_column(&retail[3], "manager_id", 10));
    checked.push(statements::commit(retail));
    checked.push(include_str!("../sql/projector/heartbeat.sql").to_owned());
    checked.push(include_str!("../sql/projector/blocked.sql").to_owned());
    checked.push(include_str!("../sql/projector/checkpoint.sql").to_owned());
    for (number, statement) in checked.iter().enumerate() {
        client.batch_execute(&format!("PREPARE s{number} AS {statement}")).await.expect(statement);
        let parameters = (1..).take_while(|n| statement.contains(&format!("${n}"))).count();
        let nulls = vec!["NULL"; parameters].join(", ");
        let explain = format!("EXPLAIN EXECUTE s{number} ({nulls})");
        let plan = client.query(&explain, &[]).await.expect("a plan");
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains("Index"), "{statement}\n{plan}");
        assert!(!plan.contains("Seq Scan"), "{statement}\n{plan}");
        // The cost of a scan that is switched off but has no alternative.
        assert!(!plan.contains("cost=1000000"), "{statement}\n{plan}");
    }
}
