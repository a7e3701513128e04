//! One day's couriers, restaurants and orders, as the instances' four tab-separated tables say.

use crate::table::{Table, TableError, number};
use std::{collections::HashMap, path::Path};

/// A place in metres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// To the east.
    pub x: f64,
    /// To the north.
    pub y: f64,
}

/// One order. Times are minutes of the day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Meal {
    /// Index of its restaurant's place.
    pub restaurant: usize,
    /// Index of its diner's place.
    pub diner: usize,
    /// When it was placed: nobody knows of it before.
    pub placed: f64,
    /// When it can be picked up.
    pub ready: f64,
}

/// One courier's shift.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Courier {
    /// Index of the place where it begins.
    pub begins_at: usize,
    /// From when on it can be told what to do.
    pub on: f64,
    /// Nothing is picked up after this.
    pub off: f64,
}

/// A day.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// What it is called.
    pub name: String,
    /// Restaurants first, then diners, then where couriers begin.
    pub places: Vec<Place>,
    /// How many of the places are restaurants.
    pub n_restaurants: usize,
    /// Orders, in the table's order.
    pub meals: Vec<Meal>,
    /// Couriers, in the table's order.
    pub couriers: Vec<Courier>,
    /// How fast couriers are.
    pub meters_per_minute: f64,
    /// How long a visit at a restaurant takes: half of it before the pickup, half after.
    pub pickup_service_min: f64,
    /// How long a visit at a diner takes, likewise.
    pub dropoff_service_min: f64,
}

impl Instance {
    /// Reads `orders.txt`, `couriers.txt`, `restaurants.txt` and `instance_parameters.txt` of a folder.
    ///
    /// # Errors
    /// If one is missing, or holds something else.
    pub fn read(folder: &Path) -> Result<Self, TableError> {
        let table = |file: &str| Table::open_tabbed(&folder.join(file));
        let mut places = Vec::new();
        let mut restaurants = HashMap::new();
        for row in table("restaurants.txt")?.rows(["restaurant", "x", "y"])? {
            let [id, x, y] = row?;
            restaurants.insert(id, places.len());
            places.push(Place { x: number(&x)?, y: number(&y)? });
        }
        let n_restaurants = places.len();
        let mut meals = Vec::new();
        let columns = ["x", "y", "placement_time", "restaurant", "ready_time"];
        for row in table("orders.txt")?.rows(columns)? {
            let [x, y, placed, restaurant, ready] = row?;
            let restaurant = *restaurants.get(&restaurant).ok_or(TableError::Value {
                text: restaurant,
                wanted: "a restaurant of restaurants.txt",
            })?;
            let (placed, ready) = (minute(&placed)?, minute(&ready)?);
            meals.push(Meal { restaurant, diner: places.len(), placed, ready });
            places.push(Place { x: number(&x)?, y: number(&y)? });
        }
        let mut couriers = Vec::new();
        for row in table("couriers.txt")?.rows(["x", "y", "on_time", "off_time"])? {
            let [x, y, on, off] = row?;
            couriers.push(Courier {
                begins_at: places.len(),
                on: minute(&on)?,
                off: minute(&off)?,
            });
            places.push(Place { x: number(&x)?, y: number(&y)? });
        }
        let columns = ["meters_per_minute", "pickup service minutes", "dropoff service minutes"];
        let row = table("instance_parameters.txt")?.rows(columns)?.next();
        let [speed, pickup, dropoff] = row.unwrap_or_else(|| Ok(Default::default()))?;
        let meters_per_minute = number(&speed)?;
        if !(meters_per_minute > 0.0 && meters_per_minute.is_finite()) {
            return Err(TableError::Value { text: speed, wanted: "a speed" });
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (pickup_service_min, dropoff_service_min) = (minute(&pickup)?, minute(&dropoff)?);
        Ok(Self {
            name,
            places,
            n_restaurants,
            meals,
            couriers,
            meters_per_minute,
            pickup_service_min,
            dropoff_service_min,
        })
    }

    /// How long it takes from one place to another: whole minutes, rounded up.
    #[must_use]
    pub fn travel_min(&self, from: usize, to: usize) -> f64 {
        let (a, b) = (&self.places[from], &self.places[to]);
        let minutes = ((a.x - b.x).powi(2) + (a.y - b.y).powi(2)).sqrt() / self.meters_per_minute;
        // The same as `ceil`, which is a call where the processor is any of its kind.
        let whole = f64::from(minutes as u32);
        if whole < minutes { whole + 1.0 } else { whole }
    }

    /// Click-to-door of a meal somebody waits for in the restaurant.
    #[must_use]
    pub fn least_click_to_door(&self, meal: &Meal) -> f64 {
        let ride = self.travel_min(meal.restaurant, meal.diner);
        meal.ready - meal.placed + (self.pickup_service_min + self.dropoff_service_min) / 2.0 + ride
    }
}

/// A minute of the day, or so many of them.
fn minute(text: &str) -> Result<f64, TableError> {
    let it = number(text)?;
    if (0.0..=1e5).contains(&it) && it.fract() == 0.0 {
        return Ok(it);
    }
    Err(TableError::Value { text: text.to_owned(), wanted: "a whole number of minutes" })
}
