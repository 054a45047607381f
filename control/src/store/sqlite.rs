//! SQLite as the store: the pragmas that make a commit durable, statements, errors in our words.

use std::path::{Path, PathBuf};

use rusqlite::types::{ToSqlOutput, Value as SqlValue, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, ToSql, params_from_iter};
use sealcast_domain::{Error, Read, Row, StoreError, Tx, Value, check_storable};
use sealcast_objects::time::Timestamp;

use super::driver::Driver;
use super::{Kept, OpenError, migrations};

/// Name in the table `meta` of when the store was last written.
const WRITTEN: &str = "written_at";

/// Statements that are kept ready: more than there are.
const STATEMENTS: usize = 512;

/// Opens the database for writing. The pragmas: changes go to a log that is synced at every commit.
fn open(file: &Path) -> Result<Connection, OpenError> {
    let open = || {
        // The library would take it for a new one.
        if std::fs::metadata(file).is_ok_and(|kept| kept.len() == 0) && !has_log(file) {
            return Err("it is empty (if no server has ever run here, remove it)".to_owned());
        }
        // Made by us and not by the library, so that only this user may read it.
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(false);
        super::folder::private(&mut options)
            .open(file)
            .map_err(|error| error.to_string())?;
        let connection = Connection::open(file).map_err(|error| error.to_string())?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
                       PRAGMA temp_store = MEMORY; PRAGMA secure_delete = ON; PRAGMA busy_timeout = 5000; \
                       PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 4096;";
        connection
            .execute_batch(pragmas)
            .map_err(|error| error.to_string())?;
        let intact: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|error| error.to_string())?;
        if intact == "ok" {
            Ok(connection)
        } else {
            Err(intact)
        }
    };
    open().map_err(|why| damaged(file, why))
}

fn damaged(file: &Path, why: String) -> OpenError {
    let place = file.display().to_string();
    OpenError::Damaged { place, why }
}

/// Whether a log lies beside the database that holds what is not in it yet.
fn has_log(file: &Path) -> bool {
    let log = file.with_extension("db-wal");
    std::fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

/// Brings the tables up to date.
fn migrate(connection: &mut Connection, file: &Path) -> Result<(), OpenError> {
    migrations(str::to_owned)
        .and_then(|runner| runner.run(connection))
        .map_err(|error| OpenError::Migration {
            place: file.display().to_string(),
            why: error.to_string(),
        })?;
    Ok(())
}

fn open_reader(file: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).map_err(store_error)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection
        .busy_timeout(std::time::Duration::from_secs(5))
        .map_err(store_error)?;
    Ok(connection)
}

/// Copies a database that may be in use.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let from = open_reader(from).map_err(|error| error.to_string())?;
    let copy = || -> rusqlite::Result<()> {
        // One state for all steps: otherwise every commit of the server would make it begin anew.
        let from = from.unchecked_transaction()?;
        from.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        let mut to = Connection::open(to)?;
        let backup = rusqlite::backup::Backup::new(&from, &mut to)?;
        backup.run_to_completion(1024, std::time::Duration::from_millis(1), None)
    };
    copy().map_err(|error| error.to_string())
}

/// When the store was last written.
fn written(connection: &Connection) -> Result<Option<Timestamp>, String> {
    let mut statement = connection
        .prepare("SELECT value FROM meta WHERE name = ?1")
        .map_err(|error| error.to_string())?;
    let mut rows = statement
        .query_map([WRITTEN], |row| row.get::<_, Vec<u8>>(0))
        .map_err(|error| error.to_string())?;
    let bytes = rows.next().transpose().map_err(|error| error.to_string())?;
    let millis = bytes.and_then(|bytes| bytes.try_into().ok().map(i64::from_be_bytes));
    Ok(millis.map(Timestamp))
}

/// The driver's errors in the store's words.
fn store_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged(error.to_string())
        }
        _ => StoreError::Failed(error.to_string()),
    }
}

struct Param<'a>(&'a Value);

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Value::Null => ToSqlOutput::Owned(SqlValue::Null),
            Value::Int(value) => ToSqlOutput::Owned(SqlValue::Integer(*value)),
            Value::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Value::Blob(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

fn value(value: ValueRef<'_>) -> Result<Value, StoreError> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Int(value),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        ValueRef::Real(_) => return Err(StoreError::Damaged("a fraction".to_owned())),
    })
}

