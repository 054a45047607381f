//! Webhooks over rows: what is looked at, what is sent when, what came of it.

use std::collections::BTreeMap;

use rand_core::Rng as _;
use sealcast_domain::audit::{self, Act};
use sealcast_domain::webhooks::deliveries::{
    self, DEAD_MAX, DELIVERED_KEPT, FAILING_MAX, LOOK_MAX, Outcome, PENDING_MAX,
};
use sealcast_domain::webhooks::{self, NewKeys};
use sealcast_objects::WebhookId;
use sealcast_objects::api::{ChangeWebhook, Delivery, DeliveryState, NewWebhook};
use sealcast_objects::id::Id as _;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn new(events: &[&str], after: Option<u64>) -> NewWebhook {
    NewWebhook {
        url: "https://shop.example/hooks".to_owned(),
        events: events.iter().map(|&event| event.to_owned()).collect(),
        description: "the shop".to_owned(),
        after,
    }
}

fn keys(number: u8) -> NewKeys {
    NewKeys {
        sealed: vec![number; 92],
        public_key: format!("whpk_{number}"),
    }
}

fn add(bench: &mut Bench, events: &[&str], after: Option<u64>) -> WebhookId {
    let id = WebhookId::new(T0, &mut bench.rng);
    let new = new(events, after);
    bench
        .command(|tx| webhooks::add(tx, T0, (id, &keys(1)), &new))
        .unwrap();
    id
}

/// An act, in the log.
fn act(bench: &mut Bench, name: &'static str, subject: &str) {
    audit::append(bench, T0, "admin:ada", &Act::on(name, subject)).unwrap();
}

/// Looks at all there is.
fn collect(bench: &mut Bench, now: Timestamp) {
    for id in deliveries::behind(bench).unwrap() {
        deliveries::collect(bench, now, id).unwrap();
    }
}

fn due(bench: &mut Bench, now: Timestamp) -> Vec<u64> {
    let due = deliveries::due(bench, now, 1000).unwrap();
    due.iter().map(|due| due.entry.number).collect()
}

fn settle(bench: &mut Bench, now: Timestamp, id: WebhookId, number: u64, outcome: &Outcome) {
    let settled = bench.command(|tx| deliveries::settle(tx, now, (id, number), outcome, 0));
    assert_eq!(settled.unwrap(), None);
}

fn failed() -> Outcome {
    Outcome::Failed("status 500".to_owned())
}

fn all(bench: &mut Bench, id: WebhookId) -> Vec<Delivery> {
    deliveries::page(bench, id, None, 0, 1000).unwrap()
}

fn one(bench: &mut Bench, id: WebhookId, number: u64) -> Delivery {
    let found = deliveries::page(bench, id, None, number - 1, 1).unwrap();
    found.into_iter().next().unwrap()
}

#[test]
fn a_webhook_gets_what_it_wants_of_what_comes_after_it_was_added() {
    let mut bench = Bench::new(1);
    act(&mut bench, "right.give", "dev_1");
    let (some, every) = (
        add(&mut bench, &["right.*"], None),
        add(&mut bench, &[], Some(0)),
    );
    for (name, subject) in [("right.set", "dev_1"), ("device.add", "dev_2")] {
        act(&mut bench, name, subject);
    }
    collect(&mut bench, T0);
    let numbers = |found: Vec<Delivery>| -> Vec<_> { found.iter().map(|one| one.number).collect() };
    assert_eq!(numbers(all(&mut bench, some)), [2]);
    assert_eq!(numbers(all(&mut bench, every)), [1, 2, 3]);
    // What was looked at is not looked at again, and nothing is made twice.
    assert_eq!(deliveries::behind(&mut bench).unwrap(), []);
    assert_eq!(deliveries::collect(&mut bench, T0, every).unwrap(), 0);
    let first = &all(&mut bench, every)[0];
    assert_eq!(
        (first.kind.as_str(), first.subject.as_str()),
        ("right.give", "dev_1")
    );
    assert_eq!(first.next, Some(T0));
    // Of a log that is long, so much at once.
    for _ in 0..LOOK_MAX {
        act(&mut bench, "right.give", "dev_3");
    }
    act(&mut bench, "right.give", "dev_4");
    let made = deliveries::collect(&mut bench, T0, some).unwrap();
    assert_eq!(made, u64::from(LOOK_MAX));
    assert_eq!(deliveries::collect(&mut bench, T0, some).unwrap(), 1);
}

