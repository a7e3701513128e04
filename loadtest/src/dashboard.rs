//! What a run is like while it is on, on a terminal: a thread that draws, and hears keys.

use loadtest::{
    CancellationToken, Glance,
    measure::{CPU_SHARE_MAX, LAG_P99_MAX, Op, Slot},
    report::Phase,
    scenario::{Play, Scenario},
};
use ratatui::{
    DefaultTerminal, Frame,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout, Rect},
    style::{Color, Style, Stylize},
    text::{Line, Span},
    widgets::{Block, Gauge, Paragraph, Row, Sparkline, Table},
};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    thread::JoinHandle,
    time::Duration,
};

/// How often it looks for keys.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Seconds of history.
const HISTORY: usize = 240;
/// Seconds that the table of waits is about.
const RECENT: usize = 10;
/// Glances that wait to be drawn; one that finds no room is superseded by the next.
const WAITING_MAX: usize = 4;

/// A dashboard, until it is closed.
#[derive(Debug)]
pub(crate) struct Dashboard {
    glances: Option<SyncSender<Glance>>,
    drawing: Option<JoinHandle<()>>,
}

impl Dashboard {
    /// Takes the terminal. Whoever presses `q` or Ctrl-C wants no more of it: `stop` is cancelled.
    pub(crate) fn open(scenario: &Scenario, stop: CancellationToken) -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        let (glances, shown) = mpsc::sync_channel(WAITING_MAX);
        let is_crowd = matches!(scenario.play, Play::Crowd(_));
        let view = View::new(&scenario.name, &scenario.about, is_crowd);
        let drawing = std::thread::spawn(move || draw_all(terminal, &shown, view, &stop));
        Ok(Self { glances: Some(glances), drawing: Some(drawing) })
    }

    /// Draws this, next time.
    pub(crate) fn show(&self, glance: &Glance) {
        if let Some(glances) = &self.glances {
            // Full: somebody has stopped the terminal, and the next one says it all.
            glances.try_send(glance.clone()).ok();
        }
    }
}

impl Drop for Dashboard {
    /// Gives the terminal back, before anything else is printed.
    fn drop(&mut self) {
        self.glances = None;
        if let Some(drawing) = self.drawing.take() {
            drawing.join().ok();
        }
    }
}

fn draw_all(
    mut terminal: DefaultTerminal,
    glances: &Receiver<Glance>,
    mut view: View,
    stop: &CancellationToken,
) {
    loop {
        match glances.recv_timeout(LOOK_EVERY) {
            Ok(glance) => view.saw(glance),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        while event::poll(Duration::ZERO).unwrap_or(false) {
            if event::read().is_ok_and(|event| is_enough(&event)) {
                view.is_leaving = true;
                stop.cancel();
            }
        }
        if terminal.draw(|frame| view.draw(frame)).is_err() {
            break;
        }
    }
    ratatui::restore();
}

fn is_enough(event: &Event) -> bool {
    let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) = event else {
        return false;
    };
    let is_interrupt = *code == KeyCode::Char('c') && modifiers.contains(KeyModifiers::CONTROL);
    is_interrupt || matches!(code, KeyCode::Char('q') | KeyCode::Esc)
}

/// What is drawn.
#[derive(Debug)]
struct View {
    name: String,
    about: String,
    glance: Glance,
    seconds: VecDeque<Slot>,
    /// Or are they sessions that are only there?
    is_crowd: bool,
    is_leaving: bool,
}

impl View {
    fn new(name: &str, about: &str, is_crowd: bool) -> Self {
        Self {
            name: name.to_owned(),
            about: about.to_owned(),
            glance: Glance::default(),
            seconds: VecDeque::new(),
            is_crowd,
            is_leaving: false,
        }
    }

    fn saw(&mut self, glance: Glance) {
        if self.seconds.len() == HISTORY {
            self.seconds.pop_front();
        }
        self.seconds.push_back(glance.slot.clone());
        self.glance = glance;
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let [head, progress, upper, lower, jobs, events, foot] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Length(1),
            Constraint::Min(5),
            Constraint::Min(5),
            Constraint::Length(10),
            Constraint::Length(7),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(self.head(), head);
        self.draw_progress(frame, progress);
        let halves = |area| Layout::horizontal([Constraint::Fill(1); 2]).areas::<2>(area);
        let [answers, waits] = halves(upper);
        let [sessions, trouble] = halves(lower);
        let done = |slot: &Slot| slot.done;
        if self.is_crowd {
            self.draw_line(frame, answers, "commands done a second", Color::Green, done);
            let says = "order placed, p99 in ms, from when it was due";
            let p99 = |slot: &Slot| quantile([slot], Op::Place, 0.99).map_or(0, |ms| ms as u64);
            self.draw_line(frame, waits, says, Color::Blue, p99);
        } else {
            self.draw_line(frame, answers, "heartbeats heard a second", Color::Green, done);
            self.draw_line(frame, waits, "let in a second", Color::Blue, |slot| slot.asked);
        }
        let there = |slot: &Slot| slot.drivers + slot.riders;
        self.draw_line(frame, sessions, "sessions", Color::Magenta, there);
        let troubles =
            |slot: &Slot| slot.failed + slot.put_off + (slot.lost - slot.cut.min(slot.lost));
        self.draw_line(frame, trouble, "failed, put off, lost a second", Color::Red, troubles);
        if self.is_crowd {
            let [table, counts] =
                Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(jobs);
            frame.render_widget(self.waits(), table);
            frame.render_widget(self.counts(), counts);
        } else {
            frame.render_widget(self.nodes(), jobs);
        }
        frame.render_widget(self.events(), events);
        frame.render_widget(self.foot(), foot);
    }

