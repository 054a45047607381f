use proptest::prelude::*;

use super::*;
use crate::ts::generate::TsGenerator;
use crate::ts::jitter::PcrJitter;

const MS: u64 = 1_000_000;
const DELAY: Duration = Duration::from_millis(10);

/// Payloads of `seconds` of a TS of `rate`, each with the time at which the encoder sent it.
fn encoded(rate: u64, seconds: u64) -> Vec<(u64, Vec<u8>)> {
    let mut ts = TsGenerator::new(rate, 1);
    std::iter::from_fn(|| {
        let (at, mut payload) = (SECOND + ts.due(), Vec::new());
        ts.next_payload(&mut payload);
        (at < (1 + seconds) * SECOND).then_some((at, payload))
    })
    .collect()
}

/// What leaves, and when: woken `late` after each due time.
fn smoothed(
    smoother: &mut Smoother,
    arrivals: &[(u64, Vec<u8>)],
    late: u64,
) -> Vec<(u64, Vec<u8>)> {
    let mut left = Vec::new();
    let mut release = |smoother: &mut Smoother, until: u64| {
        while let Some(due) = smoother.next_due().filter(|due| *due < until) {
            let mut out = OutBatch::default();
            let now = (due + late).min(until);
            smoother.release(now, &mut out);
            left.extend(out.iter().map(|payload| (now, payload.to_vec())));
        }
    };
    for (at, payload) in arrivals {
        release(smoother, *at);
        smoother.push(payload, true, *at);
    }
    release(smoother, u64::MAX - SECOND);
    assert!(smoother.waiting.is_empty() && smoother.bytes.is_empty());
    left
}

/// The largest jitter of PCRs once the first second is over.
fn jitter(payloads: &[(u64, Vec<u8>)]) -> u64 {
    let mut jitter = PcrJitter::default();
    let after = payloads[0].0 + SECOND;
    let all = payloads
        .iter()
        .filter_map(|(at, it)| Some((at, jitter.push(it, *at)?)));
    all.filter(|(at, _)| **at > after)
        .map(|(_, jitter)| jitter)
        .max()
        .unwrap()
}

fn bytes(payloads: &[(u64, Vec<u8>)]) -> Vec<&[u8]> {
    payloads
        .iter()
        .map(|(_, payload)| payload.as_slice())
        .collect()
}

/// How many left at the same time, at most.
fn largest_burst(payloads: &[(u64, Vec<u8>)]) -> usize {
    payloads
        .chunk_by(|a, b| a.0 == b.0)
        .map(<[_]>::len)
        .max()
        .unwrap()
}

/// As a sender gathers them every `tick`, and a network delays them by up to `spread`, in order.
fn gathered(encoded: &[(u64, Vec<u8>)], tick: u64, spread: u64) -> Vec<(u64, Vec<u8>)> {
    let mut last = 0;
    let delayed = |(at, payload): &(u64, Vec<u8>)| {
        let tick_at = at.div_ceil(tick) * tick;
        // The same for all of a tick.
        let network = (tick_at / tick).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        last = last.max(tick_at + network % spread.max(1));
        (last, payload.clone())
    };
    encoded.iter().map(delayed).collect()
}

#[test]
fn a_ts_leaves_as_its_encoder_spaced_it() {
    for rate in [2_000_000, 8_000_000, 50_000_000] {
        let encoded = encoded(rate, 10);
        let arrivals = gathered(&encoded, 2 * MS, 5 * MS);
        let left = smoothed(&mut Smoother::new(DELAY), &arrivals, 0);
        assert_eq!(bytes(&left), bytes(&encoded));
        let (before, after) = (jitter(&arrivals), jitter(&left));
        // What remains is that a reference leaves with the beginning of its payload, and that payloads wait for a tick.
        let payload = 1316 * 8 * SECOND / rate;
        assert!(
            before > 3 * MS && after < payload.max(TICK) + 120_000,
            "{rate}: {before} -> {after} ns"
        );
        assert!(largest_burst(&left) <= BURST);
        let waited = left
            .iter()
            .zip(&arrivals)
            .map(|((left, _), (came, _))| left - came);
        assert!(waited.max().unwrap() <= 2 * 10 * MS);
    }
}

