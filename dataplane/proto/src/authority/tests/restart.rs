//! Terms, restarts, and what an old copy of the stored state cannot do.

use super::*;
use crate::ids::GroupId;
use crate::wire::control::sign;

/// A master that led long enough for one switch: servers 1 and 2 send under epoch 2.
fn led() -> (World, ConnId, ConnId) {
    let mut world = World::leading(Mode::Authority);
    let (a, b) = (world.enter(1, 11, 2), world.enter(2, 21, 2));
    world.run(ms(70_000));
    assert_eq!(
        (world.peer(a).epochs(), world.peer(b).epochs()),
        ((Some(2), None), (Some(2), None))
    );
    (world, a, b)
}

/// The master restarts from `stored`, and these runs link up again and report.
fn restart(world: &mut World, stored: Stored, conns: &[ConnId]) -> Vec<ConnId> {
    let term = world.term();
    world.restart(stored);
    let again: Vec<_> = conns.iter().map(|conn| world.peer(*conn).clone()).collect();
    again
        .into_iter()
        .map(|peer| {
            let conn = world.relink(peer, term);
            world.report(conn);
            conn
        })
        .collect()
}

fn adopted(epoch: u64, root_known: bool) -> AuthorityEvent {
    AuthorityEvent::Adopted {
        channel: CHANNEL,
        epoch: Epoch(epoch),
        root_known,
    }
}

#[test]
fn nothing_is_handed_out_before_there_is_a_term() {
    let mut world = World::starting(Mode::Authority, Stored::default(), &[]);
    let a = world.enter(1, 11, 2);
    let refused = world.ask(None).unwrap_err();
    assert_eq!(
        (refused.reason, refused.retry_after),
        (Reason::Busy, Remaining::from(NOTICE_INTERVAL))
    );
    assert_eq!(world.early(), Err(NotEarly::NotLeading));
    world.pass(ms(1999));
    assert_eq!(
        (world.peer(a).epochs(), world.sent.len()),
        ((None, None), 0)
    );
    assert_eq!(world.authority.status(world.now).lead, Lead::Starting);
    world.pass(ms(1));
    assert_eq!(world.term().number, 1);
    assert_eq!(
        world.peer(a).epochs().0,
        Some(1),
        "the report that waited is answered"
    );
    assert!(matches!(
        world.sent[..],
        [(first, FromAuthority::Welcome(_)), (second, FromAuthority::Settings(_))]
            if (first, second) == (a, a)
    ));
}

#[test]
fn a_master_leads_as_soon_as_every_known_server_reported() {
    let mut world = World::starting(Mode::Authority, Stored::default(), &[1, 2]);
    world.enter(1, 11, 2);
    assert_eq!(world.authority.status(world.now).lead, Lead::Starting);
    world.enter(2, 21, 2);
    assert_eq!(world.term().number, 1);
    // Servers are known from the stored state, too.
    let stored = world.disk.clone();
    world.restart(stored);
    world.enter(2, 22, 2);
    assert_eq!(world.authority.status(world.now).lead, Lead::Starting);
    world.enter(1, 12, 2);
    assert_eq!(world.term().number, 2);
}

#[test]
fn a_term_is_above_everything_stored_and_reported() {
    let mut world = World::starting(
        Mode::Authority,
        Stored {
            term: Term {
                number: 4,
                instance: 1,
            },
            ..Stored::default()
        },
        &[],
    );
    let conn = world.conn();
    world.hello(
        conn,
        1,
        Term {
            number: 9,
            instance: 5,
        },
        false,
    );
    world.pass(ms(2000));
    assert_eq!(world.term().number, 10);
    assert_ne!(world.term().instance, 0);
    assert_eq!(world.disk.term, world.term());
}

#[test]
fn a_higher_term_or_another_instance_deposes() {
    let own = World::leading(Mode::Authority).term();
    let rivals = [
        Term {
            number: own.number + 1,
            instance: 1,
        },
        Term {
            instance: own.instance ^ 1,
            ..own
        },
    ];
    for seen in rivals {
        let mut world = World::leading(Mode::Authority);
        let a = world.enter(1, 11, 2);
        let conn = world.conn();
        world.hello(conn, 2, seen, true);
        assert!(world.said(AuthorityEvent::Deposed { own, seen }));
        assert_eq!(world.authority.status(world.now).lead, Lead::Deposed);
        assert_eq!(world.ask(None).unwrap_err().reason, Reason::Busy);
        world.pass(ms(10_000));
        assert!(
            world.said(AuthorityEvent::Waiting),
            "a node is linked to the other master"
        );
        assert!(!world.said(AuthorityEvent::Waiting), "said once");
        world.hello(conn, 2, seen, false);
        world.report(a);
        world.pass(ms(2000));
        assert!(world.term().number > seen.number);
        assert_eq!(world.disk.term, world.term());
    }
}

