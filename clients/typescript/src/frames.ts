// Generated from protocol/asyncapi.json by `npm run generate`. Do not edit.

/**
 * What a client says.
 */
export type ClientFrame =
  | {
      /**
       * Who I am, if the request that opened the socket did not say; later, that I still am: a newer token
       * of the same principal. Answered by [`ServerFrame::Welcome`].
       */
      identify: {
        resume?: Resume | null;
        /**
         * A signed bearer token.
         */
        token: string;
      };
    }
  | {
      /**
       * I am still here.
       */
      heartbeat: {
        /**
         * How many frames of this session I have, of all kinds: they need not be kept for me.
         */
        heard?: number | null;
      };
    }
  | {
      /**
       * I want this. Answered by exactly one [`ServerFrame::Result`].
       */
      command: {
        id: CommandId;
        wish: Wish;
      };
    }
  | {
      position: Fix;
    }
  | {
      /**
       * I have push number `n`.
       */
      ack: {
        /**
         * Which.
         */
        n: number;
      };
    }
  | {
      subscribe: Topic;
    }
  | {
      unsubscribe: Topic;
    };
export type SessionId = string;
export type CommandId = string;
/**
 * Anything a client can ask for, over any transport.
 */
export type Wish =
  | {
      place_order: NewOrder;
    }
  | {
      /**
       * Something done to an order.
       */
      order: {
        action: OrderAction;
        id: OrderId;
      };
    }
  | {
      request_rescue: NewRescue;
    }
  | {
      /**
       * Something done to a rescue.
       */
      rescue: {
        action: RescueAction;
        id: RescueId;
      };
    }
  | {
      /**
       * Something done to a rider.
       */
      rider: {
        action: RiderAction;
        id: RiderId;
      };
    }
  | {
      /**
       * Something done to a driver; oneself, if absent.
       */
      driver: {
        action: DriverAction;
        id?: DriverId | null;
      };
    }
  | {
      sos: Sos;
    }
  | {
      /**
       * Something done to an incident.
       */
      incident: {
        action: IncidentAction;
        id: IncidentId;
      };
    }
  | {
      /**
       * Something done to a zone.
       */
      zone: {
        action: ZoneAction;
        id: ZoneId;
      };
    }
  | {
      /**
       * Something done to a run. Staff only.
       */
      run: {
        action: RunAction;
        id: RunId;
      };
    };
export type DriverId = string;
/**
 * What shows that goods changed hands.
 */
export type ProofKind = "photo" | "signature" | "pin" | "qr" | "barcode" | "id_document" | "quantity";
export type PartnerId = string;
/**
 * How a commerce order reaches its rider.
 */
export type Handoff = "driver" | "collect";
/**
 * What is moved.
 */
export type OrderKind = "ride" | "delivery" | "commerce";
export type MerchantId = string;
/**
 * What a driver drives.
 */
export type VehicleKind = "foot" | "bicycle" | "moto" | "car" | "van" | "tow_truck";
/**
 * How and when an order is paid for.
 */
export type PaymentTiming = "cash" | "prepay" | "on_completion";
/**
 * How a driver is found.
 */
export type OfferPolicy =
  "sequential" | "broadcast_first_wins" | "two_sided" | "batch_optimal" | "auto_assign" | "direct" | "feed";
export type RiderId = string;
/**
 * Milliseconds since the Unix epoch, as read by whoever received the words it is attached to.
 */
export type Timestamp = number;
/**
 * What may be done to an order. Who may do which, and when, the order decides.
 */
