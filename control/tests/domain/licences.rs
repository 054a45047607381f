//! Licences: what they entitle to, when they count, and the tables that are kept of them.

use sealcast_crypto::{SigningKey, WrapKeyPair};
use sealcast_domain::device_keys;
use sealcast_domain::licences::{self, Filter, NewLicence};
use sealcast_objects::api::{DeviceKeys, LicenceSubject, Standing};
use sealcast_objects::device_keys::PublicKeys;
use sealcast_objects::licence::{EndReason, OriginKind, Subject, Terms, Validity};
use sealcast_objects::{ContentId, LicenceId};

use super::catalogue::{content_of, uploaded};
use super::*;

const DAY: i64 = 24 * 3_600_000;

fn after(ms: i64) -> Timestamp {
    Timestamp(T0.0 + ms)
}

fn id(number: u8) -> LicenceId {
    LicenceId([number; 16])
}

/// For good, from now on.
fn new(number: u8, device: DeviceId, subject: Subject) -> NewLicence {
    NewLicence {
        id: id(number),
        device,
        subject,
        terms: Terms {
            from: T0,
            until: None,
            plays: None,
        },
        origin: (OriginKind::Operator, "ada".to_owned()),
        supersedes: None,
        receive_by: None,
    }
}

fn try_issue(bench: &mut Bench, new: &NewLicence) -> Result<accounts::Floor> {
    let object = [new.id.0[0]; 100];
    bench.command(|tx| licences::issue(tx, T0, new, &object))
}

fn issue(bench: &mut Bench, new: &NewLicence) -> accounts::Floor {
    try_issue(bench, new).unwrap()
}

fn set(
    bench: &mut Bench,
    at: i64,
    number: u8,
    to: Validity,
    reason: Option<EndReason>,
) -> Result<Option<accounts::Floor>> {
    bench.command(|tx| licences::set(tx, after(at), id(number), to, reason))
}

fn may(bench: &mut Bench, at: i64, device: DeviceId) -> Vec<u16> {
    let entitled = rights::entitled(bench, after(at), device, &[]);
    entitled.unwrap().channels
}

fn why_not(bench: &mut Bench, at: i64, device: DeviceId, channel: u16) -> String {
    let entitled = rights::entitled(bench, after(at), device, &[channel]).unwrap();
    assert!(entitled.channels.is_empty());
    entitled.refused[0].why.clone()
}

fn told(result: Result<impl std::fmt::Debug>, kind: Kind) -> String {
    match result.unwrap_err() {
        Error::Refused(problem) => {
            assert_eq!(problem.kind, kind, "{problem}");
            problem.detail
        }
        Error::Store(error) => unreachable!("{error}"),
    }
}

fn floors(bench: &mut Bench, account: AccountId) -> Option<u64> {
    let floors = accounts::floors(bench, T0).unwrap();
    let its = floors.iter().find(|floor| floor.account == account);
    its.map(|floor| floor.version)
}

/// INT-01, INT-02, INT-05: a licence for a channel lets its device receive it while it counts, and what ends it is told to the key doors.
#[test]
fn int_01_int_05_a_licence_lets_its_device_receive_a_channel_while_it_counts() {
    let mut bench = Bench::new(1);
    bench.channel(1);
    let (device, account) = bench.enrolled_device(b"one");
    let beside = bench.device(Some(account));
    assert!(why_not(&mut bench, 0, device, 1).contains("no right"));
    let mut licence = new(1, device, Subject::Channel(1));
    licence.terms = Terms {
        from: after(DAY),
        until: Some(after(3 * DAY)),
        plays: None,
    };
    let before = floors(&mut bench, account);
    let given = issue(&mut bench, &licence);
    assert_eq!(floors(&mut bench, account), before, "nothing was taken");
    assert!(why_not(&mut bench, 0, device, 1).contains("begins"));
    assert_eq!(may(&mut bench, DAY, device), [1]);
    let others = may(&mut bench, DAY, beside);
    assert!(others.is_empty(), "it is not the device's beside it");
    // Suspended, and then not.
    let taken = set(&mut bench, DAY, 1, Validity::Suspended, None)
        .unwrap()
        .unwrap();
    assert!(taken.version > given.version);
    assert_eq!(floors(&mut bench, account), Some(taken.version));
    assert!(why_not(&mut bench, DAY, device, 1).contains("suspended"));
    assert_eq!(
        set(&mut bench, DAY, 1, Validity::Suspended, None).unwrap(),
        None
    );
    set(&mut bench, DAY, 1, Validity::Valid, None).unwrap();
    assert_eq!(may(&mut bench, 2 * DAY, device), [1]);
    // Its end is told once.
    assert_eq!(
        licences::next_end(&mut bench).unwrap(),
        Some(after(3 * DAY))
    );
    let end = |bench: &mut Bench, at| bench.command(|tx| licences::end_periods(tx, after(at)));
    assert_eq!(end(&mut bench, 3 * DAY - 1).unwrap(), []);
    assert_eq!(end(&mut bench, 3 * DAY).unwrap().len(), 1);
    assert_eq!(end(&mut bench, 3 * DAY).unwrap(), []);
    assert_eq!(licences::next_end(&mut bench).unwrap(), None);
    let ended = licences::get(&mut bench, id(1)).unwrap();
    assert_eq!(
        (ended.validity, ended.reason, ended.changed),
        (
            Validity::Invalid,
            Some(EndReason::Expired),
            Some(after(3 * DAY))
        )
    );
    assert!(why_not(&mut bench, 3 * DAY, device, 1).contains("expired"));
    // What is over is over.
    told(
        set(&mut bench, 3 * DAY, 1, Validity::Valid, None),
        Kind::Conflict,
    );
    // Of two licences one is enough, and a right is, too.
    issue(&mut bench, &new(2, device, Subject::Channel(1)));
    assert_eq!(may(&mut bench, 3 * DAY, device), [1]);
    set(
        &mut bench,
        3 * DAY,
        2,
        Validity::Invalid,
        Some(EndReason::Refunded),
    )
    .unwrap();
    assert!(why_not(&mut bench, 3 * DAY, device, 1).contains("refunded"));
    bench.right(device, 1);
    assert_eq!(may(&mut bench, 3 * DAY, device), [1]);
}