#[test]
fn lanes_of_another_master_depose_too() {
    let mut world = World::leading(Mode::Authority);
    let a = world.enter(1, 11, 2);
    let own = world.term();
    let seen = Term {
        number: own.number + 3,
        instance: 9,
    };
    let held = world.peer(a).report.current.unwrap();
    world.peer(a).report.current = Some(Held {
        term: seen,
        epoch: Epoch(40),
        ..held
    });
    world.report(a);
    assert!(world.said(AuthorityEvent::Deposed { own, seen }));
    world.pass(ms(2000));
    assert_eq!(world.term().number, seen.number + 1);
    assert!(world.said(adopted(40, false)));
    assert_eq!(
        world.channel().next,
        Some(Epoch(41)),
        "numbers go on above everything reported"
    );
}

#[test]
fn after_a_restart_the_epoch_in_use_goes_on_with_what_remains() {
    let (mut world, a, b) = led();
    let lanes = world.peer(a).secrets.len();
    let end = world.now.after(world.channel().remaining.duration());
    let stored = world.disk.clone();
    let conns = restart(&mut world, stored, &[a, b]);
    assert_eq!(world.term().number, 2);
    assert!(world.said(adopted(2, true)));
    let channel = world.channel();
    assert_eq!(
        (channel.current, channel.next, channel.lanes),
        (Some(Epoch(2)), None, 0)
    );
    assert_eq!(
        world.now.after(channel.remaining.duration()),
        end,
        "the shortest countdown of the servers"
    );
    assert_eq!(
        world.peer(conns[0]).secrets.len(),
        lanes,
        "nothing new is needed"
    );
    let group = world.peer(conns[0]).group();
    world.run(end.since(world.now));
    assert_eq!(world.peer(conns[0]).epochs().0, Some(3));
    assert_eq!(
        world.peer(conns[0]).group(),
        group,
        "the run goes on in its group"
    );
}

#[test]
fn sec_06_lanes_of_a_former_terms_root_are_not_handed_out() {
    let (mut world, a, b) = led();
    let stored = world.disk.clone();
    let conns = restart(&mut world, stored, &[a, b]);
    let c = world.enter(3, 31, 2);
    assert_eq!(
        world.peer(c).epochs(),
        (None, Some(3)),
        "it starts with the next epoch"
    );
    assert_eq!(
        world.channel().remaining.duration(),
        timing().prepare_ahead(),
        "which comes early"
    );
    assert!(world.said(AuthorityEvent::EndsEarly {
        channel: CHANNEL,
        epoch: Epoch(2),
        cause: Cause::EarlierTerm
    }));
    world.run(timing().prepare_ahead());
    let epochs = |world: &mut World, conn| world.peer(conn).epochs().0;
    assert_eq!(
        (epochs(&mut world, conns[0]), epochs(&mut world, c)),
        (Some(3), Some(3))
    );
    let first = |conn| world.peers[&conn].report.current.unwrap().first_lane;
    assert!(
        first(c) != first(conns[0])
            && first(c) != first(conns[1])
            && first(conns[0]) != first(conns[1])
    );
}

#[test]
fn a_change_that_was_announced_stays_announced() {
    let (mut world, a, b) = led();
    world.run(ms(32_000));
    assert!(world.channel().announced);
    let before = world.peer(a).notices.last().unwrap().clone();
    let boundary = before.0.after(before.1.remaining.duration());
    let stored = world.disk.clone();
    let conns = restart(&mut world, stored, &[a, b]);
    world.pass(ms(10));
    let channel = world.channel();
    assert_eq!(
        (channel.current, channel.next, channel.announced),
        (Some(Epoch(2)), Some(Epoch(3)), true)
    );
    let (at, after) = world.peer(conns[0]).notices.last().unwrap().clone();
    assert!((after.term.number, after.next) == (2, Epoch(3)) && after.revision > before.1.revision);
    assert_eq!(at.after(after.remaining.duration()), boundary);
    assert_eq!(after.next_commitment, before.1.next_commitment);
    world.pass(boundary.since(world.now));
    assert_eq!(
        (world.peer(conns[0]).epochs().0, world.channel().current),
        (Some(3), Some(Epoch(3)))
    );
}

