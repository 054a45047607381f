use std::io::Write as _;
use std::net::Ipv6Addr;
use std::process::Command;

use proptest::prelude::*;

use super::*;

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    let head = [4000, port, length, 0].map(u16::to_be_bytes).concat();
    [&head, payload].concat()
}

/// From 10.0.0.1:4000 to 239.1.1.1.
fn ipv4(port: u16, payload: &[u8]) -> Vec<u8> {
    let udp = udp(port, payload);
    let total = u16::try_from(20 + udp.len()).unwrap().to_be_bytes();
    let rest = [0, 0, 0, 0, 9, 17, 0, 0, 10, 0, 0, 1, 239, 1, 1, 1];
    [&[0x45, 0][..], &total, &rest, &udp].concat()
}

/// From fd00::1 to ff15::1, behind extension headers.
fn ipv6(first: u8, extensions: &[u8], port: u16, payload: &[u8]) -> Vec<u8> {
    let body = [extensions, &udp(port, payload)].concat();
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    let [from, to] = ["fd00::1", "ff15::1"].map(|ip| ip.parse::<Ipv6Addr>().unwrap().octets());
    [
        &[0x60, 0, 0, 0][..],
        &length,
        &[first, 9],
        &from,
        &to,
        &body,
    ]
    .concat()
}

fn ethernet(kind: &[u8], ip: &[u8]) -> Vec<u8> {
    [&[0; 12][..], kind, ip].concat()
}

fn capture(link: u32, frames: &[(u32, u32, Vec<u8>)]) -> Vec<u8> {
    let words = |words: &[u32]| {
        words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let mut file = words(&[0xA1B2_C3D4, 0x0004_0002, 0, 0, 65535, link]);
    for (seconds, micros, frame) in frames {
        let length = u32::try_from(frame.len()).unwrap();
        file.extend(words(&[*seconds, *micros, length, length]));
        file.extend(frame);
    }
    file
}

/// A pcapng block; big endian, to have that too.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = u32::try_from(padded + 12).unwrap().to_be_bytes();
    let padding = vec![0; padded - body.len()];
    [&kind.to_be_bytes()[..], &length, body, &padding, &length].concat()
}

/// Nanosecond times.
fn capture_ng(frames: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let section = [&[0x1A, 0x2B, 0x3C, 0x4D, 0, 1, 0, 0][..], &[0xFF; 8]].concat();
    let interface = [0, 101, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 9, 0, 0, 0, 0, 0, 0, 0];
    let mut file = [block(0x0A0D_0D0A, &section), block(1, &interface)].concat();
    for (time, frame) in frames {
        let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
        let body = [&[0; 4][..], &time.to_be_bytes(), &length, &length, frame].concat();
        file.extend(block(6, &body));
    }
    file
}

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

type Found = (Vec<(Datagram, Vec<u8>)>, PcapCounts);

fn read_path(path: &Path, dst: Option<&str>) -> Result<Found, PcapError> {
    let dst = dst.map(|dst| dst.parse().unwrap());
    let mut reader = PcapReader::open(path, dst)?;
    let mut found = Vec::new();
    loop {
        let mut payload = Vec::new();
        match reader.next(&mut payload)? {
            Some(datagram) => found.push((datagram, payload)),
            None => return Ok((found, reader.counts())),
        }
    }
}

fn read(bytes: &[u8], dst: Option<&str>) -> Result<Found, PcapError> {
    read_path(file(bytes).path(), dst)
}

