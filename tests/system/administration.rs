//! `sealcast admin` and `sealcast content`: there is a command for whatever operators may ask of the API.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::keyserver::KeyServer;
use crate::process::sealcast_reading;

/// What operators may ask for, and the commands that do; nothing: what others ask for, and operators only may, too.
const COMMANDS: &str = include_str!("administration.txt");

fn runs(words: &[&str]) -> bool {
    let binary = env!("CARGO_BIN_EXE_sealcast");
    let ran = Command::new(binary)
        .args(words)
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(ran.stdout).unwrap();
    ran.status.success() && help.contains(&format!("Usage: sealcast {}", words.join(" ")))
}

#[test]
fn each_request_of_operators_has_a_command() {
    let binary = env!("CARGO_BIN_EXE_sealcast");
    let described = Command::new(binary).arg("openapi").output().unwrap();
    let described: Value = serde_json::from_slice(&described.stdout).unwrap();
    let mut commands: BTreeMap<_, _> = COMMANDS
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .collect();
    for (path, operations) in described["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let by = operation["security"].as_array();
            let of_operators = by.is_some_and(|by| {
                by.iter()
                    .any(|one| one.get("operatorCertificate").is_some())
            });
            let request = format!("{} {path}", method.to_uppercase());
            if !of_operators {
                continue;
            }
            let found = commands.remove(request.as_str());
            let words = found.unwrap_or_else(|| unreachable!("no command for {request}"));
            for words in words.split(", ").filter(|words| *words != "-") {
                let words: Vec<_> = words.split(' ').collect();
                assert!(
                    runs(&words),
                    "{request}: there is no `sealcast {}`",
                    words.join(" ")
                );
            }
        }
    }
    assert!(commands.is_empty(), "nobody can ask for {commands:?}");
}

fn transfer(number: u32, debit: &Value, credit: &Value, amount: u64) -> String {
    let id = format!("trf_0190000000007000800{number:013x}");
    let command = json!({"kind": "move", "debit": debit, "credit": credit, "amount": amount});
    json!({"id": id, "command": command}).to_string()
}

#[test]
fn a_file_of_transfers_is_carried_out_once_and_what_is_refused_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = KeyServer::start(None, folder.path(), &[]);
    let open = |bound: &str| {
        let args = ["ledger", "open", "EUR/cent", "--bound", bound];
        server.admin(&args)["id"].clone()
    };
    let (cash, card) = (open("free"), open("debits-within-credits"));
    let file = folder.path().join("transfers.jsonl");
    let name = file.display().to_string();
    let identity = server.operator();
    let batch = || server.run(&["admin", "--identity", &identity, "ledger", "batch", &name]);
    // More than one request; the last two would overdraw the card, each by itself.
    let mut lines: Vec<_> = (0..150).map(|n| transfer(n, &cash, &card, 10)).collect();
    lines.extend([150, 151].map(|n| transfer(n, &card, &cash, 1501)));
    fs::write(&file, lines.join("\n\n")).unwrap();
    let (code, out, errors) = batch();
    assert_eq!(code, 1, "{out}{errors}");
    assert!(out.contains("150 made, 2 refused"), "{out}");
    assert_eq!(out.matches("not enough").count(), 2, "{out}");
    let (code, out, _) = batch();
    assert_eq!(code, 1);
    assert!(out.contains("150 made before, 2 refused"), "{out}");
    let balance = |book: &Value| {
        let book = server.admin(&["ledger", "book", book.as_str().unwrap()]);
        book["credited"].as_i64().unwrap() - book["debited"].as_i64().unwrap()
    };
    assert_eq!((balance(&cash), balance(&card)), (-1500, 1500));
    let first = server.admin(&["ledger", "transfer", "trf_01900000000070008000000000000000"]);
    assert_eq!(first["number"], 1);
    // One bad line: nothing of the file is sent.
    fs::write(
        &file,
        [
            &lines[..0],
            &[transfer(200, &cash, &card, 1), "{}".to_owned()],
        ]
        .concat()
        .join("\n"),
    )
    .unwrap();
    let (code, _, errors) = batch();
    assert_ne!(code, 0);
    assert!(errors.contains("line 2"), "{errors}");
    assert_eq!(balance(&card), 1500);
    // From standard input.
    fs::write(&file, transfer(300, &card, &cash, 500)).unwrap();
    let input = Stdio::from(fs::File::open(&file).unwrap());
    let args = ["admin", "--identity", &identity, "ledger", "batch", "-"];
    let mut piped = sealcast_reading(input, None, folder.path(), "batch", &args);
    assert!(
        piped.wait(Duration::from_secs(20)).success(),
        "{}",
        piped.errors()
    );
    assert_eq!(balance(&card), 1000);
}
