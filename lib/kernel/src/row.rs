//! Rows of views: typed in the domain, values in the engine that stores them.

use time::OffsetDateTime;
use uuid::Uuid;

/// A value of one column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// `boolean`.
    Bool(bool),
    /// `bigint`.
    I64(i64),
    /// `text`.
    Text(String),
    /// `uuid`.
    Uuid(Uuid),
    /// `timestamptz`, to the microsecond.
    Time(OffsetDateTime),
}

/// Type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// `boolean`.
    Bool,
    /// `bigint`.
    I64,
    /// `text`.
    Text,
    /// `uuid`.
    Uuid,
    /// `timestamptz`.
    Time,
}

/// A column of a view's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its SQL name.
    pub name: &'static str,
    /// Its type.
    pub kind: ColumnType,
    /// Whether it may be NULL.
    pub nullable: bool,
}

/// A Rust type that a column can hold.
pub trait ColumnValue: Sized {
    /// The column's type.
    const KIND: ColumnType;
    /// Whether the column may be NULL.
    const NULLABLE: bool = false;
    /// To the engine.
    fn into_value(self) -> Value;
    /// From the engine; `None` if the value is of another type.
    fn from_value(value: Value) -> Option<Self>;
}

/// A row of a view, made by the [`row!`](crate::row!) macro. The first column is its key.
pub trait Row: Clone + Send + Sync + PartialEq + 'static {
    /// The columns in order, the key first.
    const COLUMNS: &'static [Column];
    /// The row as values, in the order of the columns.
    fn into_values(self) -> Vec<Value>;
    /// The row of these values; `None` if they do not fit the columns.
    fn from_values(values: Vec<Value>) -> Option<Self>;
    /// The value of the key column.
    fn key(&self) -> Value;
}

macro_rules! column_value {
    ($($rust:ty => $variant:ident),*) => {$(
        impl ColumnValue for $rust {
            const KIND: ColumnType = ColumnType::$variant;
            fn into_value(self) -> Value {
                Value::$variant(self)
            }
            fn from_value(value: Value) -> Option<Self> {
                if let Value::$variant(inner) = value { Some(inner) } else { None }
            }
        }
        impl From<$rust> for Value {
            fn from(value: $rust) -> Value {
                Value::$variant(value)
            }
        }
    )*};
}
column_value!(bool => Bool, i64 => I64, String => Text, Uuid => Uuid, OffsetDateTime => Time);

impl<T: ColumnValue> ColumnValue for Option<T> {
    const KIND: ColumnType = T::KIND;
    const NULLABLE: bool = true;
    fn into_value(self) -> Value {
        self.map_or(Value::Null, T::into_value)
    }
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

/// Defines a struct as a [`Row`]: its fields are the columns, the first one the key.
#[macro_export]
macro_rules! row {
    ($(#[$meta:meta])* $vis:vis struct $row:ident {
        $(#[$key_meta:meta])* $key_vis:vis $key:ident: $key_type:ty,
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $row {
            $(#[$key_meta])* $key_vis $key: $key_type,
            $($(#[$field_meta])* $field_vis $field: $type,)*
        }

        impl $crate::row::Row for $row {
            const COLUMNS: &'static [$crate::row::Column] = &[
                $crate::row::Column {
                    name: stringify!($key),
                    kind: <$key_type as $crate::row::ColumnValue>::KIND,
                    nullable: false,
                },
                $($crate::row::Column {
                    name: stringify!($field),
                    kind: <$type as $crate::row::ColumnValue>::KIND,
                    nullable: <$type as $crate::row::ColumnValue>::NULLABLE,
                },)*
            ];

            fn into_values(self) -> Vec<$crate::row::Value> {
                vec![
                    $crate::row::ColumnValue::into_value(self.$key),
                    $($crate::row::ColumnValue::into_value(self.$field),)*
                ]
            }

            fn from_values(values: Vec<$crate::row::Value>) -> Option<Self> {
                let mut values = values.into_iter();
                let row = Self {
                    $key: $crate::row::ColumnValue::from_value(values.next()?)?,
                    $($field: $crate::row::ColumnValue::from_value(values.next()?)?,)*
                };
                values.next().is_none().then_some(row)
            }

            fn key(&self) -> $crate::row::Value {
                $crate::row::ColumnValue::into_value(self.$key.clone())
            }
        }
    };
}
