//! The report as a page to be sent on: one file that needs nothing else, drawn here and readable without scripts.
//!
//! A small script (`page/look.js`) shows values under the pointer in all charts at once; whoever has none loses only that.

mod chart;

use crate::{
    measure::{Op, Slot, Timeline, Times},
    record::Record,
};
use chart::{Axis, Chart, Line, MS, Scale, escape, heat, number, quantiles, spoken, strips};
use std::fmt::Write;

/// Most slots of a chart: no screen shows more.
const SLOTS_MAX: usize = 240;
/// Most slots of a heat map.
const HEAT_SLOTS_MAX: usize = 120;

/// The page about a run.
pub fn page(record: &Record) -> String {
    let title = escape(&format!("{} · Outrider load test", record.scenario));
    let charts = charts(record);
    let style = include_str!("page/style.css");
    let script = include_str!("page/look.js");
    let body = [
        head(record),
        tiles(record),
        verdicts(record),
        saturation(record),
        charts,
        waits(record),
        nodes(record),
        outcomes(record),
        foot(record),
    ]
    .concat();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>{title}</title><style>{style}</style></head>\n<body><main>{body}</main><script>{script}</script></body></html>\n"
    )
}

/// How a run ended, for its badge: a class, and words.
fn ending(record: &Record) -> (&'static str, String) {
    let missed = record.verdicts.iter().filter(|verdict| !verdict.is_kept).count();
    match record.exit_code() {
        130 => ("fair", "Interrupted".to_owned()),
        0 if record.verdicts.is_empty() => ("good", "No promise broken".to_owned()),
        0 => ("good", "Passed".to_owned()),
        3 => ("bad", "A promise was broken".to_owned()),
        4 if record.generator.saturated.is_empty() => ("fair", "Not all could be read".to_owned()),
        4 => ("fair", "Generator saturated".to_owned()),
        _ => ("bad", format!("{missed} of {} thresholds missed", record.verdicts.len())),
    }
}

fn head(record: &Record) -> String {
    let (class, words) = ending(record);
    let machine = &record.machine;
    let set = match record.set.is_empty() {
        true => "as it stands".to_owned(),
        false => format!("with <code>{}</code>", escape(&record.set.join(", "))),
    };
    let facts = [
        set,
        moment(record.began_at.0),
        format!("{} long", span(record.lasted_s)),
        format!("{}× as quick as life", number(record.speed)),
        format!("seed {}", record.seed),
        match record.generators {
            1 => "one generator".to_owned(),
            n => format!("{n} generators"),
        },
        format!(
            "{} × {}, {:.0} GB, Linux {}",
            machine.cores,
            escape(&machine.model),
            machine.memory_bytes as f64 / 1e9,
            escape(&machine.kernel)
        ),
    ];
    let beside = record.beside.as_ref().map_or_else(String::new, |it| {
        format!("<p class=\"beside\"><b>Beside it</b> {}</p>", escape(it))
    });
    format!(
        "<header><p class=\"kind\">Outrider load test</p><h1>{}<span class=\"badge {class}\">{words}</span></h1>\
         <p class=\"about\">{}</p>{beside}<p class=\"facts\">{}</p></header>\n",
        escape(&record.scenario),
        escape(&record.about),
        facts.join(" · ")
    )
}

fn tiles(record: &Record) -> String {
    let ms = |op: Op, quantile: f64| {
        let took = record.took.get(&op).map(|took| &took.corrected).filter(|it| it.n() > 0);
        took.map_or_else(
            || "–".to_owned(),
            |it| {
                let (value, unit) = spoken(it.at(quantile));
                format!("{value}<small> {unit}</small>")
            },
        )
    };
    let peak = record.timeline.slots.iter().map(|slot| slot.drivers + slot.riders).max();
    let peak = number(peak.unwrap_or(0) as f64);
    let violations = record.violations.to_string();
    let tiles: Vec<(&str, String)> = match &record.sessions {
        Some(it) => vec![
            ("sessions held", number(it.held as f64)),
            ("of", number(it.wanted as f64)),
            ("died", number(it.died as f64)),
            ("opened a second", number(it.opened_per_s)),
            ("connected, p99", ms(Op::Welcome, 0.99)),
            ("bytes each, on nodes", number(it.node_bytes as f64)),
        ],
        None => vec![
            ("commands done a second", number(record.done_per_s())),
            ("order placed, p99", ms(Op::Place, 0.99)),
            ("driver found, median", ms(Op::DriverFound, 0.5)),
            (
                "jobs that ended well",
                format!("{:.1}<small> %</small>", record.jobs.all().satisfied() * 100.0),
            ),
            ("errors", format!("{:.3}<small> %</small>", record.commands.errors() * 100.0)),
            ("most sessions at once", peak),
            ("promises broken", violations),
        ],
    };
    let tiles = tiles.iter().map(|(says, value)| {
        format!("<div class=\"tile\"><b>{value}</b><span>{says}</span></div>")
    });
    format!("<section class=\"tiles\">{}</section>\n", tiles.collect::<String>())
}

