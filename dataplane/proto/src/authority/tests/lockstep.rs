//! Mode B: start, lanes, prepare, acknowledge, announce, switch, and what devices get.

use super::*;
use crate::ids::Kid;
use crate::limits::RUNS_PER_EPOCH;

fn world() -> World {
    World::leading(Mode::Authority)
}

#[test]
fn md_16_17_18_the_first_server_gets_the_current_cipher_half() {
    let mut world = world();
    let a = world.enter(1, 11, 3);
    assert!(world.said(AuthorityEvent::Opened {
        channel: CHANNEL,
        epoch: Epoch(1)
    }));
    let held = world.peer(a).report.current.unwrap();
    assert_eq!(held.epoch, Epoch(1));
    assert_eq!(held.remaining.duration(), timing().lifetime());
    // What the device gets opens what the server seals (MD-02, MD-05).
    let granted = world.ask(None).unwrap();
    let prk = granted.current.root.prk();
    for (epoch, lane, secret) in world.peer(a).secrets.clone() {
        assert_eq!(
            secret,
            prk.lane_secret(Kid::new(lane, CHANNEL, epoch).value())
        );
    }
    assert_eq!(world.peer(a).secrets.len(), 3);
}

#[test]
fn sec_06_runs_never_share_lanes() {
    let mut world = world();
    let (a, b) = (world.enter(1, 11, 3), world.enter(2, 21, 2));
    let lanes = |peer: &Peer| {
        peer.secrets
            .iter()
            .map(|(_, lane, _)| lane.number())
            .collect::<Vec<_>>()
    };
    assert_eq!(lanes(world.peer(a)), [1, 2, 3]);
    assert_eq!(
        lanes(world.peer(b)),
        [4, 5],
        "MD-22, MD-24: one root, lanes of its own"
    );
    assert_ne!(world.peer(a).group(), world.peer(b).group());
    // The same run asks again: the same lanes. A restart: new lanes, new group, which follows the first.
    let first = world.peer(a).clone();
    world.peer(a).report.current = None;
    world.report(a);
    assert_eq!(
        world.peer(a).report.current.unwrap().first_lane,
        first.report.current.unwrap().first_lane
    );
    assert_eq!(world.peer(a).group(), first.group());
    let restarted = world.enter(1, 12, 3);
    assert_eq!(lanes(world.peer(restarted)), [6, 7, 8]);
    assert_eq!(
        world.peer(restarted).certificates[0].follows,
        Some(first.group())
    );
    assert!(world.said(AuthorityEvent::Relinked {
        server: ServerId(1)
    }));
}

#[test]
fn a_run_keeps_its_group_until_its_numbers_run_out() {
    let mut world = world();
    let a = world.enter(1, 11, 1);
    let group = world.peer(a).group();
    world.run(ms(60_000));
    assert_eq!(world.peer(a).epochs().0, Some(2));
    assert_eq!(world.peer(a).group(), group);
    let report = &mut world.peer(a).report;
    (report.early, report.new_group) = (Some(Early::Numbers), true);
    // Said again and again until the switch, it makes one new group.
    world.run(ms(20_000));
    assert_eq!(world.peer(a).epochs().0, Some(3));
    assert_ne!(world.peer(a).group(), group);
    let second = world.peer(a).group();
    assert_eq!(
        world.peer(a).certificates.last().unwrap().follows,
        Some(group)
    );
    world.peer(a).report.new_group = false;
    world.run(ms(60_000));
    assert_eq!(
        (world.peer(a).epochs().0, world.peer(a).group()),
        (Some(4), second)
    );
}

#[test]
fn md_19_20_23_24_38_many_requests_make_one_next_key_and_leave_the_boundary() {
    let mut world = world();
    let (a, b) = (world.enter(1, 11, 1), world.enter(2, 21, 1));
    world.pass(ms(5000));
    for conn in [a, b, a, b] {
        world.peer(conn).report.wants_next = true;
        world.report(conn);
    }
    assert_eq!(
        (world.peer(a).epochs(), world.peer(b).epochs()),
        ((Some(1), Some(2)), (Some(1), Some(2)))
    );
    let channel = world.channel();
    assert_eq!(
        (channel.next, channel.announced),
        (Some(Epoch(2)), false),
        "not announced before the first preset"
    );
    assert_eq!(channel.remaining.duration(), ms(55_000));
    assert_eq!(
        world.events(|event| matches!(event, AuthorityEvent::Prepared { .. })),
        1
    );
}

