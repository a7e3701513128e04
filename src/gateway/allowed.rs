//! Which of the commands a refusal lists the asker could give: nobody is told what is for others.

use actors::{Kind, order::table};
use protocol::{Principal, Refused, frame::ServerFrame, view::OrderView};

/// The same refusal with those of its `allowed` that are for `by`. `shown` is what `by` sees of the
/// actor that refused.
pub(crate) fn for_asker(
    refused: Refused,
    kind: Kind,
    shown: &ServerFrame,
    by: Principal,
) -> Refused {
    let allowed = refused.allowed.iter().filter(|name| match (kind, shown) {
        (Kind::Order, ServerFrame::Order(order)) => of_order(name, order, by),
        (Kind::Rescue, _) => of_rescue(name, by),
        (Kind::Driver, _) => of_driver(name, by),
        (Kind::Incident | Kind::Run, _) => by.is_staff(),
        (
            Kind::Order | Kind::Rider | Kind::Revocation | Kind::Zone | Kind::Rule | Kind::Template,
            _,
        ) => false,
    });
    Refused { allowed: allowed.cloned().collect(), ..refused }
}

fn of_order(command: &str, order: &OrderView, by: Principal) -> bool {
    let relation = match by {
        Principal::Rider(_) => table::RIDER,
        Principal::Driver(_) => table::DRIVER,
        Principal::Merchant(_) => table::MERCHANT,
        Principal::Dispatcher => table::DISPATCHER,
        Principal::Admin => table::DISPATCHER | table::ADMIN,
        Principal::System => table::SYSTEM,
    };
    table::who(command, order.kind, order.status, order.fulfilment) & relation != 0
}

fn of_rescue(command: &str, by: Principal) -> bool {
    match by {
        Principal::Rider(_) => matches!(
            command,
            "locate"
                | "confirm_offer"
                | "reject_offer"
                | "confirm_fixed"
                | "arrive"
                | "cancel"
                | "cancel_safety"
                | "rate"
        ),
        Principal::Driver(_) => matches!(
            command,
            "depart"
                | "arrive"
                | "begin_assist"
                | "load"
                | "unload"
                | "fixed"
                | "contacted"
                | "no_show"
                | "escalate"
                | "cancel"
                | "cancel_safety"
        ),
        Principal::Merchant(_) => false,
        Principal::Dispatcher | Principal::Admin | Principal::System => matches!(
            command,
            "locate"
                | "triage"
                | "confirm_offer"
                | "reject_offer"
                | "confirm_fixed"
                | "assign"
                | "unassign"
                | "reassign"
                | "hold"
                | "resume"
                | "set_priority"
                | "set_fleet"
                | "arrive"
                | "escalate"
                | "cancel"
                | "cancel_safety"
                | "fail"
        ),
    }
}

fn of_driver(command: &str, by: Principal) -> bool {
    match by {
        Principal::Driver(_) => matches!(
            command,
            "set_duty"
                | "see_offer"
                | "accept_offer"
                | "decline_offer"
                | "claim_job"
                | "reject_job"
                | "set_destination"
        ),
        Principal::Rider(_) | Principal::Merchant(_) => false,
        Principal::Dispatcher | Principal::Admin | Principal::System => {
            matches!(
                command,
                "set_duty"
                    | "set_fleet"
                    | "grant_skill"
                    | "revoke_skill"
                    | "allow_off_shift"
                    | "revoke_off_shift"
                    | "suspend"
                    | "reinstate"
            )
        }
    }
}

#[cfg(test)]
mod tests;