fn verdicts(record: &Record) -> String {
    if record.verdicts.is_empty() {
        return String::new();
    }
    let rows = record.verdicts.iter().map(|verdict| {
        let (class, mark) = if verdict.is_kept { ("good", "✓") } else { ("bad", "✗") };
        format!(
            "<li class=\"{class}\"><i>{mark}</i><code>{}</code><span>{}</span></li>",
            escape(&verdict.threshold),
            escape(verdict.measured.as_deref().unwrap_or("not measured"))
        )
    });
    let rows: String = rows.collect();
    format!("<section><h2>What was to hold</h2><ul class=\"verdicts\">{rows}</ul></section>\n")
}

fn saturation(record: &Record) -> String {
    if record.generator.saturated.is_empty() {
        return String::new();
    }
    let why = record.generator.saturated.iter().map(|why| format!("<li>{}</li>", escape(why)));
    format!(
        "<section class=\"warning\"><h2>The generator was saturated</h2><p>These figures say more about the load tester than \
         about a node. Give it more processors, or share the crowd among several machines (<code>loadtest run --lead</code>).\
         </p><ul>{}</ul></section>\n",
        why.collect::<String>()
    )
}

fn charts(record: &Record) -> String {
    let line = record.timeline.clone().with_at_most(SLOTS_MAX);
    if line.slots.is_empty() {
        return String::new();
    }
    let axis = axis(record, &line);
    let rate = |of: fn(&Slot) -> u64| -> Vec<Option<f64>> {
        let slots = line.slots.iter().enumerate();
        slots.map(|(n, slot)| Some(of(slot) as f64 / line.lasting_s(n) as f64)).collect()
    };
    let level = |of: fn(&Slot) -> f64| -> Vec<Option<f64>> {
        line.slots.iter().map(|slot| Some(of(slot))).collect()
    };
    let wait = |op: Op, quantile: f64| -> Vec<Option<f64>> {
        let counts = line.slots.iter().map(|slot| slot.took.get(&op));
        counts.map(|it| it.and_then(|counts| at(counts, quantile))).collect()
    };
    let mut all = Vec::new();
    if record.sessions.is_none() {
        all.push(Chart {
            title: "Jobs",
            about: "Who was due to ask, and what came of it, a second. The schedule was fixed before the first of them.",
            unit: "/s",
            scale: Scale::Linear,
            lines: vec![
                Line::area("due", 'a', rate(|slot| slot.asked)),
                Line::thin("made", 'e', rate(|slot| slot.created)),
                Line::thin("completed", 'b', rate(|slot| slot.completed)),
            ],
        });
    }
    let ops = match record.sessions {
        None => [
            ("order placed", Op::Place),
            ("driver's step", Op::Step),
            ("driver found", Op::DriverFound),
        ],
        Some(_) => [("connected", Op::Welcome), ("heartbeat", Op::Beat), ("back", Op::Back)],
    };
    let mut waits = Vec::new();
    for ((name, op), colour) in ops.into_iter().zip(['a', 'e', 'b']) {
        waits.push(Line::faint(&format!("{name}, p50"), colour, wait(op, 0.5)));
        waits.push(Line::thin(&format!("{name}, p99"), colour, wait(op, 0.99)));
    }
    waits.retain(|line| line.values.iter().any(Option::is_some));
    if !waits.is_empty() {
        all.push(Chart {
            title: "Waiting",
            about: "How long it took what ended then, counted from when it was due.",
            unit: MS,
            scale: Scale::Log,
            lines: waits,
        });
    }
    all.push(Chart {
        title: "Answers",
        about: "Commands a second by their answers. Put off: asked again later; failed: the node's fault.",
        unit: "/s",
        scale: Scale::Linear,
        lines: vec![
            Line::area("done", 'b', rate(|slot| slot.done)),
            Line::thin("refused by a rule", 'f', rate(|slot| slot.refused - slot.failed.min(slot.refused))),
            Line::thin("put off", 'c', rate(|slot| slot.put_off)),
            Line::thin("failed", 'd', rate(|slot| slot.failed)),
        ],
    });
    all.push(Chart {
        title: "Sessions",
        about: "Connected phones, and connections lost a second.",
        unit: "",
        scale: Scale::Linear,
        lines: vec![
            Line::area("drivers", 'a', level(|slot| slot.drivers as f64)),
            Line::area("riders and shops", 'e', level(|slot| slot.riders as f64)),
            Line::thin("lost", 'd', rate(|slot| slot.lost.saturating_sub(slot.cut))),
            Line::thin("cut by us", 'c', rate(|slot| slot.cut)),
        ],
    });
    if record.watched.is_some() {
        all.push(Chart {
            title: "Watched processes",
            about: "Memory of their own, in MB, and how many hundredths of a processor they kept busy (--pid).",
            unit: "",
            scale: Scale::Linear,
            lines: vec![
                Line::area("memory, MB", 'e', level(|slot| slot.watched_bytes as f64 / 1e6)),
                Line::thin("busy, % of one", 'c', level(|slot| slot.watched_cores * 100.0)),
            ],
        });
    }
    if record.sessions.is_none() {
        all.push(Chart {
            title: "The generator itself",
            about: "How late its own tasks ran, and how busy it kept its processors: above 10 ms or 80 % it measures itself.",
            unit: "",
            scale: Scale::Linear,
            lines: vec![
                Line::thin("late, ms", 'c', level(|slot| slot.lag_us as f64 / 1e3)),
                Line::faint("busy, %", 'f', level(|slot| slot.cpu_share * 100.0)),
            ],
        });
    }
    let mut out = String::from("<section><h2>Over time</h2>");
    if record.events.is_empty() {
        out.push_str(
            "<p class=\"note\">Shaded: warm-up and what came after, which does not count.</p>",
        );
    } else {
        out.push_str("<p class=\"note\">Shaded: warm-up and what came after, which does not count. Dashed: what happened.</p>");
        out.push_str(&events(record));
    }
    for chart in &all {
        out.push_str(&chart.draw(&axis));
    }
    out.push_str(&strips(&line, &axis));
    let few = record.timeline.clone().with_at_most(HEAT_SLOTS_MAX);
    let op = if record.sessions.is_some() { Op::Beat } else { Op::Place };
    out.push_str(&heat(&few, op, &self::axis(record, &few)));
    let curves: Vec<(&str, &Times)> =
        record.took.iter().map(|(op, took)| (op.says(), &took.corrected)).collect();
    out.push_str(&quantiles(&curves));
    out.push_str("</section>\n");
    out
}

