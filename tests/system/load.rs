//! `sealcast load stream` as a program: around a delivery server and a receiver with keys that change, and with bad input.

use std::net::UdpSocket;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use sealcast_proto::records::{PacketTrace, RecordFile};
use serde_json::Value;

use crate::keyserver::KeyServer;
use crate::process::sealcast;

/// A port that nobody has at this moment.
fn free() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// Runs `sealcast load stream` to its end: exit code, standard output, standard error.
fn load(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let mut program = sealcast(None, folder, "load", &[&["load", "stream"], args].concat());
    let status = program.wait(Duration::from_secs(60));
    let written = String::from_utf8(program.written()).unwrap();
    (status.code().unwrap_or(-1), written, program.errors())
}

#[test]
fn what_goes_through_sender_and_receiver_is_verified_and_joining_is_timed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let keys = KeyServer::start(None, path, &["--start-wait", "300ms"]);
    keys.channel(1, &[]);
    let node = keys.node(1).display().to_string();
    let device = keys.device("r", &[1]).file.display().to_string();
    let target = format!("udp://127.0.0.1:{}", free());
    let sink = format!("udp://127.0.0.1:{}", free());
    let group = format!("udp://239.255.93.1:{}?iface=lo", free());
    let sending = [
        "send",
        "--json",
        "--node",
        &node,
        "--channel",
        "1",
        "--group",
        &group,
        "--input",
        &target,
    ];
    let sender = sealcast(None, path, "s", &sending);
    let receiving = [
        "receive",
        "--json",
        "--session",
        &device,
        "--channel",
        "1",
        "--group",
        &group,
        "--output",
        &sink,
    ];
    sender.wait_for_key(1);
    let mut receiver = sealcast(None, path, "r", &receiving);
    receiver.wait_for_key(1);
    // By then the certificate has come again.
    sleep(Duration::from_millis(700));

    let page = path.join("report.html");
    let html = page.display().to_string();
    let more = [
        "--sink",
        &sink,
        "--pps",
        "2000",
        "--duration",
        "5s",
        "--json",
        "--html",
        &html,
    ];
    let (code, written, errors) = load(path, &[&[target.as_str()], &more[..]].concat());
    assert_eq!(code, 0, "{written}{errors}");
    let report: Value = serde_json::from_str(&written).unwrap();
    let totals = &report["tables"]["totals"];
    assert_eq!(
        (&totals[0]["datagrams"], &totals[1]["datagrams"]),
        (&10_000.into(), &10_000.into())
    );
    assert_eq!(report["tables"]["times"][0]["count"], 10_000);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(
        page.contains("<svg") && page.ends_with("</html>\n"),
        "{page}"
    );
    assert!(
        receiver.channel(1)["keys"]["epoch"].as_u64() > Some(1),
        "keys changed meanwhile"
    );
    receiver.stop();

    let command = format!(
        "{} {}",
        env!("CARGO_BIN_EXE_sealcast"),
        receiving.map(|word| format!("'{word}'")).join(" ")
    );
    let join = [
        "--sink",
        &sink,
        "--pps",
        "2000",
        "--scenario",
        "join",
        "--repeats",
        "2",
        "--json",
        "--command",
        &command,
    ];
    let (code, written, errors) = load(path, &[&[target.as_str()], &join[..]].concat());
    assert_eq!(code, 0, "{written}{errors}");
    let report: Value = serde_json::from_str(&written).unwrap();
    let trials = report["tables"]["trials"].as_array().unwrap();
    // A process has to start and to fetch a key.
    assert!(
        trials.len() == 2
            && trials
                .iter()
                .all(|trial| trial["first_ms"].as_f64() > Some(1.0)),
        "{report}"
    );
}

/// A report of `sealcast load shop`, and its exit code.
fn shop(keys: &KeyServer, folder: &Path, more: &[&str]) -> (i32, Value) {
    let admin = keys.operator();
    let start = ["load", "shop", "--json", "--identity", &admin];
    let mut program = sealcast(None, folder, "shop", &[&start[..], more].concat());
    let status = program.wait(Duration::from_secs(90));
    let report = serde_json::from_slice(&program.written());
    let report = report.unwrap_or_else(|error| panic!("{error}: {}", program.errors()));
    (status.code().unwrap_or(-1), report)
}

