//! Who gets what.

use super::*;
use crate::limits::{SESSION_BURST, SESSION_RATE};

/// MD-05, MD-21: a device gets the decipher half of the epoch in use and of the next one, how long each lasts, and what
/// else it must know of the channel.
#[test]
fn md_05_md_21_a_session_asks_and_gets_current_and_next() {
    let mut bench = Bench::new();
    let mut session = bench.session(1);
    let granted = bench.granted(&mut session, &wanted(9, None));
    assert_eq!((granted.number, granted.channel), (9, CHANNEL));
    assert_eq!(epochs(&granted), (4, Some(5)));
    let served = served(bench.now);
    assert_eq!(granted.current.root, root(4));
    assert_eq!(granted.current.remaining, Remaining(8_000));
    let next = granted.next.unwrap();
    assert_eq!((next.root, next.remaining), (root(5), Remaining(68_000)));
    assert_eq!(
        (granted.authority, granted.successor, granted.timing),
        (served.authority, served.successor, served.timing)
    );
    assert!(granted.fetch_offset.duration() < served.timing.fetch_ahead() * 7 / 10);
    assert_eq!(bench.count(Outcome::Granted), 1);
    // What remains is as of the answer.
    bench.now = bench.now.after(ms(3_000));
    let later = bench.granted(&mut session, &wanted(10, None));
    assert_eq!(later.current.remaining, Remaining(5_000));
}

/// MD-25, MD-37: the epoch is named in the request; one that is still in use somewhere is given with the one after it.
#[test]
fn md_25_md_37_an_epoch_that_is_named_is_the_one_that_is_given() {
    let mut bench = Bench::new();
    let mut session = bench.session(1);
    for (epoch, expected) in [(3, (3, Some(4))), (4, (4, Some(5))), (5, (4, Some(5)))] {
        let granted = bench.granted(&mut session, &wanted(epoch, Some(epoch)));
        assert_eq!(epochs(&granted), expected);
    }
    for epoch in [1, 2, 6, u64::MAX] {
        let refused = bench.refused(&mut session, &wanted(epoch, Some(epoch)));
        assert_eq!(refused.reason, Reason::EpochUnavailable);
        assert_eq!((refused.number, refused.channel), (epoch, CHANNEL));
        assert!(refused.retry_after > Remaining(0));
    }
    assert_eq!(bench.count(Outcome::EpochUnavailable), 4);
}

/// MD-21: what is prepared is expected, and nobody gets it before it is announced.
#[test]
fn md_21_nothing_that_is_not_announced_is_served() {
    let mut bench = Bench::new();
    let mut session = bench.session(1);
    let prepared = Served {
        next: None,
        ..served(bench.now)
    };
    bench.door.update(Update::Channel(Box::new(prepared)));
    assert_eq!(
        epochs(&bench.granted(&mut session, &wanted(1, None))),
        (4, None)
    );
    let refused = bench.refused(&mut session, &wanted(2, Some(5)));
    assert_eq!(
        (refused.reason, refused.retry_after),
        (Reason::EpochUnavailable, Remaining::from(NOTICE_INTERVAL)),
        "soon"
    );
    let unknown = bench.refused(&mut session, &wanted(3, Some(6)));
    assert_eq!(unknown.retry_after, Remaining::from(REPORT_INTERVAL));
    // A channel that nobody sends on yet.
    let nothing = Served {
        in_use: None,
        next: None,
        others: Vec::new(),
        ..served(bench.now)
    };
    bench.door.update(Update::Channel(Box::new(nothing)));
    let refused = bench.refused(&mut session, &wanted(4, None));
    assert_eq!(refused.reason, Reason::EpochUnavailable);
}

/// MD-40: whoever got no answer asks again: the same request by its number, another datagram by its nonce, so that it is
/// answered; and whichever answer comes first counts, each of them once.
#[test]
fn md_40_a_retry_has_the_same_number_and_another_nonce_and_is_answered() {
    let mut bench = Bench::new();
    let mut session = bench.session(1);
    let wanted = wanted(77, None);
    let first = session.request(bench.now, &wanted, &mut bench.rng);
    let retry = session.request(bench.now, &wanted, &mut bench.rng);
    assert_ne!(parts(&first).sealed.nonce, parts(&retry).sealed.nonce);
    assert_ne!(parts(&first).cookie, parts(&retry).cookie);
    let answers = [&retry, &first].map(|datagram| bench.knock(datagram).1);
    for answer in &answers {
        match session.handle(answer) {
            Ok(Answer::Granted { granted, .. }) => assert_eq!(granted.number, 77),
            other => unreachable!("{other:?}"),
        }
    }
    for answer in &answers {
        assert_eq!(session.handle(answer), Err(Discard::Known));
    }
}

