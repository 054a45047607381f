//! Accounts, devices, rights.

use sealcast_objects::api::{Labels, NewDevice, Standing};
use sealcast_objects::id::Id as _;

use super::*;
use sealcast_domain::accounts::Floor;
use sealcast_domain::rights::{CHANNELS_MAX, end_periods, entitled, next_end, put, set_standing};

fn channels_of(tx: &mut Bench, now: Timestamp, device: DeviceId) -> Vec<u16> {
    entitled(tx, now, device, &[]).unwrap().channels
}

fn why(tx: &mut Bench, now: Timestamp, device: DeviceId, channel: u16) -> String {
    let entitled = entitled(tx, now, device, &[channel]).unwrap();
    assert!(entitled.channels.is_empty());
    assert_eq!(entitled.refused.len(), 1);
    assert_eq!(entitled.refused[0].channel, channel);
    entitled.refused[0].why.clone()
}

#[test]
fn devices_have_an_account_of_their_own_or_share_one() {
    let tx = &mut Bench::new(1);
    let one = tx.device(None);
    let account = tx.account_of(one);
    let (two, three) = (tx.device(Some(account)), tx.device(None));
    assert_eq!(tx.account_of(two), account);
    assert_ne!(tx.account_of(three), account);
    assert_eq!(accounts::page(tx, None, 10).unwrap().len(), 2);
    assert_eq!(devices::page(tx, None, None, 10).unwrap().len(), 3);
    let unknown = NewDevice {
        account: Some(Text(AccountId([9; 16]))),
        name: String::new(),
        labels: Labels::default(),
    };
    let mut rng = tx.rng.clone();
    refused(Kind::NotFound, devices::add(tx, T0, &unknown, &mut rng));
    assert_eq!(devices::page(tx, None, None, 10).unwrap().len(), 3);
    refused(Kind::NotFound, devices::get(tx, DeviceId([9; 16])));
    assert!(one.text() != two.text());
}

#[test]
fn int_01_a_device_may_have_what_its_rights_say_and_hears_why_not() {
    let tx = &mut Bench::new(1);
    let device = tx.device(None);
    for id in 1..=6 {
        tx.channel(id);
    }
    tx.right(device, 1);
    tx.period(device, 2, Some(after(1000)), None);
    tx.period(device, 3, None, Some(after(1000)));
    tx.right(device, 4);
    tx.right(device, 5);
    set_standing(tx, T0, device, 4, Standing::Suspended).unwrap();
    set_standing(tx, T0, device, 5, Standing::Revoked).unwrap();

    assert_eq!(channels_of(tx, T0, device), [1, 3]);
    let said = why(tx, T0, device, 2);
    assert!(said.contains("begins") && said.contains(&after(1000).to_string()));
    assert_eq!(channels_of(tx, after(999), device), [1, 3]);
    assert_eq!(
        channels_of(tx, after(1000), device),
        [1, 2],
        "to the instant"
    );
    let said = why(tx, after(1000), device, 3);
    assert!(said.contains("ended") && said.contains(&after(1000).to_string()));
    assert!(why(tx, T0, device, 4).contains("suspended"));
    assert!(why(tx, T0, device, 5).contains("revoked"));
    assert!(why(tx, T0, device, 6).contains("no right"));

    // Only what it wants, each once.
    let some = entitled(tx, T0, device, &[3, 6, 3, 1]).unwrap();
    assert_eq!(some.channels, [3, 1]);
    assert_eq!(some.refused.len(), 1);
    // Another device of the same account has rights of its own.
    let account = tx.account_of(device);
    let other = tx.device(Some(account));
    assert!(channels_of(tx, T0, other).is_empty());
    assert_eq!(some.account, account);
    assert_eq!(some.version, tx.version(account));
}

