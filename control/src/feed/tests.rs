//! Messages of the feed survive their protobuf form, what cannot be is refused, and what is kept comes back.

use std::time::Duration;

use prost::Message as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sealcast_crypto::{EpochRoot, SigningKey};
use sealcast_proto::door::{Known, Served, ServedKey, TicketKey, Tickets, Update};
use sealcast_proto::feed::Kept;
use sealcast_proto::ids::{AccountId, ChannelId, Epoch, Remaining, SlaveId, Term, Time};
use sealcast_proto::timing::Timing;
use sealcast_proto::wire::feed::{
    Change, FeedPong, FromParent, Position, Seq, SlaveHello, SlaveKey, SlaveReport, ToParent,
};
use sealcast_proto::wire::link::{Frame, Ping};

use super::{Cache, convert, pb};

const TERM: Term = Term {
    number: 5,
    instance: u64::MAX - 3,
};
const AT: Position = Position {
    term: TERM,
    seq: Seq(77),
};
const NOW: Time = Time(9_000_000_000_000);

fn updates() -> Vec<Update> {
    let key = |epoch: u64, end| ServedKey {
        epoch: Epoch(epoch),
        root: EpochRoot::from_bytes([u8::try_from(epoch).unwrap(); 32]),
        end,
    };
    let ticket = |period: u32| TicketKey::new(period, [u8::try_from(period).unwrap(); 32]);
    let key_of = |seed| SigningKey::from_seed(&[seed; 32]).verifying_key();
    let second = Duration::from_secs(1);
    let served = Served {
        channel: ChannelId(65_535),
        timing: Timing::default().with_hold_max(3).unwrap(),
        authority: key_of(1),
        successor: Some(key_of(2)),
        in_use: Some(key(40, NOW.before(9 * second))),
        next: Some(key(41, NOW.after(51 * second))),
        prepared: None,
        others: vec![key(38, NOW.before(99 * second)), key(39, NOW)],
        expected: vec![Epoch(40), Epoch(41)],
    };
    let bare = Served {
        channel: ChannelId(0),
        successor: None,
        in_use: None,
        prepared: Some(key(7, NOW)),
        next: None,
        others: Vec::new(),
        ..served.clone()
    };
    vec![
        Update::Tickets(Tickets::new(ticket(9), Some(ticket(8)))),
        Update::Tickets(Tickets::new(ticket(0), None)),
        Update::Roster(vec![SlaveKey {
            slave: SlaveId(3),
            key: [4; 32],
        }]),
        Update::Channel(Box::new(served)),
        Update::Channel(Box::new(bare)),
        Update::ChannelGone(ChannelId(4)),
        Update::RightsFloor {
            account: AccountId([6; 16]),
            version: u64::MAX,
        },
    ]
}

fn words(update: &Update) -> String {
    match update {
        Update::Tickets(tickets) => {
            let keys = [Some(tickets.current()), tickets.previous()];
            let keys = keys.map(|key| key.map(|key| (key.period(), *key.as_bytes())));
            format!("{keys:?}")
        }
        Update::Channel(served) => {
            let keys = [&served.in_use, &served.next, &served.prepared];
            let keys = keys.into_iter().flatten().chain(&served.others);
            let roots: Vec<_> = keys.map(|key| *key.root.as_bytes()).collect();
            format!("{served:?} {roots:?}")
        }
        other => format!("{other:?}"),
    }
}

fn down(message: FromParent) -> Frame<FromParent> {
    let sent = convert::from_from_parent(Frame { sent: NOW, message });
    let bytes = sent.encode_to_vec();
    convert::from_parent(pb::FromParent::decode(&*bytes).unwrap()).unwrap()
}

#[test]
fn what_a_parent_says_arrives_as_it_was_said() {
    let changes: Vec<_> = updates()
        .iter()
        .filter_map(|update| Change::of(update, NOW))
        .collect();
    let said: Vec<_> = updates().iter().map(words).collect();
    let heard = |changes: Vec<Change>| -> Vec<_> {
        let updates = changes.into_iter().map(|change| change.into_update(NOW));
        updates.map(|update| words(&update)).collect()
    };
    let snapshot = FromParent::Snapshot {
        at: AT,
        changes: changes.clone(),
        last: true,
    };
    match down(snapshot).message {
        FromParent::Snapshot { at, changes, last } => {
            assert_eq!((at, last, heard(changes)), (AT, true, said.clone()));
        }
        other => unreachable!("{other:?}"),
    }
    match down(FromParent::Tail { at: AT, changes }).message {
        FromParent::Tail { at, changes } => assert_eq!((at, heard(changes)), (AT, said)),
        other => unreachable!("{other:?}"),
    }
    let pong = FeedPong {
        echo: Time(3),
        lease: Remaining(1999),
        depth: 2,
    };
    let frame = down(FromParent::Pong(pong.clone()));
    assert!(matches!(frame.message, FromParent::Pong(heard) if heard == pong));
    assert_eq!(frame.sent, NOW);
}

