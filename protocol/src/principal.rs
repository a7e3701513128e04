//! Who is speaking.

use crate::{DriverId, MerchantId, RiderId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Who is speaking, as their token proves. Whether they may do a thing is decided by the actor they
/// ask, from its relation to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Principal {
    /// Who asks for a job.
    Rider(RiderId),
    /// Who performs jobs.
    Driver(DriverId),
    /// Who prepares what a commerce order carries.
    Merchant(MerchantId),
    /// A person who watches over the city and may act for others.
    Dispatcher,
    /// A person who may do anything a dispatcher may, and more.
    Admin,
    /// The platform itself: a timer, another actor, a region.
    System,
}

/// What a principal may be, without which one.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[expect(missing_docs, reason = "each is a kind of Principal")]
pub enum Role {
    Rider,
    Driver,
    Merchant,
    Dispatcher,
    Admin,
    System,
}

impl Principal {
    /// Its kind.
    pub fn role(self) -> Role {
        match self {
            Self::Rider(_) => Role::Rider,
            Self::Driver(_) => Role::Driver,
            Self::Merchant(_) => Role::Merchant,
            Self::Dispatcher => Role::Dispatcher,
            Self::Admin => Role::Admin,
            Self::System => Role::System,
        }
    }

    /// May it act for others: a dispatcher, an admin or the platform itself?
    pub fn is_staff(self) -> bool {
        match self {
            Self::Dispatcher | Self::Admin | Self::System => true,
            Self::Rider(_) | Self::Driver(_) | Self::Merchant(_) => false,
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rider(id) => id.fmt(f),
            Self::Driver(id) => id.fmt(f),
            Self::Merchant(id) => id.fmt(f),
            Self::Dispatcher => f.write_str("dispatcher"),
            Self::Admin => f.write_str("admin"),
            Self::System => f.write_str("system"),
        }
    }
}
