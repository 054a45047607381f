//! Random trees, changes, terms and outages on many seeds.

use super::*;

const SLAVES: u32 = 5;

/// Revocations with when they were made: no slave with a lease knows less than [`LEASE`] ago.
struct Revoked(Vec<(AccountId, u64, u64)>);

fn step(world: &mut World, revoked: &mut Revoked, version: u64) {
    let one = 1 + world.rng.next_u32() % SLAVES;
    match world.rng.next_u32() % 10 {
        0 => world.unlink(one),
        1 | 2 => world.link(one, None),
        3 => {
            let other = 1 + world.rng.next_u32() % SLAVES;
            if other != one {
                world.link(one, Some(other));
            }
        }
        4..=6 => {
            let id = ChannelId(u16::try_from(world.rng.next_u32() % 4).unwrap());
            let announced = world.rng.next_u32().is_multiple_of(2);
            let end = world.master_time().after(ms(20_000));
            world.publish(channel(id, version, end, announced));
        }
        7 => {
            let account = account(u8::try_from(world.rng.next_u32() % 9).unwrap());
            world.publish(Update::RightsFloor { account, version });
            if world.leads {
                revoked.0.push((account, version, world.now));
            }
        }
        8 => world.delay = u64::from(world.rng.next_u32() % 300) * MS,
        _ => {
            let former = world.history.keys().last().map_or(0, |(number, _)| *number);
            let leads = (!world.rng.next_u32().is_multiple_of(8)).then(|| Term {
                number: former + 1,
                instance: world.rng.next_u64(),
            });
            if leads.is_none() || world.rng.next_u32().is_multiple_of(4) {
                world.lead(leads);
            }
        }
    }
    let pause = u64::from(world.rng.next_u32() % 400);
    world.pass(ms(pause));
}

/// The revocations that a slave does not know, of those that are older than a lease.
fn unknown<'a>(world: &World, host: u32, revoked: &'a Revoked) -> Vec<&'a (AccountId, u64, u64)> {
    let known: BTreeMap<_, _> = world.hosts[&host]
        .doors
        .updates()
        .filter_map(|update| match update {
            Update::RightsFloor { account, version } => Some((account, version)),
            _ => None,
        })
        .collect();
    let old = world.now - u64::try_from(LEASE.as_nanos()).unwrap();
    let revoked = revoked.0.iter().filter(|(_, _, at)| *at < old);
    revoked
        .filter(|(account, version, _)| known.get(account).is_none_or(|known| known < version))
        .collect()
}

#[test]
fn sec_11_on_every_seed_slaves_hold_a_prefix_and_a_lease_says_what_it_says() {
    let seeds = std::env::var("SEALCAST_SEEDS").map_or(200, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        let rule = if seed % 2 == 0 {
            WithoutLease::Strict
        } else {
            WithoutLease::Announced
        };
        let mut world = World::new(seed, SLAVES, rule);
        world.lead(Some(TERM));
        let mut revoked = Revoked(Vec::new());
        let mut positions: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for version in 1..150 {
            step(&mut world, &mut revoked, version);
            for host in 1..=SLAVES {
                world.check_prefix(host);
                let at = world
                    .at(host)
                    .map_or((0, 0), |at| (at.term.number, at.seq.0));
                let former = positions.insert(host, at).unwrap_or((0, 0));
                assert!(
                    at >= former,
                    "seed {seed}: slave {host} went back: {former:?} to {at:?}"
                );
                if world.leased(host) {
                    let unknown = unknown(&world, host, &revoked);
                    assert!(
                        unknown.is_empty(),
                        "seed {seed}: slave {host} knows nothing of {unknown:?}"
                    );
                }
                assert!(
                    rule == WithoutLease::Announced
                        || world.hosts[&host].serves <= world.leased(host),
                    "seed {seed}: slave {host} answers without a lease"
                );
            }
        }
        // And then, with everybody linked, everybody is up to date.
        let former = world.history.keys().last().map_or(0, |(number, _)| *number);
        world.lead(Some(Term {
            number: former + 1,
            instance: 1,
        }));
        world.delay = 3 * MS;
        for host in 1..=SLAVES {
            world.link(host, (host > 2).then(|| host - 2));
            world.pass(ms(1500));
        }
        for host in 1..=SLAVES {
            assert!(
                world.leased(host) && world.hosts[&host].serves,
                "seed {seed}: slave {host}"
            );
            assert_eq!(
                world.at(host),
                world.master.at(),
                "seed {seed}: slave {host}"
            );
        }
    }
}
