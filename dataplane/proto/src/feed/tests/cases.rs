//! What slaves know, hold and tell, case by case.

use super::*;

/// Master, slave 1 at the master, slave 2 at slave 1.
fn chain(rule: WithoutLease) -> World {
    let mut world = World::new(1, 2, rule);
    let end = world.master_time().after(ms(30_000));
    world.publish(channel(CHANNEL, 4, end, false));
    world.lead(Some(TERM));
    world.link(1, None);
    world.pass(ms(100));
    world.link(2, Some(1));
    world.pass(ms(1000));
    world
}

fn served(world: &World, host: u32) -> Served {
    world.hosts[&host].doors.channel(CHANNEL).unwrap().clone()
}

#[test]
fn md_30_slaves_get_snapshot_and_changes_through_slaves() {
    let mut world = chain(WithoutLease::Announced);
    assert_eq!(world.at(2), world.master.at());
    assert!(world.leased(1) && world.leased(2) && world.hosts[&2].serves);
    assert_eq!(served(&world, 2).prepared.unwrap().root, root(5));
    let end = world.master_time().after(ms(20_000));
    world.publish(channel(CHANNEL, 4, end, true));
    world.publish(Update::RightsFloor {
        account: account(1),
        version: 9,
    });
    world.pass(ms(10));
    assert_eq!(world.at(2), world.master.at());
    let there = served(&world, 2);
    assert_eq!(there.next.unwrap().root, root(5));
    let (ours, theirs) = (world.time(2).0, there.in_use.unwrap().end.0);
    let left = theirs - ours;
    assert!((19_980 * MS..19_998 * MS).contains(&left), "SEC-12: {left}");
}

#[test]
fn int_17_what_each_slave_holds_reaches_the_master() {
    let mut world = chain(WithoutLease::Announced);
    let reported = |world: &World, slave: u32| {
        let state = world.master.state(SlaveId(slave)).unwrap();
        (state.parent, state.leased, state.term, state.held[&CHANNEL])
    };
    assert_eq!(reported(&world, 1), (None, true, TERM, Epoch(5)));
    let behind = (Some(SlaveId(1)), true, TERM, Epoch(5));
    assert_eq!(reported(&world, 2), behind);
    let end = world.master_time().after(ms(20_000));
    world.publish(channel(CHANNEL, 5, end, false));
    world.pass(ms(10));
    assert_eq!(reported(&world, 2).3, Epoch(6));
    world.publish(Update::ChannelGone(CHANNEL));
    world.pass(ms(10));
    assert!(world.master.state(SlaveId(2)).unwrap().held.is_empty());
    world.ups.clear();
    world.unlink(1);
    assert!(world.ups.contains(&Up::Gone(SlaveId(1))) && world.ups.contains(&Up::Gone(SlaveId(2))));
    assert!(world.master.state(SlaveId(2)).is_none());
    world.link(1, None);
    world.pass(ms(100));
    assert!(
        world.master.state(SlaveId(2)).is_some(),
        "told again with the next link"
    );
}

#[test]
fn a_slave_that_moves_to_another_parent_is_not_told_gone() {
    let mut world = chain(WithoutLease::Announced);
    world.ups.clear();
    // The new link is there before the old one is found dead.
    world.conns += 1;
    let conn = ConnId(world.conns);
    world.master.linked(conn, key_of(2));
    let report = world.master.state(SlaveId(2)).unwrap().clone();
    let now = world.master_time();
    let report = crate::wire::feed::SlaveReport {
        slave: SlaveId(2),
        term: report.term,
        parent: None,
        doors: report.doors,
        leased: true,
        held: Vec::new(),
    };
    let lease = (Remaining(1000), 0);
    world
        .master
        .handle(now, conn, ToParent::Report(report), lease, &mut Vec::new());
    world.unlink(2);
    world.pass(ms(10));
    assert!(!world.ups.contains(&Up::Gone(SlaveId(2))));
}

#[test]
fn sec_11_no_lease_outlives_the_contact_with_the_master() {
    let mut world = chain(WithoutLease::Strict);
    world.unlink(1);
    let cut = world.now;
    while world.leased(1) || world.leased(2) {
        world.pass(ms(10));
        assert!(world.now <= cut + u64::try_from(LEASE.as_nanos()).unwrap());
    }
    world.pass(ms(10));
    assert!(
        !world.hosts[&1].serves && !world.hosts[&2].serves,
        "strict answers nothing"
    );
    world.link(1, None);
    world.pass(ms(1100));
    assert!(world.hosts[&1].serves && world.hosts[&2].serves);
}

#[test]
fn sec_11_without_a_lease_announced_epochs_are_served_until_they_have_expired_everywhere() {
    let mut world = chain(WithoutLease::Announced);
    let end = world.master_time().after(ms(20_000));
    world.publish(channel(CHANNEL, 4, end, true));
    world.pass(ms(10));
    world.unlink(1);
    // 20 s to the end of the epoch in use, then ten lives of 60 s, 20 s in which a late change may come, and 2 s of grace.
    world.pass(ms(641_900));
    let there = served(&world, 2);
    assert!(world.hosts[&2].serves && there.in_use.is_some() && there.next.is_some());
    world.pass(ms(200));
    let there = served(&world, 2);
    assert!(there.in_use.is_none() && there.next.is_some());
    world.pass(ms(60_000));
    assert!(served(&world, 2).next.is_none());
    world.link(1, None);
    world.link(2, Some(1));
    world.pass(ms(1100));
    assert!(
        served(&world, 2).in_use.is_some(),
        "the master says what is served"
    );
    world.unlink(1);
    world.pass(Duration::from_secs(24 * 3600));
    assert!(world.hosts[&1].serves);
    world.pass(ms(2100));
    assert!(
        !world.hosts[&1].serves,
        "ticket keys are kept a day at most"
    );
}

