//! Operators: who may use the administration API, for what, and how much a day (SEC-19).

use std::collections::BTreeMap;

use sealcast_objects::api::{Operator, OperatorRole, Permit, PutOperator, Role, Standing};
use sealcast_objects::problem::Kind;
use sealcast_objects::time::Timestamp;

use crate::nodes::{check_step, standing};
use crate::{Read, Result, Row, StoreError, Tx, enrolment, params, read_rows, refuse};

/// Milliseconds of a day.
const DAY: i64 = 24 * 3600 * 1000;

fn read(row: &Row) -> std::result::Result<Operator, StoreError> {
    let (role, reseller): (String, u32) = (row.get(1)?, row.get(4)?);
    let role = match reseller {
        0 => OperatorRole::from_name(&role),
        _ => Some(OperatorRole::Reseller),
    };
    Ok(Operator {
        name: row.get(0)?,
        role: role
            .ok_or_else(|| StoreError::Damaged("an operator of an unknown role".to_owned()))?,
        standing: standing(&row.get::<String>(2)?)?,
        grants_per_day: row.get(3)?,
    })
}

/// A role as it is kept: a reseller is a shop with a mark, so that a store of before need not be made anew.
fn kept(role: OperatorRole) -> (&'static str, u32) {
    match role {
        OperatorRole::Reseller => (OperatorRole::Shop.name(), 1),
        role => (role.name(), 0),
    }
}

/// All operators, by name.
///
/// # Errors
/// The store's.
pub fn list(store: &mut dyn Read) -> Result<Vec<Operator>> {
    let rows = store.query(
        "SELECT name, role, standing, grants_per_day, reseller FROM operator ORDER BY name",
        &[],
    )?;
    read_rows(&rows, read)
}

fn find(store: &mut dyn Read, name: &str) -> Result<Option<Operator>> {
    let row = store.first(
        "SELECT name, role, standing, grants_per_day, reseller FROM operator WHERE name = $1",
        params![name],
    )?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// One operator.
///
/// # Errors
/// Not found; the store's.
pub fn get(store: &mut dyn Read, name: &str) -> Result<Operator> {
    match find(store, name)? {
        Some(operator) => Ok(operator),
        None => refuse(
            Kind::NotFound,
            format!("there is no operator {name}: `sealcast admin operator add` adds one"),
        ),
    }
}

/// Adds an operator who has not enrolled yet, or says anew what one may do.
///
/// # Errors
/// It would leave nobody who may rule; one who is suspended or revoked is to enrol anew; the store's.
pub fn put(tx: &mut dyn Tx, name: &str, put: &PutOperator) -> Result<Operator> {
    let (role, reseller) = kept(put.role);
    match find(tx, name)? {
        None => {
            tx.execute(
                "INSERT INTO operator (name, standing, role, reseller, grants_per_day) VALUES ($1, 'new', $2, $3, $4)",
                params![name, role, reseller, put.grants_per_day],
            )?;
        }
        Some(known) => {
            if known.role == OperatorRole::Owner && put.role != OperatorRole::Owner {
                check_others_rule(tx, name)?;
            }
            tx.execute(
                "UPDATE operator SET role = $1, reseller = $2, grants_per_day = $3 WHERE name = $4",
                params![role, reseller, put.grants_per_day, name],
            )?;
            if put.anew {
                forget_key(tx, &known)?;
            }
        }
    }
    get(tx, name)
}

/// He is to enrol anew.
fn forget_key(tx: &mut dyn Tx, known: &Operator) -> Result<()> {
    let name = known.name.as_str();
    match known.standing {
        Standing::New => return Ok(()),
        Standing::Active if known.role == OperatorRole::Owner => check_others_rule(tx, name)?,
        Standing::Active => {}
        other => {
            let why = format!(
                "operator {name} is {}: who is to enrol anew must be active",
                other.name()
            );
            return refuse(Kind::Conflict, why);
        }
    }
    tx.execute(
        "UPDATE operator SET standing = 'new', public_key = NULL WHERE name = $1",
        params![name],
    )?;
    enrolment::withdraw(tx, Role::Admin, name)
}

/// He has not enrolled: a code for one who has would let whoever holds it act in his name.
///
/// # Errors
/// Not found; he has enrolled; the store's.
pub fn check_new(store: &mut dyn Read, name: &str) -> Result<()> {
    match get(store, name)?.standing {
        Standing::New => Ok(()),
        standing => refuse(
            Kind::Conflict,
            format!(
                "operator {name} is {}: say first that he is to enrol anew (`sealcast admin operator anew`)",
                standing.name()
            ),
        ),
    }
}

/// An operator who is not the one asking may act, and may do this.
///
/// # Errors
/// Not found; he may not; the store's.
pub fn check_may(store: &mut dyn Read, name: &str, permit: Permit) -> Result<()> {
    let known = get(store, name)?;
    if known.standing != Standing::Active {
        return refuse(
            Kind::Conflict,
            format!("operator {name} is {} now", known.standing.name()),
        );
    }
    check_permit(name, known.role, permit)
}

/// Suspends, resumes or revokes one.
///
/// # Errors
/// Not found; a step that cannot be taken; it would leave nobody who may rule; the store's.
pub fn set_standing(tx: &mut dyn Tx, name: &str, to: Standing) -> Result<Operator> {
    let known = get(tx, name)?;
    check_step(&format!("operator {name}"), known.standing, to)?;
    if known.role == OperatorRole::Owner && to != Standing::Active {
        check_others_rule(tx, name)?;
    }
    tx.execute(
        "UPDATE operator SET standing = $1 WHERE name = $2",
        params![to.name(), name],
    )?;
    if to == Standing::Revoked {
        enrolment::withdraw(tx, Role::Admin, name)?;
    }
    get(tx, name)
}

/// Another owner is in good standing.
fn check_others_rule(store: &mut dyn Read, name: &str) -> Result<()> {
    let others = store.first(
        "SELECT 1 FROM operator WHERE role = 'owner' AND standing = 'active' AND name <> $1",
        params![name],
    )?;
    match others {
        Some(_) => Ok(()),
        None => refuse(
            Kind::Conflict,
            format!("{name} is the only owner in good standing: make another one first"),
        ),
    }
}

/// Two operators in good standing are permitted this.
///
/// # Errors
/// There are fewer; the store's.
pub fn check_two_may(store: &mut dyn Read, permit: Permit) -> Result<()> {
    let may = list(store)?
        .iter()
        .filter(|operator| {
            operator.standing == Standing::Active
                && !operator.role.is_machine()
                && operator.role.may(permit)
        })
        .count();
    if may >= 2 {
        return Ok(());
    }
    refuse(
        Kind::Conflict,
        format!(
            "a second person has to be there, and {may} who may {} has enrolled: add another one first",
            permit.words()
        ),
    )
}

/// One more right or transfer that an operator gives today.
///
/// # Errors
/// His limit is reached; the store's.
pub fn count_grant(tx: &mut dyn Tx, now: Timestamp, name: &str) -> Result<()> {
    let Some(most) = find(tx, name)?.and_then(|operator| operator.grants_per_day) else {
        return Ok(());
    };
    let day = now.0.div_euclid(DAY);
    let row = tx.first(
        "SELECT grants FROM granted WHERE operator = $1 AND day = $2",
        params![name, day],
    )?;
    let given: u32 = row.map_or(Ok(0), |row| row.get(0))?;
    if given >= most {
        return refuse(
            Kind::Forbidden,
            format!("{name} may give {most} times a day, and has: an owner can raise that"),
        );
    }
    tx.execute(
        "INSERT INTO granted (operator, day, grants) VALUES ($1, $2, 1) \
         ON CONFLICT (operator, day) DO UPDATE SET grants = granted.grants + 1",
        params![name, day],
    )?;
    Ok(())
}

/// What is known of one who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Known {
    role: OperatorRole,
    standing: Standing,
    limited: bool,
    public_key: Option<Vec<u8>>,
}

