//! Which commands each status allows; whatever is not here is refused, whoever asks.

use protocol::RescueStatus;

/// The commands a rescue in this status allows, by name. Who may give them, and under which
/// conditions, is decided afterwards.
///
/// Not listed: `request`, which makes a rescue; `tick` and `search`, which only the platform says and
/// which find out for themselves whether they still mean anything.
pub const fn allowed(status: RescueStatus) -> &'static [&'static str] {
    match status {
        RescueStatus::Requested => {
            &["locate", "triage", "set_priority", "set_fleet", "cancel", "cancel_safety", "fail"]
        }
        RescueStatus::Searching => &[
            "confirm_offer",
            "reject_offer",
            "assign",
            "hold",
            "resume",
            "set_priority",
            "set_fleet",
            "cancel",
            "cancel_safety",
            "fail",
        ],
        RescueStatus::Accepted => &[
            "depart",
            "arrive",
            "contacted",
            "unassign",
            "reassign",
            "cancel",
            "cancel_safety",
            "fail",
        ],
        RescueStatus::EnRoute => {
            &["arrive", "contacted", "unassign", "reassign", "cancel", "cancel_safety", "fail"]
        }
        RescueStatus::OnScene => {
            &["begin_assist", "load", "escalate", "contacted", "no_show", "cancel_safety", "fail"]
        }
        RescueStatus::Assisting => {
            &["fixed", "confirm_fixed", "load", "escalate", "cancel_safety", "fail"]
        }
        RescueStatus::Loading => &["depart", "escalate", "cancel_safety", "fail"],
        RescueStatus::InTransit => &["arrive", "cancel_safety", "fail"],
        RescueStatus::AtDropoff => &["unload", "cancel_safety", "fail"],
        RescueStatus::Escalated => &[
            "confirm_offer",
            "reject_offer",
            "assign",
            "hold",
            "resume",
            "set_priority",
            "set_fleet",
            "cancel_safety",
            "fail",
        ],
        RescueStatus::Completed => &["rate"],
        RescueStatus::RejectedOutOfArea
        | RescueStatus::NoDriver
        | RescueStatus::CancelledByRider
        | RescueStatus::CancelledByAdmin
        | RescueStatus::NoShow
        | RescueStatus::CancelledSafety
        | RescueStatus::Failed => &[],
    }
}
