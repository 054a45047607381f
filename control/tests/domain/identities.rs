//! Accounts that are stopped, leaves, recoveries over months, tokens, identities at providers.

use std::collections::BTreeSet;

use sealcast_domain::identities::{self, Identity};
use sealcast_domain::logins::{self, LoginName, TOKEN_LIFE, TOKENS_MAX};
use sealcast_domain::recovery::{self, CODE_LIFE, DELAY, MOST, WINDOW};
use sealcast_objects::api::{Recovery, RecoveryState, Standing};

use super::*;

fn make(bench: &mut Bench, now: Timestamp, device: DeviceId, code: u8) -> Result<Recovery> {
    bench.command(|tx| {
        let mut rng = tx.rng.clone();
        let made = recovery::make(tx, now, device, [code; 32], &mut rng);
        tx.rng = rng;
        made
    })
}

fn step(
    bench: &mut Bench,
    now: Timestamp,
    code: u8,
) -> Result<(Recovery, Option<accounts::Floor>)> {
    bench.command(|tx| {
        let mut rng = tx.rng.clone();
        let stepped = recovery::step(tx, now, [code; 32], DELAY, &mut rng);
        tx.rng = rng;
        stepped
    })
}

fn standing(bench: &mut Bench, device: DeviceId) -> Standing {
    devices::get(bench, device).unwrap().standing
}

#[test]
fn sec_03_a_recovery_goes_one_way_and_each_step_is_taken_once() {
    let mut bench = Bench::new(1);
    bench.channel(1);
    let (lost, account) = bench.enrolled_device(b"lost");
    bench.right(lost, 1);
    let version = bench.version(account);
    refused(Kind::CodeRefused, step(&mut bench, T0, 1));
    make(&mut bench, T0, lost, 1).unwrap();
    assert_eq!(
        standing(&mut bench, lost),
        Standing::Active,
        "nothing is done yet"
    );
    let (begun, floor) = step(&mut bench, after(1), 1).unwrap();
    assert_eq!(begun.state, RecoveryState::Waiting);
    assert_eq!(begun.ready_at, Some(after(1).after(DELAY)));
    assert!(floor.unwrap().version > version, "the key doors hear of it");
    assert_eq!(standing(&mut bench, lost), Standing::Suspended);
    let ready = after(1).after(DELAY);
    let (same, none) = step(&mut bench, Timestamp(ready.0 - 1), 1).unwrap();
    assert_eq!((same, none), (begun, None));
    let (done, floor) = step(&mut bench, ready, 1).unwrap();
    assert_eq!(done.state, RecoveryState::Done);
    assert!(floor.is_some());
    let successor = done.successor.unwrap().0;
    assert_eq!(standing(&mut bench, lost), Standing::Revoked);
    assert_eq!(standing(&mut bench, successor), Standing::New);
    assert_eq!(rights::of_device(&mut bench, successor).unwrap().len(), 1);
    assert!(rights::of_device(&mut bench, lost).unwrap().is_empty());
    // Again: the same, and no other device.
    assert_eq!(step(&mut bench, ready, 1).unwrap(), (done.clone(), None));
    let again = enrolment::admit(&mut bench, ready, [1; 32], b"new").unwrap();
    assert_eq!(again.subject, Text(successor).to_string());
    let objects = bench.command(|tx| recovery::object(tx, ready, done.id.0));
    refused(Kind::Conflict, objects);
}

#[test]
fn sec_03_what_an_operator_has_stopped_no_recovery_sets_free() {
    let mut bench = Bench::new(2);
    let (device, _) = bench.enrolled_device(b"key");
    devices::set_standing(&mut bench, T0, device, Standing::Suspended).unwrap();
    let made = make(&mut bench, T0, device, 1).unwrap();
    step(&mut bench, T0, 1).unwrap();
    recovery::object(&mut bench, T0, made.id.0).unwrap();
    assert_eq!(standing(&mut bench, device), Standing::Suspended);
    // One that it stopped itself is free again; one that was stopped for ever meanwhile is not.
    let (other, _) = bench.enrolled_device(b"other");
    let made = make(&mut bench, T0, other, 2).unwrap();
    step(&mut bench, T0, 2).unwrap();
    let (_, floor) = recovery::object(&mut bench, T0, made.id.0).unwrap();
    assert!(floor.is_some());
    assert_eq!(standing(&mut bench, other), Standing::Active);
    let made = make(&mut bench, T0, other, 3).unwrap();
    step(&mut bench, T0, 3).unwrap();
    devices::set_standing(&mut bench, T0, other, Standing::Revoked).unwrap();
    let ready = T0.after(DELAY);
    refused(Kind::Conflict, step(&mut bench, ready, 3));
    recovery::object(&mut bench, ready, made.id.0).unwrap();
    assert_eq!(standing(&mut bench, other), Standing::Revoked);
}

