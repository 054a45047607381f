//! Keys come, change and go.

use sealcast_crypto::{EpochRoot, SigningKey, Span};
use sealcast_proto::discard::Discard;
use sealcast_proto::ids::{Epoch, Kid, Lane, Remaining};
use sealcast_proto::limits::HEADER_LEN;
use sealcast_proto::receiver::{self, FetchOn};
use sealcast_proto::sender::{self, Hold, NotSending};
use sealcast_proto::wire::control::sign;
use sealcast_proto::wire::door::{DecipherHalf, Granted};
use sealcast_proto::wire::link::{Frame, FromAuthority, NoticeRelay};

use crate::bench::{Bench, CHANNEL, SENDER_SEED, at, root, timing};

fn of(packet: &[u8], discards: &Bench, cause: Discard) -> u64 {
    assert!(!packet.is_empty());
    discards.receiver.discards().of(cause)
}

#[test]
fn md_01_07_a_packet_names_its_key_and_opens_with_exactly_that_one() {
    let mut bench = Bench::started(Hold::Hold, FetchOn::default());
    let packet = bench.seal(10, b"content").unwrap();
    assert_eq!(
        packet[..7],
        [0xDC, 1, 0, 3, 0, 0, 1],
        "lane 1, channel 3, epoch 1"
    );
    bench.arrive(11, &packet);
    assert_eq!(bench.delivered, [b"content".to_vec()]);
    // The same packet under the name of another epoch: that key is not held.
    let mut other = bench.seal(12, b"more").unwrap();
    other[6] = 2;
    let certificate = bench.certificate(2, 5);
    bench.arrive(12, &certificate);
    bench.arrive(12, &other);
    assert_eq!(
        (bench.delivered.len(), of(&other, &bench, Discard::BadTag)),
        (1, 0)
    );
}

#[test]
fn md_02_one_key_id_names_the_pair() {
    // The cipher half the sender got and the decipher half the device got are found by the same id.
    let mut bench = Bench::started(Hold::Hold, FetchOn::default());
    let kid = bench.sender.kid(0).unwrap();
    assert_eq!(
        (kid.channel(), kid.epoch_low(), kid.lane().number()),
        (CHANNEL, 1, 1)
    );
    let packet = bench.seal(10, b"x").unwrap();
    bench.arrive(10, &packet);
    assert_eq!(bench.delivered.len(), 1);
}

/// MD-03, SEC-05 (types): what a sender gets opens nothing but its own lane; the server's own key is in its certificate.
#[test]
fn md_03_sec_05_a_cipher_half_reveals_neither_root_nor_another_lane() {
    let kid = |lane: u8| Kid::new(Lane::new(lane).unwrap(), CHANNEL, Epoch(1)).value();
    let prk = root(1).prk();
    let (one, two) = (prk.lane_secret(kid(1)), prk.lane_secret(kid(2)));
    assert_ne!(one.key(), two.key());
    assert_ne!(one.key(), root(1).as_bytes());
    // Taking the lane key for a root gives another lane's key just as little.
    let guessed = EpochRoot::from_bytes(*one.key()).prk().lane_secret(kid(2));
    assert_ne!(guessed.key(), two.key());
    let bench = Bench::new(Hold::Hold, FetchOn::default());
    let certificate = bench.certificate(1, 5);
    let server_key = SigningKey::from_seed(&SENDER_SEED).verifying_key();
    assert!(
        certificate
            .windows(32)
            .any(|window| window == server_key.as_bytes())
    );
}

#[test]
fn md_10_both_sides_count_down() {
    let bench = Bench::started(Hold::Hold, FetchOn::default());
    for ms in [100, 4_000, 9_999] {
        let (_, sender) = bench.sender.current(at(ms)).unwrap();
        let (_, receiver) = bench.receiver.current(at(ms)).unwrap();
        assert_eq!(u64::from(sender.0), 10_000 - ms);
        assert!(u64::from(receiver.0).abs_diff(10_000 - ms) <= 5);
    }
}

