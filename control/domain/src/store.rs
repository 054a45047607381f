//! What a store driver offers to the business.

use crate::Memo;

/// Why the store could not do something. Whatever was under way is undone.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// No room: nothing was written, everything written before is safe.
    #[error("the disk of the store is full: make room; nothing was changed")]
    Full,
    /// More commands wait than can be worked on soon.
    #[error("too many commands wait for the store: nothing was changed; try again")]
    Busy,
    /// Rows that cannot be: another program wrote them, or the file is damaged.
    #[error("the store holds what cannot be ({0}): restore a backup")]
    Damaged(String),
    /// The database does not answer: nothing was changed.
    #[error(
        "the database of the store does not answer ({0}): nothing was changed; it is tried again at the next command"
    )]
    Away(String),
    /// The connection broke at the commit and the server stops before it could be asked how that ended.
    #[error(
        "the database of the store went away at the commit: whether it was done is not known; ask again with the same id or Idempotency-Key"
    )]
    Unknown,
    /// Another server writes here since; this one never will again.
    #[error("another server has taken over the store: this one is to be stopped; ask the other")]
    TakenOver,
    /// A text that no store keeps: one of them would cut it, the other one refuses it.
    #[error("a text with the character U+0000 cannot be kept: leave it out")]
    NoText,
    /// Anything else, in the driver's words.
    #[error("the store failed: {0}")]
    Failed(String),
    /// The writer has stopped.
    #[error("the store is closed")]
    Closed,
}

/// One value of a row, or one argument.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// Nothing.
    Null,
    /// A number; 64 bits without sign stand as their two's complement.
    Int(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

macro_rules! value_from {
    ($($from:ty => $to:expr),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                $to(value)
            }
        }
    )*};
}
value_from! {
    i64 => Self::Int,
    u16 => |value| Self::Int(i64::from(value)),
    u32 => |value| Self::Int(i64::from(value)),
    u64 => |value: u64| Self::Int(value.cast_signed()),
    bool => |value| Self::Int(i64::from(value)),
    &str => |value: &str| Self::Text(value.to_owned()),
    String => Self::Text,
    Vec<u8> => Self::Blob,
    &[u8] => |value: &[u8]| Self::Blob(value.to_vec()),
    [u8; 16] => |value: [u8; 16]| Self::Blob(value.to_vec()),
    [u8; 32] => |value: [u8; 32]| Self::Blob(value.to_vec()),
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Whether every driver keeps these as they are.
///
/// # Errors
/// [`StoreError::NoText`].
pub fn check_storable(params: &[Value]) -> Result<(), StoreError> {
    let bad = |value: &Value| matches!(value, Value::Text(text) if text.contains('\0'));
    if params.iter().any(bad) {
        return Err(StoreError::NoText);
    }
    Ok(())
}

/// Arguments of a statement, `$1` first.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::Value::from($value)),*] };
}

/// One row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row(pub Vec<Value>);

/// What can be read out of a [`Value`].
pub trait FromValue: Sized {
    /// The value as this type, if it is one.
    fn from_value(value: &Value) -> Option<Self>;
}

impl FromValue for i64 {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }
}

impl FromValue for u64 {
    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value).map(i64::cast_unsigned)
    }
}

impl FromValue for u32 {
    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value)?.try_into().ok()
    }
}

impl FromValue for u16 {
    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value)?.try_into().ok()
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Int(0) => Some(false),
            Value::Int(1) => Some(true),
            _ => None,
        }
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Blob(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }
}

impl<const N: usize> FromValue for [u8; N] {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Blob(bytes) => bytes.as_slice().try_into().ok(),
            _ => None,
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

impl Row {
    /// Column `index` as `T`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it is none.
    pub fn get<T: FromValue>(&self, index: usize) -> Result<T, StoreError> {
        self.0.get(index).and_then(T::from_value).ok_or_else(|| {
            StoreError::Damaged(format!("column {index} of {} values", self.0.len()))
        })
    }
}

/// What `read` makes of each row.
pub(crate) fn read_rows<T>(
    rows: &[Row],
    read: impl Fn(&Row) -> Result<T, StoreError>,
) -> crate::Result<Vec<T>> {
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// Reads one state of the store.
pub trait Read {
    /// All rows of a query. Arguments are numbered as they first appear; one that may be nothing appears first where its type is plain
    /// (`account = $5 OR $5 IS NULL`).
    ///
    /// # Errors
    /// The driver's.
    fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, StoreError>;

    /// What the transaction knows, if it is one that keeps that.
    fn memo(&mut self) -> Option<&mut Memo> {
        None
    }

    /// The first row, if there is one.
    ///
    /// # Errors
    /// The driver's.
    fn first(&mut self, sql: &'static str, params: &[Value]) -> Result<Option<Row>, StoreError> {
        Ok(self.query(sql, params)?.into_iter().next())
    }
}

/// A transaction.
pub trait Tx: Read {
    /// Changes rows; returns how many.
    ///
    /// # Errors
    /// The driver's; the whole command is undone.
    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, StoreError>;
}