#[test]
fn int_17_a_change_is_announced_when_everybody_acknowledged() {
    let mut world = world();
    let (a, b) = (world.enter(1, 11, 1), world.enter(2, 21, 1));
    world.pass(ms(40_000));
    assert_eq!(
        world.peer(a).epochs(),
        (Some(1), Some(2)),
        "prepared at the first preset"
    );
    world.report(a);
    assert!(!world.channel().announced);
    world.report(b);
    assert!(world.said(AuthorityEvent::Announced {
        channel: CHANNEL,
        epoch: Epoch(2),
        missing: vec![],
        slaves: Vec::new(),
    }));
    assert!(world.disk.channels[&CHANNEL].announced.is_some());
    world.pass(ms(20_000));
    assert_eq!(
        (world.peer(a).epochs(), world.peer(b).epochs()),
        ((Some(2), None), (Some(2), None))
    );
    assert_eq!(world.channel().current, Some(Epoch(2)), "MD-15");
    assert_eq!(world.channel().remaining.duration(), timing().lifetime());
}

#[test]
fn md_26_notices_repeat_with_what_remains() {
    let mut world = world();
    let a = world.enter(1, 11, 1);
    world.pass(ms(40_000));
    world.report(a);
    world.pass(ms(20_000));
    let notices = world.peer(a).notices.clone();
    assert_eq!(
        notices.len(),
        80,
        "4 a second from the announcement to the boundary"
    );
    let boundary = notices[0].0.after(ms(20_000));
    let (current, next) = (world.ask(Some(1)), world.ask(None).unwrap().current);
    for (at, notice) in notices {
        assert_eq!(
            (notice.current, notice.next, notice.revision),
            (Epoch(1), Epoch(2), notice.revision)
        );
        assert_eq!(at.after(notice.remaining.duration()), boundary);
        assert_eq!(
            notice.next_commitment,
            Some(next.root.prk().commitment(CHANNEL.0, 2))
        );
        let root = &current.as_ref().unwrap().current.root;
        assert_eq!(
            notice.current_commitment,
            Some(root.prk().commitment(CHANNEL.0, 1))
        );
    }
}

#[test]
fn int_17_the_deadline_passes_with_an_alarm_that_names_who_is_missing() {
    let mut world = world();
    let (a, b) = (world.enter(1, 11, 1), world.enter(2, 21, 1));
    world.pass(ms(40_000));
    world.authority.disconnected(b);
    world.report(a);
    world.pass(ms(4999));
    assert!(!world.channel().announced);
    world.pass(ms(1));
    assert!(world.said(AuthorityEvent::Announced {
        channel: CHANNEL,
        epoch: Epoch(2),
        missing: vec![ServerId(2)],
        slaves: Vec::new(),
    }));
    assert_eq!(world.channel().remaining.duration(), ms(15_000));
}

#[test]
fn int_17_without_any_acknowledgement_the_epoch_goes_on() {
    let mut world = world();
    let a = world.enter(1, 11, 1);
    world.peer(a).report.wants_next = true;
    world.authority.disconnected(a);
    world.pass(ms(100_000));
    let nobody =
        |event: &AuthorityEvent| matches!(event, AuthorityEvent::NobodyAcknowledged { .. });
    assert_eq!(world.events(nobody), 1, "said once");
    assert_eq!(world.channel().current, Some(Epoch(1)));
    // It comes back, still under the old key, and devices get their full time.
    let peer = world.peer(a).clone();
    let term = world.term();
    let a = world.relink(peer, term);
    world.report(a);
    world.report(a);
    assert!(world.channel().announced);
    assert_eq!(world.channel().remaining.duration(), timing().fetch_ahead());
    world.pass(timing().fetch_ahead());
    assert_eq!(world.peer(a).epochs().0, Some(2));
    let next = world.channel().remaining.duration();
    assert_eq!(next, timing().lifetime());
}