#[test]
fn what_cannot_be_is_refused() {
    let mut bench = Bench::new(2);
    let id = WebhookId::new(T0, &mut bench.rng);
    let mut try_add = |new: &NewWebhook| {
        let added = bench.command(|tx| webhooks::add(tx, T0, (id, &keys(1)), new));
        refused(Kind::Invalid, added)
    };
    assert!(try_add(&new(&["Right"], None)).contains("right.give"));
    assert!(try_add(&new(&[], Some(1))).contains("number 0"));
    let long = NewWebhook {
        description: "x".repeat(201),
        ..new(&[], None)
    };
    assert!(try_add(&long).contains("200"));
    refused(Kind::NotFound, webhooks::get(&mut bench, id));
    for _ in 0..webhooks::MOST {
        add(&mut bench, &[], None);
    }
    let more = bench.command(|tx| webhooks::add(tx, T0, (id, &keys(1)), &new(&[], None)));
    refused(Kind::Conflict, more);
}

/// The schedule: ten attempts over more than three days, then it is dead; nothing is tried early.
#[test]
fn what_fails_is_tried_for_three_days_and_is_dead_then() {
    for jitter in [0, 255] {
        let mut bench = Bench::new(3);
        let id = add(&mut bench, &[], None);
        act(&mut bench, "right.give", "dev_1");
        collect(&mut bench, T0);
        let (mut now, mut attempts) = (T0, 0);
        while let Some(next) = one(&mut bench, id, 1).next {
            assert!(due(&mut bench, next.before(Duration::from_millis(1))).is_empty());
            assert_eq!(due(&mut bench, next), [1]);
            now = next;
            let settled = deliveries::settle(&mut bench, now, (id, 1), &failed(), jitter);
            assert_eq!(settled.unwrap(), None);
            attempts += 1;
            if attempts == 1 {
                let wait = one(&mut bench, id, 1).next.unwrap().since(now);
                assert!((5 * SECOND..=6 * SECOND).contains(&wait), "{wait:?}");
            }
        }
        assert_eq!(attempts, 10);
        let tried = now.since(T0);
        assert!((72 * HOUR..=92 * HOUR).contains(&tried), "{tried:?}");
        let dead = one(&mut bench, id, 1);
        assert_eq!((dead.state, dead.attempts), (DeliveryState::Dead, 10));
        assert_eq!(dead.answer, "status 500");
        assert!(due(&mut bench, now.after(1000 * HOUR)).is_empty());
        // Replayed, it is as new.
        let now = now.after(HOUR);
        let replayed = bench.command(|tx| deliveries::replay_dead(tx, now, id));
        let replayed = replayed.unwrap();
        assert_eq!((replayed.replayed, replayed.left), (1, 0));
        assert_eq!(due(&mut bench, now), [1]);
        settle(&mut bench, now, id, 1, &Outcome::Delivered(204));
        let delivered = one(&mut bench, id, 1);
        assert_eq!(delivered.state, DeliveryState::Delivered);
        assert_eq!(delivered.answer, "status 204");
        assert_eq!(delivered.attempts, 1);
    }
}

/// Whoever asks for more time than the next attempt would give gets it, and a day at most.
#[test]
fn a_receiver_that_asks_for_time_gets_it() {
    let mut bench = Bench::new(6);
    let id = add(&mut bench, &[], None);
    act(&mut bench, "right.set", "a");
    collect(&mut bench, T0);
    let mut now = T0;
    let later = |time: Duration| Outcome::Later("status 429".to_owned(), time);
    for (asked, next) in [
        (2 * HOUR, 2 * HOUR),
        (SECOND, 300 * SECOND),
        (1000 * HOUR, 24 * HOUR),
    ] {
        settle(&mut bench, now, id, 1, &later(asked));
        assert_eq!(one(&mut bench, id, 1).next, Some(now.after(next)));
        now = now.after(next);
        assert_eq!(due(&mut bench, now), [1]);
    }
    assert_eq!(one(&mut bench, id, 1).answer, "status 429");
}

