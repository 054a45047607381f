//! Keys for packagers: from the root in use, and from nothing else.

use super::*;

const KIDS: [[u8; 16]; 2] = [[1; 16], [2; 16]];

#[test]
fn sec_14_packagers_get_keys_derived_from_the_root_in_use() {
    let mut world = World::leading(Mode::Authority);
    assert_eq!(
        world.authority.cenc_keys(CHANNEL, &KIDS),
        Err(NoCencKeys::NothingInUse(CHANNEL.0)),
        "nobody sends"
    );
    world.enter(1, 11, 2);
    let (epoch, keys) = world.authority.cenc_keys(CHANNEL, &KIDS).unwrap();
    let granted = world.ask(None).unwrap().current;
    assert_eq!(epoch, granted.epoch);
    let prk = granted.root.prk();
    assert_eq!(keys, KIDS.map(|kid| prk.cenc_key(&kid)));
    // What is only prepared is not used, what is in use afterwards is.
    world.run(timing().lifetime() - ms(5000));
    assert_eq!(world.channel().next, Some(Epoch(2)));
    assert_eq!(world.authority.cenc_keys(CHANNEL, &KIDS).unwrap().0, epoch);
    world.run(ms(10_000));
    let (later, others) = world.authority.cenc_keys(CHANNEL, &KIDS).unwrap();
    assert_eq!(later, Epoch(2));
    assert!(others.iter().all(|key| !keys.contains(key)));
    let other_channel = ChannelId(CHANNEL.0 + 1);
    let nothing = Err(NoCencKeys::NothingInUse(other_channel.0));
    assert_eq!(world.authority.cenc_keys(other_channel, &KIDS), nothing);
}

#[test]
fn who_does_not_lead_hands_out_no_keys_to_packagers() {
    let mut world = World::leading(Mode::Authority);
    world.enter(1, 11, 2);
    assert_eq!(
        world.authority.cenc_keys(CHANNEL, &[]),
        Ok((Epoch(0), Vec::new()))
    );
    let stored = world.authority.stored().clone();
    world.restart(stored);
    for kids in [&KIDS[..], &[]] {
        assert_eq!(
            world.authority.cenc_keys(CHANNEL, kids),
            Err(NoCencKeys::NotLeading)
        );
    }
}
