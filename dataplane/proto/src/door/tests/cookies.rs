//! Cookies: used once, renewed, over with their period or with the rights they were made under.

use super::*;
use crate::limits::{HINTS_PER_SECOND, HINTS_PER_SOURCE};

#[test]
fn cookies_are_used_once_and_replenished_and_the_last_one_is_used_again() {
    let mut bench = Bench::new();
    let ticket = Bench::ticket(1, 1, 1, vec![CHANNEL]);
    let mut session = bench.session_of(&ticket, 3);
    let mut spent: Vec<Cookie> = Vec::new();
    // No answers: two are spent, the third is kept.
    for number in 0..5 {
        let datagram = session.request(bench.now, &wanted(number, None), &mut bench.rng);
        spent.push(parts(&datagram).cookie);
    }
    assert_eq!(session.cookies(), 1);
    assert!(spent[0] != spent[1] && spent[1] != spent[2]);
    assert_eq!(
        spent[2..],
        [spent[2].clone(), spent[2].clone(), spent[2].clone()]
    );
    // An answer brings as many as fit; two fill the stock.
    bench.granted(&mut session, &wanted(8, None));
    assert!(session.cookies() > COOKIES_MAX / 2);
    bench.granted(&mut session, &wanted(9, None));
    assert_eq!(session.cookies(), COOKIES_MAX);
    let mut seen = spent;
    for number in 10..100 {
        let datagram = session.request(bench.now, &wanted(number, None), &mut bench.rng);
        let cookie = parts(&datagram).cookie;
        let known = seen.contains(&cookie);
        assert!(
            !known || number == 10,
            "SEC-04: no cookie is seen twice on the way"
        );
        seen.push(cookie);
        let (outcome, reply) = bench.knock(&datagram);
        assert_eq!(outcome, Outcome::Granted);
        session.handle(&reply).unwrap();
        assert_eq!(session.cookies(), COOKIES_MAX);
    }
}

#[test]
fn a_session_goes_on_after_a_restart_of_its_device() {
    let mut bench = Bench::new();
    let mut session = bench.session(1);
    bench.granted(&mut session, &wanted(1, None));
    let unanswered = session.request(bench.now, &wanted(2, None), &mut bench.rng);
    let mut again = Session::new(session.grant()).unwrap();
    assert_eq!(again.grant(), session.grant());
    let (_, reply) = bench.knock(&unanswered);
    assert_eq!(again.handle(&reply), Err(Discard::Known));
    bench.granted(&mut again, &wanted(3, None));
    let none = SessionGrant {
        cookies: Vec::new(),
        ..session.grant()
    };
    assert!(
        Session::new(none).is_none(),
        "without a cookie there is no session"
    );
}

/// Cookies of the current period and the one before it open; older ones get a hint in clear, and so do cookies of a period
/// to come. Cookies that are renewed keep the period in which the session began.
#[test]
fn sec_11_cookies_of_a_dropped_period_are_refused_with_a_plain_hint() {
    let mut bench = Bench::new();
    let mut session = bench.session(1);
    bench.door.update(Update::Tickets(tickets(2)));
    bench.granted(&mut session, &wanted(1, None));
    bench.door.update(Update::Tickets(tickets(3)));
    let datagram = session.request(bench.now, &wanted(2, None), &mut bench.rng);
    let (outcome, reply) = bench.knock(&datagram);
    assert_eq!(outcome, Outcome::CookieUnknown);
    let expected = Refusal::Plain {
        request: parts(&datagram).sealed.nonce,
        reason: Reason::CookieUnknown,
    };
    assert_eq!(Refusal::from_datagram(&reply), Ok(expected));
    assert_eq!(session.handle(&reply), Ok(Answer::CookieUnknown));
    // Without the key of the period before, that one is over at once.
    let alone = Tickets::new(ticket_key(1), None);
    for (tickets, period, opens) in [
        (tickets(1), 2, false),
        (tickets(2), 1, true),
        (alone.clone(), 1, true),
        (alone, 0, false),
    ] {
        let mut bench = Bench::new();
        bench.door.update(Update::Tickets(tickets));
        let mut session = bench.session_of(&Bench::ticket(1, 1, period, vec![CHANNEL]), 2);
        let answer = bench.ask(&mut session, &wanted(1, None));
        assert_eq!(
            matches!(answer, Answer::Granted { .. }),
            opens,
            "{answer:?}"
        );
    }
}

