//! What is not taken, and how it is counted.

use sealcast_proto::discard::Discard;
use sealcast_proto::ids::{Epoch, Remaining};
use sealcast_proto::limits::{DATAGRAM_MAX, OVERHEAD};
use sealcast_proto::receiver::{Event, FetchOn};
use sealcast_proto::sender::{self, Hold, Rejection};
use sealcast_proto::wire::control::sign;
use sealcast_proto::wire::door::{DecipherHalf, Granted};
use sealcast_proto::wire::link::{FromAuthority, NoticeRelay, Welcome};

use crate::bench::{Bench, CHANNEL, TERM, at, root, timing};

fn counted(bench: &Bench, cause: Discard) -> u64 {
    bench.receiver.discards().of(cause)
}

fn events(bench: &mut Bench) -> Vec<Event> {
    std::iter::from_fn(|| bench.receiver.poll_event()).collect()
}

/// Each packet that is not delivered is counted once, under its cause.
#[test]
fn every_packet_that_is_not_delivered_is_counted_under_its_cause() {
    let mut bench = Bench::started(Hold::Hold, FetchOn::default());
    let packet = bench.seal(10, b"content").unwrap();
    let mut altered = packet.clone();
    *altered.last_mut().unwrap() ^= 1;
    bench.arrive(11, &altered);
    assert_eq!(counted(&bench, Discard::BadTag), 1);
    let mut elsewhere = packet.clone();
    elsewhere[3] ^= 1;
    bench.arrive(12, &elsewhere);
    assert_eq!(counted(&bench, Discard::OtherChannel), 1);
    let mut stranger = packet.clone();
    stranger[1] = 200;
    bench.arrive(13, &stranger);
    assert_eq!(counted(&bench, Discard::Uncertified), 1);
    bench.arrive(14, b"no packet of ours");
    bench.arrive(14, &packet[..OVERHEAD - 1]);
    assert_eq!(counted(&bench, Discard::Malformed), 2);
    let mut long = packet.clone();
    long.resize(DATAGRAM_MAX + 1, 0);
    bench.arrive(15, &long);
    assert_eq!(counted(&bench, Discard::Oversize), 1);
    assert!(bench.delivered.is_empty());
    bench.arrive(16, &packet);
    bench.arrive(17, &packet);
    assert_eq!(
        (bench.delivered.len(), counted(&bench, Discard::Replay)),
        (1, 1)
    );
}

/// MD-15: the Notice must name the key that is held for next.
#[test]
fn md_15_a_notice_of_another_next_does_not_switch() {
    let mut bench = Bench::started(Hold::Hold, FetchOn::default());
    bench.cipher(6_100, 3, 13_900, false);
    bench.announce(7_000, 1, 3_000);
    bench.poll(10_100);
    assert_eq!(
        bench.sender.current(at(10_100)).map(|(epoch, _)| epoch),
        Some(Epoch(1))
    );
    assert!(bench.sender.is_holding());
}

/// SEC-10: what the authority signed for another channel, or a former master of it, moves nothing and is not forwarded.
#[test]
fn sec_10_notices_of_another_channel_or_a_former_term_are_not_forwarded() {
    let mut bench = Bench::started(Hold::Hold, FetchOn::default());
    bench.cipher(6_100, 2, 13_900, false);
    let welcome = Welcome {
        term: sealcast_proto::ids::Term { number: 9, ..TERM },
        authority: bench.authority.verifying_key(),
        successor: None,
    };
    let mut notice = bench.unsigned_notice(1, 3_000);
    notice.channel = sealcast_proto::ids::ChannelId(CHANNEL.0 + 1);
    let of_other_channel = sign(&notice, &bench.authority);
    let of_former_term = bench.notice(1, 3_000, &bench.authority);
    bench.multicast.clear();
    bench.tell_sender(
        7_000,
        FromAuthority::Notice(NoticeRelay {
            datagram: of_other_channel,
        }),
    );
    bench.tell_sender(7_010, FromAuthority::Welcome(welcome));
    bench.tell_sender(
        7_020,
        FromAuthority::Notice(NoticeRelay {
            datagram: of_former_term,
        }),
    );
    assert!(
        !bench
            .multicast
            .iter()
            .any(|datagram| datagram[1] == 1 && datagram[0] == 1)
    );
    bench.poll(10_100);
    assert!(bench.sender.is_holding());
    let rejected = |why| bench.events.contains(&sender::Event::Rejected { why });
    assert!(rejected(Rejection::Certificate) && rejected(Rejection::Term));
}

