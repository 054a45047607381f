//! Slaves: who must hold a key before it is announced, and what a starting master learns of them.

use super::*;
use crate::ids::SlaveId;
use crate::wire::feed::SlaveReport;

/// An authority that leads, with one delivery server on the channel and `count` slaves of which `needed` must hold a key.
fn with_slaves(mode: Mode, count: u32, needed: Option<usize>) -> (World, ConnId) {
    let mut world = World::leading(mode);
    let known = (1..=count).map(SlaveId).collect();
    let quorum = SlaveQuorum { known, needed };
    world.act(|authority, now, rng, out| authority.set_slaves(now, quorum, rng, out));
    let conn = world.enter(1, 11, 1);
    (world, conn)
}

fn report(term: Term, slave: u32, epoch: u64) -> SlaveReport {
    SlaveReport {
        slave: SlaveId(slave),
        term,
        parent: None,
        doors: Vec::new(),
        leased: true,
        held: vec![(CHANNEL, Some(Epoch(epoch)))],
    }
}

fn hold(world: &mut World, term: Term, slave: u32, epoch: u64) {
    let report = report(term, slave, epoch);
    world.act(|authority, now, rng, out| authority.slave_report(now, &report, rng, out));
}

#[test]
fn int_17_a_change_is_announced_when_enough_slaves_hold_it() {
    for (count, needed, enough) in [
        (1, None, 1),
        (2, None, 2),
        (3, None, 2),
        (4, None, 3),
        (5, None, 3),
        (3, Some(1), 1),
        (3, Some(9), 3),
        (3, Some(0), 0),
    ] {
        let (mut world, conn) = with_slaves(Mode::Authority, count, needed);
        let term = world.term();
        world.pass(ms(40_000));
        let prepared = world.served[&CHANNEL].prepared.clone().unwrap();
        assert_eq!(
            prepared.epoch,
            Epoch(2),
            "slaves get it when it is prepared"
        );
        world.report(conn);
        for slave in 1..=enough {
            assert!(
                !world.channel().announced,
                "{count} slaves, {slave} of {enough}"
            );
            hold(&mut world, term, slave, 2);
        }
        assert!(
            world.channel().announced,
            "{count} slaves, {enough} hold it"
        );
        assert!(world.said(AuthorityEvent::Announced {
            channel: CHANNEL,
            epoch: Epoch(2),
            missing: vec![],
            slaves: vec![],
        }));
    }
}

#[test]
fn int_17_the_deadline_passes_with_an_alarm_that_names_the_slaves_that_are_missing() {
    let (mut world, conn) = with_slaves(Mode::Authority, 3, None);
    let term = world.term();
    world.pass(ms(40_000));
    world.report(conn);
    // One holds it, one holds the one before, one held it and was lost.
    hold(&mut world, term, 1, 2);
    hold(&mut world, term, 2, 1);
    world.pass(ms(4999));
    assert!(!world.channel().announced);
    world.authority.slave_gone(SlaveId(3));
    world.pass(ms(1));
    assert!(world.said(AuthorityEvent::Announced {
        channel: CHANNEL,
        epoch: Epoch(2),
        missing: vec![],
        slaves: vec![SlaveId(2), SlaveId(3)],
    }));
}

#[test]
fn what_a_slave_holds_of_a_former_term_is_no_acknowledgement() {
    let (mut world, conn) = with_slaves(Mode::Authority, 1, None);
    let former = Term {
        number: world.term().number,
        instance: 1,
    };
    world.pass(ms(40_000));
    world.report(conn);
    let earlier = Term {
        number: 0,
        ..former
    };
    hold(&mut world, earlier, 1, 2);
    assert!(!world.channel().announced);
    let term = world.term();
    hold(&mut world, term, 1, 2);
    assert!(world.channel().announced);
    world.act(|authority, now, rng, out| {
        let held = vec![(CHANNEL, None)];
        let gone = SlaveReport {
            held,
            ..report(term, 1, 2)
        };
        authority.slave_report(now, &gone, rng, out);
    });
    assert!(world.channel().announced, "what is announced is committed");
}

#[test]
fn md_12_in_mode_a_slaves_hold_the_deposit_before_it_is_announced() {
    let (mut world, conn) = with_slaves(Mode::DeliveryServer, 1, None);
    let term = world.term();
    let first = world.number(conn, true).unwrap();
    let deposited = world.deposit(conn, first, 50, true).unwrap();
    world.hold(conn, &deposited, true);
    world.report(conn);
    world.pass(ms(40_000));
    let next = world.number(conn, false).unwrap();
    let deposited = world.deposit(conn, next, 51, false).unwrap();
    world.hold(conn, &deposited, false);
    let prepared = world.served[&CHANNEL].prepared.clone().unwrap();
    assert_eq!((prepared.epoch, world.channel().announced), (next, false));
    hold(&mut world, term, 1, next.0);
    assert!(world.channel().announced);
}

#[test]
fn sec_06_a_starting_master_opens_epochs_above_all_that_slaves_hold() {
    let mut world = World::starting(Mode::Authority, Stored::default(), &[]);
    let former = Term {
        number: 8,
        instance: 1,
    };
    hold(&mut world, former, 1, 40);
    hold(&mut world, former, 2, 39);
    world.pass(ms(2000));
    assert_eq!(world.term().number, 9);
    let conn = world.enter(1, 11, 1);
    assert_eq!(world.peer(conn).epochs().0, Some(41));
    // One that comes late counts as well, and tells that the store is an old copy.
    world.events.clear();
    hold(&mut world, former, 3, 60);
    assert!(world.said(AuthorityEvent::OldChannel {
        channel: CHANNEL,
        stored: Epoch(41),
        seen: Epoch(60),
    }));
    hold(&mut world, former, 2, 50);
    assert_eq!(
        world.events(|event| matches!(event, AuthorityEvent::OldChannel { .. })),
        0
    );
    world.pass(ms(40_000));
    assert_eq!(world.channel().next, Some(Epoch(61)));
}

#[test]
fn sec_06_a_slave_that_saw_a_later_term_deposes() {
    let (mut world, _) = with_slaves(Mode::Authority, 1, None);
    let later = Term {
        number: 90,
        instance: 1,
    };
    world.act(|authority, now, _, out| authority.slave_seen(now, later, out));
    assert!(!world.leads);
    assert_eq!(
        world.events(|event| matches!(event, AuthorityEvent::Deposed { .. })),
        1
    );
}
