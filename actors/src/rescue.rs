//! Help to a stranded vehicle, from the call to the moment it runs again or is where it should be.

pub use crate::search::Sighting;
use crate::{policy::JobPolicy, search};
use protocol::{
    DriverId, Fare, OfferId, Place, RiderId,
    work::{Issue, Needs, Proof, VehicleKind},
};
use serde::{Deserialize, Serialize};

/// What can be asked of a rescue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Command {
    /// Somebody is stranded.
    Request(Box<Request>),
    /// A dispatcher, or a rule, says what the driver must bring.
    Triage {
        /** What. */
        needs: Needs,
    },
    /// About its search. The asker is always the platform.
    Search(search::Command),
    /// Two-sided: the rider wants this driver.
    ConfirmOffer {
        /** Whose offer. */
        offer: OfferId,
    },
    /// Two-sided: the rider does not.
    RejectOffer {
        /** Whose offer. */
        offer: OfferId,
    },
    /// A dispatcher gives it to this driver.
    Assign {
        /** To whom. */
        driver: DriverId,
        /** Even if excluded or full. */
        force: bool,
        /** Why. */
        reason: String,
    },
    /// A dispatcher takes it from its driver.
    Unassign {
        /** Why. */
        reason: String,
    },
    /// The driver sets off: to the scene, or from it once loaded.
    Depart {},
    /// The driver is there: at the scene, or at the dropoff.
    Arrive {},
    /// The driver starts to repair.
    BeginAssist {},
    /// The driver starts to load.
    Load {
        /** Where it goes, if not said before. */
        dropoff: Option<Place>,
        /** What shows how it was. */
        proofs: Vec<Proof>,
    },
    /// The driver there needs another one.
    Escalate {
        /** What that one must bring. */
        needs: Needs,
        /** Does the first driver stay? */
        stay: bool,
    },
    /// The vehicle is off the truck.
    Unload {
        /** What shows how it is. */
        proofs: Vec<Proof>,
    },
    /// It runs again.
    Fixed {},
    /// The rider says whether it does.
    ConfirmFixed {
        /** Does it? */
        fixed: bool,
    },
    /// The driver tried to reach the rider.
    Contacted {},
    /// The rider is not there.
    NoShow {},
    /// Call it off: before the driver is there for the rider; the driver only gives it back.
    Cancel {
        /** Why. */
        reason: String,
    },
    /// Call it off because someone is not safe. Never refused while the rescue lives.
    CancelSafety {
        /** Why. */
        reason: String,
    },
    /// It went wrong beyond repair.
    Fail {
        /** Why. */
        reason: String,
    },
    /// One to five stars, from the rider.
    Rate {
        /** 1 to 5. */
        stars: u8,
    },
    /// The deadline has come.
    Tick {},
}

/// A rescue as it is asked for, with everything the platform knows at that moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Who is stranded.
    pub rider: RiderId,
    /// What is wrong.
    pub issue: Issue,
    /// Where the vehicle is.
    pub at: Place,
    /// How well that is known, in metres; `None` if nobody said.
    #[serde(default)]
    pub accuracy_m: Option<u32>,
    /// Where it should be taken, if known.
    pub dropoff: Option<Place>,
    /// What is stranded.
    pub vehicle: Option<VehicleKind>,
    /// How heavy it is, in grams; 0 if unknown.
    pub weight_g: u32,
    /// Is the place inside the service area?
    pub served: bool,
    /// What it costs.
    pub fare: Fare,
    /// The rules it is run by from now on.
    pub policy: JobPolicy,
}
