//! Channels that come, change and go; the authority's keys and their succession; what tells an old copy.

use super::*;
use crate::wire::link::Settings;

const OTHER: ChannelId = ChannelId(8);

fn two() -> Vec<ChannelConfig> {
    vec![
        channel_config(CHANNEL, Mode::Authority),
        channel_config(OTHER, Mode::Authority),
    ]
}

/// Every lane's secret that this run holds.
fn lanes(world: &mut World, conn: ConnId) -> Vec<LaneSecret> {
    let secrets = &world.peer(conn).secrets;
    secrets
        .iter()
        .map(|(_, _, secret)| secret.clone())
        .collect()
}

#[test]
fn a_channel_that_comes_starts_like_any_other() {
    let mut world = World::leading(Mode::Authority);
    world.set_channels(vec![channel_config(OTHER, Mode::Authority)]);
    assert!(!world.served.contains_key(&CHANNEL));
    let a = world.enter(1, 11, 2);
    let unknown = AuthorityEvent::Ignored {
        channel: CHANNEL,
        server: Some(ServerId(1)),
        fault: Fault::ChannelUnknown,
    };
    assert!(world.said(unknown));
    assert_eq!(world.peer(a).epochs(), (None, None));
    world.set_channels(two());
    assert!(world.disk.channels.contains_key(&CHANNEL));
    let refused = world.ask(None).unwrap_err();
    assert_eq!(refused.reason, Reason::EpochUnavailable);
    world.report(a);
    assert_eq!(world.peer(a).epochs(), (Some(1), None));
    assert_eq!(world.ask(None).unwrap().current.epoch, Epoch(1));
    world.run(ms(70_000));
    assert_eq!(world.peer(a).epochs(), (Some(2), None));
}

#[test]
fn channels_that_are_set_before_there_is_a_term_are_led_with_it() {
    let mut world = World::starting(Mode::Authority, Stored::default(), &[]);
    world.set_channels(two());
    assert!(world.served.is_empty() && world.disk == Stored::default());
    world.pass(ms(2000));
    let served: Vec<_> = world.served.keys().copied().collect();
    assert_eq!(served, [CHANNEL, OTHER]);
}

/// New key times: every server and every door hears of them at once, the epoch in use keeps its end, the next one has them.
#[test]
fn new_key_times_hold_from_the_next_epoch_on() {
    let mut world = World::leading(Mode::Authority);
    let a = world.enter(1, 11, 2);
    world.run(ms(10_000));
    let before = world.channel().remaining;
    let times = Timing::new(ms(30_000), ms(15_000), ms(8_000), ms(1_000)).unwrap();
    let config = ChannelConfig {
        timing: times,
        ..channel_config(CHANNEL, Mode::Authority)
    };
    world.sent.clear();
    world.set_channels(vec![config.clone()]);
    let expected = Settings {
        channel: CHANNEL,
        mode: Mode::Authority,
        timing: times,
    };
    assert_eq!(world.sent, [(a, FromAuthority::Settings(expected))]);
    assert_eq!(world.ask(None).unwrap().timing, times);
    assert_eq!(world.channel().remaining, before);
    world.sent.clear();
    world.set_channels(vec![config]);
    assert!(world.sent.is_empty(), "nothing changed");
    world.run(before.duration());
    assert_eq!(world.peer(a).epochs(), (Some(2), None));
    assert_eq!(world.channel().remaining, Remaining(30_000));
    world.run(ms(30_000));
    assert_eq!(world.peer(a).epochs(), (Some(3), None));
    // Longer ones again: whoever links up later hears of them first.
    world.set_channels(vec![channel_config(CHANNEL, Mode::Authority)]);
    let b = world.enter(2, 21, 1);
    let told = world
        .sent
        .iter()
        .rev()
        .find_map(|(conn, message)| match message {
            FromAuthority::Settings(settings) if *conn == b => Some(settings.timing),
            _ => None,
        });
    assert_eq!(told, Some(timing()));
}