#[test]
fn pc_26_pc_30_a_shop_under_load_charges_once_whatever_gets_lost() {
    let folder = tempfile::tempdir().unwrap();
    let keys = KeyServer::start(None, folder.path(), &[]);
    keys.channel(1, &[]);
    let flags = "--accounts 6 --devices 3 --rate 12 --duration 5s --think 50ms --lost 12 --doubled 8 --late 4 --killed 15 --poor 30";
    let flags: Vec<_> = flags.split(' ').collect();
    for method in ["balance", "invoice"] {
        let more = [&flags[..], &["--method", method, "--seed", "3"]].concat();
        let (code, report) = shop(&keys, folder.path(), &more);
        assert_eq!(
            (code, &report["good"]),
            (0, &Value::Bool(true)),
            "{report:#}"
        );
        let count = |table: &str, key: &str, row: &str| {
            let mut rows = report["tables"][table].as_array().unwrap().iter();
            let row = rows.find(|found| found["what"] == row);
            row.map_or(0, |row| row[key].as_u64().unwrap())
        };
        // It would be no test without these.
        assert!(count("clicks", "count", "bought") > 20, "{report:#}");
        assert!(count("clicks", "count", "refused") > 0, "{report:#}");
        assert!(
            count("clicks", "count", "killed while buying") > 0,
            "{report:#}"
        );
        for fault in ["requests_lost", "answers_lost", "doubled", "late"] {
            let steps = ["purchase", "purchase receipt", "licence", "licence receipt"];
            let met: u64 = steps
                .map(|step| count("messages", fault, step))
                .iter()
                .sum();
            assert!(met > 0, "{fault}: {report:#}");
        }
        let rules = report["tables"]["invariants"].as_array().unwrap();
        assert_eq!(rules.len(), 7, "{rules:#?}");
    }
    // What it made is not sold any more.
    let offers = keys.admin(&["offer", "list", "--offered"]);
    assert_eq!(
        offers["offers"].as_array().map(Vec::len),
        Some(0),
        "{offers:#}"
    );
}

#[test]
fn bad_input_of_load_is_told_with_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = format!("udp://{}", taken.local_addr().unwrap());
    let cases: [(&[&str], i32, &str); 6] = [
        (&[], 2, "TARGET"),
        (
            &["udp://239.1.1.1:5000", "--size", "40"],
            2,
            "choose a size from 48",
        ),
        (&["gen:?rate=1M"], 2, "a target is written udp://"),
        (&["--scenario", "latency"], 2, "needs a target and a sink"),
        (&["--sink", &taken, "--duration", "1s"], 3, "in use"),
        (&["udp://239.1.1.1:5000?iface=nowhere0"], 2, "no interface"),
    ];
    for (args, code, words) in cases {
        let (got, _, errors) = load(folder.path(), args);
        assert_eq!(got, code, "{args:?}: {errors}");
        assert!(errors.contains(words), "{args:?}: {errors}");
    }
    // Nothing came: said, and told by the exit code.
    let (code, written, errors) = load(
        folder.path(),
        &[
            "--sink",
            &format!("udp://127.0.0.1:{}", free()),
            "--duration",
            "300ms",
        ],
    );
    assert_eq!(code, 1, "{errors}");
    assert!(written.ends_with("\nnothing was received\n"), "{written}");
}

/// INT-16: a trace that was made up is replayed: the same datagrams, whole; and again, faster.
#[test]
fn int_16_a_trace_that_was_made_is_replayed_whole() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("made.trace").display().to_string();
    let make = [
        "load",
        "make",
        "packets",
        "--pps",
        "2000",
        "--size",
        "1000",
        "--channels",
        "6",
        "--shape",
        "variable",
        "--duration",
        "2s",
        "--output",
        &trace,
    ];
    let mut made = sealcast(None, folder.path(), "make", &make);
    assert!(made.wait(Duration::from_secs(10)).success());
    let bytes = std::fs::read(&trace).unwrap();
    let file = RecordFile::<PacketTrace>::read(&bytes).unwrap();
    let count = file.records().count() as u64;
    assert!((3500..4500).contains(&count), "{count}");
    let address = format!("udp://127.0.0.1:{}", free());
    let both = [address.as_str(), "--sink", &address, "--trace", &trace];
    let replayed = |more: &[&str]| {
        let (code, written, errors) = load(folder.path(), &[&both[..], more, &["--json"]].concat());
        assert_eq!(code, 0, "{written}{errors}");
        let report: Value = serde_json::from_str(&written).unwrap();
        for row in report["tables"]["totals"].as_array().unwrap() {
            let datagrams = row["datagrams"].as_u64().unwrap();
            assert_eq!(row["bytes"], datagrams * 1000, "{report}");
        }
        let of = |row: usize| report["tables"]["totals"][row]["datagrams"].clone();
        (of(0), of(1))
    };
    let once = Value::from(count);
    assert_eq!(replayed(&[]), (once.clone(), once));
    let thrice = Value::from(3 * count);
    let faster = ["--speed", "4", "--repeat", "3", "--cores", "0,0"];
    assert_eq!(replayed(&faster), (thrice.clone(), thrice));
    let (sent, received) = replayed(&["--duration", "500ms"]);
    assert_eq!(sent, received);
    assert!(sent.as_u64() < Some(count / 2), "{sent}");
}

