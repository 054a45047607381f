//! Zero-copy sends: what leaves is what was in the buffer when it was sent, whatever becomes of the buffer.

use std::cell::Cell;
use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use sealcast_net::{
    GroupOptions, SendBuffer, UdpReceiver, UdpSender, ZeroCopy, is_oversize, shard,
};

use crate::helpers::{group, group_on_lo, on_shard, placement, receive, silent, unicast};
use crate::namespaces::{alone, can_run, wired};

const LENGTH: usize = 1344;
const EACH: usize = 48;
const BATCH: usize = EACH * LENGTH;
/// Buffers of a ring, and sends after which it is decided whether they are worth it.
const BUFFERS: usize = 16;
const TRIAL: usize = 64;
/// Loopback at 200 Mbit/s: a batch takes 2.6 ms.
const SLOW: &str = "ip link set lo up mtu 1500 && tc qdisc add dev lo root tbf rate 200mbit burst 70000 limit 9000000";

fn ring() -> Rc<ZeroCopy> {
    ZeroCopy::open(BATCH, 12).unwrap()
}

fn zero_copy_sender(options: &GroupOptions, ring: &Rc<ZeroCopy>) -> UdpSender {
    let mut sender = UdpSender::connect(options).unwrap();
    sender.use_zero_copy(ring);
    sender
}

/// The datagrams of batch `number`: each is filled with its own number.
fn marked(number: usize) -> impl Iterator<Item = [u8; LENGTH]> {
    (0..EACH).map(move |i| {
        let mark = (number * EACH + i).to_le_bytes();
        std::array::from_fn(|at| mark[at % mark.len()])
    })
}

/// Fills it with batch `number`.
fn fill(buffer: &mut SendBuffer, number: usize) {
    for (datagram, mark) in buffer.chunks_mut(LENGTH).zip(marked(number)) {
        datagram.copy_from_slice(&mark);
    }
}

/// Fills and sends batch `number`; whether a buffer of the ring was there for it.
async fn send(sender: &mut UdpSender, ring: &ZeroCopy, number: usize) -> bool {
    let shared = ring.take().await;
    let was_there = shared.is_some();
    let mut buffer = shared.unwrap_or_else(|| SendBuffer::plain(BATCH, 12));
    fill(&mut buffer, number);
    let closed = buffer.close();
    sender.send_closed(&closed, 0..BATCH, LENGTH).await.unwrap();
    was_there
}

/// Asserts that these are the first `count` batches, whole and in order.
fn assert_batches(datagrams: &[Vec<u8>], count: usize) {
    assert_eq!(datagrams.len(), count * EACH);
    let marks = (0..count).flat_map(marked);
    for (at, (datagram, mark)) in datagrams.iter().zip(marks).enumerate() {
        assert!(*datagram == mark, "datagram {at} is another");
    }
}

#[test]
fn a_buffer_is_not_filled_before_the_kernel_has_read_it() {
    const ROUNDS: usize = 60;
    if !can_run(&["ip", "tc"]) {
        return;
    }
    alone(SLOW, || {
        let options = group_on_lo();
        on_shard(async move || {
            let mut receiver = UdpReceiver::bind(&options).unwrap();
            let ring = ring();
            let mut sender = zero_copy_sender(&options, &ring);
            let (start, mut shared) = (Instant::now(), 0);
            for number in 0..ROUNDS {
                shared += usize::from(send(&mut sender, &ring, number).await);
            }
            // All but the last buffers' have left; a slot of time for each, and not one burst.
            assert!(
                start.elapsed() > Duration::from_millis(90),
                "it had to wait"
            );
            assert!(
                shared > ROUNDS / 2,
                "only {shared} of {ROUNDS} in buffers of the ring"
            );
            assert_batches(
                &receive(&mut receiver, ROUNDS * EACH).await.datagrams,
                ROUNDS,
            );
            silent(&mut receiver).await;
        });
    });
}

