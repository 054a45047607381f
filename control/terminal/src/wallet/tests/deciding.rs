//! Whether a licence may be used: each refusal, and what stands before what.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sealcast_crypto::{SigningKey, WrapKeyPair};
use sealcast_objects::api::{Signer, SignerRole, Signers};
use sealcast_objects::id::LicenceId;
use sealcast_objects::licence::{
    EndReason, Licence, OriginKind, StatusEntry, StatusList, Subject, Terms, Validity,
};
use sealcast_objects::signed::{NotSigned, sign};
use sealcast_objects::{AccountId, ContentId};

use super::*;
use crate::wallet::state::State;
use crate::wallet::{Distrust, Holding, Refusal, Valid, Wanted, read, validity};

const ACCOUNT: AccountId = AccountId([2; 16]);
const LATER: Timestamp = Timestamp(NOW.0 + 1000);
const EARLIER: Timestamp = Timestamp(NOW.0 - 1000);

fn id(number: u8) -> LicenceId {
    LicenceId([number; 16])
}

fn licence(number: u8, subject: Subject) -> Licence {
    Licence {
        id: id(number),
        account: ACCOUNT,
        device: device(1),
        subject,
        terms: Terms {
            from: EARLIER,
            until: None,
            plays: None,
        },
        origin: (OriginKind::Operator, "ada".to_owned()),
        supersedes: None,
        key: None,
        issued_at: EARLIER,
    }
}

fn list(number: u64, issued: Timestamp, until: Timestamp, entries: Vec<StatusEntry>) -> StatusList {
    StatusList(Text(ACCOUNT), number, issued, until, entries)
}

fn entry(number: u8, validity: Validity, reason: Option<EndReason>) -> StatusEntry {
    let changed = (validity != Validity::Valid).then_some((EARLIER, reason));
    (Text(id(number)), validity, changed)
}

/// MV-25, SEC-21: whether and why not, case by case.
#[test]
fn mv_25_each_refusal_is_named() {
    let channel = licence(1, Subject::Channel(5));
    let with = |terms: Terms| Licence {
        terms,
        ..channel.clone()
    };
    let terms = channel.terms;
    let valid = list(1, EARLIER, LATER, vec![entry(1, Validity::Valid, None)]);
    let says = |validity, reason| list(1, EARLIER, LATER, vec![entry(1, validity, reason)]);
    let refunded = Some(EndReason::Refunded);
    let over = list(1, EARLIER, NOW, vec![entry(1, Validity::Valid, None)]);
    let others = StatusList(Text(AccountId([9; 16])), 1, EARLIER, LATER, valid.4.clone());
    let text = Text(id(1));
    let good = Valid {
        until: None,
        plays_left: None,
    };
    let cases = [
        (channel.clone(), Some(valid.clone()), 9, Ok(good)),
        (
            Licence {
                device: device(2),
                ..channel.clone()
            },
            Some(valid.clone()),
            0,
            Err(Refusal::OtherDevice {
                licence: text,
                device: Text(device(2)),
            }),
        ),
        (channel.clone(), None, 0, Err(Refusal::NoList)),
        (channel.clone(), Some(over), 0, Err(Refusal::ListOver(NOW))),
        (
            channel.clone(),
            Some(list(1, EARLIER, LATER, Vec::new())),
            0,
            Err(Refusal::NotListed(text)),
        ),
        (
            channel.clone(),
            Some(others),
            0,
            Err(Refusal::NotListed(text)),
        ),
        (
            channel.clone(),
            Some(says(Validity::Suspended, None)),
            0,
            Err(Refusal::Suspended {
                licence: text,
                since: EARLIER,
            }),
        ),
        (
            channel.clone(),
            Some(says(Validity::Invalid, refunded)),
            0,
            Err(Refusal::Invalid {
                licence: text,
                since: EARLIER,
                reason: refunded,
            }),
        ),
        (
            with(Terms {
                from: LATER,
                ..terms
            }),
            Some(valid.clone()),
            0,
            Err(Refusal::NotYet {
                licence: text,
                from: LATER,
            }),
        ),
        (
            with(Terms {
                until: Some(NOW),
                ..terms
            }),
            Some(valid.clone()),
            0,
            Err(Refusal::Ended {
                licence: text,
                at: NOW,
            }),
        ),
        (
            with(Terms {
                plays: Some(3),
                ..terms
            }),
            Some(valid.clone()),
            2,
            Ok(Valid {
                until: None,
                plays_left: Some(1),
            }),
        ),
        (
            with(Terms {
                plays: Some(3),
                ..terms
            }),
            Some(valid),
            3,
            Err(Refusal::UsedUp {
                licence: text,
                plays: 3,
            }),
        ),
    ];
    let mut words = Vec::new();
    for (licence, list, played, expected) in cases {
        let by = Holding {
            device: device(1),
            list: list.as_ref(),
            played,
        };
        let is = validity(&licence, &by, NOW);
        assert_eq!(is, expected, "{licence:?} by {by:?}");
        words.extend(is.err().map(|refusal| refusal.name()));
    }
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), 9, "{words:?}");
    // What never counts again is said even by a list that is over, with its reason.
    let over = list(
        1,
        EARLIER,
        EARLIER,
        vec![entry(1, Validity::Invalid, refunded)],
    );
    let by = Holding {
        device: device(1),
        list: Some(&over),
        played: 0,
    };
    let said = validity(&channel, &by, NOW).unwrap_err().to_string();
    assert!(said.contains("refunded"), "{said}");
}

