//! Style and layout as a test: import rules, islands of unsafe, file sizes, and that docs name tests that exist.
#![expect(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which packages of ours each package may import (design: imports point down, never sideways).
const MAY_IMPORT: [(&str, &[&str]); 12] = [
    (
        ".",
        &[
            "sealcast-control",
            "sealcast-crypto",
            "sealcast-dataplane",
            "sealcast-domain",
            "sealcast-loadgen",
            "sealcast-net",
            "sealcast-objects",
            "sealcast-proto",
            "sealcast-terminal",
            "sealcast-tuning",
        ],
    ),
    (
        "dataplane",
        &["sealcast-proto", "sealcast-crypto", "sealcast-net"],
    ),
    ("dataplane/proto", &["sealcast-crypto"]),
    ("dataplane/crypto", &[]),
    ("dataplane/net", &[]),
    (
        "control",
        &[
            "sealcast-crypto",
            "sealcast-domain",
            "sealcast-net",
            "sealcast-objects",
            "sealcast-proto",
        ],
    ),
    ("control/domain", &["sealcast-objects"]),
    ("control/objects", &["sealcast-crypto", "sealcast-proto"]),
    (
        "control/terminal",
        &["sealcast-crypto", "sealcast-objects", "sealcast-proto"],
    ),
    (
        "loadgen",
        &[
            "sealcast-crypto",
            "sealcast-dataplane",
            "sealcast-net",
            "sealcast-objects",
            "sealcast-proto",
            "sealcast-terminal",
        ],
    ),
    // Benches may see everything; nothing sees them.
    (
        "bench",
        &[
            "sealcast-control",
            "sealcast-crypto",
            "sealcast-dataplane",
            "sealcast-domain",
            "sealcast-loadgen",
            "sealcast-net",
            "sealcast-objects",
            "sealcast-proto",
            "sealcast-terminal",
        ],
    ),
    ("tuning", &[]),
];

/// Names that may stand only in some places.
const CONFINED: [(&str, &[&str]); 9] = [
    ("glommio::", &["dataplane/net/"]),
    (
        "tokio::",
        &["control/", "src/", "tests/system/", "bench/src/commands/"],
    ),
    (
        "axum::",
        &[
            "control/src/",
            "control/tests/server/cards/",
            "control/tests/server/oidc/",
            "src/ops.rs",
        ],
    ),
    ("rusqlite::", &["control/src/store/"]),
    ("use ::postgres::", &["control/src/store/"]),
    (
        "tonic::",
        &[
            "control/src/node/",
            "control/src/feed/",
            "control/src/dial.rs",
            "control/build.rs",
        ],
    ),
    ("object_store::", &["control/src/content/"]),
    ("use io_uring::", &["dataplane/net/"]),
    ("rkyv::", &["dataplane/proto/src/records/"]),
];

/// Where unsafe code may stand.
const ISLANDS: [&str; 3] = [
    "dataplane/crypto/",
    "dataplane/net/",
    "bench/src/crypto/foreign/",
];

/// Lines of a source file, at most.
const LINES_MAX: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every source file: path from the root, text.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(root(), &mut found);
    let relative = |path: &PathBuf| {
        path.strip_prefix(root())
            .unwrap()
            .to_string_lossy()
            .into_owned()
    };
    found
        .iter()
        .map(|path| (relative(path), fs::read_to_string(path).unwrap()))
        .collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names in a table of a manifest.
fn table(manifest: &str, name: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == format!("[{name}]");
        } else if let (true, Some((key, _))) = (inside, line.split_once('=')) {
            names.insert(key.trim().to_owned());
        }
    }
    names
}

#[test]
fn imports_point_down() {
    for (package, allowed) in MAY_IMPORT {
        let manifest = read(&format!("{package}/Cargo.toml"));
        let ours: BTreeSet<_> = table(&manifest, "dependencies")
            .into_iter()
            .filter(|name| name.starts_with("sealcast-"))
            .collect();
        let allowed = allowed.iter().map(|&name| name.to_owned()).collect();
        assert!(
            ours.is_subset(&allowed),
            "{package} imports {:?}",
            ours.difference(&allowed)
        );
    }
    let manifest = read("Cargo.toml");
    let members = manifest
        .lines()
        .find(|line| line.starts_with("members = "))
        .unwrap();
    let named = members.matches('"').count() / 2;
    assert_eq!(
        named + 1,
        MAY_IMPORT.len(),
        "a new package has no import rule yet"
    );
}

