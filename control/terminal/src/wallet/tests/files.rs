//! The file: whatever is wrong with it is named, nothing of it gets lost, and a kill at any moment leaves all that was acknowledged.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sealcast_objects::ContentId;

use super::*;
use crate::wallet::{Download, Passphrase, PlayerError, Unreadable, Wallet, WalletError, owner};

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned())
}

/// Puts an entry into it that says `number`.
fn note(wallet: &mut Wallet, number: u32) {
    let download = Download {
        file: PathBuf::from(format!("/films/{number}")),
        bytes: number.into(),
        complete: true,
    };
    let key = (Text(ContentId([7; 16])), number);
    let noted = wallet.change(|state, _| {
        state.downloads.insert(key, download);
        Ok::<_, PlayerError>(())
    });
    noted.unwrap();
}

fn noted(wallet: &Wallet) -> Vec<u32> {
    let downloads = wallet.state.downloads.keys();
    downloads.map(|(_, number)| *number).collect()
}

fn why(error: WalletError) -> Unreadable {
    match error {
        WalletError::Unreadable { why, .. } => why,
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn a_wallet_comes_back_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("device.wallet");
    let own = identity(1);
    let mut made = Wallet::create(&file, &own, None).unwrap();
    note(&mut made, 5);
    let keys = made.public_keys();
    // SEC-01: another process waits until it is done.
    let error = Wallet::open(&file, &own, None).unwrap_err();
    assert!(matches!(error, WalletError::InUse(_)), "{error:?}");
    drop(made);
    let opened = Wallet::open(&file, &own, None).unwrap();
    assert_eq!((noted(&opened), opened.public_keys()), (vec![5], keys));
    drop(opened);
    assert_eq!(
        names(folder.path()),
        ["device.wallet", "device.wallet.lock"]
    );
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let error = Wallet::create(&file, &own, None).unwrap_err();
    assert!(matches!(error, WalletError::Exists(_)), "{error:?}");
    let other = Wallet::open(&file, &identity(2), None).unwrap_err();
    assert!(matches!(why(other), Unreadable::OtherDevice { .. }));
    let again = Wallet::open(&file, &identity(1), None).unwrap_err();
    assert_eq!(why(again), Unreadable::OtherIdentity);
    let unneeded = Wallet::open(&file, &own, Some(&passphrase("x"))).unwrap_err();
    assert_eq!(why(unneeded), Unreadable::HasNoPassphrase);
    let missing = folder.path().join("none");
    let error = Wallet::open(&missing, &own, None).unwrap_err();
    assert!(matches!(error, WalletError::Missing(_)), "{error:?}");
    let mut node = own.clone();
    node.role = Role::Node;
    let error = Wallet::open(&file, &node, None).unwrap_err();
    assert!(matches!(error, WalletError::Identity(_)), "{error:?}");
}

#[test]
fn sec_22_a_passphrase_is_needed_where_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let (file, own) = (folder.path().join("w"), identity(1));
    let secret = passphrase("correct horse\n");
    let mut made = Wallet::create(&file, &own, Some(&secret)).unwrap();
    note(&mut made, 1);
    drop(made);
    let none = Wallet::open(&file, &own, None).unwrap_err();
    assert_eq!(why(none), Unreadable::NeedsPassphrase);
    let wrong = Wallet::open(&file, &own, Some(&passphrase("battery"))).unwrap_err();
    assert_eq!(why(wrong), Unreadable::WrongPassphrase);
    let opened = Wallet::open(&file, &own, Some(&passphrase("correct horse")));
    assert_eq!(noted(&opened.unwrap()), [1]);
    assert!(!format!("{secret:?}").contains("horse"));
}