#[test]
fn sec_13_an_early_epoch_leaves_the_first_preset_and_never_less() {
    let mut world = world();
    let a = world.enter(1, 11, 1);
    world.pass(ms(10_000));
    world.peer(a).report.early = Some(Early::Limit);
    world.report(a);
    assert_eq!(
        world.channel().remaining.duration(),
        timing().prepare_ahead()
    );
    world.pass(ms(1000));
    world.report(a);
    assert_eq!(
        world.channel().remaining.duration(),
        ms(19_000),
        "asking again changes nothing"
    );
    assert_eq!(world.early(), Ok(()));
    assert_eq!(world.channel().remaining.duration(), ms(19_000));
    assert_eq!(
        world.events(|event| matches!(event, AuthorityEvent::EndsEarly { .. })),
        1
    );
    world.pass(ms(19_000));
    assert_eq!(world.peer(a).epochs().0, Some(2));
    assert_eq!(world.channel().remaining.duration(), timing().lifetime());
    // A wish about the former epoch does not shorten this one.
    let mut late = world.peer(a).report.clone();
    late.early = Some(Early::Limit);
    late.current = late.current.map(|held| Held {
        epoch: Epoch(1),
        ..held
    });
    world.say(a, ToAuthority::Report(late));
    assert_eq!(world.channel().remaining.duration(), timing().lifetime());
}

#[test]
fn an_announced_change_may_come_earlier_under_the_same_revision() {
    let mut world = world();
    let a = world.enter(1, 11, 1);
    world.pass(ms(30_000));
    assert_eq!(world.early(), Ok(()));
    world.report(a);
    let revision = world.peer(a).notices.last().unwrap().1.revision;
    world.pass(ms(20_000));
    assert_eq!(world.peer(a).epochs().0, Some(2));
    assert!(
        world
            .peer(a)
            .notices
            .iter()
            .all(|(_, notice)| notice.revision == revision)
    );
    world.run(ms(60_000));
    assert_eq!(
        world.peer(a).notices.last().unwrap().1.revision,
        revision + 1
    );
}

#[test]
fn lanes_used_up_bring_an_early_epoch_if_that_helps() {
    let mut world = world();
    let a = world.enter(1, 11, 200);
    let b = world.enter(2, 21, 56);
    assert!(world.said(AuthorityEvent::LanesExhausted {
        channel: CHANNEL,
        epoch: Epoch(1),
        server: ServerId(2)
    }));
    assert_eq!(
        world.channel().next,
        None,
        "256 lanes do not fit in any epoch"
    );
    world.authority.disconnected(b);
    let b = world.enter(2, 22, 55);
    assert_eq!(world.peer(b).epochs(), (Some(1), None));
    let c = world.enter(2, 23, 55);
    assert_eq!(world.peer(c).epochs(), (None, Some(2)));
    assert_eq!(
        world.channel().remaining.duration(),
        timing().prepare_ahead()
    );
    world.run(ms(20_000));
    assert_eq!(
        (world.peer(a).epochs().0, world.peer(c).epochs().0),
        (Some(2), Some(2))
    );
}

#[test]
fn sec_06_a_crash_loop_waits_for_the_next_epoch() {
    let mut world = world();
    for run in 0..RUNS_PER_EPOCH as u64 {
        let conn = world.enter(1, 100 + run, 4);
        assert_eq!(world.peer(conn).epochs().0, Some(1));
        world.authority.disconnected(conn);
    }
    let conn = world.enter(1, 999, 4);
    assert_eq!(world.peer(conn).epochs(), (None, None));
    assert!(world.said(AuthorityEvent::RunsExhausted {
        channel: CHANNEL,
        epoch: Epoch(1),
        server: ServerId(1)
    }));
    assert_eq!(world.channel().lanes, 64);
    world.run(ms(60_000));
    assert_eq!(world.peer(conn).epochs().0, Some(2));
}