export type OrderAction =
  | {
      /**
       * The payment is good for this amount (minor units).
       */
      confirm_payment: {
        /**
         * Minor units.
         */
        amount: number;
      };
    }
  | {
      /**
       * The payment failed for good.
       */
      fail_payment: {};
    }
  | {
      /**
       * Change the time of a scheduled order.
       */
      reschedule: {
        start_at: Timestamp;
      };
    }
  | {
      /**
       * Staff: look at the price of a scheduled order again.
       */
      requote: {};
    }
  | {
      /**
       * The rider agrees to the new price.
       */
      accept_price: {};
    }
  | {
      /**
       * The rider does not, and the order is called off.
       */
      decline_price: {};
    }
  | {
      /**
       * Change the stops of a running one; the driver must agree.
       */
      modify_stops: {
        /**
         * The stops still to come.
         */
        stops: Place[];
      };
    }
  | {
      /**
       * The driver agrees to the new stops.
       */
      accept_change: {};
    }
  | {
      /**
       * The driver does not.
       */
      decline_change: {};
    }
  | {
      /**
       * Two-sided: the rider wants this driver.
       */
      confirm_offer: {
        offer: OfferId;
      };
    }
  | {
      /**
       * Two-sided: the rider does not.
       */
      reject_offer: {
        offer: OfferId;
      };
    }
  | {
      /**
       * A dispatcher gives it to this driver.
       */
      assign: {
        driver: DriverId;
        /**
         * Even if something speaks against it that may be overruled: excluded, full, resting, unsuitable.
         */
        force?: boolean;
        /**
         * Why.
         */
        reason?: string;
      };
    }
  | {
      /**
       * A dispatcher takes it from its driver.
       */
      unassign: {
        /**
         * Why.
         */
        reason: string;
      };
    }
  | {
      /**
       * A dispatcher takes it from its driver and gives it to this one.
       */
      reassign: {
        driver: DriverId;
        /**
         * Even if something speaks against it.
         */
        force?: boolean;
        /**
         * Why.
         */
        reason: string;
      };
    }
  | {
      /**
       * A dispatcher lets nobody be asked for a while: open offers are taken back, and the time to find somebody
       * stands still.
       */
      hold: {
        /**
         * Why.
         */
        reason: string;
      };
    }
  | {
      /**
       * A dispatcher lets drivers be asked again.
       */
      resume: {
        /**
         * Why.
         */
        reason?: string;
      };
    }
  | {
      /**
       * A dispatcher lets it come before others, or after them.
       */
      set_priority: {
        priority: Priority;
        /**
         * Why.
         */
        reason: string;
      };
    }
  | {
      /**
       * A dispatcher keeps it to the drivers of one fleet, or frees it again.
       */
      set_fleet: {
        fleet?: PartnerId | null;
        /**
         * Why.
         */
        reason: string;
      };
    }
  | {
      /**
       * Nobody was found: look again for a while, from the feed.
       */
      extend_search: {};
    }
  | {
      /**
       * Nobody was found: the rider collects it from the merchant.
       */
      collect_instead: {};
    }
  | {
      /**
       * The driver sets off.
       */
      depart: {};
    }
  | {
      /**
       * The driver is there. The rider or staff may say so where GPS does not.
       */
      arrive: {};
    }
  | {
      /**
       * The rider is on board (two-sided presets ask).
       */
      on_board: {};
    }
  | {
      /**
       * The ride starts.
       */
      start: {
        /**
         * What the rider told the driver.
         */
        code?: string | null;
      };
    }
  | {
      /**
       * The goods are in the driver's hands.
       */
      pick_up: {
        /**
         * What shows it.
         */
        proofs?: Proof[];
      };
    }
  | {
      /**
       * At a stop on the way.
       */
      arrive_stop: {};
    }
  | {
      /**
       * Done there.
       */
      complete_stop: {
        /**
         * What shows it.
         */
        proofs?: Proof[];
      };
    }
  | {
      /**
       * Not done there.
       */
      skip_stop: {
        /**
         * Why.
         */
        reason: string;
      };
    }
  | {
      /**
       * The ride ends.
       */
      finish: {
        /**
         * The last code, where one is used.
         */
        code?: string | null;
        /**
         * Why it ends away from the last stop: `rider_asked`, `road_blocked`, `wrong_address`,
         *         `breakdown`, `unsafe` or `staff_decision`.
         */
        early_reason?: string | null;
      };
    }
  | {
      /**
       * The goods are handed over.
       */
      deliver: {
        /**
         * Cash collected, in minor units.
         */
        cash?: number | null;
        /**
         * What shows it.
         */
        proofs?: Proof[];
      };
    }
  | {
      /**
       * The goods could not be handed over.
       */
      fail: {
        /**
         * Why.
         */
        reason: string;
      };
    }
  | {
      /**
       * Try again to hand the goods over; after nobody was found, as a new order.
       */
      retry: {};
    }
  | {
      /**
       * Take the goods back.
       */
      start_return: {};
    }
  | {
      /**
       * The goods are back.
       */
      returned: {
        /**
         * What shows it.
         */
        proofs?: Proof[];
      };
    }
  | {
      /**
       * A dispatcher lets another driver take over the goods, who is told, not asked.
       */
      handover: {
        driver: DriverId;
        /**
         * Even if something speaks against it that may be overruled.
         */
        force?: boolean;
        /**
         * Why.
         */
        reason?: string;
      };
    }
  | {
      /**
       * The driver tried to reach the rider.
       */
      contacted: {};
    }
  | {
      /**
       * The rider did not come.
       */
      no_show: {};
    }
  | {
      /**
       * Call it off.
       */
      cancel: {
        /**
         * Why.
         */
        reason?: string;
      };
    }
  | {
      /**
       * Ask to call it off after pickup.
       */
      request_cancel: {
        /**
         * Why.
         */
        reason: string;
      };
    }
  | {
      /**
       * Answer that.
       */
      decide_cancel: {
        decision: CancelDecision;
      };
    }
  | {
      /**
       * Call it off because someone is not safe. Never refused while the order lives.
       */
      cancel_safety: {
        /**
         * Why.
         */
        reason?: string;
      };
    }
  | {
      /**
       * The rider wants out before the last stop.
       */
      end_early: {};
    }
  | {
      /**
       * The driver cannot go on.
       */
      cannot_continue: {
        /**
         * Why.
         */
        reason: string;
      };
    }
  | {
      /**
       * The goods are lost or damaged.
       */
      report_loss: {
        /**
         * How.
         */
        reason: string;
      };
    }
  | {
      /**
       * The driver takes this many percent off the fare.
       */
      adjust_fare_down: {
        /**
         * 1 to 100.
         */
        percent: number;
      };
    }
  | {
      /**
       * The rider gives something extra, in minor units.
       */
      tip: {
        /**
         * Minor units.
         */
        amount: number;
      };
    }
  | {
      /**
       * One to five stars.
       */
      rate: {
        /**
         * 1 to 5.
         */
        stars: number;
      };
    }
  | {
      /**
       * The merchant will make it.
       */
      merchant_accept: {
        /**
         * Minutes until ready.
         */
        prep_min: number;
      };
    }
  | {
      /**
       * The merchant will not.
       */
      merchant_reject: {
        /**
         * Why.
         */
        reason: string;
      };
    }
  | {
      /**
       * The merchant starts.
       */
      start_prep: {};
    }
  | {
      /**
       * It is ready.
       */
      ready: {};
    }
  | {
      /**
       * One item cannot be had.
       */
      item_unavailable: {
        /**
         * Which, from 0.
         */
        item: number;
      };
    }
  | {
      /**
       * The rider's answer to that.
       */
      decide_item: {
        /**
         * Which, from 0.
         */
        item: number;
        /**
         * Something like it (true), or the money (false).
         */
        replace: boolean;
      };
    }
  | {
      /**
       * The merchant gave it to the driver.
       */
      hand_over: {};
    }
  | {
      /**
       * The rider collected it.
       */
      collected: {
        /**
         * The collection code.
         */
        code?: string | null;
      };
    };
export type OfferId = string;
/**
 * What comes before what, where there are too few drivers.
 */
export type Priority = "low" | "normal" | "high" | "urgent";
/**
 * What becomes of goods whose order is called off after pickup.
 */
export type CancelDecision = "return" | "complete" | "deny";
export type OrderId = string;
/**
 * What kind of bike is stranded.
 */
export type Bike = "bicycle" | "e_bike" | "cargo_bike" | "kick_scooter" | "moped" | "motorcycle";
/**
 * What is wrong with a stranded vehicle.
 */
export type Issue = "flat_tyre" | "battery_dead" | "out_of_fuel" | "mechanical" | "accident" | "locked_out" | "stuck";
/**
 * How bad it is to be stranded there.
 */
export type Severity = "minor" | "normal" | "urgent";
/**
 * What may be done to a rescue.
 */
export type RescueAction =
  | {
      /**
       * The rider, or a dispatcher, says where it is: better than before.
       */
      locate: {
        /**
         * How well that is known, in metres.
         */
        accuracy_m?: number | null;
        at: Place;
      };
    }
  | {
      /**
       * A dispatcher says what is needed.
       */
      triage: {
        needs: Needs;
      };
    }
  | {
      /**
       * Two-sided: the rider wants this driver.
       */
      confirm_offer: {
        offer: OfferId;
      };
    }
  | {
      /**
       * Two-sided: the rider does not.
       */
      reject_offer: {
        offer: OfferId;
      };
    }
  | {
      /**
       * A dispatcher gives it to this driver.
       */
      assign: {
        driver: DriverId;
        /**
         * Even if something speaks against it that may be overruled: excluded, full, resting, unsuitable.
         */
        force?: boolean;
        /**
         * Why.
         */
        reason?: string;
      };
    }
  | {
      /**
       * A dispatcher takes it from its driver.
       */
      unassign: {
        /**
         * Why.
         */
        reason: string;
      };
    }
  | {
      /**
       * A dispatcher takes it from its driver and gives it to this one.
       */
      reassign: {
        driver: DriverId;
        /**
         * Even if something speaks against it.
         */
        force?: boolean;
        /**
         * Why.
         */
        reason: string;
      };
    }
  | {
      /**
       * A dispatcher lets nobody be asked for a while: open offers are taken back, and the time to find somebody
       * stands still.
       */
      hold: {
        /**
         * Why.
         */
        reason: string;
      };
    }
  | {
      /**
       * A dispatcher lets drivers be asked again.
       */
      resume: {
        /**
         * Why.
         */
        reason?: string;
      };
    }
  | {
      /**
       * A dispatcher lets it come before others, or after them.
       */
      set_priority: {
        priority: Priority;
        /**
         * Why.
         */
        reason: string;
      };
    }
  | {
      /**
       * A dispatcher keeps it to the drivers of one fleet, or frees it again.
       */
      set_fleet: {
        fleet?: PartnerId | null;
        /**
         * Why.
         */
        reason: string;
      };
    }
  | {
      /**
       * The driver sets off: to the scene, or from it once loaded.
       */
      depart: {};
    }
  | {
      /**
       * The driver is there: at the scene, or at the dropoff.
       */
      arrive: {};
    }
  | {
      /**
       * The driver starts to repair.
       */
      begin_assist: {};
    }
  | {
      /**
       * The driver starts to load.
       */
      load: {
        dropoff?: Place | null;
        /**
         * What shows how it was.
         */
        proofs?: Proof[];
      };
    }
  | {
      /**
       * The driver there needs another one.
       */
      escalate: {
        needs: Needs;
        /**
         * Does the first driver stay?
         */
        stay?: boolean;
      };
    }
  | {
      /**
       * The vehicle is off the truck.
       */
      unload: {
        /**
         * What shows how it is.
         */
        proofs?: Proof[];
      };
    }
  | {
      /**
       * It runs again.
       */
      fixed: {};
    }
  | {
      /**
       * The rider says whether it does.
       */
      confirm_fixed: {
        /**
         * Does it?
         */
        fixed: boolean;
      };
    }
  | {
      /**
       * The driver tried to reach the rider.
       */
      contacted: {};
    }
  | {
      /**
       * The rider is not there.
       */
      no_show: {};
    }
  | {
      /**
       * Call it off.
       */
      cancel: {
        /**
         * Why.
         */
        reason?: string;
      };
    }
  | {
      /**
       * Call it off because someone is not safe. Never refused while the rescue lives.
       */
      cancel_safety: {
        /**
         * Why.
         */
        reason?: string;
      };
    }
  | {
      /**
       * It went wrong beyond repair.
       */
      fail: {
        /**
         * Why.
         */
        reason: string;
      };
    }
  | {
      /**
       * One to five stars.
       */
      rate: {
        /**
         * 1 to 5.
         */
        stars: number;
      };
    };
