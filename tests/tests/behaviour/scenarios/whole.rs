//! What all the scenarios wrote fits together.

use std::collections::HashMap;

use headwater_eventlog::{EventLog, Head};
use headwater_kernel::Partition;

use super::client::Client;

/// Other scenarios write meanwhile: what was there at the beginning is looked at.
pub async fn the_log_is_dense_and_verifies(client: Client) {
    let log = EventLog::connect(&client.cluster.feed_url(), 1).await.expect("the log");
    let heads = log.heads().await.expect("heads").heads;
    assert_eq!(heads.len(), usize::from(client.cluster.plan().partitions));
    let mut versions = HashMap::new();
    for (number, head) in heads.iter().enumerate() {
        let partition = Partition(number as u16);
        let mut place = Head::START;
        while place.position < head.position {
            let chunk = log.read(partition, &place, 500).await.expect("verified");
            assert!(chunk.end.position > place.position, "the head is further on");
            for event in chunk.events {
                place.position = place.position.plus(1);
                assert_eq!((event.partition, event.position), (partition, place.position));
                let version: &mut u64 = versions.entry(event.stream).or_default();
                *version += 1;
                assert_eq!(event.version.0, *version, "of {}", event.stream);
            }
            place = chunk.end;
        }
    }
    let verified = client.cluster.headwater(&["verify", "log"]).await.expect("run");
    let text = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success() && text.contains("the log is sound"), "{verified:?}");
}
