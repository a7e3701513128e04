//! Charts as SVG: lines over time, a heat map, bands of nodes, and quantiles on a scale of nines.

use super::clock;
use crate::measure::{Op, Slot, Timeline, Times};
use std::fmt::Write;

/// A drawing's size, and the room around its field.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 24.0;

/// The unit of waits. Where they are long, an axis has room for seconds only.
pub(super) const MS: &str = " ms";

/// The seconds all charts of a run share.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    pub(super) width_s: f64,
    pub(super) n: usize,
    pub(super) end_s: f64,
    /// What counts.
    pub(super) counted_s: (f64, f64),
    /// When something happened.
    pub(super) marks: Vec<f64>,
}

impl Axis {
    fn x(&self, second: f64) -> f64 {
        LEFT + (second / self.end_s).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    /// The middle of a slot.
    fn middle_s(&self, n: usize) -> f64 {
        ((n as f64 + 0.5) * self.width_s).min(self.end_s)
    }

    /// What is behind every chart: what does not count, seconds, and what happened.
    fn ground(&self, height: f64) -> String {
        let bottom = height - BOTTOM;
        let mut out = String::new();
        let (from, until) = self.counted_s;
        let shades =
            if until > from { [(0.0, from), (until, self.end_s)] } else { [(0.0, 0.0); 2] };
        for (from, until) in shades {
            let (left, right) = (self.x(from), self.x(until));
            if right - left > 0.5 {
                let _ = write!(
                    out,
                    "<rect class=\"shade\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                    right - left,
                    bottom - TOP
                );
            }
        }
        let step = step_s(self.end_s);
        for n in 0..=(self.end_s / step) as usize {
            let second = n as f64 * step;
            let _ = write!(
                out,
                "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                self.x(second),
                height - 7.0,
                clock(second)
            );
        }
        for mark in &self.marks {
            let x = self.x(*mark);
            let _ = write!(out, "<path class=\"mark\" d=\"M{x:.1} {TOP}V{bottom:.1}\"/>");
        }
        out
    }
}

/// How values are spread over the height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    Log,
}

/// One line of a chart: a value for each slot, where there is one.
#[derive(Debug, Clone)]
pub(super) struct Line {
    name: String,
    class: &'static str,
    colour: char,
    pub(super) values: Vec<Option<f64>>,
}

impl Line {
    pub(super) fn area(name: &str, colour: char, values: Vec<Option<f64>>) -> Self {
        Self { name: name.to_owned(), class: "area", colour, values }
    }

    pub(super) fn thin(name: &str, colour: char, values: Vec<Option<f64>>) -> Self {
        Self { name: name.to_owned(), class: "thin", colour, values }
    }

    pub(super) fn faint(name: &str, colour: char, values: Vec<Option<f64>>) -> Self {
        Self { name: name.to_owned(), class: "faint", colour, values }
    }
}

/// Lines over time.
#[derive(Debug)]
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) about: &'a str,
    pub(super) unit: &'a str,
    pub(super) scale: Scale,
    pub(super) lines: Vec<Line>,
}

impl Chart<'_> {
    pub(super) fn draw(&self, axis: &Axis) -> String {
        let values = || self.lines.iter().flat_map(|line| line.values.iter().flatten().copied());
        let field = Field::around(values(), self.scale);
        let mut svg = axis.ground(HEIGHT);
        svg.push_str(&field.ground(HEIGHT, self.unit));
        for line in &self.lines {
            let points: Vec<Option<(f64, f64)>> = line
                .values
                .iter()
                .enumerate()
                .map(|(n, value)| value.map(|it| (axis.x(axis.middle_s(n)), field.y(it, HEIGHT))))
                .collect();
            let d = path(&points);
            if line.class == "area" {
                let _ = write!(
                    svg,
                    "<path class=\"fill {}\" d=\"{}\"/>",
                    line.colour,
                    closed(&points, HEIGHT - BOTTOM)
                );
            }
            let _ = write!(svg, "<path class=\"line {} {}\" d=\"{d}\"/>", line.class, line.colour);
        }
        let legend = self.lines.iter().map(|line| {
            format!(
                "<span class=\"key {} {}\">{}</span>",
                line.class,
                line.colour,
                escape(&line.name)
            )
        });
        figure(self.title, self.about, &legend.collect::<String>(), HEIGHT, &svg, &self.data(axis))
    }

    /// What the script shows under the pointer.
    fn data(&self, axis: &Axis) -> String {
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|line| {
                let rounded =
                    line.values.iter().map(|it| it.map(|it| (it * 100.0).round() / 100.0));
                serde_json::json!({ "name": line.name, "values": rounded.collect::<Vec<_>>() })
            })
            .collect();
        let field = [LEFT, WIDTH - RIGHT, WIDTH];
        let data = serde_json::json!({
            "field": field, "width_s": axis.width_s, "end_s": axis.end_s, "unit": self.unit, "lines": lines,
        });
        escape(&data.to_string())
    }
}