#[test]
fn a_full_socket_keeps_the_order_and_blocks_nobody() {
    const ROUNDS: usize = 40;
    if !can_run(&["ip", "tc"]) {
        return;
    }
    alone(SLOW, || {
        let options = group_on_lo();
        on_shard(async move || {
            let mut receiver = UdpReceiver::bind(&options).unwrap();
            let ring = ring();
            let small = GroupOptions {
                buffer: 100_000,
                ..options
            };
            let mut sender = zero_copy_sender(&small, &ring);
            let turns = Rc::new(Cell::new(0));
            let others = Rc::clone(&turns);
            shard::spawn(async move {
                loop {
                    shard::sleep(Duration::from_millis(1)).await;
                    others.set(others.get() + 1);
                }
            });
            for number in 0..ROUNDS {
                assert!(
                    send(&mut sender, &ring, number).await,
                    "the socket is full, not the ring"
                );
            }
            assert!(turns.get() > 10, "others run while it waits: {turns:?}");
            assert_batches(
                &receive(&mut receiver, ROUNDS * EACH).await.datagrams,
                ROUNDS,
            );
            let counts = sender.zero_copy_counts().unwrap();
            let told = usize::try_from(counts.direct + counts.copied).unwrap();
            assert!(
                (ROUNDS - 8..=ROUNDS).contains(&told),
                "sends that the full socket refused do not count: {counts:?}"
            );
        });
    });
}

#[test]
fn two_legs_send_one_buffer_in_parts() {
    if !can_run(&["ip", "tc"]) {
        return;
    }
    alone(SLOW, || {
        on_shard(async || {
            let mut receivers =
                [(); 2].map(|()| UdpReceiver::bind(&group_on_lo_with_room()).unwrap());
            let ring = ring();
            let mut legs = [0, 1].map(|leg: usize| {
                let to = GroupOptions::new(receivers[leg].local_addr().unwrap());
                zero_copy_sender(&to, &ring)
            });
            for number in 0..20 {
                let mut buffer = ring
                    .take()
                    .await
                    .unwrap_or_else(|| SendBuffer::plain(BATCH, 12));
                fill(&mut buffer, number);
                let closed = buffer.close();
                for leg in &mut legs {
                    for part in [0..LENGTH, LENGTH..21 * LENGTH, 21 * LENGTH..BATCH] {
                        leg.send_closed(&closed, part, LENGTH).await.unwrap();
                    }
                }
            }
            for receiver in &mut receivers {
                assert_batches(&receive(receiver, 20 * EACH).await.datagrams, 20);
            }
            for leg in &legs {
                let counts = leg.zero_copy_counts().unwrap();
                assert!(
                    counts.copied <= 40,
                    "single datagrams do not pay: {counts:?}"
                );
                assert!(
                    counts.copied > 20,
                    "two others of each batch do: {counts:?}"
                );
            }
        });
    });
}

fn group_on_lo_with_room() -> GroupOptions {
    GroupOptions {
        buffer: 16 << 20,
        ..unicast()
    }
}

#[test]
fn where_the_kernel_copies_sends_go_on_without() {
    on_shard(async || {
        let options = group_on_lo();
        let mut receiver = UdpReceiver::bind(&options).unwrap();
        let ring = ring();
        let mut sender = zero_copy_sender(&options, &ring);
        for number in 0..2 * TRIAL {
            assert!(sender.is_zero_copy() || number >= TRIAL, "batch {number}");
            send(&mut sender, &ring, number).await;
            let got = receive(&mut receiver, EACH).await;
            assert!(got.datagrams.iter().map(Vec::as_slice).eq(marked(number)));
        }
        let counts = sender.zero_copy_counts().unwrap();
        assert!(!sender.is_zero_copy() && counts.direct == 0);
        assert!(
            counts.copied < TRIAL as u64 + 8,
            "then others were sent: {counts:?}"
        );
        // Another socket of the ring is asked anew.
        assert!(zero_copy_sender(&options, &ring).is_zero_copy());
    });
}