/// What benches compare with may be missing where sealcast is built, tested and run.
#[test]
fn nothing_needs_the_benches() {
    for (package, _) in MAY_IMPORT.iter().filter(|(package, _)| *package != "bench") {
        let manifest = read(&format!("{package}/Cargo.toml"));
        assert!(!manifest.contains("sealcast-bench"), "{package}");
    }
    let defaults = read("Cargo.toml");
    let defaults = defaults
        .lines()
        .find(|line| line.starts_with("default-members = "));
    assert!(!defaults.unwrap().contains("bench"));
    let run = read("tests/run");
    for line in run.lines().filter(|line| line.contains("--workspace")) {
        assert!(line.contains("--exclude sealcast-bench"), "{line}");
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = read("Cargo.toml");
    let start = manifest.find("[workspace.dependencies]").unwrap();
    let lines = manifest[start..]
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with('['));
    for line in lines.filter(|line| {
        line.contains('=') && !line.starts_with('#') && !line.starts_with("sealcast-")
    }) {
        assert!(line.contains(" # "), "no reason beside: {line}");
    }
}

#[test]
fn names_stay_where_they_belong() {
    for (path, text) in sources()
        .into_iter()
        .filter(|(path, _)| path != "tests/tidy.rs")
    {
        for (name, places) in CONFINED {
            let inside = places.iter().any(|place| path.starts_with(place));
            assert!(inside || !text.contains(name), "{path} names {name}");
        }
    }
}

#[test]
fn unsafe_stays_on_its_islands() {
    for (path, text) in sources()
        .into_iter()
        .filter(|(path, _)| path != "tests/tidy.rs")
    {
        let island = ISLANDS.iter().any(|island| path.starts_with(island));
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let found = code.filter(|line| {
            line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("unsafe impl")
        });
        assert!(island || found.count() == 0, "{path} has unsafe code");
    }
    for library in [
        "src/main.rs",
        "dataplane/src/lib.rs",
        "dataplane/proto/src/lib.rs",
        "control/src/lib.rs",
        "control/domain/src/lib.rs",
        "control/objects/src/lib.rs",
        "control/terminal/src/lib.rs",
        "loadgen/src/lib.rs",
        "tuning/src/lib.rs",
    ] {
        assert!(
            read(library).contains("#![forbid(unsafe_code)]"),
            "{library} must forbid unsafe code"
        );
    }
}

#[test]
fn files_are_rooms() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(
            lines <= LINES_MAX,
            "{path} has {lines} lines, at most {LINES_MAX}: is it two rooms?"
        );
    }
}

#[test]
fn nothing_is_left_unfinished() {
    for (path, text) in sources()
        .into_iter()
        .filter(|(path, _)| path != "tests/tidy.rs")
    {
        for mark in ["todo!(", "unimplemented!(", "FIXME", "#[ignore"] {
            assert!(!text.contains(mark), "{path} holds {mark}");
        }
    }
}

#[test]
fn the_requirements_table_names_tests_that_exist() {
    let all: String = sources().into_iter().map(|(_, text)| text).collect();
    let table = read("docs/requirements.md");
    let mut rows = 0;
    let of = ["| MD-", "| MV-", "| SEC-", "| INT-"];
    let is_row = |line: &&str| of.iter().any(|start| line.starts_with(start));
    for line in table.lines().filter(is_row) {
        rows += 1;
        let tests: Vec<_> = line.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test: {line}");
        for test in tests {
            let name = test.rsplit("::").next().unwrap();
            assert!(
                all.contains(&format!("fn {name}(")),
                "{name} does not exist: {line}"
            );
        }
    }
    assert!(rows >= 35, "only {rows} rows");
}

#[test]
fn sql_stays_in_the_domain_and_its_drivers() {
    let places = [
        "control/domain/",
        "control/src/store/",
        "control/tests/domain/",
    ];
    for (path, text) in sources() {
        let inside = places.iter().any(|place| path.starts_with(place));
        let found = ["SELECT ", "INSERT INTO", "DELETE FROM"]
            .iter()
            .any(|word| text.contains(word));
        assert!(
            inside || path == "tests/tidy.rs" || !found,
            "{path} has SQL"
        );
    }
}

fn sealcast(args: &[&str]) -> (bool, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_sealcast"))
        .args(args)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn example_configurations_are_good_and_are_what_is_printed() {
    for program in ["serve", "slave", "send", "receive"] {
        let example = format!("docs/examples/{program}.toml");
        let file = root().join(&example).display().to_string();
        let (good, said) = sealcast(&["config", "check", program, &file]);
        assert!(good, "{example}: {said}");
        assert_eq!(
            sealcast(&["config", "print", program]),
            (true, read(&example))
        );
    }
    // What would be in force is a configuration, too, that says everything and changes nothing.
    let says = [
        ("serve", "master_key = "),
        ("slave", "without_lease = \"announced\""),
        ("send", "mode = \"authority\""),
        ("receive", "source_timeout = \"500ms\""),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (program, setting) in says {
        let file = root().join(format!("docs/examples/{program}.toml"));
        let print = |file: &Path| sealcast(&["config", "print", program, file.to_str().unwrap()]);
        let (good, in_force) = print(&file);
        assert!(good && in_force.contains(setting), "{in_force}");
        let again = folder.path().join(format!("{program}.toml"));
        fs::write(&again, &in_force).unwrap();
        assert_eq!(print(&again), (true, in_force));
    }
}
