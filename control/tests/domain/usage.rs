//! MD-33, MD-34, INT-03: what is billed is what was counted, whatever the order in which files come and however often.

use std::collections::{BTreeMap, BTreeSet};

use rand_core::Rng as _;
use sealcast_objects::api::{UsageFilter, UsageRow, UsageSource, UsageTotals};

use super::*;
use sealcast_domain::metering::{self, File, KeyRow, SentRow};

const DAY: i64 = 24 * 3600 * 1000;

fn file(source: UsageSource, number: u32, sequence: u64) -> File {
    let mut chain = [u8::try_from(number).unwrap(); 32];
    chain[..8].copy_from_slice(&sequence.to_be_bytes());
    File {
        source,
        number,
        boot: [7; 16],
        sequence,
        chain,
    }
}

fn account(device: u8) -> AccountId {
    AccountId([device / 2; 16])
}

/// What should come out.
#[derive(Default)]
struct Model {
    requests: BTreeSet<([u8; 16], u64)>,
    keys: BTreeSet<(u8, u16, u64)>,
    answers: u64,
    sent: BTreeMap<(u16, u64), BTreeMap<u32, u64>>,
}

impl Model {
    fn bytes(&self) -> u64 {
        let of = |(_, channel, epoch): &(u8, u16, u64)| {
            let servers = self.sent.get(&(*channel, *epoch));
            servers
                .and_then(|servers| servers.values().max())
                .unwrap_or(&0)
        };
        self.keys.iter().map(of).sum()
    }
}

/// One row of a key server: some requests of a device, a few of them asked before.
fn key_row(rng: &mut ChaCha8Rng, model: &mut Model, day: i64) -> KeyRow {
    let mut below = |bound: u32| rng.next_u32() % bound;
    let device = u8::try_from(below(4)).unwrap();
    let session = [device * 16 + u8::try_from(below(2)).unwrap(); 16];
    let channel = u16::try_from(1 + below(2)).unwrap();
    let first = u64::from(below(30));
    let given: Vec<_> = (0..u64::from(1 + below(5)))
        .map(|step| {
            let epoch = 1 + (first + step) / 2;
            let next = (below(2) == 0).then_some(epoch + 1);
            (first + step, epoch, next)
        })
        .collect();
    let answers = u32::try_from(given.len()).unwrap() + below(2);
    for (number, epoch, next) in &given {
        model.requests.insert((session, *number));
        let epochs = [Some(*epoch), *next];
        let keys = epochs.into_iter().flatten();
        model
            .keys
            .extend(keys.map(|epoch| (device, channel, epoch)));
    }
    model.answers += u64::from(answers);
    KeyRow {
        session,
        account: account(device),
        device: DeviceId([device; 16]),
        channel,
        given,
        answers,
        since: after(day * DAY),
        until: after(day * DAY + 1000),
    }
}

fn sent_row(rng: &mut ChaCha8Rng, model: &mut Model, server: u32) -> SentRow {
    let mut below = |bound: u32| rng.next_u32() % bound;
    let channel = u16::try_from(1 + below(2)).unwrap();
    let (epoch, packets) = (u64::from(1 + below(20)), u64::from(below(1000)));
    let servers = model.sent.entry((channel, epoch)).or_default();
    *servers.entry(server).or_default() += packets * 1316;
    SentRow {
        channel,
        epoch,
        packets,
        bytes: packets * 1316,
        since: after(0),
        until: after(5000),
    }
}

enum Content {
    Keys(Vec<KeyRow>),
    Sent(Vec<SentRow>),
}

/// Takes a file in; whether it was before.
fn take(tx: &mut Bench, file: &(File, Content)) -> bool {
    take_together(tx, &[file])[0]
}

/// Takes files in, those of key servers first; which of them were before.
fn take_together(tx: &mut Bench, files: &[&(File, Content)]) -> Vec<bool> {
    let taken = tx.command(|tx| {
        let keys: Vec<_> = files
            .iter()
            .filter_map(|(file, content)| match content {
                Content::Keys(rows) => Some((file, &rows[..])),
                Content::Sent(_) => None,
            })
            .collect();
        let mut of_keys = metering::take_keys(tx, T0, &keys)?.into_iter();
        let one = |(file, content): &&(File, Content)| match content {
            Content::Keys(_) => Ok(of_keys.next().unwrap().unwrap()),
            Content::Sent(rows) => metering::take_sent(tx, T0, file, rows),
        };
        files.iter().map(one).collect::<Result<Vec<_>>>()
    });
    taken.unwrap().iter().map(|taken| taken.before).collect()
}