#[test]
fn a_licence_is_for_what_there_is_and_a_device_that_may_act() {
    let mut bench = Bench::new(2);
    bench.channel(1);
    let (device, account) = bench.enrolled_device(b"one");
    let on_air = Subject::Channel(1);
    told(
        try_issue(&mut bench, &new(1, device, Subject::Channel(2))),
        Kind::NotFound,
    );
    told(
        try_issue(&mut bench, &new(1, DeviceId([9; 16]), on_air)),
        Kind::NotFound,
    );
    let content = content_of(&mut bench);
    let film = |version| Subject::Content(Text(content), version);
    told(
        try_issue(&mut bench, &new(1, device, film(7))),
        Kind::NotFound,
    );
    let waits = told(
        try_issue(&mut bench, &new(1, device, film(1))),
        Kind::Conflict,
    );
    assert!(waits.contains("waits for its file"), "{waits}");
    for (until, plays) in [(Some(T0), None), (None, Some(0))] {
        let mut wrong = new(1, device, on_air);
        (wrong.terms.until, wrong.terms.plays) = (until, plays);
        told(try_issue(&mut bench, &wrong), Kind::Invalid);
    }
    let standing = |bench: &mut Bench, to| {
        bench
            .command(|tx| accounts::set_standing(tx, T0, account, to))
            .unwrap();
    };
    standing(&mut bench, Standing::Suspended);
    told(
        try_issue(&mut bench, &new(1, device, on_air)),
        Kind::Suspended,
    );
    standing(&mut bench, Standing::Active);
    bench
        .command(|tx| devices::set_standing(tx, T0, device, Standing::Revoked))
        .unwrap();
    told(
        try_issue(&mut bench, &new(1, device, on_air)),
        Kind::Conflict,
    );
    assert_eq!(
        licences::page(&mut bench, Filter::default(), None, 10).unwrap(),
        []
    );
}

/// INT-04: each names what it came from; the place of a licence is taken once, and inside its account.
#[test]
fn int_04_a_licence_names_its_origin_and_whose_place_it_takes() {
    let mut bench = Bench::new(3);
    bench.channel(1);
    let (device, account) = bench.enrolled_device(b"one");
    let other = bench.device(Some(account));
    let (stranger, _) = bench.enrolled_device(b"two");
    issue(&mut bench, &new(1, device, Subject::Channel(1)));
    let takes = |number, device, old| NewLicence {
        supersedes: Some(id(old)),
        origin: (OriginKind::Move, "mov_1".to_owned()),
        ..new(number, device, Subject::Channel(1))
    };
    told(
        try_issue(&mut bench, &takes(2, stranger, 1)),
        Kind::NotFound,
    );
    told(try_issue(&mut bench, &takes(2, other, 9)), Kind::NotFound);
    issue(&mut bench, &takes(2, other, 1));
    let again = told(try_issue(&mut bench, &takes(3, device, 1)), Kind::Conflict);
    assert!(again.contains("already"), "{again}");
    let made = licences::get(&mut bench, id(2)).unwrap();
    assert_eq!(made.supersedes, Some(Text(id(1))));
    assert_eq!(
        (made.origin.kind, made.origin.id.as_str()),
        (OriginKind::Move, "mov_1")
    );
    assert_eq!(made.subject, LicenceSubject::Channel { channel: 1 });
    assert_eq!(licences::object(&mut bench, id(2)).unwrap(), [2; 100]);
}

