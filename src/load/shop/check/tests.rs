use sealcast_objects::DeviceId;
use sealcast_objects::api::{
    CertificateRecord, LicenceOrigin, LicenceSubject, Method, OfferTerms, Price,
};
use sealcast_objects::id::{CertificateId, OfferId};
use sealcast_objects::time::Timestamp;

use super::*;

const DEVICE: Text<DeviceId> = Text(DeviceId([2; 16]));
const ACCOUNT: Text<AccountId> = Text(AccountId([1; 16]));
const NOW: Timestamp = Timestamp(1_790_000_000_000);

fn purchase(number: u8, amount: u64, state: PurchaseState) -> Purchase {
    let settled = state == PurchaseState::Settled;
    Purchase {
        id: Text(PurchaseId([number; 16])),
        account: ACCOUNT,
        device: DEVICE,
        shop: None,
        method: Method::Balance,
        price: Price {
            amount,
            currency: "EUR".to_owned(),
        },
        state,
        sent: NOW,
        receive_by: NOW,
        received: Some(NOW),
        changed: NOW,
        reason: None,
        certificates: vec![CertificateRecord {
            id: Text(CertificateId([number; 16])),
            offer: Text(OfferId([3; 16])),
            subject: LicenceSubject::Channel { channel: 1 },
            amount,
            grants: 1,
            terms: OfferTerms::default(),
            state: match settled {
                true => CertificateState::Used,
                false => CertificateState::Expired,
            },
            generated: NOW,
            settle_by: NOW,
            granted: settled.then_some(1),
            used: u32::from(settled),
        }],
    }
}

fn licence(number: u8) -> LicenceRecord {
    LicenceRecord {
        id: Text(LicenceId([number; 16])),
        account: ACCOUNT,
        device: DEVICE,
        subject: LicenceSubject::Channel { channel: 1 },
        from: NOW,
        until: None,
        plays: None,
        origin: LicenceOrigin {
            kind: OriginKind::Sale,
            id: Text(CertificateId([number; 16])).to_string(),
        },
        supersedes: None,
        validity: Validity::Valid,
        changed: None,
        reason: None,
        issued: NOW,
        received: Some(NOW),
        receive_by: None,
    }
}

/// Two purchases of 400, one that could not be paid with the rest, and an offer that was gone.
fn good() -> Seen {
    let id = |number| Text(PurchaseId([number; 16]));
    let held = |number, done| Held {
        id: id(number),
        done: Some(done),
        licences: vec![Text(LicenceId([number; 16]))],
    };
    Seen {
        account: ACCOUNT,
        had: 1000,
        left: 200,
        clicks: vec![
            Click::Done(id(1)),
            Click::Done(id(2)),
            Click::Refused(id(3)),
            Click::Refused(id(4)),
        ],
        held: vec![held(1, true), held(2, true), held(3, false), held(4, false)],
        usable: vec![Text(LicenceId([1; 16])), Text(LicenceId([2; 16]))],
        purchases: vec![
            purchase(1, 400, PurchaseState::Settled),
            purchase(2, 400, PurchaseState::Settled),
            purchase(3, 400, PurchaseState::Failed),
        ],
        licences: vec![licence(1), licence(2)],
    }
}

/// The rules that are broken.
fn broken(seen: &Seen) -> Vec<&'static str> {
    let mut verdict = Verdict::default();
    verdict.look_at(seen);
    assert_eq!(verdict.broken() == 0, verdict.words.is_empty());
    let rules = verdict.rules.iter().filter(|(_, of)| of.1 > 0);
    rules.map(|(rule, _)| *rule).collect()
}

#[test]
fn what_is_as_it_must_be_breaks_nothing() {
    let mut verdict = Verdict::default();
    verdict.look_at(&good());
    assert_eq!(verdict.words, Vec::<String>::new());
    let rules: Vec<_> = verdict.rules.keys().copied().collect();
    let all = [
        "charges",
        "grants",
        "licences",
        "purchases",
        "receipts",
        "refusals",
    ];
    assert_eq!(rules, all);
}

#[test]
fn pc_26_pc_30_whatever_is_wrong_is_found() {
    type Wrong = (fn(&mut Seen), &'static [&'static str]);
    let wrongs: [Wrong; 15] = [
        // Charged twice, or not at all.
        (|seen| seen.left = 0, &["charges"]),
        (|seen| seen.left += 400, &["charges", "refusals"]),
        (|seen| seen.left = 1001, &["charges", "refusals"]),
        (|seen| seen.purchases[0].price.amount = 399, &["charges"]),
        // Bought twice by one click, or by none.
        (
            |seen| {
                seen.purchases.push(purchase(5, 0, PurchaseState::Settled));
                seen.left = 200;
            },
            &["purchases"],
        ),
        (|seen| _ = seen.clicks.remove(0), &["purchases"]),
        (
            |seen| seen.clicks[1] = seen.clicks[0].clone(),
            &["purchases"],
        ),
        // Told another thing than is kept.
        (
            |seen| {
                seen.purchases.remove(1);
                seen.licences.remove(1);
                seen.usable.remove(1);
                seen.left = 600;
            },
            &["licences", "purchases", "refusals"],
        ),
        (
            |seen| seen.held[2].done = Some(true),
            &["licences", "purchases"],
        ),
        (|seen| seen.held[0].done = None, &["purchases"]),
        // Settled before it was received; not settled, and a licence all the same.
        (|seen| seen.purchases[0].received = None, &["receipts"]),
        (
            |seen| seen.licences.push(licence(3)),
            &["grants", "licences"],
        ),
        // One licence more than was bought.
        (
            |seen| {
                let mut second = licence(1);
                second.id = Text(LicenceId([9; 16]));
                seen.licences.push(second);
            },
            &["grants"],
        ),
        // Here it may be used, there it does not count; there it is, and nobody has it.
        (
            |seen| seen.licences[0].validity = Validity::Suspended,
            &["licences"],
        ),
        (|seen| _ = seen.usable.remove(0), &["licences"]),
    ];
    for (number, (wrong, rules)) in wrongs.into_iter().enumerate() {
        let mut seen = good();
        wrong(&mut seen);
        assert_eq!(broken(&seen), rules, "{number}");
    }
}
