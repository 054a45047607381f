//! Single settings as people write them: on the command line and in TOML.

use std::time::Duration;

use sealcast_net::shard::Executor;
use sealcast_objects::api::KeyMode;
use sealcast_proto::receiver::{Merge, Missing, Verify, VerifyConfig};
use sealcast_proto::sender::Hold;
use sealcast_proto::wire::link::Mode;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Who generates keys, as people write it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ModeSetting {
    /// Mode B: the authority.
    #[default]
    Authority,
    /// Mode A: the delivery server.
    DeliveryServer,
}

impl From<ModeSetting> for KeyMode {
    fn from(setting: ModeSetting) -> Self {
        match setting {
            ModeSetting::Authority => Self::Authority,
            ModeSetting::DeliveryServer => Self::DeliveryServer,
        }
    }
}

impl From<ModeSetting> for Mode {
    fn from(setting: ModeSetting) -> Self {
        match setting {
            ModeSetting::Authority => Self::Authority,
            ModeSetting::DeliveryServer => Self::DeliveryServer,
        }
    }
}

/// What a sender does at the end of a key without a next, as people write it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum HoldSetting {
    /// Go on under the current key with an alarm, at most 10 lifetimes.
    #[default]
    Hold,
    /// Stop sending.
    Stop,
}

impl From<HoldSetting> for Hold {
    fn from(setting: HoldSetting) -> Self {
        match setting {
            HoldSetting::Hold => Self::Hold,
            HoldSetting::Stop => Self::Stop,
        }
    }
}

/// How several delivery servers are used, as people write it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum MergeSetting {
    /// One is delivered, another takes over when it falls silent.
    #[default]
    None,
    /// All are merged by the RTP packets inside.
    Rtp,
}

impl From<MergeSetting> for Merge {
    fn from(setting: MergeSetting) -> Self {
        match setting {
            MergeSetting::None => Self::None,
            MergeSetting::Rtp => Self::Rtp,
        }
    }
}

/// What to do with packets of channels with manifests, as people write it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum VerifySetting {
    /// They wait for their manifest; without one they are dropped.
    #[default]
    VerifyThenDeliver,
    /// They wait for their manifest; without one they are delivered with an alarm.
    VerifyOrAlarm,
    /// They are delivered at once; an alarm follows if they were forged.
    DeliverThenAlarm,
}

impl From<VerifySetting> for VerifyConfig {
    fn from(setting: VerifySetting) -> Self {
        let (verify, missing) = match setting {
            VerifySetting::VerifyThenDeliver => (Verify::ThenDeliver, Missing::Drop),
            VerifySetting::VerifyOrAlarm => (Verify::ThenDeliver, Missing::Deliver),
            VerifySetting::DeliverThenAlarm => (Verify::AfterDelivery, Missing::Drop),
        };
        Self {
            verify,
            missing,
            ..Self::default()
        }
    }
}

/// An occasion to fetch keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum FetchSetting {
    /// The second preset is reached.
    Timer,
    /// A Notice came.
    Notice,
    /// A packet came under an unknown key id.
    Demand,
}

/// What shards wait in, as people write it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ExecutorSetting {
    /// epoll
    #[default]
    Epoll,
    /// io_uring, by glommio
    IoUring,
}

impl From<ExecutorSetting> for Executor {
    fn from(setting: ExecutorSetting) -> Self {
        match setting {
            ExecutorSetting::IoUring => Self::IoUring,
            ExecutorSetting::Epoll => Self::Epoll,
        }
    }
}

/// The flag for it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ExecutorArgs {
    /// What shards wait in [default: epoll]
    #[arg(long, env = "SEALCAST_EXECUTOR", value_name = "NAME")]
    executor: Option<ExecutorSetting>,
}

impl ExecutorArgs {
    /// What was asked for: here, or else in a file.
    pub(crate) fn or(&self, file: Option<ExecutorSetting>) -> ExecutorSetting {
        self.executor.or(file).unwrap_or_default()
    }

    /// Where there is no file.
    pub(crate) fn chosen(&self) -> Executor {
        self.or(None).into()
    }
}

pub(crate) fn opt_duration<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text).map(Some).map_err(|error| {
        serde::de::Error::custom(format!(
            "{text:?} is no duration ({error}): write 60s or 500ms"
        ))
    })
}

pub(crate) fn as_text<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_duration(*duration))
}

pub(crate) fn opt_as_text<S: Serializer>(
    duration: &Option<Duration>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => as_text(duration, to),
        None => to.serialize_none(),
    }
}
