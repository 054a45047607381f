//! The file that holds the key.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn identity(role: Role) -> Identity {
    Identity {
        role,
        subject: "dev_1".to_owned(),
        server: "https://keys.example:8443".to_owned(),
        key: "PRIVATE".to_owned(),
        certificate: "certificate".to_owned(),
        ca: "ca".to_owned(),
        until: Timestamp(1_790_000_000_000),
        authority: vec![0, 1, 0xFF],
        session: None,
    }
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn sec_02_an_identity_is_kept_in_a_file_for_its_user_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("device.json");
    let mut kept = identity(Role::Device);
    kept.save(&file).unwrap();
    assert_eq!(mode(&file), 0o600);
    kept.session = Some(SessionReply {
        grant: vec![0xA7; 40],
        channels: vec![1, 2],
        refused: Vec::new(),
        doors: vec!["[::1]:5000".parse().unwrap()],
        authority: vec![1; 32],
        successor: Some(vec![2; 32]),
        paths: Vec::new(),
        renew_after_ms: 1,
        ends_after_ms: 2,
        notices: Vec::new(),
        now: Timestamp(3),
    });
    kept.save(&file).unwrap();
    assert_eq!(mode(&file), 0o600);
    assert_eq!(
        names(folder.path()),
        ["device.json"],
        "nothing is left beside it"
    );
    let read = Identity::load(&file, Role::Device).unwrap();
    assert_eq!(
        serde_json::to_value(&read).unwrap(),
        serde_json::to_value(&kept).unwrap()
    );
    assert_eq!(read.session.as_ref().unwrap().successor, Some(vec![2; 32]));
    // Replacing one that was exposed makes it private again.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    kept.save(&file).unwrap();
    assert_eq!(mode(&file), 0o600);
}

#[test]
fn sec_02_an_identity_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("device.json");
    identity(Role::Device).save(&file).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o601, 0o666] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let error = Identity::load(&file, Role::Device).unwrap_err();
        assert!(matches!(error, FileError::Exposed { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(&format!("{mode:03o}")) && text.contains("chmod 600"));
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
    Identity::load(&file, Role::Device).unwrap();
}

#[test]
fn an_identity_of_another_role_none_and_a_missing_one_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.json");
    identity(Role::Node).save(&file).unwrap();
    let error = Identity::load(&file, Role::Device).unwrap_err();
    assert!(matches!(error, FileError::OtherRole { .. }));
    assert!(
        error.to_string().contains("of a node, but a device"),
        "{error}"
    );

    let missing = folder.path().join("none.json");
    let error = Identity::load(&missing, Role::Admin)
        .unwrap_err()
        .to_string();
    assert!(error.contains("none.json") && error.contains("sealcast operator enrol"));

    let text = fs::read_to_string(&file).unwrap();
    for wrong in [
        String::new(),
        "{}".to_owned(),
        text[..text.len() / 2].to_owned(),
        text.replacen("\"key\"", "\"kez\"", 1),
        text.replacen('{', "{\"more\": 1,", 1),
    ] {
        fs::write(&file, &wrong).unwrap();
        let error = Identity::load(&file, Role::Node).unwrap_err();
        assert!(
            matches!(error, FileError::NotOne { .. }),
            "{wrong}: {error:?}"
        );
        assert!(!format!("{error} {error:?}").contains("PRIVATE"));
    }
}

#[test]
fn a_crash_between_writing_and_renaming_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("device.json");
    identity(Role::Device).save(&file).unwrap();
    // What a crash leaves: a file beside it, half written, of a process that had the same number.
    let beside = folder
        .path()
        .join(format!("device.json.{}", std::process::id()));
    fs::write(&beside, "{ half").unwrap();
    let read = Identity::load(&file, Role::Device).unwrap();
    assert_eq!(read.subject, "dev_1");
    let mut new = identity(Role::Device);
    new.subject = "dev_2".to_owned();
    new.save(&file).unwrap();
    let read = Identity::load(&file, Role::Device).unwrap();
    assert_eq!(read.subject, "dev_2");
    assert_eq!(mode(&file), 0o600, "whatever the left one's mode was");
    assert_eq!(names(folder.path()), ["device.json"]);
}

#[test]
fn a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_beside() {
    let folder = tempfile::tempdir().unwrap();
    // Renaming fails: a folder with something in it is in the way.
    let file = folder.path().join("device.json");
    fs::create_dir(&file).unwrap();
    fs::write(file.join("old"), "").unwrap();
    let error = identity(Role::Device).save(&file).unwrap_err();
    assert!(error.to_string().contains("device.json"), "{error}");
    assert_eq!(
        names(folder.path()),
        ["device.json"],
        "no key is left beside it"
    );
    let nowhere = folder.path().join("no folder").join("device.json");
    assert!(identity(Role::Device).save(&nowhere).is_err());
}

#[test]
fn debug_shows_neither_key_nor_session() {
    let shown = format!("{:?}", identity(Role::Device));
    assert!(
        shown.contains("dev_1") && !shown.contains("PRIVATE"),
        "{shown}"
    );
}
