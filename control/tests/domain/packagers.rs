//! Packagers, and what they were given.

use std::collections::BTreeSet;
use std::time::Duration;

use sealcast_objects::interop::{ContentId, NewPackager, Periods, Question, Track, token_hash};

use super::*;
use sealcast_domain::cenc::{self, Bounds, CONTENTS_MAX, Found, Key};
use sealcast_domain::packagers;

const BOUNDS: Bounds = Bounds {
    retention: Duration::from_secs(3600),
    ahead: 20,
};

/// Crypto periods of 10 s.
fn question(content: u8, first: u32, count: u32) -> Question {
    let periods = Periods::Rotating {
        first,
        count,
        seconds: 10,
    };
    Question {
        channel: 1,
        content: ContentId::new(vec![content]).unwrap(),
        periods,
        tracks: [Track::Sd, Track::Audio].into(),
    }
}

fn whole(content: u8) -> Question {
    Question {
        periods: Periods::Whole,
        ..question(content, 0, 1)
    }
}

/// Asks and keeps, as the server does; all keys of the answer. A key that is made is its id, backwards.
fn ask(tx: &mut Bench, now: Timestamp, question: &Question) -> Result<Vec<Key>> {
    let mut seed = [0; 16];
    rand_core::Rng::fill_bytes(&mut tx.rng, &mut seed);
    tx.command(|tx| {
        let found = cenc::find(tx, now, BOUNDS, question, seed)?;
        let made = found.missing.iter().map(|place| Key {
            place: *place,
            epoch: 7,
            sealed: place.kid.iter().rev().copied().collect(),
        });
        let made: Vec<Key> = made.collect();
        cenc::keep(tx, now, BOUNDS, question, &found, &made)?;
        let Found { mut keys, .. } = found;
        keys.extend(made);
        keys.sort_by_key(|key| (key.place.period, key.place.track));
        Ok(keys)
    })
}

fn refusal(tx: &mut Bench, now: Timestamp, question: &Question) -> String {
    refused(Kind::Conflict, ask(tx, now, question))
}

#[test]
fn sec_14_the_same_question_has_the_same_answer_and_every_place_a_key_of_its_own() {
    let tx = &mut Bench::new(1);
    let first = ask(tx, T0, &question(1, 5, 4)).unwrap();
    assert_eq!(first.len(), 8);
    assert_eq!(ask(tx, after(99_000), &question(1, 5, 4)).unwrap(), first);
    // A part, and one that goes on.
    assert_eq!(ask(tx, T0, &question(1, 6, 2)).unwrap(), first[2..6]);
    let more = ask(tx, T0, &question(1, 7, 4)).unwrap();
    assert_eq!(more[..4], first[4..]);
    let others = [
        ask(tx, T0, &question(2, 5, 4)).unwrap(),
        ask(tx, T0, &whole(1)).unwrap(),
        ask(tx, T0, &whole(2)).unwrap(),
    ];
    let all: Vec<_> = first
        .iter()
        .chain(&more[4..])
        .chain(others.iter().flatten())
        .collect();
    let kids: BTreeSet<_> = all.iter().map(|key| key.place.kid).collect();
    assert_eq!(kids.len(), all.len(), "key ids repeat");
    let periods: Vec<_> = first
        .iter()
        .map(|key| (key.place.period, key.place.track))
        .collect();
    assert_eq!(
        periods[..3],
        [
            (Some(5), Track::Sd),
            (Some(5), Track::Audio),
            (Some(6), Track::Sd)
        ]
    );
}

#[test]
fn no_more_than_so_many_periods_ahead_of_their_time() {
    let tx = &mut Bench::new(1);
    ask(tx, T0, &question(1, 100, 1)).unwrap();
    ask(tx, T0, &question(1, 101, 20)).unwrap();
    let detail = refusal(tx, T0, &question(1, 121, 1));
    assert!(detail.contains("80 to 120"), "{detail}");
    // Nothing of a question that goes too far is kept.
    refusal(tx, T0, &question(1, 115, 10));
    // A period more every ten seconds.
    refusal(tx, after(9_999), &question(1, 121, 1));
    ask(tx, after(10_000), &question(1, 121, 1)).unwrap();
    refusal(tx, after(10_000), &question(1, 122, 1));
    // Another packager may be a little behind, but not anywhere.
    ask(tx, T0, &question(1, 80, 1)).unwrap();
    refusal(tx, T0, &question(1, 79, 1));
    // A clock that was set back allows nothing more.
    refusal(tx, after(-99_000_000), &question(1, 122, 1));
    let other_length = Question {
        periods: Periods::Rotating {
            first: 100,
            count: 1,
            seconds: 11,
        },
        ..question(1, 100, 1)
    };
    let detail = refusal(tx, T0, &other_length);
    assert!(detail.contains("10 s, not 11 s"), "{detail}");
    // From the last number on, too.
    let last = ask(tx, T0, &question(2, u32::MAX - 1, 1)).unwrap();
    assert_eq!(last.len(), 2);
}

