//! The writer on PostgreSQL. Of all servers on a database one writes: the one whose generation stands in the only row of `writer`.
//!
//! Each of its transactions begins with a change of that row. So a former writer, whatever it still believes, changes nothing; and a
//! connection that breaks at a commit leaves the answer in the row. A writer that has nothing to write changes the row all the same, a few
//! times in each lease. Another server takes over when it has seen no change for a lease and a little, by its own clock; only then may the
//! former one be without power, never before.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use ::postgres::SimpleQueryMessage;
use sealcast_domain::{Read, Row, StoreError, Tx, Value, params};
use sealcast_objects::time::Timestamp;

use super::super::driver::Driver;
use super::super::writer::Closing;
use super::super::{OpenError, migrations};
use super::place::Postgres;
use super::session::{Session, store_error};

/// Pause before the database is asked again how a commit ended.
const PAUSE: Duration = Duration::from_millis(200);

/// The only row: who writes, how often it has, when last, and how long it leads after that. `free`: it has stopped in order.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS writer (id BIGINT PRIMARY KEY CHECK (id = 1), generation BIGINT NOT NULL, \
    beat BIGINT NOT NULL, written_at BIGINT, lease_ms BIGINT NOT NULL, free BIGINT NOT NULL, who TEXT NOT NULL); \
    INSERT INTO writer VALUES (1, 0, 0, NULL, 0, 1, '') ON CONFLICT DO NOTHING";

/// A row of `writer`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    generation: i64,
    beat: i64,
    written_at: Option<i64>,
    lease_ms: u64,
    free: bool,
    who: String,
}

impl Seen {
    fn read(session: &mut Session, sql: &'static str) -> Result<Self, StoreError> {
        let missing = || StoreError::Damaged("the table writer has no row".to_owned());
        let row = session.first(sql, &[])?.ok_or_else(missing)?;
        Ok(Self {
            generation: row.get(0)?,
            beat: row.get(1)?,
            written_at: row.get(2)?,
            lease_ms: row.get(3)?,
            free: row.get(4)?,
            who: row.get(5)?,
        })
    }

    fn look(session: &mut Session) -> Result<Self, StoreError> {
        let sql =
            "SELECT generation, beat, written_at, lease_ms, free, who FROM writer WHERE id = 1";
        Self::read(session, sql)
    }

    /// As [`Seen::look`], after every transaction that has changed it and is not ended yet.
    fn wait(session: &mut Session) -> Result<Self, StoreError> {
        let sql = "SELECT generation, beat, written_at, lease_ms, free, who FROM writer WHERE id = 1 FOR UPDATE";
        Self::read(session, sql)
    }

    /// For how long it must have been seen unchanged before another may lead: the lease, and a tenth for clocks that run differently.
    fn silence(&self) -> Duration {
        let lease = Duration::from_millis(self.lease_ms);
        if self.free {
            Duration::ZERO
        } else {
            lease + lease / 10
        }
    }
}

/// The connection of the server that writes.
pub(in super::super) struct Leader {
    at: Postgres,
    session: Option<Session>,
    closing: Closing,
    generation: i64,
    /// The beat of the transaction that is open or was last.
    beat: i64,
    open: bool,
    /// The savepoint of a good command is released with the next statement: that saves a way to the server and back.
    release: bool,
    written: Option<Timestamp>,
}

impl Leader {
    /// Connects, waits until this server may write, and brings the tables up to date.
    pub(in super::super) fn open(at: Postgres, closing: Closing) -> Result<Self, OpenError> {
        let away = |error: StoreError| at.away(&error);
        let mut session = Session::connect(&at).map_err(away)?;
        let taken = prepare(&mut session).and_then(|()| take(&mut session, &at, &closing));
        let before = taken.map_err(away)?;
        migrations(translate)
            .and_then(|runner| runner.run(&mut session.client))
            .map_err(|error| OpenError::Migration {
                place: at.place(),
                why: error.to_string(),
            })?;
        Ok(Self {
            generation: before.generation + 1,
            beat: before.beat + 1,
            written: before.written_at.map(Timestamp),
            session: Some(session),
            open: false,
            release: false,
            at,
            closing,
        })
    }

