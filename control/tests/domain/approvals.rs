//! What needs a second person, and how much one may give.

use std::collections::BTreeSet;

use sealcast_domain::approvals::{self, Approval, Asked, CASE_MAX, LIFE, REASON_MAX, WAITING_MAX};
use sealcast_domain::operators;
use sealcast_objects::api::{GrantKind, OperatorRole, PutOperator, Standing};
use sealcast_objects::id::ApprovalId;

use super::*;

fn asked(body: &str) -> Asked {
    Asked {
        body: body.to_owned(),
        by: "admin:ada".to_owned(),
        reason: "because".to_owned(),
        case: String::new(),
    }
}

fn ask(bench: &mut Bench, now: Timestamp, asked: &Asked) -> Result<(Approval, bool)> {
    bench.command(|tx| {
        let mut rng = tx.rng.clone();
        let done = approvals::ask(tx, now, asked, &mut rng);
        tx.rng = rng;
        done
    })
}

fn decide(
    bench: &mut Bench,
    now: Timestamp,
    id: ApprovalId,
    by: &str,
    yes: bool,
) -> Result<Approval> {
    bench.command(|tx| approvals::decide(tx, now, id, by, yes))
}

#[test]
fn sec_19_what_waits_is_decided_once_in_time_and_by_another() {
    let mut bench = Bench::new(1);
    let (first, new) = ask(&mut bench, T0, &asked("a")).unwrap();
    assert!(new);
    assert_eq!(
        ask(&mut bench, after(5), &asked("a")).unwrap(),
        (first.clone(), false)
    );
    let (second, _) = ask(&mut bench, after(5), &asked("b")).unwrap();
    refused(
        Kind::Forbidden,
        decide(&mut bench, after(6), first.id, "admin:ada", true),
    );
    let done = decide(&mut bench, after(6), first.id, "admin:bob", true).unwrap();
    let decision = done.decision.unwrap();
    assert_eq!(
        (decision.approved, decision.by.as_str(), decision.at),
        (true, "admin:bob", after(6))
    );
    for (by, yes) in [
        ("admin:bob", true),
        ("admin:eve", false),
        ("admin:ada", false),
    ] {
        refused(
            Kind::Conflict,
            decide(&mut bench, after(7), first.id, by, yes),
        );
    }
    // What was decided is asked for anew, as something else.
    assert!(ask(&mut bench, after(8), &asked("a")).unwrap().1);
    // To the last moment, and not after it.
    let end = after(5).after(LIFE);
    let late = decide(&mut bench, end, second.id, "admin:bob", true);
    assert!(refused(Kind::Conflict, late).contains("ask anew"));
    decide(
        &mut bench,
        Timestamp(end.0 - 1),
        second.id,
        "admin:ada",
        false,
    )
    .unwrap();
    refused(
        Kind::NotFound,
        decide(&mut bench, T0, ApprovalId([9; 16]), "admin:bob", true),
    );
    let all = approvals::page(&mut bench, None, 100).unwrap();
    assert_eq!(all.len(), 3);
    let rest = approvals::page(&mut bench, Some(all[0].id), 1).unwrap();
    assert_eq!(rest, [all[1].clone()]);
}

#[test]
fn sec_19_a_second_person_is_told_why_in_few_words() {
    let mut bench = Bench::new(2);
    let with = |reason: &str, case: &str| Asked {
        reason: reason.to_owned(),
        case: case.to_owned(),
        ..asked("a")
    };
    let (long, longer) = ("\u{e4}".repeat(REASON_MAX), "\u{e4}".repeat(REASON_MAX + 1));
    let too_long = "7".repeat(CASE_MAX + 1);
    for wrong in [
        with(" ", ""),
        with(&longer, ""),
        with("a\nb", ""),
        with("a", &too_long),
    ] {
        refused(Kind::Invalid, ask(&mut bench, T0, &wrong));
    }
    ask(&mut bench, T0, &with(&long, &"7".repeat(CASE_MAX))).unwrap();
}

#[test]
fn what_one_operator_has_waiting_is_bounded() {
    let mut bench = Bench::new(3);
    for number in 0..WAITING_MAX {
        ask(&mut bench, T0, &asked(&number.to_string())).unwrap();
    }
    refused(Kind::TooMany, ask(&mut bench, after(1), &asked("more")));
    let other = Asked {
        by: "admin:bob".to_owned(),
        ..asked("more")
    };
    ask(&mut bench, after(1), &other).unwrap();
    // What has expired is out of the way.
    ask(&mut bench, T0.after(LIFE), &asked("more")).unwrap();
}

