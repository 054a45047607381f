//! What was measured, in numbers. Times are medians over the turns, with their spread; what must not happen is added up, so
//! that one packet in one turn is seen.

use std::time::Duration;

use serde::Serialize;

use super::contender::{Contender, Name};
use super::turn::Outcome;
use crate::stats::Spread;

/// A turn that was played to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) round: u16,
    pub(super) rate: u32,
    pub(super) name: Name,
    pub(super) outcome: Outcome,
}

/// One contender at one rate, over all its turns.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Packets per second that were asked for.
    pub rate: u32,
    /// Who.
    pub name: Name,
    /// Cipher, and what authenticates a packet.
    pub cipher: &'static str,
    /// Unicast or multicast.
    pub addressing: &'static str,
    /// Turns that were played to their end.
    pub turns: usize,
    /// Processor time of the sender for a packet that was delivered, in µs.
    pub sender_us: Spread,
    /// The same of the receiver.
    pub receiver_us: Spread,
    /// The same of the key server, if there is one.
    pub key_server_us: Option<Spread>,
    /// Times the sender's time of sealcast in the same round.
    pub sender_ratio: Option<Spread>,
    /// Times the receiver's time of sealcast in the same round.
    pub receiver_ratio: Option<Spread>,
    /// What a wake that finds nothing to do costs on the same core, in µs.
    pub empty_wake_us: Spread,
    /// Packets sent, in all windows.
    pub sent: u64,
    /// Of them, those that arrived.
    pub delivered: u64,
    /// Those that did not.
    pub lost: u64,
    /// Datagrams, at any time in a stream, that were not what was sent.
    pub corrupt: u64,
    /// Packets that arrived again.
    pub duplicated: u64,
    /// Packets that arrived after a later one.
    pub reordered: u64,
    /// Changes of the key, in all windows.
    pub key_changes: u64,
    /// Datagrams that the sender's input socket dropped.
    pub input_drops: u64,
    /// Datagrams that the receiver's socket dropped.
    pub network_drops: u64,
    /// Datagrams that the checker's socket dropped: its fault, counted as lost.
    pub checker_drops: u64,
    /// From sent to arrived, in ms: the median of a turn.
    pub delay_ms: Spread,
    /// The same: what 99 % did not exceed.
    pub delay_p99_ms: Spread,
    /// From the start of a receiver to the first payload, in ms.
    pub join_ms: Spread,
    /// The same later in the stream, where one came.
    pub late_join_ms: Option<Spread>,
    /// Turns in which one came.
    pub late_joins: usize,
    /// Packets per second that were sent.
    pub offered: Spread,
    /// The longest that the generator was late, in ms.
    pub generator_late_ms: Spread,
}

/// Rows of all that had a turn.
pub(super) fn rows(
    turns: &[Turn],
    field: &[(Name, u32, Contender)],
    wakes: &[Duration],
) -> Vec<Row> {
    let rows = field.iter().filter_map(|(name, rate, contender)| {
        let its = |turn: &&Turn| (turn.name, turn.rate) == (*name, *rate);
        let its: Vec<_> = turns.iter().filter(its).copied().collect();
        (!its.is_empty()).then(|| row(&its, turns, contender, wakes))
    });
    rows.collect()
}

/// The row of `its` turns, at least one.
fn row(its: &[Turn], all: &[Turn], contender: &Contender, wakes: &[Duration]) -> Row {
    let spread = |of: &dyn Fn(&Outcome) -> f64| {
        Spread::of(&its.iter().map(|turn| of(&turn.outcome)).collect::<Vec<_>>())
    };
    let some = |of: &dyn Fn(&Outcome) -> Option<f64>| {
        let values: Vec<_> = its.iter().filter_map(|turn| of(&turn.outcome)).collect();
        (!values.is_empty()).then(|| Spread::of(&values))
    };
    let sum = |of: &dyn Fn(&Outcome) -> u64| its.iter().map(|turn| of(&turn.outcome)).sum();
    let ratio = |of: &dyn Fn(&Outcome) -> Duration| {
        let ratios: Vec<_> = its
            .iter()
            .filter_map(|turn| {
                let ours = all.iter().find(|other| other.is_reference_of(turn))?;
                Some(of(&turn.outcome).as_secs_f64() / of(&ours.outcome).as_secs_f64())
            })
            .collect();
        (!ratios.is_empty()).then(|| Spread::of(&ratios))
    };
    let wakes: Vec<_> = wakes.iter().copied().map(us).collect();
    let late_join = |outcome: &Outcome| outcome.late_join.map(ms);
    Row {
        rate: its[0].rate,
        name: its[0].name,
        cipher: contender.cipher,
        addressing: contender.addressing,
        turns: its.len(),
        sender_us: spread(&|outcome| us(outcome.sender)),
        receiver_us: spread(&|outcome| us(outcome.receiver)),
        key_server_us: some(&|outcome| outcome.server.map(us)),
        sender_ratio: ratio(&|outcome| outcome.sender),
        receiver_ratio: ratio(&|outcome| outcome.receiver),
        empty_wake_us: Spread::of(&wakes),
        sent: sum(&|outcome| outcome.arrivals.sent),
        delivered: sum(&|outcome| outcome.arrivals.delivered),
        lost: sum(&|outcome| outcome.arrivals.lost),
        corrupt: sum(&|outcome| outcome.corrupt),
        duplicated: sum(&|outcome| outcome.arrivals.duplicated),
        reordered: sum(&|outcome| outcome.arrivals.reordered),
        key_changes: sum(&|outcome| outcome.key_changes),
        input_drops: sum(&|outcome| outcome.drops.input),
        network_drops: sum(&|outcome| outcome.drops.network),
        checker_drops: sum(&|outcome| outcome.drops.checker),
        delay_ms: spread(&|outcome| ms(outcome.arrivals.delay_median)),
        delay_p99_ms: spread(&|outcome| ms(outcome.arrivals.delay_p99)),
        join_ms: spread(&|outcome| ms(outcome.join)),
        late_join_ms: some(&late_join),
        late_joins: its
            .iter()
            .filter_map(|turn| late_join(&turn.outcome))
            .count(),
        offered: spread(&|outcome| outcome.offered),
        generator_late_ms: spread(&|outcome| ms(outcome.lateness)),
    }
}