#[test]
fn md_40_a_server_that_missed_a_change_catches_up() {
    let mut world = world();
    let (a, b) = (world.enter(1, 11, 1), world.enter(2, 21, 1));
    world.authority.disconnected(b);
    for _ in 0..60 {
        world.report(a);
        world.pass(ms(1000));
    }
    assert_eq!(
        (world.peer(a).epochs().0, world.peer(b).epochs().0),
        (Some(2), Some(1))
    );
    let peer = world.peer(b).clone();
    let term = world.term();
    let b = world.relink(peer, term);
    world.report(b);
    assert_eq!(world.peer(b).epochs(), (Some(1), Some(2)));
    let notice = world.peer(b).notices.last().unwrap().1.clone();
    assert_eq!(
        (notice.current, notice.next, notice.remaining),
        (Epoch(1), Epoch(2), Remaining(0))
    );
    world.pass(ms(0));
    assert_eq!(world.peer(b).epochs(), (Some(2), None));
    let lanes: Vec<_> = [a, b]
        .iter()
        .map(|conn| world.peers[conn].report.current.unwrap().first_lane)
        .collect();
    assert_ne!(lanes[0], lanes[1]);
}

#[test]
fn md_05_21_25_37_devices_get_what_they_name() {
    let mut world = world();
    let refused = |answer: Result<Granted, Refused>| answer.unwrap_err().reason;
    assert_eq!(
        refused(world.ask(None)),
        Reason::EpochUnavailable,
        "nothing is in use"
    );
    let a = world.enter(1, 11, 1);
    world.pass(ms(40_000));
    assert_eq!(world.channel().next, Some(Epoch(2)));
    let granted = world.ask(None).unwrap();
    assert_eq!(
        (granted.current.epoch, granted.next),
        (Epoch(1), None),
        "prepared is not announced"
    );
    assert_eq!(granted.current.remaining.duration(), ms(20_000), "MD-10");
    assert!(granted.fetch_offset.duration() < timing().fetch_ahead());
    assert_eq!(refused(world.ask(Some(2))), Reason::EpochUnavailable);
    world.report(a);
    for wanted in [None, Some(1), Some(2)] {
        let granted = world.ask(wanted).unwrap();
        let next = granted.next.unwrap();
        assert_eq!((granted.current.epoch, next.epoch), (Epoch(1), Epoch(2)));
        assert_eq!(next.remaining.duration(), ms(80_000));
    }
    assert_eq!(refused(world.ask(Some(3))), Reason::EpochUnavailable);
    world.pass(ms(20_000));
    // The server has not said that it left epoch 1: late devices still get it.
    world.pass(ms(10_000));
    let older = world.ask(Some(1)).unwrap();
    assert_eq!(
        (older.current.epoch, older.current.remaining),
        (Epoch(1), Remaining(0))
    );
    assert_eq!(older.next.unwrap().epoch, Epoch(2));
    world.report(a);
    assert_eq!(
        refused(world.ask(Some(1))),
        Reason::EpochUnavailable,
        "left by everybody"
    );
    assert!(
        world.disk.channels[&CHANNEL]
            .epochs
            .iter()
            .all(|stored| stored.epoch >= Epoch(2))
    );
}

#[test]
fn a_silent_server_is_waited_for_until_it_has_surely_stopped() {
    let mut world = world();
    let (a, b) = (world.enter(1, 11, 1), world.enter(2, 21, 1));
    world.report(b);
    world.authority.disconnected(b);
    world.peers.remove(&b);
    world.run(timing().hold_max() - ms(2000));
    assert!(world.ask(Some(1)).is_ok(), "it may hold epoch 1");
    world.run(ms(3000));
    assert!(world.said(AuthorityEvent::Silent {
        channel: CHANNEL,
        server: ServerId(2)
    }));
    assert!(world.ask(Some(1)).is_err());
    assert!(world.peer(a).epochs().0 > Some(9), "it held nobody up");
}

