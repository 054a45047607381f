use std::collections::VecDeque;
use std::thread;
use std::time::Duration;

use futures_lite::future::{or, poll_once};
use proptest::prelude::*;

use super::*;
use crate::shard::{self, Executor, Placement};

/// Writers count up from `writer * EACH`; the reader checks that each writer's numbers come once, and in order.
const EACH: u64 = 20_000;

/// Takes all and checks; `next` is any way to receive.
fn check_all(writers: u64, mut next: impl FnMut() -> Option<u64>) {
    let mut expected: Vec<_> = (0..writers).map(|writer| writer * EACH).collect();
    while let Some(message) = next() {
        let expected = &mut expected[usize::try_from(message / EACH).unwrap()];
        assert_eq!(message, *expected);
        *expected += 1;
    }
    let ends: Vec<_> = (1..=writers).map(|writer| writer * EACH).collect();
    assert_eq!(expected, ends);
}

fn numbers(writer: u64) -> impl Iterator<Item = u64> {
    writer * EACH..(writer + 1) * EACH
}

#[test]
fn nothing_is_lost_or_doubled_between_threads() {
    let (sender, mut receiver) = mailbox(64);
    thread::scope(|scope| {
        for writer in 0..4 {
            let sender = sender.clone();
            scope.spawn(move || numbers(writer).for_each(|i| sender.send_blocking(i).unwrap()));
        }
        drop(sender);
        check_all(4, || receiver.recv_blocking());
    });
}

#[test]
fn nothing_is_lost_or_doubled_between_shards() {
    let [epoll, ring] = Executor::ALL;
    for (writer, reader) in [(ring, ring), (epoll, epoll), (ring, epoll), (epoll, ring)] {
        between_shards(writer.on(0), reader.anywhere());
    }
}

fn between_shards(writer: Placement, reader: Placement) {
    // A mailbox of one: every message finds it full or empty, so every one needs its wake.
    let (sender, mut receiver) = mailbox(1);
    let other = sender.clone();
    let writing = shard::start("writer", writer, move || async move {
        for i in numbers(0) {
            sender.send(i).await.unwrap();
            shard::yield_if_needed().await;
        }
    });
    let blocking = thread::spawn(move || numbers(1).for_each(|i| other.send_blocking(i).unwrap()));
    let reading = shard::start("reader", reader, move || async move {
        let mut got = VecDeque::new();
        while let Some(message) = receiver.recv().await {
            got.push_back(message);
        }
        got
    });
    let mut got = reading.unwrap().join().unwrap();
    check_all(2, || got.pop_front());
    writing.unwrap().join().unwrap();
    blocking.join().unwrap();
}

#[test]
fn cancelled_waits_lose_nothing() {
    let (sender, mut receiver) = mailbox(4);
    let writing = thread::spawn(move || numbers(0).for_each(|i| sender.send_blocking(i).unwrap()));
    check_all(1, || {
        block_on(async {
            loop {
                // Each wait is given up at once and begun anew.
                let given_up = async { Err(()) };
                let next = async { Ok(receiver.recv().await) };
                if let Ok(message) = or(next, given_up).await {
                    return message;
                }
                thread::yield_now();
            }
        })
    });
    writing.join().unwrap();
}

#[test]
fn a_full_mailbox_and_a_closed_one_give_the_message_back() {
    let (sender, mut receiver) = mailbox(1);
    assert_eq!(sender.try_send(1), Ok(()));
    assert_eq!(sender.try_send(2), Err(SendError::Full(2)));
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Some(1), None));
    drop(receiver);
    assert_eq!(sender.try_send(3), Err(SendError::Closed(3)));
    assert_eq!(sender.send_blocking(4), Err(4));
}

#[test]
fn a_blocked_writer_learns_that_the_reader_left() {
    let (sender, receiver) = mailbox(1);
    sender.try_send(1).unwrap();
    let writer = thread::spawn(move || sender.send_blocking(2));
    thread::sleep(Duration::from_millis(20));
    drop(receiver);
    assert_eq!(writer.join().unwrap(), Err(2));
}

#[test]
fn a_cancelled_writer_does_not_keep_another_asleep() {
    let (sender, mut receiver) = mailbox(1);
    sender.try_send(1).unwrap();
    block_on(async {
        let mut first = Box::pin(sender.send(2));
        assert_eq!(poll_once(&mut first).await, None);
        let other = sender.clone();
        let second = thread::spawn(move || other.send_blocking(3));
        thread::sleep(Duration::from_millis(20));
        drop(first);
        assert_eq!(receiver.recv().await, Some(1));
        second.join().unwrap().unwrap();
        assert_eq!(receiver.recv().await, Some(3));
    });
}

#[test]
fn a_reader_wakes_when_the_last_writer_leaves() {
    let (sender, mut receiver) = mailbox::<u8>(1);
    let waiting = thread::spawn(move || receiver.recv_blocking());
    thread::sleep(Duration::from_millis(20));
    drop(sender);
    assert_eq!(waiting.join().unwrap(), None);
}

proptest! {
    /// Whatever the order of calls, a mailbox is a bounded queue.
    #[test]
    fn a_mailbox_is_a_bounded_queue(capacity in 1..5_usize, calls in proptest::collection::vec(any::<bool>(), 0..200)) {
        let (sender, mut receiver) = mailbox(capacity);
        let mut model = VecDeque::new();
        for (i, push) in calls.into_iter().enumerate() {
            if push {
                let full = model.len() == capacity;
                prop_assert_eq!(sender.try_send(i), if full { Err(SendError::Full(i)) } else { Ok(()) });
                if !full {
                    model.push_back(i);
                }
            } else {
                prop_assert_eq!(receiver.try_recv(), model.pop_front());
            }
            prop_assert_eq!(receiver.is_empty(), model.is_empty());
        }
        drop(sender);
        while let Some(message) = receiver.recv_blocking() {
            prop_assert_eq!(Some(message), model.pop_front());
        }
        prop_assert!(model.is_empty());
    }
}

#[test]
fn one_whose_writers_left_is_closed_when_nothing_waits() {
    let (sender, mut receiver) = mailbox(2);
    assert!(!receiver.is_closed());
    sender.try_send(1).unwrap();
    drop(sender);
    assert!(!receiver.is_closed());
    assert_eq!(receiver.try_recv(), Some(1));
    assert!(receiver.is_closed());
}
