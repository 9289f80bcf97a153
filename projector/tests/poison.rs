//! Events that the read database refuses, or that are too much for it: each is found and parked,
//! and everything else goes on.

mod common_pg;
mod counters;
mod projector_rig;

use common_pg::sql;
use counters::Event;
use projector_rig::{OWNERS, Rig, Running};
use uuid::Uuid;

/// Owners that the facts of the rig do not name.
const ANN: u128 = OWNERS + 500;
const BEA: u128 = OWNERS + 501;

/// What is parked: view, stream of the event, its version, and why.
async fn parked(rig: &Rig) -> Vec<(String, u128, i64, String)> {
    let query = "SELECT view, stream, version, error FROM headwater_read.parked ORDER BY number";
    let row = |row: &tokio_postgres::Row| {
        (row.get(0), row.get::<_, Uuid>(1).as_u128(), row.get(2), row.get(3))
    };
    rig.read(query).await.iter().map(row).collect()
}

/// A text that does not get shorter when compressed: too long for an entry of an index.
fn incompressible(length: usize) -> String {
    let mut state: u64 = 88_172_645_463_325_252;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state % 90) as u8)
    };
    (0..length).map(|_| next()).collect()
}

async fn is_applied(rig: &Rig, running: Running, events: u64) {
    rig.wait_applied(events).await;
    let (is_well, says) = rig.sync();
    assert!(is_well, "{says}");
    running.stop().await;
}

/// A thousand events, three of which the read primary does not take: a name that its index has no
/// room for, a row that a constraint forbids, and one whose statement takes too long.
#[tokio::test]
async fn what_the_database_refuses_is_parked_alone() {
    let rig = Rig::new(2).await;
    sql(
        &rig.read_url,
        "CREATE FUNCTION headwater_read.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF NEW.total = 666666 THEN
                 RAISE 'it is not allowed' USING ERRCODE = '23514', DETAIL = 'a secret';
             ELSIF NEW.total >= 777777 THEN
                 RAISE 'statement timeout' USING ERRCODE = '57014';
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON headwater_read.counter_v1
            FOR EACH ROW EXECUTE FUNCTION headwater_read.refuse()",
    )
    .await;
    let mut writer = rig.writer().await;
    writer.append_many(500, 250).await;
    let facts = writer.facts.clone();
    let poison = [
        (ANN, Event::Named(incompressible(6_000))),
        (300, Event::Added(666_666)),
        (301, Event::Added(777_777)),
    ];
    // In one append with events that are well, as far as the partition goes.
    let mut mixed: Vec<_> = (0..300).map(|n| (400 + n % 30, Event::Added(1))).collect();
    for (n, event) in poison.into_iter().enumerate() {
        mixed.insert(97 * (n + 1), event);
    }
    writer.append(&mixed).await;
    writer.append(&[(ANN, Event::Named("Ann".to_owned())), (301, Event::Added(1))]).await;
    let later: Vec<_> = (0..195).map(|n| (400 + n % 30, Event::Added(1))).collect();
    writer.append(&later).await;
    is_applied(&rig, rig.run(), 1_000).await;

    let refused = |why: &str| format!("the read primary refuses it: {why}");
    let found = parked(&rig).await;
    let of = |stream: u128| found.iter().find(|p| p.1 == stream).expect("parked");
    assert_eq!(found.len(), 3, "{found:?}");
    let (view, _, version, error) = of(ANN);
    assert_eq!((view.as_str(), *version), ("owner", 1));
    assert!(error.contains("index row") && error.ends_with("(54000)"), "{error}");
    assert!(error.len() < 200, "it has the value");
    let expected = ("counter".to_owned(), 300, 1, refused("it is not allowed (23514)"));
    assert_eq!(*of(300), expected);
    // How much there is to do is no matter of one view.
    assert_eq!(*of(301), (String::new(), 301, 1, refused("statement timeout (57014)")));

    let rest = mixed.into_iter().chain(later);
    let rest = rest.filter(|(stream, _)| ![ANN, 300, 301].contains(stream));
    let facts: Vec<_> = facts.into_iter().chain(rest).collect();
    // Pieces grow again after each: one of a thousand would leave a record each.
    let pieces = rig.read("SELECT FROM headwater_read.change WHERE view = 'counter'").await.len();
    assert!(pieces < 150, "{pieces} pieces");
    // The other view of the same event goes on.
    let bucket = "UPDATE headwater_read.bucket_v1 SET total = total - 666666, events = events - 1 \
                   WHERE bucket = 'bucket 0'";
    sql(&rig.read_url, bucket).await;
    rig.assert_rows(&facts).await;
}

/// An owner of more counters than may be loaded at once is renamed; and one append touches more
/// rows than that, of which each event touches but one.
#[tokio::test]
async fn what_touches_too_many_rows_is_parked_and_what_does_so_together_is_not() {
    let mut rig = Rig::new(1).await;
    rig.pace.rows_max = 60;
    let mut writer = rig.writer().await;
    let counters = 2_000..2_100_u128;
    let owned: Vec<_> = counters.clone().map(|n| (n, Event::Owned(Uuid::from_u128(BEA)))).collect();
    writer.append(&owned).await;
    // Each in a batch of its own would be more than the rig's facts have rows.
    let running = rig.run();
    rig.wait_applied(100).await;
    running.stop().await;
    let added: Vec<_> = counters.map(|n| (n, Event::Added(1))).collect();
    writer.append(&added).await;
    let mut facts = writer.facts.clone();
    writer.append(&[(BEA, Event::Named("Bea".to_owned()))]).await;
    let later: Vec<_> = (0..797).map(|n| (n % 50, Event::Added(2))).collect();
    writer.append(&later).await;
    facts.extend(later);
    writer.append(&[(BEA, Event::Named("Bee".to_owned())), (7, Event::Added(1))]).await;
    facts.push((7, Event::Added(1)));
    is_applied(&rig, rig.run(), 1_000).await;
    let error = "it touches more than 60 rows".to_owned();
    assert_eq!(parked(&rig).await, [(String::new(), BEA, 1, error)]);
    rig.assert_rows(&facts).await;
    let metrics = rig.metrics.encode();
    assert!(metrics.contains(r#"headwater_parked_events_total{projection="counters"} 2"#));
}

/// The view cannot apply an event to any of the many rows that it touches: blocking all of them
/// would bring the projection near the bound at which it stops.
#[tokio::test]
async fn an_event_that_would_block_very_many_rows_blocks_its_stream() {
    let rig = Rig::new(1).await;
    sql(
        &rig.read_url,
        "INSERT INTO headwater_read.counter_v1 (counter_id, owner_id, total, even, changed_at)
         SELECT ('00000000-0000-0000-0001-' || lpad(n::text, 12, '0'))::uuid,
                '00000000-0000-0000-0000-0000000005dc', 0, true, now()
           FROM generate_series(1, 1001) n",
    )
    .await;
    let mut writer = rig.writer().await;
    // A zero byte is a text that cannot be stored, in any of the rows.
    writer.append(&[(ANN, Event::Named("A\0nn".to_owned())), (7, Event::Added(1))]).await;
    is_applied(&rig, rig.run(), 2).await;
    let found = parked(&rig).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].0.as_str(), found[0].1), ("", ANN));
    assert!(found[0].3.contains("more than 1000 rows"), "{found:?}");
}
