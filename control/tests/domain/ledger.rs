//! The ledger against a model in memory, and what its checker finds.

use std::collections::BTreeMap;
use std::time::Duration;

use rand_core::Rng as _;

use super::*;
use sealcast_domain::ledger::{
    self, AMOUNT_MAX, BookId, Bound, Command, Done, Fault, NewBook, NewTransfer, Rate, TransferId,
    split,
};

fn book(number: u64) -> BookId {
    BookId(u128::from(number).to_be_bytes())
}

fn id(number: u64) -> TransferId {
    TransferId(u128::from(number).to_be_bytes())
}

fn new_book(number: u64, unit: &str, bound: Bound) -> NewBook {
    NewBook {
        id: book(number),
        unit: unit.to_owned(),
        bound,
    }
}

fn of(number: u64, command: Command) -> NewTransfer {
    NewTransfer {
        id: id(number),
        command,
        note: "why".to_owned(),
    }
}

fn moved(debit: u64, credit: u64, amount: u64) -> Command {
    Command::Move {
        debit: book(debit),
        credit: book(credit),
        amount,
    }
}

fn reserve(debit: u64, credit: u64, amount: u64, ms: Option<u64>) -> Command {
    Command::Reserve {
        debit: book(debit),
        credit: book(credit),
        amount,
        life: ms.map(Duration::from_millis),
    }
}

fn kind<T>(result: Result<T>) -> std::result::Result<T, Kind> {
    result.map_err(|error| match error {
        Error::Refused(problem) => problem.kind,
        Error::Store(error) => unreachable!("{error}"),
    })
}

/// Four books of money (the last is free), two of grants.
fn bench(seed: u64) -> Bench {
    let mut bench = Bench::new(seed);
    let bounds = [
        Bound::DebitsWithinCredits,
        Bound::DebitsWithinCredits,
        Bound::CreditsWithinDebits,
        Bound::Free,
    ];
    for (number, bound) in (1..).zip(bounds) {
        let new = new_book(number, "EUR/cent", bound);
        assert_eq!(
            kind(bench.command(|tx| ledger::open(tx, T0, &new))),
            Ok(Done::Now)
        );
    }
    for number in [5, 6] {
        let new = new_book(number, "grant", Bound::Free);
        bench.command(|tx| ledger::open(tx, T0, &new)).unwrap();
    }
    bench
}

fn run(bench: &mut Bench, now: i64, new: &NewTransfer) -> std::result::Result<Done, Kind> {
    let made = run_of_many(bench, now, new);
    bench.flush();
    made
}

fn run_of_many(bench: &mut Bench, now: i64, new: &NewTransfer) -> std::result::Result<Done, Kind> {
    let made = bench.command_of_many(|tx| ledger::transfer(tx, after(now), new));
    kind(made.map(|(done, _)| done))
}

fn faults(bench: &mut Bench) -> Vec<Fault> {
    ledger::verify(bench).unwrap()
}

/// Debit, credit, amount, due.
type Reserved = (BookId, BookId, u64, Option<i64>);

/// A ledger that fits on a page.
#[derive(Clone, Default)]
struct Model {
    /// Unit, bound, debited, credited, debits reserved, credits reserved.
    books: BTreeMap<BookId, (&'static str, u8, u64, u64, u64, u64)>,
    made: BTreeMap<TransferId, (NewTransfer, u64)>,
    /// `None` once it is ended.
    reserved: BTreeMap<TransferId, Option<Reserved>>,
}

impl Model {
    fn expire(&mut self, now: i64) {
        let mut books = std::mem::take(&mut self.books);
        for reserved in self.reserved.values_mut() {
            if let Some((debit, credit, amount, Some(due))) = *reserved
                && due <= now
            {
                books.get_mut(&debit).unwrap().4 -= amount;
                books.get_mut(&credit).unwrap().5 -= amount;
                *reserved = None;
            }
        }
        self.books = books;
    }

    fn within(&self) -> bool {
        self.books
            .values()
            .all(|&(_, bound, debited, credited, debits, credits)| {
                (bound != 1 || debited + debits <= credited)
                    && (bound != 2 || credited + credits <= debited)
            })
    }

