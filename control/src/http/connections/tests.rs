//! Who makes room, and who is over a limit.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::register::Class;
use super::*;

fn limits() -> Limits {
    Limits {
        handshaking: 8,
        anonymous: 8,
        authenticated: 8,
        handshake: Duration::from_secs(4),
        ..Limits::default()
    }
}

fn from(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

fn ended(register: &Register, why: &str) -> u64 {
    let stats = register.stats();
    let found = stats.ended.iter().find(|(name, _)| *name == why);
    found.unwrap().1
}

fn is_ended(ticket: &mut Ticket) -> bool {
    use std::task::{Context, Poll, Waker};
    let ended = std::pin::pin!(ticket.ended());
    let poll = ended.poll(&mut Context::from_waker(Waker::noop()));
    matches!(poll, Poll::Ready(_))
}

#[test]
fn the_one_that_idles_longest_makes_room_in_its_class_only() {
    let register = Register::new(limits());
    let mut held: Vec<_> = (0..8)
        .map(|number| register.enter(Class::Anonymous, from(number)).unwrap())
        .collect();
    let mut known = register.enter(Class::Authenticated, from(0)).unwrap();
    // The first is at work, the others idle since they came; the second has worked last.
    held[0].watch().begin_request();
    assert!(
        register.enter(Class::Anonymous, from(100)).is_none(),
        "all have just come"
    );
    std::thread::sleep(Duration::from_millis(260));
    held[1].watch().begin_request();
    held[1].watch().end_request();
    let mut newcomer = register.enter(Class::Anonymous, from(100)).unwrap();
    let gone: Vec<_> = held.iter_mut().map(is_ended).collect();
    assert_eq!(gone.iter().filter(|gone| **gone).count(), 1, "{gone:?}");
    assert!(!gone[0] && !gone[1], "{gone:?}");
    assert!(!is_ended(&mut newcomer) && !is_ended(&mut known));
    assert_eq!(ended(&register, "made-room"), 1);
}

#[test]
fn where_nobody_idles_nobody_comes_in() {
    let register = Register::new(limits());
    let held: Vec<_> = (0..8)
        .map(|number| register.enter(Class::Authenticated, from(number)).unwrap())
        .collect();
    held.iter().for_each(|held| held.watch().begin_request());
    assert!(register.enter(Class::Authenticated, from(9)).is_none());
    drop(held);
    assert!(register.enter(Class::Authenticated, from(9)).is_some());
}

#[test]
fn who_has_many_places_makes_room_before_others() {
    let register = Register::new(limits());
    // The oldest, and alone.
    let mut other = register.enter(Class::Anonymous, from(1)).unwrap();
    let v6 = |text: &str| text.parse::<IpAddr>().unwrap();
    // All of one /64.
    let mut its: Vec<_> = (1..=20)
        .map(|number| {
            let from = v6(&format!("2001:db8:1:1::{number}"));
            register.enter(Class::Anonymous, from).unwrap()
        })
        .collect();
    let left = its.iter_mut().map(is_ended).filter(|ended| !ended).count();
    assert_eq!(left, 7);
    let more = ["2001:db8:1:2::1", "192.0.2.77", "::ffff:192.0.2.78"]
        .map(|from| register.enter(Class::Anonymous, v6(from)).unwrap());
    assert!(!is_ended(&mut other));
    assert_eq!(register.stats().open[1], ("anonymous", 8));
    assert_eq!(ended(&register, "made-room"), 16);
    // Those that have many are at work: then whoever idles.
    its.iter().for_each(|its| its.watch().begin_request());
    std::thread::sleep(Duration::from_millis(260));
    let _newest = register.enter(Class::Anonymous, from(2)).unwrap();
    assert!(is_ended(&mut other));
    drop(more);
}

#[test]
fn a_handshake_that_is_under_way_makes_room_only_when_it_is_late() {
    let mut limits = limits();
    limits.handshake = Duration::from_millis(400);
    let register = Register::new(limits);
    let mut held: Vec<_> = (0..8)
        .map(|_| {
            let ticket = register.enter(Class::Handshaking, from(1)).unwrap();
            ticket.watch().begin_request();
            ticket
        })
        .collect();
    // None of them is late.
    assert!(register.enter(Class::Handshaking, from(2)).is_none());
    std::thread::sleep(Duration::from_millis(110));
    let _newcomer = register.enter(Class::Handshaking, from(2)).unwrap();
    assert!(is_ended(&mut held[0]) && !is_ended(&mut held[7]));
}

#[test]
fn who_says_nothing_makes_room_at_once_where_its_network_has_many_places() {
    let register = Register::new(limits());
    let mut held: Vec<_> = (0..8)
        .map(|_| register.enter(Class::Handshaking, from(1)).unwrap())
        .collect();
    held[0].watch().begin_request();
    let mut newcomer = register.enter(Class::Handshaking, from(2)).unwrap();
    assert!(!is_ended(&mut held[0]) && is_ended(&mut held[1]));
    held.iter().for_each(|held| held.watch().begin_request());
    assert!(register.enter(Class::Handshaking, from(3)).is_none());
    assert!(!is_ended(&mut newcomer), "it has just come");
}

#[tokio::test]
async fn places_come_back_and_at_the_end_nobody_enters() {
    let register = Register::new(limits());
    let mut ticket = register.enter(Class::Handshaking, from(1)).unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    stop.send(true).unwrap();
    register.keep(stopped).await;
    assert!(is_ended(&mut ticket));
    assert!(register.enter(Class::Handshaking, from(1)).is_none());
    drop(ticket);
    assert!(register.stats().open.iter().all(|(_, count)| *count == 0));
}

#[test]
fn an_answer_that_is_taken_or_that_waits_for_us_does_not_stall() {
    let limits = limits();
    let register = Register::new(limits.clone());
    let mut held: Vec<_> = (0..3)
        .map(|number| register.enter(Class::Authenticated, from(number)).unwrap())
        .collect();
    for ticket in &held {
        ticket.watch().begin_request();
    }
    // The first waits for us; the second takes a kilobyte now and then, the third nothing but keep-alive frames.
    held[1].watch().set_wanting(true);
    held[2].watch().set_wanting(true);
    let (start, step) = (Instant::now(), limits.stalled / 2);
    for round in 1..=6 {
        held[1].watch().wrote(1024);
        held[2].watch().wrote(100);
        register.sweep(start + step * round);
    }
    let gone: Vec<_> = held.iter_mut().map(is_ended).collect();
    assert_eq!(gone, [false, false, true]);
    assert_eq!(ended(&register, "stalled"), 1);
}

#[test]
fn limits_follow_from_the_files_that_may_be_open() {
    for (files, all) in [(0, 64), (1024, 512), (20_000, 19_488), (u64::MAX, 32_768)] {
        let limits = Limits::for_files(files);
        let sum = limits.handshaking + limits.anonymous + limits.authenticated;
        assert_eq!(sum, all);
        assert!(limits.authenticated > 2 * limits.anonymous);
    }
}