#[test]
fn a_prepared_key_is_held_but_never_served_without_a_lease() {
    let mut world = chain(WithoutLease::Announced);
    world.unlink(1);
    world.pass(ms(700_000));
    let there = served(&world, 1);
    assert!(there.next.is_none() && there.in_use.is_none());
}

#[test]
fn md_40_a_slave_that_was_away_gets_what_it_missed_or_all() {
    let mut world = chain(WithoutLease::Announced);
    for missed in [1, 100, FEED_LOG, FEED_LOG + 1] {
        world.unlink(1);
        for version in 0..missed {
            let version = version as u64;
            let account = account(u8::try_from(version % 50).unwrap());
            world.publish(Update::RightsFloor { account, version });
        }
        world.link(1, None);
        world.pass(ms(1100));
        assert_eq!(world.at(2), world.master.at(), "after {missed}");
        assert!(world.leased(2) && world.drops.is_empty());
    }
}

#[test]
fn a_slave_that_is_ahead_of_its_new_parent_waits_for_it() {
    let mut world = chain(WithoutLease::Announced);
    world.link(2, None);
    world.unlink(1);
    let end = world.master_time().after(ms(20_000));
    world.publish(channel(CHANNEL, 4, end, true));
    world.pass(ms(100));
    world.link(2, Some(1));
    world.pass(ms(100));
    assert_eq!(world.at(2), world.master.at(), "it does not go back");
    world.link(1, None);
    world.pass(ms(1100));
    world.publish(channel(CHANNEL, 5, end, false));
    world.pass(ms(1100));
    assert_eq!(world.at(2), world.master.at());
    assert!(world.drops.is_empty() && world.leased(2));
}

#[test]
fn sec_06_a_former_master_feeds_nobody_who_saw_the_later_one() {
    let mut world = chain(WithoutLease::Announced);
    let later = Term {
        number: 4,
        instance: 44,
    };
    world.lead(Some(later));
    world.pass(ms(100));
    assert_eq!(world.at(2).unwrap().term, later);
    world.lead(Some(TERM));
    world.pass(ms(100));
    assert_eq!(world.drops, [Dropped::FormerTerm]);
    assert_eq!(world.at(2).unwrap().term, later);
    world.ups.clear();
    world.link(1, None);
    world.pass(ms(100));
    assert!(
        world.ups.contains(&Up::Seen(later)),
        "which the former master hears of"
    );
    let twin = Term {
        number: 4,
        instance: 45,
    };
    world.lead(Some(twin));
    world.link(1, None);
    world.pass(ms(100));
    assert_eq!(
        world.at(1).unwrap().term,
        later,
        "the first instance of a number counts"
    );
}

#[test]
fn slaves_that_feed_each_other_in_a_circle_find_out() {
    let mut world = chain(WithoutLease::Strict);
    world.unlink(1);
    world.link(1, Some(2));
    world.pass(ms(2100));
    assert!(
        !world.leased(1) && !world.leased(2),
        "they cannot keep each other's lease alive"
    );
    world.pass(ms(20_000));
    assert!(!world.drops.is_empty());
}

#[test]
fn sec_15_a_slave_that_is_taken_off_the_roster_is_cut_off_everywhere() {
    let mut world = chain(WithoutLease::Strict);
    world.publish(Update::Roster(vec![key_of(1)]));
    world.pass(ms(10));
    assert!(world.hosts[&2].parent.is_none() && world.hosts[&1].parent.is_some());
    world.link(2, Some(1));
    assert!(world.hosts[&2].parent.is_none());
    world.publish(Update::Roster(vec![SlaveKey {
        slave: SlaveId(1),
        key: [77; 32],
    }]));
    world.pass(ms(10));
    assert!(world.hosts[&1].parent.is_none(), "another key enrolled");
}

#[test]
fn a_restarted_slave_answers_from_what_it_kept() {
    for (rule, serves) in [
        (WithoutLease::Announced, true),
        (WithoutLease::Strict, false),
    ] {
        let mut world = chain(rule);
        let kept = world.hosts[&1].slave.kept();
        world.unlink(1);
        world.pass(ms(5000));
        let now = world.time(1);
        let config = world.hosts[&1].config.clone();
        let host = world.hosts.get_mut(&1).unwrap();
        host.slave = Slave::new(config, kept, now);
        (host.doors, host.serves) = (Known::default(), false);
        world.carry_out(1);
        assert_eq!(world.hosts[&1].serves, serves);
        assert_eq!(served(&world, 1).in_use.unwrap().root, root(4));
        let before = world.conns;
        world.link(1, None);
        world.pass(ms(1100));
        assert!(world.leased(1) && world.conns == before + 1);
    }
}
