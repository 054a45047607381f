//! What the authority must not forget: its keys, ticket keys, epochs.

use sealcast_objects::api::KeyStage;

use super::*;
use sealcast_domain::epochs::{self, ChannelKeys, Epoch, Term};
use sealcast_domain::keys::{self, add_authority_key, promote_authority_key, retire_authority_key};

fn stages(tx: &mut Bench) -> Vec<(u8, KeyStage)> {
    let keys = keys::authority_keys(tx).unwrap();
    keys.iter()
        .map(|key| (key.public_key[0], key.stage))
        .collect()
}

#[test]
fn an_authority_key_is_succeeded_in_three_steps_and_one_succession_at_a_time() {
    use KeyStage::{Current, Retired, Retiring, Successor};
    let tx = &mut Bench::new(1);
    refused(Kind::Conflict, promote_authority_key(tx, T0));
    assert_eq!(add_authority_key(tx, T0, &[1], b"sealed").unwrap(), Current);
    refused(Kind::Conflict, promote_authority_key(tx, T0));
    assert_eq!(stages(tx), [(1, Current)]);

    assert_eq!(
        add_authority_key(tx, after(10), &[2], b"sealed").unwrap(),
        Successor
    );
    refused(Kind::Conflict, add_authority_key(tx, T0, &[3], b"sealed"));
    assert!(!retire_authority_key(tx, T0, after(9999)).unwrap());

    promote_authority_key(tx, after(20)).unwrap();
    assert_eq!(stages(tx), [(1, Retiring), (2, Current)]);
    let detail = refused(Kind::Conflict, add_authority_key(tx, T0, &[3], b"sealed"));
    assert!(detail.contains(&after(20).to_string()), "{detail}");
    refused(Kind::Conflict, promote_authority_key(tx, T0));
    assert!(!retire_authority_key(tx, after(30), after(19)).unwrap());
    assert_eq!(stages(tx), [(1, Retiring), (2, Current)]);
    assert!(retire_authority_key(tx, after(30), after(20)).unwrap());
    assert!(!retire_authority_key(tx, after(30), after(20)).unwrap());

    add_authority_key(tx, after(40), &[3], b"sealed").unwrap();
    promote_authority_key(tx, after(50)).unwrap();
    retire_authority_key(tx, after(60), after(60)).unwrap();
    assert_eq!(stages(tx), [(1, Retired), (2, Retired), (3, Current)]);
    let since: Vec<_> = keys::authority_keys(tx)
        .unwrap()
        .iter()
        .map(|key| key.since)
        .collect();
    assert_eq!(since, [after(30), after(60), after(50)]);
}

#[test]
fn sec_14_sealed_rows_are_not_shown() {
    let tx = &mut Bench::new(1);
    add_authority_key(tx, T0, &[0xA7], &[0xA7; 48]).unwrap();
    keys::add_ticket_key(tx, T0, 4, &[0xA7; 48]).unwrap();
    let shown = format!(
        "{:?} {:?} {:?}",
        keys::authority_keys(tx).unwrap(),
        keys::ticket_keys(tx).unwrap(),
        epoch(1)
    );
    assert!(
        !shown.contains("167") && !shown.to_lowercase().contains("a7"),
        "{shown}"
    );
}

#[test]
fn only_the_last_two_ticket_keys_are_kept() {
    let tx = &mut Bench::new(1);
    for period in 1..=5 {
        keys::add_ticket_key(tx, after(i64::from(period)), period, &period.to_be_bytes()).unwrap();
        let kept = keys::ticket_keys(tx).unwrap();
        let periods: Vec<_> = kept.iter().map(|key| key.period).collect();
        let expected: Vec<_> = (1..=period).rev().take(2).collect();
        assert_eq!(periods, expected);
        assert_eq!(kept[0].sealed, period.to_be_bytes());
        assert_eq!(kept[0].made_at, after(i64::from(period)));
        let rows = tx.query("SELECT period FROM ticket_key", &[]).unwrap();
        assert!(rows.len() <= 2, "former ones are deleted, not hidden");
    }
    // A period is never made twice.
    assert!(keys::add_ticket_key(tx, T0, 5, b"another").is_err());
}

