//! Ids and idempotency keys that follow from the input: the same file names the same things on
//! every run.

use uuid::Uuid;

/// Namespace of the ids of loaded stores. Never changes, or a file that was loaded before would be
/// loaded twice.
const STORES: Uuid = Uuid::from_u128(0x6b1d_5f0e_94c3_4e0b_8f57_2a54_9d1c_3e70);

/// The id of a store with this name.
pub fn store(name: &str) -> Uuid {
    Uuid::new_v5(&STORES, name.as_bytes())
}

/// The id of a product in a store.
pub fn item(store: Uuid, product: &str) -> Uuid {
    Uuid::new_v5(&store, product.as_bytes())
}

/// The idempotency keys of one file: by what is done, and the line that first asks for it.
#[derive(Clone)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// Of the file with this SHA-256 digest, of which half tells files apart.
    pub fn new(digest: [u8; 32]) -> Keys {
        let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        Keys { prefix: format!("load-{hex}") }
    }

    /// The key of one command.
    pub fn key(&self, what: &str, line: u64) -> String {
        format!("{}-{what}-{line}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frozen: other ids or keys would load a file twice that was loaded before.
    #[test]
    fn ids_and_keys_never_change() {
        let id = store("Store 367");
        assert_eq!(id.to_string(), "d7386fcc-f383-56af-82d3-05d94ce74b55");
        assert_eq!(item(id, "1082185").to_string(), "7d80d0a0-2d3a-5c99-962c-779da97fabe7");
        let keys = Keys::new([0xab; 32]);
        assert_eq!(keys.key("sell", 17), format!("load-{}-sell-17", "ab".repeat(16)));
        assert_ne!(item(store("A"), "B"), item(store("B"), "A"));
    }
}
