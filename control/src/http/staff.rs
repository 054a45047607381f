//! Operators, as every act asks for them: who may act, and what needs a second person.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use sealcast_domain::operators::{Acting, Operators};
use sealcast_domain::{Read, approvals};
use sealcast_objects::api::{GrantKind, Role};
use sealcast_objects::problem::{Kind, Problem};

use super::{App, problem};
use crate::ca::Peer;

/// Operators, and what of theirs needs a second one, as they stood at one moment.
#[derive(Clone, Debug, Default)]
pub struct Staff {
    operators: Operators,
    second_person: BTreeSet<GrantKind>,
}

impl Staff {
    /// As they are in the store.
    ///
    /// # Errors
    /// The store's.
    pub fn read(store: &mut dyn Read) -> sealcast_domain::Result<Self> {
        Ok(Self {
            operators: sealcast_domain::operators::all(store)?,
            second_person: approvals::rules(store)?,
        })
    }
}

impl App {
    /// Who asks, if he is an operator in good standing.
    pub(crate) fn authenticate_operator(
        &self,
        peer: Option<Peer>,
    ) -> Result<(String, Acting), Problem> {
        let Some(peer) = peer else {
            return Err(Problem::new(
                Kind::Unauthenticated,
                "administration needs an operator's certificate: give --identity FILE",
            ));
        };
        if peer.role != Role::Admin {
            return Err(Problem::new(
                Kind::Forbidden,
                format!("a {} may not administrate", peer.role.name()),
            ));
        }
        let acting = self.operator_acting(&peer.subject, &peer.public_key)?;
        Ok((peer.subject, acting))
    }

    /// What the operator of this name and key may do.
    pub(super) fn operator_acting(&self, name: &str, key: &[u8]) -> Result<Acting, Problem> {
        let staff = self.0.staff.read();
        let staff = staff.unwrap_or_else(PoisonError::into_inner);
        staff.operators.authenticate(name, key).map_err(problem)
    }

    /// The key of an operator who may act.
    pub(super) fn operator_key(&self, name: &str) -> Option<Vec<u8>> {
        let staff = self.0.staff.read();
        let staff = staff.unwrap_or_else(PoisonError::into_inner);
        staff.operators.key(name).map(<[u8]>::to_vec)
    }

    /// Whether what is given needs a second person. While there are rules, nobody alone changes them, or makes himself a second person.
    pub(super) fn needs_second(&self, kind: GrantKind) -> bool {
        let staff = self.0.staff.read();
        let rules = &staff.unwrap_or_else(PoisonError::into_inner).second_person;
        let rules_over = matches!(kind, GrantKind::Operator | GrantKind::Rules);
        kind == GrantKind::Restore || rules.contains(&kind) || (rules_over && !rules.is_empty())
    }

    /// Operators, or the rules for them, have changed in the store.
    pub(crate) async fn operators_changed(&self) -> Result<(), Problem> {
        let _in_order = self.in_order().await;
        let staff = self.read(|store| Staff::read(store)).await?;
        let kept = self.0.staff.write();
        *kept.unwrap_or_else(PoisonError::into_inner) = staff;
        Ok(())
    }
}