#[test]
fn md_13_a_device_asks_for_the_next_key_at_the_second_preset() {
    let mut bench = Bench::started(
        Hold::Hold,
        FetchOn {
            timer: true,
            notice: false,
            demand: false,
        },
    );
    // 2,000 ms before the end, later by the offset of 300 ms that the server gave.
    bench.poll(8_290);
    assert_eq!(bench.requests(), []);
    bench.poll(8_310);
    let requests = bench.requests();
    assert_eq!(requests.len(), 1);
    bench.grant(8_320, requests[0].0, (1, 1_680), Some((2, 11_680)));
    assert_eq!(
        bench.receiver.next_epoch(),
        Some(Epoch(2)),
        "MD-13, MD-35: it is held beside the current one"
    );
}

#[test]
fn md_15_19_20_the_sender_asks_at_the_first_preset_and_switches_at_zero() {
    let mut bench = Bench::started(Hold::Hold, FetchOn::default());
    bench.poll(5_990);
    assert!(!bench.last_report().wants_next);
    bench.poll(6_010);
    assert!(
        bench.last_report().wants_next,
        "MD-19: at 4,000 ms remaining"
    );
    bench.cipher(6_100, 2, 13_900, false);
    assert_eq!(
        bench.last_report().next.map(|held| held.epoch),
        Some(Epoch(2)),
        "MD-20: held and acknowledged"
    );
    bench.announce(7_000, 1, 3_000);
    assert!(
        bench.multicast.iter().any(|datagram| datagram[0] == 1),
        "MD-26: the Notice goes out at once"
    );
    bench.announce(9_900, 1, 100);
    assert_eq!(bench.seal(9_999, b"a").unwrap()[6], 1, "not before 0");
    assert_eq!(bench.seal(10_000, b"b").unwrap()[6], 2, "MD-15: at 0");
    assert!(
        bench
            .events
            .contains(&sender::Event::Switched { epoch: Epoch(2) })
    );
}

#[test]
fn md_15_without_the_notice_nothing_switches() {
    let mut bench = Bench::started(Hold::Hold, FetchOn::default());
    bench.cipher(6_100, 2, 13_900, false);
    assert_eq!(
        bench.seal(10_500, b"a").unwrap()[6],
        1,
        "next alone is not enough: it holds"
    );
    bench.announce(10_600, 1, 200);
    assert_eq!(bench.seal(10_700, b"b").unwrap()[6], 1);
    assert_eq!(bench.seal(10_800, b"c").unwrap()[6], 2);
}

/// Announced, but the authority was away when devices wanted to fetch: switching would cost them the stream.
#[test]
fn md_15_39_an_announced_change_waits_for_an_authority_that_is_away() {
    let away = |hold: Hold, dies: u64| {
        let mut bench = Bench::started(hold, FetchOn::default());
        bench.cipher(6_100, 2, 13_900, false);
        for ms in (7_000..dies).step_by(250) {
            bench.announce(ms, 1, u32::try_from(10_000 - ms).unwrap());
        }
        bench.sender.link_down();
        bench
    };
    for dies in [7_100, 9_000, 9_990] {
        let mut bench = away(Hold::Hold, dies);
        assert_eq!(bench.seal(10_001, b"a").unwrap()[6], 1, "it holds");
        assert!(
            bench
                .events
                .contains(&sender::Event::Holding { epoch: Epoch(1) })
        );
        // A link alone does not tell that devices could fetch.
        bench.sender.link_up(at(30_000));
        bench.tell_keys(30_001);
        assert_eq!(bench.seal(30_002, b"b").unwrap()[6], 1);
        // The authority gives devices their time, then the change comes.
        let mut notice = bench.unsigned_notice(1, 2_000);
        notice.revision += 1;
        for remaining in [2_000, 100] {
            notice.remaining = Remaining(remaining);
            let datagram = sign(&notice, &bench.authority);
            let ms = 32_100 - u64::from(remaining);
            bench.tell_sender(ms, FromAuthority::Notice(NoticeRelay { datagram }));
        }
        assert_eq!(bench.seal(32_099, b"c").unwrap()[6], 1);
        assert_eq!(bench.seal(32_100, b"d").unwrap()[6], 2);
        // Put off, not cut short: it has its whole life.
        let (_, left) = bench.sender.current(at(32_100)).unwrap();
        assert_eq!(left.0, 10_000);
    }
    // A link that looks alive, and silence.
    let mut bench = Bench::started(Hold::Hold, FetchOn::default());
    bench.cipher(6_100, 2, 13_900, false);
    bench.announce(8_900, 1, 1_100);
    // A former revision says nothing of this change.
    let mut stale = bench.unsigned_notice(1, 100);
    stale.revision -= 1;
    let datagram = sign(&stale, &bench.authority);
    bench.tell_sender(9_900, FromAuthority::Notice(NoticeRelay { datagram }));
    assert_eq!(bench.seal(10_001, b"a").unwrap()[6], 1);
    // It missed the last Notices only: the answer to its report tells.
    bench.announce(10_100, 1, 0);
    assert_eq!(bench.seal(10_101, b"b").unwrap()[6], 2);
    // When it may hold no longer, next is better than nothing.
    let mut bench = away(Hold::Hold, 9_000);
    assert_eq!(bench.seal(109_999, b"a").unwrap()[6], 1);
    assert_eq!(bench.seal(110_000, b"b").unwrap()[6], 2);
    let mut bench = away(Hold::Stop, 9_000);
    assert_eq!(bench.seal(10_000, b"a").unwrap()[6], 2);
}