/// Every row, in pages of three.
fn rows(tx: &mut Bench) -> Vec<UsageRow> {
    let (none, mut rows) = (UsageFilter::default(), Vec::new());
    loop {
        let after = rows.last().map(metering::place);
        let page = metering::rows(tx, &none, after, 3).unwrap();
        let last = page.len() < 3;
        rows.extend(page);
        if last {
            return rows;
        }
    }
}

fn totals(tx: &mut Bench, filter: &UsageFilter) -> UsageTotals {
    metering::totals(tx, filter).unwrap()
}

fn sum(rows: &[UsageRow]) -> (u64, u64, u64, u64) {
    rows.iter().fold((0, 0, 0, 0), |sum, row| {
        let keys = row.last_epoch - row.first_epoch + 1;
        (
            sum.0 + row.requests,
            sum.1 + row.answers,
            sum.2 + keys,
            sum.3 + row.bytes,
        )
    })
}

/// Files of three slaves and two delivery servers, in any order, some of them twice: totals and rows are those of the model.
#[test]
fn md_33_md_34_int_03_each_request_key_and_byte_counts_once() {
    for seed in 0..size(200) as u64 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut model, mut files) = (Model::default(), Vec::new());
        for sequence in 0..4 {
            for number in 1..=3 {
                let count = rng.next_u32() % 8;
                let day = i64::from(rng.next_u32() % 2);
                let rows = (0..count).map(|_| key_row(&mut rng, &mut model, day));
                let content = Content::Keys(rows.collect());
                files.push((file(UsageSource::KeyServer, number, sequence), content));
            }
            for number in 1..=2 {
                let rows = (0..6).map(|_| sent_row(&mut rng, &mut model, number));
                let content = Content::Sent(rows.collect());
                files.push((file(UsageSource::DeliveryServer, number, sequence), content));
            }
        }
        let mut tx = Bench::new(1);
        let mut taken = BTreeSet::new();
        while taken.len() < files.len() {
            let mut below = |bound: usize| usize::try_from(rng.next_u32()).unwrap() % bound;
            let together = (0..=below(4)).map(|_| below(files.len()));
            let together: Vec<_> = together.collect();
            let of = together.iter().map(|at| &files[*at]);
            let before = take_together(&mut tx, &of.collect::<Vec<_>>());
            let known = together.iter().map(|at| !taken.insert(*at));
            assert_eq!(before, known.collect::<Vec<_>>(), "seed {seed}");
        }
        let all = totals(&mut tx, &UsageFilter::default());
        let wanted = (
            model.requests.len() as u64,
            model.answers,
            model.keys.len() as u64,
            model.bytes(),
        );
        assert_eq!(
            (all.requests, all.answers, all.keys, all.bytes),
            wanted,
            "seed {seed}"
        );
        let rows = rows(&mut tx);
        assert_eq!(sum(&rows), wanted, "seed {seed}: rows add up to the totals");
        let place = |row: &UsageRow| (row.device.0.0, row.channel);
        let keys = rows.iter().flat_map(|row| {
            (row.first_epoch..=row.last_epoch)
                .map(move |epoch| (place(row).0[0], row.channel, epoch))
        });
        assert!(keys.eq(model.keys.iter().copied()), "seed {seed}");
        let one_day = |row: &UsageRow| (row.until.0 - T0.0) / DAY == (row.since.0 - T0.0) / DAY;
        assert!(rows.iter().all(one_day), "seed {seed}: a row is of one day");
        parts(&mut tx, &rows);
        let runs = metering::runs(&mut tx).unwrap();
        assert_eq!(
            runs.iter()
                .map(|run| (run.files, run.missing))
                .collect::<Vec<_>>(),
            [(4, 0); 5]
        );
    }
}

