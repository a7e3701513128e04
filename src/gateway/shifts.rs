//! The shifts of drivers: what staff say of when each is to work, and what each is told of its own.
//!
//! All of a driver's shifts are said at once, and by its version whoever changes them says which ones those were, so that two
//! editors do not overwrite each other. The driver judges (`actors/src/driver/rota.rs`).

use super::{
    Gate,
    rest::{Answered, Body, Caller, Expected, Key, Named, id_of, tagged},
    scope::elsewhere,
    why::driver_named,
};
use crate::auth::scope::Scope;
use actors::{
    Tell,
    driver::{Command, Driver},
    policy::Shifts,
    runtime::Wished,
};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use protocol::{
    DriverId, Refused,
    view::{Shift, ShiftView, ShiftsView},
};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// When a driver is to work, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetShifts {
    /// All of its shifts that are not over, in any order: 64 at most, none overlapping another.
    shifts: Vec<Shift>,
    /// Why, for whoever reads it later: 1 to 200 characters on one line.
    reason: String,
}

/// A driver's shifts, with their version.
#[derive(Debug)]
pub(super) struct Shown(ShiftsView);

impl IntoResponse for Shown {
    fn into_response(self) -> Response {
        tagged(self.0.version, &self.0)
    }
}

/// Which version of a driver's shifts is to be changed: 0, if it has had none.
type ExpectedShifts = Expected<0>;

/// When a driver is to work, whether it came, and until when staff let it work outside of that. Its `ETag` is its version. A
/// driver is told of itself (`me`), staff of anyone.
#[utoipa::path(
    get, path = "/v1/drivers/{id}/shifts", tag = "drivers", security(("bearer" = [])),
    params(("id" = String, Path, description = "driver-…, or `me`")),
    responses(
        (status = 200, body = ShiftsView), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused)
    )
)]
pub(super) async fn show_shifts(
    State(gate): State<Arc<Gate>>,
    Caller(by): Caller,
    Named(id): Named,
) -> Result<Shown, Answered> {
    let id = driver_named(&id, by.who)?;
    gate.check_sight(id.into(), &by).await?;
    Ok(Shown(gate.shifts_of(id).await?))
}

/// Says when a driver is to work: in these shifts, and in no others. Who has not seen those that stand now is refused (409
/// `too_late`), and changes nothing. One that begins when it did before is the same shift, and may have begun. What the driver has it
/// ends, also if it is in no shift any more. Also of one who has never been on duty. Staff only; of dispatchers of some regions,
/// only shifts in zones of these.
#[utoipa::path(
    put, path = "/v1/drivers/{id}/shifts", tag = "drivers", security(("bearer" = [])),
    request_body = SetShifts,
    params(
        ("id" = String, Path, description = "driver-…"),
        ("If-Match" = String, Header, description = "the version that is to be changed, as its ETag says it"),
        ("Idempotency-Key" = Option<String>, Header, description = "a UUIDv7, or any text of at most 64 characters")
    ),
    responses(
        (status = 200, body = ShiftsView), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused), (status = 409, body = Refused), (status = 422, body = Refused),
        (status = 503, body = Refused)
    )
)]
pub(super) async fn set_shifts(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    Named(id): Named,
    expected: Result<ExpectedShifts, Answered>,
    key: Result<Key, Answered>,
    body: Result<Body<SetShifts>, Answered>,
) -> Result<Shown, Answered> {
    caller.staff()?;
    let (id, Expected(expects), Body(set)) = (id_of::<DriverId>(&id)?, expected?, body?);
    let (key, by) = (key?, &caller.0);
    gate.check_sight(id.into(), by).await?;
    check_within(&by.scope, &gate.shifts_of(id).await?.shifts, &set.shifts)?;
    let command = gate.keyed(by.who, key, |_| id.into()).await;
    let wished = Wished::new(&(expects, &set.shifts, &set.reason));
    let SetShifts { shifts, reason } = set;
    let grace_s = gate.translator.preset.driver.shift_grace_s;
    let tell =
        Tell::Driver { to: id, command: Command::SetShifts { expects, shifts, grace_s, reason } };
    let told = gate.system.grant(wished, tell, by.who, command, gate.patience).await;
    told.map_err(Refused::from)?;
    Ok(Shown(gate.shifts_of(id).await?))
}

/// Refuses to give shifts, or to take any away, that are not all in these regions.
fn check_within(scope: &Scope, stand: &[ShiftView], wanted: &[Shift]) -> Result<(), Refused> {
    if scope.is_everywhere() {
        return Ok(());
    }
    let stand: Vec<Shift> =
        stand.iter().map(|it| Shift { start: it.start, end: it.end, zone: it.zone }).collect();
    let given = wanted.iter().filter(|it| !stand.contains(it));
    let taken = stand.iter().filter(|it| !wanted.contains(it));
    let is_within = |it: &Shift| it.zone.is_some_and(|zone| scope.covers(zone));
    match given.chain(taken).all(is_within) {
        true => Ok(()),
        false => Err(elsewhere(scope)),
    }
}

impl Gate {
    async fn shifts_of(&self, id: DriverId) -> Result<ShiftsView, Refused> {
        let demanded = self.translator.preset.driver.shifts == Shifts::Demanded;
        let (_, driver) = self.system.read::<Driver>(id).await?;
        Ok(driver.shifts_view(demanded, self.system.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actors::zone::neighbourhood;
    use protocol::{Point, Timestamp, ZoneId, view::Turnout};

    fn shift(start: u64, zone: Option<ZoneId>) -> Shift {
        Shift { start: Timestamp(start), end: Timestamp(start + 9), zone }
    }

    fn stands(Shift { start, end, zone }: Shift) -> ShiftView {
        ShiftView { start, end, zone, due: start, turnout: Turnout::Awaited }
    }

    #[test]
    fn a_dispatcher_of_some_regions_gives_and_takes_shifts_in_them_only() {
        let here = Point { lat: -1.9441, lon: 30.0619 };
        let [near, far] = [here, here.offset_m(50_000.0, 0.0)].map(neighbourhood);
        let scope = Scope::of(&[near.to_string()]).unwrap();
        let (mine, theirs, anywhere) =
            (shift(10, Some(near)), shift(20, Some(far)), shift(30, None));
        let check = |stand: &[Shift], wanted: &[Shift]| {
            let stand: Vec<_> = stand.iter().copied().map(stands).collect();
            check_within(&scope, &stand, wanted).is_ok()
        };
        assert!(check(&[], &[mine]) && check(&[mine], &[]));
        assert!(check(&[theirs, anywhere], &[mine, theirs, anywhere]), "those stay as they are");
        for other in [theirs, anywhere] {
            assert!(!check(&[], &[other]), "{other:?}");
            assert!(!check(&[mine, other], &[mine]), "{other:?}");
        }
        assert!(check_within(&Scope::default(), &[stands(theirs)], &[anywhere]).is_ok());
    }
}