/// A request that nobody answered is brought forward by a change announced anew, and once by a packet under its key.
#[test]
fn md_25_27_a_device_asks_again_when_a_master_is_back() {
    let notice = FetchOn {
        timer: false,
        notice: true,
        demand: true,
    };
    let mut bench = Bench::started(Hold::Hold, notice);
    let announced = bench.notice(1, 2_000, &bench.authority);
    bench.arrive(8_000, &announced);
    let mut tries = Vec::new();
    let mut wait = |bench: &mut Bench, from: u64, to: u64| {
        for ms in from..to {
            bench.poll(ms);
            tries.extend(bench.requests().iter().map(|_| ms));
        }
        tries.clone()
    };
    let before = wait(&mut bench, 8_000, 20_000);
    assert!(
        before.len() >= 5 && before[1] - before[0] < 400,
        "{before:?}"
    );
    let mut anew = bench.unsigned_notice(1, 2_000);
    anew.revision += 1;
    let anew = sign(&anew, &bench.authority);
    bench.arrive(20_000, &anew);
    assert_eq!(bench.receiver.current(at(20_000)).unwrap().1.0, 2_000);
    let after = wait(&mut bench, 20_000, 20_400);
    let fetch = after[before.len()];
    assert!((20_300..20_310).contains(&fetch), "at its offset: {fetch}");
    // Nobody answers until the change has come.
    let after = wait(&mut bench, 20_400, 30_000).len();
    bench.cipher(25_000, 2, 13_900, false);
    bench.announce(25_000, 1, 0);
    let certificate = bench.certificate(2, 5);
    bench.arrive(30_000, &certificate);
    for ms in 30_000..30_100 {
        let packet = bench.seal(ms, b"x").unwrap();
        assert_eq!(packet[6], 2);
        bench.arrive(ms, &packet);
        wait(&mut bench, ms, ms + 1);
    }
    let last = wait(&mut bench, 30_100, 30_101);
    assert_eq!(last.len(), after + 1, "once: {last:?}");
    assert!(last[after] < 30_010);
}

