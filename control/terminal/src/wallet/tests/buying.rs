//! Purchases: whatever is lost, doubled or killed on the way, one purchase comes of it, and what was paid for.

use std::path::PathBuf;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sealcast_crypto::SigningKey;
use sealcast_objects::api::PurchaseState;
use sealcast_objects::content::{ContentKey, Header, Sealer};
use sealcast_objects::id::LicenceId;
use sealcast_objects::licence::{EndReason, OriginKind, Terms, Validity};

use super::server::{CONTENT, Fault, PAYS, Wire};
use super::*;
use crate::wallet::{Distrust, Download, Player, PlayerError, Refusal, Stage, Wallet, WalletError};

/// A device beside a server in memory.
struct Box {
    folder: tempfile::TempDir,
    identity: Identity,
    wire: Wire,
}

impl Box {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            identity: identity(1),
            wire: Wire::new(),
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("w")
    }

    /// As a program that starts.
    fn player(&self) -> Player<Wire> {
        let wallet = Wallet::open_or_create(&self.file(), &self.identity, None).unwrap();
        let mut player = Player::new(self.wire.clone(), wallet);
        player.now = || NOW;
        player
    }

    /// Buys so many, starting again after each failure, as people do.
    async fn buy(&self, count: usize) -> Result<(), PlayerError> {
        let offer = self.wire.with(|model| model.offer());
        for _ in 0..10 {
            match self.player().buy(&vec![offer.clone(); count], PAYS).await {
                Err(PlayerError::Request(error)) if error.is_passing() => {}
                other => return other.map(drop),
            }
        }
        unreachable!("it never ends")
    }

    /// One purchase, paid once; a licence for each certificate, acknowledged and usable.
    fn check(&self, count: usize, what: &str) {
        self.wire.with(|model| {
            assert_eq!(model.purchases.len(), 1, "{what}");
            assert_eq!(model.charges.len(), 1, "{what}");
            assert_eq!(model.licences.len(), count, "{what}");
            let received = |licence: &&sealcast_objects::api::SignedLicence| {
                licence.licence.received.is_some()
            };
            assert_eq!(model.licences.values().filter(received).count(), count);
        });
        let player = self.player();
        let orders: Vec<_> = player.orders().collect();
        assert_eq!(orders.len(), 1, "{what}");
        assert_eq!(orders[0].1.stage, Stage::Done, "{what}");
        let licences = player.licences();
        assert_eq!(licences.len(), count, "{what}");
        let good = licences
            .iter()
            .all(|of| of.valid.is_ok() && of.acknowledged);
        assert!(good, "{what}: {licences:?}");
    }
}

/// PC-26, PC-27, PC-30, MV-28.
#[tokio::test]
async fn pc_26_a_device_buys_acknowledges_and_has_its_licences() {
    let device = Box::new();
    device.buy(2).await.unwrap();
    device.check(2, "without faults");
    // It is over: the same again is another purchase.
    device.buy(2).await.unwrap();
    assert_eq!(device.wire.with(|model| model.charges.len()), 2);
}

/// Every fault at every request, and every other one somewhere after it: one charge, and what was bought.
#[tokio::test]
async fn pc_26_pc_30_any_two_faults_on_the_way_come_to_one_charge() {
    let whole = {
        let device = Box::new();
        device.wire.fail(&[]);
        device.buy(2).await.unwrap();
        device.wire.asked()
    };
    assert!(whole >= 8, "{whole}");
    for first in 0..whole {
        for fault in Fault::ALL {
            // The second one falls somewhere in what comes after it.
            let second = first + 1 + (first * 7 + fault as usize * 3) % whole;
            for other in Fault::ALL {
                let device = Box::new();
                let faults = [(first, fault), (second, other)];
                device.wire.fail(&faults);
                device.buy(2).await.unwrap();
                device.check(2, &format!("{faults:?}"));
            }
        }
    }
}