/// All operators, as they stood at one moment. They are few and ask often: whoever answers them keeps this, and reads it anew when one has changed.
#[derive(Clone, Debug, Default)]
pub struct Operators(BTreeMap<String, Known>);

/// One who may act.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acting {
    /// What he is there for.
    pub role: OperatorRole,
    /// Whether what he gives is counted ([`count_grant`]).
    pub limited: bool,
}

/// Reads all operators.
///
/// # Errors
/// The store's.
pub fn all(store: &mut dyn Read) -> Result<Operators> {
    let rows = store.query(
        "SELECT name, role, standing, grants_per_day, reseller, public_key FROM operator",
        &[],
    )?;
    let mut operators = BTreeMap::new();
    for row in rows {
        let Operator {
            name,
            role,
            standing,
            grants_per_day,
        } = read(&row)?;
        let known = Known {
            role,
            standing,
            limited: grants_per_day.is_some(),
            public_key: row.get(5)?,
        };
        operators.insert(name, known);
    }
    Ok(Operators(operators))
}

impl Operators {
    /// The key of one who may act.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&[u8]> {
        let known = self.0.get(name)?;
        let active = known.standing == Standing::Active;
        known.public_key.as_deref().filter(|_| active)
    }

    /// The operator whose certificate has this key may act.
    ///
    /// # Errors
    /// He may not.
    pub fn authenticate(&self, name: &str, public_key: &[u8]) -> Result<Acting> {
        match self.0.get(name) {
            Some(known) if known.public_key.as_deref() == Some(public_key) => {
                match known.standing {
                    Standing::Active => Ok(Acting {
                        role: known.role,
                        limited: known.limited,
                    }),
                    other => refuse(
                        Kind::Suspended,
                        format!("operator {name} is {}", other.name()),
                    ),
                }
            }
            _ => refuse(
                Kind::Unauthenticated,
                format!("this certificate of operator {name} counts no more: enrol again"),
            ),
        }
    }
}

/// Who acts may do this.
///
/// # Errors
/// He may not.
pub fn check_permit(name: &str, role: OperatorRole, permit: Permit) -> Result<()> {
    if role.may(permit) {
        return Ok(());
    }
    refuse(
        Kind::Forbidden,
        format!(
            "{name} has the role {:?} and may not {}: an owner can change the role",
            role.name(),
            permit.words()
        ),
    )
}