    fn head(&self) -> Paragraph<'_> {
        let progress = &self.glance.progress;
        let phase = if self.is_leaving { "leaving".to_owned() } else { progress.phase.to_string() };
        let title = Line::from(vec![
            Span::from(self.name.as_str()).bold(),
            Span::from("  "),
            Span::from(phase).fg(Color::Cyan),
            Span::from(format!("  {:.0} s", progress.after_s)).dim(),
        ]);
        Paragraph::new(vec![title, Line::from(self.about.as_str()).dim()])
    }

    fn draw_progress(&self, frame: &mut Frame<'_>, area: Rect) {
        let Glance { asking_s, lasting_s, started, planned, .. } = self.glance;
        let share = if lasting_s > 0.0 { (asking_s / lasting_s).clamp(0.0, 1.0) } else { 0.0 };
        let what = if self.is_crowd { "have asked" } else { "sessions are there" };
        let label = format!("{started} of {planned} {what}");
        let gauge =
            Gauge::default().ratio(share).label(label).gauge_style(Style::new().fg(Color::Blue));
        frame.render_widget(gauge, area);
    }

    fn draw_line(
        &self,
        frame: &mut Frame<'_>,
        area: Rect,
        says: &str,
        colour: Color,
        of: impl Fn(&Slot) -> u64,
    ) {
        let room = usize::from(area.width.saturating_sub(2)).max(1);
        let from = self.seconds.len().saturating_sub(room);
        let values: Vec<u64> = self.seconds.iter().skip(from).map(of).collect();
        let last = values.last().copied().unwrap_or(0);
        let block = Block::bordered().title(format!(" {says}: {last} "));
        let line = Sparkline::default().data(values).block(block).style(Style::new().fg(colour));
        frame.render_widget(line, area);
    }

    fn waits(&self) -> Table<'_> {
        const SHOWN: [Op; 7] = [
            Op::Place,
            Op::FirstOffer,
            Op::DriverFound,
            Op::Accept,
            Op::Step,
            Op::Heard,
            Op::Welcome,
        ];
        let from = self.seconds.len().saturating_sub(RECENT);
        let recent: Vec<&Slot> = self.seconds.iter().skip(from).collect();
        let rows = SHOWN.map(|op| {
            let cell = |which| {
                let ms = quantile(recent.iter().copied(), op, which);
                ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.1}"))
            };
            Row::new(vec![op.says().to_owned(), cell(0.5), cell(0.95), cell(0.99)])
        });
        let widths = [
            Constraint::Fill(1),
            Constraint::Length(10),
            Constraint::Length(10),
            Constraint::Length(10),
        ];
        Table::new(rows, widths)
            .header(Row::new(vec!["ms, the last ten seconds", "p50", "p95", "p99"]).dim())
            .block(Block::bordered().title(" waits, from when they were due "))
    }

    fn counts(&self) -> Paragraph<'_> {
        let Glance { progress, turned_away, counted_s, slot, .. } = &self.glance;
        let jobs = progress.jobs;
        let violations = format!("{} promises broken", progress.violations);
        let violations = match progress.violations {
            0 => Line::from(violations).fg(Color::Green),
            _ => Line::from(violations).bold().fg(Color::Red),
        };
        let lines = vec![
            // First, for a small terminal shows no more than the first lines.
            violations,
            Line::from(format!("{} drivers, {} riders", progress.drivers, progress.riders)),
            Line::from(format!("{} jobs, {} had a driver", jobs.created, jobs.assigned)),
            Line::from(format!(
                "{} completed, {} cancelled, {} open",
                jobs.completed, jobs.cancelled, jobs.open
            )),
            Line::from(format!("{} commands acknowledged", progress.commands_acked)),
            Line::from(format!("{} positions a second", slot.positions)),
            Line::from(format!("{counted_s:.0} s counted, {turned_away} turned away")).dim(),
        ];
        Paragraph::new(lines).block(Block::bordered().title(" so far "))
    }

    /// What nodes say of themselves.
    fn nodes(&self) -> Table<'_> {
        let rows = self.glance.slot.nodes.iter().map(|(name, node)| {
            let state = match (node.is_up, node.is_ready) {
                (true, true) => Span::from("wants work").fg(Color::Green),
                (true, false) => Span::from("wants no more work").fg(Color::Yellow),
                (false, _) => Span::from("does not answer").fg(Color::Red),
            };
            let count = |n: u64| Span::from(n.to_string());
            Row::new(vec![
                Span::from(name.as_str()),
                state,
                count(node.sessions),
                count(node.awake),
                count(node.shards),
            ])
        });
        let [name, state] = [Constraint::Fill(1), Constraint::Length(20)];
        let number = Constraint::Length(10);
        Table::new(rows, [name, state, number, number, number])
            .header(Row::new(vec!["", "", "sessions", "awake", "shards"]).dim())
            .block(Block::bordered().title(" nodes, by their own count "))
    }

    fn events(&self) -> Paragraph<'_> {
        let slot = &self.glance.slot;
        let mut lines = Vec::new();
        let lag_ms = slot.lag_us as f64 / 1e3;
        if lag_ms > LAG_P99_MAX.as_secs_f64() * 1e3 || slot.cpu_share > CPU_SHARE_MAX {
            let says = format!(
                "the generator is short of processor: {lag_ms:.0} ms late, {:.0} % busy",
                slot.cpu_share * 100.0
            );
            lines.push(Line::from(says).fg(Color::Yellow));
        }
        let silent = slot.nodes.iter().filter(|(_, node)| !node.is_up);
        lines.extend(
            silent.map(|(name, _)| Line::from(format!("{name} does not answer")).fg(Color::Red)),
        );
        let events = self.glance.events.iter().rev();
        lines.extend(
            events.map(|it| Line::from(format!("{:>5.0} s  {} {}", it.after_s, it.who, it.what))),
        );
        Paragraph::new(lines).block(Block::bordered().title(" what happened "))
    }

    fn foot(&self) -> Line<'_> {
        let says = match (self.is_leaving, self.glance.progress.phase) {
            (true, _) => "leaving; what was measured so far is reported",
            (false, Phase::Auditing) => "what was acknowledged is read anew",
            (false, Phase::Draining) => "nobody asks any more; what runs may end",
            (false, Phase::Gathering | Phase::Out) => {
                "q ends it early; what was measured so far is reported"
            }
        };
        Line::from(says).dim()
    }
}