    fn run(&mut self, now: i64, new: &NewTransfer) -> std::result::Result<Done, Kind> {
        if let Some((made, amount_then)) = self.made.get(&new.id) {
            let same = match (made.command, new.command) {
                (Command::Post { of: then, .. }, Command::Post { of, amount }) => {
                    then == of && amount.unwrap_or_else(|| self.all_of(of)) == *amount_then
                }
                _ => made.command == new.command,
            };
            return if same {
                Ok(Done::Before)
            } else {
                Err(Kind::Conflict)
            };
        }
        self.expire(now);
        let books = self.books.clone();
        let ends = match new.command {
            Command::Post { of, .. } | Command::Void { of } => of,
            Command::Move { .. } | Command::Reserve { .. } => new.id,
        };
        let reserved = self.reserved.get(&ends).copied();
        let done = self.carry_out(now, new);
        if done.is_err() {
            self.books = books;
            match reserved {
                Some(reserved) => self.reserved.insert(ends, reserved),
                None => self.reserved.remove(&ends),
            };
        }
        done
    }

    fn all_of(&self, of: TransferId) -> u64 {
        match self.made[&of].0.command {
            Command::Reserve { amount, .. } => amount,
            other => unreachable!("{other:?}"),
        }
    }

    fn carry_out(&mut self, now: i64, new: &NewTransfer) -> std::result::Result<Done, Kind> {
        let mut posted = 0;
        match new.command {
            Command::Move {
                debit,
                credit,
                amount,
            }
            | Command::Reserve {
                debit,
                credit,
                amount,
                ..
            } => {
                if amount == 0 || amount > AMOUNT_MAX || debit == credit {
                    return Err(Kind::Invalid);
                }
                let units = [debit, credit].map(|id| self.books.get(&id).map(|book| book.0));
                let [Some(one), Some(other)] = units else {
                    return Err(Kind::NotFound);
                };
                if one != other {
                    return Err(Kind::Invalid);
                }
                if let Command::Reserve { life, .. } = new.command {
                    self.books.get_mut(&debit).unwrap().4 += amount;
                    self.books.get_mut(&credit).unwrap().5 += amount;
                    let due = life.map(|life| now + i64::try_from(life.as_millis()).unwrap());
                    self.reserved
                        .insert(new.id, Some((debit, credit, amount, due)));
                } else {
                    self.books.get_mut(&debit).unwrap().2 += amount;
                    self.books.get_mut(&credit).unwrap().3 += amount;
                }
            }
            Command::Post { of, .. } | Command::Void { of } => {
                if !self.made.contains_key(&of) {
                    return Err(Kind::NotFound);
                }
                let Some(reserved) = self.reserved.get(&of).copied() else {
                    return Err(Kind::Invalid);
                };
                let all = self.all_of(of);
                if let Command::Post { amount, .. } = new.command {
                    posted = amount.unwrap_or(all);
                    if posted > all {
                        return Err(Kind::Invalid);
                    }
                }
                let Some((debit, credit, amount, _)) = reserved else {
                    return Err(Kind::Conflict);
                };
                self.reserved.insert(of, None);
                let (one, other) = (debit, credit);
                self.books.get_mut(&one).unwrap().4 -= amount;
                self.books.get_mut(&other).unwrap().5 -= amount;
                self.books.get_mut(&one).unwrap().2 += posted;
                self.books.get_mut(&other).unwrap().3 += posted;
            }
        }
        if !self.within() {
            return Err(Kind::Conflict);
        }
        self.made.insert(new.id, (new.clone(), posted));
        Ok(Done::Now)
    }
}

fn model() -> Model {
    let mut model = Model::default();
    for (number, bound) in [(1, 1), (2, 1), (3, 2), (4, 0)] {
        model
            .books
            .insert(book(number), ("EUR/cent", bound, 0, 0, 0, 0));
    }
    for number in [5, 6] {
        model.books.insert(book(number), ("grant", 0, 0, 0, 0, 0));
    }
    model
}

/// A command that may be anything, mostly possible.
fn draw(bench: &mut Bench, next: u64) -> NewTransfer {
    let mut below = |limit: u64| bench.rng.next_u64() % limit;
    // Sometimes a retry, of the same or of something else; sometimes far in the past.
    let number = match below(8) {
        0 => 1 + below(next),
        _ => next,
    };
    let recent = |pick: u64| id(next.saturating_sub(pick));
    // Mostly two books of one unit; sometimes any, or one that there is not.
    let (debit, credit) = match below(6) {
        0 => (1 + below(7), 1 + below(7)),
        1 => (5, 6),
        _ => {
            let debit = below(4);
            (1 + debit, 1 + (debit + 1 + below(3)) % 4)
        }
    };
    let amount = below(60);
    let command = match below(10) {
        0..=3 => moved(debit, credit, amount),
        4..=6 => {
            let life = below(3) > 0;
            let ms = 1 + below(400);
            reserve(debit, credit, amount, life.then_some(ms))
        }
        7 | 8 => Command::Post {
            of: recent(1 + below(12)),
            amount: (below(2) == 0).then_some(amount),
        },
        _ => Command::Void {
            of: recent(1 + below(12)),
        },
    };
    of(number, command)
}

/// Commands of one ledger.
const EACH: u64 = 2_000;

/// Every answer and every sum is the model's, whatever is commanded in which order, again, or after its time; the checker finds nothing. A
/// million commands; `SEALCAST_LEDGER_COMMANDS` says another number.
#[test]
#[expect(clippy::print_stdout, reason = "a long run says what it ran")]
fn the_ledger_is_its_model_over_a_million_random_commands() {
    let commands = std::env::var("SEALCAST_LEDGER_COMMANDS");
    let commands = commands.map_or(1_000_000, |number| number.parse().unwrap());
    let seeds = size(commands) as u64 / EACH;
    let counted = std::thread::scope(|scope| {
        let halves: Vec<_> = (0..2)
            .map(|half| {
                let seeds = (1..=seeds).filter(move |seed| seed % 2 == half);
                scope.spawn(move || {
                    seeds
                        .map(agree)
                        .fold((0, 0), |(a, b), (c, d)| (a + c, b + d))
                })
            })
            .collect();
        halves
            .into_iter()
            .map(|half| half.join().unwrap())
            .fold((0, 0), |(a, b), (c, d)| (a + c, b + d))
    });
    // What is drawn is no list of commands that cannot be.
    assert!(counted.0 > counted.1 / 3, "{counted:?}");
    println!(
        "seeds 1 to {seeds}: {} commands done, {} refused",
        counted.0, counted.1
    );
}

/// Runs one ledger beside its model; commands done and refused.
fn agree(seed: u64) -> (u64, u64) {
    let (mut bench, mut model) = (bench(seed), model());
    let (mut now, mut done, mut refused) = (0, 0, 0);
    for next in 1..=EACH {
        now += i64::try_from(bench.rng.next_u64() % 50).unwrap();
        let new = draw(&mut bench, next);
        let wanted = model.run(now, &new);
        let made = run_of_many(&mut bench, now, &new);
        assert_eq!(made, wanted, "seed {seed}, {new:?}");
        match wanted {
            Ok(_) => done += 1,
            Err(_) => refused += 1,
        }
        // A retry of what was just done, word for word.
        if wanted == Ok(Done::Now) && next % 5 == 0 {
            assert_eq!(run_of_many(&mut bench, now, &new), Ok(Done::Before));
        }
        // A transaction ends now and then.
        if bench.rng.next_u64().is_multiple_of(20) {
            bench.flush();
        }
    }
    bench.flush();
    model.expire(now);
    bench
        .command(|tx| ledger::expire(tx, after(now), 10_000))
        .unwrap();
    for (&id, &(_, _, debited, credited, debits, credits)) in &model.books {
        let book = ledger::get(&mut bench, id).unwrap();
        let sums = (
            book.debited,
            book.credited,
            book.debits_reserved,
            book.credits_reserved,
        );
        assert_eq!(sums, (debited, credited, debits, credits), "seed {seed}");
    }
    assert_eq!(faults(&mut bench), [], "seed {seed}");
    (done, refused)
}

/// The order in which faults of a command are told.
#[test]
fn the_first_fault_of_the_list_is_the_answer() {
    let mut bench = bench(1);
    assert_eq!(run(&mut bench, 0, &of(1, moved(4, 1, 50))), Ok(Done::Now));
    assert_eq!(
        run(&mut bench, 0, &of(2, reserve(1, 4, 20, Some(100)))),
        Ok(Done::Now)
    );
    let post = |of, amount| Command::Post { of: id(of), amount };
    for (command, what, wanted) in [
        (
            of(1, moved(4, 1, 0)),
            "its id is in use, and nothing else counts",
            Kind::Conflict,
        ),
        (of(3, moved(4, 4, 0)), "no amount", Kind::Invalid),
        (
            of(3, moved(9, 9, 1)),
            "one book, though it is not there",
            Kind::Invalid,
        ),
        (
            of(3, moved(9, 5, 1)),
            "not there, before units",
            Kind::NotFound,
        ),
        (
            of(3, moved(1, 5, 99)),
            "units, before bounds",
            Kind::Invalid,
        ),
        (of(3, post(9, None)), "no such reservation", Kind::NotFound),
        (of(3, post(1, None)), "no reservation", Kind::Invalid),
        (
            of(3, post(2, Some(21))),
            "more than reserved",
            Kind::Invalid,
        ),
        (
            of(3, moved(1, 4, 31)),
            "20 of 50 are reserved",
            Kind::Conflict,
        ),
        (
            of(3, moved(4, 1, AMOUNT_MAX)),
            "no book can count that",
            Kind::Conflict,
        ),
        (
            of(3, reserve(1, 4, 1, Some(0))),
            "over before it begins",
            Kind::Invalid,
        ),
    ] {
        assert_eq!(run(&mut bench, 50, &command), Err(wanted), "{what}");
    }
    // Refused ids may be used; what is over gives way by itself, and cannot be posted.
    assert_eq!(
        run(&mut bench, 100, &of(3, post(2, None))),
        Err(Kind::Conflict)
    );
    assert_eq!(run(&mut bench, 100, &of(3, moved(1, 4, 50))), Ok(Done::Now));
    assert_eq!(
        run(&mut bench, 100, &of(3, moved(1, 4, 50))),
        Ok(Done::Before)
    );
    let other = NewTransfer {
        note: "another reason".to_owned(),
        ..of(3, moved(1, 4, 50))
    };
    assert_eq!(run(&mut bench, 100, &other), Err(Kind::Conflict));
    assert_eq!(faults(&mut bench), []);
    // Books are opened once, too.
    let again = new_book(1, "EUR/cent", Bound::DebitsWithinCredits);
    assert_eq!(
        kind(bench.command(|tx| ledger::open(tx, T0, &again))),
        Ok(Done::Before)
    );
    for (wrong, kind_of) in [
        (new_book(1, "EUR/cent", Bound::Free), Kind::Conflict),
        (new_book(7, "", Bound::Free), Kind::Invalid),
    ] {
        assert_eq!(
            kind(bench.command(|tx| ledger::open(tx, T0, &wrong))),
            Err(kind_of)
        );
    }
}

#[test]
fn nothing_is_booked_into_a_period_that_is_closed() {
    let mut bench = bench(1);
    run(&mut bench, 10, &of(1, moved(4, 1, 5))).unwrap();
    let close = |bench: &mut Bench, now, until| {
        kind(bench.command(|tx| ledger::close(tx, after(now), after(until))))
    };
    assert_eq!(
        close(&mut bench, 20, 21),
        Err(Kind::Invalid),
        "still to come"
    );
    assert_eq!(close(&mut bench, 20, 20), Ok(Done::Now));
    assert_eq!(close(&mut bench, 25, 20), Ok(Done::Before));
    assert_eq!(
        close(&mut bench, 30, 15),
        Err(Kind::Conflict),
        "closed already"
    );
    run(&mut bench, 20, &of(3, reserve(4, 1, 1, Some(5)))).unwrap();
    assert_eq!(close(&mut bench, 40, 40), Ok(Done::Now));
    let expire =
        |bench: &mut Bench, now| kind(bench.command(|tx| ledger::expire(tx, after(now), 10)));
    assert_eq!(expire(&mut bench, 30), Err(Kind::Conflict), "nor by itself");
    assert_eq!(expire(&mut bench, 40), Ok(1));
    assert_eq!(faults(&mut bench), []);
    let late = of(2, moved(4, 1, 5));
    assert_eq!(run(&mut bench, 39, &late), Err(Kind::Conflict));
    assert_eq!(
        run(&mut bench, 39, &of(1, moved(4, 1, 5))),
        Ok(Done::Before),
        "but a retry is one"
    );
    assert_eq!(run(&mut bench, 40, &late), Ok(Done::Now));
}

/// Whatever is altered behind the ledger's back is found.
#[test]
fn the_checker_finds_what_was_altered() {
    let alter = |sql: &str| {
        let mut bench = bench(1);
        run(&mut bench, 0, &of(1, moved(4, 1, 50))).unwrap();
        run(&mut bench, 0, &of(2, reserve(1, 4, 20, None))).unwrap();
        run(&mut bench, 0, &of(3, reserve(1, 2, 5, None))).unwrap();
        let post = Command::Post {
            of: id(2),
            amount: Some(11),
        };
        run(&mut bench, 0, &of(4, post)).unwrap();
        assert_eq!(faults(&mut bench), []);
        bench.forbid_nothing();
        bench.damage(sql, &[]);
        faults(&mut bench)
    };
    let number = |wanted, found| Fault::Number { wanted, found };
    let one = alter("UPDATE book SET credited = credited + 1 WHERE credited = 50");
    assert_eq!(
        one,
        [
            Fault::Sums(book(1)),
            Fault::Unbalanced("EUR/cent".to_owned())
        ]
    );
    let gone = alter("DELETE FROM transfer WHERE number = 1");
    assert!(
        gone.contains(&number(1, 2)) && gone.contains(&Fault::Sums(book(1))),
        "{gone:?}"
    );
    let more = alter("UPDATE transfer SET amount = 21 WHERE number = 4");
    assert!(more.contains(&Fault::End(4)), "{more:?}");
    let other = alter(
        "UPDATE transfer SET credit = (SELECT id FROM book WHERE unit = 'grant' LIMIT 1) WHERE number = 3",
    );
    assert!(other.contains(&Fault::Books(3)), "{other:?}");
    let beyond = alter("UPDATE book SET debited = 46 WHERE debited = 11 AND bound = 1");
    assert!(beyond.contains(&Fault::Bound(book(1))), "{beyond:?}");
    assert_eq!(alter("DELETE FROM reservation"), [Fault::Reservations(1)]);
}

/// Shares of an amount sum to it, and nobody is off by one or more.
#[test]
fn splits_lose_nothing() {
    assert_eq!(split(100, &[1, 1, 1]), Some(vec![34, 33, 33]));
    assert_eq!(split(5, &[0, 3, 0, 3]), Some(vec![0, 3, 0, 2]));
    assert_eq!(split(5, &[0, 0]), None);
    assert_eq!(split(u64::MAX, &[u64::MAX, 1]), Some(vec![u64::MAX - 1, 1]));
    let mut bench = Bench::new(3);
    for _ in 0..20_000 {
        let mut below = |limit: u64| bench.rng.next_u64() % limit;
        let mut up_to = |bits: u64| {
            let bits = 1 + below(bits);
            below(1 << bits)
        };
        let amount = up_to(63);
        let weights: Vec<_> = (0..=up_to(3)).map(|_| up_to(40)).collect();
        let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
        let Some(parts) = split(amount, &weights) else {
            assert_eq!(total, 0);
            continue;
        };
        assert_eq!(
            parts.iter().map(|part| u128::from(*part)).sum::<u128>(),
            u128::from(amount)
        );
        for (part, weight) in parts.iter().zip(&weights) {
            let exact = u128::from(amount) * u128::from(*weight);
            assert!(
                (u128::from(*part) * total).abs_diff(exact) < total,
                "{amount} by {weights:?}"
            );
        }
    }
}

#[test]
fn rates_round_to_the_nearest_and_from_the_middle_to_the_even() {
    let rate = |of, parts| Rate::new(of, parts).unwrap();
    assert_eq!(Rate::new(1, 0), None);
    for (amount, of, parts, wanted) in [
        (100, 19, 100, 19),
        (1, 1, 2, 0),
        (3, 1, 2, 2),
        (5, 1, 2, 2),
        (10, 1, 3, 3),
        (20, 1, 3, 7),
    ] {
        assert_eq!(
            rate(of, parts).apply(amount),
            Some(wanted),
            "{amount} * {of}/{parts}"
        );
    }
    assert_eq!(rate(3, 2).apply(u64::MAX), None);
}