export type RescueId = string;
/**
 * What may be done to a rider.
 */
export type RiderAction =
  | {
      /**
       * Staff: none of its jobs is offered to this driver any more, or given to it.
       */
      block: {
        driver: DriverId;
        /**
         * Why.
         */
        reason: string;
      };
    }
  | {
      /**
       * Staff: they may meet again.
       */
      unblock: {
        driver: DriverId;
        /**
         * Why.
         */
        reason?: string;
      };
    }
  | {
      /**
       * Staff: has something to tell it. Pushed to its device, and kept in its history.
       */
      message: {
        job?: JobId | null;
        /**
         * What, on one line of at most 200 characters.
         */
        text: string;
      };
    };
/**
 * What a driver can be busy with.
 */
export type JobId =
  | {
      order: OrderId;
    }
  | {
      rescue: RescueId;
    };
/**
 * What may be done to a driver.
 */
export type DriverAction =
  | {
      /**
       * Start, stop or pause work.
       */
      set_duty: {
        duty: DutyWish;
        vehicle?: Vehicle | null;
      };
    }
  | {
      /**
       * Yes to an offer.
       */
      accept_offer: {
        offer: OfferId;
      };
    }
  | {
      /**
       * No to an offer.
       */
      decline_offer: {
        offer: OfferId;
      };
    }
  | {
      /**
       * The device shows the offer.
       */
      see_offer: {
        offer: OfferId;
      };
    }
  | {
      /**
       * Take a job from the feed.
       */
      claim_job: {
        job: JobId;
      };
    }
  | {
      /**
       * Give back a job that was assigned without asking.
       */
      reject_job: {
        job: JobId;
      };
    }
  | {
      /**
       * Only jobs that lead there, until the shift ends or it is taken back.
       */
      set_destination: {
        to?: Point | null;
      };
    }
  | {
      /**
       * Staff: drives for this partner, or for none.
       */
      set_fleet: {
        fleet?: PartnerId | null;
        /**
         * Why.
         */
        reason: string;
      };
    }
  | {
      /**
       * Staff: vouches for a skill, one of those that count only then (`certificate.hazmat`). Said again, this is what holds.
       */
      grant_skill: {
        /**
         * Why.
         */
        reason: string;
        /**
         * Which, in at most 64 characters.
         */
        skill: string;
        until?: Timestamp | null;
      };
    }
  | {
      /**
       * Staff: vouches for it no more.
       */
      revoke_skill: {
        /**
         * Why.
         */
        reason: string;
        /**
         * Which.
         */
        skill: string;
      };
    }
  | {
      /**
       * Staff: may work outside its shifts until then, a day from now at most. Said again, this is what holds.
       */
      allow_off_shift: {
        /**
         * Why.
         */
        reason: string;
        until: Timestamp;
      };
    }
  | {
      /**
       * Staff: may do so no more.
       */
      revoke_off_shift: {
        /**
         * Why.
         */
        reason: string;
      };
    }
  | {
      /**
       * Staff: has something to tell it. Pushed to its device, and kept in its history.
       */
      message: {
        job?: JobId | null;
        /**
         * What, on one line of at most 200 characters.
         */
        text: string;
      };
    }
  | {
      /**
       * Staff: may not work.
       */
      suspend: {
        /**
         * Why.
         */
        reason: string;
        /**
         * Also from the jobs it has?
         */
        reassign?: boolean;
      };
    }
  | {
      /**
       * Staff: may work again.
       */
      reinstate: {};
    };
/**
 * Whether a driver works.
 */
export type DutyWish = "on" | "off" | "break";
/**
 * What staff may do to an incident.
 */
export type IncidentAction =
  | {
      /**
       * I see to it.
       */
      ack: {};
    }
  | {
      /**
       * Somebody is on the way.
       */
      add_responder: {
        /**
         * Who, in words.
         */
        name: string;
      };
    }
  | {
      /**
       * More is needed: call everybody again.
       */
      escalate: {
        /**
         * Why.
         */
        reason?: string;
      };
    }
  | {
      /**
       * A question is answered.
       */
      check: {
        /**
         * Yes or no.
         */
        answer: boolean;
        item: CheckItem;
      };
    }
  | {
      /**
       * It is over.
       */
      resolve: {
        /**
         * What is to be known of it later.
         */
        note?: string;
        resolution: Resolution;
      };
    };
/**
 * What is asked about an incident, and must be answered of an accident before it is closed.
 */
export type CheckItem = "caller_safe" | "anybody_hurt" | "authorities_called" | "vehicle_secured";
/**
 * How an incident ended.
 */
export type Resolution = "helped" | "false";
export type IncidentId = string;
/**
 * What staff may do to a zone.
 */
export type ZoneAction =
  | {
      /**
       * Nothing begins there for a while: rides and deliveries that would be picked up there are refused, and nobody
       * is looked for who would. Rescues are never kept waiting. Said again, this is what holds.
       */
      pause: {
        /**
         * Why, on one line, in words that riders are shown.
         */
        reason: string;
        until?: Timestamp | null;
      };
    }
  | {
      /**
       * It goes on.
       */
      resume: {
        /**
         * Why, on one line.
         */
        reason: string;
      };
    }
  | {
      /**
       * Its multiplier is this one for a while, whatever is counted. Said again, this is what holds.
       */
      set_surge: {
        /**
         * In percent: 100, or what the brand allows.
         */
        percent: number;
        /**
         * Why, on one line.
         */
        reason: string;
        until: Timestamp;
      };
    }
  | {
      /**
       * Its multiplier follows what is counted again.
       */
      lift_surge: {
        /**
         * Why, on one line.
         */
        reason: string;
      };
    };
export type ZoneId = string;
/**
 * What staff may do to a run. What is fetched already stays with its driver, whatever is said; it changes hands by
 * [`OrderAction::Handover`] alone.
 */