/// A clock that is put back does not bring back what is over.
#[test]
fn sec_22_a_clock_that_is_put_back_stands_at_the_lists_at_least() {
    let mut ended = licence(1, Subject::Channel(5));
    ended.terms.until = Some(EARLIER);
    let list = list(1, NOW, LATER, vec![entry(1, Validity::Valid, None)]);
    let by = Holding {
        device: device(1),
        list: Some(&list),
        played: 0,
    };
    let long_ago = Timestamp(EARLIER.0 - 500);
    assert!(ended.terms.outside(long_ago).is_some(), "it had not begun");
    let refusal = validity(&ended, &by, Timestamp(EARLIER.0 - 1)).unwrap_err();
    assert_eq!(refusal.name(), "ended");
}

#[test]
fn sec_25_what_no_trusted_key_has_signed_is_refused() {
    let [own, other] = [1, 2].map(|seed| SigningKey::from_seed(&[seed; 32]));
    let object = sign(&licence(1, Subject::Channel(5)), &own);
    let keys = |of: &SigningKey| [of.verifying_key()];
    assert_eq!(read(id(1), &object, &keys(&own)).unwrap().id, id(1));
    let refusal = |why| Refusal::UnknownSigner {
        licence: Text(id(1)),
        why,
    };
    assert_eq!(
        read(id(1), &object, &keys(&other)),
        Err(refusal(NotSigned::Key))
    );
    assert_eq!(read(id(1), &object, &[]), Err(refusal(NotSigned::Key)));
    let cut = &object[..object.len() - 1];
    assert_eq!(
        read(id(1), cut, &keys(&own)),
        Err(refusal(NotSigned::Shape))
    );
    assert_eq!(refusal(NotSigned::Key).name(), "unknown-signer");
}

/// A wallet that trusts the key made of `seed`.
fn trusting(seed: u8) -> (State, SigningKey) {
    let (mut state, signer) = (State::default(), SigningKey::from_seed(&[seed; 32]));
    state.take_signers(&told(&signer), false).unwrap();
    (state, signer)
}

fn told(signer: &SigningKey) -> Signers {
    let signer = Signer {
        role: SignerRole::Licences,
        key: signer.verifying_key().as_bytes().to_vec(),
    };
    Signers {
        signers: vec![signer],
    }
}

/// SEC-21: numbers rise; an older list, of a restored server or somebody between, changes nothing.
#[test]
fn sec_21_an_older_list_is_refused_and_the_newer_one_counts_on() {
    let (mut state, signer) = trusting(1);
    let signed = |number, issued| sign(&list(number, issued, LATER, Vec::new()), &signer);
    assert_eq!(state.take_list(signed(7, NOW)).unwrap().1, 7);
    let before = state.clone();
    for number in [0, 1, 6] {
        let error = state.take_list(signed(number, LATER)).unwrap_err();
        let expected = Distrust::OlderList {
            told: number,
            seen: 7,
        };
        assert_eq!(error, expected);
        assert!(error.to_string().contains("backup"), "{error}");
    }
    // Of the same number, the one that was issued later.
    assert_eq!(state.take_list(signed(7, EARLIER)).unwrap().2, NOW);
    assert_eq!(state, before);
    assert_eq!(state.take_list(signed(7, LATER)).unwrap().2, LATER);
    assert_eq!(state.take_list(signed(8, EARLIER)).unwrap().1, 8);
    // Another account's list takes its place only if it is newer.
    let other = |issued| {
        let list = StatusList(Text(AccountId([9; 16])), 1, issued, LATER, Vec::new());
        sign(&list, &signer)
    };
    state.take_list(other(EARLIER)).unwrap_err();
    assert_eq!(state.take_list(other(NOW)).unwrap().1, 1);
    // Nobody else's is taken at all.
    let stranger = SigningKey::from_seed(&[3; 32]);
    let forged = sign(&list(99, LATER, LATER, Vec::new()), &stranger);
    let error = state.take_list(forged).unwrap_err();
    assert!(matches!(error, Distrust::NotSigned { .. }), "{error:?}");
}

