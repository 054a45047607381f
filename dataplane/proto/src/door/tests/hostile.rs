//! What nobody sealed opens nowhere, and what was answered is not answered again.

use proptest::prelude::*;

use super::*;
use crate::limits::{CONTROL_MAX, SESSION_CHANNELS_MAX};

/// SEC-08: a datagram that was answered gets nothing when it comes again, from wherever.
#[test]
fn sec_08_replayed_datagrams_get_nothing() {
    let mut bench = Bench::new();
    let mut session = bench.session(1);
    let datagrams = [wanted(1, None), wanted(2, Some(99))]
        .map(|wanted| session.request(bench.now, &wanted, &mut bench.rng));
    for datagram in &datagrams {
        assert!(!bench.knock(datagram).1.is_empty());
    }
    for last in 0..20 {
        for datagram in &datagrams {
            let source = [10, 9, last, 1].into();
            let (outcome, reply) = bench.knock_from(source, datagram);
            assert_eq!((outcome, reply), (Outcome::Replayed, Vec::new()));
        }
        bench.now = bench.now.after(ms(500));
    }
}

/// SEC-04: not one byte of a request may differ: the cookie, the nonce, the sealed part, and what stands around them.
#[test]
fn sec_04_a_request_with_any_bit_flipped_is_not_answered_with_keys() {
    let mut bench = Bench::new();
    let mut session = bench.session(1);
    let datagram = session.request(bench.now, &wanted(1, None), &mut bench.rng);
    for at in 0..datagram.len() {
        for bit in 0..8 {
            let mut forged = datagram.clone();
            forged[at] ^= 1 << bit;
            let (outcome, reply) = bench.knock(&forged);
            assert!(
                matches!(
                    outcome,
                    Outcome::Malformed
                        | Outcome::CookieUnknown
                        | Outcome::CookieUnknownSilent
                        | Outcome::Forged
                ),
                "byte {at}, bit {bit}: {outcome:?}"
            );
            assert_eq!(reply.is_empty(), outcome != Outcome::CookieUnknown);
        }
    }
    for (outcome, count) in bench.door.outcomes().iter() {
        assert!(count == 0 || outcome.name() != "granted", "{count}");
    }
    assert_eq!(
        bench.knock(&datagram).0,
        Outcome::Granted,
        "the genuine one"
    );
}

/// SEC-04: another session's cookie beside a sealed part is not that session's request.
#[test]
fn sec_04_a_sealed_part_goes_with_its_own_cookie_only() {
    let mut bench = Bench::new();
    let (mut one, mut other) = (bench.session(1), bench.session(2));
    let [first, second] = [
        one.request(bench.now, &wanted(1, None), &mut bench.rng),
        other.request(bench.now, &wanted(1, None), &mut bench.rng),
    ];
    let mixed = KeyRequest {
        cookie: parts(&second).cookie,
        sealed: parts(&first).sealed,
    };
    assert_eq!(bench.knock(&mixed.to_datagram()).0, Outcome::Forged);
    // Nor does another cookie of the same session do.
    let third = one.request(bench.now, &wanted(2, None), &mut bench.rng);
    let mixed = KeyRequest {
        cookie: parts(&third).cookie,
        sealed: parts(&first).sealed,
    };
    assert_eq!(bench.knock(&mixed.to_datagram()).0, Outcome::Forged);
}

/// SEC-04: not one byte of an answer may differ, and the genuine one counts after all forgeries.
#[test]
fn sec_04_answers_with_any_bit_flipped_never_open() {
    for (epoch, kind) in [(None, "reply"), (Some(99), "refusal")] {
        let mut bench = Bench::new();
        let mut session = bench.session(1);
        let datagram = session.request(bench.now, &wanted(1, epoch), &mut bench.rng);
        let (_, answer) = bench.knock(&datagram);
        for at in 0..answer.len() {
            for bit in 0..8 {
                let mut forged = answer.clone();
                forged[at] ^= 1 << bit;
                let taken = session.handle(&forged);
                assert!(taken.is_err(), "{kind}: byte {at}, bit {bit}: {taken:?}");
            }
        }
        for length in 0..answer.len() {
            assert!(session.handle(&answer[..length]).is_err());
        }
        let genuine = session.handle(&answer).unwrap();
        assert_eq!(matches!(genuine, Answer::Granted { .. }), kind == "reply");
    }
}