/// Many faults, seeded; `sync` goes on with what `buy` began, and nothing is begun anew.
#[tokio::test]
async fn pc_30_random_faults_and_synchronizations_come_to_one_charge() {
    let seed = std::env::var("SEALCAST_SEED").map_or(1, |seed| seed.parse().unwrap());
    let rng = &mut StdRng::seed_from_u64(seed);
    for round in 0..40 {
        let device = Box::new();
        let mut faults = Vec::new();
        for request in 0..40 {
            if rng.random_ratio(1, 3) {
                faults.push((request, Fault::ALL[rng.random_range(0..3)]));
            }
        }
        device.wire.fail(&faults);
        let offer = device.wire.with(|model| model.offer());
        let mut done = false;
        for _ in 0..60 {
            let mut player = device.player();
            // What was not begun is not gone on with.
            let begun = player.orders().next().is_some();
            done = match begun {
                false => player.buy(std::slice::from_ref(&offer), PAYS).await.is_ok(),
                true => player.sync(false).await.is_ok(),
            };
            if done {
                break;
            }
        }
        assert!(done, "seed {seed}, round {round}");
        device.check(1, &format!("seed {seed}, round {round}: {faults:?}"));
    }
}

/// PC-19: at another price than the one that was seen, it is not acknowledged, and so not paid.
#[tokio::test]
async fn pc_19_at_another_price_nothing_is_acknowledged() {
    let device = Box::new();
    let seen = device.wire.with(|model| {
        let seen = model.offer();
        model.price += 1;
        seen
    });
    let bought = device.player().buy(&[seen], PAYS).await;
    let Err(PlayerError::NotBought { why, .. }) = bought else {
        unreachable!("{bought:?}")
    };
    assert!(why.contains("price"), "{why}");
    device.player().sync(false).await.unwrap();
    device.wire.with(|model| {
        assert_eq!(model.charges, []);
        let states = model.purchases.values().map(|of| of.purchase.state);
        assert_eq!(states.collect::<Vec<_>>(), [PurchaseState::Sent]);
    });
}

#[tokio::test]
async fn pc_33_a_purchase_that_cannot_be_paid_says_why_and_ends() {
    let device = Box::new();
    device
        .wire
        .with(|model| model.settles = PurchaseState::Failed);
    let error = device.buy(1).await.unwrap_err().to_string();
    assert!(error.contains("has not enough"), "{error}");
    assert!(device.player().licences().is_empty());
    // PC-28: what was sent too long ago is told to buy again.
    let device = Box::new();
    device.wire.fail(&[(3, Fault::Lost)]);
    let offer = device.wire.with(|model| model.offer());
    device.player().buy(&[offer], PAYS).await.unwrap_err();
    device.wire.with(|model| {
        for purchase in model.purchases.values_mut() {
            purchase.purchase.state = PurchaseState::Expired;
        }
        assert_eq!(model.purchases.len(), 1, "it got so far");
    });
    let error = device.buy(1).await.unwrap_err().to_string();
    assert!(error.contains("buy it again"), "{error}");
}

/// What somebody else settles goes on when it is settled.
#[tokio::test]
async fn a_purchase_that_is_settled_later_goes_on_then() {
    let device = Box::new();
    device
        .wire
        .with(|model| model.settles = PurchaseState::Received);
    device.buy(1).await.unwrap();
    let stage = |device: &Box| device.player().orders().next().unwrap().1.stage.clone();
    assert_eq!(stage(&device), Stage::Settling);
    device.player().sync(false).await.unwrap();
    assert_eq!(stage(&device), Stage::Settling);
    device.wire.with(|model| {
        for (id, purchase) in &mut model.purchases {
            purchase.purchase.state = PurchaseState::Settled;
            model.charges.push(*id);
        }
    });
    device.player().sync(false).await.unwrap();
    device.check(1, "settled later");
}