/// SEC-06: what goes is not served, its servers hear nothing, and when it comes back its numbers go on and no lane that was
/// handed out is handed out again, though the term is the same.
#[test]
fn sec_06_a_channel_that_goes_and_comes_back_gives_no_lane_and_no_number_twice() {
    let mut world = World::leading(Mode::Authority);
    let a = world.enter(1, 11, 2);
    world.run(ms(70_000));
    assert_eq!(world.peer(a).epochs(), (Some(2), None));
    world.set_channels(Vec::new());
    assert!(world.served.is_empty());
    assert_eq!(world.disk.channels[&CHANNEL].highest, Epoch(2));
    world.sent.clear();
    world.report(a);
    assert!(world.sent.is_empty());
    world.set_channels(vec![channel_config(CHANNEL, Mode::Authority)]);
    // The one that went on sending reports, and one that is new: no lane of epoch 2 may go to it.
    world.report(a);
    let b = world.enter(2, 21, 2);
    world.run(ms(30_000));
    assert_eq!(
        (world.peer(a).epochs().0, world.peer(b).epochs().0),
        (Some(3), Some(3))
    );
    let all = [lanes(&mut world, a), lanes(&mut world, b)].concat();
    let twice = |index: usize| all[..index].contains(&all[index]);
    assert!(!(0..all.len()).any(twice), "a lane was handed out twice");
    let conflict = |event: &AuthorityEvent| matches!(event, AuthorityEvent::Conflict { .. });
    assert_eq!(world.events(conflict), 0, "nobody did wrong");
}

/// The same when the new server is the first to report.
#[test]
fn sec_06_a_new_server_of_a_channel_that_came_back_gets_no_lane_of_an_epoch_in_use() {
    let mut world = World::leading(Mode::Authority);
    let a = world.enter(1, 11, 2);
    world.run(ms(5_000));
    world.set_channels(Vec::new());
    world.set_channels(vec![channel_config(CHANNEL, Mode::Authority)]);
    let b = world.enter(2, 21, 2);
    world.report(a);
    world.run(ms(70_000));
    let all = [lanes(&mut world, a), lanes(&mut world, b)].concat();
    let twice = |index: usize| all[..index].contains(&all[index]);
    assert!(!(0..all.len()).any(twice), "a lane was handed out twice");
    assert_eq!(world.peer(a).epochs().0, world.peer(b).epochs().0);
}

/// Who generates is no setting that servers can take over in operation: the channel begins anew, with higher numbers.
#[test]
fn a_channel_whose_mode_changes_begins_anew() {
    let mut world = World::leading(Mode::Authority);
    let a = world.enter(1, 11, 2);
    world.set_channels(vec![channel_config(CHANNEL, Mode::DeliveryServer)]);
    world.report(a);
    assert!(world.said(AuthorityEvent::Ignored {
        channel: CHANNEL,
        server: Some(ServerId(1)),
        fault: Fault::Mode,
    }));
    let expected = Settings {
        channel: CHANNEL,
        mode: Mode::DeliveryServer,
        timing: timing(),
    };
    let told = (a, FromAuthority::Settings(expected));
    assert_eq!(world.sent.last(), Some(&told), "so that it can say why");
    let b = world.join(2, 21, 1);
    world.report(b);
    assert_eq!(world.number(b, true), Some(Epoch(2)));
}

/// What goes while another master leads is not served when this one leads again.
#[test]
fn a_channel_that_goes_while_deposed_is_served_no_more() {
    let mut world = World::leading(Mode::Authority);
    world.set_channels(two());
    world.enter(1, 11, 2);
    let own = world.term();
    let conn = world.conn();
    let rival = Term {
        number: own.number + 1,
        instance: 1,
    };
    world.hello(conn, 2, rival, true);
    assert_eq!(world.authority.status(world.now).lead, Lead::Deposed);
    world.set_channels(vec![channel_config(OTHER, Mode::Authority)]);
    world.hello(conn, 2, rival, false);
    world.pass(ms(10_000));
    world.term();
    let served: Vec<_> = world.served.keys().copied().collect();
    assert_eq!(served, [OTHER]);
}

