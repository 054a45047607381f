//! Mode A: numbers, deposits, and the announcement of what was deposited.

use super::*;
use crate::ids::Kid;

fn world() -> World {
    World::leading(Mode::DeliveryServer)
}

/// A server that sends under its first key. The peer's report says so, as a sender's would.
fn sending(world: &mut World, id: u32, run: u64, root: u8) -> ConnId {
    let conn = world.enter(id, run, 2);
    let epoch = world.number(conn, true).unwrap();
    let deposited = world.deposit(conn, epoch, root, true).unwrap();
    world.hold(conn, &deposited, true);
    world.report(conn);
    conn
}

fn root(byte: u8) -> EpochRoot {
    EpochRoot::from_bytes([byte; 32])
}

fn ignored(fault: Fault) -> AuthorityEvent {
    AuthorityEvent::Ignored {
        channel: CHANNEL,
        server: Some(ServerId(1)),
        fault,
    }
}

#[test]
fn md_08_09_the_deposit_is_what_devices_get() {
    let mut world = world();
    let a = sending(&mut world, 1, 11, 50);
    let granted = world.ask(None).unwrap();
    assert_eq!(
        (granted.current.epoch, &granted.current.root),
        (Epoch(1), &root(50))
    );
    assert_eq!(granted.current.remaining.duration(), timing().lifetime());
    assert!(world.said(AuthorityEvent::Opened {
        channel: CHANNEL,
        epoch: Epoch(1)
    }));
    let held = world.peer(a).report.current.unwrap();
    let kid = Kid::new(held.first_lane, CHANNEL, held.epoch);
    assert_eq!((kid.lane().number(), kid.channel()), (1, CHANNEL));
    assert!(
        world.peer(a).secrets.is_empty(),
        "no cipher half travels in mode A"
    );
}

#[test]
fn md_11_12_the_next_deposit_is_announced_and_switched_to() {
    let mut world = world();
    let a = sending(&mut world, 1, 11, 50);
    world.pass(ms(40_000));
    assert_eq!(
        world.channel().next,
        None,
        "the authority generates nothing"
    );
    let epoch = world.number(a, false).unwrap();
    assert_eq!(epoch, Epoch(2));
    let deposited = world.deposit(a, epoch, 51, false).unwrap();
    world.hold(a, &deposited, false);
    let announced = AuthorityEvent::Announced {
        channel: CHANNEL,
        epoch,
        missing: vec![],
        slaves: Vec::new(),
    };
    assert!(world.said(announced), "whoever deposited it holds it");
    assert_eq!(world.ask(None).unwrap().next.unwrap().root, root(51));
    let notice = world.peer(a).notices.last().unwrap().1.clone();
    assert_eq!(notice.remaining.duration(), ms(20_000));
    assert_eq!(
        notice.next_commitment,
        Some(root(51).prk().commitment(CHANNEL.0, 2))
    );
    world.pass(ms(20_000));
    assert_eq!(
        (world.peer(a).epochs().0, world.channel().current),
        (Some(2), Some(Epoch(2)))
    );
    let certificate = verified::<LaneCertificate>(deposited.certificate.as_ref().unwrap());
    assert_eq!(
        Some(certificate.group),
        world.peer(a).report.current.map(|held| held.group),
        "one group per run"
    );
    world.report(a);
    world.pass(timing().grace());
    assert!(world.ask(Some(1)).is_err(), "left by everybody");
}

#[test]
fn the_first_deposit_under_a_number_holds() {
    let mut world = world();
    let a = sending(&mut world, 1, 11, 50);
    let stored = world.disk.clone();
    let again = world.deposit(a, Epoch(1), 50, false).unwrap();
    assert!(again.certificate.is_some(), "compared, the same");
    let other = world.deposit(a, Epoch(1), 51, false).unwrap();
    assert_eq!(other.certificate, None);
    assert!(world.said(AuthorityEvent::DepositDiffers {
        channel: CHANNEL,
        epoch: Epoch(1),
        server: ServerId(1)
    }));
    assert_eq!(world.disk, stored);
    assert_eq!(world.ask(None).unwrap().current.root, root(50));
}

#[test]
fn no_number_is_given_to_two_runs() {
    let mut world = world();
    let a = world.enter(1, 11, 2);
    let first = world.number(a, true).unwrap();
    assert_eq!(
        world.number(a, true),
        Some(first),
        "the same run asks again"
    );
    let b = world.enter(1, 12, 2);
    let second = world.number(b, true).unwrap();
    assert!(second > first);
    // A number that was given to somebody else, one in use, and one that cannot be.
    for epoch in [first, Epoch(0), Epoch(u64::MAX)] {
        assert_eq!(world.deposit(b, epoch, 50, true).unwrap().certificate, None);
    }
    assert!(world.said(ignored(Fault::NumberNotGiven)));
    assert!(
        world
            .deposit(b, second, 50, true)
            .unwrap()
            .certificate
            .is_some()
    );
    assert!(world.number(b, false) > Some(second));
}

#[test]
fn a_restart_of_the_server_opens_its_own_epoch() {
    let mut world = world();
    let a = sending(&mut world, 1, 11, 50);
    let group = world.peer(a).group();
    world.pass(ms(45_000));
    let next = world.number(a, false).unwrap();
    world.deposit(a, next, 51, false).unwrap();
    assert!(world.channel().announced);
    let revision = world.disk.channels[&CHANNEL].revision;
    let b = sending(&mut world, 1, 12, 52);
    let channel = world.channel();
    assert_eq!(
        (channel.current, channel.next, channel.announced),
        (Some(Epoch(3)), None, false)
    );
    assert!(
        world.disk.channels[&CHANNEL].revision > revision,
        "another change than the announced one"
    );
    assert_ne!(world.peer(b).group(), group);
    // The root of the former run is not this one's, and nobody may start twice.
    assert_eq!(
        world.deposit(b, Epoch(1), 50, false).unwrap().certificate,
        None
    );
    let fourth = world.number(b, true).unwrap();
    assert_eq!(
        world.deposit(b, fourth, 53, true).unwrap().certificate,
        None
    );
    assert!(world.said(ignored(Fault::AlreadyStarted)));
}