#[test]
fn sec_03_codes_end_and_recoveries_are_counted() {
    let mut bench = Bench::new(3);
    let (device, _) = bench.enrolled_device(b"key");
    make(&mut bench, T0, device, 1).unwrap();
    step(&mut bench, T0, 1).unwrap();
    let over = T0.after(CODE_LIFE);
    refused(Kind::CodeRefused, step(&mut bench, over, 1));
    assert_eq!(recovery::expire(&mut bench, over).unwrap(), 1);
    refused(Kind::CodeRefused, step(&mut bench, over, 1));
    let mut now = over;
    for code in 2..2 + u8::try_from(MOST).unwrap() {
        let made = make(&mut bench, now, device, code).unwrap();
        refused(Kind::Conflict, make(&mut bench, now, device, 99));
        recovery::object(&mut bench, now, made.id.0).unwrap();
        now = now.after(Duration::from_secs(60));
    }
    refused(Kind::TooMany, make(&mut bench, now, device, 98));
    make(&mut bench, over.after(WINDOW), device, 97).unwrap();
}

/// MV-15: a leaf is given once, whatever becomes of the device.
#[test]
fn mv_15_leaves_are_never_given_again() {
    let mut bench = Bench::new(4);
    let mut leaves = Vec::new();
    let mut device = bench.device(None);
    for _ in 0..size(100) {
        leaves.push(devices::get(&mut bench, device).unwrap().leaf);
        let (successor, _) = bench
            .command(|tx| {
                let mut rng = tx.rng.clone();
                let replaced = devices::replace(tx, T0, device, &mut rng);
                tx.rng = rng;
                replaced
            })
            .unwrap();
        assert_eq!(
            devices::get(&mut bench, successor).unwrap().replaces,
            Some(Text(device))
        );
        device = successor;
    }
    let count = u32::try_from(leaves.len()).unwrap();
    assert_eq!(leaves, (1..=count).collect::<Vec<_>>());
}

#[test]
fn sec_11_an_account_that_is_stopped_stops_its_devices_and_its_person() {
    let mut bench = Bench::new(5);
    bench.channel(1);
    let (device, account) = bench.enrolled_device(b"key");
    bench.right(device, 1);
    logins::issue(&mut bench, T0, account, [1; 32]).unwrap();
    assert_eq!(logins::holder(&mut bench, T0, [1; 32]).unwrap(), account);
    let floor = accounts::set_standing(&mut bench, T0, account, Standing::Suspended).unwrap();
    assert_eq!(floor.version, bench.version(account));
    refused(
        Kind::Suspended,
        devices::authenticate(&mut bench, device, b"key"),
    );
    refused(
        Kind::Suspended,
        rights::entitled(&mut bench, T0, device, &[]),
    );
    refused(
        Kind::Unauthenticated,
        logins::holder(&mut bench, T0, [1; 32]),
    );
    refused(
        Kind::Suspended,
        logins::issue(&mut bench, T0, account, [2; 32]),
    );
    accounts::set_standing(&mut bench, T0, account, Standing::Active).unwrap();
    devices::authenticate(&mut bench, device, b"key").unwrap();
    accounts::set_standing(&mut bench, T0, account, Standing::Revoked).unwrap();
    let back = bench.command(|tx| accounts::set_standing(tx, T0, account, Standing::Active));
    refused(Kind::Conflict, back);
    let name = LoginName::parse("eve").unwrap();
    let closed = bench.command(|tx| logins::put(tx, account, &name, [3; 32], after(1)));
    refused(Kind::Conflict, closed);
}

#[test]
fn tokens_end_in_time_and_the_oldest_first() {
    let mut bench = Bench::new(6);
    let device = bench.device(None);
    let account = bench.account_of(device);
    let most = u8::try_from(TOKENS_MAX).unwrap();
    for number in 0..=most {
        let until = logins::issue(&mut bench, after(number.into()), account, [number; 32]);
        assert_eq!(until.unwrap(), after(number.into()).after(TOKEN_LIFE));
    }
    refused(
        Kind::Unauthenticated,
        logins::holder(&mut bench, after(99), [0; 32]),
    );
    for number in 1..=most {
        logins::holder(&mut bench, after(99), [number; 32]).unwrap();
    }
    let end = after(1).after(TOKEN_LIFE);
    refused(
        Kind::Unauthenticated,
        logins::holder(&mut bench, end, [1; 32]),
    );
    logins::holder(&mut bench, end, [2; 32]).unwrap();
    assert_eq!(logins::forget(&mut bench, end).unwrap(), 1);
    for wrong in ["", " ", "a b", "a\nb", &"x".repeat(255)] {
        refused(Kind::Invalid, LoginName::parse(wrong));
    }
    assert_eq!(LoginName::parse(" Ada ").unwrap().as_str(), "ada");
}

/// An account that has a login with this code.
fn login(bench: &mut Bench, name: &str, code: u8) -> AccountId {
    let device = bench.device(None);
    let account = bench.account_of(device);
    let name = LoginName::parse(name).unwrap();
    logins::put(bench, account, &name, [code; 32], after(10)).unwrap();
    account
}

fn identity(issuer: &str, subject: &str) -> Identity {
    Identity {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
    }
}

