use proptest::prelude::*;

use super::super::generate::TsGenerator;
use super::*;

const SECOND: u64 = 1_000_000_000;
const PAYLOAD: u64 = 7 * PACKET as u64;

fn paced(payloads: &[Vec<u8>]) -> (Vec<u64>, bool) {
    let mut pacer = PcrPacer::new(1_000_000);
    payloads.iter().for_each(|payload| pacer.push(payload));
    pacer.finish();
    let dues = std::iter::from_fn(|| pacer.pop()).collect();
    (dues, pacer.is_unclocked())
}

fn generated(count: usize, rate: u64) -> Vec<Vec<u8>> {
    let mut generator = TsGenerator::new(rate, 1);
    let next = |_| {
        let mut payload = Vec::new();
        generator.next_payload(&mut payload);
        payload
    };
    (0..count).map(next).collect()
}

/// A payload of one packet with a PCR and six without.
fn clocked(pid: u8, pcr: u64, discontinuity: bool) -> Vec<u8> {
    let mut payload = [[0x47, 0, pid, 0x10].as_slice(), &[0; PACKET - 4]]
        .concat()
        .repeat(7);
    let (base, extension) = (Pcr::new(pcr).base(), Pcr::new(pcr).extension());
    payload[3] = 0x30;
    payload[4..6].copy_from_slice(&[7, 0x10 | if discontinuity { 0x80 } else { 0 }]);
    payload[6..12].copy_from_slice(&(base << 15 | 0x3F << 9 | extension).to_be_bytes()[2..]);
    payload
}

#[test]
fn payloads_are_due_when_the_clock_says() {
    for rate in [800_000, 4_000_000, 50_000_000] {
        let payloads = generated(20_000, rate);
        let (dues, unclocked) = paced(&payloads);
        assert_eq!(dues.len(), payloads.len());
        assert!(!unclocked && dues[0] == 0);
        // To a microsecond, from the first payload to the last: the clock's own steps are whole ticks, and no error adds up.
        for (index, due) in dues.iter().enumerate() {
            let expected = index as u64 * PAYLOAD * 8 * SECOND / rate;
            assert!(
                due.abs_diff(expected) < 1000,
                "payload {index}: {due} instead of {expected}"
            );
        }
    }
}

#[test]
fn a_clock_that_jumps_makes_no_gap() {
    let rate = 4_000_000;
    let twice = [generated(1000, rate), generated(1000, rate)].concat();
    let (dues, _) = paced(&twice);
    let step = PAYLOAD * 8 * SECOND / rate;
    for pair in dues.windows(2) {
        assert!((pair[1] - pair[0]).abs_diff(step) < 1000, "{pair:?}");
    }
}

#[test]
fn an_announced_jump_is_no_step_of_time() {
    let ms = Pcr::HZ / 1000;
    let pcrs = [0, 10 * ms, 500 * ms, 510 * ms];
    let payloads: Vec<_> = pcrs
        .iter()
        .zip([false, false, true, false])
        .map(|(&pcr, jump)| clocked(1, pcr, jump))
        .collect();
    assert_eq!(
        paced(&payloads).0,
        [0, 10_000_000, 20_000_000, 30_000_000],
        "the rate before the jump goes on up to it"
    );
}

#[test]
fn the_wrap_of_the_clock_is_no_jump() {
    let ms = Pcr::HZ / 1000;
    let payloads: Vec<_> = (0..4)
        .map(|index| clocked(1, Pcr::WRAP - 15 * ms + index * 10 * ms, false))
        .collect();
    assert_eq!(paced(&payloads).0, [0, 10_000_000, 20_000_000, 30_000_000]);
}

#[test]
fn only_the_first_clock_is_followed() {
    let ms = Pcr::HZ / 1000;
    let payloads: Vec<_> = (0..4)
        .flat_map(|index| {
            [
                clocked(1, index * 10 * ms, false),
                clocked(2, index * 900 * ms, false),
            ]
        })
        .collect();
    let (dues, _) = paced(&payloads);
    assert_eq!(dues[6], 30_000_000);
}

#[test]
fn a_clock_that_ends_is_followed_by_another() {
    let ms = Pcr::HZ / 1000;
    let silent = vec![vec![0x47; 7 * PACKET]; LOOK_AHEAD + 1];
    let payloads = [
        vec![clocked(1, 0, false), clocked(1, 10 * ms, false)],
        silent,
        vec![
            clocked(2, 0, false),
            clocked(2, 20 * ms, false),
            clocked(2, 40 * ms, false),
        ],
    ]
    .concat();
    let (dues, _) = paced(&payloads);
    let end = dues.len() - 1;
    assert_eq!(dues[end] - dues[end - 1], 20_000_000);
    assert!(dues.is_sorted());
}

#[test]
fn without_a_clock_the_fallback_rate_holds() {
    let payloads = vec![vec![0x47; 7 * PACKET]; 20_000];
    let (dues, unclocked) = paced(&payloads);
    assert!(unclocked && dues.len() == payloads.len());
    assert_eq!(dues[19_999], 19_999 * PAYLOAD * 8 * 1000);
}

#[test]
fn a_restart_goes_on_without_a_gap() {
    let rate = 4_000_000;
    // Shorter than a step that a stream could make: only the restart tells.
    let part = generated(100, rate);
    let mut pacer = PcrPacer::new(rate);
    for _ in 0..3 {
        part.iter().for_each(|payload| pacer.push(payload));
        pacer.restart();
    }
    pacer.finish();
    let dues: Vec<_> = std::iter::from_fn(|| pacer.pop()).collect();
    let step = PAYLOAD * 8 * SECOND / rate;
    assert_eq!(dues.len(), 300);
    assert!(dues[299].abs_diff(299 * step) < 2000, "{}", dues[299]);
}

proptest! {
    #[test]
    fn times_never_go_back(packets in prop::collection::vec((0_u8..3, 0..Pcr::WRAP * 2, any::<bool>()), 0..40)) {
        let payloads: Vec<_> = packets.iter().map(|&(pid, pcr, jump)| clocked(pid, pcr, jump)).collect();
        let (dues, _) = paced(&payloads);
        prop_assert_eq!(dues.len(), payloads.len());
        prop_assert!(dues.is_sorted());
    }

    #[test]
    fn any_bytes_are_survived(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..400), 0..20)) {
        let (dues, _) = paced(&payloads);
        prop_assert_eq!(dues.len(), payloads.len());
    }
}