/// SEC-22: what is on the disk shows nothing, and neither does Debug.
#[test]
fn sec_22_no_secret_is_in_the_file_or_in_what_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (file, own) = (folder.path().join("w"), identity(1));
    let mut made = Wallet::create(&file, &own, None).unwrap();
    note(&mut made, 1);
    let bytes = fs::read(&file).unwrap();
    let has = |secret: &[u8]| bytes.windows(secret.len()).any(|part| part == secret);
    assert!(!has(made.keys.sign_seed.as_ref()) && !has(made.keys.wrap.private_bytes().as_ref()));
    assert!(!has(b"/films/"));
    let shown = format!("{made:?}");
    let bytes = |secret: &[u8]| format!("{:?}", &secret[..8]).replace(['[', ']'], "");
    assert!(
        !shown.contains(&bytes(made.keys.sign_seed.as_ref())),
        "{shown}"
    );
    // Two files of the same are not the same: nonces are new.
    let before = fs::read(&file).unwrap();
    made.save().unwrap();
    assert_ne!(fs::read(&file).unwrap(), before);
}

/// Whatever bytes are there: an error that says why, never a panic, and they stay.
#[test]
fn a_cut_or_changed_file_is_named_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (file, own) = (folder.path().join("w"), identity(1));
    let mut made = Wallet::create(&file, &own, None).unwrap();
    note(&mut made, 1);
    drop(made);
    let whole = fs::read(&file).unwrap();
    let owner = owner(&own, None).unwrap();
    let try_open = |bytes: &[u8]| crate::wallet::opened(bytes, &owner).map(drop);
    assert_eq!(try_open(&whole), Ok(()));
    for end in 0..whole.len() {
        let expected = match end {
            0..8 => Unreadable::NotOne,
            _ => Unreadable::Damaged,
        };
        assert_eq!(try_open(&whole[..end]), Err(expected), "cut at {end}");
    }
    for bit in 0..whole.len() * 8 {
        let mut changed = whole.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let said = try_open(&changed).unwrap_err();
        match bit / 8 {
            0..8 => assert_eq!(said, Unreadable::NotOne),
            8..10 => assert!(matches!(said, Unreadable::Newer(_) | Unreadable::Damaged)),
            _ => assert_eq!(said, Unreadable::Damaged, "bit {bit}"),
        }
    }
    for bytes in [
        whole[..50].to_vec(),
        Vec::new(),
        [&whole[..], b"x"].concat(),
    ] {
        fs::write(&file, &bytes).unwrap();
        let error = Wallet::open_or_create(&file, &own, None).unwrap_err();
        assert!(matches!(error, WalletError::Unreadable { .. }), "{error:?}");
        assert_eq!(fs::read(&file).unwrap(), bytes, "nothing is overwritten");
    }
}

/// Who changes the header and puts the digest right gains nothing, and takes neither memory nor time.
#[test]
fn a_forged_header_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (file, own) = (folder.path().join("w"), identity(1));
    let secret = passphrase("secret");
    drop(Wallet::create(&file, &own, Some(&secret)).unwrap());
    let whole = fs::read(&file).unwrap();
    let owner = owner(&own, Some(&secret)).unwrap();
    let forged = |at: usize, to: &[u8]| {
        let mut bytes = whole[..whole.len() - 32].to_vec();
        bytes[at..at + to.len()].copy_from_slice(to);
        let digest = sealcast_crypto::sha256(&[&bytes]);
        bytes.extend_from_slice(&digest);
        crate::wallet::opened(&bytes, &owner).map(drop).unwrap_err()
    };
    assert_eq!(forged(8, &9_u16.to_be_bytes()), Unreadable::Newer(9));
    assert_eq!(forged(8, &0_u16.to_be_bytes()), Unreadable::Damaged);
    assert_eq!(forged(10, &7_u16.to_be_bytes()), Unreadable::Damaged);
    assert_eq!(
        forged(10, &0_u16.to_be_bytes()),
        Unreadable::HasNoPassphrase
    );
    assert!(matches!(
        forged(12, &[9; 16]),
        Unreadable::OtherDevice { .. }
    ));
    assert_eq!(forged(28, &[0; 16]), Unreadable::OtherIdentity);
    // 4 TiB of memory, and four thousand million passes.
    assert_eq!(forged(44, &u32::MAX.to_be_bytes()), Unreadable::Damaged);
    assert_eq!(forged(48, &u32::MAX.to_be_bytes()), Unreadable::Damaged);
    assert_eq!(forged(44, &0_u32.to_be_bytes()), Unreadable::Damaged);
    let nonce = [0; 12];
    assert_eq!(forged(88, &nonce), Unreadable::Damaged);
}

