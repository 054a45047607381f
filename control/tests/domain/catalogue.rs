//! The catalogue: providers, contents, versions and their files, downloads.

use sealcast_domain::catalogue::files::{self, Complete, FileName};
use sealcast_domain::catalogue::{contents, downloads, providers, versions};
use sealcast_objects::api::{
    Availability, ChangeContent, ChangeProvider, Content, ContentFilter, ContentVersion, Device,
    MediaKind, NewContent, NewProvider, Price, Standing, VersionState,
};
use sealcast_objects::{ContentId, ProviderId};

use super::*;

const DAY: i64 = 24 * 3_600_000;

fn provider(bench: &mut Bench, name: &str) -> ProviderId {
    let mut rng = bench.rng.clone();
    let new = NewProvider {
        name: name.to_owned(),
    };
    let added = bench.command(|tx| providers::add(tx, T0, &new, &mut rng));
    bench.rng = rng;
    added.unwrap().id.0
}

fn new_content(provider: ProviderId) -> NewContent {
    NewContent {
        provider: Text(provider),
        title: "A film".to_owned(),
        genre: "drama".to_owned(),
        kind: MediaKind::Video,
        format: "mpegts".to_owned(),
        price: Some(price(499, "EUR")),
    }
}

fn price(amount: u64, currency: &str) -> Price {
    Price {
        amount,
        currency: currency.to_owned(),
    }
}

fn try_add(bench: &mut Bench, new: &NewContent) -> Result<Content> {
    let mut rng = bench.rng.clone();
    let added = bench.command(|tx| contents::add(tx, T0, new, &mut rng));
    bench.rng = rng;
    added
}

fn content(bench: &mut Bench, provider: ProviderId) -> ContentId {
    try_add(bench, &new_content(provider)).unwrap().id.0
}

/// A content of a provider of its own.
pub(crate) fn content_of(bench: &mut Bench) -> ContentId {
    let provider = provider(bench, "studio");
    content(bench, provider)
}

fn set(bench: &mut Bench, provider: ProviderId, standing: Standing) {
    let change = ChangeProvider {
        standing: Some(standing),
        ..ChangeProvider::default()
    };
    bench
        .command(|tx| providers::change(tx, provider, &change, None))
        .unwrap();
}

fn offer(bench: &mut Bench, content: ContentId, availability: Availability) -> Result<Content> {
    let change = ChangeContent {
        availability: Some(availability),
        ..ChangeContent::default()
    };
    bench.command(|tx| contents::change(tx, content, &change, None))
}

fn complete(number: u8) -> Complete {
    Complete {
        length: 1000,
        sealed_length: 1064,
        sha256: [number; 32],
        sealed_key: vec![number; 60],
    }
}

fn begin(bench: &mut Bench, at: i64, which: (ContentId, u32), name: u8) -> Result<()> {
    bench.command(|tx| files::begin(tx, after(at), which, [name; 16]))
}

fn finish(bench: &mut Bench, at: i64, name: u8) -> Result<ContentVersion> {
    bench.command(|tx| files::finish(tx, after(at), [name; 16], &complete(name)))
}

pub(crate) fn uploaded(bench: &mut Bench, which: (ContentId, u32), name: u8) -> ContentVersion {
    begin(bench, 0, which, name).unwrap();
    finish(bench, 1, name).unwrap()
}

fn next_version(bench: &mut Bench, content: ContentId) -> Result<ContentVersion> {
    bench.command(|tx| versions::add(tx, T0, content, "mpegts"))
}

fn to_remove(bench: &mut Bench) -> Vec<FileName> {
    let mut names = files::to_remove(bench, 100).unwrap();
    names.sort_unstable();
    names
}

fn device_of(bench: &mut Bench, account: Option<AccountId>) -> Device {
    let id = bench.device(account);
    devices::get(bench, id).unwrap()
}

