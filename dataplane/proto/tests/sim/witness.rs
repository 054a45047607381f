//! What must never happen, checked as it would happen.

use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Content of a simulated packet: who made it, its number, and bytes that depend on both.
pub fn payload(sender: usize, run: u32, number: u32) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(sender).expect("few senders")];
    bytes.extend(run.to_be_bytes());
    bytes.extend(number.to_be_bytes());
    let mut state = u64::from(run) << 32 | u64::from(number) | 1;
    while bytes.len() < 40 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.push(state.to_be_bytes()[0]);
    }
    bytes
}

/// Sender, run and number of a packet's content; panics when it was altered.
pub fn read(bytes: &[u8]) -> (usize, u32, u32) {
    assert!(bytes.len() >= 40, "cut short content came out");
    let run = u32::from_be_bytes(bytes[1..5].try_into().expect("length"));
    let number = u32::from_be_bytes(bytes[5..9].try_into().expect("length"));
    assert_eq!(
        bytes,
        payload(usize::from(bytes[0]), run, number),
        "altered content came out"
    );
    (usize::from(bytes[0]), run, number)
}

/// Packets in a row that a receiver may lose at the end.
const LATELY: u32 = 100;

/// No nonce is used twice, nothing leaves in clear (SEC-06, MD-39).
#[derive(Debug, Default)]
pub struct Wire {
    keys: BTreeMap<(usize, u64), String>,
    nonces: HashSet<(String, u64)>,
}

impl Wire {
    /// A sender (a run of it has its own number) said which key it has for a key id.
    pub fn key(&mut self, run: usize, line: &str) {
        let (kid, secret) = line.split_once(' ').expect("a key log line");
        let kid = u64::from_str_radix(kid, 16).expect("hex");
        let before = self.keys.insert((run, kid), secret.to_owned());
        assert!(
            before.is_none_or(|before| before == secret),
            "one key id, two keys in one run"
        );
    }

    /// A sealed packet leaves a run.
    pub fn sealed(&mut self, run: usize, packet: &[u8], content: &[u8]) {
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0_u64, |number, &byte| number << 8 | u64::from(byte))
        };
        assert!(packet.len() > 28, "a packet has header and tag");
        let (kid, ctr) = (number(&packet[1..7]), number(&packet[7..12]));
        let key = self
            .keys
            .get(&(run, kid))
            .expect("sealed under a key that was logged");
        assert!(
            self.nonces.insert((key.clone(), ctr)),
            "nonce used twice: KID {kid:012x} CTR {ctr:x}"
        );
        let clear = packet.windows(16).any(|window| window == &content[9..25]);
        assert!(!clear, "content in clear on the wire");
    }
}

/// What one receiver delivers, and what it had to.
#[derive(Debug, Default)]
pub struct Delivery {
    /// Per sender and run: the last number delivered.
    last: BTreeMap<(usize, u32), u32>,
    delivered: BTreeSet<(usize, u32, u32)>,
    /// Arrived under a key that was held before the first packet under it.
    owed: BTreeSet<(usize, u32, u32)>,
    /// Epochs (low bits) seen in arriving packets, and whether their key was there first.
    epochs: BTreeMap<u64, bool>,
    missing_told: BTreeSet<u64>,
    pub arrived: u64,
}

impl Delivery {
    pub fn deliver(&mut self, bytes: &[u8]) {
        let (sender, run, number) = read(bytes);
        let last = self.last.insert((sender, run), number);
        assert!(
            last.is_none_or(|last| last < number),
            "out of order or twice: {sender} {run} {number} after {last:?}"
        );
        self.delivered.insert((sender, run, number));
    }

    /// A packet arrives; `held`: the receiver holds its key now.
    pub fn arrive(&mut self, epoch: u64, held: bool, content: (usize, u32, u32), owed: bool) {
        self.arrived += 1;
        let first = *self.epochs.entry(epoch).or_insert(held && owed);
        if first && owed {
            self.owed.insert(content);
        }
    }

    /// Nothing is owed any more for what has arrived: the receiver slept.
    pub fn forgive(&mut self) {
        self.owed.clear();
        self.epochs.clear();
    }

    /// The key of this epoch was held too long: nothing is owed under it any more.
    pub fn give_up(&mut self, epoch: u64) {
        self.forgive();
        self.epochs.insert(epoch, false);
    }

    /// Whether it delivered what this run sent lately, before its packet `number`.
    pub fn is_up_to(&self, sender: usize, run: u32, number: u32) -> bool {
        let last = self.last.get(&(sender, run));
        last.is_some_and(|last| last + LATELY > number)
    }

    /// A missing key is reported once.
    pub fn missing(&mut self, epoch: u64) {
        assert!(
            self.missing_told.insert(epoch),
            "a missing key was reported twice: epoch {epoch}"
        );
    }

    /// At the end: everything owed was delivered.
    pub fn settle(&self, state: &str) {
        let lost: Vec<_> = self.owed.difference(&self.delivered).take(5).collect();
        assert!(
            lost.is_empty(),
            "lost though the key was held first: {lost:?}, {state}"
        );
    }
}
