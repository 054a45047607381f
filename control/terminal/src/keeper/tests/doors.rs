//! Which door is asked, and when HTTPS is.

use super::*;

#[test]
fn without_answers_requests_take_another_door_and_https_besides() {
    let mut bench = Bench::settled();
    assert_eq!(bench.exchange().reachable, [true]);
    let mut doors = Vec::new();
    for _ in 0..UNANSWERED {
        let out = bench.want();
        assert_eq!(
            (out.udp.len(), out.https.len()),
            (1, 0),
            "as long as it may be chance"
        );
        doors.push(out.udp[0].0);
    }
    let mut reachable = Vec::new();
    for _ in 0..4 {
        let out = bench.want();
        assert_eq!(out.https, [out.udp[0].1.clone()], "the very same bytes");
        doors.push(out.udp[0].0);
        reachable.extend(out.reachable);
    }
    let (one, two) = (door_addr(0), door_addr(1));
    assert_eq!(doors, [one, two, one, two, one, two, one], "all are tried");
    assert_eq!(reachable, [false], "said once");
}

#[test]
fn md_31_a_door_that_cannot_answer_for_an_epoch_is_followed_by_the_next() {
    let mut bench = Bench::settled();
    bench.exchange();
    // A slave without contact, and one that does not know of the channel (yet).
    for update in [Update::Leads(false), Update::ChannelGone(CHANNEL)] {
        bench.server.doors[0].update(update);
        let refused = bench.exchange();
        assert_eq!((refused.granted.len(), refused.refused.len()), (0, 1));
        let out = bench.want();
        assert_eq!(out.udp[0].0, door_addr(1));
        assert_eq!(bench.answer(1, &out.udp[0].1).granted.len(), 1);
        bench.server.doors[0].update(Update::Leads(true));
        bench.keeper.route.renewed();
    }
}

#[test]
fn many_channels_that_ask_at_once_are_no_silence() {
    let mut bench = Bench::settled();
    for _ in 0..2 {
        bench.pass(ROUND);
        for _ in 0..30 {
            let out = bench.want_now();
            assert_eq!((out.udp.len(), out.https.len()), (1, 0));
        }
    }
}

#[test]
fn an_answer_by_udp_ends_https_and_one_by_https_does_not() {
    let mut bench = Bench::settled();
    for _ in 0..UNANSWERED + 2 {
        bench.want();
    }
    let out = bench.want();
    assert_eq!(bench.answer(HTTPS, &out.https[0]).reachable, [true]);
    let out = bench.want();
    assert_eq!(out.https.len(), 1, "UDP is still silent");
    let door = usize::from(out.udp[0].0.port() - 5000);
    assert_eq!(bench.answer(door, &out.udp[0].1).granted.len(), 1);
    let next = bench.want();
    assert_eq!(next.https.len(), 0);
    assert_eq!(next.udp[0].0, out.udp[0].0, "the door that answered");
}

#[test]
fn doors_that_fall_silent_by_https_too_are_told_as_not_reachable() {
    let mut bench = Bench::settled();
    let mut reachable = bench.exchange().reachable;
    // UDP does not pass, HTTPS does, for a while.
    for _ in 0..20 {
        let out = bench.want();
        reachable.extend(out.reachable);
        if let [datagram] = &out.https[..] {
            reachable.extend(bench.answer(HTTPS, datagram).reachable);
        }
    }
    assert_eq!(reachable, [true], "few were without an answer");
    for _ in 0..20 {
        reachable.extend(bench.want().reachable);
    }
    assert_eq!(reachable, [true, false], "now none answers");
    reachable.extend(bench.exchange().reachable);
    assert_eq!(reachable, [true, false, true]);
}