#[test]
fn md_25_an_unknown_key_is_asked_for_and_what_waited_is_delivered() {
    let mut bench = Bench::started(
        Hold::Hold,
        FetchOn {
            timer: false,
            notice: false,
            demand: true,
        },
    );
    let first = bench.seal(10, b"first").unwrap();
    bench.arrive(10, &first);
    bench.cipher(6_100, 2, 13_900, false);
    bench.announce(7_000, 1, 3_000);
    let certificate = bench.certificate(2, 5);
    bench.arrive(9_000, &certificate);
    bench.announce(9_900, 1, 100);
    let packets: Vec<_> = (0..5)
        .map(|index| {
            bench
                .seal(10_000 + index, &[b'0' + u8::try_from(index).unwrap()])
                .unwrap()
        })
        .collect();
    packets
        .iter()
        .for_each(|packet| bench.arrive(10_010, packet));
    assert_eq!(bench.delivered.len(), 1);
    bench.poll(10_020);
    let requests = bench.requests();
    assert_eq!(
        requests.iter().map(|(_, epoch)| *epoch).collect::<Vec<_>>(),
        [Some(Epoch(2))],
        "one request for five packets"
    );
    bench.grant(10_030, requests[0].0, (2, 9_970), None);
    let later = bench.seal(10_040, b"5").unwrap();
    bench.arrive(10_040, &later);
    assert_eq!(
        bench.delivered[1..].concat(),
        b"012345",
        "in order, nothing lost"
    );
    assert_eq!(bench.receiver.stats().unparked, 5);
}

#[test]
fn md_27_on_the_notice_a_device_asks_for_the_next_key() {
    let mut bench = Bench::started(
        Hold::Hold,
        FetchOn {
            timer: false,
            notice: true,
            demand: false,
        },
    );
    let notice = bench.notice(1, 1_000, &bench.authority);
    bench.arrive(9_000, &notice);
    bench.poll(9_000);
    let requests = bench.requests();
    assert_eq!(
        requests.iter().map(|(_, epoch)| *epoch).collect::<Vec<_>>(),
        [Some(Epoch(2))]
    );
    bench.grant(9_010, requests[0].0, (2, 10_990), None);
    assert_eq!(bench.receiver.next_epoch(), Some(Epoch(2)));
}

#[test]
fn md_35_36_the_first_packet_under_next_promotes_and_stragglers_still_open() {
    let mut bench = Bench::started(Hold::Hold, FetchOn::default());
    bench.cipher(6_100, 2, 13_900, false);
    bench.announce(7_000, 1, 3_000);
    bench.poll(8_400);
    let number = bench.requests()[0].0;
    bench.grant(8_410, number, (1, 1_590), Some((2, 11_590)));
    let certificate = bench.certificate(2, 5);
    bench.arrive(8_500, &certificate);
    let first = bench.seal(9_000, b"first").unwrap();
    bench.arrive(9_000, &first);
    bench.announce(9_900, 1, 100);
    let old: Vec<_> = (0..2).map(|_| bench.seal(9_990, b"old").unwrap()).collect();
    let new = bench.seal(10_000, b"new").unwrap();
    bench.arrive(9_995, &new);
    let (current, _) = bench.receiver.current(at(9_995)).unwrap();
    assert_eq!(current, Epoch(2), "before the device's own 0");
    old.iter().for_each(|packet| bench.arrive(10_010, packet));
    assert_eq!(
        bench.delivered.concat(),
        b"firstoldoldnew",
        "MD-36: stragglers open, in order"
    );
    // Half a second after the last packet under it, the previous key is gone: counted, not opened.
    let mut stray = old[0].clone();
    stray[11] ^= 0x55;
    bench.poll(11_000);
    bench.arrive(11_001, &stray);
    let refused =
        [Discard::UnknownKey, Discard::Uncertified].map(|cause| of(&stray, &bench, cause));
    assert_eq!((bench.delivered.len(), refused.iter().sum::<u64>()), (4, 1));
}

