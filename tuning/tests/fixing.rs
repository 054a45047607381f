//! From facts to changes and back, on a host that is a folder.
#![expect(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use sealcast_tuning::apply::to_text;
use sealcast_tuning::{Facts, Host, JournalError, Outcome, Plan, Profile, Report, Severity, Step};
use sealcast_tuning::{finding::Fix, undo};

const MEMBERSHIPS: &str = "proc/sys/net/ipv4/igmp_max_memberships";
const FILTER: &str = "proc/sys/net/ipv4/conf/eth0.7/rp_filter";
const QUEUE: &str = "sys/class/net/eth0.7/tx_queue_len";
const BOOT: &str = "proc/sys/kernel/random/boot_id";
const NETWORK: &str = "proc/self/ns/net";
const PROFILE: &str = "groups = 50\nrp_filter = \"loose\"\ntx_queue_len = 1000\nfeatures = [\"rx-gro\", \"tx-udp-segmentation\"]";

/// A host with four things to put right.
struct Fake {
    folder: tempfile::TempDir,
}

impl Fake {
    fn new() -> Self {
        let fake = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fake.put(MEMBERSHIPS, "20\n");
        fake.put("proc/sys/net/ipv4/conf/all/rp_filter", "0\n");
        fake.put(FILTER, "1\n");
        fake.put(QUEUE, "100\n");
        fake.put(BOOT, "first-boot\n");
        fake.put(
            "usr/sbin/features",
            "rx-gro: off\ntx-udp-segmentation: off [fixed]\n",
        );
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/ethtool");
        symlink(program, fake.path("usr/sbin/ethtool")).unwrap();
        fs::create_dir_all(fake.path("proc/self/ns")).unwrap();
        symlink("net:[1]", fake.path(NETWORK)).unwrap();
        fake
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn put(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    fn get(&self, path: &str) -> String {
        fs::read_to_string(self.path(path))
            .unwrap()
            .trim()
            .to_owned()
    }

    fn host(&self) -> Host {
        Host::at(self.folder.path())
    }

    fn journal(&self) -> PathBuf {
        self.path("var/lib/sealcast/undo.json")
    }

    fn report(&self, profile: &str) -> Report {
        let facts = Facts::read(&self.host(), &["eth0.7".to_owned()]).unwrap();
        Report::of(&facts, "test", &Profile::parse(profile).unwrap())
    }

    fn plan(&self) -> Plan {
        Plan::of(&self.report(PROFILE))
    }

    fn fix(&self) -> Vec<Step> {
        self.plan().apply(&self.host(), &self.journal()).unwrap()
    }

    fn undo(&self) -> Vec<Step> {
        undo(&self.host(), &self.journal()).unwrap()
    }

    /// Everything that --fix changes.
    fn values(&self) -> [String; 4] {
        let features = self.get("usr/sbin/features");
        let first = features.lines().next().unwrap().to_owned();
        [
            self.get(MEMBERSHIPS),
            self.get(FILTER),
            self.get(QUEUE),
            first,
        ]
    }
}

fn outcomes(steps: &[Step]) -> Vec<Outcome> {
    steps.iter().map(|step| step.outcome).collect()
}

const BAD: [&str; 4] = ["20", "1", "100", "rx-gro: off"];
const GOOD: [&str; 4] = ["50", "2", "1000", "rx-gro: on"];

#[test]
fn a_dry_run_tells_all_and_touches_nothing() {
    let fake = Fake::new();
    let steps = fake.plan().dry_run(&fake.host());
    assert_eq!(outcomes(&steps), [Outcome::Would; 4]);
    let text = to_text(&steps);
    for line in [
        "would do  sysctl -w net.ipv4.conf.eth0/7.rp_filter=2   (was 1)",
        "would do  sysctl -w net.ipv4.igmp_max_memberships=50   (was 20)",
        "would do  ethtool -K eth0.7 rx-gro on   (was off)",
        "would do  echo 1000 > /sys/class/net/eth0.7/tx_queue_len   (was 100)",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}: {text}");
    }
    assert_eq!(fake.values(), BAD);
    assert!(!fake.journal().exists());
}

#[test]
fn what_was_fixed_is_undone() {
    let fake = Fake::new();
    assert_eq!(outcomes(&fake.fix()), [Outcome::Done; 4]);
    assert_eq!(fake.values(), GOOD);
    let left = fake.report(PROFILE);
    let matter = |severity| severity >= Severity::Warning;
    let still = left.findings.iter().filter(|found| matter(found.severity));
    for finding in still {
        let settings = finding
            .fixes
            .iter()
            .filter(|fix| matches!(fix, Fix::Set(_)));
        assert_eq!(settings.count(), 0, "{finding:?}");
    }
    assert_eq!(outcomes(&fake.undo()), [Outcome::Done; 4]);
    assert_eq!(fake.values(), BAD);
    assert!(!fake.journal().exists());
    let again = undo(&fake.host(), &fake.journal()).unwrap_err();
    assert!(matches!(again, JournalError::Absent(_)), "{again}");
}

#[test]
fn fixing_twice_keeps_the_first_former_values() {
    let fake = Fake::new();
    fake.fix();
    assert_eq!(fake.fix(), []);
    let report = fake.report("groups = 70");
    let more = Plan::of(&report)
        .apply(&fake.host(), &fake.journal())
        .unwrap();
    assert_eq!(outcomes(&more), [Outcome::Done]);
    assert_eq!(fake.get(MEMBERSHIPS), "70");
    fake.undo();
    assert_eq!(fake.values(), BAD);
}

#[test]
fn a_step_that_fails_stops_no_other_and_is_not_in_the_journal() {
    let fake = Fake::new();
    let plan = fake.plan();
    // Between plan and change the driver loses the feature, and the queue's file becomes something that cannot be written.
    fake.put("usr/sbin/features", "rx-gro: off [fixed]\n");
    fs::remove_file(fake.path(QUEUE)).unwrap();
    fs::create_dir(fake.path(QUEUE)).unwrap();
    let steps = plan.apply(&fake.host(), &fake.journal()).unwrap();
    let failed: Vec<_> = steps
        .iter()
        .filter(|step| step.outcome == Outcome::Failed)
        .map(|step| step.reason.clone().unwrap())
        .collect();
    assert_eq!(failed.len(), 2, "{steps:?}");
    assert!(failed[0].contains("Cannot change rx-gro"), "{failed:?}");
    let journal = fs::read_to_string(fake.journal()).unwrap();
    assert!(journal.contains("rp_filter") && journal.contains("igmp_max_memberships"));
    assert!(
        !journal.contains("rx-gro") && !journal.contains("tx_queue_len"),
        "{journal}"
    );
    assert_eq!(outcomes(&fake.undo()), [Outcome::Done; 2]);
    assert_eq!(
        (fake.get(MEMBERSHIPS), fake.get(FILTER)),
        ("20".into(), "1".into())
    );
}

#[test]
fn what_somebody_changed_since_or_took_away_is_left() {
    let fake = Fake::new();
    fake.fix();
    fake.put(MEMBERSHIPS, "400\n");
    fs::remove_file(fake.path(QUEUE)).unwrap();
    let steps = fake.undo();
    let of = |name: &str| {
        let step = steps
            .iter()
            .find(|step| step.setting.to_string().contains(name));
        step.unwrap().outcome
    };
    assert_eq!(of("igmp_max_memberships"), Outcome::Left);
    assert_eq!(of("tx_queue_len"), Outcome::Gone);
    assert_eq!(of("rp_filter"), Outcome::Done);
    assert_eq!(fake.get(MEMBERSHIPS), "400");
    assert!(!fake.journal().exists());
}

#[test]
fn an_undo_that_fails_keeps_its_entry() {
    let fake = Fake::new();
    fake.fix();
    fake.put("usr/sbin/features", "rx-gro: on [fixed]\n");
    let steps = fake.undo();
    let failed = steps.iter().filter(|step| step.outcome == Outcome::Failed);
    assert_eq!(failed.count(), 1, "{steps:?}");
    fake.put("usr/sbin/features", "rx-gro: on\n");
    let again = fake.undo();
    assert_eq!(outcomes(&again), [Outcome::Done]);
    assert_eq!(fake.values(), BAD);
    assert!(!fake.journal().exists());
}

/// A crash between note and change: the journal names a change that was not made.
#[test]
fn an_entry_without_its_change_does_no_harm() {
    let fake = Fake::new();
    fake.fix();
    fake.put(MEMBERSHIPS, "20\n");
    let steps = fake.undo();
    assert!(outcomes(&steps).contains(&Outcome::Already), "{steps:?}");
    assert_eq!(fake.values(), BAD);
}

#[test]
fn after_a_boot_nothing_is_in_force() {
    let fake = Fake::new();
    fake.fix();
    fake.put(BOOT, "second-boot\n");
    fake.put(MEMBERSHIPS, "30\n");
    // The boot gave other values; undoing must not bring those of the last boot.
    let old = fs::read(fake.journal()).unwrap();
    assert_eq!(fake.undo(), []);
    assert_eq!(fake.get(MEMBERSHIPS), "30");
    assert!(!fake.journal().exists());
    fs::write(fake.journal(), old).unwrap();
    fs::set_permissions(fake.journal(), fs::Permissions::from_mode(0o600)).unwrap();
    fake.fix();
    fake.undo();
    assert_eq!(
        fake.get(MEMBERSHIPS),
        "30",
        "the former value is that of this boot"
    );
}

#[test]
fn the_journal_of_another_namespace_is_not_used() {
    let fake = Fake::new();
    fake.fix();
    fs::remove_file(fake.path(NETWORK)).unwrap();
    symlink("net:[2]", fake.path(NETWORK)).unwrap();
    for refused in [
        undo(&fake.host(), &fake.journal()).unwrap_err(),
        fake.plan()
            .apply(&fake.host(), &fake.journal())
            .unwrap_err(),
    ] {
        assert!(
            matches!(refused, JournalError::OtherNamespace(_)),
            "{refused}"
        );
    }
    assert_eq!(fake.values(), GOOD);
}

#[test]
fn a_journal_that_others_could_write_is_not_followed() {
    let fake = Fake::new();
    fake.fix();
    let writable = fs::Permissions::from_mode(0o620);
    fs::set_permissions(fake.journal(), writable).unwrap();
    let refused = undo(&fake.host(), &fake.journal()).unwrap_err();
    assert!(matches!(refused, JournalError::NotOurs(_)), "{refused}");
    assert_eq!(fake.values(), GOOD);
}

#[test]
fn a_journal_never_writes_through_a_link() {
    let fake = Fake::new();
    let precious = fake.path("precious");
    fs::write(&precious, "kept").unwrap();
    fs::create_dir_all(fake.journal().parent().unwrap()).unwrap();
    symlink(&precious, fake.journal().with_file_name("undo.json.new")).unwrap();
    fake.fix();
    assert_eq!(fs::read_to_string(&precious).unwrap(), "kept");
    fake.undo();
    assert_eq!(fake.values(), BAD);
}

#[test]
fn without_a_journal_nothing_is_changed() {
    let fake = Fake::new();
    let wrong = fake.path("var/lib/sealcast/undo.json");
    fs::create_dir_all(wrong.parent().unwrap()).unwrap();
    let change = || fake.plan().apply(&fake.host(), &wrong);
    fs::write(&wrong, "{}nonsense").unwrap();
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o600)).unwrap();
    let said = change().unwrap_err().to_string();
    assert!(said.contains("is no undo journal"), "{said}");
    fs::remove_file(&wrong).unwrap();
    fs::create_dir(wrong.with_file_name("undo.json.new")).unwrap();
    let said = change().unwrap_err().to_string();
    assert!(said.contains("undo.json"), "{said}");
    assert_eq!(fake.values(), BAD);
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    let fake = Fake::new();
    let error = Facts::read(&fake.host(), &["eth9".to_owned()]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no network interface eth9; there are: eth0.7"
    );
}

/// Whatever the host, facts are read and judged, under every profile.
#[test]
fn this_host_is_judged() {
    for (name, _) in sealcast_tuning::profile::BUILT_IN {
        let facts = Facts::read(&Host::this(), &[]).unwrap();
        let report = Report::of(&facts, name, &Profile::built_in(name).unwrap());
        assert!(report.findings.len() > 10, "{}", report.to_text());
    }
    // Neither does a host that tells nothing stop it.
    let empty = tempfile::tempdir().unwrap();
    let facts = Facts::read(&Host::at(empty.path()), &["eth0".to_owned()]).unwrap();
    let report = Report::of(&facts, "sender", &Profile::built_in("sender").unwrap());
    assert_eq!(report.worst, Severity::Note);
    assert!(
        report
            .findings
            .iter()
            .all(|finding| finding.unknown || finding.rule == "cores")
    );
}