/// A hint costs a stranger a datagram that is longer, and he gets a few.
#[test]
fn sec_08_hints_are_bounded_per_source_and_in_all() {
    let mut bench = Bench::new();
    let mut session = bench.session_of(&Bench::ticket(1, 1, 9, vec![CHANNEL]), 1);
    let datagram = session.request(bench.now, &wanted(1, None), &mut bench.rng);
    let hinted = |bench: &mut Bench, source: IpAddr| {
        let (outcome, reply) = bench.knock_from(source, &datagram);
        let silent = outcome == Outcome::CookieUnknownSilent;
        assert!(silent || outcome == Outcome::CookieUnknown);
        assert_eq!(reply.is_empty(), silent);
        !silent
    };
    let near = (0..100).filter(|&last| hinted(&mut bench, [10, 1, 2, last].into()));
    assert_eq!(near.count(), 2 * HINTS_PER_SOURCE as usize);
    let far = (0..20_000_u32).filter(|index| {
        let [_, _, a, b] = index.to_be_bytes();
        hinted(&mut bench, [11, a, b, 1].into())
    });
    assert!(far.count() <= HINTS_PER_SECOND as usize / 4);
    bench.now = bench.now.after(ms(2_000));
    assert!(hinted(&mut bench, SOURCE), "some time later again");
}

/// SEC-11: when rights change, cookies from before count no more; those of a renewed session do.
#[test]
fn sec_11_a_rights_floor_refuses_older_cookies_and_lets_renewed_ones_pass() {
    let mut bench = Bench::new();
    let mut old = bench.session_of(&Bench::ticket(1, 4, 1, vec![CHANNEL]), 4);
    let mut renewed = bench.session_of(&Bench::ticket(2, 5, 1, vec![CHANNEL]), 4);
    let mut stranger = Bench::ticket(3, 1, 1, vec![CHANNEL]);
    stranger.account = AccountId([1; 16]);
    let mut stranger = bench.session_of(&stranger, 4);
    bench.granted(&mut old, &wanted(1, None));
    for version in [5, 3] {
        // A lower floor that comes late does not lower it.
        bench.door.update(Update::RightsFloor {
            account: ACCOUNT,
            version,
        });
        let refused = bench.refused(&mut old, &wanted(2, None));
        assert_eq!(refused.reason, Reason::RightsChanged);
        bench.granted(&mut renewed, &wanted(3, None));
        bench.granted(&mut stranger, &wanted(4, None));
    }
    assert_eq!(bench.count(Outcome::RightsChanged), 2);
}

/// Two periods later no cookie is below a floor: it takes no memory any more.
#[test]
fn sec_11_floors_are_forgotten_two_periods_later_and_not_before() {
    let mut bench = Bench::new();
    let floor = |version| Update::RightsFloor {
        account: ACCOUNT,
        version,
    };
    bench.door.update(floor(5));
    bench.door.update(Update::Tickets(tickets(2)));
    let mut old = bench.session_of(&Bench::ticket(1, 4, 1, vec![CHANNEL]), 4);
    let refused = bench.refused(&mut old, &wanted(1, None));
    assert_eq!(refused.reason, Reason::RightsChanged);
    assert_eq!(bench.door.known.floors(), 1);
    bench.door.update(Update::Tickets(tickets(3)));
    assert_eq!(bench.door.known.floors(), 0);
    assert_eq!(
        bench.ask(&mut old, &wanted(2, None)),
        Answer::CookieUnknown,
        "and its cookies are over"
    );
    // One that is said again holds as long from then on.
    bench.door.update(floor(6));
    bench.door.update(Update::Tickets(tickets(4)));
    bench.door.update(floor(6));
    bench.door.update(Update::Tickets(tickets(5)));
    assert_eq!(bench.door.known.floors(), 1);
    bench.door.update(Update::Tickets(tickets(6)));
    assert_eq!(bench.door.known.floors(), 0);
    // A door that starts may hear of a floor before it hears of any ticket key.
    let mut bench = Bench::starting();
    bench.door.update(floor(5));
    for (period, known) in [(1, 1), (2, 1), (3, 0)] {
        bench.door.update(Update::Tickets(tickets(period)));
        assert_eq!(bench.door.known.floors(), known);
    }
}