#[test]
fn what_a_slave_says_arrives_as_it_was_said() {
    let report = SlaveReport {
        slave: SlaveId(1),
        term: TERM,
        parent: Some(SlaveId(2)),
        doors: vec!["10.0.0.1:5".parse().unwrap(), "[::1]:6".parse().unwrap()],
        leased: true,
        held: vec![(ChannelId(7), Some(Epoch(1 << 40))), (ChannelId(8), None)],
    };
    let of_the_master = SlaveReport {
        parent: None,
        ..report.clone()
    };
    let hello = |at| ToParent::Hello(SlaveHello { term: TERM, at });
    for message in [
        ToParent::Ping(Ping { echo: Time(5) }),
        hello(None),
        hello(Some(AT)),
        ToParent::Report(report),
        ToParent::Report(of_the_master),
        ToParent::Gone(SlaveId(9)),
    ] {
        let frame = Frame { sent: NOW, message };
        let bytes = convert::from_to_parent(frame.clone()).encode_to_vec();
        let heard = convert::to_parent(pb::ToParent::decode(&*bytes).unwrap());
        assert_eq!(heard.unwrap(), frame);
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |change: pb::change::Change| {
        let tail = pb::Tail {
            at: Some(pb::Position {
                term: Some(pb::Term::default()),
                seq: 1,
            }),
            changes: vec![pb::Change {
                change: Some(change),
            }],
        };
        let message = pb::FromParent {
            sent_ns: 1,
            message: Some(pb::from_parent::Message::Tail(tail)),
        };
        convert::from_parent(message).is_err()
    };
    use pb::change::Change as Kind;
    assert!(refused(Kind::ChannelGone(65_536)));
    assert!(refused(Kind::Tickets(pb::Tickets::default())));
    let short = pb::TicketKey {
        period: 1,
        key: vec![1; 31],
    };
    assert!(refused(Kind::Tickets(pb::Tickets {
        current: Some(short),
        previous: None,
    })));
    assert!(refused(Kind::RightsFloor(pb::RightsFloor::default())));
    assert!(
        refused(Kind::Channel(pb::Channel::default())),
        "key times of nothing"
    );
    assert!(convert::from_parent(pb::FromParent::default()).is_err());
    assert!(convert::to_parent(pb::ToParent::default()).is_err());
}

/// A cache in a folder of its own, and something to keep.
struct Bench {
    folder: tempfile::TempDir,
    rng: StdRng,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            rng: StdRng::seed_from_u64(4),
        }
    }

    fn cache(&mut self) -> Cache {
        let key = self.folder.path().join("cache.key");
        Cache::open(&self.folder.path().join("data"), &key, &mut self.rng).unwrap()
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("data/feed.cache")
    }
}

fn kept() -> Kept {
    let mut known = Known::default();
    updates()
        .into_iter()
        .for_each(|update| known.update(update));
    Kept {
        at: AT,
        term: Term {
            number: 6,
            instance: 1,
        },
        known,
        leased_until: Time(123),
    }
}

#[test]
fn sec_14_what_is_kept_is_sealed_and_comes_back_whole() {
    let mut bench = Bench::new();
    let cache = bench.cache();
    assert!(cache.load().is_none());
    cache.store(NOW, &kept(), &mut bench.rng).unwrap();
    let loaded = bench.cache().load().unwrap();
    assert_eq!((loaded.at, loaded.term), (AT, kept().term));
    assert_eq!(loaded.leased_until, Time(123));
    let all = |kept: &Kept| {
        kept.known
            .updates()
            .map(|update| words(&update))
            .collect::<Vec<_>>()
    };
    assert_eq!(all(&loaded), all(&kept()));
    let bytes = std::fs::read(bench.file()).unwrap();
    assert!(
        !bytes.windows(16).any(|window| window == [40; 16]),
        "a root in clear"
    );
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(bench.file()).unwrap());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn sec_14_a_kept_state_that_is_damaged_or_of_another_key_or_boot_is_not_used() {
    let mut bench = Bench::new();
    let mut cache = bench.cache();
    cache.store(NOW, &kept(), &mut bench.rng).unwrap();
    let whole = std::fs::read(bench.file()).unwrap();
    for index in [0, 13, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[index] ^= 1;
        std::fs::write(bench.file(), bytes).unwrap();
        assert!(cache.load().is_none());
    }
    std::fs::write(bench.file(), &whole[..whole.len() - 1]).unwrap();
    assert!(cache.load().is_none());
    std::fs::write(bench.file(), &whole).unwrap();
    assert!(cache.load().is_some());
    cache.boot = b"another".to_vec();
    assert!(cache.load().is_none(), "nobody can say how old it is");
    std::fs::remove_file(bench.folder.path().join("cache.key")).unwrap();
    assert!(bench.cache().load().is_none());
}