fn query(connection: &Connection, sql: &str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
    check_storable(params)?;
    let mut statement = connection.prepare_cached(sql).map_err(store_error)?;
    let columns = statement.column_count();
    let mut rows = statement
        .query(params_from_iter(params.iter().map(Param)))
        .map_err(store_error)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        let values = (0..columns)
            .map(|column| value(row.get_ref(column).map_err(store_error)?))
            .collect::<Result<_, _>>()?;
        found.push(Row(values));
    }
    Ok(found)
}

/// Reads one state of the database in `file` and changes nothing; a server may be using it.
pub(super) fn peek<T>(
    file: &Path,
    query: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
) -> Result<Result<T, Error>, OpenError> {
    let connection = open_reader(file).map_err(|error| damaged(file, error.to_string()))?;
    Ok(Snapshot::read(&connection, query))
}

/// Connections for readers.
#[derive(Debug)]
pub(super) struct Readers {
    file: PathBuf,
    kept: Kept<Connection>,
}

impl Readers {
    pub(super) fn new(file: PathBuf) -> Self {
        let kept = Kept::default();
        Self { file, kept }
    }

    /// Runs `query` on one state.
    pub(super) fn read<T>(
        &self,
        query: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let connection = self.kept.take();
        let connection = connection.map_or_else(|| open_reader(&self.file), Ok)?;
        let result = Snapshot::read(&connection, query);
        self.kept.give(connection);
        result
    }
}

/// One state of the store, for a reader.
struct Snapshot<'a>(&'a Connection);

impl Snapshot<'_> {
    /// Runs `query` on one state.
    fn read<T>(
        connection: &Connection,
        query: impl FnOnce(&mut dyn Read) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let transaction = connection.unchecked_transaction().map_err(store_error)?;
        let result = query(&mut Snapshot(&transaction));
        transaction.finish().map_err(store_error)?;
        result
    }
}

impl Read for Snapshot<'_> {
    fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        query(self.0, sql, params)
    }
}

/// The writer's connection.
pub(super) struct Sqlite {
    connection: Connection,
    written: Option<Timestamp>,
}

impl Sqlite {
    /// Opens the database in `file`, makes it if there is none, and brings its tables up to date.
    pub(super) fn open(file: &Path) -> Result<Self, OpenError> {
        let mut connection = open(file)?;
        migrate(&mut connection, file)?;
        let written = written(&connection).map_err(|why| damaged(file, why))?;
        Ok(Self {
            connection,
            written,
        })
    }

    fn step(&self, sql: &'static str) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(store_error)?;
        statement.execute([]).map_err(store_error)?;
        Ok(())
    }
}

impl Read for Sqlite {
    fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        query(&self.connection, sql, params)
    }
}

impl Tx for Sqlite {
    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, StoreError> {
        check_storable(params)?;
        let mut statement = self.connection.prepare_cached(sql).map_err(store_error)?;
        let changed = statement
            .execute(params_from_iter(params.iter().map(Param)))
            .map_err(store_error)?;
        Ok(changed as u64)
    }
}

impl Driver for Sqlite {
    fn begin(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.step("BEGIN IMMEDIATE")?;
        let noted = self
            .connection
            .prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")
            .and_then(|mut note| note.execute((WRITTEN, now.0.to_be_bytes())));
        if let Err(error) = noted {
            self.rollback();
            return Err(store_error(error));
        }
        Ok(())
    }

    fn savepoint(&mut self) -> Result<(), StoreError> {
        self.step("SAVEPOINT command")
    }

    fn release(&mut self, good: bool) -> Result<(), StoreError> {
        // A full disk or an IO error may have ended the transaction under the command.
        if self.connection.is_autocommit() {
            return Err(StoreError::Full);
        }
        if !good {
            self.step("ROLLBACK TO command")?;
        }
        self.step("RELEASE command")
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.step("COMMIT")
    }

    fn rollback(&mut self) {
        if !self.connection.is_autocommit() {
            // What cannot be undone now is undone when the file is opened again.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    fn written(&self) -> Option<Timestamp> {
        self.written
    }
}