/// SEC-04: an answer counts for the request it answers, in the session that asked.
#[test]
fn sec_04_an_answer_to_another_request_or_session_does_not_count() {
    let mut bench = Bench::new();
    let (mut session, mut other) = (bench.session(1), bench.session(2));
    let asked = session.request(bench.now, &wanted(1, None), &mut bench.rng);
    let open = session.request(bench.now, &wanted(2, None), &mut bench.rng);
    let (_, reply) = bench.knock(&asked);
    assert_eq!(
        other.handle(&reply),
        Err(Discard::Known),
        "it asked nothing"
    );
    let swapped = KeyReply {
        request: parts(&open).sealed.nonce,
        ..KeyReply::from_datagram(&reply).unwrap()
    };
    assert_eq!(
        session.handle(&swapped.to_datagram()),
        Err(Discard::BadTag),
        "sealed for another request"
    );
    let as_refusal = Refusal::Sealed {
        request: parts(&asked).sealed.nonce,
        sealed: KeyReply::from_datagram(&reply).unwrap().sealed,
    };
    assert_eq!(
        session.handle(&as_refusal.to_datagram()),
        Err(Discard::Malformed),
        "one kind of answer is not another"
    );
    assert!(matches!(session.handle(&reply), Ok(Answer::Granted { .. })));
}

/// What anybody can send is a hint and changes nothing; a plain refusal with any other reason is nobody's.
#[test]
fn sec_04_a_plain_refusal_is_a_hint_and_no_more() {
    let mut bench = Bench::new();
    let mut session = bench.session(1);
    let datagram = session.request(bench.now, &wanted(1, None), &mut bench.rng);
    let plain = |request, reason| Refusal::Plain { request, reason }.to_datagram();
    let nonce = parts(&datagram).sealed.nonce;
    let cookies = session.cookies();
    for reason in [Reason::NotEntitled, Reason::Busy, Reason::RightsChanged] {
        let taken = session.handle(&plain(nonce, reason));
        assert_eq!(taken, Err(Discard::Unexpected));
    }
    let blind = plain([0; NONCE_LEN], Reason::CookieUnknown);
    assert_eq!(session.handle(&blind), Err(Discard::Known));
    let hint = plain(nonce, Reason::CookieUnknown);
    assert_eq!(session.handle(&hint), Ok(Answer::CookieUnknown));
    assert_eq!(session.cookies(), cookies);
    let (_, reply) = bench.knock(&datagram);
    assert!(
        matches!(session.handle(&reply), Ok(Answer::Granted { .. })),
        "the genuine answer still counts"
    );
}

/// A cookie that this door's keys did not seal, whatever it says of itself.
#[test]
fn sec_04_cookies_that_others_sealed_do_not_open() {
    let mut bench = Bench::new();
    let ticket = Bench::ticket(1, 1, 1, vec![CHANNEL]);
    let forger = Tickets::new(TicketKey::new(1, [9; 32]), None);
    let forged = forger.seal(&ticket, &mut bench.rng).unwrap();
    let open = |tickets: Tickets, cookie: &Cookie| {
        let mut space = Vec::new();
        tickets
            .open(&cookie.0, &mut space)
            .map(|(ticket, _)| ticket)
    };
    assert!(open(tickets(1), &forged).is_none());
    // Nor does one whose period was changed in clear.
    let mut genuine = tickets(1).seal(&ticket, &mut bench.rng).unwrap();
    assert_eq!(open(tickets(2), &genuine), Some(ticket));
    genuine.0[..4].copy_from_slice(&2_u32.to_be_bytes());
    assert!(open(tickets(2), &genuine).is_none());
    assert!(open(tickets(1), &Cookie(Vec::new())).is_none());
}