#[test]
fn an_epoch_that_is_over_and_used_by_nobody_is_not_taken_up_again() {
    let mut world = world();
    let a = world.enter(1, 11, 1);
    world.authority.disconnected(a);
    world.pass(ms(61_000));
    let b = world.enter(1, 12, 1);
    assert!(
        world.peer(b).epochs().0 > Some(2),
        "the one prepared meanwhile was offered to the dead run: dropped"
    );
    assert_eq!(world.channel().remaining.duration(), timing().lifetime());
}

#[test]
fn of_two_links_of_one_server_the_newer_counts() {
    let mut world = world();
    let a = world.enter(1, 11, 1);
    let b = world.enter(1, 12, 1);
    let lanes = world.channel().lanes;
    world.peer(a).report.current = None;
    world.report(a);
    assert!(world.peer(a).report.current.is_none());
    for _ in 0..50 {
        world.report(b);
        world.pass(ms(1000));
    }
    assert!(world.peer(a).notices.is_empty() && !world.peer(b).notices.is_empty());
    assert_eq!(world.channel().lanes, lanes);
}

#[test]
fn of_two_links_the_older_gets_nothing_before_the_newer_reports() {
    let mut world = world();
    let a = world.enter(1, 11, 1);
    world.report(a);
    world.join(1, 12, 1);
    world.pass(ms(40_000));
    assert_eq!(world.peer(a).epochs(), (Some(1), None));
}

#[test]
fn strangers_get_no_cipher_half() {
    let mut world = world();
    let a = world.enter(1, 11, 1);
    let report = world.peer(a).report.clone();
    let silent = world.conn();
    let later = Held {
        term: Term {
            number: 99,
            instance: 1,
        },
        ..report.current.unwrap()
    };
    world.sent.clear();
    for current in [None, Some(later)] {
        world.say(
            silent,
            ToAuthority::Report(Report {
                current,
                run: RunId(5),
                ..report.clone()
            }),
        );
        world.term();
        assert!(
            world.sent.is_empty(),
            "the word of one that did not say who speaks deposes nobody"
        );
    }
    world.sent.clear();
    let stranger = world.conn();
    world.say(stranger, ToAuthority::Report(report.clone()));
    assert!(world.sent.is_empty(), "{:?}", world.sent);
    let fault = |channel, server, fault| AuthorityEvent::Ignored {
        channel,
        server,
        fault,
    };
    assert!(world.said(fault(CHANNEL, None, Fault::NotAServer)));
    let unknown = ChannelId(99);
    world.say(
        a,
        ToAuthority::Report(Report {
            channel: unknown,
            ..report.clone()
        }),
    );
    assert!(world.said(fault(unknown, Some(ServerId(1)), Fault::ChannelUnknown)));
    let implausible = [
        Report {
            lanes: 0,
            ..report.clone()
        },
        Report {
            current: report.current.map(|held| Held {
                epoch: Epoch(u64::MAX),
                ..held
            }),
            ..report.clone()
        },
        Report {
            next: report.current.map(|held| Held {
                epoch: Epoch(0),
                ..held
            }),
            ..report.clone()
        },
    ];
    for report in implausible {
        world.peer(a).secrets.clear();
        world.say(a, ToAuthority::Report(report));
        assert!(world.peer(a).secrets.is_empty());
    }
    assert!(world.said(fault(CHANNEL, Some(ServerId(1)), Fault::Implausible)));
    world.say(
        a,
        ToAuthority::Report(Report {
            mode: Mode::DeliveryServer,
            ..report
        }),
    );
    assert!(world.said(fault(CHANNEL, Some(ServerId(1)), Fault::Mode)));
    assert_eq!(world.channel().current, Some(Epoch(1)));
}

#[test]
fn a_ping_is_echoed() {
    let mut world = world();
    let conn = world.conn();
    let ping = crate::wire::link::Ping { echo: Time(77) };
    world.say(conn, ToAuthority::Ping(ping.clone()));
    assert_eq!(world.sent.pop(), Some((conn, FromAuthority::Pong(ping))));
}
