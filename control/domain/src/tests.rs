//! The business over a database in memory.

mod audit;
mod authority;
mod enrolling;
mod entitlement;
mod ledger;
mod model;
mod packagers;
mod senders;
mod usage;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng as _;
use rusqlite::types::Value as SqlValue;
use rusqlite::{Connection, params_from_iter};
use sealcast_objects::api::{Channel, KeyMode, NewDevice, NewRight, Times};
use sealcast_objects::id::Text;
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, DeviceId};

use crate::schema::MIGRATIONS;
use crate::{Error, Read, Result, Row, StoreError, Tx, Value};
use crate::{accounts, channels, devices, enrolment, rights};

/// When tests begin.
const T0: Timestamp = Timestamp(1_790_000_000_000);

fn after(ms: i64) -> Timestamp {
    Timestamp(T0.0 + ms)
}

/// A store of its own, in memory.
struct Bench {
    db: Connection,
    rng: ChaCha8Rng,
}

fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::Failed(error.to_string())
}

fn to_sql(params: &[Value]) -> impl Iterator<Item = SqlValue> {
    params.iter().map(|value| match value.clone() {
        Value::Null => SqlValue::Null,
        Value::Int(value) => SqlValue::Integer(value),
        Value::Text(value) => SqlValue::Text(value),
        Value::Blob(value) => SqlValue::Blob(value),
    })
}

impl Read for Bench {
    fn query(
        &mut self,
        sql: &'static str,
        params: &[Value],
    ) -> std::result::Result<Vec<Row>, StoreError> {
        let mut statement = self.db.prepare_cached(sql).map_err(failed)?;
        let columns = statement.column_count();
        let rows = statement.query_map(params_from_iter(to_sql(params)), |row| {
            let value = |column| {
                Ok(match row.get(column)? {
                    SqlValue::Null => Value::Null,
                    SqlValue::Integer(value) => Value::Int(value),
                    SqlValue::Text(value) => Value::Text(value),
                    SqlValue::Blob(value) => Value::Blob(value),
                    SqlValue::Real(value) => unreachable!("{value}"),
                })
            };
            (0..columns).map(value).collect::<rusqlite::Result<_>>()
        });
        let rows: rusqlite::Result<Vec<_>> = rows.map_err(failed)?.collect();
        Ok(rows.map_err(failed)?.into_iter().map(Row).collect())
    }
}

impl Tx for Bench {
    fn execute(
        &mut self,
        sql: &'static str,
        params: &[Value],
    ) -> std::result::Result<u64, StoreError> {
        let mut statement = self.db.prepare_cached(sql).map_err(failed)?;
        let changed = statement.execute(params_from_iter(to_sql(params)));
        Ok(changed.map_err(failed)? as u64)
    }
}

impl Bench {
    fn new(seed: u64) -> Self {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("PRAGMA foreign_keys = ON").unwrap();
        db.set_prepared_statement_cache_capacity(128);
        for step in MIGRATIONS {
            db.execute_batch(step.sql).unwrap();
        }
        Self {
            db,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// One command as a driver runs it: undone when it fails.
    fn command<T>(&mut self, command: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.db.execute_batch("SAVEPOINT command").map_err(failed)?;
        let result = command(self);
        let end = match result {
            Ok(_) => "RELEASE command",
            Err(_) => "ROLLBACK TO command; RELEASE command",
        };
        self.db.execute_batch(end).map_err(failed)?;
        result
    }

    /// A device that has not enrolled, with an account of its own or in `account`.
    fn device(&mut self, account: Option<AccountId>) -> DeviceId {
        let new = NewDevice {
            account: account.map(Text),
            name: "set-top box".to_owned(),
        };
        self.command(|tx| {
            let mut rng = tx.rng.clone();
            let made = devices::add(tx, T0, &new, &mut rng);
            tx.rng = rng;
            made
        })
        .unwrap()
    }

    /// A device that has enrolled with a key of its own, and its account.
    fn enrolled_device(&mut self, key: &[u8]) -> (DeviceId, AccountId) {
        let device = self.device(None);
        self.enrol(device, key);
        (device, self.account_of(device))
    }

    fn enrol(&mut self, device: DeviceId, key: &[u8]) {
        let hash = sealcast_objects::code::sha256(key);
        let subject = Text(device).to_string();
        let until = T0.after(enrolment::CODE_LIFE);
        let role = sealcast_objects::api::Role::Device;
        enrolment::add(self, hash, role, &subject, until).unwrap();
        let admitted = enrolment::admit(self, T0, hash, key).unwrap();
        enrolment::enrolled(self, T0, hash, &admitted, key, "certificate").unwrap();
    }

    fn account_of(&mut self, device: DeviceId) -> AccountId {
        devices::get(self, device).unwrap().account.0
    }

    fn channel(&mut self, id: u16) {
        channels::add(self, &channel(id)).unwrap();
    }

    /// A right for good, from now on.
    fn right(&mut self, device: DeviceId, channel: u16) -> accounts::Floor {
        self.period(device, channel, None, None)
    }

    fn period(
        &mut self,
        device: DeviceId,
        channel: u16,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> accounts::Floor {
        rights::put(self, T0, &new_right(device, channel, from, until)).unwrap()
    }

    fn version(&mut self, account: AccountId) -> u64 {
        accounts::get(self, account).unwrap().rights_version
    }
}

fn new_right(
    device: DeviceId,
    channel: u16,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
) -> NewRight {
    NewRight {
        device: Text(device),
        channel,
        from,
        until,
    }
}

const TIMES: Times = Times {
    lifetime_ms: 60_000,
    prepare_ahead_ms: 30_000,
    fetch_ahead_ms: 15_000,
    grace_ms: 2_000,
    hold_max_lifetimes: 10,
};

fn channel(id: u16) -> Channel {
    Channel {
        id,
        name: format!("channel {id}"),
        mode: KeyMode::Authority,
        times: TIMES,
    }
}

/// The kind of refusal, and its words.
#[track_caller]
fn refusal<T>(result: Result<T>) -> (Kind, String) {
    match result {
        Err(Error::Refused(problem)) => (problem.kind, problem.detail),
        Err(Error::Store(error)) => unreachable!("the store failed: {error}"),
        Ok(_) => unreachable!("it was not refused"),
    }
}

/// It is refused with this kind.
#[track_caller]
fn refused<T>(kind: Kind, result: Result<T>) -> String {
    let (is, detail) = refusal(result);
    assert_eq!(is, kind, "{detail}");
    detail
}