/// A request as a hostile device with a genuine session may seal it.
fn sealed_by_hand(bench: &mut Bench, ticket: &Ticket, plain: &[u8]) -> Vec<u8> {
    let cookie = tickets(1).seal(ticket, &mut bench.rng).unwrap();
    let mut nonce = [0; NONCE_LEN];
    bench.rng.fill_bytes(&mut nonce);
    let mut ciphertext = plain.to_vec();
    let key = ticket.request_key.siv();
    key.seal_in_place(nonce, &cookie.0, &mut ciphertext);
    let sealed = Sealed { nonce, ciphertext };
    KeyRequest { cookie, sealed }.to_datagram()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever the request's size and however many cookies it wants ([`Bench::knock`] compares the lengths).
    #[test]
    fn answers_are_never_longer_than_requests(
        padding in 0_usize..1_100, padded_with in prop::sample::select(vec![0_u8, 0, 0, 1]), cookies: u8,
        channels in 1_u16..=32, epoch in prop::sample::select(vec![0_u64, 3, 4, 5, 9]), entitled: bool,
    ) {
        let mut bench = Bench::new();
        let first = if entitled { CHANNEL.0 } else { CHANNEL.0 + 1 };
        let channels = (first..first + channels).map(ChannelId).collect();
        let ticket = Bench::ticket(1, 1, 1, channels);
        let mut plain = Vec::new();
        let wanted = Wanted { cookies, ..wanted(1, Some(epoch).filter(|&epoch| epoch > 0)) };
        wanted.encode(&mut plain);
        plain.resize(plain.len() + padding, padded_with);
        let datagram = sealed_by_hand(&mut bench, &ticket, &plain);
        let (outcome, reply) = bench.knock(&datagram);
        let expected = match outcome {
            Outcome::Malformed => datagram.len() > CONTROL_MAX,
            Outcome::Forged => padded_with != 0 && padding > 0,
            Outcome::TooShort => padding < 300,
            Outcome::Granted => entitled && epoch != 9,
            Outcome::NotEntitled => !entitled,
            Outcome::EpochUnavailable => entitled && epoch == 9,
            _ => false,
        };
        prop_assert!(expected, "{outcome:?}");
        let silent = [Outcome::Malformed, Outcome::Forged, Outcome::TooShort];
        prop_assert_eq!(reply.is_empty(), silent.contains(&outcome));
    }

    /// Whatever a session is entitled to, what it asks fits, and is answered in full.
    #[test]
    fn a_session_always_leaves_room_for_its_answer(
        channels in 1..=SESSION_CHANNELS_MAX, stock in 1..=COOKIES_MAX, requests in 1_u64..20,
    ) {
        let mut bench = Bench::new();
        let last = u16::try_from(channels).unwrap();
        let ticket = Bench::ticket(1, 1, 1, (0..last).map(|id| ChannelId(CHANNEL.0 + id)).collect());
        let mut session = bench.session_of(&ticket, stock);
        for number in 0..requests {
            let datagram = session.request(bench.now, &wanted(number, None), &mut bench.rng);
            prop_assert!(datagram.len() <= CONTROL_MAX);
            let before = session.cookies();
            let (outcome, reply) = bench.knock(&datagram);
            prop_assert_eq!(outcome, Outcome::Granted);
            session.handle(&reply).unwrap();
            prop_assert!(session.cookies() > before.min(COOKIES_MAX - 1));
        }
    }

    /// Random bytes get nothing, and open nothing.
    #[test]
    fn random_datagrams_are_no_requests_and_no_answers(
        mut bytes in prop::collection::vec(any::<u8>(), 0..1_300), kind in 0x10_u8..0x13,
    ) {
        let mut bench = Bench::new();
        let mut session = bench.session(1);
        session.request(bench.now, &wanted(1, None), &mut bench.rng);
        for typed in [false, true] {
            if typed && bytes.len() >= 2 {
                bytes[..2].copy_from_slice(&[kind, 1]);
            }
            let (outcome, _) = bench.knock(&bytes);
            prop_assert!(matches!(outcome, Outcome::Malformed | Outcome::CookieUnknown));
            prop_assert!(session.handle(&bytes).is_err());
        }
    }
}
