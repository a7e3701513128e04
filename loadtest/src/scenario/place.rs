//! Where in a scenario a mistake is: file and line, or what was set for one run.

use super::NoScenario;
use toml_edit::{ImDocument, Item};

/// A scenario as it was given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// Its file, or the name of one that is ready.
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    /// What was set: `fleet.drivers=500`.
    pub(super) set: &'a [String],
}

impl Place<'_> {
    /// Where this key has its value from: what was set last, a line of the file, or the file where it says nothing of it.
    pub(super) fn of(&self, key: &str) -> String {
        let is_set = |set: &&String| {
            let path = set.split('=').next().unwrap_or_default().trim();
            is_below(key, path) || is_below(path, key)
        };
        match (self.set.iter().rev().find(is_set), line_of(self.text, key)) {
            (Some(set), _) => format!("--set {set}"),
            (None, Some(line)) => format!("{}:{line}", self.name),
            (None, None) => self.name.to_owned(),
        }
    }

    /// Text that is no TOML, or has keys or kinds of values that nobody knows: the line, and what it says.
    pub(super) fn shape(&self, error: &toml::de::Error) -> NoScenario {
        let line = error.span().map(|span| line_at(self.text, span.start));
        let place = match line {
            Some(line) => format!("{}:{line}", self.name),
            None => self.name.to_owned(),
        };
        let says = line.and_then(|line| self.text.lines().nth(line - 1)).map(str::trim);
        let says = says.filter(|it| !it.is_empty());
        let says = says.map_or_else(String::new, |it| format!(" (it says: {it})"));
        NoScenario::Text { place, error: format!("{}{says}", plain(error.message())) }
    }
}

/// A parser's message on one line, in words of whoever writes a scenario.
pub(super) fn plain(message: &str) -> String {
    let kinds = [
        ("expected usize", "expected a whole number from 0 on"),
        ("expected u64", "expected a whole number from 0 on"),
        ("expected u8", "expected a whole number from 0 to 255"),
        ("expected f64", "expected a number"),
    ];
    let message = message.trim_end().replace('\n', ", ");
    kinds.into_iter().fold(message, |message, (theirs, ours)| message.replace(theirs, ours))
}

/// Is a key within a table, an array, or the same?
fn is_below(key: &str, table: &str) -> bool {
    key.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The line (from 1) of a key such as `fleet.shifts[0].share`, or of the innermost of its tables that is there.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let document = ImDocument::parse(text).ok()?;
    let mut at: &Item = document.as_item();
    let mut start = None;
    for part in key.split(['.', '[']).map(|part| part.trim_end_matches(']')) {
        let next = match part.parse::<usize>() {
            Ok(n) => at.get(n),
            Err(_) => at.get(part),
        };
        let Some(next) = next else { break };
        at = next;
        start = at.span().map(|span| span.start).or(start);
    }
    start.map(|start| line_at(text, start))
}

fn line_at(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|it| *it == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "about = \"x\"\n\n[fleet]\ndrivers = 5\nshifts = [\n  { share = 1.0 },\n  { share = 7.0 },\n]\n\n[behaviour.battery]\nlasts = \"1h\"\n\n[[cuts]]\nat = \"1s\"\n[[cuts]]\nat = \"2s\"\n";

    #[test]
    fn a_key_is_found_by_its_line() {
        let lines = [
            ("fleet.drivers", 4),
            ("fleet.shifts[1].share", 7),
            ("fleet.shifts", 5),
            ("behaviour.battery.lasts", 11),
            ("cuts[1].at", 16),
            // What is not said is where it would be.
            ("fleet.per_s", 3),
        ];
        for (key, line) in lines {
            assert_eq!(line_of(TEXT, key), Some(line), "{key}");
        }
        assert_eq!(line_of(TEXT, "mix.shops"), None);
    }

    #[test]
    fn kinds_are_told_in_plain_words() {
        let said = plain("invalid value: integer `-1`, expected usize\n");
        assert_eq!(said, "invalid value: integer `-1`, expected a whole number from 0 on");
    }

    #[test]
    fn what_was_set_is_named_instead() {
        let set = ["fleet={ drivers = 5 }".to_owned(), "cuts=[]".to_owned()];
        let place = Place { name: "mine.toml", text: TEXT, set: &set };
        assert_eq!(place.of("fleet.drivers"), "--set fleet={ drivers = 5 }");
        assert_eq!(place.of("behaviour.battery.lasts"), "mine.toml:11");
        assert_eq!(place.of("network.share"), "mine.toml");
    }
}
