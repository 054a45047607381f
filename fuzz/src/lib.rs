//! The checks of the smoke tests (`fuzz_smoke.rs` of each package), for the targets in `fuzz_targets/`.

#[path = "../../dataplane/tests/fuzz/checks.rs"]
pub mod dataplane;
#[path = "../../dataplane/proto/tests/fuzz/checks.rs"]
pub mod proto;
