//! Thousands of random commands against a model that fits on a page: who may receive what, and which cookies count.

use std::collections::BTreeMap;

use rand_core::Rng as _;
use sealcast_objects::api::Standing;

use super::*;

const CHANNELS: u16 = 6;

#[derive(Clone, Debug)]
struct ModelRight {
    from: i64,
    until: Option<i64>,
    standing: Standing,
    ended: bool,
}

#[derive(Clone, Debug)]
struct ModelDevice {
    account: AccountId,
    standing: Standing,
    key: Option<Vec<u8>>,
    rights: BTreeMap<u16, ModelRight>,
}

#[derive(Default)]
struct Model {
    devices: BTreeMap<DeviceId, ModelDevice>,
    versions: BTreeMap<AccountId, u64>,
    floors: BTreeMap<AccountId, u64>,
}

impl Model {
    fn changed(&mut self, account: AccountId, takes: bool) -> u64 {
        let version = self.versions.entry(account).or_insert(1);
        *version += 1;
        if takes {
            self.floors.insert(account, *version);
        }
        *version
    }

    fn may_have(&self, device: DeviceId, now: i64) -> Vec<u16> {
        let counts = |right: &ModelRight| {
            right.standing == Standing::Active
                && right.from <= now
                && right.until.is_none_or(|until| now < until)
        };
        let rights = &self.devices[&device].rights;
        rights
            .iter()
            .filter(|(_, right)| counts(right))
            .map(|(channel, _)| *channel)
            .collect()
    }
}

fn step_allowed(from: Standing, to: Standing) -> bool {
    match from {
        Standing::Revoked => to == Standing::Revoked,
        Standing::New => matches!(to, Standing::Suspended | Standing::Revoked),
        _ => to != Standing::New,
    }
}

/// The real thing and its model, side by side.
struct Run {
    tx: Bench,
    model: Model,
    now: i64,
    codes: u64,
}

impl Run {
    fn below(&mut self, limit: u64) -> u64 {
        self.tx.rng.next_u64() % limit
    }

    fn some_device(&mut self) -> Option<DeviceId> {
        let count = self.model.devices.len() as u64;
        let index = usize::try_from(self.below(count.max(1))).unwrap();
        self.model.devices.keys().nth(index).copied()
    }

    fn some_standing(&mut self) -> Standing {
        match self.below(8) {
            0 => Standing::New,
            1 => Standing::Revoked,
            2..=4 => Standing::Suspended,
            _ => Standing::Active,
        }
    }

    fn at(&self) -> Timestamp {
        after(self.now)
    }

    fn add_device(&mut self) {
        let shared = self.below(2) == 0;
        let account = self.some_device().filter(|_| shared);
        let account = account.map(|device| self.model.devices[&device].account);
        let device = self.tx.device(account);
        let account = self.tx.account_of(device);
        self.model.versions.entry(account).or_insert(1);
        let new = ModelDevice {
            account,
            standing: Standing::New,
            key: None,
            rights: BTreeMap::new(),
        };
        self.model.devices.insert(device, new);
    }

    fn enrol(&mut self, device: DeviceId) {
        self.codes += 1;
        let key = self.codes.to_be_bytes();
        let hash = sealcast_objects::code::sha256(&key);
        let (subject, now) = (Text(device).to_string(), self.at());
        let role = sealcast_objects::api::Role::Device;
        enrolment::add(
            &mut self.tx,
            hash,
            role,
            &subject,
            now.after(enrolment::CODE_LIFE),
        )
        .unwrap();
        let done = self.tx.command(|tx| {
            let admitted = enrolment::admit(tx, now, hash, &key)?;
            enrolment::enrolled(tx, now, hash, &admitted, &key, "certificate")
        });
        let known = self.model.devices.get_mut(&device).unwrap();
        if matches!(known.standing, Standing::New | Standing::Active) {
            (known.standing, known.key) = (Standing::Active, Some(key.to_vec()));
            let account = known.account;
            let version = self.model.changed(account, true);
            assert_eq!(done.unwrap(), Some(accounts::Floor { account, version }));
        } else {
            refused(Kind::Suspended, done);
        }
    }

