//! A connection: statements that are prepared once, values, errors in our words.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;

use ::postgres::error::SqlState;
use ::postgres::types::private::BytesMut;
use ::postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use ::postgres::{Client, Row as SqlRow, Statement};
use sealcast_domain::{Error, Read, Row, StoreError, Tx, Value, check_storable};

use super::Postgres;
use crate::causes::{behind, causes};

/// A connection.
pub(super) struct Session {
    pub(super) client: Client,
    prepared: HashMap<&'static str, Statement>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session(..)")
    }
}

impl Session {
    pub(super) fn connect(at: &Postgres) -> Result<Self, StoreError> {
        let mut client = at.connect().map_err(|error| store_error(&error))?;
        // A commit that is not on the disk is none, whatever the server's configuration says.
        // And every question has an index: one that was planned while a table was small would read all of it for ever after.
        client
            .batch_execute(
                "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'; \
                 SET enable_seqscan = off",
            )
            .map_err(|error| store_error(&error))?;
        let prepared = HashMap::new();
        Ok(Self { client, prepared })
    }

    /// Statements without arguments.
    pub(super) fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        self.client
            .batch_execute(sql)
            .map_err(|error| store_error(&error))
    }

    fn prepared(&mut self, sql: &'static str, params: &[Value]) -> Result<Statement, StoreError> {
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement.clone());
        }
        let types: Vec<_> = params.iter().map(type_of).collect();
        let statement = self
            .client
            .prepare_typed(sql, &types)
            .map_err(|error| store_error(&error))?;
        self.prepared.insert(sql, statement.clone());
        Ok(statement)
    }
}

impl Read for Session {
    fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        check_storable(params)?;
        let statement = self.prepared(sql, params)?;
        let params: Vec<_> = params.iter().map(Param).collect();
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param as _).collect();
        let rows = self
            .client
            .query(&statement, &params)
            .map_err(|error| store_error(&error))?;
        rows.iter().map(row).collect()
    }
}

impl Tx for Session {
    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, StoreError> {
        check_storable(params)?;
        let statement = self.prepared(sql, params)?;
        let params: Vec<_> = params.iter().map(Param).collect();
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param as _).collect();
        self.client
            .execute(&statement, &params)
            .map_err(|error| store_error(&error))
    }
}

/// One state of the database, for a reader.
pub(super) struct Snapshot<'a>(&'a mut Session);

impl<'a> Snapshot<'a> {
    pub(super) fn begin(session: &'a mut Session) -> Result<Self, StoreError> {
        session.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        Ok(Self(session))
    }

    /// Runs `query` on it.
    pub(super) fn read<T>(
        self,
        query: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let result = query(self.0);
        // A connection that is broken is noticed when it is used next.
        let _ = self.0.batch("ROLLBACK");
        result
    }
}

/// What an argument is declared as; the server finds out what nothing would be.
fn type_of(value: &Value) -> Type {
    match value {
        Value::Null => Type::UNKNOWN,
        Value::Int(_) => Type::INT8,
        Value::Text(_) => Type::TEXT,
        Value::Blob(_) => Type::BYTEA,
    }
}

#[derive(Debug)]
struct Param<'a>(&'a Value);

impl ToSql for Param<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self.0 {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(value) if *ty == Type::INT4 => i32::try_from(*value)?.to_sql(ty, out),
            Value::Int(value) => value.to_sql_checked(ty, out),
            Value::Text(text) => text.to_sql_checked(ty, out),
            Value::Blob(bytes) => bytes.to_sql_checked(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn row(row: &SqlRow) -> Result<Row, StoreError> {
    let values = row.columns().iter().enumerate().map(|(index, column)| {
        let ty = column.type_();
        let value = if *ty == Type::INT8 {
            row.try_get::<_, Option<i64>>(index).map(Value::from)
        } else if *ty == Type::INT4 {
            let value = row.try_get::<_, Option<i32>>(index);
            value.map(|value| value.map(i64::from).into())
        } else if *ty == Type::TEXT {
            row.try_get::<_, Option<String>>(index).map(Value::from)
        } else if *ty == Type::BYTEA {
            row.try_get::<_, Option<Vec<u8>>>(index).map(Value::from)
        } else {
            return Err(StoreError::Damaged(format!("a value of type {ty}")));
        };
        value.map_err(|error| StoreError::Damaged(causes(&error)))
    });
    Ok(Row(values.collect::<Result<_, _>>()?))
}

/// The driver's errors in the store's words.
pub(super) fn store_error(error: &::postgres::Error) -> StoreError {
    let words = causes(error);
    let Some(state) = error.code() else {
        // What no server said, the network did; or an argument that does not fit, which is told apart by its words only.
        return if error.is_closed() || is_io(error) {
            StoreError::Away(words)
        } else {
            StoreError::Failed(words)
        };
    };
    if *state == SqlState::DISK_FULL {
        StoreError::Full
    } else if [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED].contains(state) {
        StoreError::Damaged(words)
    } else if is_away(state) {
        StoreError::Away(words)
    } else {
        StoreError::Failed(words)
    }
}

/// Whether an error of the network lies under it, or it is one of connecting.
fn is_io(error: &::postgres::Error) -> bool {
    behind(error).any(|cause| cause.is::<std::io::Error>()) || error.to_string().contains("connect")
}

/// Whether the server says that it is stopping, starting, or no place to write.
fn is_away(state: &SqlState) -> bool {
    // Class 08: exceptions of connections. 57P: an operator's intervention.
    let code = state.code();
    code.starts_with("08")
        || code.starts_with("57P")
        || [
            SqlState::TOO_MANY_CONNECTIONS,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            SqlState::READ_ONLY_SQL_TRANSACTION,
        ]
        .contains(state)
}
