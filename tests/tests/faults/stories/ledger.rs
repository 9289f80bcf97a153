//! What clients were told: every sale that was acknowledged.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use headwater_domain_proto::stores::v1::RecordSaleRequest;
use headwater_proto::headwater::v1::{CommandOptions, Receipt};
use uuid::Uuid;

use super::shop::Item;
use super::talk::money;

/// A sale that is to be recorded once, however often it is sent.
#[derive(Clone, Debug)]
pub struct Sale {
    pub key: String,
    pub item: Item,
    /// Of no other sale: what tells it in the log.
    pub amount: i64,
    pub quantity: i64,
}

/// A sale and its receipt.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    pub sale: Sale,
    pub receipt: Receipt,
}

#[derive(Default)]
pub struct Ledger {
    serial: AtomicI64,
    acknowledged: Mutex<Vec<Acknowledged>>,
}

impl Sale {
    /// As it is sent, each time the same.
    pub fn request(&self, token: &str) -> RecordSaleRequest {
        RecordSaleRequest {
            store_id: self.item.store_id.clone(),
            item_id: self.item.item_id.clone(),
            quantity: self.quantity,
            amount: money(self.amount),
            sold_time: None,
            options: Some(CommandOptions {
                idempotency_key: self.key.clone(),
                expected_version: None,
                token: token.to_owned(),
                ..CommandOptions::default()
            }),
        }
    }
}

impl Ledger {
    /// One that was never made before.
    pub fn new_sale(&self, item: &Item) -> Sale {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let key = Uuid::now_v7().to_string();
        Sale { key, item: item.clone(), amount: 1_000 + serial, quantity: 1 + serial % 3 }
    }

    pub fn acknowledge(&self, sale: Sale, receipt: Receipt) {
        self.acknowledged.lock().expect("no panic").push(Acknowledged { sale, receipt });
    }

    pub fn count(&self) -> usize {
        self.acknowledged.lock().expect("no panic").len()
    }

    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        self.acknowledged.lock().expect("no panic").clone()
    }
}
