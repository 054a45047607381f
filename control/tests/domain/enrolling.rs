//! One-time codes.

use sealcast_objects::api::{Role, Standing};

use super::*;
use sealcast_domain::enrolment::{add, admit, enrolled};

const HASH: [u8; 32] = [7; 32];

/// Everything that a request for enrolment does.
fn enrol(
    tx: &mut Bench,
    now: Timestamp,
    hash: [u8; 32],
    key: &[u8],
) -> Result<(String, Option<accounts::Floor>)> {
    tx.command(|tx| {
        let admitted = admit(tx, now, hash, key)?;
        if let Some(certificate) = admitted.certificate {
            return Ok((certificate, None));
        }
        let certificate = format!("certificate of {key:?} at {now}");
        let floor = enrolled(tx, now, hash, &admitted, key, &certificate)?;
        Ok((certificate, floor))
    })
}

fn code(tx: &mut Bench, hash: [u8; 32], device: DeviceId) {
    let subject = Text(device).to_string();
    add(tx, hash, Role::Device, &subject, after(1000)).unwrap();
}

fn standing(tx: &mut Bench, device: DeviceId) -> Standing {
    devices::get(tx, device).unwrap().standing
}

#[test]
fn sec_02_a_code_works_once_and_the_same_key_may_ask_again() {
    let tx = &mut Bench::new(1);
    let device = tx.device(None);
    code(tx, HASH, device);
    assert_eq!(standing(tx, device), Standing::New);
    let (first, floor) = enrol(tx, T0, HASH, b"key").unwrap();
    assert!(floor.is_some());
    assert_eq!(standing(tx, device), Standing::Active);
    let version = tx.version(floor.unwrap().account);
    // The answer was lost.
    let (again, floor) = enrol(tx, after(500), HASH, b"key").unwrap();
    assert_eq!((again, floor), (first, None), "the very same certificate");
    let account = tx.account_of(device);
    assert_eq!(tx.version(account), version, "a repetition ends no session");

    let detail = refused(Kind::CodeRefused, enrol(tx, T0, HASH, b"thief"));
    assert!(detail.contains("used already"), "{detail}");
    devices::authenticate(tx, device, b"key").unwrap();
    refused(
        Kind::Unauthenticated,
        devices::authenticate(tx, device, b"thief"),
    );
}

#[test]
fn sec_04_codes_that_are_unknown_over_or_replaced_are_refused() {
    let tx = &mut Bench::new(1);
    let device = tx.device(None);
    let detail = refused(Kind::CodeRefused, enrol(tx, T0, HASH, b"key"));
    assert!(detail.contains("not known"), "{detail}");
    code(tx, HASH, device);
    let detail = refused(Kind::CodeRefused, enrol(tx, after(1000), HASH, b"key"));
    assert!(detail.contains(&after(1000).to_string()), "{detail}");
    // A newer one takes its place.
    code(tx, [8; 32], device);
    refused(Kind::CodeRefused, enrol(tx, T0, HASH, b"key"));
    enrol(tx, after(999), [8; 32], b"key").unwrap();
    // Past its time it does not work for the same key either.
    refused(Kind::CodeRefused, enrol(tx, after(1000), [8; 32], b"key"));
    assert_eq!(standing(tx, device), Standing::Active);
}

#[test]
fn a_code_is_withdrawn_for_its_own_subject_only() {
    let tx = &mut Bench::new(1);
    let (one, two) = (tx.device(None), tx.device(None));
    code(tx, [1; 32], one);
    code(tx, [2; 32], two);
    // Same name, another role.
    add(tx, [3; 32], Role::Node, &Text(one).to_string(), after(1000)).unwrap();
    code(tx, [4; 32], two);
    let role = |tx: &mut Bench, hash| admit(tx, T0, hash, b"key").unwrap().role;
    assert_eq!(role(tx, [1; 32]), Role::Device);
    assert_eq!(role(tx, [3; 32]), Role::Node);
    refused(Kind::CodeRefused, admit(tx, T0, [2; 32], b"key"));
}