export type RunAction =
  | {
      /**
       * One order that looks for a driver is brought along, if no promise is broken by it. The driver is asked.
       */
      insert: {
        order: OrderId;
        /**
         * Why, on one line.
         */
        reason: string;
      };
    }
  | {
      /**
       * One order that is not fetched yet looks for a driver on its own.
       */
      remove: {
        order: OrderId;
        /**
         * Why, on one line.
         */
        reason: string;
      };
    }
  | {
      /**
       * What is still to be done is done in this order.
       */
      reorder: {
        /**
         * Why, on one line.
         */
        reason: string;
        /**
         * All of it.
         */
        stops: RunErrand[];
      };
    }
  | {
      /**
       * Some orders that are not fetched yet become a run of another driver, who is not asked.
       */
      split: {
        driver: DriverId;
        /**
         * Which.
         */
        orders: OrderId[];
        /**
         * Why, on one line.
         */
        reason: string;
      };
    }
  | {
      /**
       * Everything that is not fetched yet joins another run, as far as that breaks no promise there. Its driver is asked.
       */
      merge: {
        into: RunId;
        /**
         * Why, on one line.
         */
        reason: string;
      };
    }
  | {
      /**
       * Everything goes to another driver, who is not asked: what is not fetched yet as a run, what is on board by a handover of each.
       */
      hand_over: {
        driver: DriverId;
        /**
         * Why, on one line.
         */
        reason: string;
      };
    }
  | {
      /**
       * Its driver cannot go on: what is not fetched looks for another one, what is on board needs a dispatcher.
       */
      abandon: {
        /**
         * Why, on one line.
         */
        reason: string;
      };
    };
/**
 * What is done where a run stops.
 */
export type StopKind = "pickup" | "dropoff";
export type RunId = string;
/**
 * What can be followed.
 */
export type Topic =
  | {
      order: OrderId;
    }
  | {
      rescue: RescueId;
    }
  | {
      driver: DriverId;
    }
  | {
      incident: IncidentId;
    }
  | {
      run: RunId;
    }
  | "me"
  | "board"
  | {
      /**
       * The marks of one region, by its id in display form: `region-` and an H3 cell of resolution 5. Staff only.
       */
      region: string;
    }
  | {
      viewport: Viewport;
    }
  | {
      /**
       * One actor's whole state as it changes, by its id in display form. Staff only.
       */
      actor: string;
    };
/**
 * What a server says.
 */
export type ServerFrame =
  | {
      /**
       * First, before anything else.
       */
      hello: {
        /**
         * Most commands under way at once.
         */
        commands_max?: number;
        /**
         * Most commands among them.
         */
        commands_per_s?: number;
        /**
         * Largest frame accepted, in bytes.
         */
        frame_bytes_max: number;
        /**
         * Most frames a second, over time.
         */
        frames_per_s: number;
        /**
         * Say something at least this often, in milliseconds.
         */
        heartbeat_ms: number;
        /**
         * How long the session waits for its client after a drop, in milliseconds.
         */
        resume_ms?: number;
        server_time: Timestamp;
        session: SessionId;
        /**
         * Most topics followed at once, one's own jobs among them.
         */
        topics_max?: number;
      };
    }
  | {
      /**
       * You are who you say.
       */
      welcome: {
        expires_at: Timestamp;
        principal: Principal;
        /**
         * Of which regions a dispatcher is told, and in which it acts, as its token says: cells of the H3 grid.
         *         None: everywhere.
         */
        regions?: ZoneId[];
        /**
         * Does it go on where the other one was? Then what was missed follows, and what was subscribed
         *         to still is. If not, everything is told anew to whoever asks. Absent where it has gone on all along:
         *         in the answer to a newer token.
         */
        resumed?: boolean | null;
      };
    }
  | {
      /**
       * I am still here too.
       */
      heartbeat: {
        /**
         * From now on this is the heartbeat interval, and no longer what `hello` or another said; in milliseconds.
         */
        heartbeat_ms?: number | null;
        server_time: Timestamp;
      };
    }
  | {
      /**
       * The answer to a command.
       */
      result: {
        id: CommandId;
        outcome: Outcome;
      };
    }
  | {
      /**
       * Something that must arrive; re-sent until acknowledged or void.
       */
      push: {
        /**
         * Acknowledge this.
         */
        n: number;
        push: Push;
      };
    }
  | {
      refused: Refused;
    }
  | {
      order: OrderView;
    }
  | {
      rescue: RescueView;
    }
  | {
      driver: DriverView;
    }
  | {
      rider: RiderView;
    }
  | {
      incident: IncidentView;
    }
  | {
      run: RunView;
    }
  | {
      changed: Changed;
    }
  | {
      /**
       * Where the driver of a job is. Lossy: the latest counts.
       */
      sighted: {
        at: Point;
        /**
         * … and one in ten more than this.
         */
        eta_high_s?: number | null;
        /**
         * One time in ten it takes less than this…
         */
        eta_low_s?: number | null;
        /**
         * Until the next place it must be, in seconds: as its view expects it, counted from now.
         */
        eta_s?: number | null;
        job: JobId;
      };
    }
  | {
      /**
       * Whether the other side of a job can be reached: somebody who has part in it, and is not the client. When it
       * is known, and when it changes.
       */
      presence: {
        job: JobId;
        /**
         * Was a device of theirs heard of in the last one and a half heartbeats?
         */
        reachable: boolean;
        who: Principal;
      };
    }
  | {
      /**
       * The driver of a job has come to a place where it has something to do, has stayed there, or has gone again without
       * doing it. From what is seen of it: no event says so. Lossy: what its view says counts.
       */
      near: {
        at: Timestamp;
        crossing: Crossing;
        job: JobId;
        /**
         * Which of its stops, from 0; of a rescue, 0 is where help is needed and 1 where the vehicle is brought.
         */
        stop: number;
        what: StopKind;
      };
    }
  | {
      board: Board;
    }
  | {
      region: RegionBoard;
    }
  | {
      actor: ActorView;
    }
  | {
      /**
       * A topic ended: gone, or no longer yours to follow.
       */
      unsubscribed: {
        refused: Refused;
        topic: Topic;
      };
    }
  | {
      /**
       * Last; the close code follows.
       */
      goodbye: {
        refused: Refused;
      };
    };
/**
 * Who is speaking, as their token proves. Whether they may do a thing is decided by the actor they
 * ask, from its relation to them.
 */
export type Principal =
  | {
      rider: RiderId;
    }
  | {
      driver: DriverId;
    }
  | {
      merchant: MerchantId;
    }
  | "dispatcher"
  | "admin"
  | "system";
/**
 * What came of a command.
 */
export type Outcome =
  | {
      ok: Done;
    }
  | {
      refused: Refused;
    };
/**
 * Why, in one stable word that a program may branch on. Codes are added, never changed or reused.
 */
export type Code =
  | "malformed"
  | "invalid"
  | "too_large"
  | "unauthenticated"
  | "forbidden"
  | "not_found"
  | "illegal_transition"
  | "taken"
  | "insufficient_funds"
  | "offer_gone"
  | "too_far"
  | "too_early"
  | "too_late"
  | "wrong_code"
  | "proof_missing"
  | "not_eligible"
  | "out_of_area"
  | "zone_paused"
  | "quote_invalid"
  | "command_expired"
  | "command_id_reused"
  | "busy"
  | "rate_limited"
  | "quarantined"
  | "unavailable"
  | "draining"
  | "internal";
/**
 * Why a driver is not offered a job, or cannot be given it. Where several are true, one is told.
 */
