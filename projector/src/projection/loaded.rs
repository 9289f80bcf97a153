//! Rows that are read from the database for a plan. Pure.

use std::collections::{HashMap, HashSet};

use headwater_kernel::Touch;
use headwater_kernel::row::Value;

/// Rows by view, in the projection's order; each row as values in the order of the view's columns.
pub type Loaded = Vec<Vec<Vec<Value>>>;

/// Rows of one view to load.
#[derive(Clone, Debug, Default)]
pub struct Need {
    /// Rows with these keys.
    pub keys: HashSet<Value>,
    /// Rows in which the named column has one of these values.
    pub matching: HashMap<&'static str, HashSet<Value>>,
}

impl Need {
    /// Adds the rows that a touch names.
    pub(super) fn add(&mut self, touch: &Touch) {
        match touch {
            Touch::Key(key) => {
                self.keys.insert(key.clone());
            }
            Touch::Where { column, value } => {
                self.matching.entry(column).or_default().insert(value.clone());
            }
        }
    }

    /// Adds what another one names.
    pub fn merge(&mut self, other: Self) {
        self.keys.extend(other.keys);
        for (column, values) in other.matching {
            self.matching.entry(column).or_default().extend(values);
        }
    }
}