/// The quantile of what some seconds counted of one thing, in milliseconds.
fn quantile<'a>(seconds: impl IntoIterator<Item = &'a Slot>, op: Op, quantile: f64) -> Option<f64> {
    let mut all = BTreeMap::<u64, u64>::new();
    for (us, n) in seconds.into_iter().filter_map(|slot| slot.took.get(&op)).flatten() {
        *all.entry(*us).or_default() += n;
    }
    let wanted = ((all.values().sum::<u64>() as f64 * quantile).ceil() as u64).max(1);
    let mut below = 0;
    let found = all.iter().find(|(_, n)| {
        below += **n;
        below >= wanted
    });
    found.map(|(us, _)| *us as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadtest::{Progress, measure::NodeSlot, record::Seen};
    use ratatui::{Terminal, backend::TestBackend};

    fn drawn(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    fn view() -> View {
        let mut view = View::new("smoke", "a minute of everything", true);
        let slot = Slot {
            done: 41,
            drivers: 30,
            riders: 5,
            lag_us: 25_000,
            took: [(Op::Place, vec![(4_000, 9), (12_500, 1)])].into(),
            ..Slot::default()
        };
        let progress =
            Progress { phase: Phase::Out, drivers: 30, violations: 2, ..Progress::default() };
        let event = Seen { after_s: 7.0, who: "node-1".to_owned(), what: "gone".to_owned() };
        for _ in 0..HISTORY + 5 {
            view.saw(Glance {
                progress: progress.clone(),
                planned: 100,
                started: 25,
                lasting_s: 60.0,
                asking_s: 15.0,
                slot: slot.clone(),
                events: vec![event.clone()],
                ..Glance::default()
            });
        }
        view
    }

    #[test]
    fn it_shows_what_matters() {
        let text = drawn(&view(), 120, 42);
        for shown in [
            "smoke",
            "25 of 100 have asked",
            "commands done a second: 41",
            "12.5",
            "2 promises broken",
            "node-1 gone",
            "short of processor: 25 ms late",
            "q ends it early",
        ] {
            assert!(text.contains(shown), "{shown}\n{text}");
        }
    }

    #[test]
    fn it_can_be_drawn_on_any_terminal() {
        for (width, height) in [(1, 1), (20, 5), (80, 24), (300, 100)] {
            drawn(&view(), width, height);
            for is_crowd in [true, false] {
                drawn(&View::new("", "", is_crowd), width, height);
            }
        }
    }

    #[test]
    fn sessions_that_are_only_there_are_shown_with_their_nodes() {
        let mut view = View { is_crowd: false, ..view() };
        let node = NodeSlot { is_up: true, sessions: 8_123, ..NodeSlot::default() };
        view.glance.slot.nodes = [("127.0.0.1:7070".to_owned(), node)].into();
        let text = drawn(&view, 120, 42);
        for shown in [
            "25 of 100 sessions are there",
            "heartbeats heard a second: 41",
            "8123",
            "wants no more work",
        ] {
            assert!(text.contains(shown), "{shown}\n{text}");
        }
    }
}
