//! Delivery servers: who may link up, and for which channels.

use std::collections::BTreeSet;

use sealcast_objects::api::{NewNode, Node, Role, Standing};
use sealcast_objects::problem::Kind;

use crate::{Read, Result, Row, StoreError, Tx, enrolment, params, refuse};

pub(crate) fn standing(name: &str) -> std::result::Result<Standing, StoreError> {
    Standing::from_name(name).ok_or_else(|| StoreError::Damaged(format!("standing {name:?}")))
}

fn read(store: &mut dyn Read, row: &Row) -> Result<Node> {
    let (server, all): (u32, bool) = (row.get(0)?, row.get(3)?);
    let channels = if all {
        None
    } else {
        let rows = store.query(
            "SELECT channel FROM node_channel WHERE server = $1 ORDER BY channel",
            params![server],
        )?;
        Some(
            rows.iter()
                .map(|row| row.get(0))
                .collect::<std::result::Result<_, _>>()?,
        )
    };
    Ok(Node {
        server,
        name: row.get(1)?,
        standing: standing(&row.get::<String>(2)?)?,
        channels,
    })
}

/// All delivery servers.
///
/// # Errors
/// The store's.
pub fn list(store: &mut dyn Read) -> Result<Vec<Node>> {
    let rows = store.query(
        "SELECT server, name, standing, all_channels FROM node ORDER BY server",
        &[],
    )?;
    rows.iter().map(|row| read(store, row)).collect()
}

/// One delivery server.
///
/// # Errors
/// Not found; the store's.
pub fn get(store: &mut dyn Read, server: u32) -> Result<Node> {
    let row = store.first(
        "SELECT server, name, standing, all_channels FROM node WHERE server = $1",
        params![server],
    )?;
    match row {
        Some(row) => read(store, &row),
        None => refuse(
            Kind::NotFound,
            format!(
                "there is no delivery server {server}: `sealcast admin node list` shows those that are"
            ),
        ),
    }
}

/// Adds a delivery server, or sets the channels of one that exists.
///
/// # Errors
/// It is revoked; the store's.
pub fn put(tx: &mut dyn Tx, new: &NewNode) -> Result<()> {
    let server = new.server;
    let known = tx.first(
        "SELECT standing FROM node WHERE server = $1",
        params![server],
    )?;
    match known {
        Some(row) if row.get::<String>(0)? == Standing::Revoked.name() => {
            return refuse(
                Kind::Conflict,
                format!("delivery server {server} is revoked for ever: choose another number"),
            );
        }
        Some(_) => {
            tx.execute(
                "UPDATE node SET name = $1, all_channels = $2 WHERE server = $3",
                params![new.name.as_str(), new.channels.is_none(), server],
            )?;
        }
        None => {
            tx.execute(
                "INSERT INTO node (server, name, standing, all_channels) VALUES ($1, $2, 'new', $3)",
                params![server, new.name.as_str(), new.channels.is_none()],
            )?;
        }
    }
    tx.execute(
        "DELETE FROM node_channel WHERE server = $1",
        params![server],
    )?;
    // One that is named twice counts once.
    let channels: BTreeSet<u16> = new.channels.iter().flatten().copied().collect();
    for channel in channels {
        tx.execute(
            "INSERT INTO node_channel (server, channel) VALUES ($1, $2)",
            params![server, channel],
        )?;
    }
    Ok(())
}

/// Suspends, resumes or revokes one.
///
/// # Errors
/// Not found; a step that cannot be taken; the store's.
pub fn set_standing(tx: &mut dyn Tx, server: u32, to: Standing) -> Result<()> {
    let node = get(tx, server)?;
    check_step(&format!("delivery server {server}"), node.standing, to)?;
    tx.execute(
        "UPDATE node SET standing = $1 WHERE server = $2",
        params![to.name(), server],
    )?;
    if to == Standing::Revoked {
        enrolment::withdraw(tx, Role::Node, &server.to_string())?;
    }
    Ok(())
}

/// Which steps between standings there are: suspended and back, and revoked for ever.
pub(crate) fn check_step(who: &str, from: Standing, to: Standing) -> Result<()> {
    match (from, to) {
        (Standing::Revoked, Standing::Revoked) => Ok(()),
        (Standing::Revoked, _) => refuse(
            Kind::Conflict,
            format!("{who} is revoked, which is for ever: add a new one"),
        ),
        (_, Standing::New) => refuse(Kind::Invalid, format!("{who} cannot become new again")),
        (Standing::New, Standing::Active) => refuse(
            Kind::Conflict,
            format!("{who} has not enrolled yet: it becomes active by enrolling"),
        ),
        _ => Ok(()),
    }
}

/// The server whose certificate has this key, if it may act.
///
/// # Errors
/// It may not; the store's.
pub fn authenticate(store: &mut dyn Read, server: u32, public_key: &[u8]) -> Result<Node> {
    let row = store.first(
        "SELECT public_key FROM node WHERE server = $1",
        params![server],
    )?;
    let known = row.map(|row| row.get::<Option<Vec<u8>>>(0)).transpose()?;
    if known.flatten().as_deref() != Some(public_key) {
        return refuse(
            Kind::Unauthenticated,
            format!(
                "this certificate of delivery server {server} counts no more (another was enrolled since, or the store was \
                 restored from before): enrol it again"
            ),
        );
    }
    let node = get(store, server)?;
    match node.standing {
        Standing::Active => Ok(node),
        other => refuse(
            Kind::Suspended,
            format!("delivery server {server} is {}", other.name()),
        ),
    }
}