/// PC-30: a licence that was over before its receipt came is asked for again under another id.
#[tokio::test]
async fn pc_30_a_licence_whose_receipt_came_too_late_is_had_again() {
    let device = Box::new();
    let whole = {
        let clean = Box::new();
        clean.wire.fail(&[]);
        clean.buy(1).await.unwrap();
        clean.wire.asked()
    };
    // The receipt of the licence is lost; the list is fetched after it.
    device.wire.fail(&[(whole - 2, Fault::Lost)]);
    let offer = device.wire.with(|model| model.offer());
    device.player().buy(&[offer], PAYS).await.unwrap_err();
    let first = device.wire.with(|model| {
        let first = *model.licences.keys().next().unwrap();
        assert!(model.licences[&first].licence.received.is_none());
        model.set(first, Validity::Invalid, Some(EndReason::NotReceived));
        first
    });
    device.player().sync(false).await.unwrap();
    device.wire.with(|model| {
        assert_eq!((model.licences.len(), model.charges.len()), (2, 1));
    });
    let licences = device.player().licences();
    let (over, good): (Vec<_>, Vec<_>) = licences.iter().partition(|of| of.id.0 == first);
    assert_eq!(over[0].valid.unwrap_err().name(), "invalid");
    assert!(good[0].valid.is_ok());
}

/// SEC-25: what a stranger has signed is named and not kept, and holds nothing else up.
#[tokio::test]
async fn sec_25_a_licence_that_cannot_be_believed_holds_no_other_up() {
    let device = Box::new();
    device.player().sync(false).await.unwrap();
    let terms = Terms {
        from: NOW,
        until: None,
        plays: None,
    };
    let operator = || (OriginKind::Operator, "ada".to_owned());
    device.wire.with(|model| {
        let stranger = SigningKey::from_seed(&[66; 32]);
        let own = std::mem::replace(&mut model.signer, stranger);
        model.issue(LicenceId([6; 16]), operator(), terms);
        model.signer = own;
        model.issue(LicenceId([7; 16]), operator(), terms);
    });
    let error = device.player().sync(false).await.unwrap_err();
    let named = matches!(error, PlayerError::Distrust(Distrust::NotSigned { .. }));
    assert!(named, "{error:?}");
    let licences = device.player().licences();
    assert_eq!(licences.len(), 1);
    assert_eq!(licences[0].id.0, LicenceId([7; 16]));
    assert!(licences[0].valid.is_ok() && licences[0].acknowledged);
    // Nor does it hold a purchase up.
    device.buy(1).await.unwrap();
    assert_eq!(device.wire.with(|model| model.charges.len()), 1);
}

/// A player may run among the tasks of a program with many threads.
#[tokio::test]
async fn what_a_player_does_may_be_spawned() {
    let device = Box::new();
    let (mut player, offer) = (device.player(), device.wire.with(|model| model.offer()));
    let task = tokio::spawn(async move {
        player.sync(false).await.unwrap();
        player.buy(&[offer], PAYS).await.unwrap();
        player.offers().await.unwrap().len()
    });
    assert_eq!(task.await.unwrap(), 1);
    device.check(1, "spawned");
}

fn film() -> Vec<u8> {
    (0..200_000_u32).map(|byte| byte.to_le_bytes()[1]).collect()
}

/// The film, sealed with the key that the server gives.
fn sealed(path: &Path) -> u64 {
    let key = ContentKey::from_bytes([3; 32].into());
    let plain = film();
    let header = Header::new(CONTENT, 1, plain.len() as u64).unwrap();
    let mut sealer = Sealer::new(&key, header);
    let (mut file, mut rest) = (header.to_bytes().to_vec(), &plain[..]);
    while let Some(segment) = sealer.push(&mut rest).unwrap() {
        file.extend_from_slice(&segment);
    }
    sealer.finish().unwrap();
    std::fs::write(path, &file).unwrap();
    file.len() as u64
}

