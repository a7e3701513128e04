//! What was reached and not looked from yet, the nearest first.
//!
//! Nothing is ever added that is nearer than what was taken last, so nothing needs to be in order but the next few (a
//! radix heap, after Ahuja, Mehlhorn, Orlin and Tarjan): distances are kept apart by the highest of their sixteen digits
//! that differs from where the search is, and by that digit. Adding one is a few shifts, and nothing is compared.

/// How many bits a digit has.
const DIGIT_BITS: usize = 4;
/// How many digits a distance has.
const N_DIGITS: usize = 16;
/// How many values a digit has.
const N_VALUES: usize = 1 << DIGIT_BITS;

/// Columns by distance.
pub(super) struct Queue {
    /// How far the search is.
    now: i64,
    /// The digits, counted from the lowest, at which something differs from `now`.
    digits: u16,
    /// Per digit: the values of it that something has.
    values: [u16; N_DIGITS],
    /// Per digit and value. At the lowest digit, all of one bucket are equally far.
    buckets: Vec<Vec<(i64, u32)>>,
}

impl Queue {
    /// Nothing was reached.
    pub(super) fn new() -> Self {
        Self {
            now: 0,
            digits: 0,
            values: [0; N_DIGITS],
            buckets: vec![Vec::new(); N_DIGITS * N_VALUES],
        }
    }

    /// Adds a column, no nearer than what was taken last.
    pub(super) fn push(&mut self, distance: i64, column: u32) {
        debug_assert!(distance >= self.now, "a search never goes back");
        let digit = ((distance ^ self.now) | 1).ilog2() as usize / DIGIT_BITS;
        let value = (distance >> (DIGIT_BITS * digit)) as usize % N_VALUES;
        self.digits |= 1 << digit;
        self.values[digit] |= 1 << value;
        self.buckets[digit * N_VALUES + value].push((distance, column));
    }

    /// Takes the nearest, if it is nearer than `bound`.
    pub(super) fn pop(&mut self, bound: i64) -> Option<(i64, u32)> {
        loop {
            let (digit, value) = self.first()?;
            let bucket = &mut self.buckets[digit * N_VALUES + value];
            if digit == 0 || bucket.len() == 1 {
                let taken = bucket.pop_if(|(distance, _)| *distance < bound)?;
                if bucket.is_empty() {
                    self.strike(digit, value);
                }
                self.now = taken.0;
                return Some(taken);
            }
            let nearest = bucket.iter().map(|(distance, _)| *distance).min()?;
            if nearest >= bound {
                return None;
            }
            // They differ from the nearest of them in lower digits only.
            let mut some = std::mem::take(bucket);
            self.strike(digit, value);
            self.now = nearest;
            for (distance, column) in some.drain(..) {
                self.push(distance, column);
            }
            self.buckets[digit * N_VALUES + value] = some;
        }
    }

    /// Forgets everything; the next search begins at 0.
    pub(super) fn clear(&mut self) {
        while let Some((digit, value)) = self.first() {
            self.buckets[digit * N_VALUES + value].clear();
            self.strike(digit, value);
        }
        self.now = 0;
    }

    /// Which bucket has the nearest.
    fn first(&self) -> Option<(usize, usize)> {
        let digit = (self.digits != 0).then(|| self.digits.trailing_zeros() as usize)?;
        Some((digit, self.values[digit].trailing_zeros() as usize))
    }

    /// Nothing is left in this bucket.
    fn strike(&mut self, digit: usize, value: usize) {
        self.values[digit] &= !(1 << value);
        if self.values[digit] == 0 {
            self.digits &= !(1 << digit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{cmp::Reverse, collections::BinaryHeap};

    proptest! {
        #[test]
        fn takes_in_the_order_of_a_heap(
            steps in prop::collection::vec(prop_oneof![
                3 => (0..64_u32, any::<i64>()).prop_map(|(shift, it)| Some((it & i64::MAX) >> shift)),
                2 => Just(None),
            ], 0..200),
            bound in prop_oneof![Just(i64::MAX), 0..1_000_i64],
        ) {
            let (mut queue, mut heap, mut now) = (Queue::new(), BinaryHeap::new(), 0);
            for (n, step) in (0..).zip(steps) {
                match step {
                    Some(further) => {
                        let distance = i64::saturating_add(now, further).min(i64::MAX - 1);
                        queue.push(distance, n);
                        heap.push(Reverse(distance));
                    }
                    None => {
                        let wanted = heap.peek().map(|it| it.0).filter(|it| *it < bound);
                        let taken = queue.pop(bound).map(|(distance, _)| distance);
                        prop_assert_eq!(taken, wanted);
                        if taken.is_some() {
                            heap.pop();
                        }
                        now = taken.unwrap_or(now);
                    }
                }
            }
            queue.clear();
            prop_assert_eq!(queue.pop(i64::MAX), None);
            queue.push(0, 7);
            prop_assert_eq!(queue.pop(i64::MAX), Some((0, 7)));
        }
    }
}