#[test]
fn a_clock_that_runs_off_is_followed() {
    // 80 ppm fast and slow, for ten minutes.
    for per_second in [1_000_080_u64, 999_920] {
        let drifted: Vec<_> = encoded(1_000_000, 600)
            .into_iter()
            .map(|(at, payload)| (at * per_second / 1_000_000, payload))
            .collect();
        let arrivals = gathered(&drifted, 2 * MS, MS);
        let left = smoothed(&mut Smoother::new(DELAY), &arrivals, 0);
        let last = left.len() - 1;
        // Ten minutes are 48 ms off; each payload still waits for about the delay.
        let waited = left[last].0 - drifted[last].0;
        assert!((5 * MS..20 * MS).contains(&waited), "{waited} ns");
        assert!(jitter(&left) < 11 * MS);
    }
}

#[test]
fn without_a_clock_bursts_are_spread() {
    let encoded: Vec<_> = (0..20_000_u64)
        .map(|index| (SECOND + index * MS / 4, vec![9; 1200]))
        .collect();
    let arrivals = gathered(&encoded, 5 * MS, 1);
    assert_eq!(largest_burst(&arrivals), 20);
    let left = smoothed(&mut Smoother::new(DELAY), &arrivals, 0);
    assert_eq!(bytes(&left), bytes(&encoded));
    let steady = &left[1000..];
    // Two come in a tick.
    assert!(largest_burst(steady) <= 3, "{}", largest_burst(steady));
    let waited = left
        .iter()
        .zip(&arrivals)
        .map(|((left, _), (came, _))| left - came);
    assert!(waited.max().unwrap() <= 10 * MS);
}

#[test]
fn after_a_stall_it_catches_up_in_bursts_with_pauses() {
    let mut arrivals = encoded(8_000_000, 6);
    // Nothing comes for 200 ms, then all of it at once.
    for (at, _) in &mut arrivals {
        if (3 * SECOND..3 * SECOND + 200 * MS).contains(at) {
            *at = 3 * SECOND + 200 * MS;
        }
    }
    let left = smoothed(&mut Smoother::new(DELAY), &arrivals, 0);
    assert_eq!(bytes(&left), bytes(&arrivals));
    assert!(largest_burst(&left) <= BURST);
    let end = left
        .iter()
        .zip(&arrivals)
        .filter(|(_, (came, _))| *came > 5 * SECOND);
    for ((left, _), (came, _)) in end {
        assert!(left - came < 12 * MS, "it has caught up");
    }
}

#[test]
fn a_stream_that_begins_anew_goes_on() {
    let mut arrivals = encoded(4_000_000, 2);
    for (at, payload) in encoded(4_000_000, 2) {
        arrivals.push((at + 2 * SECOND, payload));
    }
    // And again, after a pause, without any clock.
    for index in 0..500 {
        arrivals.push((9 * SECOND + index * 3 * MS, vec![7; 1000]));
    }
    let left = smoothed(&mut Smoother::new(DELAY), &arrivals, 50_000);
    assert_eq!(bytes(&left), bytes(&arrivals));
    let waited = left
        .iter()
        .zip(&arrivals)
        .map(|((left, _), (came, _))| left - came);
    assert!(waited.max().unwrap() <= 21 * MS);
}

proptest! {
    /// Whatever comes, and whenever: all of it leaves, in order, in bounded time.
    #[test]
    fn nothing_is_lost_or_kept(
        payloads in prop::collection::vec((0_u64..20 * MS, prop::collection::vec(any::<u8>(), 0..400)), 1..200),
        ts_like: bool,
        delay in 0_u64..100,
    ) {
        let mut at = SECOND;
        let arrivals: Vec<_> = payloads
            .into_iter()
            .map(|(step, mut payload)| {
                at += step;
                if ts_like && payload.len() > 188 {
                    (payload[0], payload[3], payload[4], payload[5]) = (0x47, 0x30, 20, 0x10);
                }
                (at, payload)
            })
            .collect();
        let mut smoother = Smoother::new(Duration::from_millis(delay));
        let left = smoothed(&mut smoother, &arrivals, 0);
        prop_assert_eq!(bytes(&left), bytes(&arrivals));
    }
}
