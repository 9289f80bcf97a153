//! What a client asks of a view's lists.

use headwater_kernel::row::Value;
use uuid::Uuid;

/// Values that columns must have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filters(Vec<(&'static str, Value)>);

impl Filters {
    /// All rows.
    pub fn none() -> Self {
        Self::default()
    }

    /// Those in which the column has this value; without one, no filter is added.
    #[must_use]
    pub fn with(mut self, column: &'static str, value: Option<impl Into<Value>>) -> Self {
        self.0.extend(value.map(|value| (column, value.into())));
        self
    }

    /// The value of a column, if it is filtered by one.
    pub(super) fn get(&self, column: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| *name == column).map(|(_, value)| value)
    }

    /// True if these are the columns that are filtered by.
    pub(super) fn are_by(&self, columns: &[&str]) -> bool {
        columns.len() == self.0.len() && columns.iter().all(|column| self.get(column).is_some())
    }
}

/// A list of a view, and what it is filtered by.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    pub(super) order: &'static str,
    pub(super) filters: Filters,
}

impl Listing {
    /// The list that is ordered by this column.
    pub fn by(order: &'static str, filters: Filters) -> Self {
        Self { order, filters }
    }
}

/// What is watched of a view.
#[derive(Clone, Debug, PartialEq)]
pub enum Watched {
    /// The row with this key.
    Row(Uuid),
    /// The rows that pass the filters.
    Rows(Filters),
}