#[test]
fn every_link_type_gives_its_datagrams() {
    let ip = ipv4(5000, b"x");
    let frames = [
        (1, ethernet(&[8, 0], &ip)),
        (1, ethernet(&[0x81, 0, 0, 7, 8, 0], &ip)),
        (1, ethernet(&[0x88, 0xA8, 0, 7, 0x81, 0, 0, 7, 8, 0], &ip)),
        (1, ethernet(&[0x86, 0xDD], &ipv6(17, &[], 5000, b"x"))),
        (113, [&[0; 14][..], &[8, 0], &ip].concat()),
        (276, [&[8, 0][..], &[0; 18], &ip].concat()),
        (0, [&[2, 0, 0, 0][..], &ip].concat()),
        (108, [&[0, 0, 0, 2][..], &ip].concat()),
        (101, ip.clone()),
        (228, ip.clone()),
        // Four bytes of frame check sequence are there, and said to be.
        (0x2400_0001, [ethernet(&[8, 0], &ip), vec![9; 4]].concat()),
    ];
    for (link, frame) in frames {
        let (found, _) = read(&capture(link, &[(1, 5, frame)]), None).unwrap();
        let [(datagram, payload)] = &found[..] else {
            panic!("link type {link}")
        };
        assert_eq!((datagram.time, &payload[..]), (1_000_005_000, &b"x"[..]));
        assert_eq!((datagram.src.port(), datagram.dst.port()), (4000, 5000));
    }
}

#[test]
fn addresses_are_those_of_the_packet() {
    let frames = [(0, 0, ipv4(5000, b"a")), (0, 0, ipv6(17, &[], 5001, b"b"))];
    let (found, _) = read(&capture(101, &frames), None).unwrap();
    let text = |at: usize| format!("{} {}", found[at].0.src, found[at].0.dst);
    assert_eq!(text(0), "10.0.0.1:4000 239.1.1.1:5000");
    assert_eq!(text(1), "[fd00::1]:4000 [ff15::1]:5001");
}

#[test]
fn pcapng_is_read_with_its_time_resolution() {
    let frames = [
        (1_000_000_007, ipv4(5000, b"one")),
        (2_000_000_008, ipv4(5000, b"two")),
    ];
    let (found, _) = read(&capture_ng(&frames), None).unwrap();
    let times: Vec<_> = found.iter().map(|(datagram, _)| datagram.time).collect();
    assert_eq!(times, [1_000_000_007, 2_000_000_008]);
    assert_eq!(found[1].1, b"two");
}

#[test]
fn a_destination_can_be_chosen() {
    let frames = [(0, 0, ipv4(5000, b"a")), (0, 1, ipv4(5001, b"b"))];
    let (found, counts) = read(&capture(101, &frames), Some("239.1.1.1:5001")).unwrap();
    assert_eq!(
        (found.len(), &found[0].1[..], counts.elsewhere),
        (1, &b"b"[..], 1)
    );
    let error = read(&capture(101, &frames), Some("239.1.1.1:7")).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("239.1.1.1:7") && error.contains("2 to other"),
        "{error}"
    );
}

#[test]
fn what_is_passed_over_is_counted() {
    let mut fragment = ipv4(5000, b"a");
    fragment[6] = 0x20;
    let mut short = ipv4(5000, b"abcdef");
    short.truncate(30);
    let mut tcp = ipv4(5000, b"a");
    tcp[9] = 6;
    let fragment_6 = ipv6(44, &[17, 0, 0, 1, 0, 0, 0, 9], 5000, b"a");
    let whole = ipv4(5000, b"a");
    let frames = [fragment, short, tcp, fragment_6, whole].map(|frame| (0, 0, frame));
    let (found, counts) = read(&capture(101, &frames), None).unwrap();
    let expected = PcapCounts {
        other: 1,
        elsewhere: 0,
        fragments: 2,
        short: 1,
    };
    assert_eq!((found.len(), counts), (1, expected));
}