/// MD-39, MD-40: a standby knows nothing of a change that its former master announced, and the server, which reports only after the standby
/// leads, holds its next key and waits. It takes the standby's key beside that, and the change goes on.
#[test]
fn a_change_that_a_former_master_announced_does_not_stop_the_one_after() {
    let mut world = World::leading(Mode::Authority);
    let conn = world.enter(1, 11, 2);
    let old = world.disk.clone();
    world.run(ms(165_000));
    assert!(world.channel().announced);
    let mut peer = world.peer(conn).clone();
    assert_eq!(peer.epochs(), (Some(3), Some(4)));
    // Nobody announced the change lately: it holds.
    peer.current_end = Time(u64::MAX);
    world.restart(old);
    world.pass(ms(2_000));
    let term = world.term();
    let conn = world.relink(peer, term);
    world.run(ms(60_000));
    let epochs = world.peer(conn).epochs();
    assert!(epochs.0 >= Some(5), "{epochs:?}");
    assert_eq!(world.channel().current, epochs.0.map(Epoch));
}

/// MD-39: a change that came due while no master was there leaves devices their time to fetch all the same.
#[test]
fn a_change_that_was_due_meanwhile_leaves_devices_their_time() {
    for away in [ms(12_000), ms(200_000)] {
        let (mut world, a, b) = led();
        world.run(ms(32_000));
        assert!(world.channel().announced);
        let stored = world.disk.clone();
        for conn in [a, b] {
            world.authority.disconnected(conn);
        }
        world.now = world.now.after(away);
        // They held: that change did not take place.
        for conn in [a, b] {
            let report = &mut world.peer(conn).report;
            for held in [&mut report.current, &mut report.next] {
                let held = held.as_mut().unwrap();
                let left = held.remaining.duration().saturating_sub(away);
                held.remaining = Remaining::from(left);
            }
        }
        let conns = restart(&mut world, stored, &[a, b]);
        world.pass(ms(10));
        let (at, notice) = world.peer(conns[0]).notices.last().unwrap().clone();
        let boundary = at.after(notice.remaining.duration());
        assert_eq!((notice.current, notice.next), (Epoch(2), Epoch(3)));
        let fetch = timing().fetch_ahead();
        let left = boundary.since(world.now);
        assert!(left <= fetch && left + ms(20) >= fetch, "{left:?}");
        world.pass(left);
        assert_eq!(world.channel().current, Some(Epoch(3)));
        assert!(world.channel().remaining.duration() + ms(20) >= timing().lifetime());
    }
}

#[test]
fn a_change_that_was_only_prepared_is_abandoned() {
    let (mut world, a, b) = led();
    world.pass(ms(31_000));
    assert_eq!(
        (world.channel().next, world.channel().announced),
        (Some(Epoch(3)), false)
    );
    let stored = world.disk.clone();
    let conns = restart(&mut world, stored, &[a, b]);
    assert_eq!(
        world.channel().next,
        Some(Epoch(4)),
        "no number is used twice"
    );
    assert_eq!(world.peer(conns[0]).epochs(), (Some(2), Some(4)));
}

#[test]
fn sec_10_only_the_authority_keys_notices_count() {
    let (mut world, a, b) = led();
    let held = world.peer(a).report.current.unwrap();
    let notice = Notice {
        channel: CHANNEL,
        term: held.term,
        current: Epoch(2),
        next: Epoch(3),
        current_commitment: None,
        next_commitment: None,
        revision: 9,
        remaining: Remaining(5000),
    };
    for (seed, counts) in [(OTHER_SEED, false), (SEED, true)] {
        world.peer(a).report.next = Some(Held {
            epoch: Epoch(3),
            ..held
        });
        world.peer(a).report.notice = Some(sign(&notice, &SigningKey::from_seed(&seed)));
        let stored = world.disk.clone();
        let peers = world.peers.clone();
        restart(&mut world, stored, &[a, b]);
        assert_eq!(world.channel().announced, counts);
        world.peers = peers;
    }
}

#[test]
fn an_old_copy_gives_no_lane_and_no_number_twice() {
    let mut world = World::leading(Mode::Authority);
    let a = world.enter(1, 11, 2);
    let old = world.disk.clone();
    world.run(ms(300_000));
    let (used, _) = world.peer(a).epochs();
    assert_eq!(used, Some(6));
    let conns = restart(&mut world, old, &[a]);
    assert!(world.said(adopted(6, false)));
    assert_eq!(
        world.ask(None).unwrap_err().reason,
        Reason::EpochUnavailable,
        "its root is not here"
    );
    assert_eq!(
        world.channel().next,
        Some(Epoch(7)),
        "an early epoch brings one that is"
    );
    assert!(world.channel().remaining.duration() <= timing().prepare_ahead());
    world.run(timing().prepare_ahead());
    assert_eq!(world.peer(conns[0]).epochs().0, Some(7));
    assert!(world.ask(None).is_ok());
    let secrets = world.peer(conns[0]).secrets.clone();
    let different = secrets
        .iter()
        .enumerate()
        .all(|(index, one)| secrets[..index].iter().all(|other| other.2 != one.2));
    assert!(different, "no lane key came twice");
}

