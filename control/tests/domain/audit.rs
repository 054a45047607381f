//! The audit log over rows, and answers that are given once.

use rand_core::Rng as _;
use sealcast_objects::audit::{AuditFault, Head};

use super::{Bench, T0, after, refused};
use crate::{Result, Value, size};
use sealcast_domain::audit::{self, Act};
use sealcast_domain::idempotency;
use sealcast_objects::problem::{Kind, Problem};

fn filled(seed: u64, entries: u64) -> Bench {
    let mut bench = Bench::new(seed);
    for number in 0..entries {
        let act = Act::on("device.add", number).with("name", "box");
        audit::append(&mut bench, after(number.cast_signed()), "admin:ada", &act).unwrap();
    }
    bench
}

fn faults(bench: &mut Bench, kept: &[Head]) -> Vec<AuditFault> {
    audit::verify(bench, kept.to_vec()).unwrap().1
}

#[test]
fn entries_are_in_order_and_a_page_is_what_was_asked() {
    let mut bench = filled(1, 12);
    assert_eq!(audit::head(&mut bench).unwrap().number, 12);
    let page = audit::page(&mut bench, 3, 4).unwrap();
    let numbers: Vec<_> = page.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [4, 5, 6, 7]);
    assert_eq!(page[0].subject, "3");
    assert_eq!(page[0].detail, "name=box");
    assert_eq!(page[0].at, after(3));
    assert_eq!(audit::page(&mut bench, 12, 4).unwrap(), []);
    assert_eq!(faults(&mut bench, &[Head::EMPTY]), []);
}

/// A command that is refused leaves no entry, and the next one no gap.
#[test]
fn what_was_not_done_is_not_in_the_log() {
    let mut bench = filled(2, 3);
    let refusal: Result<()> = bench.command(|tx| {
        audit::append(tx, T0, "admin:ada", &Act::on("device.add", "x"))?;
        Err(Problem::new(Kind::Conflict, "no").into())
    });
    refused(Kind::Conflict, refusal);
    audit::append(&mut bench, T0, "server", &Act::on("ticket-key.add", 5)).unwrap();
    assert_eq!(audit::head(&mut bench).unwrap().number, 4);
    assert_eq!(faults(&mut bench, &[]), []);
}

/// SEC-19: whoever has the database itself cannot change what was done without being seen, by a kept head at the latest.
#[test]
fn sec_19_a_change_of_any_row_is_seen() {
    let columns = ["at", "actor", "act", "subject", "detail", "hash"];
    for seed in 0..size(60) as u64 {
        let mut bench = filled(seed, 30);
        let kept = audit::head(&mut bench).unwrap();
        let number = bench.rng.next_u64() % 30 + 1;
        let column = columns[usize::try_from(bench.rng.next_u64() % 6).unwrap()];
        let value = match column {
            "at" => Value::Int(1),
            "hash" => Value::Blob(vec![0; 32]),
            _ => Value::Text("other".to_owned()),
        };
        let change = format!("UPDATE audit SET {column} = $1 WHERE number = {number}");
        let removal = format!("DELETE FROM audit WHERE number = {number}");
        let newest = format!("DELETE FROM audit WHERE number >= {number}");
        let attacks = [
            (change, &[value][..], true),
            (removal, &[], number < 30),
            (newest, &[], false),
        ];
        for (attack, params, seen_alone) in attacks {
            bench.db().savepoint().unwrap();
            bench.damage(&attack, params);
            assert_eq!(faults(&mut bench, &[]).is_empty(), !seen_alone, "{attack}");
            assert!(!faults(&mut bench, &[kept]).is_empty(), "{attack}");
            bench.db().release(false).unwrap();
        }
        assert_eq!(faults(&mut bench, &[kept]), []);
    }
}

#[test]
fn an_answer_is_kept_for_its_request_its_asker_and_seven_days() {
    let mut bench = Bench::new(1);
    let (one, other) = ([1; 32], [2; 32]);
    let find = |bench: &mut Bench, actor, request| idempotency::find(bench, actor, "k", request);
    assert_eq!(find(&mut bench, "admin:ada", &one).unwrap(), None);
    idempotency::keep(&mut bench, T0, ("admin:ada", "k"), one, b"sealed").unwrap();
    let kept = find(&mut bench, "admin:ada", &one).unwrap();
    assert_eq!(kept.as_deref(), Some(b"sealed".as_slice()));
    let detail = refused(Kind::KeyReused, find(&mut bench, "admin:ada", &other));
    assert!(detail.contains("another request"), "{detail}");
    assert_eq!(find(&mut bench, "admin:eve", &other).unwrap(), None);
    let again = bench.command(|tx| idempotency::keep(tx, T0, ("admin:ada", "k"), other, b"x"));
    assert!(again.is_err());
    let end = T0.after(idempotency::KEPT);
    assert_eq!(idempotency::forget(&mut bench, end).unwrap(), 0);
    let later = end.after(std::time::Duration::from_millis(1));
    assert_eq!(idempotency::forget(&mut bench, later).unwrap(), 1);
    assert_eq!(find(&mut bench, "admin:ada", &other).unwrap(), None);
}