/// An event of a subject waits for those before it, whatever becomes of them; other subjects do not.
#[test]
fn events_of_a_subject_are_sent_in_order() {
    let mut bench = Bench::new(4);
    let id = add(&mut bench, &[], None);
    for subject in ["a", "a", "b", "a", "b"] {
        act(&mut bench, "right.set", subject);
    }
    collect(&mut bench, T0);
    assert_eq!(due(&mut bench, T0), [1, 3]);
    settle(&mut bench, T0, id, 3, &Outcome::Delivered(200));
    settle(&mut bench, T0, id, 1, &failed());
    assert_eq!(due(&mut bench, T0), [5]);
    let later = T0.after(10 * SECOND);
    assert_eq!(due(&mut bench, later), [5, 1]);
    settle(&mut bench, later, id, 1, &Outcome::Delivered(200));
    assert_eq!(due(&mut bench, later), [5, 2]);
    // An earlier one that is replayed goes first; what is under way meanwhile may end as it will.
    bench
        .command(|tx| deliveries::replay(tx, later, id, 1))
        .unwrap();
    assert_eq!(due(&mut bench, later), [5, 1]);
    settle(&mut bench, later, id, 2, &failed());
    assert_eq!(due(&mut bench, later.after(HOUR)), [5, 1]);
    settle(&mut bench, later, id, 1, &Outcome::Delivered(200));
    assert_eq!(due(&mut bench, later), [5, 2]);
    // A dead one does not block.
    let mut now = later;
    while let Some(next) = one(&mut bench, id, 2).next {
        now = now.max(next);
        settle(&mut bench, now, id, 2, &failed());
    }
    assert_eq!(one(&mut bench, id, 2).state, DeliveryState::Dead);
    assert_eq!(due(&mut bench, now), [5, 4]);
}

/// Whatever is replayed, fails, dies or is delivered in whatever order: of each subject one is due at most, and it is the first that is pending.
#[test]
fn one_event_of_a_subject_is_due_at_a_time_whatever_happens() {
    for seed in 0..size(30) as u64 {
        let mut bench = Bench::new(seed);
        let id = add(&mut bench, &[], None);
        let (mut now, subjects) = (T0, ["a", "b", "c"]);
        for _ in 0..200 {
            now = now.after(Duration::from_secs(bench.rng.next_u64() % 7200));
            let number = bench.rng.next_u64() % 40 + 1;
            let subject = subjects[usize::try_from(bench.rng.next_u64() % 3).unwrap()];
            match bench.rng.next_u64() % 6 {
                0 => act(&mut bench, "right.set", subject),
                1 => {
                    let _ = bench.command(|tx| deliveries::replay(tx, now, id, number));
                }
                2 => {
                    let _ = deliveries::replay_dead(&mut bench, now, id).unwrap();
                }
                3 => {
                    let ok = Outcome::Delivered(200);
                    let _ = deliveries::settle(&mut bench, now, (id, number), &ok, 9).unwrap();
                }
                _ => {
                    let _ = deliveries::settle(&mut bench, now, (id, number), &failed(), 9);
                }
            }
            // Five days of failures are no matter here.
            let enable = ChangeWebhook {
                enabled: Some(true),
                ..ChangeWebhook::default()
            };
            webhooks::change(&mut bench, now, "admin:ada", (id, None), &enable).unwrap();
            collect(&mut bench, now);
            let mut first = BTreeMap::new();
            for one in all(&mut bench, id) {
                let pending = one.state == DeliveryState::Pending;
                let waits = pending && first.contains_key(&one.subject);
                assert_eq!(
                    one.next.is_some(),
                    pending && !waits,
                    "seed {seed}: {one:?}"
                );
                if pending {
                    first.entry(one.subject).or_insert(one.number);
                }
            }
        }
    }
}