#[test]
fn sec_04_revocation_withdraws_codes_that_are_out_for_ever() {
    let tx = &mut Bench::new(1);
    let device = tx.device(None);
    code(tx, HASH, device);
    devices::set_standing(tx, T0, device, Standing::Revoked).unwrap();
    refused(Kind::CodeRefused, enrol(tx, T0, HASH, b"key"));
    // Nor is a code that is made later a way back.
    code(tx, [8; 32], device);
    refused(Kind::Suspended, enrol(tx, T0, [8; 32], b"key"));
    assert_eq!(standing(tx, device), Standing::Revoked);

    let server = "9".to_owned();
    let node = sealcast_objects::api::NewNode {
        server: 9,
        name: String::new(),
        channels: None,
    };
    sealcast_domain::nodes::put(tx, &node).unwrap();
    add(tx, [9; 32], Role::Node, &server, after(1000)).unwrap();
    sealcast_domain::nodes::set_standing(tx, 9, Standing::Revoked).unwrap();
    refused(Kind::CodeRefused, enrol(tx, T0, [9; 32], b"key"));
}

#[test]
fn sec_04_who_is_suspended_cannot_enrol_and_keeps_the_code() {
    let tx = &mut Bench::new(1);
    let (device, account) = tx.enrolled_device(b"former");
    code(tx, HASH, device);
    devices::set_standing(tx, T0, device, Standing::Suspended).unwrap();
    let version = tx.version(account);
    refused(Kind::Suspended, enrol(tx, T0, HASH, b"new"));
    assert_eq!(tx.version(account), version, "nothing was changed");
    devices::set_standing(tx, T0, device, Standing::Active).unwrap();
    devices::authenticate(tx, device, b"former").unwrap();
    enrol(tx, T0, HASH, b"new").unwrap();
    devices::authenticate(tx, device, b"new").unwrap();
}

#[test]
fn a_code_whose_subject_is_gone_is_refused() {
    let tx = &mut Bench::new(1);
    add(tx, [1; 32], Role::Node, "77", after(1000)).unwrap();
    refused(Kind::Suspended, enrol(tx, T0, [1; 32], b"key"));
    let nobody = Text(DeviceId([1; 16])).to_string();
    add(tx, [2; 32], Role::Device, &nobody, after(1000)).unwrap();
    refused(Kind::Suspended, enrol(tx, T0, [2; 32], b"key"));
    add(tx, [3; 32], Role::Admin, "nobody", after(1000)).unwrap();
    refused(Kind::Suspended, enrol(tx, T0, [3; 32], b"key"));
    add(tx, [4; 32], Role::Device, "no id", after(1000)).unwrap();
    let damaged = enrol(tx, T0, [4; 32], b"key");
    assert!(matches!(damaged, Err(Error::Store(StoreError::Damaged(_)))));
}

#[test]
fn sec_11_enrolling_anew_ends_the_sessions_of_the_former_key() {
    let tx = &mut Bench::new(1);
    let (device, account) = tx.enrolled_device(b"former");
    tx.channel(1);
    tx.right(device, 1);
    let before = rights::entitled(tx, T0, device, &[]).unwrap().version;
    code(tx, HASH, device);
    let (_, floor) = enrol(tx, after(10), HASH, b"new").unwrap();
    let floor = floor.unwrap();
    assert_eq!(floor.account, account);
    assert!(
        floor.version > before,
        "cookies of the former key are below"
    );
    let told = accounts::floors(tx, after(10)).unwrap();
    assert_eq!(told, [floor], "a starting door hears of it");
    let detail = refused(
        Kind::Unauthenticated,
        devices::authenticate(tx, device, b"former"),
    );
    assert!(detail.contains("enrol"), "{detail}");
}
