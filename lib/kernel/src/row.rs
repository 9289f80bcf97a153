//! Rows of views: typed in the domain, values in the engine that stores them.

use std::fmt;

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

/// The value as text: unique among the values of one type, and empty for NULL.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Bool(value) => value.fmt(f),
            Self::I64(value) => value.fmt(f),
            Self::Text(value) => f.write_str(value),
            Self::Uuid(value) => value.fmt(f),
            Self::Time(value) => (value.unix_timestamp_nanos() / 1_000).fmt(f),
        }
    }
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
    /// The SQL name.
    pub name: &'static str,
    /// The type.
    pub kind: ColumnType,
    /// True if it may be NULL.
    pub nullable: bool,
}

/// A Rust type that a column can hold.
pub trait ColumnValue: Sized {
    /// The column's type.
    const KIND: ColumnType;
    /// True if the column may be NULL.
    const NULLABLE: bool = false;
    /// To the engine.
    fn into_value(self) -> Value;
    /// From the engine; `None` if the value is of another type.
    fn from_value(value: Value) -> Option<Self>;
    /// Takes the next column of a stored row.
    ///
    /// # Errors
    /// The source's, for a column of another type or an unexpected NULL.
    fn read<S: ColumnSource>(source: &mut S) -> Result<Self, S::Error> {
        Self::read_nullable(source)?.ok_or_else(|| source.unexpected_null())
    }
    /// Takes the next column, which may be NULL.
    ///
    /// # Errors
    /// The source's, for a column of another type.
    fn read_nullable<S: ColumnSource>(source: &mut S) -> Result<Option<Self>, S::Error>;
}

/// The columns of a stored row, taken one after the other.
pub trait ColumnSource {
    /// Reason why a column cannot be taken.
    type Error;
    /// The next column, a `boolean`.
    ///
    /// # Errors
    /// There is none, or it is of another type; likewise below.
    fn bool(&mut self) -> Result<Option<bool>, Self::Error>;
    /// The next column, a `bigint`.
    ///
    /// # Errors
    /// As [`ColumnSource::bool`].
    fn i64(&mut self) -> Result<Option<i64>, Self::Error>;
    /// The next column, a `text`.
    ///
    /// # Errors
    /// As [`ColumnSource::bool`].
    fn text(&mut self) -> Result<Option<String>, Self::Error>;
    /// The next column, a `uuid`.
    ///
    /// # Errors
    /// As [`ColumnSource::bool`].
    fn uuid(&mut self) -> Result<Option<Uuid>, Self::Error>;
    /// The next column, a `timestamptz`.
    ///
    /// # Errors
    /// As [`ColumnSource::bool`].
    fn time(&mut self) -> Result<Option<OffsetDateTime>, Self::Error>;
    /// The error for a NULL in a column that has none.
    fn unexpected_null(&self) -> Self::Error;
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
    /// The row whose columns come next.
    ///
    /// # Errors
    /// The source's, if they are not of these types.
    fn read<S: ColumnSource>(source: &mut S) -> Result<Self, S::Error>;
}

macro_rules! column_value {
    ($($rust:ty => $variant:ident by $take:ident),*) => {$(
        impl ColumnValue for $rust {
            const KIND: ColumnType = ColumnType::$variant;
            fn into_value(self) -> Value {
                Value::$variant(self)
            }
            fn from_value(value: Value) -> Option<Self> {
                if let Value::$variant(inner) = value { Some(inner) } else { None }
            }
            fn read_nullable<S: ColumnSource>(source: &mut S) -> Result<Option<Self>, S::Error> {
                source.$take()
            }
        }
        impl From<$rust> for Value {
            fn from(value: $rust) -> Value {
                Value::$variant(value)
            }
        }
    )*};
}
column_value!(
    bool => Bool by bool,
    i64 => I64 by i64,
    String => Text by text,
    Uuid => Uuid by uuid,
    OffsetDateTime => Time by time
);

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

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
    fn read<S: ColumnSource>(source: &mut S) -> Result<Self, S::Error> {
        T::read_nullable(source)
    }
    fn read_nullable<S: ColumnSource>(source: &mut S) -> Result<Option<Self>, S::Error> {
        T::read_nullable(source).map(Some)
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

            fn read<S: $crate::row::ColumnSource>(source: &mut S) -> Result<Self, S::Error> {
                Ok(Self {
                    $key: $crate::row::ColumnValue::read(source)?,
                    $($field: $crate::row::ColumnValue::read(source)?,)*
                })
            }
        }
    };
}
