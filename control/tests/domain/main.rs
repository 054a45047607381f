//! The business over each database: SQLite, or with `SEALCAST_TEST_POSTGRES` a PostgreSQL server, at a tenth of the size.
#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

mod approvals;
mod audit;
mod authority;
mod billing;
mod catalogue;
mod enrolling;
mod entitlement;
mod identities;
mod key_trees;
mod ledger;
mod licences;
mod model;
mod packagers;
#[path = "../../../tests/support/postgres.rs"]
mod postgres;
mod sales;
mod senders;
mod shares;
mod usage;
mod webhooks;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng as _;
use sealcast_control::store::{self, Driver, Location, Postgres};
use sealcast_domain::{Error, Memo, Read, Result, Row, StoreError, Tx, Value, flush, params};
use sealcast_domain::{accounts, channels, devices, enrolment, rights};
use sealcast_objects::api::{AuthLevel, Channel, KeyMode, Labels, NewDevice, NewRight, Times};
use sealcast_objects::id::Text;
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;
use sealcast_objects::{AccountId, DeviceId};
use tempfile::TempDir;

/// When tests begin.
const T0: Timestamp = Timestamp(1_790_000_000_000);

fn after(ms: i64) -> Timestamp {
    Timestamp(T0.0 + ms)
}

/// So many on SQLite; a tenth on a database server, but one.
fn size(count: usize) -> usize {
    match std::env::var_os("SEALCAST_TEST_POSTGRES") {
        Some(_) => count.div_ceil(10),
        None => count,
    }
}

/// Databases that no test uses now: as nothing is ever committed, they are as new.
static FREE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Where a test's rows are.
enum Place {
    Folder(TempDir),
    Database(String),
}

impl Place {
    fn find() -> Self {
        let Ok(url) = std::env::var("SEALCAST_TEST_POSTGRES") else {
            return Self::Folder(tempfile::tempdir().unwrap());
        };
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Self::Database(free.unwrap_or_else(|| postgres::database(&url)))
    }

    fn open(&self) -> Box<dyn Driver> {
        let opened = match self {
            Self::Folder(folder) => store::driver(folder.path(), &Location::Folder),
            Self::Database(url) => {
                let lease = Some(Duration::from_secs(600));
                let at = Postgres::new(url, None, None, lease).unwrap();
                store::driver("".as_ref(), &Location::Postgres(at))
            }
        };
        opened.unwrap()
    }
}

/// A store of its own; what is done there is never committed.
struct Bench {
    db: Option<Box<dyn Driver>>,
    place: Place,
    memo: Memo,
    rng: ChaCha8Rng,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.db = None;
        if let Place::Database(url) = &self.place {
            let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
            free.push(url.clone());
        }
    }
}

impl Read for Bench {
    fn query(
        &mut self,
        sql: &'static str,
        params: &[Value],
    ) -> std::result::Result<Vec<Row>, StoreError> {
        self.db().query(sql, params)
    }

    fn memo(&mut self) -> Option<&mut Memo> {
        Some(&mut self.memo)
    }
}

impl Tx for Bench {
    fn execute(
        &mut self,
        sql: &'static str,
        params: &[Value],
    ) -> std::result::Result<u64, StoreError> {
        self.db().execute(sql, params)
    }
}

impl Bench {
    fn new(seed: u64) -> Self {
        let place = Place::find();
        let mut db = place.open();
        db.begin(T0).unwrap();
        Self {
            db: Some(db),
            place,
            memo: Memo::default(),
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    fn db(&mut self) -> &mut dyn Driver {
        self.db.as_deref_mut().unwrap()
    }

    /// One command as the writer runs it, alone in a transaction: undone when it fails.
    fn command<T>(&mut self, command: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let result = self.command_of_many(command);
        self.flush();
        result
    }

    /// One command of many in a transaction: what it leaves to be written is not in the tables before [`Self::flush`].
    fn command_of_many<T>(&mut self, command: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.db().savepoint()?;
        self.memo.begin();
        let result = command(self);
        if result.is_err() {
            self.memo.undo();
        }
        self.db().release(result.is_ok())?;
        result
    }

    fn flush(&mut self) {
        flush(self).unwrap();
        self.memo.forget();
    }

    /// A statement that the business has none of.
    fn damage(&mut self, sql: &str, params: &[Value]) {
        let sql: &'static str = Box::leak(sql.to_owned().into_boxed_str());
        self.execute(sql, params).unwrap();
        self.memo.forget();
    }

    /// From here on rows may be what the tables forbid.
    fn forbid_nothing(&mut self) {
        match self.place {
            Place::Folder(_) => {
                self.damage("PRAGMA defer_foreign_keys = ON", &[]);
                self.damage("PRAGMA ignore_check_constraints = ON", &[]);
            }
            Place::Database(_) => {
                self.damage("SET LOCAL session_replication_role = replica", &[]);
                for check in ["book_check", "book_check1"] {
                    self.damage(&format!("ALTER TABLE book DROP CONSTRAINT {check}"), &[]);
                }
            }
        }
    }

    /// A device that has not enrolled, with an account of its own or in `account`.
    fn device(&mut self, account: Option<AccountId>) -> DeviceId {
        let new = NewDevice {
            account: account.map(Text),
            name: "set-top box".to_owned(),
            labels: Labels::default(),
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
        auth_level: AuthLevel::default(),
        key_block_permille: 0,
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