export type WhyNot =
  | "blocked"
  | "off_duty"
  | "on_break"
  | "leaving"
  | "unreachable"
  | "no_position"
  | "has_it"
  | "changing_jobs"
  | "has_offer"
  | "no_room"
  | "same_person"
  | "not_the_one"
  | "vehicle"
  | "capacity"
  | "skill"
  | "excluded"
  | "pair_blocked"
  | "destination"
  | "too_far"
  | "outranked"
  | "taken"
  | "held"
  | "too_many_drivers"
  | "zone_paused"
  | "other_fleet"
  | "other_fleet_first"
  | "cold_chain"
  | "certificate"
  | "gender"
  | "permit"
  | "hours"
  | "ramp"
  | "lift_gate"
  | "tie_downs"
  | "outside_shift";
/**
 * What must arrive.
 */
export type Push =
  | {
      offer: Offer;
    }
  | {
      /**
       * It no longer is.
       */
      offer_ended: {
        offer: OfferId;
        status: OfferStatus;
      };
    }
  | {
      /**
       * A job is yours.
       */
      assigned: {
        job: JobId;
      };
    }
  | {
      /**
       * A job is no longer yours.
       */
      released: {
        job: JobId;
        /**
         * Why.
         */
        reason: string;
      };
    }
  | {
      /**
       * A job you claimed did not become yours.
       */
      claim_lost: {
        job: JobId;
        /**
         * Why.
         */
        reason: string;
      };
    }
  | {
      incident: IncidentView;
    }
  | {
      /**
       * Staff: somebody has, or it is over.
       */
      incident_heeded: {
        incident: IncidentId;
      };
    }
  | {
      message: Message;
    };
/**
 * A currency Outrider charges in (ISO 4217).
 */
export type Currency = "RWF" | "UGX" | "GHS" | "USD" | "IDR" | "EUR";
/**
 * What a job is, as far as a driver's slots care.
 */
export type WorkKind = "ride" | "delivery" | "rescue";
/**
 * Where an offer is.
 */
export type OfferStatus =
  | "created"
  | "sent"
  | "delivered"
  | "seen"
  | "accepting"
  | "driver_confirmed"
  | "rider_confirmed"
  | "accepted"
  | "lost"
  | "declined"
  | "expired"
  | "withdrawn";
/**
 * What an incident is.
 */
export type IncidentKind = "sos" | "cancelled_safety" | "accident" | "danger";
/**
 * Where an incident is.
 */
export type IncidentStatus = "open" | "acked" | "responding" | "resolved" | "false" | "closed";
/**
 * Where the merchant's side of an order is.
 */
export type FulfilmentStatus =
  "none" | "awaiting_merchant" | "confirmed" | "preparing" | "ready" | "handed_over" | "rejected";
/**
 * Where an order's transport is. Rides use `in_progress` where deliveries use `picked_up` to
 * `at_dropoff`; the rest is shared.
 */
export type OrderStatus =
  | "awaiting_payment"
  | "scheduled"
  | "waiting"
  | "searching"
  | "job_feed"
  | "assigned"
  | "en_route_pickup"
  | "at_pickup"
  | "in_progress"
  | "picked_up"
  | "in_transit"
  | "at_stop"
  | "at_dropoff"
  | "failed_attempt"
  | "returning"
  | "completed"
  | "delivered"
  | "returned"
  | "no_driver_found"
  | "no_show"
  | "cancelled_by_rider"
  | "cancelled_by_driver"
  | "cancelled_by_merchant"
  | "cancelled_by_system"
  | "cancelled_by_admin"
  | "cancelled_safety"
  | "failed";
/**
 * Where a rescue is.
 */
export type RescueStatus =
  | "requested"
  | "searching"
  | "accepted"
  | "en_route"
  | "on_scene"
  | "assisting"
  | "loading"
  | "in_transit"
  | "at_dropoff"
  | "escalated"
  | "completed"
  | "rejected_out_of_area"
  | "no_driver"
  | "cancelled_by_rider"
  | "cancelled_by_admin"
  | "no_show"
  | "cancelled_safety"
  | "failed";
/**
 * Whether a driver can be given work, as derived from duty, link and load.
 */
export type DriverStatus =
  "blocked" | "offline" | "unreachable" | "on_break" | "offered" | "busy" | "partly_busy" | "available";
/**
 * Where one order of a run is.
 */
export type MemberStatus = "asked" | "joined" | "assigning" | "waiting" | "aboard" | "done";
/**
 * Where a run is.
 */
export type RunStatus = "planned" | "offered" | "accepted" | "active" | "completed" | "dissolved" | "abandoned";
/**
 * What changed of something that was shown before.
 */
export type Changed =
  | {
      order: OrderChanges;
    }
  | {
      rescue: RescueChanges;
    }
  | {
      driver: DriverChanges;
    }
  | {
      rider: RiderChanges;
    }
  | {
      run: RunChanges;
    };
/**
 * How a driver stands to the fence around a place where it has something to do.
 */
export type Crossing = "entered" | "dwelt" | "exited";
/**
 * One moving or standing mark on the dispatcher's map.
 */
export type Mark =
  | {
      /**
       * A driver.
       */
      driver: {
        at: Point;
        /**
         * Has its device said too often of late that it is where it cannot be?
         */
        doubted?: boolean;
        id: DriverId;
        /**
         * What it does.
         */
        jobs: JobId[];
        status: DriverStatus;
        /**
         * Has it worked for long, or as long as it may?
         */
        tired?: boolean;
        vehicle?: VehicleKind | null;
      };
    }
  | {
      /**
       * An order.
       */
      order: {
        driver?: DriverId | null;
        dropoff: Point;
        due?: Timestamp | null;
        /**
         * Does a dispatcher let nobody be asked for a while?
         */
        held?: boolean;
        id: OrderId;
        kind: OrderKind;
        pickup: Point;
        priority?: Priority;
        since?: Timestamp | null;
        status: OrderStatus;
      };
    }
  | {
      /**
       * A rescue.
       */
      rescue: {
        at: Point;
        driver?: DriverId | null;
        due?: Timestamp | null;
        /**
         * Does a dispatcher let nobody be asked for a while?
         */
        held?: boolean;
        id: RescueId;
        issue: Issue;
        priority?: Priority;
        since?: Timestamp | null;
        status: RescueStatus;
      };
    };
/**
 * One of [`SHARDS`] parts of the world, each owned by one node at a time.
 */
export type ShardId = number;

export interface Frames {
  ClientFrame?: ClientFrame;
  ServerFrame?: ServerFrame;
}
/**
 * Where a session was when it was cut off.
 */
export interface Resume {
  /**
   * How many of its frames arrived, of all kinds.
   */
  heard: number;
  session: SessionId;
}
/**
 * An order as it is asked for.
 */
export interface NewOrder {
  /**
   * Cash the driver collects at the dropoff, in minor units; deliveries only.
   */
  cash_on_delivery?: number | null;
  driver?: DriverId | null;
  /**
   * Proofs needed at dropoff; deliveries only.
   */
  dropoff_proof?: ProofKind[];
  /**
   * Are nobody else's drivers asked afterwards? Only with `fleet`.
   */
  exclusive?: boolean;
  fleet?: PartnerId | null;
  handoff?: Handoff;
  kind: OrderKind;
  merchant?: MerchantId | null;
  /**
   * How many items a commerce basket has; each can become unavailable.
   */
  n_items?: number | null;
  needs?: Needs;
  payment?: PaymentTiming;
  /**
   * Proofs needed at pickup; deliveries only.
   */
  pickup_proof?: ProofKind[];
  policy?: OfferPolicy | null;
  /**
   * The price promise this order was decided on, from `POST /v1/quotes`.
   */
  quote?: string | null;
  rider?: RiderId | null;
  start_at?: Timestamp | null;
  /**
   * Pickup first, last dropoff last; 2 to 20.
   */
  stops: Place[];
  via?: Via | null;
}
/**
 * What a driver must bring.
 */
