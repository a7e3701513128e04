//! The comparison as a picture: how many riders waited how long.

use super::Comparison;
use plotters::prelude::*;
use thiserror::Error;

/// Width and height, in pixels.
const SIZE: (u32, u32) = (960, 600);

/// The picture could not be drawn.
#[derive(Debug, Error)]
#[error("no chart: {0}")]
pub struct NoChart(String);

impl Comparison {
    /// What is drawn: for every policy the sum of its mornings, or its only one.
    fn drawn(&self) -> impl Iterator<Item = &super::Row> {
        let has_sums = self.rows.iter().any(|row| row.trips.is_none());
        self.rows.iter().filter(move |row| row.trips.is_none() == has_sums)
    }
}

/// Draws, for every policy, what share of riders waited for at most how long, as SVG.
pub fn draw(comparison: &Comparison) -> Result<String, NoChart> {
    let failed = |error: &dyn std::fmt::Display| NoChart(error.to_string());
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|error| failed(&error))?;
        let longest_s = comparison
            .drawn()
            .filter_map(|row| row.summary.waits_s.get(99))
            .fold(60.0_f64, |longest, wait_s| longest.max(*wait_s));
        let mut chart = ChartBuilder::on(&root)
            .caption("From request to pickup", ("sans-serif", 22))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(50)
            .build_cartesian_2d(0.0..longest_s, 0.0..100.0)
            .map_err(|error| failed(&error))?;
        chart
            .configure_mesh()
            .x_desc("seconds waited at most")
            .y_desc("percent of riders picked up")
            .draw()
            .map_err(|error| failed(&error))?;
        for (n, row) in comparison.drawn().enumerate() {
            let colour = Palette99::pick(n).to_rgba();
            let points = (0..).zip(&row.summary.waits_s).take(100);
            let points = points.map(|(percent, wait_s)| (*wait_s, f64::from(percent)));
            let it = &row.summary;
            let label = format!(
                "{} {} {} drivers: mean {:.0} s, p95 {:.0} s, {:.1} % served",
                row.policy,
                row.shard,
                row.n_drivers,
                it.wait_mean_s,
                it.wait_p95_s,
                it.served_percent
            );
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)))
                .map_err(|error| failed(&error))?
                .label(label)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2))
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK)
            .draw()
            .map_err(|error| failed(&error))?;
        root.present().map_err(|error| failed(&error))?;
    }
    Ok(svg)
}
