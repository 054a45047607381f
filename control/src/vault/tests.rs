//! SEC-14: secrets at rest.

use std::os::unix::fs::PermissionsExt as _;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use tempfile::TempDir;

use super::*;
use crate::store::Location;

struct Bench {
    folder: TempDir,
    store: Store,
    rng: ChaCha8Rng,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("data"), &Location::Folder).unwrap();
        Self {
            folder,
            store,
            rng: ChaCha8Rng::seed_from_u64(1),
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("master.key")
    }

    fn open(&mut self) -> Result<Vault, VaultError> {
        Vault::open(
            &self.store,
            &self.folder.path().join("master.key"),
            &mut self.rng,
        )
    }

    fn probe(&self) -> Option<Vec<u8>> {
        let read = self.store.read_blocking(|store| keys::secret(store, PROBE));
        read.unwrap()
    }

    /// Opening is refused, says this, and changes neither file nor store.
    #[track_caller]
    fn refused(&mut self, said: &str) -> VaultError {
        let (file, probe) = (fs::read(self.file()).ok(), self.probe());
        let commits = self.store.stats().commits;
        let error = self.open().unwrap_err();
        let text = error.to_string();
        assert!(text.contains(said), "{text}");
        assert!(text.contains("master.key"), "{text}");
        assert_eq!(fs::read(self.file()).ok(), file);
        assert_eq!(self.probe(), probe);
        assert_eq!(self.store.stats().commits, commits);
        error
    }

    fn write(&self, text: &str, mode: u32) {
        let _ = fs::remove_file(self.file());
        fs::write(self.file(), text).unwrap();
        fs::set_permissions(self.file(), fs::Permissions::from_mode(mode)).unwrap();
    }
}

#[test]
fn sec_14_the_master_key_is_made_at_the_first_start_and_opens_ever_after() {
    let mut bench = Bench::new();
    let sealed = bench
        .open()
        .unwrap()
        .seal("a", b"secret", &mut ChaCha8Rng::seed_from_u64(2));
    let mode = fs::metadata(bench.file()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let text = fs::read_to_string(bench.file()).unwrap();
    assert_eq!(text.trim().len(), 64);
    assert!(text.trim().bytes().all(|byte| byte.is_ascii_hexdigit()));
    let probe = bench.probe();
    let again = bench.open().unwrap();
    assert_eq!(
        again.open_secret("a", &sealed).unwrap().as_slice(),
        b"secret"
    );
    assert_eq!(bench.probe(), probe);
    // As a person would write it.
    bench.write(&format!("  {}\n\n", text.trim().to_uppercase()), 0o400);
    bench.open().unwrap();
    // Another first start makes another key.
    let mut other = Bench::new();
    other.rng = ChaCha8Rng::seed_from_u64(9);
    other.open().unwrap();
    assert_ne!(fs::read_to_string(other.file()).unwrap(), text);
}

#[test]
fn a_key_that_was_there_before_the_store_is_used() {
    let mut bench = Bench::new();
    bench.write(&"0f".repeat(32), 0o600);
    let vault = bench.open().unwrap();
    let sealed = vault.seal("a", b"secret", &mut bench.rng);
    let by_hand = Vault::from_master(&[0x0F; 32]);
    assert_eq!(
        by_hand.open_secret("a", &sealed).unwrap().as_slice(),
        b"secret"
    );
}

#[test]
fn sec_14_a_master_key_that_is_missing_exposed_none_or_another_is_refused() {
    let mut bench = Bench::new();
    bench.open().unwrap();
    let text = fs::read_to_string(bench.file()).unwrap();

    fs::remove_file(bench.file()).unwrap();
    let error = bench.refused("is missing");
    assert!(matches!(error, VaultError::Missing(_)));
    assert!(!bench.file().exists(), "none is made in its place");

    for mode in [0o640, 0o604, 0o660, 0o601, 0o644] {
        bench.write(&text, mode);
        let error = bench.refused(&format!("{mode:03o}"));
        assert!(matches!(error, VaultError::Exposed { .. }), "{mode:o}");
        assert!(error.to_string().contains("chmod 600"));
    }

    let digits = text.trim();
    for wrong in [
        "",
        "password",
        &digits[1..],
        &format!("{digits}0"),
        &format!("{}g", &digits[1..]),
        &format!("+{}", &digits[1..]),
        &format!("{} {}", &digits[..31], &digits[32..]),
    ] {
        bench.write(wrong, 0o600);
        let error = bench.refused("64 hexadecimal digits");
        assert!(matches!(error, VaultError::NoKey(_)), "{wrong}");
        assert!(wrong.is_empty() || !error.to_string().contains(wrong));
    }

    bench.write(&"00".repeat(32), 0o600);
    let error = bench.refused("is not the master key");
    assert!(matches!(error, VaultError::Wrong(_)));
    assert!(error.to_string().contains("nothing was changed"));

    bench.write(&text, 0o600);
    bench.open().unwrap();
}

#[test]
fn sec_14_what_was_sealed_under_one_name_does_not_open_under_another() {
    let mut bench = Bench::new();
    let vault = bench.open().unwrap();
    let sealed = vault.seal("root 7 1", &[0xA7; 32], &mut bench.rng);
    assert_eq!(*vault.open_key("root 7 1", &sealed).unwrap(), [0xA7; 32]);
    for other in ["root 7 2", "root 7 1 ", "root 7", "", PROBE] {
        assert_eq!(
            vault.open_key(other, &sealed).err(),
            Some(NotOurs),
            "{other}"
        );
    }
    // A key of 32 bytes is asked for, something else is there.
    let short = vault.seal("short", &[1; 31], &mut bench.rng);
    assert!(vault.open_key("short", &short).is_err());
    assert_eq!(vault.open_secret("short", &short).unwrap().len(), 31);
    let empty = vault.seal("empty", b"", &mut bench.rng);
    assert_eq!(vault.open_secret("empty", &empty).unwrap().len(), 0);
    // The same secret twice looks different.
    assert_ne!(vault.seal("root 7 1", &[0xA7; 32], &mut bench.rng), sealed);
    // Another master key.
    assert!(
        Vault::from_master(&[1; 32])
            .open_key("root 7 1", &sealed)
            .is_err()
    );
}

#[test]
fn sec_14_each_flipped_bit_and_each_cut_is_noticed() {
    let vault = Vault::from_master(&[3; 32]);
    let sealed = vault.seal("a", &[0xA7; 32], &mut ChaCha8Rng::seed_from_u64(4));
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1 << bit;
            assert!(vault.open_secret("a", &flipped).is_err(), "{at} {bit}");
        }
        assert!(vault.open_secret("a", &sealed[..at]).is_err(), "{at}");
    }
    assert!(
        vault
            .open_secret("a", &[&sealed[..], &[0]].concat())
            .is_err()
    );
}

#[test]
fn sec_14_neither_the_sealed_form_nor_debug_shows_anything() {
    let vault = Vault::from_master(&[0xA7; 32]);
    assert_eq!(format!("{vault:?}"), "Vault(..)");
    let sealed = vault.seal("a", &[0xA7; 64], &mut ChaCha8Rng::seed_from_u64(4));
    assert!(!sealed.windows(4).any(|window| window == [0xA7; 4]));
}
