//! Channels and delivery servers.

use sealcast_objects::api::{KeyMode, NewNode, Role, Standing};
use sealcast_objects::api::{OperatorRole, PutOperator};

use super::*;
use sealcast_domain::{nodes, operators};

#[test]
fn channels_come_change_and_go() {
    let tx = &mut Bench::new(1);
    for id in [7, 0, u16::MAX] {
        tx.channel(id);
    }
    let ids: Vec<_> = channels::list(tx).unwrap().iter().map(|c| c.id).collect();
    assert_eq!(ids, [0, 7, u16::MAX]);
    refused(Kind::Conflict, channels::add(tx, &channel(7)));

    let mut changed = channel(7);
    changed.name = "football".to_owned();
    changed.times.lifetime_ms = 120_000;
    changed.times.hold_max_lifetimes = 3;
    channels::change(tx, &changed).unwrap();
    assert_eq!(channels::get(tx, 7).unwrap(), changed);
    assert_eq!(channels::get(tx, 0).unwrap(), channel(0), "only that one");

    channels::remove(tx, 7).unwrap();
    refused(Kind::NotFound, channels::remove(tx, 7));
    refused(Kind::NotFound, channels::get(tx, 7));
    refused(Kind::NotFound, channels::change(tx, &channel(7)));
    channels::add(tx, &channel(7)).unwrap();
}

#[test]
fn md_14_key_times_that_do_not_fit_each_other_are_refused_and_nothing_changes() {
    let tx = &mut Bench::new(1);
    tx.channel(1);
    type Break = fn(&mut Times);
    let wrong: [(&str, Break); 9] = [
        ("second preset not smaller", |t| {
            t.fetch_ahead_ms = t.prepare_ahead_ms;
        }),
        ("second preset greater", |t| {
            t.fetch_ahead_ms = t.prepare_ahead_ms + 1;
        }),
        ("life equals first preset", |t| {
            t.lifetime_ms = t.prepare_ahead_ms;
        }),
        ("no fetch time", |t| t.fetch_ahead_ms = 0),
        ("grace as long as a life", |t| t.grace_ms = t.lifetime_ms),
        ("never holds", |t| t.hold_max_lifetimes = 0),
        ("holds for ever", |t| t.hold_max_lifetimes = u32::MAX),
        ("a life of more than 24 days", |t| t.lifetime_ms = u32::MAX),
        ("all nothing", |t| {
            *t = Times {
                lifetime_ms: 0,
                prepare_ahead_ms: 0,
                fetch_ahead_ms: 0,
                grace_ms: 0,
                hold_max_lifetimes: 0,
            };
        }),
    ];
    for (what, break_it) in wrong {
        let (mut new, mut known) = (channel(2), channel(1));
        break_it(&mut new.times);
        break_it(&mut known.times);
        let detail = refused(Kind::Invalid, channels::add(tx, &new));
        assert!(detail.contains("channel 2"), "{what}: {detail}");
        refused(Kind::Invalid, channels::change(tx, &known));
    }
    assert_eq!(channels::list(tx).unwrap(), [channel(1)]);
}

#[test]
fn the_mode_of_a_channel_cannot_be_changed() {
    let tx = &mut Bench::new(1);
    let mut mode_a = channel(1);
    mode_a.mode = KeyMode::DeliveryServer;
    channels::add(tx, &mode_a).unwrap();
    refused(Kind::Conflict, channels::change(tx, &channel(1)));
    assert_eq!(
        channels::get(tx, 1).unwrap().mode,
        KeyMode::DeliveryServer,
        "mode A came back from its row and stayed"
    );
}

fn node(server: u32, channels: Option<&[u16]>) -> NewNode {
    NewNode {
        server,
        name: format!("server {server}"),
        channels: channels.map(<[u16]>::to_vec),
    }
}

fn enrol_node(tx: &mut Bench, server: u32, key: &[u8]) {
    let hash = sealcast_objects::code::sha256(key);
    let subject = server.to_string();
    let until = T0.after(enrolment::CODE_LIFE);
    enrolment::add(tx, hash, Role::Node, &subject, until).unwrap();
    let admitted = enrolment::admit(tx, T0, hash, key).unwrap();
    let floor = enrolment::enrolled(tx, T0, hash, &admitted, key, "certificate").unwrap();
    assert_eq!(floor, None, "nodes have no sessions");
}

#[test]
fn delivery_servers_have_all_channels_or_those_that_are_named() {
    let tx = &mut Bench::new(1);
    nodes::put(tx, &node(u32::MAX, Some(&[9, 1]))).unwrap();
    nodes::put(tx, &node(3, None)).unwrap();
    nodes::put(tx, &node(4, Some(&[]))).unwrap();
    let channels = |tx: &mut Bench, server| nodes::get(tx, server).unwrap().channels;
    assert_eq!(channels(tx, u32::MAX), Some(vec![1, 9]));
    assert_eq!(channels(tx, 3), None);
    assert_eq!(channels(tx, 4), Some(vec![]), "none is not all");
    // Set anew: what was before is gone.
    nodes::put(tx, &node(u32::MAX, Some(&[2]))).unwrap();
    assert_eq!(channels(tx, u32::MAX), Some(vec![2]));
    nodes::put(tx, &node(u32::MAX, None)).unwrap();
    assert_eq!(channels(tx, u32::MAX), None);
    nodes::put(tx, &node(u32::MAX, Some(&[]))).unwrap();
    assert_eq!(channels(tx, u32::MAX), Some(vec![]));
    assert_eq!(nodes::list(tx).unwrap().len(), 3);
    refused(Kind::NotFound, nodes::get(tx, 5));
}

