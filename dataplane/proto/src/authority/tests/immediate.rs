//! Another key in the place of the announced one.

use super::*;

/// Two delivery servers, the change from 1 to 2 announced, `left` before it.
fn announced(left: u64) -> (World, ConnId, ConnId) {
    let mut world = World::leading(Mode::Authority);
    let (a, b) = (world.enter(1, 11, 1), world.enter(2, 21, 1));
    world.pass(ms(40_000));
    world.report(a);
    world.report(b);
    assert!(world.channel().announced);
    world.pass(ms(20_000 - left));
    (world, a, b)
}

fn immediate(world: &mut World) -> Result<(), NotEarly> {
    let mut done = Ok(());
    world.act(|authority, now, rng, out| done = authority.immediate(now, CHANNEL, rng, out));
    done
}

/// Since it was last asked.
fn replaced(world: &mut World) -> usize {
    world.events(|event| matches!(event, AuthorityEvent::Replaced { .. }))
}

#[test]
fn sec_11_an_announced_next_is_replaced_when_everybody_holds_the_other() {
    let (mut world, a, b) = announced(7000);
    let abandoned = world.ask(None).unwrap().next.unwrap();
    immediate(&mut world).unwrap();
    assert_eq!(
        world.served[&CHANNEL].prepared.as_ref().unwrap().epoch,
        Epoch(3)
    );
    assert_eq!(
        world.channel().next,
        Some(Epoch(2)),
        "not before all hold it"
    );
    world.report(a);
    assert_eq!(replaced(&mut world), 0);
    world.report(b);
    assert_eq!(replaced(&mut world), 1);
    let channel = world.channel();
    assert_eq!((channel.next, channel.announced), (Some(Epoch(3)), true));
    assert_eq!(
        channel.remaining.duration(),
        timing().fetch_ahead(),
        "devices get all their time"
    );
    let next = world.ask(None).unwrap().next.unwrap();
    assert_eq!(next.epoch, Epoch(3));
    assert_ne!(next.root, abandoned.root);
    let revisions: Vec<_> = world
        .notices
        .iter()
        .map(|(_, notice)| (notice.next, notice.revision))
        .collect();
    let (former, last) = (revisions[0], *revisions.last().unwrap());
    assert!(
        last.0 == Epoch(3) && last.1 > former.1,
        "{former:?} {last:?}"
    );
    // And so it comes: nobody ever sends under the one that was abandoned.
    world.pass(timing().fetch_ahead());
    assert_eq!(
        (world.peer(a).epochs().0, world.peer(b).epochs().0),
        (Some(3), Some(3))
    );
    world.report_all();
    assert_eq!(world.channel().current, Some(Epoch(3)));
    world.run(ms(61_000));
    assert_eq!(world.channel().current, Some(Epoch(4)));
}

#[test]
fn sec_11_what_is_not_held_in_time_follows_the_announced_change() {
    let (mut world, a, b) = announced(7000);
    immediate(&mut world).unwrap();
    world.report(a);
    world.pass(ms(6500));
    world.report(b);
    assert_eq!(replaced(&mut world), 0, "less than a second is left");
    assert_eq!(world.channel().next, Some(Epoch(2)));
    world.pass(ms(500));
    assert_eq!(
        (world.peer(a).epochs(), world.peer(b).epochs()),
        ((Some(2), Some(3)), (Some(2), Some(3)))
    );
    let channel = world.channel();
    assert_eq!(
        (channel.current, channel.next, channel.announced),
        (Some(Epoch(2)), Some(Epoch(3)), false)
    );
    assert_eq!(channel.remaining.duration(), timing().prepare_ahead());
    world.report_all();
    assert!(
        world.channel().announced,
        "the other follows as soon as it may"
    );
    world.run(timing().prepare_ahead());
    assert_eq!(world.channel().current, Some(Epoch(3)));
}

#[test]
fn sec_11_a_server_out_of_reach_does_not_keep_the_others_from_it() {
    let (mut world, a, b) = announced(7000);
    world.authority.disconnected(b);
    immediate(&mut world).unwrap();
    world.report(a);
    assert_eq!(replaced(&mut world), 1);
    // It had the announced one, switches to it, and comes back: it is served, and leaves it with the next change.
    world.pass(ms(7000));
    assert_eq!(world.peer(b).epochs().0, Some(2));
    assert!(world.ask(Some(2)).is_ok());
    world.run(ms(120_000));
    assert!(world.peer(a).epochs().0 > Some(3));
    assert_eq!(
        world.channel().current.map(|epoch| epoch.0),
        world.peer(a).epochs().0
    );
}

#[test]
fn sec_11_without_an_announcement_the_epoch_ends_early() {
    let mut world = World::leading(Mode::Authority);
    assert_eq!(immediate(&mut world), Err(NotEarly::NothingInUse));
    let a = world.enter(1, 11, 1);
    world.pass(ms(5000));
    immediate(&mut world).unwrap();
    assert_eq!(
        world.channel().remaining.duration(),
        timing().prepare_ahead()
    );
    world.report(a);
    assert_eq!(world.channel().next, Some(Epoch(2)));
    immediate(&mut world).unwrap();
    immediate(&mut world).unwrap();
    world.report(a);
    assert_eq!(replaced(&mut world), 1, "once");
}

#[test]
fn sec_06_a_restarted_master_knows_of_numbers_that_were_only_meant_to_be() {
    let (mut world, a, b) = announced(7000);
    let before = world.disk.clone();
    immediate(&mut world).unwrap();
    world.report(a);
    world.restart(before);
    for (id, conn) in [(1, a), (2, b)] {
        world.hello(conn, id, Term::NONE, false);
    }
    world.report_all();
    world.pass(ms(2000));
    let highest = world.authority.stored().channels[&CHANNEL].highest;
    assert!(highest >= Epoch(3), "{highest:?}");
}