/// MV-18, MV-20, MV-22: which licences there are for a content, and which an account got.
#[test]
fn mv_18_mv_20_licences_are_listed_by_content_account_and_device() {
    let mut bench = Bench::new(4);
    bench.channel(1);
    let content = content_of(&mut bench);
    uploaded(&mut bench, (content, 1), 1);
    let (device, account) = bench.enrolled_device(b"one");
    let other = bench.device(Some(account));
    let (stranger, _) = bench.enrolled_device(b"two");
    let film = Subject::Content(Text(content), 1);
    for (number, device, subject) in [
        (1, device, film),
        (2, device, Subject::Channel(1)),
        (3, other, film),
        (4, stranger, film),
    ] {
        issue(&mut bench, &new(number, device, subject));
    }
    let mut listed = |filter: Filter| -> Vec<u8> {
        let page = licences::page(&mut bench, filter, None, 2).unwrap();
        let after = page.last().map(|last| last.id.0);
        let rest = licences::page(&mut bench, filter, after, 2).unwrap();
        page.iter().chain(&rest).map(|one| one.id.0.0[0]).collect()
    };
    let all = Filter::default();
    assert_eq!(listed(all), [1, 2, 3, 4]);
    assert_eq!(
        listed(Filter {
            content: Some(content),
            ..all
        }),
        [1, 3, 4]
    );
    assert_eq!(
        listed(Filter {
            account: Some(account),
            ..all
        }),
        [1, 2, 3]
    );
    assert_eq!(
        listed(Filter {
            device: Some(device),
            ..all
        }),
        [1, 2]
    );
    let none = ContentId([7; 16]);
    let of_none = listed(Filter {
        content: Some(none),
        ..all
    });
    assert!(of_none.is_empty());
}

/// INT-15, SEC-21: the list of an account has its rights version as number, which rises with every change.
#[test]
fn int_15_the_list_of_an_account_has_a_number_that_rises() {
    let mut bench = Bench::new(5);
    bench.channel(1);
    let (device, account) = bench.enrolled_device(b"one");
    let list = |bench: &mut Bench| licences::status(bench, account).unwrap();
    let mut numbers = vec![list(&mut bench).0];
    for number in [1, 2] {
        issue(&mut bench, &new(number, device, Subject::Channel(1)));
        numbers.push(list(&mut bench).0);
    }
    set(&mut bench, 5, 1, Validity::Suspended, None).unwrap();
    numbers.push(list(&mut bench).0);
    set(&mut bench, 6, 2, Validity::Invalid, Some(EndReason::Lost)).unwrap();
    let (number, entries) = list(&mut bench);
    numbers.push(number);
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    let at = |ms, reason| Some((after(ms), reason));
    assert_eq!(
        entries,
        [
            (Text(id(1)), Validity::Suspended, at(5, None)),
            (Text(id(2)), Validity::Invalid, at(6, Some(EndReason::Lost))),
        ]
    );
}

/// PC-27: a device says once that it has a licence; nobody else does, and not of one that is over.
#[test]
fn pc_27_a_device_says_that_it_has_its_licence() {
    let mut bench = Bench::new(6);
    bench.channel(1);
    let (device, account) = bench.enrolled_device(b"one");
    let other = bench.device(Some(account));
    for number in [1, 2] {
        issue(&mut bench, &new(number, device, Subject::Channel(1)));
    }
    let receive = |bench: &mut Bench, at, device, number| {
        bench.command(|tx| licences::receive(tx, after(at), device, id(number)))
    };
    told(receive(&mut bench, 1, other, 1), Kind::NotFound);
    assert!(receive(&mut bench, 2, device, 1).unwrap());
    assert!(!receive(&mut bench, 3, device, 1).unwrap());
    assert_eq!(
        licences::get(&mut bench, id(1)).unwrap().received,
        Some(after(2))
    );
    set(
        &mut bench,
        4,
        2,
        Validity::Invalid,
        Some(EndReason::NotReceived),
    )
    .unwrap();
    told(receive(&mut bench, 5, device, 2), Kind::Conflict);
}

/// SEC-01: a device tells keys that it made; the last ones count.
#[test]
fn sec_01_a_device_tells_its_keys_and_the_last_ones_count() {
    let mut bench = Bench::new(7);
    let (device, _) = bench.enrolled_device(b"one");
    told(device_keys::get(&mut bench, device), Kind::Conflict);
    let keys = |seed: u8| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed.into());
        PublicKeys {
            sign: SigningKey::from_seed(&[seed; 32]).verifying_key(),
            wrap: WrapKeyPair::generate(&mut rng).public().clone(),
        }
    };
    let (first, second) = (keys(1), keys(2));
    let put = |bench: &mut Bench, keys: &PublicKeys| {
        bench
            .command(|tx| device_keys::put(tx, T0, device, keys))
            .unwrap()
    };
    assert!(put(&mut bench, &first));
    assert!(!put(&mut bench, &first), "the same again");
    assert!(put(&mut bench, &second));
    assert_eq!(device_keys::get(&mut bench, device).unwrap(), second);
    let told = DeviceKeys::from(&first);
    assert_eq!(PublicKeys::try_from(&told), Ok(first));
    for (sign, wrap) in [(31, 1216), (32, 1215), (0, 0)] {
        let wrong = DeviceKeys {
            sign: vec![1; sign],
            wrap: vec![1; wrap],
        };
        assert!(PublicKeys::try_from(&wrong).is_err(), "{sign} {wrap}");
    }
}