export interface Needs {
  /**
   * All of these, such as `cold_chain`, `jump_start` or `tie_downs`.
   */
  skills?: string[];
  /**
   * Any of these vehicles; empty means any at all.
   */
  vehicles?: VehicleKind[];
  /**
   * Room for this much, in grams.
   */
  weight_g?: number;
}
/**
 * A position a person can find.
 */
export interface Place {
  at: Point;
  /**
   * What the rider calls it; at most 200 characters.
   */
  label?: string | null;
}
/**
 * A position on the Earth (WGS 84), in degrees. Always finite and in range: a frame with any other
 * numbers does not decode.
 */
export interface Point {
  /**
   * Degrees north, −90 to 90.
   */
  lat: number;
  /**
   * Degrees east, −180 to 180.
   */
  lon: number;
}
/**
 * Where goods change vehicles on their way.
 */
export interface Via {
  hub: Place;
  until?: Timestamp | null;
}
/**
 * One proof: what it is and where it is kept, or the code itself for a PIN.
 */
export interface Proof {
  kind: ProofKind;
  /**
   * A reference to the stored artefact, its hash, or the PIN. At most 200 characters.
   */
  value: string;
}
/**
 * A rescue as it is asked for.
 */
export interface NewRescue {
  /**
   * How well that is known, in metres. One too vague waits until someone has said where it is.
   */
  accuracy_m?: number | null;
  at: Place;
  bike?: Bike | null;
  dropoff?: Place | null;
  issue: Issue;
  policy?: OfferPolicy | null;
  rider?: RiderId | null;
  severity?: Severity | null;
  vehicle?: VehicleKind | null;
  /**
   * How heavy it is, in grams, 40 t at most; as heavy as its kind usually is, if 0.
   */
  weight_g?: number;
}
/**
 * What a driver brings.
 */
export interface Vehicle {
  /**
   * How much it carries, in grams.
   */
  capacity_g?: number;
  kind: VehicleKind;
  /**
   * What else it, or its driver, can do, as the driver says. Some of it counts only if staff vouch for it.
   */
  skills?: string[];
}
/**
 * A call for help. It is not refused for being too fast, too much or too many, unless it comes as a flood.
 */
export interface Sos {
  job?: JobId | null;
  /**
   * It is a drill.
   */
  mock?: boolean;
  position?: Position | null;
}
/**
 * Where a device was.
 */
export interface Position {
  /**
   * Radius of the 68 % circle, in metres.
   */
  accuracy_m?: number | null;
  at: Point;
  /**
   * Degrees clockwise from north.
   */
  heading_deg?: number | null;
  sampled_at: Timestamp;
  /**
   * Metres per second.
   */
  speed_mps?: number | null;
}
/**
 * One thing that a run has to do.
 */
export interface RunErrand {
  order: OrderId;
  what: StopKind;
}
/**
 * Where a device says that it is: a position, and what the device thinks of it.
 */
export interface Fix {
  /**
   * Radius of the 68 % circle, in metres.
   */
  accuracy_m?: number | null;
  at: Point;
  /**
   * Degrees clockwise from north.
   */
  heading_deg?: number | null;
  /**
   * An app has made it up, as the device knows (a mock location): it is counted, and not believed.
   */
  mock?: boolean;
  sampled_at: Timestamp;
  /**
   * Metres per second.
   */
  speed_mps?: number | null;
}
/**
 * A part of the map, in millionths of a degree: whole numbers, so that it can be named again.
 */
export interface Viewport {
  /**
   * … and this longitude. Less than `west`, if the 180th meridian is in it.
   */
  east: number;
  /**
   * … to this latitude…
   */
  north: number;
  /**
   * From this latitude…
   */
  south: number;
  /**
   * … and this longitude, …
   */
  west: number;
}
/**
 * What a command did.
 */
export interface Done {
  /**
   * To whom, in display form; for a new order or rescue, its id.
   */
  actor: string;
  /**
   * The version that actor then had.
   */
  version: number;
}
/**
 * A refusal on the wire.
 */
export interface Refused {
  /**
   * For `illegal_transition`: the commands that would not have been refused for that reason.
   */
  allowed?: string[];
  code: Code;
  /**
   * For people; may change.
   */
  message: string;
  /**
   * For `busy`, `rate_limited`, `unavailable`, `zone_paused` where the end is known, and `not_eligible` for who must rest:
   * how long to wait, in milliseconds.
   */
  retry_after_ms?: number | null;
  /**
   * For `not_eligible`, where a dispatcher chose a driver: everything that speaks against it and was not,
   * or cannot be, overruled. Where a driver wants to work while it is in no shift: `outside_shift`;
   * while it must rest: `hours`.
   */
  why?: WhyNot[];
  zone?: ZonePause | null;
}
/**
 * Why nothing begins in a zone for a while.
 */
export interface ZonePause {
  /**
   * Why, in words that riders are shown.
   */
  reason: string;
  since: Timestamp;
  until?: Timestamp | null;
  zone: ZoneId;
}
/**
 * An offer as its driver sees it: enough to decide on.
 */
export interface Offer {
  dropoff?: Place | null;
  /**
   * How long it takes to get to the pickup, in seconds.
   */
  eta_s: number;
  expires_at: Timestamp;
  fare: Money;
  id: OfferId;
  job: JobId;
  /**
   * Does it begin only when what the driver does now has ended?
   */
  next?: boolean;
  pickup: Place;
  run?: RunOffer | null;
  work: WorkKind;
}
/**
 * An amount of one currency.
 */
export interface Money {
  /**
   * In minor units: cents, or francs where a franc has no cents.
   */
  amount: number;
  currency: Currency;
}
/**
 * A run as its driver is offered it: all of it, or nothing.
 */
export interface RunOffer {
  /**
   * What each order pays. Only those that the driver does not have yet.
   */
  orders: RunPay[];
  run: RunId;
  /**
   * Everything that would then be to be done, in order.
   */
  stops: RunStop[];
}
/**
 * What an order of a run pays.
 */
export interface RunPay {
  fare: Money;
  order: OrderId;
}
/**
 * Where a run has something to do.
 */
export interface RunStop {
  at: Place;
  due: Timestamp;
  order: OrderId;
  what: StopKind;
}
/**
 * An incident as whoever raised it and staff see it. The other side of the job sees nothing of it.
 */
export interface IncidentView {
  acked_at?: Timestamp | null;
  /**
   * Does it call for somebody? From when it is raised, and again from each escalation, until it is acked.
   */
  calling: boolean;
  changed_at: Timestamp;
  /**
   * What was asked and answered; shown to staff only.
   */
  checklist?: CheckView[];
  /**
   * How often it has been escalated.
   */
  escalations: number;
  id: IncidentId;
  job?: JobId | null;
  kind: IncidentKind;
  /**
   * It is a drill.
   */
  mock: boolean;
  /**
   * What staff wrote last, on escalating or resolving it; shown to staff only.
   */
  note?: string | null;
  opened_at: Timestamp;
  /**
   * Who else has part in the job; shown to staff only.
   */
  others?: Principal[];
  position?: Position | null;
  raised_by: Principal;
  /**
   * Who helps, in words.
   */
  responders?: string[];
  status: IncidentStatus;
  /**
   * How many events made it so.
   */
  version: number;
}
/**
 * One answered question of an incident's checklist.
 */