#[test]
fn extension_headers_of_ipv6_are_passed() {
    let options = [60, 0, 1, 4, 0, 0, 0, 0];
    let more_options = [44, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let no_fragment = [17, 0, 0, 0, 0, 0, 0, 9];
    let frame = ipv6(
        0,
        &[&options[..], &more_options, &no_fragment].concat(),
        5000,
        b"a",
    );
    let (found, _) = read(&capture(101, &[(0, 0, frame)]), None).unwrap();
    assert_eq!(found[0].1, b"a");
}

#[test]
fn what_is_no_capture_or_damaged_is_an_error() {
    for bytes in [&b"no capture at all, just text"[..], b"", &[0x1F, 0x8B]] {
        assert!(matches!(read(bytes, None), Err(PcapError::NotACapture)));
    }
    let infiniband = capture(247, &[(0, 0, vec![0; 60])]);
    assert!(matches!(
        read(&infiniband, None),
        Err(PcapError::LinkType(247))
    ));
    let missing = PcapReader::open(Path::new("/nowhere.pcap"), None);
    assert!(matches!(missing, Err(PcapError::Io(_))));
}

#[test]
fn a_capture_that_is_cut_off_gives_what_it_has_first() {
    let frame = ipv4(5000, b"a");
    let whole = [
        capture(101, &[(0, 0, frame.clone()), (0, 0, frame.clone())]),
        capture_ng(&[(0, frame.clone()), (0, frame)]),
    ];
    for whole in whole {
        let file = file(&whole[..whole.len() - 5]);
        let mut reader = PcapReader::open(file.path(), None).unwrap();
        let mut out = Vec::new();
        assert!(reader.next(&mut out).unwrap().is_some());
        assert!(matches!(reader.next(&mut out), Err(PcapError::CutOff)));
    }
}

#[test]
fn a_block_larger_than_the_buffer_is_damage() {
    let mut bytes = capture_ng(&[]);
    bytes.extend([0, 0, 0, 6, 0, 64, 0, 0]); // 4 MiB
    bytes.resize(6 << 20, 0);
    assert!(matches!(read(&bytes, None), Err(PcapError::Damaged)));
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn captures_of_other_programs_are_read() {
    // 3000 datagrams: more than one buffer. editcap, text2pcap and tshark come together.
    let frames: Vec<_> = (0..3000_u32)
        .map(|index| (index, 250, ipv4(5000, &index.to_be_bytes().repeat(300))))
        .collect();
    let original = file(&capture(101, &frames));
    let folder = tempfile::tempdir().unwrap();
    for format in ["pcap", "nsecpcap", "pcapng", "modpcap"] {
        let path = folder.path().join(format);
        let convert = Command::new("editcap")
            .args(["-F", format])
            .args([original.path(), &path])
            .output();
        let Ok(output) = convert else {
            println!("skipped: editcap is not installed");
            return;
        };
        assert!(output.status.success(), "{output:?}");
        let (found, counts) = read_path(&path, None).unwrap();
        assert_eq!(
            (found.len(), counts),
            (3000, PcapCounts::default()),
            "{format}"
        );
        for ((datagram, payload), index) in found.iter().zip(0_u32..) {
            assert_eq!(datagram.time, u64::from(index) * NS + 250_000);
            assert!(*payload == index.to_be_bytes().repeat(300), "{format}");
        }
    }
}

proptest! {
    #[test]
    fn any_frame_is_survived(link in prop::sample::select(vec![0, 1, 101, 113, 276]), bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = frame::datagram(Link::new(link).unwrap(), &bytes);
    }

    #[test]
    fn a_damaged_packet_is_survived(at in 0_usize..100, value: u8, six: bool) {
        let mut packet = if six { ipv6(0, &[17, 0, 1, 4, 0, 0, 0, 0], 5000, &[7; 40]) } else { ipv4(5000, &[7; 70]) };
        let at = at % packet.len();
        packet[at] = value;
        let _ = frame::datagram(Link::RawIp, &packet);
    }

    #[test]
    fn a_damaged_capture_is_survived(at in 0_usize..1000, value: u8, ng: bool) {
        let frame = ipv4(5000, b"content");
        let mut bytes = if ng { capture_ng(&[(5, frame.clone()), (6, frame)]) } else { capture(101, &[(0, 5, frame.clone()), (0, 6, frame)]) };
        let at = at % bytes.len();
        bytes[at] = value;
        if let Ok((found, _)) = read(&bytes, None) {
            prop_assert!(found.len() <= 2);
        }
    }
}