fn axis(record: &Record, line: &Timeline) -> Axis {
    Axis {
        width_s: line.width_s as f64,
        n: line.slots.len(),
        end_s: (line.n_s as f64).max(1.0),
        counted_s: (record.counted_from_s, record.counted_until_s),
        marks: record.events.iter().map(|seen| seen.after_s).collect(),
    }
}

/// The quantile of rounded times, in milliseconds.
fn at(counts: &[(u64, u64)], quantile: f64) -> Option<f64> {
    let n: u64 = counts.iter().map(|(_, n)| n).sum();
    let wanted = ((n as f64 * quantile).ceil() as u64).max(1);
    let mut below = 0;
    let found = counts.iter().find(|(_, n)| {
        below += n;
        below >= wanted
    });
    found.map(|(us, _)| *us as f64 / 1e3)
}

fn events(record: &Record) -> String {
    const SHOWN: usize = 40;
    let rows = record.events.iter().take(SHOWN).map(|seen| {
        format!(
            "<li><time>{}</time> <b>{}</b> {}</li>",
            clock(seen.after_s),
            escape(&seen.who),
            escape(&seen.what)
        )
    });
    let rows: String = rows.collect();
    let more = record.events.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!("<li>and {more} more</li>") } else { String::new() };
    format!("<ol class=\"events\">{rows}{more}</ol>")
}