#[test]
fn rules_are_what_was_said_last() {
    let mut bench = Bench::new(4);
    assert!(approvals::rules(&mut bench).unwrap().is_empty());
    for kinds in [&GrantKind::ALL[..], &[GrantKind::Right], &[]] {
        let kinds: BTreeSet<_> = kinds.iter().copied().collect();
        approvals::set_rules(&mut bench, &kinds).unwrap();
        assert_eq!(approvals::rules(&mut bench).unwrap(), kinds);
    }
}

#[test]
fn sec_19_grants_are_counted_by_day_for_those_with_a_limit() {
    let mut bench = Bench::new(5);
    let put = |grants_per_day| PutOperator {
        role: OperatorRole::Operator,
        grants_per_day,
        anew: false,
    };
    operators::put(&mut bench, "ada", &put(None)).unwrap();
    operators::put(&mut bench, "bob", &put(Some(2))).unwrap();
    let day = |days: i64, ms: i64| Timestamp(days * 24 * 3600 * 1000 + ms);
    let count =
        |bench: &mut Bench, now, name| bench.command(|tx| operators::count_grant(tx, now, name));
    for _ in 0..10 {
        count(&mut bench, day(20_000, 0), "ada").unwrap();
    }
    for now in [day(20_000, 0), day(20_000, 24 * 3600 * 1000 - 1)] {
        count(&mut bench, now, "bob").unwrap();
    }
    refused(Kind::Forbidden, count(&mut bench, day(20_000, 5), "bob"));
    count(&mut bench, day(20_001, 0), "bob").unwrap();
    operators::put(&mut bench, "bob", &put(Some(0))).unwrap();
    refused(Kind::Forbidden, count(&mut bench, day(20_002, 0), "bob"));
}

fn role(role: OperatorRole) -> PutOperator {
    PutOperator {
        role,
        grants_per_day: None,
        anew: false,
    }
}

/// The operator enrols with this key.
fn enrol(bench: &mut Bench, name: &str, key: &[u8]) {
    let hash = sealcast_objects::code::sha256(key);
    let admin = sealcast_objects::api::Role::Admin;
    enrolment::add(bench, hash, admin, name, after(1000)).unwrap();
    let admitted = enrolment::admit(bench, T0, hash, key).unwrap();
    enrolment::enrolled(bench, T0, hash, &admitted, key, "certificate").unwrap();
}

#[test]
fn sec_19_there_is_always_an_owner_who_can_act() {
    let mut bench = Bench::new(6);
    for name in ["ada", "bob"] {
        operators::put(&mut bench, name, &role(OperatorRole::Owner)).unwrap();
    }
    enrol(&mut bench, "ada", b"a");
    // Bob has not enrolled: he could not act.
    let less = bench.command(|tx| operators::put(tx, "ada", &role(OperatorRole::Support)));
    refused(Kind::Conflict, less);
    let gone = bench.command(|tx| operators::set_standing(tx, "ada", Standing::Revoked));
    refused(Kind::Conflict, gone);
    operators::set_standing(&mut bench, "bob", Standing::Suspended).unwrap();
    let ada = operators::get(&mut bench, "ada").unwrap();
    assert_eq!(
        (ada.role, ada.standing),
        (OperatorRole::Owner, Standing::Active)
    );
}

#[test]
fn sec_19_who_enrols_anew_has_no_key_meanwhile() {
    let mut bench = Bench::new(7);
    let bench = &mut bench;
    let anew = PutOperator {
        anew: true,
        ..role(OperatorRole::Owner)
    };
    let acts = |bench: &mut Bench, name, key: &[u8]| {
        let all = operators::all(bench).unwrap();
        all.authenticate(name, key).is_ok()
    };
    operators::put(bench, "ada", &anew).unwrap();
    enrol(bench, "ada", b"a");
    let alone = bench.command(|tx| operators::put(tx, "ada", &anew));
    refused(Kind::Conflict, alone);
    assert!(acts(bench, "ada", b"a"));
    operators::put(bench, "bob", &role(OperatorRole::Owner)).unwrap();
    operators::check_new(bench, "bob").unwrap();
    enrol(bench, "bob", b"b");
    refused(Kind::Conflict, operators::check_new(bench, "bob"));
    operators::put(bench, "bob", &anew).unwrap();
    assert!(!acts(bench, "bob", b"b"));
    operators::check_new(bench, "bob").unwrap();
    enrol(bench, "bob", b"c");
    assert!(acts(bench, "bob", b"c") && !acts(bench, "bob", b"b"));
    // Nobody comes back by enrolling who was stopped.
    operators::set_standing(bench, "bob", Standing::Suspended).unwrap();
    refused(
        Kind::Conflict,
        bench.command(|tx| operators::put(tx, "bob", &anew)),
    );
}
