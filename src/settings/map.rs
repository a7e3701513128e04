//! What lies beneath the marks on dispatchers' maps, if it is to be real streets.

use super::SettingsError;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where real streets come from: one of the two, or neither.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MapSettings {
    /// A file of tiles, which the node serves; none if empty.
    pub(crate) archive: PathBuf,
    /// A style that browsers fetch from whoever keeps it; none if empty.
    pub(crate) style_url: String,
    /// Who else is asked for what the style names.
    pub(crate) style_origins: Vec<String>,
}

impl MapSettings {
    /// Whom a browser may ask beside the node itself: nobody, without a style.
    pub(crate) fn origins(&self) -> Vec<String> {
        let style = origin_of(&self.style_url);
        let others = if style.is_some() { self.style_origins.as_slice() } else { &[] };
        style.into_iter().chain(others.iter().cloned()).collect()
    }

    /// Do they make sense?
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let senseless =
            |key, problem: &str| Err(SettingsError::Senseless { key, problem: problem.to_owned() });
        if !self.style_url.is_empty() {
            if !self.archive.as_os_str().is_empty() {
                let problem = "an archive or a style (also by MAP_STYLE_URL), and not both";
                return senseless("map", problem);
            }
            if origin_of(&self.style_url).is_none() {
                let problem = "such as https://maps.example.org/style.json (also by MAP_STYLE_URL)";
                return senseless("map.style_url", problem);
            }
        }
        if self.style_origins.iter().any(|it| origin_of(it).as_ref() != Some(it)) {
            return senseless("map.style_origins", "such as https://tiles.example.org, no path");
        }
        Ok(())
    }
}

/// Scheme, host and port of an address; none of one that a browser's policy could not name.
fn origin_of(address: &str) -> Option<String> {
    let (scheme, rest) = address.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_web = matches!(scheme, "http" | "https");
    // Anything else could end the list it is put in, and begin another.
    let is_plain = |it: u8| it.is_ascii_alphanumeric() || b".-:[]".contains(&it);
    let is_host = !host.is_empty() && host.bytes().all(is_plain);
    (is_web && is_host).then(|| format!("{scheme}://{host}"))
}
