//! Slave key servers: who may be fed, under which names they are reached (MD-28).

use std::collections::BTreeSet;

use sealcast_objects::api::{NewSlave, Role, Slave, Standing};
use sealcast_objects::code::sha256;
use sealcast_objects::problem::Kind;

use crate::nodes::check_step;
use crate::{Read, Result, Row, StoreError, Tx, enrolment, params, refuse};

/// Hosts of one slave, at most.
const HOSTS_MAX: usize = 16;

fn read(store: &mut dyn Read, row: &Row) -> Result<Slave> {
    let slave: u32 = row.get(0)?;
    let standing: String = row.get(2)?;
    let hosts = store.query(
        "SELECT host FROM slave_host WHERE slave = $1 ORDER BY host",
        params![slave],
    )?;
    Ok(Slave {
        slave,
        name: row.get(1)?,
        standing: Standing::from_name(&standing)
            .ok_or_else(|| StoreError::Damaged(format!("standing {standing:?}")))?,
        hosts: hosts
            .iter()
            .map(|row| row.get(0))
            .collect::<std::result::Result<_, _>>()?,
    })
}

/// Every slave.
///
/// # Errors
/// The store's.
pub fn list(store: &mut dyn Read) -> Result<Vec<Slave>> {
    let rows = store.query(
        "SELECT slave, name, standing FROM slave ORDER BY slave",
        &[],
    )?;
    rows.iter().map(|row| read(store, row)).collect()
}

/// One slave.
///
/// # Errors
/// Not found; the store's.
pub fn get(store: &mut dyn Read, slave: u32) -> Result<Slave> {
    let row = store.first(
        "SELECT slave, name, standing FROM slave WHERE slave = $1",
        params![slave],
    )?;
    match row {
        Some(row) => read(store, &row),
        None => refuse(
            Kind::NotFound,
            format!("there is no slave {slave}: `sealcast admin slave list` shows those that are"),
        ),
    }
}

/// The active slaves, each with SHA-256 of its key.
///
/// # Errors
/// The store's.
pub fn roster(store: &mut dyn Read) -> Result<Vec<(u32, [u8; 32])>> {
    let rows = store.query(
        "SELECT slave, public_key FROM slave WHERE standing = 'active' AND public_key IS NOT NULL ORDER BY slave",
        &[],
    )?;
    let key = |row: &Row| Ok((row.get(0)?, sha256(&row.get::<Vec<u8>>(1)?)));
    rows.iter().map(key).collect()
}

/// Adds a slave, or sets name and hosts of one that exists: they count from its next certificate on.
///
/// # Errors
/// It is revoked, or has no number or no host; the store's.
pub fn put(tx: &mut dyn Tx, new: &NewSlave) -> Result<()> {
    let slave = new.slave;
    let hosts: BTreeSet<_> = new.hosts.iter().map(String::as_str).collect();
    if slave == 0 {
        return refuse(Kind::Invalid, "slaves are numbered from 1 on");
    }
    if hosts.is_empty() || hosts.len() > HOSTS_MAX || hosts.contains("") {
        return refuse(
            Kind::Invalid,
            format!(
                "a slave needs 1 to {HOSTS_MAX} hosts: the names and addresses under which others reach it"
            ),
        );
    }
    let known = tx.first(
        "SELECT standing FROM slave WHERE slave = $1",
        params![slave],
    )?;
    match known {
        Some(row) if row.get::<String>(0)? == Standing::Revoked.name() => {
            return refuse(
                Kind::Conflict,
                format!("slave {slave} is revoked for ever: choose another number"),
            );
        }
        Some(_) => {
            tx.execute(
                "UPDATE slave SET name = $1 WHERE slave = $2",
                params![new.name.as_str(), slave],
            )?;
        }
        None => {
            tx.execute(
                "INSERT INTO slave (slave, name, standing) VALUES ($1, $2, 'new')",
                params![slave, new.name.as_str()],
            )?;
        }
    }
    tx.execute("DELETE FROM slave_host WHERE slave = $1", params![slave])?;
    for host in hosts {
        tx.execute(
            "INSERT INTO slave_host (slave, host) VALUES ($1, $2)",
            params![slave, host],
        )?;
    }
    Ok(())
}

/// Suspends, resumes or revokes one.
///
/// # Errors
/// Not found; a step that cannot be taken; the store's.
pub fn set_standing(tx: &mut dyn Tx, slave: u32, to: Standing) -> Result<()> {
    let known = get(tx, slave)?;
    check_step(&format!("slave {slave}"), known.standing, to)?;
    tx.execute(
        "UPDATE slave SET standing = $1 WHERE slave = $2",
        params![to.name(), slave],
    )?;
    if to == Standing::Revoked {
        enrolment::withdraw(tx, Role::Slave, &slave.to_string())?;
    }
    Ok(())
}

/// The slave whose certificate has this key, if it may act.
///
/// # Errors
/// It may not; the store's.
pub fn authenticate(store: &mut dyn Read, slave: u32, public_key: &[u8]) -> Result<Slave> {
    let row = store.first(
        "SELECT public_key FROM slave WHERE slave = $1",
        params![slave],
    )?;
    let known = row.map(|row| row.get::<Option<Vec<u8>>>(0)).transpose()?;
    if known.flatten().as_deref() != Some(public_key) {
        return refuse(
            Kind::Unauthenticated,
            format!(
                "this certificate of slave {slave} counts no more (another was enrolled since, or the store was restored from \
                 before): enrol it again"
            ),
        );
    }
    let known = get(store, slave)?;
    match known.standing {
        Standing::Active => Ok(known),
        other => refuse(
            Kind::Suspended,
            format!("slave {slave} is {}", other.name()),
        ),
    }
}