#[test]
fn a_provider_is_changed_by_who_has_seen_it_last() {
    let mut bench = Bench::new(1);
    let id = provider(&mut bench, "Northern Films");
    let rename = |name: &str| ChangeProvider {
        name: Some(name.to_owned()),
        ..ChangeProvider::default()
    };
    let mut change = |change: &ChangeProvider, expected| {
        bench.command(|tx| providers::change(tx, id, change, expected))
    };
    let renamed = change(&rename("Southern Films"), Some(1)).unwrap();
    assert_eq!((renamed.revision, renamed.standing), (2, Standing::Active));
    let late = change(&rename("Western Films"), Some(1));
    let Err(Error::Refused(problem)) = late else {
        unreachable!("{late:?}")
    };
    assert_eq!((problem.kind, problem.status), (Kind::Conflict, 412));
    let same = change(&rename("Southern Films"), None).unwrap();
    assert_eq!(same, renamed, "no change, no revision");
    refused(Kind::Invalid, change(&ChangeProvider::default(), None));
    for standing in [Standing::New, Standing::Revoked] {
        let wrong = ChangeProvider {
            standing: Some(standing),
            ..ChangeProvider::default()
        };
        refused(Kind::Invalid, change(&wrong, None));
    }
    for name in ["", "two\nlines", &"x".repeat(201)] {
        refused(Kind::Invalid, change(&rename(name), None));
    }
    // Characters are counted, not bytes.
    change(&rename(&"ö".repeat(200)), Some(2)).unwrap();
    assert_eq!(providers::list(&mut bench).unwrap()[0].revision, 3);
    let unknown = providers::get(&mut bench, ProviderId([9; 16]));
    assert!(refused(Kind::NotFound, unknown).contains("prov_09"));
}

#[test]
fn a_content_has_texts_and_a_price_that_can_be() {
    let mut bench = Bench::new(2);
    let provider = provider(&mut bench, "Northern Films");
    let good = new_content(provider);
    let added = try_add(&mut bench, &good).unwrap();
    assert_eq!(added.price, good.price);
    assert_eq!((added.version, added.revision), (None, 1));
    assert_eq!(added.availability, Availability::Offered);
    let free = NewContent {
        price: None,
        genre: String::new(),
        ..good.clone()
    };
    assert_eq!(try_add(&mut bench, &free).unwrap().price, None);
    let title = |title: &str| NewContent {
        title: title.to_owned(),
        ..good.clone()
    };
    let of = |price: Price| NewContent {
        price: Some(price),
        ..good.clone()
    };
    let wrong = [
        title(""),
        title("bell\u{7}"),
        title(&"x".repeat(201)),
        NewContent {
            genre: "x".repeat(61),
            ..good.clone()
        },
        NewContent {
            format: String::new(),
            ..good.clone()
        },
        of(price(1, "eur")),
        of(price(1, "EURO")),
        of(price(1, "E€")),
        of(price(u64::MAX, "EUR")),
    ];
    for new in &wrong {
        refused(Kind::Invalid, try_add(&mut bench, new));
    }
    let nobody = NewContent {
        provider: Text(ProviderId([9; 16])),
        ..good.clone()
    };
    refused(Kind::NotFound, try_add(&mut bench, &nobody));
    let all = contents::page(&mut bench, &ContentFilter::default(), None, 100).unwrap();
    assert_eq!(all.len(), 2, "what was refused left nothing");
    let dearest = ChangeContent {
        price: Some(price(i64::MAX.cast_unsigned(), "JPY")),
        ..ChangeContent::default()
    };
    let id = added.id.0;
    let changed = bench.command(|tx| contents::change(tx, id, &dearest, Some(1)));
    assert_eq!(changed.unwrap().price, dearest.price);
    let late = bench.command(|tx| contents::change(tx, id, &dearest, Some(1)));
    assert!(refused(Kind::Conflict, late).contains("changed meanwhile"));
}