#[test]
fn a_webhook_that_fails_for_five_days_is_disabled_and_goes_on_where_it_stopped() {
    let mut bench = Bench::new(5);
    let id = add(&mut bench, &[], None);
    for subject in ["a", "b", "c"] {
        act(&mut bench, "right.set", subject);
    }
    collect(&mut bench, T0);
    settle(&mut bench, T0, id, 1, &failed());
    // A success in between begins the five days anew.
    settle(&mut bench, after(1000), id, 2, &Outcome::Delivered(200));
    assert_eq!(webhooks::get(&mut bench, id).unwrap().failing_since, None);
    settle(&mut bench, after(2000), id, 1, &failed());
    let end = after(2000).after(FAILING_MAX);
    let early = end.before(Duration::from_millis(1));
    settle(&mut bench, early, id, 1, &failed());
    let act_of = deliveries::settle(&mut bench, end, (id, 3), &failed(), 0).unwrap();
    let act_of = act_of.unwrap();
    assert_eq!(act_of.name, "webhook.disable");
    assert!(act_of.detail.contains("5 days"), "{}", act_of.detail);
    let webhook = webhooks::get(&mut bench, id).unwrap();
    let disabled = webhook.disabled.unwrap();
    assert_eq!((disabled.by.as_str(), disabled.at), ("server", end));
    assert_eq!(webhook.revision, 2);
    // Nothing is due, and the log waits.
    act(&mut bench, "right.set", "d");
    collect(&mut bench, end);
    assert!(due(&mut bench, end.after(100 * HOUR)).is_empty());
    assert_eq!(all(&mut bench, id).len(), 3);
    let enable = ChangeWebhook {
        enabled: Some(true),
        ..ChangeWebhook::default()
    };
    let changed =
        bench.command(|tx| webhooks::change(tx, end, "admin:ada", (id, Some(2)), &enable));
    let changed = changed.unwrap();
    assert_eq!((changed.disabled, changed.failing_since), (None, None));
    collect(&mut bench, end);
    assert_eq!(due(&mut bench, end), [1, 3, 4]);
    // 410 says it at once.
    let gone = deliveries::settle(&mut bench, end, (id, 4), &Outcome::Gone, 0).unwrap();
    assert!(gone.unwrap().detail.contains("410"));
}

#[test]
fn a_change_is_of_what_was_seen_and_counts_one() {
    let mut bench = Bench::new(6);
    let id = add(&mut bench, &["right.*"], None);
    let to = ChangeWebhook {
        events: Some(vec!["device.add".to_owned()]),
        ..ChangeWebhook::default()
    };
    let mut change = |expected, to: &ChangeWebhook| {
        bench.command(|tx| webhooks::change(tx, T0, "admin:ada", (id, expected), to))
    };
    let changed = change(Some(1), &to).unwrap();
    assert_eq!((changed.revision, changed.events.len()), (2, 1));
    // What is the same is no change.
    assert_eq!(change(Some(2), &to).unwrap().revision, 2);
    assert_eq!(refusal(change(Some(1), &to)).0, Kind::Conflict);
    refused(Kind::Invalid, change(None, &ChangeWebhook::default()));
    let bad = ChangeWebhook {
        events: Some(vec!["*".to_owned()]),
        ..ChangeWebhook::default()
    };
    refused(Kind::Invalid, change(None, &bad));
    let off = ChangeWebhook {
        enabled: Some(false),
        ..ChangeWebhook::default()
    };
    let disabled = change(None, &off).unwrap().disabled.unwrap();
    assert_eq!(disabled.by, "admin:ada");
}

#[test]
fn a_former_secret_signs_for_a_day() {
    let mut bench = Bench::new(7);
    let id = add(&mut bench, &[], None);
    let renewed = bench.command(|tx| webhooks::renew_keys(tx, T0, (id, Some(1)), &keys(2)));
    let renewed = renewed.unwrap();
    assert_eq!(renewed.public_key, "whpk_2");
    let end = T0.after(webhooks::FORMER);
    assert_eq!(renewed.former_until, Some(end));
    let mut at = |now| webhooks::with_keys(&mut bench, id, now).unwrap().1;
    let before = at(end.before(Duration::from_millis(1)));
    assert_eq!(before.current, vec![2; 92]);
    assert_eq!(before.former, Some(vec![1; 92]));
    assert_eq!(at(end).former, None);
    let stale = bench.command(|tx| webhooks::renew_keys(tx, T0, (id, Some(1)), &keys(3)));
    assert_eq!(refusal(stale).0, Kind::Conflict);
}