#[test]
fn sec_25_another_signer_is_believed_only_when_that_is_said() {
    let (mut state, first) = trusting(1);
    let second = SigningKey::from_seed(&[2; 32]);
    let listed = list(1, NOW, LATER, Vec::new());
    state.take_list(sign(&listed, &first)).unwrap();
    let error = state.take_signers(&told(&second), false).unwrap_err();
    assert_eq!(error, Distrust::OtherSigner);
    let nobody = Signers {
        signers: Vec::new(),
    };
    assert!(state.take_signers(&nobody, true).is_err());
    let newer = list(2, LATER, LATER, Vec::new());
    state.take_list(sign(&newer, &second)).unwrap_err();
    state.take_signers(&told(&second), true).unwrap();
    assert!(
        state.list().is_some(),
        "what the first has signed counts on"
    );
    state.take_list(sign(&newer, &second)).unwrap();
    // From here on the first one's lists are over.
    let last = list(3, LATER, LATER, Vec::new());
    state.take_list(sign(&last, &first)).unwrap_err();
}

/// Of several licences, the one that gives most; of several refusals, that of the newest.
#[test]
fn of_several_licences_the_best_is_used() {
    let (mut state, signer) = trusting(1);
    let keys = WrapKeyPair::generate(&mut StdRng::seed_from_u64(1));
    let channel = |number, until, plays| {
        let mut of = licence(number, Subject::Channel(5));
        of.terms.until = until;
        of.terms.plays = plays;
        of
    };
    let all = [
        channel(1, Some(LATER), None),
        channel(2, None, Some(3)),
        channel(3, None, None),
        channel(4, Some(EARLIER), None),
    ];
    for of in &all {
        let object = sign(of, &signer);
        assert!(
            state
                .take_licence(object.clone(), device(1), &keys)
                .unwrap()
                .1
        );
        assert!(!state.take_licence(object, device(1), &keys).unwrap().1);
    }
    let say = |state: &mut State, number, entries: Vec<StatusEntry>| {
        let object = sign(&list(number, NOW, LATER, entries), &signer);
        state.take_list(object).unwrap();
    };
    let valid = |numbers: &[u8]| {
        let numbers = numbers.iter();
        numbers
            .map(|number| entry(*number, Validity::Valid, None))
            .collect()
    };
    let wanted = Wanted::Channel(5);
    say(&mut state, 1, valid(&[1, 2, 3, 4]));
    let order = |state: &State| {
        let usable = state.usable(wanted, device(1), NOW);
        usable.map(|of| of.iter().map(|(of, _)| of.id.0[0]).collect::<Vec<_>>())
    };
    assert_eq!(order(&state), Ok(vec![3, 1, 2]));
    say(&mut state, 2, Vec::new());
    assert_eq!(order(&state).unwrap_err().name(), "not-listed");
    say(&mut state, 3, valid(&[4]));
    assert_eq!(order(&state).unwrap_err().name(), "ended");
    let none = state.usable(Wanted::Channel(6), device(1), NOW);
    assert_eq!(none.unwrap_err(), Refusal::NoLicence(Wanted::Channel(6)));
    let content = Wanted::Content(ContentId([5; 16]));
    let none = state.usable(content, device(1), NOW).unwrap_err();
    assert_eq!(none.name(), "no-licence");

    // SEC-17: one for another device, or whose key is for another wallet, is not kept: it is not acknowledged either.
    let others = Licence {
        device: device(2),
        ..all[0].clone()
    };
    let error = state.take_licence(sign(&others, &signer), device(1), &keys);
    assert!(matches!(error, Err(Distrust::NotAsked(_))), "{error:?}");
    let keyless = licence(9, Subject::Content(Text(ContentId([5; 16])), 1));
    let error = state.take_licence(sign(&keyless, &signer), device(1), &keys);
    assert!(matches!(error, Err(Distrust::OtherWallet(_))), "{error:?}");
    assert_eq!(state.licences.len(), 4);
}
