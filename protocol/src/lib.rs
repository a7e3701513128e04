//! The words riders, drivers, dispatchers and the platform exchange.
//!
//! Everything here is plain data. A type lives in this crate when it crosses a wire, or when it is a
//! quantity so basic that both sides must mean the same thing by it, so that the load tester can
//! speak to the server without knowing how the server works.

pub mod changes;
pub mod codec;
mod date;
pub mod frame;
pub mod geo;
mod ids;
mod money;
mod principal;
mod refused;
pub mod rule;
mod status;
pub mod template;
mod time;
pub mod trace;
pub mod view;
pub mod work;

pub use date::{Date, NoDate, TimeOfDay, Weekday};
pub use geo::{Place, Point};
pub use ids::{
    CommandId, DriverId, Identifier, IncidentId, JobId, MerchantId, OfferId, OrderId, ParseIdError,
    PartnerId, RescueId, RevocationId, RiderId, RuleId, RunId, SHARDS, SessionId, ShardId,
    ShardSet, TemplateId, TokenId, ZoneId,
};
pub use money::{Currency, Fare, FareLine, Money};
pub use principal::{Principal, Role};
pub use refused::{Code, Refused};
pub use status::{
    DriverStatus, DutyStatus, FulfilmentStatus, IncidentStatus, MemberStatus, OfferStatus,
    OrderStatus, RescueStatus, RunStatus,
};
pub use time::Timestamp;