fn waits(record: &Record) -> String {
    if record.took.is_empty() {
        return String::new();
    }
    let mut rows = String::new();
    for (op, took) in &record.took {
        let (it, service) = (took.corrected.spread(), took.service.spread());
        let cells = [it.mean, it.p50, it.p90, it.p95, it.p99, it.p999, it.max].map(cell).concat();
        let said = [service.p50, service.p99].map(cell).concat();
        // Writing to a string does not fail.
        let _ = write!(
            rows,
            "<tr><th scope=\"row\">{} <code>{op}</code></th><td>{}</td>{cells}{said}</tr>",
            op.says(),
            number(it.n as f64)
        );
    }
    format!(
        "<section><h2>How long people waited, in milliseconds</h2><p class=\"note\">By the generator's clock. Counted from \
         when each was <b>due</b>, so a node that keeps everybody waiting cannot hide it; on the right, from when it was \
         said.</p><div class=\"wide\"><table><thead><tr><th></th><th>n</th><th>mean</th><th>p50</th><th>p90</th><th>p95</th>\
         <th>p99</th><th>p99.9</th><th>max</th><th class=\"apart\">said p50</th><th>said p99</th></tr></thead><tbody>{rows}\
         </tbody></table></div></section>\n"
    )
}

fn cell(ms: f64) -> String {
    format!("<td>{}</td>", number(ms))
}

fn nodes(record: &Record) -> String {
    if record.nodes.is_empty() {
        return String::new();
    }
    let mut rows = String::new();
    for node in &record.nodes {
        let restarts = match node.n_restarts {
            0 => String::new(),
            n => format!(" · began anew {n}×"),
        };
        let busy =
            if node.busy > 0 { format!(" · {} times too busy", node.busy) } else { String::new() };
        let _ = write!(
            rows,
            "<tr class=\"group\"><th scope=\"rowgroup\" colspan=\"7\">{} <small>{}{restarts}{busy}</small></th></tr>",
            escape(&node.name),
            escape(&node.version)
        );
        for (what, it) in &node.inside {
            let mut cells = [it.mean, it.p50, it.p95, it.p99].map(cell).concat();
            cells.push_str(&it.max.map_or_else(|| "<td>more</td>".to_owned(), cell));
            let _ = write!(
                rows,
                "<tr><th scope=\"row\">{}</th><td>{}</td>{cells}</tr>",
                escape(what),
                number(it.n as f64)
            );
        }
    }
    format!(
        "<section><h2>What nodes measured of themselves, in milliseconds</h2><p class=\"note\">By their own clocks, to the \
         bounds of their buckets, while it counted. What is more above is the network, the queue in front of a socket, and the generator.</p>\
         <div class=\"wide\"><table><thead><tr><th></th><th>n</th><th>mean</th><th>p50 ≤</th><th>p95 ≤</th><th>p99 ≤</th>\
         <th>max ≤</th></tr></thead><tbody>{rows}</tbody></table></div></section>\n"
    )
}

