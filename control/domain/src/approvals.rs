//! Approvals: what one operator asks for and another one approves (SEC-19). What is given then is the API's business; here stands who may
//! decide, when, and once.

use std::collections::BTreeSet;
use std::time::Duration;

use rand_core::CryptoRng;
use sealcast_objects::api::GrantKind;
use sealcast_objects::id::{ApprovalId, Id as _, Text};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use crate::{Read, Result, Row, StoreError, Tx, params, read_rows, refuse};

/// How long something may wait for a second person.
pub const LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// What one operator may have waiting.
pub const WAITING_MAX: u64 = 1000;
/// Longest reason, in characters.
pub const REASON_MAX: usize = 200;
/// Longest number of a case, in characters.
pub const CASE_MAX: usize = 40;

/// Which kinds need a second person.
///
/// # Errors
/// The store's.
pub fn rules(store: &mut dyn Read) -> Result<BTreeSet<GrantKind>> {
    let rows = store.query("SELECT kind FROM approval_rule ORDER BY kind", &[])?;
    let kind = |row: &Row| {
        let name: String = row.get(0)?;
        GrantKind::from_name(&name).ok_or_else(|| StoreError::Damaged(format!("kind {name:?}")))
    };
    Ok(read_rows(&rows, kind)?.into_iter().collect())
}

/// Says anew which kinds need a second person.
///
/// # Errors
/// The store's.
pub fn set_rules(tx: &mut dyn Tx, kinds: &BTreeSet<GrantKind>) -> Result<()> {
    tx.execute("DELETE FROM approval_rule", &[])?;
    for kind in kinds {
        tx.execute(
            "INSERT INTO approval_rule (kind) VALUES ($1)",
            params![kind.name()],
        )?;
    }
    Ok(())
}

/// What somebody asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// What is to be given, as the API says it.
    pub body: String,
    /// Who asks, as the audit log names him.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The number of the case; may be empty.
    pub case: String,
}

/// A decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Else it was refused.
    pub approved: bool,
    /// Who decided.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Something that was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// What for.
    pub asked: Asked,
    /// When.
    pub asked_at: Timestamp,
    /// It can be approved until then.
    pub until: Timestamp,
    /// What became of it.
    pub decision: Option<Decision>,
}

/// A query for approvals, as [`read`] takes its rows.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, body, asked_by, reason, case_number, asked_at, until, approved, decided_by, decided_at FROM approval ",
            $rest
        )
    };
}

fn read(row: &Row) -> std::result::Result<Approval, StoreError> {
    let decision = match row.get::<Option<bool>>(7)? {
        Some(approved) => Some(Decision {
            approved,
            by: row.get(8)?,
            at: Timestamp(row.get(9)?),
        }),
        None => None,
    };
    Ok(Approval {
        id: ApprovalId::from_bytes(row.get(0)?),
        asked: Asked {
            body: row.get(1)?,
            by: row.get(2)?,
            reason: row.get(3)?,
            case: row.get(4)?,
        },
        asked_at: Timestamp(row.get(5)?),
        until: Timestamp(row.get(6)?),
        decision,
    })
}

/// Asks for a second person. What he has asked for already, word for word, and is open, is the answer again.
///
/// # Errors
/// There is no reason, or too much of it; too much waits already; the store's.
pub fn ask(
    tx: &mut dyn Tx,
    now: Timestamp,
    asked: &Asked,
    rng: &mut dyn CryptoRng,
) -> Result<(Approval, bool)> {
    check_said(&asked.reason, &asked.case)?;
    if asked.reason.trim().is_empty() {
        return refuse(
            Kind::Invalid,
            "this needs a second person, who needs a reason: say why (--reason, or the header Sealcast-Reason)",
        );
    }
    let open = tx.query(
        select!("WHERE asked_by = $1 AND approved IS NULL AND until > $2"),
        params![asked.by.as_str(), now.0],
    )?;
    if open.len() as u64 >= WAITING_MAX {
        return refuse(
            Kind::TooMany,
            format!(
                "{WAITING_MAX} things that you asked for wait for a second person: see to these first"
            ),
        );
    }
    for row in &open {
        let known = read(row)?;
        if known.asked == *asked {
            return Ok((known, false));
        }
    }
    let approval = Approval {
        id: ApprovalId::new(now, rng),
        asked: asked.clone(),
        asked_at: now,
        until: now.after(LIFE),
        decision: None,
    };
    tx.execute(
        "INSERT INTO approval (id, body, asked_by, reason, case_number, asked_at, until) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        params![
            approval.id.to_bytes(),
            asked.body.as_str(),
            asked.by.as_str(),
            asked.reason.as_str(),
            asked.case.as_str(),
            now.0,
            approval.until.0
        ],
    )?;
    Ok((approval, true))
}

/// A reason and the number of a case, as whoever asks for something gives them; each may be empty.
///
/// # Errors
/// They are too long, or no text.
pub fn check_said(reason: &str, case: &str) -> Result<()> {
    let fits =
        |text: &str, most| text.chars().count() <= most && !text.chars().any(char::is_control);
    if fits(reason, REASON_MAX) && fits(case, CASE_MAX) {
        return Ok(());
    }
    refuse(
        Kind::Invalid,
        format!(
            "a reason has at most {REASON_MAX} characters, the number of a case at most {CASE_MAX}, none of them a control character"
        ),
    )
}

/// One of them.
///
/// # Errors
/// Not found; the store's.
pub fn get(store: &mut dyn Read, id: ApprovalId) -> Result<Approval> {
    let row = store.first(select!("WHERE id = $1"), params![id.to_bytes()])?;
    match row {
        Some(row) => Ok(read(&row)?),
        None => refuse(Kind::NotFound, format!("there is no {}", Text(id))),
    }
}

/// Those after `after`, at most `most`, in the order in which they were asked for.
///
/// # Errors
/// The store's.
pub fn page(store: &mut dyn Read, after: Option<ApprovalId>, most: u32) -> Result<Vec<Approval>> {
    let after = after.map_or([0; 16], ApprovalId::to_bytes);
    let rows = store.query(
        select!("WHERE id > $1 ORDER BY id LIMIT $2"),
        params![after, most],
    )?;
    read_rows(&rows, read)
}

/// Decides. Whoever asked may take it back, and never approve it.
///
/// # Errors
/// Not found; decided already; too late; the one who asked approves; the store's.
pub fn decide(
    tx: &mut dyn Tx,
    now: Timestamp,
    id: ApprovalId,
    by: &str,
    approved: bool,
) -> Result<Approval> {
    let approval = get(tx, id)?;
    if let Some(Decision { approved, by, at }) = &approval.decision {
        let was = if *approved { "approved" } else { "refused" };
        return refuse(
            Kind::Conflict,
            format!("{} was {was} by {by} at {at}", Text(id)),
        );
    }
    if approval.until <= now {
        return refuse(
            Kind::Conflict,
            format!(
                "{} could be decided until {}: ask anew",
                Text(id),
                approval.until
            ),
        );
    }
    if approved && approval.asked.by == by {
        return refuse(
            Kind::Forbidden,
            "who asked for it cannot approve it: that is for a second person",
        );
    }
    tx.execute(
        "UPDATE approval SET approved = $1, decided_by = $2, decided_at = $3 WHERE id = $4",
        params![approved, by, now.0, id.to_bytes()],
    )?;
    get(tx, id)
}