/// MV-25: what was bought is played from the sealed file, as often as it may be, and refused with the reason after it.
#[tokio::test]
async fn mv_25_a_content_is_played_under_its_licence_and_refused_with_the_reason() {
    let device = Box::new();
    device.wire.with(|model| model.plays = Some(2));
    let (mut player, mut out) = (device.player(), Vec::new());
    let none = player.play(CONTENT, &mut out).unwrap_err();
    assert!(matches!(none, PlayerError::Refused(Refusal::NoLicence(_))));
    drop(player);
    device.buy(1).await.unwrap();
    let mut player = device.player();
    let error = player.play(CONTENT, &mut out).unwrap_err();
    assert!(matches!(error, PlayerError::NotHere(_)), "{error:?}");
    let file = device.folder.path().join("film");
    let download = Download {
        bytes: sealed(&file),
        file: file.clone(),
        complete: true,
    };
    player.keep_download((Text(CONTENT), 1), &download).unwrap();
    assert_eq!(player.play(CONTENT, &mut out).unwrap(), 200_000);
    assert!(out == film());
    // A file that is damaged is found out before it counts as a play, and in the middle when it comes to that.
    let whole = std::fs::read(&file).unwrap();
    for (at, played) in [(60, 0), (100_000, 65_536)] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&file, &damaged).unwrap();
        if played == 0 {
            let error = player.playing(CONTENT).unwrap_err();
            assert!(matches!(error, PlayerError::Play(_)), "{error:?}");
        } else {
            let mut out = Vec::new();
            let mut playing = player.playing(CONTENT).unwrap();
            playing.write_to(&mut out).unwrap_err();
            assert_eq!(out.len(), played);
        }
    }
    std::fs::write(&file, &whole).unwrap();
    drop(player);
    // The count outlives the program.
    let mut player = device.player();
    let error = player.play(CONTENT, &mut out).unwrap_err();
    assert!(
        matches!(
            error,
            PlayerError::Refused(Refusal::UsedUp { plays: 2, .. })
        ),
        "{error:?}"
    );
    assert_eq!(out.len(), 200_000, "nothing more was written");
}

/// SEC-21: a refund, a suspension, and a server that tells an older list than before.
#[tokio::test]
async fn sec_21_what_the_list_says_counts_and_no_older_one() {
    let device = Box::new();
    device.buy(1).await.unwrap();
    let mut player = device.player();
    let id = player.licences()[0].id.0;
    let refusal = |player: &Player<Wire>| player.licences()[0].valid.err().map(|why| why.name());
    device
        .wire
        .with(|model| model.set(id, Validity::Suspended, None));
    assert_eq!(refusal(&player), None, "until it knows");
    player.sync(false).await.unwrap();
    assert_eq!(refusal(&player), Some("suspended"));
    let seen = device.wire.with(|model| {
        let seen = model.number;
        model.set(id, Validity::Valid, None);
        // A backup of before.
        model.number = 1;
        seen
    });
    let error = player.sync(false).await.unwrap_err();
    let PlayerError::Distrust(older) = error else {
        unreachable!("{error:?}")
    };
    assert_eq!(older, Distrust::OlderList { told: 1, seen });
    assert_eq!(
        refusal(&player),
        Some("suspended"),
        "the newer one counts on"
    );
    device.wire.with(|model| model.number = seen + 1);
    player.sync(false).await.unwrap();
    assert_eq!(refusal(&player), None);
    device.wire.with(|model| {
        model.set(id, Validity::Invalid, Some(EndReason::Refunded));
    });
    player.sync(false).await.unwrap();
    let why = player.licences()[0].valid.unwrap_err().to_string();
    assert!(why.contains("refunded"), "{why}");
}

/// What operators give comes by itself; what is for a wallet that was lost is named, and not acknowledged.
#[tokio::test]
async fn pc_27_licences_that_others_gave_are_fetched_and_acknowledged() {
    let device = Box::new();
    device.player().sync(false).await.unwrap();
    let given = LicenceId([7; 16]);
    let terms = Terms {
        from: NOW,
        until: None,
        plays: None,
    };
    let give = |id| {
        let from = (OriginKind::Operator, "ada".to_owned());
        device.wire.with(|model| model.issue(id, from, terms));
    };
    give(given);
    let synced = device.player().sync(false).await.unwrap();
    assert_eq!(synced.new, [Text(given)]);
    let received = |id| {
        device
            .wire
            .with(|model| model.licences[&id].licence.received.is_some())
    };
    assert!(received(given));
    // The wallet is lost: another one has other keys.
    let waits = LicenceId([8; 16]);
    give(waits);
    std::fs::remove_file(device.file()).unwrap();
    let synced = device.player().sync(false).await.unwrap();
    assert_eq!(synced.elsewhere, [Text(given), Text(waits)]);
    assert!(device.player().licences().is_empty() && !received(waits));
    let error = Wallet::create(&device.file(), &device.identity, None).unwrap_err();
    assert!(matches!(error, WalletError::Exists(_)), "{error:?}");
}
