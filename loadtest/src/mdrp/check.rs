//! Says whether a day kept the rules, from what was told and driven alone.

use super::{
    day::{Assignment, Day, Move},
    instance::Instance,
};
use thiserror::Error;

/// A rule that a day broke. Times are minutes, the rest indices.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum BrokenRule {
    /// A meal was given to somebody twice.
    #[error("meal {0} is in two assignments")]
    Twice(usize),
    /// An assignment of nothing, of no meal or for no courier.
    #[error("an assignment of nothing, or for nobody: {0:?}")]
    Nothing(Assignment),
    /// Meals of two restaurants in one bundle.
    #[error("meal {0} is from another restaurant than the rest of its bundle")]
    Mixed(usize),
    /// Assigned before it was placed.
    #[error("meal {meal} was placed at {placed} and assigned at {told}")]
    Foreseen {
        /// Which.
        meal: usize,
        /// When.
        placed: f64,
        /// Too early.
        told: f64,
    },
    /// Picked up before it was ready.
    #[error("meal {0} was picked up before it was ready")]
    NotReady(usize),
    /// Picked up outside of the courier's shift.
    #[error("courier {0} picked up when it was off duty")]
    OffDuty(usize),
    /// Told while it was driving or serving.
    #[error("courier {0} was told what to do at {1} while it was busy")]
    Diverted(usize, f64),
    /// A courier was not where it had to be.
    #[error("courier {0} was not at place {1} when it had to be")]
    Elsewhere(usize, usize),
    /// It left before it could.
    #[error("courier {0} left at {1}, which is too early")]
    TooEarly(usize, f64),
    /// Handed over at another time than its courier could.
    #[error("meal {0} was handed over at {1:?}, and could be at {2}")]
    WrongDropoff(usize, Option<f64>, f64),
    /// Handed over by nobody.
    #[error("meal {0} was handed over though nobody had it")]
    Unassigned(usize),
    /// A courier drove somewhere that is no restaurant, without being told to.
    #[error("courier {0} drove to place {1} for nothing")]
    Aimless(usize, usize),
}

/// Holds a day to the rules: each courier's moves and assignments are followed from the beginning of its shift.
///
/// # Errors
/// The first rule that was broken.
pub fn check(instance: &Instance, day: &Day) -> Result<(), BrokenRule> {
    let mut is_assigned = vec![false; instance.meals.len()];
    for it in &day.assignments {
        if it.meals.is_empty() || it.courier >= instance.couriers.len() {
            return Err(BrokenRule::Nothing(it.clone()));
        }
        for meal in it.meals.iter().copied() {
            let known = instance.meals.get(meal);
            let known = known.ok_or_else(|| BrokenRule::Nothing(it.clone()))?;
            if std::mem::replace(&mut is_assigned[meal], true) {
                return Err(BrokenRule::Twice(meal));
            }
            if known.restaurant != instance.meals[it.meals[0]].restaurant {
                return Err(BrokenRule::Mixed(meal));
            }
            if it.told < known.placed {
                return Err(BrokenRule::Foreseen { meal, placed: known.placed, told: it.told });
            }
            if it.picked_up < known.ready {
                return Err(BrokenRule::NotReady(meal));
            }
        }
    }
    let is_brought =
        |it: &(usize, &Option<f64>)| it.1.is_some() && !is_assigned.get(it.0).is_some_and(|it| *it);
    if let Some((meal, _)) = day.dropoffs.iter().enumerate().find(is_brought) {
        return Err(BrokenRule::Unassigned(meal));
    }
    for courier in 0..instance.couriers.len() {
        let told: Vec<&Assignment> =
            day.assignments.iter().filter(|it| it.courier == courier).collect();
        follow(instance, day, courier, &told, day.moves.get(courier).map_or(&[], |it| it))?;
    }
    Ok(())
}

fn follow(
    instance: &Instance,
    day: &Day,
    courier: usize,
    told: &[&Assignment],
    moves: &[Move],
) -> Result<(), BrokenRule> {
    let shift = &instance.couriers[courier];
    let (before_pickup, before_dropoff) =
        (instance.pickup_service_min / 2.0, instance.dropoff_service_min / 2.0);
    // Where it is, since when, and from when on it could be told what to do.
    let (mut place, mut since, mut free) = (shift.begins_at, shift.on, shift.on);
    let mut moves = moves.iter().peekable();
    let drive = |place: &mut usize, since: &mut f64, free: &mut f64, it: &Move| {
        if it.from != *place {
            return Err(BrokenRule::Elsewhere(courier, it.from));
        }
        if it.leaves < *free {
            return Err(BrokenRule::TooEarly(courier, it.leaves));
        }
        (*place, *since) = (it.to, it.leaves + instance.travel_min(it.from, it.to));
        *free = *since;
        Ok(())
    };
    for assignment in told {
        let restaurant = instance.meals[assignment.meals[0]].restaurant;
        // Up to then it was sent to restaurants, and waited there.
        while let Some(it) =
            moves.next_if(|it| it.leaves <= assignment.told && it.to < instance.n_restaurants)
        {
            drive(&mut place, &mut since, &mut free, it)?;
        }
        if place != restaurant {
            return Err(BrokenRule::Elsewhere(courier, restaurant));
        }
        if assignment.told < free {
            return Err(BrokenRule::Diverted(courier, assignment.told));
        }
        if assignment.picked_up < since + before_pickup || assignment.picked_up < assignment.told {
            return Err(BrokenRule::TooEarly(courier, assignment.picked_up));
        }
        if assignment.picked_up > shift.off || assignment.picked_up < shift.on {
            return Err(BrokenRule::OffDuty(courier));
        }
        free = assignment.picked_up + before_pickup;
        for meal in assignment.meals.iter().copied() {
            let diner = instance.meals[meal].diner;
            let it = moves.next().filter(|it| it.to == diner);
            let it = it.ok_or(BrokenRule::Elsewhere(courier, diner))?;
            drive(&mut place, &mut since, &mut free, it)?;
            let could = since + before_dropoff;
            if day.dropoffs.get(meal).copied().flatten() != Some(could) {
                let said = day.dropoffs.get(meal).copied().flatten();
                return Err(BrokenRule::WrongDropoff(meal, said, could));
            }
            free = could + before_dropoff;
        }
    }
    for it in moves {
        if it.leaves > shift.off {
            return Err(BrokenRule::OffDuty(courier));
        }
        if it.to >= instance.n_restaurants {
            return Err(BrokenRule::Aimless(courier, it.to));
        }
        drive(&mut place, &mut since, &mut free, it)?;
    }
    Ok(())
}
