//! The environment names the backend. It is read once in a process, so each case runs in a process of its own: this test
//! program again, with one test.

use std::env;
use std::process::Command;

use sealcast_crypto::{Backend, BackendError};

const EXPECTED: &str = "EXPECTED_OF_THE_CHILD";

/// Run by the other test; on its own it has nothing to expect.
#[test]
fn child() {
    let Ok(expected) = env::var(EXPECTED) else {
        return;
    };
    match Backend::from_env() {
        Ok(backend) => {
            assert_eq!(backend.name(), expected);
            assert_eq!(Backend::detect(), backend);
        }
        Err(error) => {
            assert_eq!(expected, "error");
            assert_eq!(error, BackendError::Unknown("fast".to_owned()));
        }
    }
}

#[test]
fn the_environment_names_the_backend() {
    let fastest = Backend::available()[0].name();
    let names = Backend::available().iter().map(|backend| backend.name());
    let named = names.map(|name| (name, name));
    for (name, expected) in named.chain([("", fastest), ("fast", "error")]) {
        let status = Command::new(env::current_exe().expect("a path"))
            .args(["--exact", "child"])
            .env(Backend::ENV, name)
            .env(EXPECTED, expected)
            .status();
        assert!(status.expect("it runs").success(), "{name}");
    }
}
