use std::io::{Read, Write as _};
use std::net::UdpSocket;
use std::process::Command;

use super::file::TsFile;
use super::pipe::Pipe;
use super::*;
use crate::ts::check::ContinuityChecker;
use crate::ts::generate::TsGenerator;
use crate::ts::packet::PACKET;

const PAYLOAD: usize = 7 * PACKET;
const RATE: u64 = 4_000_000;
const STEP: u64 = PAYLOAD as u64 * 8 * 1_000_000_000 / RATE;

fn generated(payloads: usize) -> Vec<u8> {
    let (mut generator, mut bytes) = (TsGenerator::new(RATE, 3), Vec::new());
    (0..payloads).for_each(|_| generator.next_payload(&mut bytes));
    bytes
}

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// Payload lengths with due times, at most `count`; all bytes; warnings.
struct Drained {
    dues: Vec<(usize, Due)>,
    bytes: Vec<u8>,
    warnings: Vec<Warning>,
}

fn drain(source: &mut dyn PayloadSource, count: usize) -> Drained {
    let (mut dues, mut bytes, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    while dues.len() < count {
        let before = bytes.len();
        let due = source.next(&mut bytes).unwrap();
        warnings.extend(std::iter::from_fn(|| source.take_warning()));
        match due {
            Some(due) => dues.push((bytes.len() - before, due)),
            None => break,
        }
    }
    Drained {
        dues,
        bytes,
        warnings,
    }
}

fn drain_file(bytes: &[u8]) -> Drained {
    drain(
        &mut TsFile::open(file(bytes).path(), false).unwrap(),
        usize::MAX,
    )
}

fn at(due: Due) -> u64 {
    match due {
        Due::At(at) => at,
        Due::Now => panic!("a time was expected"),
    }
}

fn assert_paced(dues: &[(usize, Due)]) {
    for (&(_, due), index) in dues.iter().zip(0..) {
        let expected = index * STEP;
        assert!(
            at(due).abs_diff(expected) < 2000,
            "{index}: {due:?} instead of {expected}"
        );
    }
}

#[test]
fn a_file_comes_out_as_it_is_in_its_own_time() {
    let bytes = generated(500);
    let drained = drain_file(&bytes);
    assert!(drained.bytes == bytes && drained.dues.len() == 500);
    assert_eq!(drained.warnings, []);
    assert_paced(&drained.dues);
}

#[test]
fn a_tail_is_a_payload_of_its_own_and_a_piece_is_warned_of() {
    let mut bytes = generated(50);
    bytes.truncate(49 * PAYLOAD + 3 * PACKET);
    let drained = drain_file(&bytes);
    assert!(drained.bytes == bytes && drained.warnings.is_empty());
    assert_eq!(drained.dues[49].0, 3 * PACKET);
    bytes.truncate(49 * PAYLOAD + 2 * PACKET + 100);
    let drained = drain_file(&bytes);
    assert!(drained.bytes == bytes);
    assert_eq!(drained.dues[49].0, 2 * PACKET + 100);
    assert_eq!(drained.warnings, [Warning::PartialPacket { bytes: 100 }]);
}

#[test]
fn rubbish_inside_is_sent_and_warned_of() {
    let clean = generated(60);
    let (a, rest) = clean.split_at(20 * PAYLOAD);
    let (b, c) = rest.split_at(20 * PAYLOAD);
    let bytes = [a, &[0; 1000], b, &[1; 5000], c].concat();
    let drained = drain_file(&bytes);
    assert!(drained.bytes == bytes);
    let first = a.len() as u64;
    assert_eq!(
        drained.warnings,
        [1, 2].map(|places| Warning::SyncLost { at: first, places })
    );
    let starts = drained.dues.iter().scan(0, |end, &(length, _)| {
        *end += length;
        Some(*end - length)
    });
    let synced = starts.filter(|&start| bytes[start] == 0x47).count();
    assert_eq!(synced, 60, "packets after rubbish begin a payload again");
}

#[test]
fn a_file_without_a_clock_is_sent_at_a_fixed_rate() {
    let mut packet = [0xFF; PACKET];
    packet[..4].copy_from_slice(&[0x47, 0, 0x50, 0x10]);
    let drained = drain_file(&packet.repeat(70));
    assert_eq!(drained.warnings, [Warning::Unclocked { rate: RATE }]);
    assert_paced(&drained.dues);
}

#[test]
fn what_is_no_ts_is_refused() {
    let blu_ray = [&[0, 0, 0, 0, 0x47][..], &[0; 187]].concat().repeat(20);
    let cases = [
        (&b"hello"[..], "transport stream"),
        (&b"G".repeat(100), "transport stream"),
        (&[0; 5000], "transport stream"),
        (&blu_ray, "192"),
        (b"", "empty"),
    ];
    for (bytes, why) in cases {
        let error = TsFile::open(file(bytes).path(), false).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    let missing = TsFile::open(std::path::Path::new("/nowhere"), false).unwrap_err();
    assert!(missing.to_string().contains("/nowhere"));
    let socket = open(&"udp://239.1.1.1:5000".parse().unwrap())
        .err()
        .unwrap();
    assert!(socket.to_string().contains("socket"));
}

#[test]
fn a_file_can_repeat_without_a_gap() {
    // The second is shorter than the longest step between two clocks, and its last payload is not full.
    for (payloads, cut) in [(500, 0), (50, 4 * PACKET)] {
        let mut bytes = generated(payloads);
        bytes.truncate(bytes.len() - cut);
        let file = file(&bytes);
        let drained = drain(&mut TsFile::open(file.path(), true).unwrap(), payloads * 3);
        assert!(drained.bytes == bytes.repeat(3) && drained.warnings.is_empty());
        let round = bytes.len() as u64 * 8 * 1_000_000_000 / RATE;
        for (&(_, due), index) in drained.dues.iter().zip(0_u64..) {
            let (rounds, within) = (index / payloads as u64, index % payloads as u64);
            let expected = rounds * round + within * STEP;
            assert!(
                at(due).abs_diff(expected) < 10_000,
                "{index}: {due:?} instead of {expected}"
            );
        }
    }
}

/// Gives a few bytes at a time, as pipes do.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(700);
        self.0.read(&mut buffer[..length])
    }
}