    fn session(&mut self) -> Result<&mut Session, StoreError> {
        self.session
            .as_mut()
            .ok_or_else(|| StoreError::Away("there is no connection".to_owned()))
    }

    /// The connection, made anew if it broke.
    fn connected(&mut self) -> Result<&mut Session, StoreError> {
        if self
            .session
            .as_ref()
            .is_none_or(|session| session.client.is_closed())
        {
            self.session = None;
            self.session = Some(Session::connect(&self.at)?);
        }
        self.session()
    }

    /// Begins a transaction as the one that writes; its beat.
    fn fenced(&mut self, now: Timestamp) -> Result<i64, StoreError> {
        let generation = self.generation;
        let sql = format!(
            "BEGIN; UPDATE writer SET beat = beat + 1, written_at = {} WHERE id = 1 AND generation = {generation} RETURNING beat",
            now.0
        );
        let answer = self
            .connected()?
            .client
            .simple_query(&sql)
            .map_err(|error| store_error(&error))?;
        let beat = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        });
        beat.ok_or(StoreError::TakenOver)
    }

    /// How the transaction ended whose commit got no answer.
    fn ended(&mut self) -> Result<(), StoreError> {
        let (generation, beat) = (self.generation, self.beat);
        loop {
            let seen = self.connected().and_then(|session| {
                session.batch("BEGIN")?;
                let seen = Seen::wait(session)?;
                session.batch("ROLLBACK")?;
                Ok(seen)
            });
            match seen {
                Ok(seen) if seen.beat == beat && seen.generation == generation => return Ok(()),
                Ok(seen) if seen.generation == generation => {
                    return Err(StoreError::Away(
                        "it went away before the commit".to_owned(),
                    ));
                }
                // Who took over has changed the row, too.
                Ok(_) => return Err(StoreError::Unknown),
                Err(error) => {
                    tracing::warn!(%error, "it is not known how a commit ended; the database is asked again");
                }
            }
            if self.closing.load(Ordering::Relaxed) {
                return Err(StoreError::Unknown);
            }
            self.session = None;
            thread::sleep(PAUSE);
        }
    }
}

/// Makes the row if there is none.
fn prepare(session: &mut Session) -> Result<(), StoreError> {
    // Two servers that start on an empty database at once get in each other's way once.
    session.batch(TABLE).or_else(|_| session.batch(TABLE))
}

/// Waits until this server may write, and says so in the row, which is returned as it was before. A database that goes away meanwhile is
/// waited for: whoever writes to it may be back before it is.
fn take(session: &mut Session, at: &Postgres, closing: &Closing) -> Result<Seen, StoreError> {
    let mut watch = Watch {
        seen: Seen::look(session)?,
        since: Instant::now(),
    };
    let (mut told, mut away) = (false, false);
    loop {
        match watch.step(session, at) {
            Ok(Some(before)) => return Ok(before),
            Ok(None) => away = false,
            Err(StoreError::Away(why)) => {
                if !std::mem::replace(&mut away, true) {
                    tracing::warn!(why, "standing by: the database is away, and is waited for");
                }
                watch.since = Instant::now();
                if let Ok(anew) = Session::connect(at) {
                    *session = anew;
                }
            }
            Err(error) => return Err(error),
        }
        if closing.load(Ordering::Relaxed) {
            return Err(StoreError::Closed);
        }
        if !told && !watch.seen.free {
            told = true;
            tracing::info!(
                writer = watch.seen.who,
                lease_ms = watch.seen.lease_ms,
                "another server writes to this store: standing by"
            );
        }
        thread::sleep(watch.seen.silence().min(at.lease()) / 10);
    }
}

