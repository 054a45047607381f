//! Files in a folder: written once, seen when they are complete, gone when they are removed; and settings of buckets.

use std::path::Path;
use std::time::Duration;

use axum::body::Bytes;
use sealcast_crypto::sha256;
use sealcast_objects::ContentId;
use sealcast_objects::content::{ContentKey, Header};
use tempfile::TempDir;
use tokio_stream::{StreamExt as _, iter};

use super::*;

fn storage() -> (TempDir, Storage) {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(&ContentsConfig::default(), folder.path()).unwrap();
    (folder, storage)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("contents")).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

async fn all(storage: &Storage, name: FileName, range: std::ops::Range<u64>) -> Vec<u8> {
    let pieces = storage.read(name, range).await.unwrap();
    let pieces: Vec<_> = pieces.map(Result::unwrap).collect().await;
    pieces.concat()
}

type Piece = Result<Bytes, std::io::Error>;

async fn seal(
    storage: &Storage,
    name: FileName,
    length: u64,
    pieces: Vec<Piece>,
) -> Result<Stored, UploadError> {
    let rng = &mut crate::rng();
    let header = Header::new(ContentId([1; 16]), 1, length).unwrap();
    let key = ContentKey::new(rng);
    let silence = Duration::from_secs(10);
    seal_into(storage, name, (&key, header), iter(pieces), silence).await
}

#[tokio::test]
async fn a_file_is_seen_when_it_is_complete_and_any_part_of_it_is_read() {
    let (folder, storage) = storage();
    let bytes: Vec<u8> = (0..=250).cycle().take(3_000_000).collect();
    let mut writer = storage.write([1; 16], 3_000_000).await.unwrap();
    for piece in bytes.chunks(70_000) {
        writer.write(piece).await.unwrap();
    }
    let name = "01".repeat(16);
    assert_eq!(names(folder.path()), [format!("{name}#1")], "not yet");
    let written = writer.finish().await.unwrap();
    assert_eq!(written.length, 3_000_000);
    assert_eq!(written.sha256, sha256(&[&bytes]));
    assert_eq!(names(folder.path()), [name]);
    for range in [
        0..3_000_000,
        0..1,
        2_999_999..3_000_000,
        1_048_570..1_048_580,
    ] {
        let [from, to] = [range.start, range.end].map(|at| usize::try_from(at).unwrap());
        assert!(
            all(&storage, [1; 16], range.clone()).await == bytes[from..to],
            "{range:?}"
        );
    }
    storage.remove([1; 16]).await.unwrap();
    storage.remove([1; 16]).await.unwrap();
    assert_eq!(names(folder.path()), [""; 0]);
    let gone = storage.read([1; 16], 0..1).await.err().unwrap();
    assert!(matches!(gone, ContentsError::Missing), "{gone}");
}

/// What a crash leaves of a file is removed by its name.
#[tokio::test]
async fn what_was_begun_is_removed_too() {
    let (folder, storage) = storage();
    let mut writer = storage.write([2; 16], 9).await.unwrap();
    writer.write(&[7; 9]).await.unwrap();
    std::mem::forget(writer);
    assert_eq!(names(folder.path()).len(), 1);
    storage.remove([2; 16]).await.unwrap();
    assert_eq!(names(folder.path()), [""; 0]);
}

#[tokio::test]
async fn an_upload_that_is_not_what_was_said_leaves_nothing() {
    let (folder, storage) = storage();
    let good = || Ok(Bytes::from_static(&[1; 100]));
    let broken = || Err(std::io::Error::other("the line is cut"));
    let cases: [(u64, Vec<Piece>, &str); 4] = [
        (199, vec![good(), good()], "more than the 199 bytes"),
        (201, vec![good(), good()], "ended after 200 bytes of 201"),
        (1, vec![], "ended after 0 bytes of 1"),
        (200, vec![good(), broken(), good()], "the line is cut"),
    ];
    for (length, pieces, why) in cases {
        let error = seal(&storage, [3; 16], length, pieces).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(names(folder.path()), [""; 0], "{why}");
    }
    let stored = seal(&storage, [3; 16], 200, vec![good(), good()])
        .await
        .unwrap();
    assert_eq!((stored.length, stored.sealed_length), (200, 48 + 200 + 16));
    let empty = seal(&storage, [4; 16], 0, vec![]).await.unwrap();
    assert_eq!((empty.length, empty.sealed_length), (0, 48 + 16));
    assert_eq!(names(folder.path()).len(), 2);
}

#[test]
fn a_bucket_is_named_rightly_and_reached_over_tls() {
    let place = |url: &str, endpoint: Option<&str>, http: bool| {
        let keys = ("a".into(), "b".into());
        S3Place::new(url, endpoint, None, keys, http)
    };
    let good = place("s3://films/sealed/", Some("https://s3.example:9000"), false).unwrap();
    assert_eq!(good.url(), "s3://films/sealed");
    assert_eq!(good.region(), "us-east-1");
    for url in [
        "films",
        "https://films",
        "s3://",
        "s3:///x",
        "s3://a b",
        "s3://a?b",
    ] {
        assert!(place(url, None, false).is_err(), "{url}");
    }
    for (endpoint, http, may) in [
        ("http://127.0.0.1:9000", false, true),
        ("http://[::1]:9000", false, true),
        ("http://localhost:9000", false, true),
        ("http://10.0.0.1:9000", false, false),
        ("http://localhost.example:9000", false, false),
        ("http://10.0.0.1:9000", true, true),
        ("ftp://10.0.0.1", true, false),
        ("nothing", true, false),
    ] {
        let made = place("s3://films", Some(endpoint), http);
        assert_eq!(made.is_ok(), may, "{endpoint}");
    }
    let missing = Storage::open(
        &ContentsConfig {
            place: ContentPlace::S3(good),
            ..ContentsConfig::default()
        },
        "".as_ref(),
    );
    assert!(missing.unwrap_err().to_string().contains("cannot read a"));
}