/// The values a chart has room for.
#[derive(Debug, Clone, Copy)]
struct Field {
    low: f64,
    high: f64,
    scale: Scale,
}

impl Field {
    fn around(values: impl Iterator<Item = f64>, scale: Scale) -> Self {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|it| it.is_finite()) {
            high = high.max(value);
            if value > 0.0 {
                low = low.min(value);
            }
        }
        match scale {
            Scale::Linear => {
                // A chart of nothing has room for one.
                let high = if high > 0.0 { high } else { 1.0 };
                let step = nice(high / 4.0);
                Self { low: 0.0, high: (high / step).ceil() * step, scale }
            }
            Scale::Log => {
                let low = if low.is_finite() { low } else { 1.0 };
                let low = 10_f64.powf(low.log10().floor());
                let high = 10_f64.powf(high.max(low * 1.01).log10().ceil());
                Self { low, high: high.max(low * 10.0), scale }
            }
        }
    }

    fn y(&self, value: f64, height: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
        };
        height - BOTTOM - share.clamp(0.0, 1.0) * (height - BOTTOM - TOP)
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = nice(self.high / 4.0);
                let n = (self.high / step).round() as usize;
                (0..=n).map(|n| n as f64 * step).collect()
            }
            Scale::Log => {
                let decades = (self.high / self.low).log10().round() as i32;
                (0..=decades).map(|n| self.low * 10_f64.powi(n)).collect()
            }
        }
    }

    fn ground(&self, height: f64, unit: &str) -> String {
        let mut out = String::new();
        for tick in self.ticks() {
            let y = self.y(tick, height);
            let says = match unit {
                MS => {
                    let (value, unit) = spoken(tick);
                    format!("{value} {unit}")
                }
                unit => format!("{}{unit}", number(tick)),
            };
            let _ = write!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{:.1}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{says}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 3.5,
            );
        }
        out
    }
}

fn figure(title: &str, about: &str, legend: &str, height: f64, svg: &str, data: &str) -> String {
    let data = if data.is_empty() { String::new() } else { format!(" data-chart=\"{data}\"") };
    format!(
        "<figure><figcaption><h3>{title}</h3><p>{about}</p><div class=\"legend\">{legend}</div></figcaption>\
         <svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\"{data}>{svg}</svg></figure>\n"
    )
}

/// A line through points, broken where there are none. A point alone is a dash, or nobody would see it.
fn path(points: &[Option<(f64, f64)>]) -> String {
    let mut d = String::new();
    let mut is_down = false;
    for (n, point) in points.iter().enumerate() {
        let Some((x, y)) = point else {
            is_down = false;
            continue;
        };
        let is_alone = !is_down && points.get(n + 1).is_none_or(Option::is_none);
        let _ = match (is_down, is_alone) {
            (true, _) => write!(d, "L{x:.1} {y:.1}"),
            (false, false) => write!(d, "M{x:.1} {y:.1}"),
            (false, true) => write!(d, "M{:.1} {y:.1}h3", x - 1.5),
        };
        is_down = true;
    }
    d
}

/// The area below a line.
fn closed(points: &[Option<(f64, f64)>], floor: f64) -> String {
    let there: Vec<(f64, f64)> = points.iter().flatten().copied().collect();
    let (Some(first), Some(last)) = (there.first(), there.last()) else { return String::new() };
    let mut d = format!("M{:.1} {floor:.1}", first.0);
    for (x, y) in &there {
        let _ = write!(d, "L{x:.1} {y:.1}");
    }
    let _ = write!(d, "L{:.1} {floor:.1}Z", last.0);
    d
}

