// What the node itself calls things, by the group of the catalogues that has a word for each. What the client's types
// know is taken from them, so that a catalogue that lacks a word does not compile; what is only told over HTTP is held to
// the node's own lists by `tests/tidy.rs`, and so are the names of events.

import type {
  Code, DriverAction, DriverStatus, FulfilmentStatus, IncidentAction, IncidentKind, IncidentStatus, Issue, MemberStatus, OfferPolicy, OfferStatus,
  OrderAction, OrderKind, OrderStatus, PaymentTiming, Principal, Priority, ProofKind, RescueAction, RescueStatus, RunAction, RunStatus, StopKind, VehicleKind, WhyNot,
} from "@outrider/client";
import type { Kind } from "../status.js";

/** What a round made of a job. */
export type Verdict = "proposed" | "held_too_far" | "held_busy" | "outbid" | "nobody" | "zone_paused";
/** What became of a driver whom a round weighed. */
export type Fate = "proposed" | "held" | "taken" | "spare";
/** What the cost of a driver is made of: each is a field `…_ms` of what a round weighed. */
export type CostPart = "travel" | "busy" | "idle" | "rating" | "level" | "refusal" | "excess" | "fairness" | "turn";
/** What a driver means to do. */
export type DutyStatus = "on_duty" | "leaving" | "on_break" | "unreachable" | "blocked" | "offline";
/** How a node stands. */
export type Standing = "up" | "draining" | "dead";
/** How far the hand-over of a shard has come. */
export type Phase = "prepare" | "seal" | "transfer" | "adopt";

/** The names of a tagged union's members. */
type Tags<Union> = Union extends string ? Union : Union extends object ? keyof Union : never;
/** What staff may not do, and so are never told that they could. */
type OfOthers =
  | "accept_change" | "decline_change" | "depart" | "contacted" | "no_show" | "arrive_stop" | "complete_stop" | "cannot_continue" | "pick_up" | "deliver"
  | "request_cancel" | "start_prep" | "item_unavailable" | "adjust_fare_down" | "tip" | "rate" | "begin_assist" | "load" | "unload" | "fixed"
  | "accept_offer" | "decline_offer" | "see_offer" | "claim_job" | "reject_job" | "set_destination";

/** Whether a driver came to a shift. */
export type Turnout = "awaited" | "came" | "missed" | "excused";
/** How something stands that staff say, version by version. */
export type Stands = "set" | "due" | "paused" | "over" | "removed";
/** What became of a template of runs on one day. */
export type DayOutcome = "run" | "alone" | "failed" | "missed";
/** How what a template places may be paid for. */
export type Payment = Exclude<PaymentTiming, "prepay">;

export interface Named {
  status: DriverStatus | DutyStatus | OrderStatus | RescueStatus;
  fulfilment: FulfilmentStatus;
  run: RunStatus;
  member: MemberStatus;
  errand: StopKind;
  case: IncidentStatus;
  incident: IncidentKind;
  issue: Issue;
  kind: Kind | OrderKind | VehicleKind | Tags<Principal>;
  offer: OfferStatus;
  policy: OfferPolicy;
  priority: Priority;
  why: WhyNot;
  verdict: Verdict;
  fate: Fate;
  cost: CostPart;
  code: Code;
  command: Exclude<Tags<OrderAction | RescueAction | DriverAction | IncidentAction | RunAction>, OfOthers>;
  standing: Standing;
  stands: Stands;
  turnout: Turnout;
  day: DayOutcome;
  payment: Payment;
  proof: ProofKind;
  phase: Phase;
}

/** The keys that every catalogue has. */
export type NamedKey = { [Group in keyof Named]: `${Group}.${Named[Group]}` }[keyof Named];

/** Groups of names that are open: what a catalogue has no word for is said as the node says it. */
export type OpenGroup = "event" | "fare" | "field" | "skill";
