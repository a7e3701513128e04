//! A day of meal deliveries as it really was, planned order by order: the Grubhub instances of the Meal Delivery
//! Routing Problem (Reyes, Erera, Savelsbergh, Sahasrabudhe and O'Neil, 2018).
//!
//! The rules are the paper's, with prepositioning and without assignment updates: a courier who waits may be sent to a
//! restaurant, and while it waits there be told what to pick up and to whom to bring it, in which order. It is never
//! diverted, and nobody knows an order before it was placed. [`check`] holds a day to that, and shares nothing with
//! what made it.

pub mod check;
mod day;
mod instance;

pub use day::{Assignment, Day, Move, play};
pub use instance::{Courier, Instance, Meal, Place};

use crate::{cpu::CpuTime, table::TableError};
use check::BrokenRule;
use serde::Serialize;
use std::{fmt, path::Path};

/// What became of one day.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Played {
    /// Which instance.
    pub instance: String,
    /// How many orders there were.
    pub orders: usize,
    /// How many were brought.
    pub delivered: usize,
    /// Of those that were brought, from placing until it is there, in minutes.
    pub click_to_door_mean_min: f64,
    /// From being ready until it is picked up, in minutes.
    pub ready_to_pickup_mean_min: f64,
    /// The least click-to-door there could be, if somebody stood in the restaurant whenever a meal is ready.
    pub click_to_door_least_min: f64,
    /// Orders per pickup.
    pub bundle_mean: f64,
    /// Processor time of planning and driving the day, in seconds.
    pub cpu_s: f64,
    /// The first rule that was broken.
    pub broken: Option<String>,
}

impl Played {
    fn delivered_share(&self) -> f64 {
        share(self.delivered, self.orders)
    }
}

/// All days, and what they come to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// One by one.
    pub instances: Vec<Played>,
    /// How many days kept all rules.
    pub feasible: usize,
    /// Mean over days of the share of orders that were brought, in per cent.
    pub delivered_percent: f64,
    /// The same over all orders.
    pub delivered_of_all_percent: f64,
    /// Mean over days.
    pub click_to_door_mean_min: f64,
    /// Mean over days.
    pub ready_to_pickup_mean_min: f64,
    /// Mean over days.
    pub click_to_door_least_min: f64,
    /// The most processor time a day took, in seconds.
    pub cpu_s_max: f64,
}

impl Report {
    /// Sums up.
    #[must_use]
    pub fn of(instances: Vec<Played>) -> Self {
        let n = instances.len().max(1) as f64;
        let mean = |of: fn(&Played) -> f64| instances.iter().map(of).sum::<f64>() / n;
        let sum = |of: fn(&Played) -> usize| instances.iter().map(of).sum::<usize>();
        Self {
            feasible: instances.iter().filter(|it| it.broken.is_none()).count(),
            delivered_percent: 100.0 * mean(Played::delivered_share),
            delivered_of_all_percent: 100.0 * share(sum(|it| it.delivered), sum(|it| it.orders)),
            click_to_door_mean_min: mean(|it| it.click_to_door_mean_min),
            ready_to_pickup_mean_min: mean(|it| it.ready_to_pickup_mean_min),
            click_to_door_least_min: mean(|it| it.click_to_door_least_min),
            cpu_s_max: instances.iter().map(|it| it.cpu_s).fold(0.0, f64::max),
            instances,
        }
    }

    /// What the process should exit with: 3 if a day broke a rule.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.feasible == self.instances.len() { 0 } else { 3 }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<18} {:>6} {:>10} {:>13} {:>7} {:>15} {:>7} {:>6}",
            "instance",
            "orders",
            "delivered",
            "click-to-door",
            "least",
            "ready-to-pickup",
            "bundle",
            "cpu"
        )?;
        for it in &self.instances {
            write!(
                f,
                "{:<18} {:>6} {:>8.2} % {:>13.2} {:>7.2} {:>15.2} {:>7.2} {:>5.2}s",
                it.instance,
                it.orders,
                100.0 * it.delivered_share(),
                it.click_to_door_mean_min,
                it.click_to_door_least_min,
                it.ready_to_pickup_mean_min,
                it.bundle_mean,
                it.cpu_s
            )?;
            match &it.broken {
                Some(rule) => writeln!(f, "  INFEASIBLE: {rule}")?,
                None => writeln!(f)?,
            }
        }
        write!(
            f,
            "{} of {} feasible, delivered {:.3} % (of all orders {:.3} %), click-to-door {:.2} min (least {:.2}), \
             ready-to-pickup {:.2} min, at most {:.2} s of processor a day",
            self.feasible,
            self.instances.len(),
            self.delivered_percent,
            self.delivered_of_all_percent,
            self.click_to_door_mean_min,
            self.click_to_door_least_min,
            self.ready_to_pickup_mean_min,
            self.cpu_s_max
        )
    }
}

/// Plays and checks one day.
///
/// # Errors
/// If the folder of the instance cannot be read.
pub fn play_folder(folder: &Path, seed: u64) -> Result<Played, TableError> {
    let instance = Instance::read(folder)?;
    let started = CpuTime::now();
    let day = play(&instance, seed);
    let cpu_s = started.elapsed_s();
    Ok(measure(&instance, &day, check::check(&instance, &day).err(), cpu_s))
}

fn measure(instance: &Instance, day: &Day, broken: Option<BrokenRule>, cpu_s: f64) -> Played {
    let meals = &instance.meals;
    let brought: Vec<(usize, f64)> =
        day.dropoffs.iter().enumerate().filter_map(|(meal, at)| at.map(|at| (meal, at))).collect();
    let n = brought.len().max(1) as f64;
    let door: f64 = brought.iter().map(|(meal, at)| at - meals[*meal].placed).sum();
    let shelf: f64 = day
        .assignments
        .iter()
        .flat_map(|it| it.meals.iter().map(|meal| it.picked_up - meals[*meal].ready))
        .sum();
    let least: f64 = meals.iter().map(|it| instance.least_click_to_door(it)).sum();
    Played {
        instance: instance.name.clone(),
        orders: meals.len(),
        delivered: brought.len(),
        click_to_door_mean_min: door / n,
        ready_to_pickup_mean_min: shelf / n,
        click_to_door_least_min: least / meals.len().max(1) as f64,
        bundle_mean: n / day.assignments.len().max(1) as f64,
        cpu_s,
        broken: broken.map(|it| it.to_string()),
    }
}

fn share(part: usize, all: usize) -> f64 {
    if all == 0 { 1.0 } else { part as f64 / all as f64 }
}

#[cfg(test)]
mod tests;