/// How many took how long when: darker is more.
pub(super) fn heat(line: &Timeline, op: Op, axis: &Axis) -> String {
    const SHADES: usize = 8;
    const ROWS_PER_DECADE: f64 = 6.0;
    let slots: Vec<&[(u64, u64)]> =
        line.slots.iter().map(|slot| slot.took.get(&op).map_or(&[][..], Vec::as_slice)).collect();
    let ms = |us: u64| (us.max(1) as f64) / 1e3;
    let all = || slots.iter().copied().flatten().map(|(us, _)| ms(*us));
    if all().next().is_none() {
        return String::new();
    }
    let field = Field::around(all(), Scale::Log);
    let row = |us: u64| ((ms(us) / field.low).log10() * ROWS_PER_DECADE).floor().max(0.0) as usize;
    let n_rows = ((field.high / field.low).log10() * ROWS_PER_DECADE).round() as usize;
    let mut cells = vec![vec![0_u64; n_rows + 1]; slots.len()];
    for (n, counts) in slots.iter().enumerate() {
        for (us, count) in *counts {
            cells[n][row(*us).min(n_rows)] += count;
        }
    }
    let most = cells.iter().flatten().copied().max().unwrap_or(1).max(1) as f64;
    let mut shades = vec![String::new(); SHADES];
    let bound = |row: usize| field.low * 10_f64.powf(row as f64 / ROWS_PER_DECADE);
    for (n, column) in cells.iter().enumerate() {
        let left = axis.x(n as f64 * axis.width_s);
        let width = axis.x((n + 1) as f64 * axis.width_s) - left + 0.3;
        for (row, count) in column.iter().enumerate().filter(|(_, count)| **count > 0) {
            let shade = ((*count as f64 / most).sqrt() * SHADES as f64).ceil() as usize;
            let (top, floor) = (field.y(bound(row + 1), HEIGHT), field.y(bound(row), HEIGHT));
            let _ = write!(
                shades[shade.clamp(1, SHADES) - 1],
                "M{left:.1} {top:.1}h{width:.1}v{:.1}h-{width:.1}z",
                floor - top
            );
        }
    }
    let mut svg = axis.ground(HEIGHT);
    svg.push_str(&field.ground(HEIGHT, MS));
    for (n, d) in shades.iter().enumerate().filter(|(_, d)| !d.is_empty()) {
        let opacity = 0.12 + 0.88 * (n + 1) as f64 / SHADES as f64;
        let _ = write!(svg, "<path class=\"heat\" fill-opacity=\"{opacity:.2}\" d=\"{d}\"/>");
    }
    let about = format!("{}: how many took how long, when. The darker, the more.", op.says());
    figure("Where the time went", &about, "", HEIGHT, &svg, "")
}

/// A band for each node: whether it wanted work, was there, or was not.
pub(super) fn strips(line: &Timeline, axis: &Axis) -> String {
    const BAND: f64 = 22.0;
    let mut names: Vec<&String> = line.slots.iter().flat_map(|slot| slot.nodes.keys()).collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return String::new();
    }
    let height = TOP + BOTTOM + BAND * names.len() as f64;
    let mut svg = axis.ground(height);
    for (row, name) in names.iter().enumerate() {
        let top = TOP + BAND * row as f64;
        let state = |slot: &Slot| {
            slot.nodes.get(*name).map(|node| match (node.is_up, node.is_ready) {
                (true, true) => 'b',
                (true, false) => 'c',
                (false, _) => 'd',
            })
        };
        let mut from = 0;
        while from < axis.n {
            let here = state(&line.slots[from]);
            let until = (from..axis.n).find(|n| state(&line.slots[*n]) != here).unwrap_or(axis.n);
            if let Some(colour) = here {
                let (left, right) =
                    (axis.x(from as f64 * axis.width_s), axis.x(until as f64 * axis.width_s));
                let _ = write!(
                    svg,
                    "<rect class=\"band {colour}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                    top + 2.0,
                    (right - left).max(1.0),
                    BAND - 4.0
                );
            }
            from = until;
        }
        let last = line.slots.iter().rev().find_map(|slot| slot.nodes.get(*name));
        let shards = last.map_or(0, |node| node.shards);
        let says = if shards > 0 { format!("{name} · {shards} shards") } else { (*name).clone() };
        let _ = write!(
            svg,
            "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT + 6.0,
            top + BAND / 2.0 + 4.0,
            escape(&says)
        );
    }
    let legend = "<span class=\"key area b\">wants work</span><span class=\"key area c\">leaving</span>\
                  <span class=\"key area d\">silent</span>";
    figure("Nodes", "As they were seen from outside, once a second.", legend, height, &svg, "")
}