#[test]
fn a_wallet_that_cannot_be_written_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (file, own) = (folder.path().join("w"), identity(1));
    let mut made = Wallet::create(&file, &own, None).unwrap();
    note(&mut made, 1);
    let before = fs::read(&file).unwrap();
    // Something that cannot be replaced is where the new file is to be written.
    fs::create_dir_all(folder.path().join("w.new/full")).unwrap();
    let changed = made.change(|state, _| {
        state.downloads.clear();
        Ok::<_, PlayerError>(())
    });
    assert!(
        matches!(changed, Err(PlayerError::Wallet(_))),
        "{changed:?}"
    );
    assert_eq!(noted(&made), [1], "nor is it in memory");
    assert_eq!(fs::read(&file).unwrap(), before);
    fs::remove_dir_all(folder.path().join("w.new")).unwrap();
    // What a crash left there is replaced.
    fs::write(folder.path().join("w.new"), "half").unwrap();
    note(&mut made, 2);
    drop(made);
    assert_eq!(noted(&Wallet::open(&file, &own, None).unwrap()), [1, 2]);
    assert_eq!(names(folder.path()), ["w", "w.lock"]);
}

const CHILD: &str = "SEALCAST_TEST_WALLET";
const ROUNDS: u32 = 12;

/// Notes numbers, and says each when it is kept, until it is killed.
fn note_until_killed(folder: &Path) {
    let own = Identity::load(&folder.join("device.json"), Role::Device).unwrap();
    let mut wallet = Wallet::open(&folder.join("w"), &own, None).unwrap();
    let first = noted(&wallet).last().map_or(0, |last| last + 1);
    let mut out = std::io::stdout();
    // The harness may have begun a line.
    writeln!(out).unwrap();
    for number in first.. {
        note(&mut wallet, number);
        writeln!(out, "kept {number}").unwrap();
        out.flush().unwrap();
    }
}

/// kill -9 at random moments: whatever was said to be kept is there, and the wallet opens.
#[test]
fn a_killed_program_leaves_a_wallet_with_all_that_was_acknowledged() {
    if let Some(folder) = std::env::var_os(CHILD) {
        return note_until_killed(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let (file, own) = (folder.path().join("w"), identity(1));
    own.save(&folder.path().join("device.json")).unwrap();
    drop(Wallet::create(&file, &own, None).unwrap());
    let seed = std::env::var("SEALCAST_SEED").map_or(1, |seed| seed.parse().unwrap());
    let rng = &mut StdRng::seed_from_u64(seed);
    let (mut kept, start) = (0, Instant::now());
    for round in 0..ROUNDS {
        let name =
            "wallet::tests::files::a_killed_program_leaves_a_wallet_with_all_that_was_acknowledged";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let most = rng.random_range(1..40);
        let mut said = Vec::new();
        while said.len() < most {
            let line = lines.next().unwrap().unwrap();
            said.extend(
                line.strip_prefix("kept ")
                    .map(|number| number.parse::<u32>().unwrap()),
            );
        }
        std::thread::sleep(Duration::from_micros(rng.random_range(0..3000)));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died.
        let rest = lines.map_while(Result::ok);
        said.extend(rest.filter_map(|line| line.strip_prefix("kept ")?.parse::<u32>().ok()));
        let last = said.last().copied().unwrap();
        let wallet = Wallet::open(&file, &own, None).unwrap();
        let all = noted(&wallet);
        let expected: Vec<_> = (0..u32::try_from(all.len()).unwrap()).collect();
        assert_eq!(all, expected, "round {round}, seed {seed}");
        assert!(
            all.len() > last as usize,
            "round {round}, seed {seed}: {last} is lost"
        );
        kept = all.len();
    }
    assert!(kept > ROUNDS as usize);
    assert!(start.elapsed() < Duration::from_secs(30));
}