#[test]
fn traces_that_cannot_be_replayed_are_told_with_their_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (good, storm, cut, foreign) = (file("good"), file("storm"), file("cut"), file("foreign"));
    for (what, duration, output) in [("packets", "1s", &good), ("requests", "2m", &storm)] {
        let make = [
            "load",
            "make",
            what,
            "--duration",
            duration,
            "--output",
            output,
        ];
        let mut made = sealcast(None, folder.path(), "make", &make);
        assert!(made.wait(Duration::from_secs(10)).success());
    }
    let bytes = std::fs::read(&good).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    std::fs::write(&foreign, [0x47; 1316]).unwrap();
    let cases: [(&[&str], i32, &str); 12] = [
        (&["--trace", &foreign], 3, "no record file of sealcast"),
        (&["--trace", &cut], 3, "cut off"),
        (
            &["--trace", &storm],
            3,
            "this is a trace of key requests, wanted is a packet trace",
        ),
        (&["--trace", &file("none")], 3, "No such file"),
        (
            &["--trace", &good, "--rate", "20M"],
            2,
            "cannot be used with",
        ),
        (
            &["--trace", &good, "--shape", "constant"],
            2,
            "cannot be used with",
        ),
        (
            &["--trace", &good, "--scenario", "latency"],
            2,
            "cannot be used with",
        ),
        (
            &["--trace", &good, "--speed", "0"],
            2,
            "how many times faster",
        ),
        (&["--trace", &good, "--repeat", "0"], 2, "--repeat"),
        (
            &["--trace", &good, "--repeat", "2", "--duration", "1s"],
            2,
            "cannot be used with",
        ),
        (
            &["--trace", &good, "--repeat", "4000000"],
            2,
            "at most 30 days",
        ),
        (&["--speed", "2"], 2, "--trace"),
    ];
    for (args, code, words) in cases {
        let all = [&["udp://127.0.0.1:4000"], args].concat();
        let (got, _, errors) = load(folder.path(), &all);
        assert_eq!(got, code, "{args:?}: {errors}");
        assert!(errors.contains(words), "{args:?}: {errors}");
    }
    // Without somewhere to send it.
    let (code, _, errors) = load(
        folder.path(),
        &["--sink", "udp://127.0.0.1:4001", "--trace", &good],
    );
    assert!(code == 2 && errors.contains("TARGET"), "{errors}");
}

/// Forty channels on two shards, each with keys of its own that change, while one more comes and goes: nothing is lost.
#[test]
fn a_soak_of_many_channels_finds_no_fault() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_sealcast"))
        .args([
            "load",
            "soak",
            "--channels",
            "40",
            "--rate",
            "1M",
            "--duration",
            "8s",
            "--lifetime",
            "3s",
        ])
        .args(["--cores", "0,1", "--churn", "2s", "--json"])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert!(output.status.success(), "{report}");
    assert_eq!(
        (&report["passed"], &report["sent"]),
        (&true.into(), &report["delivered"]),
        "{report}"
    );
    // Forty channels of 95 packets a second, for 8 s and more; each changes keys at least twice.
    assert!(report["sent"].as_u64() > Some(30_000), "{report}");
    assert!(report["switches"][1].as_u64() >= Some(2), "{report}");
    assert!(report["visits"].as_u64() >= Some(3), "{report}");
}
