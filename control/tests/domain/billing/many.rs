//! Many accounts, months and things that happen: what must hold whatever they are.

use rand_core::Rng as _;
use sealcast_domain::billing::compute::{self, Basis};
use sealcast_objects::api::{UsageFilter, UsageRow};

use super::*;

const MONTHS: [&str; 3] = ["2026-09", "2026-10", "2026-11"];

struct World {
    bench: Bench,
    rng: ChaCha8Rng,
    people: Vec<(DeviceId, AccountId)>,
    /// Names of what is done once.
    number: u8,
    file: u64,
    epoch: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut bench = Bench::new(seed);
        bench.channel(1);
        let rates = [
            Rate::Data {
                channel: None,
                price: 13,
                per: 7777,
                free: 5000,
            },
            Rate::Requests {
                channel: Some(1),
                counting: Counting::Literal,
                price: 3,
                per: 7,
                free: 1,
            },
            Rate::Period {
                channel: None,
                price: 999,
            },
            Rate::Premium { price: 250 },
        ];
        let tariff = nineteen_percent(&rates);
        let people: Vec<_> = (0..5_u8)
            .map(|person| bench.enrolled_device(&[person]))
            .collect();
        for (index, (_, account)) in people.iter().enumerate() {
            let paying = [Paying::Balance, Paying::Invoice][index % 2];
            has(&mut bench, *account, "standard", &tariff, paying);
        }
        Self {
            bench,
            rng: ChaCha8Rng::seed_from_u64(seed),
            people,
            number: 0,
            file: 0,
            epoch: 0,
        }
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.rng.next_u32() % bound
    }

    /// Something that happens then.
    fn happens(&mut self, now: Timestamp) {
        let who = self.below(5) as usize;
        let (device, account) = self.people[who];
        let amount = u64::from(1 + self.below(900));
        self.number += 1;
        let number = self.number;
        match self.below(8) {
            0 | 1 => {
                self.file += 1;
                let (first, keys) = (self.epoch + 1, u64::from(1 + self.below(9)));
                let last = first + keys;
                // Some before, some after: what was sent may be known first, or last.
                let of = (device, 1, self.file);
                let epochs = first..=last;
                let order = self.below(2) == 0;
                if order {
                    sent(
                        &mut self.bench,
                        (1, self.file),
                        epochs.clone(),
                        amount * 100,
                    );
                }
                super::keys(&mut self.bench, of, now, epochs.clone());
                if !order {
                    sent(&mut self.bench, (1, self.file), epochs, amount * 100);
                }
                self.epoch += u64::from(self.below(5));
            }
            2 => {
                let new = NewCharge {
                    kind: ChargeKind::Correction,
                    amount: Some(i64::try_from(amount).unwrap() - 600),
                    note: "as agreed".to_owned(),
                };
                let id = (account, ChargeId([number; 16]));
                let _ = self.bench.command(|tx| charges::put(tx, now, id, &new));
            }
            3 => {
                let until = now.after(DAY * self.below(60));
                let until = (self.below(2) == 0 && until > now).then_some(until);
                licensed(
                    &mut self.bench,
                    device,
                    (number, now, until),
                    OriginKind::Operator,
                );
            }
            4 => {
                let method = [Method::Balance, Method::Invoice][self.below(2) as usize];
                let bought = buy(&mut self.bench, now, device, (number, amount, method));
                if bought.state == PurchaseState::Settled && self.below(3) == 0 {
                    let refunded = self
                        .bench
                        .command(|tx| settle::refund(tx, now, bought.id.0, "it is not as told"));
                    refunded.unwrap();
                }
            }
            kind => {
                let kinds = [
                    PaymentKind::PayIn,
                    PaymentKind::PayBill,
                    PaymentKind::Lend,
                    PaymentKind::TakeBack,
                    PaymentKind::PayOut,
                ];
                let kind = kinds[(kind as usize + self.below(3) as usize) % 5];
                // More than there is may be asked for.
                let _ = pay(&mut self.bench, now, account, (kind, amount, number));
            }
        }
    }

    fn rows(&mut self, account: AccountId, of: Month) -> Vec<UsageRow> {
        let filter = UsageFilter {
            account: Some(Text(account)),
            from: Some(of.start()),
            until: Some(of.end()),
            ..UsageFilter::default()
        };
        metering::rows(&mut self.bench, &filter, None, 10_000).unwrap()
    }

    /// The bill again, from what everybody can ask the server for.
    fn again(&mut self, known: &Bill) -> Bill {
        let (account, of) = (known.account.0, known.month);
        let usage = self.rows(account, of);
        let bench = &mut self.bench;
        let tariff = tariffs::get(bench, &known.tariff).unwrap();
        let licences = licences::page(
            bench,
            licences::Filter {
                account: Some(account),
                ..licences::Filter::default()
            },
            None,
            1000,
        );
        let charges: Vec<_> = charges::page(bench, account, None, 1000)
            .unwrap()
            .into_iter()
            .filter(|made| Month::of(made.at) == of)
            .collect();
        let books = [
            sealcast_domain::sales::balance(account, &known.currency),
            sealcast_domain::sales::credit(account, &known.currency),
        ];
        let booked = books
            .iter()
            .flat_map(|book| ledger::transfers(bench, Some(book.id), 0, 10_000).unwrap());
        let mut booked: Vec<_> = booked.filter(|made| Month::of(made.at) == of).collect();
        booked.sort_by_key(|made| made.number);
        let paid = ledger::made(bench, bills::Step::Paid.of(known.id.0));
        let paid = paid.map_or(0, |made| {
            if known.from_balance > 0 {
                made.amount
            } else {
                0
            }
        });
        compute::bill(&Basis {
            account,
            month: of,
            number: known.number,
            issued: known.issued,
            tariff: &tariff,
            paying: known.paying,
            usage: &usage,
            licences: &licences.unwrap(),
            charges: &charges,
            booked: &booked,
            balance: paid,
        })
    }
}

