//! A month from usage files to a bill that anybody can compute again, and to what is paid for it (MD-33, MD-34, SEC-34).

use std::fs;
use std::path::{Path, PathBuf};

use sealcast_objects::id::{Id, Text};
use sealcast_objects::{AccountId, DeviceId};
use serde_json::Value;

use crate::counted;
use crate::keyserver::KeyServer;

const TARIFF: &str = r#"
currency = "EUR"
tax = { of = 19, parts = 100 }
pay_within_days = 14

[[rates]]
kind = "data"
price = 9
per = 1_000_000_000
free = 500_000_000

[[rates]]
kind = "requests"
channel = 1
price = 1
per = 10
"#;

fn bytes<I: Id + std::fmt::Debug>(id: &str) -> [u8; 16] {
    let Text(id): Text<I> = id.parse().unwrap();
    id.to_bytes()
}

/// The files of a device that had channel 1 for 100 epochs of the last month.
fn count(server: &KeyServer, folder: &Path, account: &str, device: &str) {
    let at = counted::last_month()
        .start()
        .after(std::time::Duration::from_hours(50));
    let whose = (bytes::<AccountId>(account), bytes::<DeviceId>(device), 1);
    let files = [
        ("keys.usage", counted::keys(whose, at, 1..=100)),
        ("sent.usage", counted::sent(1, at, 1..=100, 37_500_000)),
    ];
    for (name, file) in files {
        let path = folder.join(name);
        fs::write(&path, file).unwrap();
        let path = path.display().to_string();
        for before in [false, true] {
            assert_eq!(server.admin(&["usage", "take", &path])["before"], before);
        }
    }
}

/// `sealcast bill ...` beside the server: exit code, and what it said.
fn bill(server: &KeyServer, args: &[&str]) -> (i32, String) {
    let (code, out, errors) = server.run(&[&["bill"], args].concat());
    (code, out + &errors)
}

#[test]
fn sec_34_a_bill_is_computed_again_from_the_files_that_were_counted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let archive = folder.join("archive").display().to_string();
    let server = KeyServer::start(None, folder, &["--usage-archive", &archive]);
    server.channel(1, &[]);
    let device = server.device("tv", &[1]);
    let shown = server.admin(&["device", "show", &device.id]);
    let account = shown["account"].as_str().unwrap();
    let month = counted::last_month().to_string();
    let tariff = folder.join("standard.toml");
    fs::write(&tariff, TARIFF).unwrap();
    server.admin(&["tariff", "put", "standard", &tariff.display().to_string()]);
    server.admin(&["tariff", "assign", account, "standard", "--from", &month]);
    count(&server, folder, account, &device.id);
    let closed = server.admin(&["bill", "close", &month, "--anyway"]);
    assert!(
        closed["bills"] == 1 && closed["billed"].is_string(),
        "{closed}"
    );

    let listed = server.admin(&["bill", "list", "--month", &month]);
    let id = listed["bills"][0]["id"].as_str().unwrap();
    let file = folder.join("bill.json").display().to_string();
    let admin = ["admin", "--identity", &server.operator()];
    let get = ["bill", "get", id, "--format", "json", "--out", &file];
    let (code, _, errors) = server.run(&[&admin[..], &get].concat());
    assert_eq!(code, 0, "{errors}");
    let found: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    // 3.75 GB less half of one that is free: 3.25 x 9 = 29.25; 100 keys at 1 for 10. With 19 %: 39 x 1.19 = 46.41.
    assert_eq!(found["lines"][0]["quantity"], 3_750_000_000_u64);
    assert_eq!((&found["net"], &found["due"]), (&39.into(), &46.into()));

    let operator = server.operator();
    let verify = ["verify", &file, "--identity", &operator, "--deep", &archive];
    let (code, said) = bill(&server, &verify);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("the same, byte for byte, and its usage is counted so"),
        "{said}"
    );

    let (code, page) = bill(&server, &["show", &file, "--format", "html"]);
    assert_eq!(code, 0, "{page}");
    assert!(
        page.contains("(3750000000 - 500000000 free) x 0.09 EUR / 1000000000"),
        "{page}"
    );
    // As whoever prints it reads it.
    let paper = folder.join("bill.pdf").display().to_string();
    let get = ["bill", "get", id, "--format", "pdf", "--out", &paper];
    assert_eq!(server.run(&[&admin[..], &get].concat()).0, 0);
    let read = std::process::Command::new("pdftotext")
        .args([&paper, "-"])
        .output()
        .unwrap();
    let read = String::from_utf8(read.stdout).unwrap();
    assert!(
        read.contains("0.46 EUR") && read.contains("Bill 1 (bill_"),
        "{read}"
    );
    let (code, said) = bill(&server, &["show", &file]);
    assert!(code == 0 && said.contains("0.46 EUR"), "{said}");

    // Whoever changes a bill, or a file, is told where.
    let changed = fs::read_to_string(&file)
        .unwrap()
        .replace("\"due\":46", "\"due\":45");
    let wrong = folder.join("wrong.json").display().to_string();
    fs::write(&wrong, changed).unwrap();
    let (code, said) = bill(&server, &["verify", &wrong, "--identity", &operator]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("due: 45 in the file, 46 computed"), "{said}");
    let kept: Vec<_> = fs::read_dir(&archive)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert_eq!(kept.len(), 2, "each file once: {kept:?}");
    let is_sent = |path: &&PathBuf| path.to_string_lossy().contains("server-5");
    fs::remove_file(kept.iter().find(is_sent).unwrap()).unwrap();
    let (code, said) = bill(&server, &verify);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("only the server counts"), "{said}");
    assert!(said.contains("100 requests, 0 bytes"), "{said}");
    let (code, said) = bill(&server, &["verify", &archive, "--identity", &operator]);
    assert_eq!(code, 3, "{said}");

    // It is owed, and then paid.
    let money = |account: &str| server.admin(&["money", "show", account])["money"][0].clone();
    assert_eq!(money(account)["owed"], 46);
    server.admin(&[
        "money",
        "pay-bill",
        account,
        "46",
        "EUR",
        "--note",
        "statement 7",
    ]);
    assert_eq!(money(account)["owed"], 0);
    let csv = ["bill", "list", "--csv"];
    let (code, out, _) = server.run(&[&admin[..], &csv].concat());
    assert_eq!(code, 0);
    let row = out.lines().nth(1).unwrap();
    assert!(
        row.starts_with(&format!("{id},1,{account},{month},EUR,46,46,0,")),
        "{row}"
    );
    assert!(row.ends_with(",paid,0"), "{row}");
    server.admin(&["charge", "correct", account, "-10", "an outage"]);
    let next = server.admin(&["bill", "preview", account]);
    assert_eq!((&next["number"], &next["due"]), (&0.into(), &(-12).into()));
    let (code, out, errors) = server.run(&[
        "audit",
        "verify",
        "--data",
        &server.data().display().to_string(),
    ]);
    assert_eq!(code, 0, "{out}{errors}");
}