#[test]
fn a_pipe_gives_full_payloads_at_once_and_its_tail() {
    let mut bytes = generated(10);
    for cut in [0, 500] {
        bytes.truncate(bytes.len() - cut);
        let drained = drain(&mut Pipe::new("pipe", Slow(&bytes)), usize::MAX);
        assert!(drained.bytes == bytes);
        let expected =
            (0..10).map(|index| (if index < 9 { PAYLOAD } else { PAYLOAD - cut }, Due::Now));
        assert!(drained.dues.into_iter().eq(expected));
    }
}

#[test]
fn the_generator_ends_when_it_is_told() {
    let mut source = open(&"gen:?rate=4M&seconds=2&seed=9".parse().unwrap()).unwrap();
    let drained = drain(source.as_mut(), usize::MAX);
    assert_paced(&drained.dues);
    assert!(drained.bytes.len().abs_diff(1_000_000) < PAYLOAD);
}

/// Raw IPv4, microseconds; each frame a datagram to 239.1.1.1:5000.
fn capture(frames: &[(u32, &[u8])]) -> Vec<u8> {
    let words = |words: &[u32]| {
        words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let mut file = words(&[0xA1B2_C3D4, 0x0004_0002, 0, 0, 65535, 101]);
    for &(micros, payload) in frames {
        let length = u16::try_from(payload.len()).unwrap();
        let [total, udp] = [length + 28, length + 8].map(u16::to_be_bytes);
        let ip = [
            &[0x45, 0][..],
            &total,
            &[0, 0, 0, 0, 9, 17, 0, 0, 10, 0, 0, 1, 239, 1, 1, 1],
        ];
        let frame = [
            &ip.concat()[..],
            &[0, 9, 0x13, 0x88],
            &udp,
            &[0, 0],
            payload,
        ]
        .concat();
        let length = u32::try_from(frame.len()).unwrap();
        file.extend(words(&[7, micros, length, length]));
        file.extend(frame);
    }
    file
}

#[test]
fn a_capture_keeps_its_timing_and_can_repeat() {
    let file = file(&capture(&[
        (100, b"a"),
        (350, b"bb"),
        (300, b"c"),
        (700, b"d"),
    ]));
    let url = format!("pcap:{}?dst=239.1.1.1:5000", file.path().display());
    let once = drain(open(&url.parse().unwrap()).unwrap().as_mut(), usize::MAX);
    assert_eq!(once.bytes, b"abbcd");
    let dues = |drained: &Drained| {
        drained
            .dues
            .iter()
            .map(|&(_, due)| at(due))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        dues(&once),
        [0, 250_000, 250_000, 600_000],
        "time never goes back"
    );
    let url = format!("{url}&loop=1");
    let twice = drain(open(&url.parse().unwrap()).unwrap().as_mut(), 8);
    assert_eq!(twice.bytes, b"abbcdabbcd");
    assert_eq!(
        dues(&twice)[4..],
        [800_000, 1_050_000, 1_050_000, 1_400_000]
    );
}

#[test]
fn a_capture_with_short_packets_is_warned_of() {
    let mut bytes = capture(&[(0, b"whole"), (1, b"short")]);
    let length = bytes.len();
    // The last record holds 20 bytes less than the packet had.
    bytes[length - 33 - 8..length - 33 - 4].copy_from_slice(&13_u32.to_le_bytes());
    bytes.truncate(length - 20);
    let url = format!(
        "pcap:{}",
        file(&bytes).into_temp_path().keep().unwrap().display()
    );
    let drained = drain(open(&url.parse().unwrap()).unwrap().as_mut(), usize::MAX);
    std::fs::remove_file(url.trim_start_matches("pcap:")).unwrap();
    assert_eq!(drained.bytes, b"whole");
    let [Warning::Incomplete(counts)] = drained.warnings[..] else {
        panic!("{:?}", drained.warnings)
    };
    assert_eq!(counts.short, 1);
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn a_ts_of_ffmpeg_comes_out_as_it_is_in_its_own_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ffmpeg.ts");
    let made = Command::new("ffmpeg")
        .args("-v error -f lavfi -i testsrc2=size=320x240:rate=25 -f lavfi -i sine=1000 -t 6 -c:v mpeg2video -b:v 1500k -c:a mp2 -f mpegts -muxrate 2500k".split(' '))
        .arg(&path)
        .status();
    let Ok(status) = made else {
        println!("skipped: ffmpeg is not installed");
        return;
    };
    assert!(status.success());
    let bytes = std::fs::read(&path).unwrap();
    let drained = drain(&mut TsFile::open(&path, false).unwrap(), usize::MAX);
    assert!(drained.bytes == bytes && drained.warnings.is_empty());
    let mut checker = ContinuityChecker::default();
    checker.push(&bytes);
    assert_eq!((checker.errors(), checker.sync_losses()), (0, 0));
    // At a constant multiplex rate the place tells the time.
    for (&(_, due), index) in drained.dues.iter().zip(0_u64..) {
        let expected = index * PAYLOAD as u64 * 8 * 1_000_000_000 / 2_500_000;
        assert!(
            at(due).abs_diff(expected) < 500_000,
            "{index}: {due:?} instead of {expected}"
        );
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn a_capture_of_tshark_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tshark.pcapng");
    let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
    let dst = sink.local_addr().unwrap();
    let filter = format!("udp and dst port {}", dst.port());
    let started = Command::new("tshark")
        .args([
            "-q",
            "-i",
            "lo",
            "-c",
            "20",
            "-a",
            "duration:20",
            "-f",
            &filter,
            "-w",
        ])
        .arg(&path)
        .stderr(std::process::Stdio::null())
        .spawn();
    let Ok(mut tshark) = started else {
        println!("skipped: tshark is not installed");
        return;
    };
    // It says nowhere when it begins to capture: datagrams go out until it has enough.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (mut sent, payload) = (0_u32, generated(1));
    let status = loop {
        if let Some(status) = tshark.try_wait().unwrap() {
            break status;
        }
        let numbered = [&sent.to_be_bytes()[..], &payload].concat();
        socket.send_to(&numbered, dst).unwrap();
        sent += 1;
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    if !status.success() || std::fs::metadata(&path).is_err() {
        println!("skipped: tshark may not capture here");
        return;
    }
    let url = format!("pcap:{}?dst={dst}", path.display());
    let drained = drain(open(&url.parse().unwrap()).unwrap().as_mut(), usize::MAX);
    assert_eq!((drained.dues.len(), &drained.warnings[..]), (20, &[][..]));
    for pair in drained
        .bytes
        .chunks(4 + PAYLOAD)
        .collect::<Vec<_>>()
        .windows(2)
    {
        let number = |datagram: &[u8]| u32::from_be_bytes(*datagram.first_chunk().unwrap());
        assert_eq!(number(pair[1]), number(pair[0]) + 1);
        assert!(pair[1][4..] == payload);
    }
}