/// Totals of accounts, devices, channels and days add up to those of everything.
fn parts(tx: &mut Bench, rows: &[UsageRow]) {
    let part = |tx: &mut Bench, of: &dyn Fn(&UsageRow) -> bool, filter: UsageFilter| {
        let wanted: Vec<_> = rows.iter().copied().filter(|row| of(row)).collect();
        let got = totals(tx, &filter);
        assert_eq!(
            (got.requests, got.answers, got.keys, got.bytes),
            sum(&wanted),
            "{filter:?}"
        );
    };
    let none = UsageFilter::default();
    for id in 0..4 {
        let (device, account) = (Some(Text(DeviceId([id; 16]))), Some(Text(account(id))));
        part(
            tx,
            &|row| Some(row.device) == device,
            UsageFilter { device, ..none },
        );
        part(
            tx,
            &|row| Some(row.account) == account,
            UsageFilter { account, ..none },
        );
    }
    part(
        tx,
        &|row| row.channel == 2,
        UsageFilter {
            channel: Some(2),
            ..none
        },
    );
    let (from, until) = (Some(after(DAY)), Some(after(2 * DAY)));
    part(
        tx,
        &|row| row.since >= after(DAY),
        UsageFilter {
            from,
            until,
            ..none
        },
    );
    part(
        tx,
        &|_| false,
        UsageFilter {
            until: Some(after(-5 * DAY)),
            ..none
        },
    );
}

#[test]
fn another_file_of_the_same_name_is_refused_and_a_missing_one_is_told() {
    let mut tx = Bench::new(1);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let row = key_row(&mut rng, &mut Model::default(), 0);
    let first = (
        file(UsageSource::KeyServer, 1, 0),
        Content::Keys(vec![row.clone()]),
    );
    assert!(!take(&mut tx, &first));
    let before = totals(&mut tx, &UsageFilter::default());
    let other = File {
        chain: [0xEE; 32],
        ..first.0
    };
    // What comes with it counts all the same.
    let empty = file(UsageSource::KeyServer, 1, 1);
    let both = [(&other, &[row][..]), (&empty, &[])];
    let taken = tx.command(|tx| metering::take_keys(tx, T0, &both));
    let mut taken = taken.unwrap().into_iter();
    let problem = taken.next().unwrap().unwrap_err();
    assert_eq!(problem.kind, Kind::Conflict);
    assert!(problem.detail.contains("with other records"), "{problem:?}");
    assert!(taken.next().unwrap().is_ok_and(|taken| !taken.before));
    assert_eq!(totals(&mut tx, &UsageFilter::default()), before);
    take(
        &mut tx,
        &(
            file(UsageSource::KeyServer, 1, 3),
            Content::Keys(Vec::new()),
        ),
    );
    let run = metering::runs(&mut tx).unwrap()[0];
    assert_eq!((run.files, run.missing), (3, 1));
}

/// Bytes that come after the keys were counted are in the rows all the same: rows are always of everything that is known.
#[test]
fn bytes_that_come_late_count() {
    let mut tx = Bench::new(1);
    let (mut rng, mut model) = (ChaCha8Rng::seed_from_u64(3), Model::default());
    let row = key_row(&mut rng, &mut model, 0);
    let (channel, epoch) = (row.channel, row.given[0].1);
    take(
        &mut tx,
        &(file(UsageSource::KeyServer, 1, 0), Content::Keys(vec![row])),
    );
    assert_eq!(totals(&mut tx, &UsageFilter::default()).bytes, 0);
    let sent = SentRow {
        channel,
        epoch,
        packets: 1,
        bytes: 1316,
        since: T0,
        until: T0,
    };
    for (server, sequence) in [(1, 0), (1, 1), (2, 0)] {
        take(
            &mut tx,
            &(
                file(UsageSource::DeliveryServer, server, sequence),
                Content::Sent(vec![sent]),
            ),
        );
    }
    let bytes = totals(&mut tx, &UsageFilter::default()).bytes;
    assert_eq!(
        bytes,
        2 * 1316,
        "the server that sent most; the other sent the same"
    );
}

/// What is known of sessions is forgotten in time, and not before.
#[test]
fn sessions_are_known_for_two_days() {
    let mut tx = Bench::new(1);
    let (mut rng, mut model) = (ChaCha8Rng::seed_from_u64(5), Model::default());
    let row = key_row(&mut rng, &mut model, 0);
    let again = |tx: &mut Bench, sequence| {
        take(
            tx,
            &(
                file(UsageSource::KeyServer, 2, sequence),
                Content::Keys(vec![row.clone()]),
            ),
        );
        totals(tx, &UsageFilter::default()).requests
    };
    let once = again(&mut tx, 0);
    for (at, forgotten) in [(2 * DAY, 0), (2 * DAY + 1, 1)] {
        assert_eq!(
            again(&mut tx, at.unsigned_abs()),
            once,
            "asked again at another key server"
        );
        let gone = tx.command(|tx| metering::forget_sessions(tx, after(at)));
        assert_eq!(gone.unwrap(), forgotten);
    }
}