/// Whatever happens in three months and after each of them is closed: bills come out the same, byte for byte; the ledger's sums are right; nothing
/// stays between bills and what they are for; what is open of bills is never more than what is owed, and all of it where nothing else is.
#[test]
fn sec_34_bills_come_out_the_same_whatever_happens_later() {
    for seed in 0..u64::try_from(size(40)).unwrap() {
        let mut world = World::new(seed);
        for of in MONTHS.map(month) {
            let start = of.start().max(T0);
            let days = 1 + u32::try_from(of.end().since(start).as_secs() / 86_400).unwrap();
            let things = 5 + world.below(20);
            let mut days: Vec<_> = (0..things).map(|_| world.below(days)).collect();
            days.sort_unstable();
            for day in days {
                let now = start.after(DAY * day).min(Timestamp(of.end().0 - 1));
                world.happens(now);
                if world.below(3) == 0 {
                    reserved::reserve(&mut world.bench, now);
                }
            }
            let now = closing_time(of);
            world
                .bench
                .command(|tx| closing::close(tx, now, of, true))
                .unwrap();
            make_bills(&mut world.bench, now);
            check(&mut world, now, seed);
        }
    }
}

fn check(world: &mut World, now: Timestamp, seed: u64) {
    let summaries = all_bills(&mut world.bench, now);
    for (index, summary) in summaries.iter().enumerate() {
        assert_eq!(summary.number, index as u64 + 1, "seed {seed}: no gap");
        let known = bill(&mut world.bench, summary.account.0, summary.month);
        let again = world.again(&known);
        assert_eq!(again, known, "seed {seed}");
        assert_eq!(
            known.net,
            known.lines.iter().map(|line| line.amount).sum::<i64>()
        );
    }
    for (_, account) in world.people.clone() {
        let owed = money::of_account(&mut world.bench, account).unwrap();
        let owed = owed.money.first().map_or(0, |money| money.owed);
        let open: u64 = summaries
            .iter()
            .filter(|bill| bill.account.0 == account)
            .map(|bill| bill.open)
            .sum();
        assert!(i64::try_from(open).unwrap() <= owed.max(0), "seed {seed}");
    }
    sums_are_right(&mut world.bench);
    if let Ok(billed) = ledger::get(&mut world.bench, money::billed("EUR").id) {
        assert_eq!(billed.debited, billed.credited, "seed {seed}");
    }
}