#[test]
fn a_session_has_at_most_as_many_channels_as_a_cookie_has_room_for() {
    let tx = &mut Bench::new(1);
    let device = tx.device(None);
    let most = u16::try_from(CHANNELS_MAX).unwrap();
    for id in 0..=most {
        tx.channel(id);
    }
    for id in 0..most {
        tx.right(device, id);
    }
    assert_eq!(channels_of(tx, T0, device).len(), CHANNELS_MAX);
    tx.right(device, most);
    let detail = refused(Kind::Invalid, entitled(tx, T0, device, &[]));
    assert!(detail.contains("33") && detail.contains("32"), "{detail}");
    let wanted: Vec<u16> = (1..=most).collect();
    assert_eq!(entitled(tx, T0, device, &wanted).unwrap().channels, wanted);
    // What it may not have does not count.
    set_standing(tx, T0, device, 3, Standing::Suspended).unwrap();
    assert_eq!(channels_of(tx, T0, device).len(), CHANNELS_MAX);
    const { assert!(CHANNELS_MAX == 32) };
}

#[test]
fn rights_that_cannot_be_are_refused() {
    let tx = &mut Bench::new(1);
    let device = tx.device(None);
    tx.channel(1);
    let account = tx.account_of(device);
    for (from, until) in [
        (Some(after(10)), Some(after(10))),
        (Some(after(10)), Some(after(9))),
        (None, Some(T0)),
    ] {
        let right = new_right(device, 1, from, until);
        refused(Kind::Invalid, put(tx, T0, &right));
    }
    refused(
        Kind::NotFound,
        put(tx, T0, &new_right(device, 2, None, None)),
    );
    let nobody = new_right(DeviceId([1; 16]), 1, None, None);
    refused(Kind::NotFound, put(tx, T0, &nobody));
    refused(
        Kind::NotFound,
        set_standing(tx, T0, device, 1, Standing::Suspended),
    );
    devices::set_standing(tx, T0, device, Standing::Revoked).unwrap();
    let version = tx.version(account);
    refused(
        Kind::Conflict,
        put(tx, T0, &new_right(device, 1, None, None)),
    );
    assert_eq!(tx.version(account), version);
    assert_eq!(rights::page(tx, None, None, 10).unwrap(), []);
}

#[test]
fn sec_11_whatever_takes_something_away_raises_the_version_and_gives_a_floor() {
    let tx = &mut Bench::new(1);
    let (device, account) = tx.enrolled_device(b"key");
    let (_, bystander) = tx.enrolled_device(b"other");
    tx.channel(1);
    let calm = tx.version(bystander);
    // A right that is new takes nothing away: sessions go on.
    let told = accounts::floors(tx, Timestamp(0)).unwrap();
    let given = tx.right(device, 1);
    assert_eq!(given.version, tx.version(account));
    assert_eq!(accounts::floors(tx, Timestamp(0)).unwrap(), told);

    type Taking = fn(&mut Bench, DeviceId) -> Result<Floor>;
    let taking: [(&str, Taking); 8] = [
        ("another period", |tx, device| {
            put(tx, T0, &new_right(device, 1, None, Some(after(500))))
        }),
        ("right suspended", |tx, device| {
            set_standing(tx, T0, device, 1, Standing::Suspended)
        }),
        ("right resumed", |tx, device| {
            set_standing(tx, T0, device, 1, Standing::Active)
        }),
        ("device suspended", |tx, device| {
            devices::set_standing(tx, T0, device, Standing::Suspended)
        }),
        ("device resumed", |tx, device| {
            devices::set_standing(tx, T0, device, Standing::Active)
        }),
        ("period ended", |tx, _| {
            let floors = end_periods(tx, after(500))?;
            assert_eq!(floors.len(), 1);
            Ok(floors[0])
        }),
        ("right revoked", |tx, device| {
            set_standing(tx, T0, device, 1, Standing::Revoked)
        }),
        ("device revoked", |tx, device| {
            devices::set_standing(tx, T0, device, Standing::Revoked)
        }),
    ];
    for (what, take) in taking {
        let before = tx.version(account);
        let floor = take(tx, device).unwrap();
        let expected = Floor {
            account,
            version: before + 1,
        };
        assert_eq!(floor, expected, "{what}");
        assert_eq!(tx.version(account), before + 1, "{what}");
        let told = accounts::floors(tx, T0).unwrap();
        assert!(told.contains(&floor), "{what}: {told:?}");
    }
    assert_eq!(
        tx.version(bystander),
        calm,
        "other accounts are not touched"
    );
}