export interface CheckView {
  /**
   * Yes or no.
   */
  answer: boolean;
  item: CheckItem;
}
/**
 * What staff, or the platform, have to say to a rider or a driver.
 */
export interface Message {
  at: Timestamp;
  by: Principal;
  /**
   * It is of offers that the driver does not take: so many in a row. It may rest instead (`set_duty`).
   */
  in_a_row?: number | null;
  job?: JobId | null;
  /**
   * One line, for people.
   */
  text: string;
}
/**
 * An order as its rider, its driver and dispatchers see it.
 */
export interface OrderView {
  changed_at: Timestamp;
  /**
   * The code the rider tells the driver; shown to the rider only.
   */
  code?: string | null;
  driver?: DriverId | null;
  eta?: Etas | null;
  fare: Fare;
  fleet?: PartnerId | null;
  /**
   * Is it kept to them only at first, and for everybody later?
   */
  fleet_first?: boolean;
  followed_by?: OrderId | null;
  follows?: OrderId | null;
  fulfilment: FulfilmentStatus;
  /**
   * Does a dispatcher let nobody be asked for a while?
   */
  held?: boolean;
  hub?: HubStay | null;
  id: OrderId;
  kind: OrderKind;
  /**
   * Offers that are still open.
   */
  offers: OfferView[];
  paused?: ZonePause | null;
  placed_at: Timestamp;
  policy: OfferPolicy;
  price_asked?: Fare | null;
  priority?: Priority;
  queue?: Queued | null;
  /**
   * Why it ended, if it ended badly.
   */
  reason?: string | null;
  rider: RiderId;
  run?: RunId | null;
  start_at?: Timestamp | null;
  status: OrderStatus;
  /**
   * Pickup first.
   */
  stops: Place[];
  /**
   * How many stops are done, pickup included.
   */
  stops_done: number;
  tip?: Money | null;
  /**
   * How many events made it so; grows by one with each.
   */
  version: number;
}
/**
 * When the vehicle of a job is expected, as it was counted at one moment.
 */
export interface Etas {
  arrival?: Eta | null;
  at: Timestamp;
  next?: Eta | null;
  pickup?: Eta | null;
}
/**
 * How long something is expected to take, in seconds.
 */
export interface Eta {
  /**
   * One time in ten it takes more.
   */
  high_s: number;
  /**
   * One time in ten it takes less.
   */
  low_s: number;
  /**
   * As likely more as less.
   */
  s: number;
}
/**
 * A price and what it is made of. The lines sum to the total.
 */
export interface Fare {
  currency: Currency;
  /**
   * In the order they are shown.
   */
  lines: FareLine[];
}
/**
 * One reason for part of a price.
 */
export interface FareLine {
  /**
   * In minor units; negative for a discount.
   */
  amount: number;
  /**
   * Stable name of the reason: `base`, `distance`, `time`, `surge`, `tax`, `minimum` …
   */
  code: string;
}
/**
 * That goods change vehicles at a hub.
 */
export interface HubStay {
  by?: DriverId | null;
  left_at?: Timestamp | null;
  until?: Timestamp | null;
}
/**
 * One offer, as its order sees it.
 */
export interface OfferView {
  driver: DriverId;
  expires_at: Timestamp;
  id: OfferId;
  status: OfferStatus;
}
/**
 * Where somebody is among those who wait for a driver around there, as it was counted at one moment.
 */
export interface Queued {
  at: Timestamp;
  eta?: Eta | null;
  /**
   * How many wait.
   */
  n_waiting: number;
  /**
   * Which of them, from 1. Who is nearer to a driver may be served before.
   */
  position: number;
}
/**
 * A rescue as its requester, its driver and dispatchers see it.
 */
export interface RescueView {
  /**
   * Who may help instead, nearest first, if nobody of ours serves the place.
   */
  alternatives?: Alternative[];
  at: Place;
  attached?: DriverId | null;
  changed_at: Timestamp;
  driver?: DriverId | null;
  dropoff?: Place | null;
  eta?: Etas | null;
  fare: Fare;
  fleet?: PartnerId | null;
  /**
   * Does a dispatcher let nobody be asked for a while?
   */
  held?: boolean;
  id: RescueId;
  issue: Issue;
  needs?: Needs;
  /**
   * Offers that are still open.
   */
  offers: OfferView[];
  /**
   * Why it ended, or how it was solved.
   */
  outcome?: string | null;
  priority?: Priority;
  queue?: Queued | null;
  requested_at: Timestamp;
  rider: RiderId;
  status: RescueStatus;
  /**
   * How many events made it so.
   */
  version: number;
}
/**
 * Who may help where the platform does not.
 */
export interface Alternative {
  /**
   * Who.
   */
  name: string;
  /**
   * How to reach them.
   */
  phone: string;
}
/**
 * A driver as itself and dispatchers see it.
 */
export interface DriverView {
  /**
   * Why it may not work, if it may not.
   */
  blocked?: string | null;
  /**
   * Has its device said too often of late that it is where it cannot be? Shown to staff only.
   */
  doubted?: boolean;
  fleet?: PartnerId | null;
  /**
   * Skills that staff vouch for, also those for which they did until a while ago.
   */
  grants?: Grant[];
  hint?: Hint | null;
  id: DriverId;
  /**
   * What it is busy with.
   */
  jobs: JobId[];
  /**
   * To how many of its shifts it did not come.
   */
  n_shift_no_shows?: number;
  /**
   * What it has been offered and not answered.
   */
  offers: Offer[];
  position?: Position | null;
  rates?: Rates;
  rest?: Rest | null;
  run?: RunId | null;
  shift?: Shift | null;
  status: DriverStatus;
  /**
   * Skills that it says it has, and that do not count: nobody vouches for them.
   */
  ungranted?: string[];
  vehicle?: Vehicle | null;
  /**
   * How many events made it so.
   */
  version: number;
}
/**
 * A skill of a driver's that staff vouch for.
 */
export interface Grant {
  /**
   * Which.
   */
  skill: string;
  until?: Timestamp | null;
}
/**
 * A better place to wait for work. Nobody must go there.
 */
export interface Hint {
  to: Point;
  until: Timestamp;
}
/**
 * What a driver has made of the offers it was ever made.
 */
export interface Rates {
  /**
   * How many of a hundred it takes, as that counts where several drivers would do: of one of whom little is known it is near 90.
   */
  acceptance_percent?: number;
  /**
   * Of these, taken.
   */
  accepted?: number;
  /**
   * Of these, declined.
   */
  declined?: number;
  /**
   * Of these, not answered.
   */
  ignored?: number;
  /**
   * How many it has declined or not answered since it last took one, or began or went on with its shift.
   */
  in_a_row?: number;
  /**
   * How many there were.
   */
  made?: number;
}
/**
 * What is said of a driver's rest once it has worked for long.
 */
export interface Rest {
  at?: Timestamp | null;
  /**
   * Has it worked as long as it may? It takes nothing new then, and may not work again before it has rested.
   */
  must: boolean;
  until?: Timestamp | null;
}
/**
 * A span in which a driver is to be on duty.
 */