#[test]
fn without_anybody_sending_a_new_epoch_opens_at_once() {
    let (mut world, _, _) = led();
    let stored = world.disk.clone();
    world.restart(stored);
    world.pass(ms(2000));
    assert_eq!(world.channel().current, None);
    let a = world.enter(1, 12, 2);
    assert_eq!(world.peer(a).epochs(), (Some(3), None));
    // A server that did not come back may still be under the old epoch.
    assert_eq!(world.ask(Some(2)).unwrap().current.epoch, Epoch(2));
    world.report(a);
    world.run(timing().hold_max());
    assert!(world.ask(Some(2)).is_err());
}

#[test]
fn a_server_that_was_out_of_reach_is_heard_later() {
    let (mut world, a, b) = led();
    let term = world.term();
    // Server 2 had been told of another change by a term whose stored state is lost.
    let (mut late, stored) = (world.peer(b).clone(), world.disk.clone());
    let held = late.report.current.unwrap();
    late.report.current = Some(Held {
        epoch: Epoch(5),
        term: Term {
            number: term.number,
            ..held.term
        },
        ..held
    });
    late.report.current.as_mut().unwrap().group = GroupId(77);
    let conns = restart(&mut world, stored, &[a]);
    world.pass(ms(2000));
    assert_eq!(world.channel().current, Some(Epoch(2)));
    let b = world.relink(late, term);
    world.report(b);
    assert!(world.said(adopted(5, false)));
    assert_eq!(world.channel().next, Some(Epoch(6)));
    world.report(conns[0]);
    assert_eq!(world.peer(conns[0]).epochs(), (Some(2), Some(6)));
    world.run(timing().prepare_ahead());
    assert_eq!(
        (world.peer(conns[0]).epochs().0, world.peer(b).epochs().0),
        (Some(6), Some(6))
    );
}

#[test]
fn an_announced_boundary_stands_when_another_epoch_turns_out_to_be_in_use() {
    let (mut world, a, b) = led();
    world.authority.disconnected(b);
    let (mut late, term) = (world.peer(b).clone(), world.term());
    world.peers.remove(&b);
    // The number 3 is used up by a mere preparation; 4 is announced.
    world.run(ms(30_000));
    let stored = world.disk.clone();
    let conns = restart(&mut world, stored, &[a]);
    world.run(ms(6000));
    let (before, next) = (world.channel(), world.channel().next.unwrap());
    assert!(before.announced && next > Epoch(3));
    let held = late.report.current.unwrap();
    late.report.current = Some(Held {
        epoch: Epoch(3),
        ..held
    });
    late.current_end = world.now.after(ms(59_000));
    let b = world.relink(late, term);
    world.report(b);
    assert!(world.said(adopted(3, false)));
    let after = world.channel();
    assert_eq!((after.next, after.announced), (Some(next), true));
    assert_eq!(after.remaining, before.remaining);
    world.run(after.remaining.duration());
    assert_eq!(
        (world.peer(conns[0]).epochs().0, world.channel().current),
        (Some(next.0), Some(next))
    );
}

#[test]
fn a_stored_root_of_the_same_number_but_another_term_is_not_the_one_in_use() {
    let (mut world, a, b) = led();
    let other = Term {
        number: 1,
        instance: 5,
    };
    for conn in [a, b] {
        let held = world.peer(conn).report.current.unwrap();
        world.peer(conn).report.current = Some(Held {
            term: other,
            ..held
        });
    }
    let stored = world.disk.clone();
    restart(&mut world, stored, &[a, b]);
    assert!(world.said(adopted(2, false)));
    assert!(
        world.ask(None).is_err(),
        "devices could not open anything with that root"
    );
}

#[test]
fn other_keys_under_the_same_number_are_a_conflict() {
    let mut world = World::leading(Mode::Authority);
    let a = world.enter(1, 11, 2);
    let held = world.peer(a).report.current.unwrap();
    let foreign = [
        Held {
            term: Term::NONE,
            ..held
        },
        Held {
            first_lane: Lane::new(9).unwrap(),
            ..held
        },
    ];
    for held in foreign {
        let mut world = World::leading(Mode::Authority);
        let a = world.enter(1, 11, 2);
        world.peer(a).report.current = Some(held);
        let term = world.term();
        world.peer(a).report.current.as_mut().unwrap().term.instance = if held.term == Term::NONE {
            0
        } else {
            term.instance
        };
        world.report(a);
        assert!(world.said(AuthorityEvent::Conflict {
            channel: CHANNEL,
            epoch: Epoch(1),
            server: ServerId(1)
        }));
        assert_eq!(world.peer(a).epochs(), (Some(1), Some(2)));
    }
}