#[test]
fn sec_11_a_starting_door_hears_of_floors_that_still_matter() {
    let tx = &mut Bench::new(1);
    let (one, first) = tx.enrolled_device(b"1");
    let (two, second) = tx.enrolled_device(b"2");
    devices::set_standing(tx, after(100), one, Standing::Suspended).unwrap();
    devices::set_standing(tx, after(200), two, Standing::Suspended).unwrap();
    let of = |tx: &mut Bench, since| {
        let floors = accounts::floors(tx, since).unwrap();
        floors.iter().map(|floor| floor.account).collect::<Vec<_>>()
    };
    let mut both = [first, second];
    both.sort();
    assert_eq!(of(tx, after(100)), both, "from that instant on");
    assert_eq!(of(tx, after(101)), [second]);
    assert_eq!(of(tx, after(201)), []);
}

#[test]
fn periods_end_exactly_once_and_one_floor_per_account() {
    let tx = &mut Bench::new(1);
    let (device, account) = tx.enrolled_device(b"1");
    let other = tx.device(Some(account));
    let (third, alone) = tx.enrolled_device(b"2");
    for id in 1..=3 {
        tx.channel(id);
    }
    tx.period(device, 1, None, Some(after(100)));
    tx.period(device, 2, None, Some(after(100)));
    tx.period(other, 1, None, Some(after(90)));
    tx.period(third, 1, None, Some(after(200)));
    tx.right(third, 2);
    assert_eq!(next_end(tx).unwrap(), Some(after(90)));
    assert_eq!(end_periods(tx, after(89)).unwrap(), []);
    let version = tx.version(account);
    let floors = end_periods(tx, after(100)).unwrap();
    assert_eq!(
        floors,
        [Floor {
            account,
            version: version + 1
        }]
    );
    assert_eq!(end_periods(tx, after(150)).unwrap(), [], "told once");
    assert_eq!(tx.version(account), version + 1);
    assert_eq!(next_end(tx).unwrap(), Some(after(200)));
    // A period that is prolonged ends again, at its new end.
    tx.period(device, 1, None, Some(after(180)));
    assert_eq!(next_end(tx).unwrap(), Some(after(180)));
    let accounts: Vec<_> = end_periods(tx, after(1000))
        .unwrap()
        .iter()
        .map(|floor| floor.account)
        .collect();
    assert_eq!(accounts.len(), 2);
    assert!(accounts.contains(&account) && accounts.contains(&alone));
    assert_eq!(next_end(tx).unwrap(), None, "rights for good do not end");
}

#[test]
fn sec_02_a_device_acts_by_its_key_and_in_good_standing_only() {
    let tx = &mut Bench::new(1);
    let (one, _) = tx.enrolled_device(b"one");
    let (two, _) = tx.enrolled_device(b"two");
    let fresh = tx.device(None);
    assert_eq!(devices::authenticate(tx, one, b"one").unwrap().id.0, one);
    for (device, key) in [
        (one, &b"two"[..]),
        (two, b"one"),
        (fresh, b""),
        (fresh, b"one"),
    ] {
        refused(
            Kind::Unauthenticated,
            devices::authenticate(tx, device, key),
        );
    }
    devices::set_standing(tx, T0, one, Standing::Suspended).unwrap();
    refused(Kind::Suspended, devices::authenticate(tx, one, b"one"));
    devices::set_standing(tx, T0, one, Standing::Active).unwrap();
    devices::authenticate(tx, one, b"one").unwrap();
    devices::set_standing(tx, T0, one, Standing::Revoked).unwrap();
    let detail = refused(Kind::Suspended, devices::authenticate(tx, one, b"one"));
    assert!(detail.contains("revoked"), "{detail}");
    refused(
        Kind::Conflict,
        devices::set_standing(tx, T0, one, Standing::Active),
    );
}