fn grant_of(bench: &mut Bench, ms: u64, number: u64, halves: [(u64, u64, u32); 2]) {
    let [current, next] = halves.map(|(epoch, of, remaining)| DecipherHalf {
        epoch: Epoch(epoch),
        root: root(of),
        remaining: Remaining(remaining),
    });
    let granted = Granted {
        number,
        channel: CHANNEL,
        current,
        next: Some(next),
        fetch_offset: Remaining(300),
        authority: bench.authority.verifying_key(),
        successor: None,
        timing: timing(),
        cookies: Vec::new(),
    };
    bench.give_receiver(ms, granted);
}

/// SEC-10: a root that is held already is dropped when the authority signs that it is another one, and fetched anew.
#[test]
fn sec_10_a_notice_unmasks_a_wrong_root_that_is_held() {
    let mut bench = Bench::started(Hold::Hold, FetchOn::default());
    bench.poll(8_310);
    let number = bench.requests()[0].0;
    grant_of(&mut bench, 8_320, number, [(1, 1, 1_680), (2, 77, 11_680)]);
    assert_eq!(bench.receiver.next_epoch(), Some(Epoch(2)));
    let notice = bench.notice(1, 1_500, &bench.authority);
    bench.arrive(8_500, &notice);
    assert_eq!(bench.receiver.next_epoch(), None);
    assert!(events(&mut bench).contains(&Event::CommitmentMismatch { epoch: Epoch(2) }));
    bench.poll(8_600);
    assert!(
        bench
            .requests()
            .iter()
            .any(|&(_, wanted)| wanted == Some(Epoch(2)))
    );
}

/// SEC-12: remaining time counts from the moment of asking, so a slow answer never makes a key last longer.
#[test]
fn sec_12_a_slow_answer_does_not_prolong_a_key() {
    let mut bench = Bench::new(Hold::Hold, FetchOn::default());
    bench.poll(2);
    let (number, _) = bench.requests()[0];
    bench.grant(402, number, (1, 10_000), None);
    let (_, remaining) = bench.receiver.current(at(402)).unwrap();
    assert_eq!(remaining, Remaining(9_600));
}

/// MD-10, MD-13: a device that hears nothing at all goes on by its own countdown.
#[test]
fn md_10_a_device_counts_down_by_itself_when_nothing_arrives() {
    let timer = FetchOn {
        timer: true,
        notice: false,
        demand: false,
    };
    let mut bench = Bench::started(Hold::Hold, timer);
    bench.poll(8_310);
    let number = bench.requests()[0].0;
    bench.grant(8_320, number, (1, 1_680), Some((2, 11_680)));
    bench.poll(9_000);
    assert_eq!(bench.requests(), [], "next is held");
    // Epoch 1 is over by 10,000; the second preset of epoch 2 is at 18,000, and 300 ms of offset.
    bench.poll(10_100);
    bench.poll(18_200);
    assert_eq!(bench.requests(), []);
    bench.poll(18_350);
    assert_eq!(bench.requests().len(), 1);
}

/// SEC-05: lanes that are certified for another server's key are not sent under.
#[test]
fn sec_05_a_sender_takes_no_lanes_of_another_servers_key() {
    let mut bench = Bench::new(Hold::Hold, FetchOn::default());
    let mut half = bench.cipher_half(1, 10_000, true);
    half.certificate = bench.certificate_of(1, 5, &[10; 32]);
    bench.tell_sender(0, FromAuthority::CipherHalf(half));
    assert!(bench.sender.current(at(1)).is_none());
    let rejected = sender::Event::Rejected {
        why: Rejection::Certificate,
    };
    assert!(bench.events.contains(&rejected));
}