fn outcomes(record: &Record) -> String {
    let mut out = String::from("<section class=\"pair\">");
    if record.sessions.is_none() {
        let kinds = [
            ("rides", record.jobs.rides),
            ("deliveries and baskets", record.jobs.deliveries),
            ("rescues", record.jobs.rescues),
        ];
        let rows = kinds.iter().map(|(name, n)| {
            let cells =
                [n.created, n.assigned, n.completed, n.cancelled, n.no_driver, n.failed, n.open];
            let cells = cells.map(|n| format!("<td>{}</td>", number(n as f64))).concat();
            format!("<tr><th scope=\"row\">{name}</th>{cells}</tr>")
        });
        let rows: String = rows.collect();
        let _ = write!(
            out,
            "<div><h2>What became of jobs</h2><div class=\"wide\"><table><thead><tr><th></th><th>made</th><th>had a driver</th>\
             <th>completed</th><th>cancelled</th><th>no driver</th><th>failed</th><th>open</th></tr></thead><tbody>{rows}\
             </tbody></table></div></div>"
        );
    }
    let commands = &record.commands;
    let count = |says: &str, n: u64| format!("<dt>{says}</dt><dd>{}</dd>", number(n as f64));
    let mut refused = String::new();
    for (code, n) in &commands.refused {
        refused.push_str(&count(&format!("refused: <code>{}</code>", escape(code)), *n));
    }
    let audit = &record.audit;
    let read = match record.sessions {
        Some(_) => "<dt>audit</dt><dd>none in this kind of run</dd>".to_owned(),
        None => [
            count("acknowledged, the whole time", audit.acked),
            count("jobs they made or changed", audit.jobs),
            count("of these read in full afterwards", audit.confirmed),
            count("… by the audit, anew", audit.reread),
            count("acknowledged and not to be read", audit.missing),
            count("not read in time", audit.unread),
        ]
        .concat(),
    };
    let _ = write!(
        out,
        "<div><h2>Answers and audit</h2><dl>{}</dl>",
        [
            count("due while it counted", commands.wanted),
            count("done", commands.done),
            refused,
            count("never answered", commands.unanswered()),
            match commands.under_way {
                0 => String::new(),
                n => count("under way when it was interrupted", n),
            },
            match commands.withdrawn {
                0 => String::new(),
                n => count("withdrawn: no network in the end", n),
            },
            count("put off, and asked again", commands.put_off),
            count("said again for want of an answer", commands.resent),
            read,
            count("promises broken", record.violations),
        ]
        .concat()
    );
    if !record.violation_details.is_empty() {
        let details = record
            .violation_details
            .iter()
            .take(20)
            .map(|it| format!("<li><b>{}</b> {}</li>", it.broken, escape(&it.detail)));
        let _ = write!(out, "<ul class=\"warning\">{}</ul>", details.collect::<String>());
    }
    out.push_str("</div></section>\n");
    out
}

fn foot(record: &Record) -> String {
    let generator = &record.generator;
    let schedule = record.schedule;
    let watched = record.watched.map_or_else(String::new, |it| format!("<p>{it}</p>"));
    let again = format!(
        "<p>loadtest {}, record format {}. The same again: <code>loadtest run --scenario {}{}</code></p>",
        escape(&record.version),
        record.format,
        escape(&record.scenario),
        escape(&again(record))
    );
    if record.sessions.is_some() {
        let percent = generator.machine_share * 100.0;
        return format!(
            "<footer><p>The machine, generators and all, was {percent:.0} % busy.</p>{again}</footer>\n"
        );
    }
    format!(
        "<footer>{watched}<p>{} of {} who were due started, {:.1} ms late at most times (p99); the generator's tasks ran {:.1} ms late \
         (p99) and took {:.0} % of its processors, the machine was {:.0} % busy. {} positions, {} frames, {} connections lost \
         ({} of them by us), {} went on where they were.</p>{again}</footer>\n",
        number(schedule.started as f64),
        number(schedule.planned as f64),
        generator.schedule_lag.spread().p99,
        generator.lag.spread().p99,
        generator.cpu_share * 100.0,
        generator.machine_share * 100.0,
        number(record.traffic.positions as f64),
        number(record.traffic.frames as f64),
        number(record.traffic.lost as f64),
        number(record.traffic.cut as f64),
        number(record.traffic.resumed as f64)
    )
}

/// What is to be set to play the same again.
fn again(record: &Record) -> String {
    let seed = format!("seed={}", record.seed);
    let is_said = record.set.iter().any(|it| it.starts_with("seed="));
    let set = record.set.iter().chain((!is_said).then_some(&seed));
    set.map(|it| format!(" --set '{it}'")).collect()
}

/// Minutes and seconds of a run; hours, if it is long.
fn clock(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    match s / 3_600 {
        0 => format!("{}:{:02}", s / 60, s % 60),
        hours => format!("{hours}:{:02}:{:02}", s / 60 % 60, s % 60),
    }
}

/// How long something lasted, as people say it.
fn span(seconds: f64) -> String {
    humantime::format_duration(std::time::Duration::from_secs(seconds.max(0.0).round() as u64))
        .to_string()
}

/// A moment of the calendar, in UTC, to the minute.
fn moment(unix_ms: u64) -> String {
    let moment = std::time::UNIX_EPOCH + std::time::Duration::from_millis(unix_ms);
    let text = humantime::format_rfc3339_seconds(moment).to_string();
    format!("{} {} UTC", &text[..10], &text[11..16])
}

#[cfg(test)]
mod tests;