#[test]
fn md_39_hold_goes_on_with_an_alarm_for_ten_lifetimes_and_stop_stops() {
    let mut bench = Bench::started(Hold::Hold, FetchOn::default());
    assert!(bench.seal(10_001, b"a").is_ok());
    assert!(
        bench
            .events
            .contains(&sender::Event::Holding { epoch: Epoch(1) })
            && bench.sender.is_holding()
    );
    assert!(bench.seal(109_999, b"b").is_ok());
    assert_eq!(
        bench.seal(110_000, b"c"),
        Err(NotSending::Stopped),
        "hold_max: ten lifetimes"
    );
    assert!(
        bench
            .events
            .contains(&sender::Event::Stopped { epoch: Epoch(1) })
    );
    let mut bench = Bench::started(Hold::Stop, FetchOn::default());
    assert_eq!(bench.seal(10_000, b"a"), Err(NotSending::Stopped));
    let mut buffer = vec![0; 100];
    buffer[HEADER_LEN..HEADER_LEN + 5].copy_from_slice(b"clear");
    let mut spans = [Span {
        offset: 0,
        header_len: HEADER_LEN,
        payload_len: 5,
        ctr: 0,
    }];
    assert!(
        bench
            .sender
            .seal(at(10_001), 0, &mut buffer, &mut spans)
            .is_err()
    );
    assert_eq!(
        spans[0].ctr, 0,
        "no header is written: the caller has nothing to send"
    );
    assert_eq!(bench.sender.stats().not_sent, 2);
}

/// The authority was away until every key had expired: under the new one packet numbers run on in the same stripe group,
/// because receivers remember them.
#[test]
fn sec_06_numbers_run_on_after_a_time_without_any_key() {
    let mut bench = Bench::started(Hold::Hold, FetchOn::default());
    bench.cipher(6_100, 2, 13_900, false);
    bench.announce(9_900, 1, 100);
    let number = |packet: &[u8]| packet[7..12].to_vec();
    let last = number(&bench.seal(9_999, b"a").unwrap());
    // Nobody sealed or polled while both epochs ended, and the time to hold was over.
    assert_eq!(bench.seal(140_000, b"b"), Err(NotSending::NoKey));
    bench.cipher(140_100, 3, 10_000, true);
    let next = number(&bench.seal(140_200, b"c").unwrap());
    assert!(next > last, "{last:x?} {next:x?}");
}

#[test]
fn md_40_a_device_that_joins_at_any_moment_ends_in_the_same_state() {
    for joins in [100, 5_000, 8_300, 9_990] {
        let mut bench = Bench::new(Hold::Hold, FetchOn::default());
        bench.cipher(0, 1, 10_000, true);
        bench.cipher(6_100, 2, 13_900, false);
        bench.announce(7_000, 1, 3_000);
        let (one, two) = (bench.certificate(1, 5), bench.certificate(2, 5));
        bench.arrive(joins, &one);
        bench.arrive(joins, &two);
        let answer = |bench: &mut Bench, ms: u64| {
            bench.poll(ms);
            for (number, wanted) in bench.requests() {
                let next = (ms >= 7_000).then(|| (2, u32::try_from(20_000 - ms).unwrap()));
                let one_left = u32::try_from(10_000_u64.saturating_sub(ms)).unwrap();
                match wanted {
                    Some(Epoch(2)) => {
                        bench.grant(ms, number, (2, u32::try_from(20_000 - ms).unwrap()), None)
                    }
                    _ => bench.grant(ms, number, (1, one_left), next),
                }
            }
        };
        for ms in (joins..10_100).step_by(5) {
            if (9_900..=10_000).contains(&ms) {
                bench.announce(ms, 1, u32::try_from(10_000 - ms).unwrap());
            }
            answer(&mut bench, ms);
            if ms % 100 == 0 {
                let packet = bench.seal(ms, b"x").unwrap();
                bench.arrive(ms, &packet);
                answer(&mut bench, ms + 1);
            }
        }
        let packet = bench.seal(10_100, b"end").unwrap();
        bench.arrive(10_100, &packet);
        assert_eq!(
            bench.receiver.current(at(10_100)).map(|(epoch, _)| epoch),
            Some(Epoch(2)),
            "joined at {joins}"
        );
        assert_eq!(bench.delivered.last().unwrap(), b"end", "joined at {joins}");
    }
}

