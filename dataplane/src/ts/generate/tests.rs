use std::io::Write as _;
use std::process::Command;

use super::super::check::ContinuityChecker;
use super::super::packet::TsPacket;
use super::*;

const SECOND: u64 = 1_000_000_000;

fn stream(rate: u64, seed: u64, seconds: u64) -> Vec<u8> {
    let (mut generator, mut bytes) = (TsGenerator::new(rate, seed), Vec::new());
    while generator.due() < seconds * SECOND {
        generator.next_payload(&mut bytes);
    }
    bytes
}

fn parsed(bytes: &[u8]) -> impl Iterator<Item = (u64, TsPacket)> {
    let packets = bytes.chunks(PACKET).map(TsPacket::parse);
    (0..).zip(packets.map(Option::unwrap))
}

/// FNV-1a, 64 bits.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    })
}

#[test]
fn the_stream_is_continuous_and_at_rate() {
    for rate in [RATE_MIN, 999_983, 8_000_000, 100_000_000] {
        let seconds = 20_000_000_u64.div_ceil(rate).max(10);
        let bytes = stream(rate, 7, seconds);
        let mut checker = ContinuityChecker::default();
        checker.push(&bytes);
        assert_eq!((checker.errors(), checker.sync_losses()), (0, 0));
        let wanted = rate * seconds;
        let made = bytes.len() as u64 * 8;
        assert!(
            made.abs_diff(wanted) <= wanted / 1000,
            "{made} bits instead of {wanted}"
        );
    }
}

#[test]
fn clocks_are_exact_and_at_most_40_ms_apart() {
    for rate in [RATE_MIN, 999_983, 8_000_000, 100_000_000] {
        let bytes = stream(rate, 7, 10);
        let clocks: Vec<_> = parsed(&bytes)
            .filter_map(|(index, packet)| Some((index, packet.pcr?)))
            .collect();
        assert!(clocks.len() >= 248, "{} clocks", clocks.len());
        for (index, pcr) in &clocks {
            let ticks = u128::from(*index) * 188 * 8 * u128::from(Pcr::HZ) / u128::from(rate);
            assert_eq!(u128::from(pcr.ticks()), ticks, "packet {index}");
        }
        for pair in clocks.windows(2) {
            let ticks = pair[1].1.since(pair[0].1);
            assert!(ticks <= CLOCK_INTERVAL, "{ticks} ticks between clocks");
        }
    }
}

#[test]
fn tables_come_in_time_and_null_packets_fill() {
    for rate in [RATE_MIN, 4_000_000] {
        let bytes = stream(rate, 7, 10);
        let count = |pid| {
            parsed(&bytes)
                .filter(|(_, packet)| packet.pid == pid)
                .count()
        };
        for pid in [0, PMT_PID] {
            assert!((80..=101).contains(&count(pid)), "{} of {pid}", count(pid));
        }
        assert!(count(NULL_PID) > 0 && count(VIDEO_PID) > count(NULL_PID));
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let bytes = stream(1_000_000, 3, 2);
    assert!(bytes == stream(1_000_000, 3, 2));
    assert!(bytes != stream(1_000_000, 2, 2), "seeds next to each other");
    assert_eq!(
        hash(&bytes),
        0x5EB9_ED48_DB87_CBEE,
        "recorded traces and captures depend on these bytes"
    );
}

#[test]
fn the_crc_of_a_section_with_its_crc_is_zero() {
    for section in [pat(), pmt()] {
        let with = with_crc(&section);
        assert_eq!(with[with.len() - 4..], [0; 4]);
    }
}

/// Runs an analyser on a generated file; `None` when it is not installed.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn analysed(program: &str, args: &[&str]) -> Option<String> {
    let mut file = tempfile::Builder::new().suffix(".ts").tempfile().unwrap();
    file.write_all(&stream(4_000_000, 1, 5)).unwrap();
    let run = Command::new(program).args(args).arg(file.path()).output();
    let Ok(output) = run else {
        println!("skipped: {program} is missing; tests/run installs it");
        return None;
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {errors}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn ffprobe_takes_it_for_video() {
    let entries = "stream=codec_name,width,height,start_time";
    let args = ["-v", "error", "-show_entries", entries, "-of", "csv=p=0"];
    if let Some(text) = analysed("ffprobe", &args) {
        assert!(text.starts_with("mpeg2video,320,240,"), "{text}");
    }
}

#[test]
fn tshark_finds_no_continuity_error() {
    let wanted = ["-T", "fields", "-e", "mp2t.cc.drop", "-e", "mp2t.pid", "-r"];
    if let Some(text) = analysed("tshark", &wanted) {
        let lines = || {
            text.lines()
                .map(|line| line.split('\t').collect::<Vec<_>>())
        };
        assert!(lines().count() > 1000, "tshark dissected the packets");
        let drops = lines().filter(|fields| !fields[0].is_empty()).count();
        assert_eq!(drops, 0);
    }
}
