//! `[sales]`: how long the steps of a sale may take.

use std::time::Duration;

use anyhow::{Result, ensure};
use sealcast_domain::sales::Lives;
use serde::{Deserialize, Serialize};

use super::{as_text, opt_duration};

/// The shortest and the longest of each.
const BOUNDS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(90 * 24 * 3600)];

/// As in the file.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SalesFile {
    #[serde(default, deserialize_with = "opt_duration")]
    receive: Option<Duration>,
    #[serde(default, deserialize_with = "opt_duration")]
    settle: Option<Duration>,
    #[serde(default, deserialize_with = "opt_duration")]
    grant: Option<Duration>,
}

/// Resolved.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SalesPlan {
    #[serde(serialize_with = "as_text")]
    receive: Duration,
    #[serde(serialize_with = "as_text")]
    settle: Duration,
    #[serde(serialize_with = "as_text")]
    grant: Duration,
}

impl SalesFile {
    /// With defaults for what is not given.
    ///
    /// # Errors
    /// Which setting is out of range (PC-14, PC-25).
    pub fn resolve(&self) -> Result<SalesPlan> {
        let default = Lives::default();
        let plan = SalesPlan {
            receive: self.receive.unwrap_or(default.receive),
            settle: self.settle.unwrap_or(default.settle),
            grant: self.grant.unwrap_or(default.grant),
        };
        let [shortest, longest] = BOUNDS;
        for (name, life) in [
            ("receive", plan.receive),
            ("settle", plan.settle),
            ("grant", plan.grant),
        ] {
            ensure!(
                (shortest..=longest).contains(&life),
                "sales.{name} = {life:?}: from {shortest:?} to {longest:?}"
            );
        }
        ensure!(
            plan.receive < plan.settle,
            "sales.receive = {:?} and sales.settle = {:?}: what is sent must have arrived before it is settled",
            plan.receive,
            plan.settle
        );
        Ok(plan)
    }
}

impl From<SalesPlan> for Lives {
    fn from(plan: SalesPlan) -> Self {
        Self {
            receive: plan.receive,
            settle: plan.settle,
            grant: plan.grant,
        }
    }
}