fn key(seed: [u8; 32]) -> SigningKey {
    SigningKey::from_seed(&seed)
}

fn keys(signing: [u8; 32], authority: [u8; 32], successor: Option<[u8; 32]>) -> Keys {
    Keys {
        signing: key(signing).into(),
        authority: key(authority).verifying_key(),
        successor: successor.map(|seed| key(seed).verifying_key()),
    }
}

/// Which of the two keys signed the last certificate and the last Notice of a run ([`SEED`]: false).
fn signed_by_other(world: &mut World, conn: ConnId) -> bool {
    let datagram = world.peer(conn).report.notice.clone().unwrap();
    let unverified = Unverified::<Notice>::parse(&datagram).unwrap();
    unverified.verify(&key(OTHER_SEED).verifying_key()).is_ok()
}

/// The succession of the authority key in three steps (SEC-10): at each, nodes and doors are told at once, and what is
/// signed verifies by what they were told ([`World::verified`]), for nodes that were told of it and those that come later.
#[test]
fn sec_10_the_authority_key_is_succeeded_in_three_steps() {
    let mut world = World::leading(Mode::Authority);
    let a = world.enter(1, 11, 2);
    let steps = [
        (keys(SEED, SEED, Some(OTHER_SEED)), false),
        (keys(OTHER_SEED, SEED, Some(OTHER_SEED)), true),
        (keys(OTHER_SEED, OTHER_SEED, None), true),
    ];
    let mut epoch = 1;
    for (index, (keys, signs_other)) in steps.into_iter().enumerate() {
        let (authority, successor, term) = (keys.authority, keys.successor, world.term());
        world.sent.clear();
        world.set_keys(keys);
        let welcome = Welcome {
            term,
            authority,
            successor,
        };
        let nodes: Vec<_> = world.peers.keys().copied().collect();
        let told = nodes
            .iter()
            .map(|conn| (*conn, FromAuthority::Welcome(welcome.clone())));
        assert_eq!(world.sent, told.collect::<Vec<_>>());
        let granted = world.ask(None).unwrap();
        assert_eq!(
            (granted.authority, granted.successor),
            (authority, successor)
        );
        let id = u32::try_from(index).unwrap() + 2;
        let late = world.enter(id, 20, 1);
        assert_eq!(world.told[&late], welcome);
        world.run(ms(60_000));
        epoch += 1;
        for conn in [a, late] {
            assert_eq!(world.peer(conn).epochs(), (Some(epoch), None));
            assert_eq!(signed_by_other(&mut world, conn), signs_other);
        }
    }
}

/// A Notice that the former key signed still proves what was announced, as long as that key is named; and no other does.
#[test]
fn sec_10_a_restarted_master_counts_notices_of_either_key_it_names() {
    for (seed, named, counts) in [
        (SEED, true, true),
        (SEED, false, false),
        (OTHER_SEED, true, true),
        (OTHER_SEED, false, true),
        ([9; 32], true, false),
    ] {
        let mut world = World::leading(Mode::Authority);
        let a = world.enter(1, 11, 2);
        let held = world.peer(a).report.current.unwrap();
        let notice = Notice {
            channel: CHANNEL,
            term: held.term,
            current: Epoch(1),
            next: Epoch(2),
            current_commitment: None,
            next_commitment: None,
            revision: 9,
            remaining: Remaining(5000),
        };
        let report = &mut world.peer(a).report;
        report.next = Some(Held {
            epoch: Epoch(2),
            ..held
        });
        report.notice = Some(crate::wire::control::sign(&notice, &key(seed)));
        let (stored, peer) = (world.disk.clone(), world.peer(a).clone());
        world.restart(stored);
        let term = held.term;
        world.set_keys(match named {
            true => keys(OTHER_SEED, SEED, Some(OTHER_SEED)),
            false => keys(OTHER_SEED, OTHER_SEED, None),
        });
        let a = world.relink(peer, term);
        world.report(a);
        assert_eq!(world.channel().announced, counts, "{seed:?} {named}");
    }
}