#[test]
fn any_event_that_was_looked_at_can_be_sent_again() {
    let mut bench = Bench::new(8);
    for subject in ["a", "b"] {
        act(&mut bench, "right.set", subject);
    }
    let id = add(&mut bench, &["device.*"], None);
    // Of before it was added, and not of its filter.
    let replay =
        |bench: &mut Bench, number| bench.command(|tx| deliveries::replay(tx, T0, id, number));
    let replayed = replay(&mut bench, 1).unwrap();
    assert_eq!(replayed.state, DeliveryState::Pending);
    assert_eq!(due(&mut bench, T0), [1]);
    refused(Kind::Conflict, replay(&mut bench, 1));
    for missing in [0, 3, u64::MAX / 2] {
        refused(Kind::NotFound, replay(&mut bench, missing));
    }
    // One that the log has, and the webhook has not come to.
    act(&mut bench, "device.add", "c");
    refused(Kind::NotFound, replay(&mut bench, 3));
}

/// Entries of the log from `from` to `last`, each of a subject of its own.
fn log(bench: &mut Bench, from: u64, last: u64) {
    let sql = format!(
        "INSERT INTO audit (number, at, actor, act, subject, detail, hash) \
         WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {last}) \
         SELECT i, 0, 'x', 'right.set', 's' || CAST(i AS TEXT), '', $1 FROM n"
    );
    bench.damage(&sql, &[Value::Blob(vec![0; 32])]);
}

#[test]
fn what_waits_and_what_is_kept_is_bounded() {
    let mut bench = Bench::new(9);
    let id = add(&mut bench, &[], None);
    log(&mut bench, 1, PENDING_MAX + 30);
    while let Some(id) = deliveries::behind(&mut bench).unwrap().pop() {
        deliveries::collect(&mut bench, T0, id).unwrap();
    }
    // What does not fit waits in the log, until there is room.
    let position = |bench: &mut Bench| webhooks::get(bench, id).unwrap().position;
    assert_eq!(position(&mut bench), PENDING_MAX);
    assert_eq!(deliveries::collect(&mut bench, T0, id).unwrap(), 0);
    for number in 1..=20 {
        settle(&mut bench, T0, id, number, &Outcome::Delivered(200));
    }
    collect(&mut bench, T0);
    assert_eq!(position(&mut bench), PENDING_MAX + 20);
    // Delivered ones are forgotten after a while.
    let end = T0.after(DELIVERED_KEPT);
    assert_eq!(deliveries::prune(&mut bench, end).unwrap(), 0);
    let later = end.after(Duration::from_millis(1));
    assert_eq!(deliveries::prune(&mut bench, later).unwrap(), 20);
    // Of dead ones the newest are kept.
    let kill = "UPDATE webhook_delivery SET state = 3, next_at = NULL, settled = 0 WHERE state = 1";
    bench.damage(kill, &[]);
    for _ in 0..2 {
        collect(&mut bench, T0);
    }
    bench.damage(kill, &[]);
    assert_eq!(deliveries::prune(&mut bench, later).unwrap(), 10);
    let dead = all(&mut bench, id);
    assert_eq!(dead[0].number, PENDING_MAX + 30 - u64::from(DEAD_MAX) + 1);
    let replayed = bench
        .command(|tx| deliveries::replay_dead(tx, T0, id))
        .unwrap();
    assert_eq!(replayed.replayed, 1000);
    assert_eq!(replayed.left, u64::from(DEAD_MAX) - 1000);
    bench
        .command(|tx| webhooks::remove(tx, id, Some(1)))
        .unwrap();
    let gone = deliveries::page(&mut bench, id, None, 0, 10);
    refused(Kind::NotFound, gone);
    assert_eq!(deliveries::prune(&mut bench, later).unwrap(), 0);
}