#[test]
fn one_server_per_channel_as_long_as_it_is_heard_of() {
    let mut world = world();
    let _a = sending(&mut world, 2, 21, 50);
    let b = world.enter(1, 11, 2);
    assert_eq!(world.number(b, true), None);
    assert!(world.said(ignored(Fault::SecondServer)));
    assert_eq!(
        world.deposit(b, Epoch(2), 60, true).unwrap().certificate,
        None
    );
    assert_eq!(world.channel().current, Some(Epoch(1)));
    world.pass(timing().hold_max());
    world.report(b);
    assert_eq!(
        world.number(b, true),
        Some(Epoch(2)),
        "the other one has been silent for long"
    );
}

#[test]
fn messages_of_the_other_mode_are_refused() {
    let mut world = World::leading(Mode::Authority);
    let a = world.enter(1, 11, 2);
    assert_eq!(world.number(a, true), None);
    assert_eq!(
        world.deposit(a, Epoch(2), 50, true).unwrap().certificate,
        None
    );
    assert!(world.said(ignored(Fault::Mode)));
    let mut world = self::world();
    let a = sending(&mut world, 1, 11, 50);
    assert_eq!(world.early(), Err(NotEarly::ModeA));
    world.peer(a).report.early = Some(Early::Limit);
    world.pass(ms(5000));
    world.report(a);
    assert_eq!(
        world.channel().remaining.duration(),
        timing().prepare_ahead(),
        "SEC-13"
    );
}

#[test]
fn after_a_restart_the_deposits_come_again() {
    let mut world = world();
    let a = sending(&mut world, 1, 11, 50);
    world.pass(ms(30_000));
    let next = world.number(a, false).unwrap();
    let deposited = world.deposit(a, next, 51, false).unwrap();
    world.hold(a, &deposited, false);
    assert!(!world.channel().announced);
    let (full, peer, term) = (world.disk.clone(), world.peer(a).clone(), world.term());
    for stored in [full, Stored::default()] {
        world.restart(stored.clone());
        world.pass(ms(1000));
        let conn = world.relink(peer.clone(), term);
        // The deposits come before the report, and before there is a term.
        assert_eq!(world.deposit(conn, Epoch(1), 50, false), None);
        assert_eq!(world.deposit(conn, Epoch(2), 51, false), None);
        world.report(conn);
        world.pass(ms(1000));
        let answers = world.peer(conn).deposited.clone();
        assert_eq!(answers.len(), 2);
        for answer in &answers {
            let certificate = verified::<LaneCertificate>(answer.certificate.as_ref().unwrap());
            let held = peer.report.current.unwrap();
            assert_eq!(
                (certificate.group, certificate.first_lane),
                (held.group, held.first_lane),
                "nothing changes"
            );
        }
        assert_eq!(
            (world.channel().current, world.channel().next),
            (Some(Epoch(1)), Some(Epoch(2)))
        );
        assert_eq!(world.ask(None).unwrap().current.root, root(50));
        assert_eq!(world.number(conn, false), Some(Epoch(3)));
    }
}

#[test]
fn a_deposit_waits_for_the_report_of_its_run() {
    let mut world = world();
    let a = sending(&mut world, 1, 11, 50);
    let (peer, term) = (world.peer(a).clone(), world.term());
    world.restart(Stored::default());
    world.pass(ms(2000));
    let conn = world.relink(peer, term);
    // The server saw a term that this master does not know of: collected again first.
    world.pass(ms(2000));
    assert_eq!(world.deposit(conn, Epoch(1), 50, false), None);
    world.report(conn);
    assert!(
        world
            .peer(conn)
            .deposited
            .pop()
            .unwrap()
            .certificate
            .is_some()
    );
    assert_eq!(world.ask(None).unwrap().current.root, root(50));
}

#[test]
fn a_deposit_whose_acknowledgement_was_lost_with_its_term_becomes_next() {
    let mut world = world();
    let a = sending(&mut world, 1, 11, 50);
    world.pass(ms(45_000));
    let epoch = world.number(a, false).unwrap();
    world.deposit(a, epoch, 51, false).unwrap();
    let (peer, term, stored) = (world.peer(a).clone(), world.term(), world.disk.clone());
    world.restart(stored);
    let a = world.relink(peer, term);
    world.report(a);
    assert_eq!(world.channel().next, None, "nobody says that it holds it");
    let again = world.deposit(a, epoch, 51, false).unwrap();
    world.hold(a, &again, false);
    assert_eq!(
        (world.channel().next, world.channel().announced),
        (Some(epoch), true)
    );
    world.pass(ms(20_000));
    assert_eq!(world.peer(a).epochs().0, Some(epoch.0));
}

#[test]
fn a_run_whose_keys_ran_out_starts_again() {
    let mut world = world();
    let a = sending(&mut world, 1, 11, 50);
    world.peer(a).report.current = None;
    world.report(a);
    let epoch = world.number(a, true).unwrap();
    let deposited = world.deposit(a, epoch, 51, true).unwrap();
    assert!(deposited.certificate.is_some());
    assert_eq!(world.channel().current, Some(epoch));
}