fn is_old(event: &AuthorityEvent) -> bool {
    matches!(
        event,
        AuthorityEvent::OldCopy { .. } | AuthorityEvent::OldChannel { .. }
    )
}

/// Starts again from `stored`; the runs link up and report.
fn restart(world: &mut World, stored: Stored, conn: ConnId) -> ConnId {
    let (term, peer) = (world.term(), world.peer(conn).clone());
    world.restart(stored);
    let conn = world.relink(peer, term);
    world.report(conn);
    world.pass(ms(2_000));
    world.term();
    conn
}

#[test]
fn an_ordinary_restart_is_no_old_copy() {
    let mut world = World::leading(Mode::Authority);
    let mut conn = world.enter(1, 11, 2);
    assert_eq!(world.events(is_old), 0, "nor is a first start");
    // In the midst of a key, and of a change that is prepared or announced.
    for pause in [5_000, 70_000, 42_000, 53_000, 58_000] {
        world.run(ms(pause));
        let stored = world.disk.clone();
        conn = restart(&mut world, stored, conn);
        assert_eq!(world.events(is_old), 0, "after {pause} ms");
    }
}

#[test]
fn an_old_copy_is_told_by_the_terms_and_epochs_that_servers_have_seen() {
    let mut world = World::leading(Mode::Authority);
    let conn = world.enter(1, 11, 2);
    let old = world.disk.clone();
    world.run(ms(130_000));
    let newest = world.disk.clone();
    let first = world.term();
    let conn = restart(&mut world, newest, conn);
    world.events.clear();
    world.run(ms(61_000));
    let (used, _) = world.peer(conn).epochs();
    let seen = Epoch(used.unwrap());
    let reported = world.term().number;
    assert!(reported > first.number && seen > Epoch(3));
    // The copy is from the first term, epoch 1.
    let conn = restart(&mut world, old.clone(), conn);
    assert!(world.said(AuthorityEvent::OldCopy {
        stored: old.term,
        seen: reported,
    }));
    assert!(world.said(AuthorityEvent::OldChannel {
        channel: CHANNEL,
        stored: Epoch(1),
        seen,
    }));
    assert_eq!(world.events(is_old), 0, "said once");
    // From then on it is as good as any.
    let stored = world.disk.clone();
    restart(&mut world, stored, conn);
    assert_eq!(world.events(is_old), 0);
}

/// A server that finds its way to a standby only after that has begun to lead tells it all the same.
#[test]
fn an_old_copy_is_told_by_who_reports_later_too() {
    let mut world = World::leading(Mode::Authority);
    let conn = world.enter(1, 11, 2);
    let old = world.disk.clone();
    world.run(ms(130_000));
    let (seen, peer) = (
        Epoch(world.peer(conn).epochs().0.unwrap()),
        world.peer(conn).clone(),
    );
    world.restart(old);
    world.pass(ms(2_000));
    let term = world.term();
    assert_eq!(world.events(is_old), 0);
    let conn = world.relink(peer, term);
    world.report(conn);
    assert!(world.said(AuthorityEvent::OldChannel {
        channel: CHANNEL,
        stored: Epoch(1),
        seen,
    }));
    world.report(conn);
    assert_eq!(world.events(is_old), 0, "said once");
}

/// A copy of the same term that lacks the last epochs only.
#[test]
fn an_old_copy_of_the_last_term_is_told_by_the_epochs() {
    let mut world = World::leading(Mode::Authority);
    let conn = world.enter(1, 11, 2);
    let old = world.disk.clone();
    world.run(ms(130_000));
    let seen = Epoch(world.peer(conn).epochs().0.unwrap());
    restart(&mut world, old, conn);
    assert!(world.said(AuthorityEvent::OldChannel {
        channel: CHANNEL,
        stored: Epoch(1),
        seen,
    }));
    assert_eq!(
        world.events(is_old),
        0,
        "the term is the one that is stored"
    );
}