fn link(bench: &mut Bench, account: AccountId, identity: &Identity) -> Result<bool> {
    bench.command(|tx| identities::link(tx, T0, account, identity))
}

#[test]
fn sec_03_an_identity_is_one_logins_and_a_login_has_one_of_each_provider() {
    let mut bench = Bench::new(7);
    let (eve, bob) = (login(&mut bench, "eve", 1), login(&mut bench, "bob", 2));
    let (here, there) = ("https://id.example", "https://ID.example");
    let one = identity(here, "1");
    assert!(link(&mut bench, eve, &one).unwrap());
    assert!(!link(&mut bench, eve, &one).unwrap(), "it is linked");
    refused(Kind::Conflict, link(&mut bench, bob, &one));
    refused(Kind::Conflict, link(&mut bench, eve, &identity(here, "2")));
    // Letter for letter, of the provider and of the person; another provider's is another.
    assert!(link(&mut bench, bob, &identity(here, "1 ")).unwrap());
    assert!(link(&mut bench, eve, &identity(there, "1")).unwrap());
    let of = |bench: &mut Bench, account| -> Vec<String> {
        let found = identities::of_account(bench, account).unwrap();
        let names = found.into_iter().map(|one| one.issuer + " " + &one.subject);
        // Databases order letters each in its own way.
        names.collect::<BTreeSet<_>>().into_iter().collect()
    };
    assert_eq!(
        of(&mut bench, eve),
        ["https://ID.example 1", "https://id.example 1"]
    );
    assert_eq!(identities::find(&mut bench, &one).unwrap(), Some(eve));
    for other in [identity(here, "01"), identity(here, ""), identity("", "1")] {
        assert_eq!(identities::find(&mut bench, &other).unwrap(), None);
    }
    // Who has no login has none of these.
    let device = bench.device(None);
    let nobody = bench.account_of(device);
    refused(
        Kind::NotFound,
        link(&mut bench, nobody, &identity(here, "3")),
    );
    assert!(identities::unlink(&mut bench, eve, None).unwrap());
    assert!(!identities::unlink(&mut bench, eve, None).unwrap());
    assert!(of(&mut bench, eve).is_empty());
    assert_eq!(of(&mut bench, bob), ["https://id.example 1 "]);
    refused(Kind::Conflict, link(&mut bench, bob, &one));
    assert!(identities::unlink(&mut bench, bob, None).unwrap());
    assert!(link(&mut bench, bob, &one).unwrap());
}

#[test]
fn sec_03_a_code_links_an_identity_once_and_nobody_locks_himself_out() {
    let mut bench = Bench::new(8);
    let eve = login(&mut bench, "eve", 1);
    let one = identity("https://id.example", "1");
    let by_code = |bench: &mut Bench, ms, code: u8, identity: &Identity| {
        bench.command(|tx| identities::link_by_code(tx, after(ms), [code; 32], identity))
    };
    logins::issue(&mut bench, T0, eve, [1; 32]).unwrap();
    refused(Kind::CodeRefused, by_code(&mut bench, 0, 9, &one));
    refused(Kind::CodeRefused, by_code(&mut bench, 10, 1, &one));
    assert_eq!(by_code(&mut bench, 9, 1, &one).unwrap(), (eve, true));
    refused(Kind::CodeRefused, by_code(&mut bench, 9, 1, &one));
    let set = bench.command(|tx| logins::set_password(tx, after(9), [1; 32], "hash"));
    refused(Kind::CodeRefused, set);
    let over = logins::holder(&mut bench, T0, [1; 32]);
    refused(Kind::Unauthenticated, over);
    // A code that links nothing is not used up by it.
    let bob = login(&mut bench, "bob", 2);
    refused(Kind::Conflict, by_code(&mut bench, 0, 2, &one));
    bench
        .command(|tx| logins::set_password(tx, T0, [2; 32], "hash"))
        .unwrap();
    let two = identity("https://id.example", "2");
    link(&mut bench, bob, &two).unwrap();
    for (number, account) in [(1, eve), (2, bob)] {
        logins::issue(&mut bench, T0, account, [number; 32]).unwrap();
        logins::issue(&mut bench, T0, account, [number + 10; 32]).unwrap();
    }
    let mine = |bench: &mut Bench, account, keep: u8| {
        bench.command(|tx| identities::unlink_mine(tx, account, [keep; 32]))
    };
    refused(Kind::Conflict, mine(&mut bench, eve, 1));
    logins::holder(&mut bench, T0, [11; 32]).unwrap();
    assert!(mine(&mut bench, bob, 2).unwrap());
    logins::holder(&mut bench, T0, [2; 32]).unwrap();
    let other = logins::holder(&mut bench, T0, [12; 32]);
    refused(Kind::Unauthenticated, other);
    // Support removes it all the same, and all tokens end.
    assert!(identities::unlink(&mut bench, eve, None).unwrap());
    for token in [1, 11] {
        let over = logins::holder(&mut bench, T0, [token; 32]);
        refused(Kind::Unauthenticated, over);
    }
}