impl Turn {
    fn is_reference_of(&self, other: &Self) -> bool {
        self.name == Name::Sealcast && (self.round, self.rate) == (other.round, other.rate)
    }
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::checker::Arrivals;
    use super::super::turn::Drops;
    use super::*;

    fn turn(round: u16, name: Name, us: u64) -> Turn {
        Turn {
            round,
            rate: 20_000,
            name,
            outcome: Outcome {
                sender: Duration::from_micros(us),
                receiver: Duration::from_micros(2 * us),
                server: None,
                arrivals: Arrivals {
                    sent: 1000,
                    delivered: 999,
                    lost: 1,
                    duplicated: 0,
                    reordered: 2,
                    delay_median: Duration::from_millis(120),
                    delay_p99: Duration::from_millis(125),
                },
                corrupt: u64::from(round == 2),
                key_changes: 5,
                join: Duration::from_millis(80),
                late_join: (round == 1).then_some(Duration::from_millis(90)),
                offered: 20_000.0,
                lateness: Duration::from_millis(1),
                drops: Drops {
                    checker: 3,
                    ..Drops::default()
                },
            },
        }
    }

    /// Rows of sealcast and SRT over three rounds, in the last of which sealcast failed.
    pub(in super::super) fn table() -> Vec<Row> {
        let contender = Name::Srt.contender(20_000, 500, None).unwrap();
        let names = [Name::Sealcast, Name::Srt, Name::Librist];
        let field: Vec<_> = names
            .iter()
            .map(|&name| (name, 20_000, contender.clone()))
            .collect();
        let turns = [
            turn(1, Name::Sealcast, 2),
            turn(1, Name::Srt, 6),
            turn(2, Name::Sealcast, 4),
            turn(2, Name::Srt, 6),
            turn(3, Name::Srt, 7),
        ];
        rows(&turns, &field, &[Duration::from_micros(20)])
    }

    #[test]
    fn who_had_no_turn_has_no_row() {
        let rows = table();
        let names: Vec<_> = rows.iter().map(|row| row.name).collect();
        assert_eq!(names, [Name::Sealcast, Name::Srt]);
    }

    #[test]
    fn times_are_medians_ratios_are_of_a_round_and_faults_add_up() {
        let rows = table();
        let srt = &rows[1];
        assert_eq!(srt.turns, 3);
        assert_eq!(srt.sender_us.median, 6.0);
        let ratio = srt.sender_ratio.unwrap();
        assert_eq!((ratio.min, ratio.median, ratio.max), (1.5, 2.25, 3.0));
        assert_eq!(
            (srt.lost, srt.corrupt, srt.reordered, srt.sent),
            (3, 1, 6, 3000)
        );
        assert_eq!(
            (srt.late_joins, srt.late_join_ms.unwrap().median),
            (1, 90.0)
        );
        assert_eq!(rows[0].sender_ratio, Some(Spread::of(&[1.0])));
    }

    #[test]
    fn rows_have_the_names_that_programs_read() {
        let json = serde_json::to_value(&table()[1]).unwrap();
        assert_eq!(json["name"], "srt");
        assert_eq!(json["sender_us"]["median"], 6.0);
        for name in [
            "receiver_us",
            "lost",
            "corrupt",
            "join_ms",
            "key_changes",
            "empty_wake_us",
        ] {
            assert!(json.get(name).is_some(), "{name}");
        }
    }
}