#[test]
fn keys_are_deleted_after_their_time_and_then_refused_for_good() {
    let tx = &mut Bench::new(1);
    let hour = 3_600_000;
    let first = ask(tx, T0, &question(1, 5, 4)).unwrap();
    let of_all = ask(tx, T0, &whole(1)).unwrap();
    // Periods 5 and 6 have been over for an hour, 7 and 8 have not.
    let now = after(hour + 20_000);
    assert_eq!(cenc::next_end(tx).unwrap(), Some(after(10_000)));
    assert_eq!(
        cenc::delete_over(tx, after(hour + 9_999), BOUNDS.retention).unwrap(),
        0
    );
    assert_eq!(cenc::delete_over(tx, now, BOUNDS.retention).unwrap(), 4);
    for gone in [question(1, 5, 1), question(1, 6, 1), question(1, 5, 4)] {
        let detail = refusal(tx, now, &gone);
        assert!(detail.contains("deleted"), "{detail}");
    }
    assert_eq!(ask(tx, now, &question(1, 7, 2)).unwrap(), first[4..]);
    // The key of the whole stays as long as the content is asked for.
    assert_eq!(ask(tx, now, &whole(1)).unwrap(), of_all);
    let later = after(2 * hour);
    cenc::delete_over(tx, later, BOUNDS.retention).unwrap();
    assert_eq!(ask(tx, later, &whole(1)).unwrap(), of_all);
    refusal(tx, later, &question(1, 8, 1));
    // Left alone for an hour it is over, for every question.
    let end = after(3 * hour);
    for over in [whole(1), question(1, 500, 1)] {
        let detail = refusal(tx, end, &over);
        assert!(detail.contains("choose another content id"), "{detail}");
    }
    assert_eq!(cenc::delete_over(tx, end, BOUNDS.retention).unwrap(), 2);
    assert_eq!(cenc::next_end(tx).unwrap(), None);
    refusal(tx, end, &whole(1));
    ask(tx, end, &whole(2)).unwrap();
}

#[test]
fn a_channel_forgets_contents_that_are_over_and_never_gives_their_key_ids_again() {
    let tx = &mut Bench::new(1);
    let named = |number: u64| Question {
        content: ContentId::new(number.to_be_bytes().to_vec()).unwrap(),
        tracks: [Track::Hd].into(),
        ..whole(1)
    };
    let first = ask(tx, T0, &named(0)).unwrap();
    for number in 1..CONTENTS_MAX {
        ask(tx, after(1), &named(number)).unwrap();
    }
    let detail = refusal(tx, after(2), &named(CONTENTS_MAX));
    assert!(detail.contains("4096"), "{detail}");
    // The first is over now, and makes room for another one.
    let now = T0.after(BOUNDS.retention);
    ask(tx, now, &named(CONTENTS_MAX)).unwrap();
    refusal(tx, now, &named(CONTENTS_MAX + 1));
    // Forgotten, it may come back, as something new.
    let later = now.after(Duration::from_millis(1));
    let again = ask(tx, later, &named(0)).unwrap();
    assert_ne!(again[0].place.kid, first[0].place.kid);
}

/// What an old copy of the store has forgotten is made anew, with another key: under another id.
#[test]
fn what_is_made_again_has_another_key_id() {
    let tx = &mut Bench::new(1);
    ask(tx, T0, &question(1, 0, 1)).unwrap();
    let question = question(1, 1, 3);
    let kids = |tx: &mut Bench, seed| -> BTreeSet<_> {
        let found = cenc::find(tx, T0, BOUNDS, &question, [seed; 16]).unwrap();
        assert!(found.keys.is_empty());
        found.missing.iter().map(|place| place.kid).collect()
    };
    let (before, after) = (kids(tx, 1), kids(tx, 2));
    assert_eq!((before.len(), after.len()), (6, 6));
    assert!(before.is_disjoint(&after));
}

#[test]
fn packagers_are_let_in_by_token_for_their_channels() {
    let tx = &mut Bench::new(1);
    tx.channel(1);
    tx.channel(2);
    let new = |name: &str, channels: &[u16], signer: Option<&str>| NewPackager {
        name: name.to_owned(),
        channels: channels.to_vec(),
        signer: signer.map(str::to_owned),
    };
    let hash = token_hash("sct_1");
    let add = |tx: &mut Bench, new: &NewPackager, hash, sealed| {
        tx.command(|tx| packagers::add(tx, T0, new, hash, sealed))
    };
    refused(Kind::Unauthenticated, packagers::authenticate(tx, hash));
    refused(Kind::Invalid, add(tx, &new("shaka", &[], None), hash, None));
    refused(
        Kind::NotFound,
        add(tx, &new("shaka", &[1, 9], None), hash, None),
    );
    assert!(packagers::list(tx).unwrap().is_empty(), "nothing half done");
    add(
        tx,
        &new("shaka", &[2, 1, 2], Some("me")),
        hash,
        Some(b"sealed"),
    )
    .unwrap();
    refused(
        Kind::Conflict,
        add(tx, &new("shaka", &[1], None), token_hash("sct_2"), None),
    );
    add(tx, &new("encoder", &[2], None), token_hash("sct_3"), None).unwrap();
    let (packager, signer) = packagers::authenticate(tx, hash).unwrap();
    assert_eq!(
        (packager.name.as_str(), &packager.channels[..]),
        ("shaka", &[1, 2][..])
    );
    assert_eq!(signer.unwrap().sealed, b"sealed");
    let (packager, signer) = packagers::authenticate(tx, token_hash("sct_3")).unwrap();
    assert_eq!((packager.channels, signer), (vec![2], None));
    let names: Vec<_> = packagers::list(tx)
        .unwrap()
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert_eq!(names, ["encoder", "shaka"]);
    packagers::remove(tx, "shaka").unwrap();
    refused(Kind::NotFound, packagers::remove(tx, "shaka"));
    refused(Kind::Unauthenticated, packagers::authenticate(tx, hash));
}