export interface Shift {
  end: Timestamp;
  start: Timestamp;
  zone?: ZoneId | null;
}
/**
 * A rider as itself and dispatchers see it.
 */
export interface RiderView {
  id: RiderId;
  /**
   * What is being done for it.
   */
  jobs: JobId[];
  /**
   * How many events made it so.
   */
  version: number;
}
/**
 * Several deliveries that one driver brings together, as that driver and dispatchers see it.
 */
export interface RunView {
  changed_at: Timestamp;
  driver: DriverId;
  fare?: Money | null;
  id: RunId;
  /**
   * What is brought, in the order in which it joined.
   */
  orders: RunOrder[];
  planned_at: Timestamp;
  /**
   * Why it ended, if it ended badly, or why it was last changed; shown to staff only.
   */
  reason?: string | null;
  /**
   * How much less is driven than if each were brought alone, in percent, when it was planned.
   */
  saving_percent: number;
  status: RunStatus;
  /**
   * What is still to be done, in the order in which it should be.
   */
  stops: RunStop[];
  /**
   * How many events made it so.
   */
  version: number;
}
/**
 * One order of a run.
 */
export interface RunOrder {
  fare?: Money | null;
  order: OrderId;
  status: MemberStatus;
}
/**
 * What changed of an order. One of which only something else is expected keeps its version.
 */
export interface OrderChanges {
  changed_at?: Timestamp;
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  code?: string | null;
  driver?: DriverId | null;
  eta?: Etas | null;
  fare?: Fare;
  fleet?: PartnerId | null;
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  fleet_first?: boolean;
  followed_by?: OrderId | null;
  follows?: OrderId | null;
  /**
   * Of which version: nothing else can be made of them.
   */
  from: number;
  fulfilment?: FulfilmentStatus;
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  held?: boolean;
  hub?: HubStay | null;
  id: OrderId;
  kind?: OrderKind;
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  offers?: OfferView[];
  paused?: ZonePause | null;
  placed_at?: Timestamp;
  policy?: OfferPolicy;
  price_asked?: Fare | null;
  priority?: Priority;
  queue?: Queued | null;
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  reason?: string | null;
  rider?: RiderId;
  run?: RunId | null;
  start_at?: Timestamp | null;
  status?: OrderStatus;
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  stops?: Place[];
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  stops_done?: number;
  tip?: Money | null;
  /**
   * What its version is then.
   */
  version: number;
}
/**
 * What changed of a rescue. One of which only something else is expected keeps its version.
 */
export interface RescueChanges {
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  alternatives?: Alternative[];
  at?: Place;
  attached?: DriverId | null;
  changed_at?: Timestamp;
  driver?: DriverId | null;
  dropoff?: Place | null;
  eta?: Etas | null;
  fare?: Fare;
  fleet?: PartnerId | null;
  /**
   * Of which version: nothing else can be made of them.
   */
  from: number;
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  held?: boolean;
  id: RescueId;
  issue?: Issue;
  needs?: Needs;
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  offers?: OfferView[];
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  outcome?: string | null;
  priority?: Priority;
  queue?: Queued | null;
  requested_at?: Timestamp;
  rider?: RiderId;
  status?: RescueStatus;
  /**
   * What its version is then.
   */
  version: number;
}
/**
 * What changed of a driver. One that is only seen somewhere else keeps its version.
 */
export interface DriverChanges {
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  blocked?: string | null;
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  doubted?: boolean;
  fleet?: PartnerId | null;
  /**
   * Of which version: nothing else can be made of them.
   */
  from: number;
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  grants?: Grant[];
  hint?: Hint | null;
  id: DriverId;
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  jobs?: JobId[];
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  n_shift_no_shows?: number;
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  offers?: Offer[];
  position?: Position | null;
  rates?: Rates;
  rest?: Rest | null;
  run?: RunId | null;
  shift?: Shift | null;
  status?: DriverStatus;
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  ungranted?: string[];
  vehicle?: Vehicle | null;
  /**
   * What its version is then.
   */
  version: number;
}
/**
 * What changed of a rider.
 */
export interface RiderChanges {
  /**
   * Of which version: nothing else can be made of them.
   */
  from: number;
  id: RiderId;
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  jobs?: JobId[];
  /**
   * What its version is then.
   */
  version: number;
}
/**
 * What changed of a run.
 */
export interface RunChanges {
  changed_at?: Timestamp;
  driver?: DriverId;
  fare?: Money | null;
  /**
   * Of which version: nothing else can be made of them.
   */
  from: number;
  id: RunId;
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  orders?: RunOrder[];
  planned_at?: Timestamp;
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  reason?: string | null;
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  saving_percent?: number;
  status?: RunStatus;
  /**
   * As in the view, if it is another now; null: it has none any more.
   */
  stops?: RunStop[];
  /**
   * What its version is then.
   */
  version: number;
}
/**
 * The map and what moved on it.
 */
export interface Board {
  /**
   * Of a viewport: who of staff has which job open, all of it, if it is not as it was said last.
   */
  attending?: Attending[] | null;
  counters: Counters;
  /**
   * Is this everything, and not only what changed?
   */
  full: boolean;
  /**
   * Gone, in display form.
   */
  gone: string[];
  /**
   * What happened since the last one, newest last; at most 20.
   */
  happenings: Happening[];
  /**
   * Of a viewport: how many marks are not told, for there are too many.
   */
  left_out?: number;
  /**
   * New or changed.
   */
  marks: Mark[];
  /**
   * Grows by one with each; a gap means: subscribe again. A full board too large for one frame
   * goes on in frames that are not `full` and have the same `seq`.
   */
  seq: number;
  server_time: Timestamp;
}
/**
 * A job that somebody of staff has open.
 */
export interface Attending {
  by: Principal;
  job: JobId;
  session: SessionId;
}
/**
 * How many of what, now.
 */
export interface Counters {
  /**
   * Deliveries and commerce orders by status, likewise.
   */
  deliveries: {
    [k: string]: number;
  };
  /**
   * Drivers by status.
   */
  drivers: {
    [k: string]: number;
  };
  /**
   * Rescues by status, likewise.
   */
  rescues: {
    [k: string]: number;
  };
  /**
   * Rides by status, those that ended since the node started included.
   */
  rides: {
    [k: string]: number;
  };
}
/**
 * Something that happened, as one line of the board's ticker.
 */
export interface Happening {
  /**
   * To whom: an id in display form.
   */
  actor: string;
  at: Timestamp;
  /**
   * What: the event's name.
   */
  what: string;
}
/**
 * What is in a region, and what moved in it.
 */
export interface RegionBoard {
  /**
   * Is this everything, and not only what changed?
   */
  full: boolean;
  /**
   * Gone from it, in display form.
   */
  gone: string[];
  /**
   * New or changed: drivers who are in it, orders that are picked up in it, rescues in it.
   */
  marks: Mark[];
  /**
   * Which, in display form.
   */
  region: string;
  /**
   * Grows by one with each. What is too large for one frame goes on in frames that are not `full` and
   * have the same `seq`.
   */
  seq: number;
  server_time: Timestamp;
}
/**
 * One actor, whole.
 */
export interface ActorView {
  /**
   * Its id in display form.
   */
  actor: string;
  deadline?: Timestamp | null;
  /**
   * The names of the events since the last view.
   */
  events: string[];
  shard: ShardId;
  /**
   * Everything it remembers.
   */
  state: {};
  /**
   * How many events made it so.
   */
  version: number;
}