    fn put_right(&mut self, device: DeviceId) {
        let channel = u16::try_from(self.below(u64::from(CHANNELS) + 1)).unwrap();
        let offset = |run: &mut Self| run.now - 500 + i64::try_from(run.below(3000)).unwrap();
        let from = (self.below(2) == 0).then(|| offset(self));
        let until = (self.below(3) != 0).then(|| offset(self));
        let new = new_right(device, channel, from.map(after), until.map(after));
        let now = self.at();
        let result = self.tx.command(|tx| rights::put(tx, now, &new));
        let from = from.unwrap_or(self.now);
        let known = self.model.devices.get_mut(&device).unwrap();
        if channel == CHANNELS {
            refused(Kind::NotFound, result);
        } else if until.is_some_and(|until| until <= from) {
            refused(Kind::Invalid, result);
        } else if known.standing == Standing::Revoked {
            refused(Kind::Conflict, result);
        } else {
            let right = ModelRight {
                from,
                until,
                standing: Standing::Active,
                ended: false,
            };
            let had = known.rights.insert(channel, right).is_some();
            let account = known.account;
            let version = self.model.changed(account, had);
            assert_eq!(result.unwrap().version, version);
        }
    }

    fn set_right(&mut self, device: DeviceId) {
        let channel = u16::try_from(self.below(u64::from(CHANNELS))).unwrap();
        let (to, now) = (self.some_standing(), self.at());
        let result = self
            .tx
            .command(|tx| rights::set_standing(tx, now, device, channel, to));
        let known = self.model.devices.get_mut(&device).unwrap();
        let account = known.account;
        match known.rights.get_mut(&channel) {
            Some(right) if step_allowed(right.standing, to) => {
                right.standing = to;
                let version = self.model.changed(account, true);
                assert_eq!(result.unwrap().version, version);
            }
            known => assert!(result.is_err(), "{known:?} to {to:?}"),
        }
    }

    fn set_device(&mut self, device: DeviceId) {
        let (to, now) = (self.some_standing(), self.at());
        let result = self
            .tx
            .command(|tx| devices::set_standing(tx, now, device, to));
        let known = self.model.devices.get_mut(&device).unwrap();
        if step_allowed(known.standing, to) {
            known.standing = to;
            let account = known.account;
            let version = self.model.changed(account, true);
            assert_eq!(result.unwrap(), accounts::Floor { account, version });
        } else {
            assert!(result.is_err());
        }
    }

    fn end_periods(&mut self) {
        let mut accounts = std::collections::BTreeSet::new();
        for device in self.model.devices.values_mut() {
            for right in device.rights.values_mut() {
                if !right.ended && right.until.is_some_and(|until| until <= self.now) {
                    right.ended = true;
                    accounts.insert(device.account);
                }
            }
        }
        let mut expected = Vec::new();
        for account in accounts {
            let version = self.model.changed(account, true);
            expected.push(accounts::Floor { account, version });
        }
        let now = self.at();
        let mut floors = self.tx.command(|tx| rights::end_periods(tx, now)).unwrap();
        floors.sort_by_key(|floor| floor.account);
        assert_eq!(floors, expected);
    }

    /// No difference, for anybody.
    fn check(&mut self) {
        let now = self.at();
        let (tx, model) = (&mut self.tx, &self.model);
        for (id, device) in &model.devices {
            let entitled = rights::entitled(tx, now, *id, &[]).unwrap();
            assert_eq!(entitled.channels, model.may_have(*id, self.now), "{id:?}");
            assert_eq!(entitled.version, model.versions[&device.account]);
            let key = device.key.as_deref().unwrap_or(b"none");
            let acts = devices::authenticate(tx, *id, key).is_ok();
            let may = device.key.is_some() && device.standing == Standing::Active;
            assert_eq!(acts, may, "{device:?}");
        }
        let floors: BTreeMap<_, _> = accounts::floors(tx, Timestamp(0))
            .unwrap()
            .iter()
            .map(|floor| (floor.account, floor.version))
            .collect();
        assert_eq!(floors, model.floors);
        let ends = model.devices.values().flat_map(|device| {
            let open = device.rights.values().filter(|right| !right.ended);
            open.filter_map(|right| right.until)
        });
        let next = rights::next_end(tx).unwrap();
        assert_eq!(next, ends.min().map(after));
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "a failure can be repeated")]
fn int_01_sec_11_thousands_of_random_commands_agree_with_the_model() {
    for seed in 0..4 {
        // Shown when the test fails.
        println!("seed {seed}");
        let mut run = Run {
            tx: Bench::new(seed),
            model: Model::default(),
            now: 0,
            codes: 0,
        };
        for id in 0..CHANNELS {
            run.tx.channel(id);
        }
        for step in 0..size(2500) {
            run.now += i64::try_from(run.below(40)).unwrap();
            let device = run.some_device();
            match (run.below(12), device) {
                (0, _) | (_, None) if run.model.devices.len() < 24 => run.add_device(),
                (1 | 2, Some(device)) => run.enrol(device),
                (3..=6, Some(device)) => run.put_right(device),
                (7 | 8, Some(device)) => run.set_right(device),
                (9, Some(device)) => run.set_device(device),
                _ => run.end_periods(),
            }
            if step % 5 == 0 {
                run.check();
            }
        }
        run.check();
    }
}
