//! What was stored once must be readable for ever: rows and snapshots frozen as bytes.

use std::collections::BTreeSet;

use headwater_domain_model::{DomainEvent, Item, item};
use headwater_domain_proto::FILE_DESCRIPTOR_SET;
use headwater_kernel::aggregate::Snapshot;
use headwater_kernel::{Aggregate as _, DecodeError, EventSet as _};
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value as Json;

fn fixtures() -> Vec<Json> {
    serde_json::from_str(include_str!("../../fixtures/events_v1.json")).unwrap()
}

fn descriptors() -> DescriptorPool {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap()
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn old_rows_are_read_as_what_they_meant() {
    let descriptors = descriptors();
    for fixture in fixtures() {
        let type_name = fixture["type"].as_str().unwrap();
        let schema_version = fixture["schema_version"].as_u64().unwrap() as u16;
        let payload = from_hex(fixture["payload"].as_str().unwrap());

        let event = DomainEvent::decode(type_name, schema_version, &payload).unwrap().encode();

        let descriptor = descriptors.get_message_by_name(event.type_name).unwrap();
        let message = DynamicMessage::decode(descriptor, &*event.payload).unwrap();
        assert_eq!(event.type_name, type_name);
        assert_eq!(serde_json::to_value(message).unwrap(), fixture["expected"], "{fixture}");
    }
}

#[test]
fn every_event_of_the_contract_has_a_frozen_row_of_version_1() {
    let contract: BTreeSet<String> = descriptors()
        .files()
        .filter(|file| file.name().ends_with("/events.proto"))
        .flat_map(|file| file.messages().map(|m| m.full_name().to_owned()).collect::<Vec<_>>())
        .collect();
    let frozen: BTreeSet<String> = fixtures()
        .iter()
        .filter(|fixture| fixture["schema_version"] == 1)
        .map(|fixture| fixture["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(contract, frozen);
}

#[test]
fn what_cannot_be_read_is_refused() {
    let decode = DomainEvent::decode;
    assert!(matches!(decode("stores.v1.Nothing", 1, &[]), Err(DecodeError::UnknownType { .. })));
    assert!(matches!(
        decode("stores.v1.StoreOpened", 3, &[]),
        Err(DecodeError::NewerSchema { found: 3, known: 2, .. })
    ));
    for (type_name, version) in [("stores.v1.StoreOpened", 1), ("users.v1.UserRenamed", 1)] {
        let decoded = decode(type_name, version, &[0x0a, 0x05]);
        assert!(matches!(decoded, Err(DecodeError::Payload { .. })), "{type_name}");
    }
}

#[test]
fn a_stored_snapshot_of_this_format_is_read_as_what_it_meant() {
    // If this fails, the snapshot's meaning has changed: raise the format, then freeze the new
    // bytes.
    const FROZEN: &str = "0a2430313932333435362d373839612d376263642d386566302d31323334353637383961\
                          62631203412d311a035553442081012825300338fc024001";
    let snapshot = Snapshot { format: item::SNAPSHOT_FORMAT, state: from_hex(FROZEN) };
    let restored = format!("{:?}", Item::restore(&snapshot).unwrap());
    assert_eq!(
        restored,
        "Item { store_id: \"01923456-789a-7bcd-8ef0-123456789abc\", sku: \"A-1\", \
         currency: \"USD\", price: 129, on_hand: 37, units_sold: 3, revenue: 380, delisted: true }"
    );
}