#[test]
fn pages_of_contents_have_what_the_filter_leaves_once() {
    let mut bench = Bench::new(3);
    let of = [provider(&mut bench, "a"), provider(&mut bench, "b")];
    for number in 0..24_u8 {
        let new = NewContent {
            genre: if number % 3 == 0 { "news" } else { "drama" }.to_owned(),
            kind: if number % 4 == 0 {
                MediaKind::Audio
            } else {
                MediaKind::Video
            },
            ..new_content(of[usize::from(number % 2)])
        };
        let id = try_add(&mut bench, &new).unwrap().id.0;
        if number >= 18 {
            offer(&mut bench, id, Availability::Withdrawn).unwrap();
        }
    }
    let mut count = |filter: &ContentFilter| {
        let (mut after, mut ids) = (None, Vec::new());
        loop {
            let page = contents::page(&mut bench, filter, after, 5).unwrap();
            ids.extend(page.iter().map(|content| content.id));
            match page.last() {
                Some(last) if page.len() == 5 => after = Some(last.id.0),
                _ => break,
            }
        }
        assert!(ids.is_sorted());
        ids.dedup();
        ids.len()
    };
    let any = ContentFilter::default();
    assert_eq!(count(&any), 24);
    let filter = ContentFilter {
        provider: Some(Text(of[0])),
        ..any.clone()
    };
    assert_eq!(count(&filter), 12);
    let filter = ContentFilter {
        genre: Some("news".to_owned()),
        ..filter
    };
    assert_eq!(count(&filter), 4);
    let filter = ContentFilter {
        kind: Some(MediaKind::Audio),
        ..filter
    };
    assert_eq!(count(&filter), 2);
    let withdrawn = ContentFilter {
        availability: Some(Availability::Withdrawn),
        ..any
    };
    assert_eq!(count(&withdrawn), 6);
}

#[test]
fn versions_follow_each_other_and_a_number_is_given_once() {
    let mut bench = Bench::new(4);
    let provider = provider(&mut bench, "a");
    let id = content(&mut bench, provider);
    assert!(refused(Kind::Conflict, next_version(&mut bench, id)).contains("version 1 waits"));
    let first = uploaded(&mut bench, (id, 1), 1);
    assert_eq!(
        (first.previous_version, first.state),
        (None, VersionState::Ready)
    );
    assert_eq!(
        (first.length, first.sealed_length),
        (Some(1000), Some(1064))
    );
    assert_eq!(first.sha256, Some(vec![1; 32]));
    let second = next_version(&mut bench, id).unwrap();
    assert_eq!((second.version, second.previous_version), (2, Some(1)));
    assert_eq!(contents::get(&mut bench, id).unwrap().version, Some(1));
    bench.command(|tx| versions::remove(tx, id, 2)).unwrap();
    let third = next_version(&mut bench, id).unwrap();
    assert_eq!((third.version, third.previous_version), (3, Some(1)));
    uploaded(&mut bench, (id, 3), 3);
    assert_eq!(contents::get(&mut bench, id).unwrap().version, Some(3));
    let kept = bench.command(|tx| versions::remove(tx, id, 1));
    assert!(refused(Kind::Conflict, kept).contains("withdraw"));
    let there = versions::list(&mut bench, id).unwrap();
    assert_eq!(there.iter().map(|v| v.version).collect::<Vec<_>>(), [1, 3]);
    refused(Kind::NotFound, versions::get(&mut bench, id, 2));
    refused(
        Kind::NotFound,
        versions::list(&mut bench, ContentId([9; 16])),
    );
    // The only one, never uploaded: the content goes, too.
    let other = content(&mut bench, provider);
    bench.command(|tx| versions::remove(tx, other, 1)).unwrap();
    refused(Kind::NotFound, contents::get(&mut bench, other));
}