#[test]
fn a_session_gets_the_channels_it_is_entitled_to_and_no_other() {
    let mut bench = Bench::new();
    let other = ChannelId(8);
    let mut session = bench.session_of(&Bench::ticket(1, 1, 1, vec![other, ChannelId(9)]), 8);
    let refused = bench.refused(&mut session, &wanted(1, None));
    assert_eq!(
        (refused.reason, refused.channel),
        (Reason::NotEntitled, CHANNEL)
    );
    let of_other = Wanted {
        channel: other,
        ..wanted(2, None)
    };
    let refused = bench.refused(&mut session, &of_other);
    assert_eq!(refused.reason, Reason::ChannelUnknown);
    let other_served = Served {
        channel: other,
        ..served(bench.now)
    };
    bench.door.update(Update::Channel(Box::new(other_served)));
    assert_eq!(bench.granted(&mut session, &of_other).channel, other);
    bench.door.update(Update::ChannelGone(other));
    let refused = bench.refused(&mut session, &of_other);
    assert_eq!(refused.reason, Reason::ChannelUnknown);
    assert_eq!(
        (
            bench.count(Outcome::NotEntitled),
            bench.count(Outcome::ChannelUnknown)
        ),
        (1, 2)
    );
}

#[test]
fn a_door_is_busy_before_there_is_a_master_and_after() {
    let mut bench = Bench::new();
    bench.door.update(Update::Leads(false));
    let mut session = bench.session(1);
    for (leads, reason) in [(false, true), (true, false), (false, true)] {
        bench.door.update(Update::Leads(leads));
        let answer = bench.ask(&mut session, &wanted(1, None));
        let busy = matches!(&answer, Answer::Refused(refused) if refused.reason == Reason::Busy);
        assert_eq!(busy, reason, "{answer:?}");
    }
    // One that knows no ticket keys yet can only hint.
    let mut bench = Bench::starting();
    let mut session = bench.session(1);
    assert_eq!(
        bench.ask(&mut session, &wanted(1, None)),
        Answer::CookieUnknown
    );
}

/// SEC-08: one session cannot make a door work without end.
#[test]
fn sec_08_a_session_that_asks_too_much_is_told_that_the_door_is_busy() {
    let mut bench = Bench::new();
    let (mut greedy, mut modest) = (bench.session(1), bench.session(2));
    let mut granted = |bench: &mut Bench| {
        (0..1_000)
            .filter(|&number| {
                matches!(
                    bench.ask(&mut greedy, &wanted(number, None)),
                    Answer::Granted { .. }
                )
            })
            .count()
    };
    assert_eq!(granted(&mut bench), SESSION_BURST as usize);
    bench.granted(&mut modest, &wanted(1, None));
    bench.now = bench.now.after(ms(1_000));
    assert_eq!(granted(&mut bench), SESSION_RATE as usize);
    assert!(bench.count(Outcome::Busy) > 1_000);
}

#[test]
fn nothing_that_is_shown_shows_a_secret() {
    let mut bench = Bench::new();
    let mut session = bench.session(1);
    let granted = bench.granted(&mut session, &wanted(1, None));
    let ticket = Bench::ticket(1, 1, 1, vec![CHANNEL]);
    let grant = bench.grant(&ticket, 0);
    let shown = format!(
        "{:?} {session:?} {granted:?} {ticket:?} {grant:?} {:?} {:?} {:?}",
        bench.door,
        served(bench.now),
        ticket_key(1),
        Update::Tickets(tickets(1)),
    );
    let lower = shown.to_lowercase();
    let (decimal, hex) = (format!("{SECRET}, {SECRET}"), "a7a7");
    assert!(!lower.contains(&decimal) && !lower.contains(hex), "{shown}");
    let reply_key = SECRET ^ 1;
    assert!(!lower.contains(&format!("{reply_key}, {reply_key}")) && !lower.contains("a6a6"));
}

/// Doors are asked by millions at once: an answer asks of memory only what lists the ticket's channels.
#[test]
fn an_answer_allocates_once() {
    let mut bench = Bench::new();
    let mut sessions: Vec<_> = (0..100).map(|id| bench.session(id)).collect();
    let mut ask =
        |session: &mut Session| session.request(bench.now, &wanted(1, None), &mut bench.rng);
    let requests: Vec<_> = sessions.iter_mut().map(&mut ask).collect();
    let mut reply = Vec::new();
    let mut answer = |request: &Vec<u8>| {
        let Bench { door, rng, now } = &mut bench;
        let outcome = door.answer(*now, SOURCE, request, rng, &mut reply);
        assert_eq!(outcome, Outcome::Granted);
    };
    answer(&requests[0]);
    let counted = allocation_counter::measure(|| requests[1..].iter().for_each(&mut answer));
    assert_eq!(counted.count_total, 99);
}