#[test]
fn a_channel_named_twice_for_a_delivery_server_counts_once() {
    let tx = &mut Bench::new(1);
    nodes::put(tx, &node(1, Some(&[5, 2, 5]))).unwrap();
    assert_eq!(nodes::get(tx, 1).unwrap().channels, Some(vec![2, 5]));
}

#[test]
fn sec_04_standings_take_only_the_steps_that_there_are() {
    use Standing::{Active, New, Revoked, Suspended};
    for (from, to, refused) in [
        (New, Active, Some(Kind::Conflict)),
        (New, New, Some(Kind::Invalid)),
        (New, Suspended, None),
        (New, Revoked, None),
        (Active, Active, None),
        (Active, New, Some(Kind::Invalid)),
        (Active, Suspended, None),
        (Active, Revoked, None),
        (Suspended, Active, None),
        (Suspended, New, Some(Kind::Invalid)),
        (Suspended, Suspended, None),
        (Suspended, Revoked, None),
        (Revoked, Active, Some(Kind::Conflict)),
        (Revoked, New, Some(Kind::Conflict)),
        (Revoked, Suspended, Some(Kind::Conflict)),
        (Revoked, Revoked, None),
    ] {
        let tx = &mut Bench::new(1);
        nodes::put(tx, &node(1, None)).unwrap();
        if from != New {
            enrol_node(tx, 1, b"key");
            nodes::set_standing(tx, 1, from).unwrap();
        }
        let result = nodes::set_standing(tx, 1, to);
        let kind = result.err().map(|error| refusal::<()>(Err(error)).0);
        assert_eq!(kind, refused, "{from:?} to {to:?}");
        let expected = if refused.is_some() { from } else { to };
        assert_eq!(nodes::get(tx, 1).unwrap().standing, expected);
    }
}

#[test]
fn one_that_was_suspended_before_it_enrolled_does_not_become_active_without_a_key() {
    let tx = &mut Bench::new(1);
    nodes::put(tx, &node(1, None)).unwrap();
    nodes::set_standing(tx, 1, Standing::Suspended).unwrap();
    nodes::set_standing(tx, 1, Standing::Active).unwrap();
    // Whatever it is called: nobody can act as it, and it can still enrol.
    refused(Kind::Unauthenticated, nodes::authenticate(tx, 1, b""));
    enrol_node(tx, 1, b"key");
    nodes::authenticate(tx, 1, b"key").unwrap();
}

#[test]
fn sec_02_a_delivery_server_acts_by_its_key_and_in_good_standing_only() {
    let tx = &mut Bench::new(1);
    nodes::put(tx, &node(1, None)).unwrap();
    nodes::put(tx, &node(2, None)).unwrap();
    refused(Kind::Unauthenticated, nodes::authenticate(tx, 1, b"one"));
    enrol_node(tx, 1, b"one");
    enrol_node(tx, 2, b"two");
    assert_eq!(nodes::authenticate(tx, 1, b"one").unwrap().server, 1);
    for (server, key) in [(1, &b"two"[..]), (2, b"one"), (1, b""), (3, b"one")] {
        refused(Kind::Unauthenticated, nodes::authenticate(tx, server, key));
    }
    nodes::set_standing(tx, 1, Standing::Suspended).unwrap();
    let detail = refused(Kind::Suspended, nodes::authenticate(tx, 1, b"one"));
    assert!(detail.contains("suspended"), "{detail}");
    nodes::set_standing(tx, 1, Standing::Active).unwrap();
    nodes::authenticate(tx, 1, b"one").unwrap();
    // Enrolled anew: the former key counts no more.
    enrol_node(tx, 1, b"other");
    refused(Kind::Unauthenticated, nodes::authenticate(tx, 1, b"one"));
    nodes::set_standing(tx, 1, Standing::Revoked).unwrap();
    refused(Kind::Suspended, nodes::authenticate(tx, 1, b"other"));
    refused(Kind::Conflict, nodes::put(tx, &node(1, None)));
    // Setting channels is no way back into standing.
    nodes::set_standing(tx, 2, Standing::Suspended).unwrap();
    nodes::put(tx, &node(2, Some(&[1]))).unwrap();
    refused(Kind::Suspended, nodes::authenticate(tx, 2, b"two"));
}

#[test]
fn sec_02_an_operator_acts_by_his_key_only() {
    let tx = &mut Bench::new(1);
    let acts = |tx: &mut Bench, name: &str, key: &[u8]| {
        operators::all(tx).unwrap().authenticate(name, key)
    };
    let owner = PutOperator {
        role: OperatorRole::Owner,
        grants_per_day: None,
        anew: false,
    };
    operators::put(tx, "ada", &owner).unwrap();
    refused(Kind::Unauthenticated, acts(tx, "ada", b""));
    let hash = [1; 32];
    enrolment::add(tx, hash, Role::Admin, "ada", after(1000)).unwrap();
    let admitted = enrolment::admit(tx, T0, hash, b"key").unwrap();
    enrolment::enrolled(tx, T0, hash, &admitted, b"key", "certificate").unwrap();
    acts(tx, "ada", b"key").unwrap();
    // What he may do said anew: his key counts as before.
    operators::put(tx, "ada", &owner).unwrap();
    acts(tx, "ada", b"key").unwrap();
    refused(Kind::Unauthenticated, acts(tx, "ada", b"other"));
    refused(Kind::Unauthenticated, acts(tx, "bob", b"key"));
}
