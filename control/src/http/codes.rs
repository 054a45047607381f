//! One-time codes for those who are to enrol.

use std::time::Duration;

use schemars::JsonSchema;
use sealcast_domain::audit::Act;
use sealcast_domain::{Error, Tx, enrolment, operators};
use sealcast_objects::api::{NewCode, OperatorRole, PutOperator, Role};
use sealcast_objects::code::Code;
use sealcast_objects::problem::{Kind, Problem};
use sealcast_objects::time::Timestamp;
use serde::Deserialize;

use super::act::SERVER;
use super::{App, now};

/// How long a new code counts.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CodeLife {
    #[serde(default)]
    valid_ms: Option<u64>,
}

/// A code that nobody has yet.
pub(super) struct Fresh {
    code: Code,
    until: Timestamp,
}

impl CodeLife {
    /// A code that counts for so long.
    pub(super) fn code(&self, app: &App) -> Fresh {
        let life = self
            .valid_ms
            .map_or(enrolment::CODE_LIFE, Duration::from_millis);
        app.fresh_code(life)
    }
}

impl Fresh {
    /// What the store keeps of it.
    pub(super) fn hash(&self) -> [u8; 32] {
        self.code.hash()
    }

    /// It counts until then.
    pub(super) fn until(&self) -> Timestamp {
        self.until
    }

    /// As it is shown to whoever gives it to `subject`.
    pub(super) fn named(&self, subject: &str) -> NewCode {
        NewCode {
            subject: subject.to_owned(),
            code: self.code.to_string(),
            until: self.until,
        }
    }

    /// Gives it to somebody; a former one of his counts no more.
    pub(super) fn give(self, tx: &mut dyn Tx, role: Role, subject: &str) -> Result<NewCode, Error> {
        enrolment::add(tx, self.code.hash(), role, subject, self.until)?;
        Ok(self.named(subject))
    }

    /// Gives it to an operator.
    pub(super) fn give_operator(
        self,
        tx: &mut dyn Tx,
        name: &str,
    ) -> Result<(NewCode, Act), Error> {
        let code = self.give(tx, Role::Admin, name)?;
        Ok((code, Act::on("operator.code", name)))
    }
}

impl App {
    fn fresh_code(&self, life: Duration) -> Fresh {
        Fresh {
            code: Code::new(self.ca().fingerprint(), &mut *self.rng()),
            until: now().after(life),
        }
    }

    /// A code with which an owner enrols; for whoever has the machine. He is added if there is none of this name, and an owner from here on;
    /// a key he has counts no more as soon as he enrols.
    ///
    /// # Errors
    /// The store's.
    pub async fn operator_code(&self, name: &str, life: Duration) -> Result<NewCode, Problem> {
        let (fresh, name) = (self.fresh_code(life), name.to_owned());
        let given = self.act(SERVER.to_owned(), move |tx| {
            let owner = PutOperator {
                role: OperatorRole::Owner,
                grants_per_day: None,
                anew: false,
            };
            operators::put(tx, &name, &owner)?;
            fresh.give_operator(tx, &name)
        });
        let code = given.await?;
        self.operators_changed().await?;
        Ok(code)
    }
}

/// Names are for logs, addresses and certificates.
pub(super) fn check_name(of: &str, name: &str) -> Result<(), Problem> {
    let fits = !name.is_empty()
        && name.len() <= 64
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if fits {
        return Ok(());
    }
    let detail =
        format!("{of} {name:?}: a name has 1 to 64 letters, digits, dots, dashes and underscores");
    Err(Problem::new(Kind::Invalid, detail))
}