/// Times by quantile, on a scale of nines: each further line to the right is ten times as rare.
pub(super) fn quantiles(all: &[(&str, &Times)]) -> String {
    const NINES: [(f64, &str); 5] =
        [(0.0, "0"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")];
    const MOST: f64 = 4.0;
    const COLOURS: [char; 6] = ['a', 'b', 'c', 'e', 'd', 'f'];
    let shown: Vec<_> = all.iter().filter(|(_, times)| times.n() >= 20).collect();
    if shown.is_empty() {
        return String::new();
    }
    let x = |nines: f64| LEFT + nines / MOST * (WIDTH - LEFT - RIGHT);
    let ends = shown.iter().flat_map(|(_, times)| [times.at(0.01), times.spread().max]);
    let field = Field::around(ends, Scale::Log);
    let mut svg = field.ground(HEIGHT, MS);
    for (n, (_, says)) in NINES.iter().enumerate() {
        let x = x(n as f64);
        let anchor = if n + 1 == NINES.len() { "end" } else { "middle" };
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{x:.1} {TOP}V{:.1}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{says}</text>",
            HEIGHT - BOTTOM,
            HEIGHT - 7.0
        );
    }
    let mut legend = String::new();
    for (n, (name, times)) in shown.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        // Beyond what so few can tell, there is no line.
        let most = (times.n() as f64).log10().min(MOST);
        let points: Vec<Option<(f64, f64)>> = (0..=80)
            .map(|n| f64::from(n) / 80.0 * most)
            .map(|nines| Some((x(nines), field.y(times.at(1.0 - 10_f64.powf(-nines)), HEIGHT))))
            .collect();
        let class = if n < COLOURS.len() { "thin" } else { "faint" };
        let _ = write!(svg, "<path class=\"line {class} {colour}\" d=\"{}\"/>", path(&points));
        let _ = write!(legend, "<span class=\"key {class} {colour}\">{}</span>", escape(name));
    }
    figure(
        "How rare is how long",
        "What this share waited at most, counted from when it was due.",
        &legend,
        HEIGHT,
        &svg,
        "",
    )
}

/// A round number near this one: 1, 2 or 5, and zeros.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    let [_, two, five, ten] = [1.0, 2.0, 5.0, 10.0].map(|it| it * power);
    [power, two, five].into_iter().find(|it| *it >= value * 0.999).unwrap_or(ten)
}

/// Seconds between two ticks, so that there are some eight.
fn step_s(end_s: f64) -> f64 {
    const STEPS: [f64; 13] =
        [1.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0];
    STEPS.into_iter().find(|step| end_s / step <= 9.0).unwrap_or_else(|| nice(end_s / 8.0))
}

/// A number as people read it: three digits that matter, thousands apart.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1_000.0 {
        let digits = format!("{:.0}", size);
        let mut out = String::new();
        for (n, digit) in digits.chars().enumerate() {
            if n > 0 && (digits.len() - n).is_multiple_of(3) {
                out.push('\u{202f}');
            }
            out.push(digit);
        }
        return if value < 0.0 { format!("-{out}") } else { out };
    }
    let text = match size {
        _ if size >= 100.0 => format!("{value:.0}"),
        _ if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A wait as people say it, from ten seconds on in seconds.
pub(super) fn spoken(ms: f64) -> (String, &'static str) {
    if ms >= 10_000.0 { (number(ms / 1e3), "s") } else { (number(ms), "ms") }
}

/// Text that cannot become markup, also within quotes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