/// The row as it was seen, and since when it has not changed.
struct Watch {
    seen: Seen,
    since: Instant,
}

impl Watch {
    /// Takes the row if it has been silent for long enough; then it is returned as it was.
    fn step(&mut self, session: &mut Session, at: &Postgres) -> Result<Option<Seen>, StoreError> {
        let now = Seen::look(session)?;
        if now != self.seen {
            (self.seen, self.since) = (now, Instant::now());
        }
        if self.since.elapsed() < self.seen.silence() {
            return Ok(None);
        }
        let lease_ms = u64::try_from(at.lease().as_millis()).unwrap_or(u64::MAX);
        let taken = session.execute(
            "UPDATE writer SET generation = generation + 1, beat = beat + 1, lease_ms = $1, free = 0, who = $2 \
             WHERE id = 1 AND generation = $3 AND beat = $4",
            params![lease_ms, who(), self.seen.generation, self.seen.beat],
        )?;
        Ok((taken == 1).then(|| self.seen.clone()))
    }
}

/// This process, for people.
fn who() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{} (process {})", host.trim(), std::process::id())
}

/// The tables' words as PostgreSQL has them. Texts are ordered by their bytes, as everywhere else.
fn translate(sql: &str) -> String {
    let mut words = String::with_capacity(sql.len() + sql.len() / 4);
    let sql = sql.replace("STRICT, WITHOUT ROWID", "STRICT");
    for word in sql.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
        let name = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.push_str(match name {
            "INTEGER" => "BIGINT",
            "BLOB" => "BYTEA",
            "TEXT" => "TEXT COLLATE \"C\"",
            "STRICT" => "",
            other => other,
        });
        words.push_str(&word[name.len()..]);
    }
    words
}

impl Read for Leader {
    fn query(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        self.session()?.query(sql, params)
    }
}

impl Tx for Leader {
    fn execute(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, StoreError> {
        self.session()?.execute(sql, params)
    }
}

impl Driver for Leader {
    fn begin(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.open = true;
        self.release = false;
        self.beat = self.fenced(now)?;
        Ok(())
    }

    fn savepoint(&mut self) -> Result<(), StoreError> {
        let released = std::mem::take(&mut self.release);
        self.session()?.batch(if released {
            "RELEASE SAVEPOINT command; SAVEPOINT command"
        } else {
            "SAVEPOINT command"
        })
    }

    fn release(&mut self, good: bool) -> Result<(), StoreError> {
        self.release = good;
        if good {
            return Ok(());
        }
        self.session()?
            .batch("ROLLBACK TO SAVEPOINT command; RELEASE SAVEPOINT command")
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        // COMMIT alone would end a transaction that a statement has broken, undo it, and call that good.
        let release = std::mem::take(&mut self.release);
        let committed = self.session()?.batch(if release {
            "RELEASE SAVEPOINT command; COMMIT"
        } else {
            "COMMIT"
        });
        match committed {
            Err(StoreError::Away(_)) => {
                self.open = false;
                self.ended()
            }
            Ok(()) => {
                self.open = false;
                Ok(())
            }
            // It is still open, or the database has ended it: rolling back is right for both.
            failed => failed,
        }
    }

    fn rollback(&mut self) {
        if std::mem::take(&mut self.open)
            && let Some(session) = &mut self.session
            && session.batch("ROLLBACK").is_err()
        {
            self.session = None;
        }
    }

    fn beat(&self) -> Option<Duration> {
        Some(self.at.lease() / 4)
    }

    fn written(&self) -> Option<Timestamp> {
        self.written
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.rollback();
        let generation = self.generation;
        if let Some(session) = &mut self.session {
            // Else the next one waits for the lease.
            let _ = session.execute(
                "UPDATE writer SET free = 1 WHERE id = 1 AND generation = $1",
                params![generation],
            );
        }
    }
}