#[test]
fn secrets_and_values_have_one_row_each_and_are_replaced() {
    let tx = &mut Bench::new(1);
    assert_eq!(keys::secret(tx, "a").unwrap(), None);
    keys::put_secret(tx, "a", b"1").unwrap();
    keys::put_secret(tx, "b", b"2").unwrap();
    keys::put_secret(tx, "a", b"3").unwrap();
    keys::put_meta(tx, "a", b"4").unwrap();
    keys::put_meta(tx, "a", b"").unwrap();
    assert_eq!(keys::secret(tx, "a").unwrap(), Some(b"3".to_vec()));
    assert_eq!(keys::secret(tx, "b").unwrap(), Some(b"2".to_vec()));
    assert_eq!(keys::meta(tx, "a").unwrap(), Some(vec![]));
    assert_eq!(keys::meta(tx, "b").unwrap(), None);
}

fn epoch(number: u64) -> Epoch {
    Epoch {
        epoch: number,
        term: Term {
            number: 3,
            instance: u64::MAX - number,
        },
        sealed: vec![0xA7; 60],
        opened: number == 1,
        depositor: (number == 2).then_some((u32::MAX, u64::MAX)),
    }
}

#[test]
fn epochs_come_back_as_they_were_and_are_replaced_whole() {
    let tx = &mut Bench::new(1);
    assert_eq!(epochs::term(tx).unwrap(), None);
    let term = Term {
        number: u64::MAX,
        instance: 1 << 63,
    };
    epochs::put_term(tx, Term { number: 1, ..term }).unwrap();
    epochs::put_term(tx, term).unwrap();
    assert_eq!(epochs::term(tx).unwrap(), Some(term));

    let seven = ChannelKeys {
        highest: u64::MAX,
        revision: u32::MAX,
        announced: Some(vec![1, 2, 3]),
        servers: vec![0, 5, u32::MAX],
        epochs: vec![epoch(1), epoch(2), epoch(3)],
    };
    let empty = ChannelKeys::default();
    epochs::put_channel(tx, 7, &seven).unwrap();
    epochs::put_channel(tx, u16::MAX, &empty).unwrap();
    let all = epochs::channels(tx).unwrap();
    assert_eq!(all, [(7, seven.clone()), (u16::MAX, empty.clone())]);
    // The same epoch of two instances that led under one number (two masters): both stay.
    let mut twice = seven.clone();
    let mut other = epoch(3);
    other.term.instance = 1;
    twice.epochs.push(other);
    epochs::put_channel(tx, 7, &twice).unwrap();
    assert_eq!(epochs::channels(tx).unwrap()[0].1.epochs.len(), 4);

    let less = ChannelKeys {
        highest: 9,
        epochs: vec![epoch(9)],
        ..ChannelKeys::default()
    };
    epochs::put_channel(tx, 7, &less).unwrap();
    let all = epochs::channels(tx).unwrap();
    assert_eq!(all, [(7, less), (u16::MAX, empty)], "nothing of it stays");
}

#[test]
fn a_channel_that_is_removed_leaves_its_epoch_numbers() {
    let tx = &mut Bench::new(1);
    tx.channel(7);
    let keys = ChannelKeys {
        highest: 41,
        ..ChannelKeys::default()
    };
    epochs::put_channel(tx, 7, &keys).unwrap();
    channels::remove(tx, 7).unwrap();
    assert_eq!(epochs::channels(tx).unwrap(), [(7, keys)]);
}

#[test]
fn rows_that_cannot_be_are_named_as_damage() {
    let tx = &mut Bench::new(1);
    let damaged = |result: Result<()>| {
        let error = result.unwrap_err();
        assert!(
            matches!(error, Error::Store(StoreError::Damaged(_))),
            "{error}"
        );
    };
    tx.damage("INSERT INTO channel_keys VALUES (1, 1, 1, NULL)", &[]);
    let half = "INSERT INTO epoch VALUES (1, 1, 1, 1, $1, 0, 5, NULL)";
    tx.damage(half, params![vec![0_u8]]);
    damaged(epochs::channels(tx).map(drop));
    tx.damage("DELETE FROM epoch", &[]);
    tx.damage("UPDATE channel_keys SET channel = 70000", &[]);
    damaged(epochs::channels(tx).map(drop));
    let short = "INSERT INTO account VALUES ($1, 'short id', 1, 0, 0, 'active')";
    tx.damage(short, params![vec![1_u8, 2]]);
    damaged(accounts::page(tx, None, 10).map(drop));
}
