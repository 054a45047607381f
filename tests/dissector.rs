//! The Wireshark dissector reads what the protocol writes (needs tshark; says so and passes over without it).
#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]
#![expect(clippy::print_stdout, reason = "says why a test is passed over")]

use std::fs;
use std::process::Command;

use sealcast_crypto::{EpochRoot, LaneSecret, PacketDigest, SigningKey};
use sealcast_proto::ids::{ChannelId, Ctr, Epoch, GroupId, Kid, Lane, Remaining, ServerId, Term};
use sealcast_proto::wire::control::{AuthLevel, LaneCertificate, Notice, sign};
use sealcast_proto::wire::header::PacketHeader;
use sealcast_proto::wire::key_block::{Entry, KeyBlock};
use sealcast_proto::wire::manifest::{self, List};

/// A capture of raw IPv4 packets, one per datagram.
fn capture(datagrams: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xA1B2_C3D4_u32, 0x0004_0002, 0, 0, 65535, 101] {
        file.extend(word.to_le_bytes());
    }
    for datagram in datagrams {
        let udp = u16::try_from(8 + datagram.len()).unwrap().to_be_bytes();
        let total = u16::try_from(28 + datagram.len()).unwrap();
        let ip = [
            &[0x45, 0][..],
            &total.to_be_bytes(),
            &[0, 0, 0, 0, 9, 17, 0, 0, 10, 0, 0, 1, 239, 1, 1, 1],
        ]
        .concat();
        for word in [0, 0, u32::from(total), u32::from(total)] {
            file.extend(word.to_le_bytes());
        }
        file.extend([&ip[..], &[0x13, 0x88, 0x13, 0x88], &udp, &[0, 0], datagram].concat());
    }
    file
}

#[test]
fn tshark_shows_every_field() {
    if Command::new("tshark").arg("--version").output().is_err() {
        println!("skipped: tshark is missing; tests/run installs it");
        return;
    }
    let (key, term) = (
        SigningKey::from_seed(&[1; 32]),
        Term {
            number: 6,
            instance: 7,
        },
    );
    let notice = Notice {
        channel: ChannelId(300),
        term,
        current: Epoch(41),
        next: Epoch(42),
        current_commitment: None,
        next_commitment: None,
        revision: 5,
        remaining: Remaining(1234),
    };
    let certificate = LaneCertificate {
        channel: ChannelId(300),
        term,
        group: GroupId(0xABCD),
        follows: Some(GroupId(0xABCC)),
        server: ServerId(2),
        server_key: key.verifying_key(),
        first_lane: Lane::new(3).unwrap(),
        lanes: 1,
        first_epoch: Epoch(41),
        last_epoch: Epoch(42),
        auth: AuthLevel::Manifest,
    };
    let mut packet = vec![0; 12 + 100 + 16];
    let kid = Kid::new(Lane::new(3).unwrap(), ChannelId(300), Epoch(41));
    PacketHeader {
        kid,
        ctr: Ctr((1 << 32) + 9),
    }
    .write(&mut packet);
    let mut list = List::new(kid, Ctr((1 << 32) + 9));
    list.push(&PacketDigest::of(&packet));
    let other = List::new(kid, Ctr((1 << 32) + 10));
    let mac_key = LaneSecret::from_parts([1; 32], [2; 12]).manifest_key();
    let manifest = manifest::sign(vec![list, other], GroupId(0xABCD), &key, &mac_key).remove(0);
    let block = KeyBlock {
        channel: ChannelId(300),
        term,
        epoch: Epoch(42),
        commitment: EpochRoot::from_bytes([1; 32]).prk().commitment(300, 42),
        generation: 7,
        height: 24,
        entries: vec![
            Entry {
                node: 0x0100_0000,
                root: [5; 32],
            },
            Entry {
                node: 0x0080_0001,
                root: [6; 32],
            },
        ],
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("capture.pcap");
    fs::write(
        &file,
        capture(&[
            packet,
            sign(&notice, &key),
            sign(&certificate, &key),
            manifest,
            sign(&block, &key),
        ]),
    )
    .unwrap();
    let fields = [
        "channel",
        "lane",
        "epoch_low",
        "ctr",
        "payload_len",
        "type",
        "current",
        "next",
        "revision",
        "remaining",
        "group",
        "follows",
        "server",
        "first_lane",
        "first_epoch",
        "last_epoch",
        "auth",
        "count",
        "place",
        "lists",
        "epoch",
        "generation",
        "height",
        "node",
    ];
    let mut command = Command::new("tshark");
    let script = concat!(
        "lua_script:",
        env!("CARGO_MANIFEST_DIR"),
        "/docs/sealcast.lua"
    );
    command
        .args(["-d", "udp.port==5000,sealcast"])
        .args(["-X", script, "-T", "fields", "-E", "separator=,", "-r"])
        .arg(&file);
    for field in fields {
        command.arg("-e").arg(format!("sealcast.{field}"));
    }
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        lines,
        [
            "300,3,41,4294967305,100,,,,,,,,,,,,,,,,,,,",
            "300,,,,,0x01,41,42,5,1234,,,,,,,,,,,,,,",
            "300,,,,,0x02,,,,,0x000000000000abcd,0x000000000000abcc,2,3,41,42,1,,,,,,,",
            "300,3,41,4294967305,,0x03,,,,,,,,,,,,1,0,2,,,,",
            "300,,,,,0x04,,,,,,,,,,,,2,,,42,7,24,0x01000000,0x00800001",
        ],
        "{errors}"
    );
}