#[test]
fn sec_07_every_bit_of_a_packet_is_authenticated() {
    let mut bench = Bench::started(Hold::Hold, FetchOn::default());
    let packet = bench.seal(10, b"content").unwrap();
    for bit in 0..packet.len() * 8 {
        let mut altered = packet.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        bench.arrive(11, &altered);
        assert!(bench.delivered.is_empty(), "bit {bit}");
    }
    bench.arrive(12, &packet);
    bench.arrive(13, &packet);
    assert_eq!(
        (bench.delivered.len(), of(&packet, &bench, Discard::Replay)),
        (1, 1)
    );
}

#[test]
fn sec_10_a_forged_notice_changes_nothing() {
    let mut bench = Bench::started(Hold::Hold, FetchOn::default());
    let forger = SigningKey::from_seed(&[66; 32]);
    let forged = bench.notice(1, 1, &forger);
    bench.arrive(100, &forged);
    bench.poll(200);
    assert_eq!(
        (bench.requests(), of(&forged, &bench, Discard::BadSignature)),
        (vec![], 1)
    );
    assert_eq!(
        bench
            .receiver
            .current(at(200))
            .unwrap()
            .1
            .duration()
            .as_millis()
            / 100,
        98,
        "the countdown goes on"
    );
    bench.tell_sender(300, FromAuthority::Notice(NoticeRelay { datagram: forged }));
    assert!(
        bench
            .events
            .iter()
            .any(|event| matches!(event, sender::Event::Rejected { .. }))
    );
    assert!(
        !bench.multicast.iter().any(|datagram| datagram[0] == 1),
        "and is not forwarded"
    );
}

#[test]
fn sec_10_a_root_that_is_not_the_committed_one_is_refused_with_an_alarm() {
    let mut bench = Bench::started(Hold::Hold, FetchOn::default());
    let notice = bench.notice(1, 3_000, &bench.authority);
    bench.arrive(7_000, &notice);
    bench.poll(8_400);
    let number = bench.requests()[0].0;
    let granted = Granted {
        number,
        channel: CHANNEL,
        current: DecipherHalf {
            epoch: Epoch(2),
            root: root(99),
            remaining: Remaining(10_000),
        },
        next: None,
        fetch_offset: Remaining(0),
        authority: bench.authority.verifying_key(),
        successor: None,
        timing: timing(),
        cookies: Vec::new(),
    };
    bench.give_receiver(8_500, granted);
    assert_eq!(bench.receiver.next_epoch(), None);
    let events: Vec<_> = std::iter::from_fn(|| bench.receiver.poll_event()).collect();
    assert!(
        events.contains(&receiver::Event::CommitmentMismatch { epoch: Epoch(2) }),
        "{events:?}"
    );
}

#[test]
fn sec_12_a_notice_that_is_old_by_the_links_offset_is_not_forwarded() {
    let mut bench = Bench::started(Hold::Hold, FetchOn::default());
    let (authority_clock, now) = (at(50_000), at(100));
    let pong = sealcast_proto::wire::link::Ping { echo: at(98) };
    let frame = Frame {
        sent: authority_clock,
        message: FromAuthority::Pong(pong),
    };
    bench.sender.handle_link(now, frame, &mut bench.rng);
    let datagram = bench.notice(1, 3_000, &bench.authority);
    let before = bench.multicast.len();
    let old = Frame {
        sent: at(49_300),
        message: FromAuthority::Notice(NoticeRelay {
            datagram: datagram.clone(),
        }),
    };
    bench.sender.handle_link(now, old, &mut bench.rng);
    bench.drain(100);
    assert_eq!(bench.multicast.len(), before, "700 ms old");
    let fresh = Frame {
        sent: at(49_900),
        message: FromAuthority::Notice(NoticeRelay { datagram }),
    };
    bench.sender.handle_link(now, fresh, &mut bench.rng);
    bench.drain(100);
    assert_eq!(bench.multicast.len(), before + 1);
    let (_, remaining) = bench.sender.current(now).unwrap();
    assert!(
        remaining.0.abs_diff(2_900) <= 2,
        "3,000 ms as of 100 ms ago: {remaining:?}"
    );
}