#[test]
fn a_datagram_that_is_too_long_is_told_and_the_buffer_comes_back() {
    if !can_run(&["ip"]) {
        return;
    }
    let act = |options: GroupOptions| {
        on_shard(async move || {
            let ring = ring();
            let mut sender = zero_copy_sender(&options, &ring);
            for _ in 0..2 * BUFFERS {
                let closed = ring.take().await.unwrap().close();
                for part in [0..1473, 0..20 * 1473] {
                    let error = sender.send_closed(&closed, part, 1473).await.unwrap_err();
                    assert!(is_oversize(&error), "{error}");
                }
            }
            assert!(
                sender.gso() && sender.is_zero_copy(),
                "the datagrams were at fault"
            );
            send(&mut sender, &ring, 0).await;
        })
    };
    let ((), got) = wired(|| group(5000), EACH, act);
    assert_batches(&got, 1);
}

#[test]
fn nobody_listening_is_no_error_and_no_copy() {
    on_shard(async || {
        let receiver = UdpReceiver::bind(&unicast()).unwrap();
        let options = GroupOptions::new(receiver.local_addr().unwrap());
        drop(receiver);
        let ring = ring();
        let mut sender = zero_copy_sender(&options, &ring);
        for number in 0..5 {
            send(&mut sender, &ring, number).await;
        }
        let mut receiver = UdpReceiver::bind(&options).unwrap();
        send(&mut sender, &ring, 0).await;
        assert_batches(&receive(&mut receiver, EACH).await.datagrams, 1);
    });
}

#[test]
fn what_is_under_way_when_a_shard_ends_arrives_whole() {
    if !can_run(&["ip", "tc"]) {
        return;
    }
    // A tenth of that: all together take 0.4 s.
    alone(&SLOW.replace("200mbit", "20mbit"), || {
        let options = group_on_lo();
        let (bound, is_bound) = sync_channel(1);
        let to = options.clone();
        let receiving = shard::start("receiver", placement(), move || async move {
            let mut receiver = UdpReceiver::bind(&options).unwrap();
            bound.send(()).unwrap();
            receive(&mut receiver, BUFFERS * EACH).await.datagrams
        });
        is_bound.recv().unwrap();
        let in_time = on_shard(async move || {
            let start = Instant::now();
            let ring = ring();
            let mut sender = zero_copy_sender(&to, &ring);
            for number in 0..BUFFERS {
                assert!(send(&mut sender, &ring, number).await);
            }
            start.elapsed()
        });
        assert!(
            in_time < Duration::from_millis(300),
            "it ended before: {in_time:?}"
        );
        assert_batches(&receiving.unwrap().join().unwrap(), BUFFERS);
    });
}

#[test]
fn a_buffer_that_others_keep_is_not_waited_for() {
    on_shard(async || {
        let ring = ring();
        let mut kept = Vec::new();
        for _ in 0..BUFFERS {
            kept.push(ring.take().await.unwrap());
        }
        assert!(ring.take().await.is_none());
        // One that comes back from another shard, never sent.
        let back = kept.pop();
        std::thread::spawn(move || drop(back)).join().unwrap();
        assert!(ring.take().await.is_some());
    });
}

#[test]
fn too_little_lockable_memory_for_buffers_is_a_clear_error() {
    const INSIDE: &str = "SEALCAST_TEST_LITTLE_MEMLOCK_ZERO_COPY";
    if std::env::var_os(INSIDE).is_some() {
        let error = on_shard(async || ZeroCopy::open(BATCH, 12).unwrap_err().to_string());
        assert!(error.contains("ulimit -l"), "{error}");
        return;
    }
    // Enough for a shard; the limit is not for who may lock as he likes.
    let unprivileged = if rustix::process::geteuid().is_root() {
        "setpriv --bounding-set=-ipc_lock"
    } else {
        ""
    };
    let output = Command::new("sh")
        .args([
            "-c",
            &format!("ulimit -l 600 && exec {unprivileged} \"$0\" --exact \"$1\""),
        ])
        .arg(std::env::current_exe().unwrap())
        .arg("zero_copy::too_little_lockable_memory_for_buffers_is_a_clear_error")
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}
