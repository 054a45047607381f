//! Grants: licences for a certificate. One is reserved when a licence is issued, and counted when its device says that it has it; so a
//! licence that got lost costs nothing, and there are never more than were sold (PC-29).

use sealcast_objects::api::{CertificateState, Device, LicenceRecord, PurchaseState};
use sealcast_objects::id::{Id as _, Text};
use sealcast_objects::licence::{EndReason, OriginKind, Validity};
use sealcast_objects::problem::Kind;
use sealcast_objects::purchase::SoldTerms;
use sealcast_objects::time::Timestamp;
use sealcast_objects::{CertificateId, DeviceId, LicenceId};

use super::{Lives, Step, all_grants, grants_of, purchases};
use crate::accounts::Floor;
use crate::ledger::{self, Command, NewTransfer};
use crate::licences::NewLicence;
use crate::{Error, Result, Tx, licences, params, refuse};

/// What a request for a licence comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Granting {
    /// The device was given it before, or another one of which it has not said that it has it: the same again (PC-30).
    Before(Box<LicenceRecord>),
    /// This one is to be issued; its grant is reserved.
    New(NewLicence),
}

/// A device asks for a licence for a certificate; `id` is the licence's, if it is a new one.
///
/// # Errors
/// Not found: the certificate, or it is another account's. Conflict: it is not settled, over, or all of its licences were had (PC-07, PC-29).
/// The store's.
pub fn request(
    tx: &mut dyn Tx,
    now: Timestamp,
    device: &Device,
    certificate: CertificateId,
    id: LicenceId,
    lives: &Lives,
) -> Result<Granting> {
    let (of, record) = purchases::certificate(tx, certificate)?;
    let purchase = purchases::get(tx, of)?;
    if purchase.account != device.account {
        let detail = format!("there is no purchase certificate {}", Text(certificate));
        return refuse(Kind::NotFound, detail);
    }
    let known = licences::of_origin(tx, &record.id.to_string())?;
    let counts = |licence: &LicenceRecord| {
        let late = licence.receive_by.is_some_and(|by| by <= now);
        licence.device == device.id
            && licence.validity != Validity::Invalid
            && (licence.received.is_some() || !late)
    };
    let same = |licence: &&LicenceRecord| counts(licence) && licence.id.0 == id;
    let waits = |licence: &&LicenceRecord| counts(licence) && licence.received.is_none();
    let before = known.iter().find(same).or_else(|| known.iter().find(waits));
    if let Some(before) = before {
        return Ok(Granting::Before(Box::new(before.clone())));
    }
    if licences::find(tx, id)?.is_some() {
        let detail = format!("{} is over, or another's: ask under another id", Text(id));
        return refuse(Kind::Conflict, detail);
    }
    let why = match (record.state, purchase.state) {
        (CertificateState::Settled, _) => None,
        (CertificateState::Used, _) => Some("all of its licences were had".to_owned()),
        (CertificateState::Refunded, _) => Some("it was paid back".to_owned()),
        (CertificateState::Generated, PurchaseState::Sent) => {
            Some("the device has not said that it has the certificate".to_owned())
        }
        (CertificateState::Generated, PurchaseState::Received) => {
            Some("it is being settled: ask again".to_owned())
        }
        (CertificateState::Generated | CertificateState::Expired, _) => Some(
            purchase
                .reason
                .unwrap_or_else(|| "it was not settled in time".to_owned()),
        ),
    };
    if let Some(why) = why {
        let detail = format!("no licence is granted for {}: {why}", record.id);
        return refuse(Kind::Conflict, detail);
    }
    reserve(tx, now, certificate, id, lives)?;
    Ok(Granting::New(NewLicence {
        id,
        device: device.id.0,
        subject: record.subject.into(),
        terms: SoldTerms::from(record.terms).beginning(now),
        origin: (OriginKind::Sale, record.id.to_string()),
        supersedes: None,
        receive_by: Some(now.after(lives.grant)),
    }))
}

fn reserve(
    tx: &mut dyn Tx,
    now: Timestamp,
    certificate: CertificateId,
    id: LicenceId,
    lives: &Lives,
) -> Result<()> {
    let (grants, [_, used]) = (grants_of(certificate), all_grants());
    ledger::open(tx, now, &used)?;
    let new = NewTransfer {
        id: Step::Grant.of(id),
        command: Command::Reserve {
            debit: grants.id,
            credit: used.id,
            amount: 1,
            life: Some(lives.grant),
        },
        note: format!("{} for {}", Text(id), Text(certificate)),
    };
    match ledger::transfer(tx, now, &new) {
        Ok(_) => Ok(()),
        Err(Error::Refused(problem)) if problem.kind == Kind::Conflict => {
            let detail = format!(
                "no licence is granted for {}: all were had, or wait for the notices of their devices",
                Text(certificate)
            );
            refuse(Kind::Conflict, detail)
        }
        Err(error) => Err(error),
    }
}

/// The device says that it has a licence, whatever it came from (PC-27); `true` where it had not said so before. A grant that was reserved for
/// it is counted then (PC-09), and with the last one the certificate is used up (PC-08).
///
/// # Errors
/// As [`licences::receive`]. Conflict: too late, the grant is free again.
pub fn receive(tx: &mut dyn Tx, now: Timestamp, device: DeviceId, id: LicenceId) -> Result<bool> {
    if !licences::receive(tx, now, device, id)? {
        return Ok(false);
    }
    let licence = licences::get(tx, id)?;
    if licence.origin.kind != OriginKind::Sale {
        return Ok(true);
    }
    let Ok(Text(certificate)) = licence.origin.id.parse::<Text<CertificateId>>() else {
        return Ok(true);
    };
    let new = NewTransfer {
        id: Step::Granted.of(id),
        command: Command::Post {
            of: Step::Grant.of(id),
            amount: None,
        },
        note: format!("{} has {}", Text(device), Text(id)),
    };
    ledger::transfer(tx, now, &new)?;
    tx.execute(
        "UPDATE purchase_certificate SET used = used + 1 WHERE id = $1",
        params![certificate.to_bytes()],
    )?;
    tx.execute(
        "UPDATE purchase_certificate SET state = 'used' WHERE id = $1 AND state = 'settled' AND used >= granted",
        params![certificate.to_bytes()],
    )?;
    Ok(true)
}

/// Licences of which no device said in time that it has them are ended, at most `most`: their grants are free again. What the key doors must be
/// told.
///
/// # Errors
/// The store's.
pub fn end_unreceived(tx: &mut dyn Tx, now: Timestamp, most: u32) -> Result<Vec<Floor>> {
    let mut floors = Vec::new();
    for id in licences::unreceived(tx, now, most)? {
        let reason = Some(EndReason::NotReceived);
        floors.extend(licences::set(tx, now, id, Validity::Invalid, reason)?);
    }
    Ok(floors)
}