#[test]
fn the_first_file_that_is_complete_is_the_versions_and_never_changes() {
    let mut bench = Bench::new(5);
    let provider = provider(&mut bench, "a");
    let id = content(&mut bench, provider);
    refused(Kind::Conflict, files::in_use(&mut bench, id, 1));
    begin(&mut bench, 0, (id, 1), 1).unwrap();
    begin(&mut bench, 1, (id, 1), 2).unwrap();
    refused(Kind::NotFound, begin(&mut bench, 1, (id, 2), 3));
    finish(&mut bench, 2, 2).unwrap();
    refused(Kind::Conflict, finish(&mut bench, 3, 1));
    refused(Kind::Conflict, finish(&mut bench, 3, 2));
    refused(Kind::Conflict, begin(&mut bench, 3, (id, 1), 4));
    let file = files::in_use(&mut bench, id, 1).unwrap();
    assert_eq!((file.name, file.sha256), ([2; 16], [2; 32]));
    let (name, key) = files::sealed_key(&mut bench, id, 1).unwrap();
    assert_eq!((name, key), ([2; 16], vec![2; 60]));
    // The file in use is not removed, whatever is said.
    for name in [1, 2] {
        files::abandon(&mut bench, [name; 16]).unwrap();
    }
    assert_eq!(to_remove(&mut bench), [[1; 16]]);
    files::removed(&mut bench, [2; 16]).unwrap();
    files::removed(&mut bench, [1; 16]).unwrap();
    assert_eq!(to_remove(&mut bench), [[0; 16]; 0]);
    files::abandon_all(&mut bench).unwrap();
    assert_eq!(to_remove(&mut bench), [[0; 16]; 0]);
    assert_eq!(files::in_use(&mut bench, id, 1).unwrap(), file);
}

#[test]
fn uploads_that_never_end_are_forgotten_after_a_day() {
    let mut bench = Bench::new(6);
    let provider = provider(&mut bench, "a");
    let [never, late, good] = [(); 3].map(|()| content(&mut bench, provider));
    uploaded(&mut bench, (good, 1), 9);
    next_version(&mut bench, good).unwrap();
    begin(&mut bench, 0, (never, 1), 1).unwrap();
    begin(&mut bench, DAY / 2, (late, 1), 2).unwrap();
    assert!(!versions::waits(&mut bench, after(DAY)).unwrap());
    assert_eq!(versions::forget(&mut bench, after(DAY)).unwrap(), []);
    assert!(versions::waits(&mut bench, after(DAY + 1)).unwrap());
    let over = versions::forget(&mut bench, after(DAY + 1)).unwrap();
    assert_eq!(over, [(never, 1), (good, 2)], "the other one is under way");
    assert_eq!(to_remove(&mut bench), [[1; 16]]);
    refused(Kind::NotFound, contents::get(&mut bench, never));
    assert_eq!(versions::list(&mut bench, good).unwrap().len(), 1);
    refused(Kind::Conflict, finish(&mut bench, DAY + 2, 1));
    // Another number after the one that was forgotten.
    assert_eq!(next_version(&mut bench, good).unwrap().version, 3);
    finish(&mut bench, DAY + 2, 2).unwrap();
    assert_eq!(
        versions::forget(&mut bench, after(DAY + 3)).unwrap(),
        [(good, 3)]
    );
    // A server that starts knows that nothing is under way.
    let id = content(&mut bench, provider);
    begin(&mut bench, DAY, (id, 1), 5).unwrap();
    files::abandon_all(&mut bench).unwrap();
    assert_eq!(to_remove(&mut bench), [[1; 16], [5; 16]]);
    refused(Kind::Conflict, finish(&mut bench, DAY + 1, 5));
    begin(&mut bench, DAY + 1, (id, 1), 6).unwrap();
    finish(&mut bench, DAY + 1, 6).unwrap();
}

