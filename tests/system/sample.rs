//! A real TS made by ffmpeg, and ways to look at streams.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::net::sh;

static MAKING: Mutex<()> = Mutex::new(());

/// A TS of `seconds` at 4 Mbit/s, made once per build folder.
pub fn ts(seconds: u32) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sample-{seconds}.ts"));
    let _guard = MAKING
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if !path.exists() {
        let made = path.with_extension("part.ts");
        sh(&format!(
            "ffmpeg -v error -y -f lavfi -i testsrc2=size=640x360:rate=25 -f lavfi -i sine=1000 -t {seconds} -c:v mpeg2video \
             -b:v 3M -minrate 3M -maxrate 3M -bufsize 1M -c:a mp2 -f mpegts -muxrate 4M {}",
            made.display()
        ));
        fs::rename(&made, &path).expect("renaming the sample");
    }
    path
}

/// Continuity errors that tshark counts in a TS file.
pub fn tshark_drops(file: &Path) -> u64 {
    let output = Command::new("tshark")
        .args([
            "-r",
            &file.display().to_string(),
            "-Y",
            "mp2t.cc.drop",
            "-T",
            "fields",
            "-e",
            "mp2t.cc.drop",
        ])
        .output()
        .expect("tshark runs");
    assert!(
        output.status.success(),
        "tshark: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| !line.trim().is_empty())
        .count() as u64
}

/// Asserts that `output` is `input`, without printing megabytes.
pub fn assert_same(name: &str, input: &[u8], output: &[u8]) {
    if input != output {
        let at = input.iter().zip(output).take_while(|(a, b)| a == b).count();
        panic!(
            "{name}: {} bytes instead of {}, the first difference at byte {at} (packet {})",
            output.len(),
            input.len(),
            at / 1316
        );
    }
}

/// Asserts that `output` is the end of `input`.
pub fn assert_tail(name: &str, input: &[u8], output: &[u8]) {
    assert!(!output.is_empty(), "{name}: nothing arrived");
    assert!(output.len() < input.len(), "{name}: it was to join late");
    assert_same(name, &input[input.len() - output.len()..], output);
}

/// RTP packets (PT 33) with 7 TS packets each.
pub fn rtp_packets(ts: &[u8], ssrc: u32) -> Vec<Vec<u8>> {
    ts.chunks(1316)
        .zip(0_u32..)
        .map(|(payload, index)| {
            let mut packet = vec![0x80, 33];
            packet.extend(
                u16::try_from(index % 65536)
                    .unwrap()
                    .wrapping_add(65000)
                    .to_be_bytes(),
            );
            packet.extend((index * 240).to_be_bytes());
            packet.extend(ssrc.to_be_bytes());
            packet.extend(payload);
            packet
        })
        .collect()
}
