//! Packagers of other software take keys from the real key server: Shaka Packager, and a reader of CPIX.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::keyserver::{KeyServer, sender};
use crate::net::{Lan, can_run, sh};

const GROUP: [&str; 1] = ["udp://239.1.1.1:5000?ttl=4"];
/// Seconds of the clip, and of a crypto period.
const CLIP: u32 = 12;
const PERIOD: u32 = 3;
const CONTENT: &str = "5ea1ca57";

/// Where Shaka Packager and a Python with `cpix` are; nothing, and why, when they cannot be fetched.
fn packagers() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packagers");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packagers");
    let output = Command::new(script).arg(&folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => Some(folder),
        Some(3) => {
            println!("skipped: {said}");
            None
        }
        _ => unreachable!("tests/packagers: {said}"),
    }
}

/// A key server with its doors open, and a channel that is on air, all on one host.
struct Air {
    lan: Lan,
    folder: tempfile::TempDir,
    keys: KeyServer,
    _sender: crate::process::Program,
}

impl Air {
    fn start() -> Self {
        let (lan, folder) = (Lan::new(1), tempfile::tempdir().unwrap());
        let config = folder.path().join("serve.toml");
        fs::write(
            &config,
            "[interop]\nkey_server = true\ncpix = true\nnodes = true\n",
        )
        .unwrap();
        let config = config.display().to_string();
        let more = ["--config", &config, "--start-wait", "300ms"];
        let keys = KeyServer::start(Some((&lan, 1)), folder.path(), &more);
        keys.channel(1, &[]);
        let input = ["--input", "gen:?rate=1M&seconds=300&seed=1"];
        let sender = sender(&lan, 1, folder.path(), "air", (&keys, 1), &GROUP, &input);
        sender.wait_for_key(1);
        let air = Self {
            lan,
            folder,
            keys,
            _sender: sender,
        };
        let pem = air.keys.run(&[
            "admin",
            "--identity",
            &air.path("data/admin.json"),
            "interop",
            "ca",
        ]);
        fs::write(air.path("ca.pem"), pem.1).unwrap();
        air
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Runs a program on the host.
    fn run(&self, program: &str, args: &[&str]) -> Output {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", self.lan.host(1), program])
            .args(args);
        command.current_dir(self.folder.path()).output().unwrap()
    }

    /// Asks a door with curl, as a person would.
    fn curl(&self, token: &str, path: &str, body: &Value) -> String {
        let (token, body) = (format!("Authorization: Bearer {token}"), body.to_string());
        let url = format!("{}/v1/interop/{path}", self.keys.url());
        let json = "Content-Type: application/json";
        let args = [
            "-sS",
            "--fail-with-body",
            "--cacert",
            "ca.pem",
            "-H",
            &token,
            "-H",
            json,
            "-d",
            &body,
            &url,
        ];
        let output = self.run("curl", &args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "{} {}",
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// What was packaged of a track, in parts under one key each: key id and a file.
    fn parts(&self, track: &str) -> Vec<(String, Vec<u8>)> {
        let files = fs::read_dir(self.folder.path()).unwrap();
        let mut segments: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
        segments.retain(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with(track) && name.ends_with(".m4s")
        });
        segments.sort();
        let head = fs::read(self.path(&format!("{track}.mp4"))).unwrap();
        let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
        for segment in segments {
            let bytes = fs::read(segment).unwrap();
            let id = key_id(&bytes);
            match parts.last_mut() {
                Some((last, part)) if *last == id => part.extend(bytes),
                _ => parts.push((id, [&head[..], &bytes].concat())),
            }
        }
        parts
    }

    /// Opens a part with its key; the digests of its frames.
    fn open(&self, packager: &str, part: &[u8], key: &str) -> Vec<String> {
        fs::write(self.path("part.mp4"), part).unwrap();
        // Packager's reader does not follow sample groups: it asks for the id that stands for "see there".
        let keys = format!("label=:key_id={}:key={key}", "0".repeat(32));
        let args = [
            "in=part.mp4,stream=video,output=open.mp4",
            "--enable_raw_key_decryption",
            "--keys",
            &keys,
        ];
        let output = self.run(packager, &args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        frames(&self.path("open.mp4"))
    }

    /// Keys of crypto periods as CPIX tells them: key id to period, track and key.
    fn cpix(
        &self,
        python: &Path,
        token: &str,
        tracks: &[&str],
    ) -> BTreeMap<String, (u64, String, String)> {
        let periods = json!({"first": 0, "count": 10, "seconds": PERIOD});
        let document = self.curl(
            token,
            "cpix/1",
            &json!({"content_id": CONTENT, "tracks": tracks, "periods": periods}),
        );
        fs::write(self.path("keys.xml"), document).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/read_cpix.py");
        let output = Command::new(python)
            .arg(script)
            .arg(self.path("keys.xml"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let read: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(read["content"], CONTENT);
        let rules = read["rules"].as_array().unwrap().iter();
        let keys = rules.map(|rule| {
            let kid = rule["kid"].as_str().unwrap().to_owned();
            assert!(read["boxes"][&kid].is_string(), "no box for {kid}");
            let word = |name: &str| rule[name].as_str().unwrap().to_owned();
            (
                kid,
                (
                    rule["period"][0].as_u64().unwrap(),
                    word("track"),
                    word("key"),
                ),
            )
        });
        keys.collect()
    }
}

/// The digests of the frames of a file.
fn frames(file: &str) -> Vec<String> {
    let output = Command::new("ffmpeg")
        .args([
            "-v", "error", "-i", file, "-map", "0:v", "-f", "framemd5", "-",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit(' ').next().unwrap().to_owned())
        .collect()
}

/// The key id that a segment names for its samples (sample group `seig`, ISO/IEC 23001-7 6): 20 bytes behind the name of the box are
/// versions, lengths and flags.
fn key_id(segment: &[u8]) -> String {
    let at = segment
        .windows(4)
        .position(|name| name == b"sgpd")
        .expect("a group of samples");
    assert_eq!(&segment[at + 8..at + 12], b"seig");
    let id = &segment[at + 24..at + 40];
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SEC-14, SEC-15: Shaka Packager packages a clip under keys that rotate; what the doors said opens it, period by period, and the frames
/// are those of the clip. After kill -9 the doors say the same.
#[test]
fn shaka_packager_takes_keys_that_rotate_and_they_open_what_it_made() {
    if !can_run(&["ip", "ffmpeg", "curl", "python3"]) {
        return;
    }
    let Some(tools) = packagers() else { return };
    let mut air = Air::start();
    let made = air.keys.admin(&[
        "interop",
        "add",
        "shaka",
        "--channel",
        "1",
        "--signer",
        "me",
    ]);
    let word = |name: &str| made["signer"][name].as_str().unwrap().to_owned();
    let (token, key, iv) = (
        made["token"].as_str().unwrap().to_owned(),
        word("key"),
        word("iv"),
    );
    sh(&format!(
        "ffmpeg -v error -y -f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=1000 -t {CLIP} -c:v libx264 -preset ultrafast \
         -g 25 -pix_fmt yuv420p -c:a aac {}",
        air.path("clip.mp4")
    ));
    let (packager, period) = (
        tools.join("packager").display().to_string(),
        PERIOD.to_string(),
    );
    let host = air.keys.url().replace("https://", "");
    let url = format!("https://shaka:{token}@{host}/v1/interop/keys/1");
    let package = |url: &str, key: &str| {
        let args = [
            "in=clip.mp4,stream=video,init_segment=video.mp4,segment_template=video-$Number%03d$.m4s",
            "in=clip.mp4,stream=audio,init_segment=audio.mp4,segment_template=audio-$Number%03d$.m4s",
            "--enable_widevine_encryption",
            "--content_id",
            CONTENT,
            "--crypto_period_duration",
            &period,
            "--protection_systems",
            "CommonSystem",
            "--clear_lead",
            "0",
            "--segment_duration",
            "1",
            "--ca_file",
            "ca.pem",
            "--key_server_url",
            url,
            "--signer",
            "me",
            "--aes_signing_key",
            key,
            "--aes_signing_iv",
            &iv,
            "--mpd_output",
            "clip.mpd",
        ];
        let output = air.run(&packager, &args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    };
    // What is wrong is told to whoever runs the packager.
    let (good, said) = package(&url, &key.replace(['0', '1', '2', '3'], "4"));
    assert!(
        !good && said.contains("the signature of me is not that of this request"),
        "{said}"
    );
    let (good, said) = package(&url.replace("sct_", "sct_0"), &key);
    assert!(!good && said.contains("401"), "{said}");
    let (good, said) = package(&url, &key);
    assert!(good, "{said}\n{}", air.keys.program.errors());

    let python = tools.join("python/bin/python");
    let keys = air.cpix(&python, &token, &["SD", "AUDIO"]);
    let parts = air.parts("video");
    assert!(parts.len() >= 3, "{} key periods", parts.len());
    let mut opened = Vec::new();
    for (number, (id, part)) in parts.iter().enumerate() {
        let (period, track, key) = &keys[id];
        assert_eq!((*period, track.as_str()), (number as u64, "SD"));
        let part = air.open(&packager, part, key);
        // Sealed, it is no picture of the clip.
        assert_ne!(frames(&air.path("part.mp4")), part);
        opened.extend(part);
    }
    let clear = frames(&air.path("clip.mp4"));
    assert_eq!(clear.len(), 25 * CLIP as usize);
    let (count, all) = (opened.len(), clear.len());
    assert!(clear == opened, "{all} frames of the clip, {count} opened");
    let sound = air.parts("audio");
    assert!(sound.len() >= 3 && sound.iter().all(|(id, _)| keys[id].1 == "AUDIO"));

    // No key and no token is in the log; who took what is.
    let log = air.keys.program.errors();
    assert!(
        keys.values().all(|(_, _, key)| !log.contains(key.as_str())) && !log.contains(&token),
        "{log}"
    );
    assert!(
        log.contains("keys given to a packager") && log.contains(CONTENT),
        "{log}"
    );
    air.keys.kill();
    air.keys.start_again();
    let leads = (0..200).any(|_| {
        sleep(Duration::from_millis(50));
        air.keys.admin(&["status"])["lead"]["state"] == "leading"
    });
    assert!(leads, "{}", air.keys.program.errors());
    assert_eq!(air.cpix(&python, &token, &["SD", "AUDIO"]), keys);
}

/// SEC-15: a delivery server's certificate in the place of a token.
#[test]
fn shaka_packager_shows_the_certificate_of_a_delivery_server() {
    if !can_run(&["ip", "ffmpeg", "python3"]) {
        return;
    }
    let Some(tools) = packagers() else { return };
    let air = Air::start();
    let identity: Value = serde_json::from_slice(&fs::read(air.keys.node(2)).unwrap()).unwrap();
    for name in ["certificate", "key"] {
        fs::write(
            air.path(&format!("{name}.pem")),
            identity[name].as_str().unwrap(),
        )
        .unwrap();
    }
    sh(&format!(
        "ffmpeg -v error -y -f lavfi -i sine=1000 -t 4 -c:a aac {}",
        air.path("clip.mp4")
    ));
    let url = format!("{}/v1/interop/keys/1", air.keys.url());
    let args = [
        "in=clip.mp4,stream=audio,output=sealed.mp4",
        "--enable_widevine_encryption",
        "--content_id",
        CONTENT,
        "--protection_systems",
        "CommonSystem",
        "--clear_lead",
        "0",
        "--ca_file",
        "ca.pem",
        "--key_server_url",
        &url,
        "--client_cert_file",
        "certificate.pem",
        "--client_cert_private_key_file",
        "key.pem",
    ];
    let output = air.run(&tools.join("packager").display().to_string(), &args);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let sealed = fs::read(air.path("sealed.mp4")).unwrap();
    assert!(
        sealed.windows(4).any(|name| name == b"enca"),
        "its sound is sealed"
    );
    assert!(air.keys.program.errors().contains("delivery server 2"));
}