#[test]
fn mv_19_a_download_is_written_down_once_for_each_device_and_version() {
    let mut bench = Bench::new(7);
    let provider = provider(&mut bench, "a");
    let [one, other] = [(); 2].map(|()| content(&mut bench, provider));
    uploaded(&mut bench, (one, 1), 1);
    uploaded(&mut bench, (other, 1), 2);
    let first = device_of(&mut bench, None);
    let second = device_of(&mut bench, Some(first.account.0));
    let stranger = device_of(&mut bench, None);
    let mut begin = |at: i64, device: &Device, which| {
        let begun = bench.command(|tx| downloads::begin(tx, after(at), device, which));
        begun.unwrap()
    };
    let (file, new) = begin(0, &first, (one, 1));
    assert_eq!((file.name, new), ([1; 16], true));
    assert!(!begin(5, &first, (one, 1)).1, "it goes on");
    assert!(begin(6, &second, (one, 1)).1);
    assert!(begin(7, &first, (other, 1)).1);
    assert!(begin(8, &stranger, (one, 1)).1);
    next_version(&mut bench, one).unwrap();
    let early = bench.command(|tx| downloads::begin(tx, T0, &first, (one, 2)));
    refused(Kind::Conflict, early);
    uploaded(&mut bench, (one, 2), 3);
    let again = bench.command(|tx| downloads::begin(tx, after(9), &first, (one, 2)));
    assert!(again.unwrap().1, "another version");
    let mut page = |account, content, after| {
        let page = downloads::page(&mut bench, (account, content), after, 3).unwrap();
        page.iter()
            .map(|download| (download.number, download.at.0 - T0.0, download.device))
            .collect::<Vec<_>>()
    };
    let expected = [
        (1, 0, first.id),
        (2, 6, second.id),
        (3, 7, first.id),
        (4, 8, stranger.id),
        (5, 9, first.id),
    ];
    assert_eq!(page(None, None, 0), expected[..3]);
    assert_eq!(page(None, None, 3), expected[3..]);
    let account = Some(first.account.0);
    assert_eq!(page(account, None, 2), [expected[2], expected[4]]);
    assert_eq!(page(account, Some(other), 0), [expected[2]]);
    assert_eq!(page(Some(stranger.account.0), None, 0), [expected[3]]);
}

#[test]
fn what_is_withdrawn_is_for_those_who_had_it() {
    let mut bench = Bench::new(8);
    let provider = provider(&mut bench, "a");
    let id = content(&mut bench, provider);
    uploaded(&mut bench, (id, 1), 1);
    let had = device_of(&mut bench, None);
    bench
        .command(|tx| downloads::begin(tx, T0, &had, (id, 1)))
        .unwrap();
    let stranger = device_of(&mut bench, None);
    assert!(offer(&mut bench, id, Availability::Withdrawn).is_ok());
    let sister = device_of(&mut bench, Some(had.account.0));
    for device in [&had, &sister] {
        downloads::allowed(&mut bench, device, (id, 1)).unwrap();
    }
    refused(
        Kind::Forbidden,
        downloads::allowed(&mut bench, &stranger, (id, 1)),
    );
    let begun = bench.command(|tx| downloads::begin(tx, T0, &stranger, (id, 1)));
    refused(Kind::Forbidden, begun);
    offer(&mut bench, id, Availability::Offered).unwrap();
    downloads::allowed(&mut bench, &stranger, (id, 1)).unwrap();
    let unknown = (ContentId([9; 16]), 1);
    refused(
        Kind::NotFound,
        downloads::allowed(&mut bench, &had, unknown),
    );
}

#[test]
fn a_suspended_provider_supplies_nothing() {
    let mut bench = Bench::new(9);
    let provider = provider(&mut bench, "a");
    let [there, waits] = [(); 2].map(|()| content(&mut bench, provider));
    uploaded(&mut bench, (there, 1), 1);
    begin(&mut bench, 0, (waits, 1), 2).unwrap();
    let device = device_of(&mut bench, None);
    set(&mut bench, provider, Standing::Suspended);
    let new = new_content(provider);
    refused(Kind::Suspended, try_add(&mut bench, &new));
    refused(Kind::Suspended, next_version(&mut bench, there));
    refused(Kind::Suspended, begin(&mut bench, 0, (waits, 1), 3));
    refused(Kind::Suspended, finish(&mut bench, 0, 2));
    refused(
        Kind::Suspended,
        downloads::allowed(&mut bench, &device, (there, 1)),
    );
    offer(&mut bench, there, Availability::Withdrawn).unwrap();
    refused(
        Kind::Suspended,
        offer(&mut bench, there, Availability::Offered),
    );
    set(&mut bench, provider, Standing::Active);
    finish(&mut bench, 0, 2).unwrap();
    offer(&mut bench, there, Availability::Offered).unwrap();
    downloads::allowed(&mut bench, &device, (there, 1)).unwrap();
}
