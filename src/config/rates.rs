//! The table `[rates]` of `sealcast serve`: how often somebody may ask.

use clap::Args;
use sealcast_control::http::{Limits, Rate};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// As flags.
#[derive(Clone, Debug, Default, Args)]
pub struct RatesArgs {
    /// How often a device may ask, per second and at once; 0: as often as it likes [default: 20/200]
    #[arg(long, value_name = "RATE")]
    device_rate: Option<Rate>,
    /// How often one may with a token of a person [default: 20/200]
    #[arg(long, value_name = "RATE")]
    person_rate: Option<Rate>,
    /// How often one network may, where nobody says who he is [default: 200/2000]
    #[arg(long, value_name = "RATE")]
    network_rate: Option<Rate>,
}

/// As in the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RatesFile {
    #[serde(default, deserialize_with = "rate")]
    device: Option<Rate>,
    #[serde(default, deserialize_with = "rate")]
    person: Option<Rate>,
    #[serde(default, deserialize_with = "rate")]
    network: Option<Rate>,
}

fn rate<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Rate>, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// Resolved.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RatesPlan {
    #[serde(serialize_with = "as_text")]
    device: Rate,
    #[serde(serialize_with = "as_text")]
    person: Rate,
    #[serde(serialize_with = "as_text")]
    network: Rate,
}

fn as_text<S: Serializer>(rate: &Rate, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(rate)
}

impl RatesArgs {
    /// With what the file says, and defaults.
    #[must_use]
    pub fn resolve(&self, file: &RatesFile) -> RatesPlan {
        let limits = Limits::default();
        RatesPlan {
            device: self
                .device_rate
                .or(file.device)
                .unwrap_or(limits.device_rate),
            person: self
                .person_rate
                .or(file.person)
                .unwrap_or(limits.person_rate),
            network: self
                .network_rate
                .or(file.network)
                .unwrap_or(limits.network_rate),
        }
    }
}

impl RatesPlan {
    /// These limits, with the rates.
    #[must_use]
    pub fn with(self, limits: Limits) -> Limits {
        Limits {
            device_rate: self.device,
            person_rate: self.person,
            network_rate: self.network,
            ..limits
        }
    }
}
