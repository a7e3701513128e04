//! Commands without an answer, kept where an app that starts again finds them.

use protocol::{CommandId, work::Wish};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Where commands are kept until they are answered. Called from the client's task, so it should be quick.
pub trait Keep: Send + 'static {
    /// What was kept and not forgotten, in the order in which it was wished.
    fn kept(&mut self) -> io::Result<Vec<(CommandId, Wish)>>;
    /// Keeps one: once this has returned, it is there after a restart.
    fn keep(&mut self, id: CommandId, wish: &Wish) -> io::Result<()>;
    /// Forgets one: it was answered.
    fn forget(&mut self, id: CommandId) -> io::Result<()>;
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Wished { id: CommandId, wish: &'a Wish },
    Answered(CommandId),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Read {
    Wished { id: CommandId, wish: Box<Wish> },
    Answered(CommandId),
}

/// A file of JSON lines: one for each wish, one for each answer. Written anew when it is opened.
#[derive(Debug)]
pub struct JsonLines {
    file: File,
    kept: Vec<(CommandId, Wish)>,
}

impl JsonLines {
    /// Opens the file, or makes it. What another version of the app wrote and this one cannot read is left
    /// out, and so is a last line that was not written to its end.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut kept: Vec<(CommandId, Wish)> = Vec::new();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(Read::Wished { id, wish }) => kept.push((id, *wish)),
                Ok(Read::Answered(answered)) => kept.retain(|(id, _)| *id != answered),
                Err(error) => tracing::warn!(%error, "a kept command cannot be read"),
            }
        }
        // Beside it first: whatever happens meanwhile, one of the two is whole.
        let beside = beside(path);
        let mut file = File::create(&beside)?;
        for (id, wish) in &kept {
            write(&mut file, &Line::Wished { id: *id, wish })?;
        }
        file.sync_data()?;
        fs::rename(&beside, path)?;
        let file = OpenOptions::new().append(true).open(path)?;
        Ok(Self { file, kept })
    }
}

impl Keep for JsonLines {
    fn kept(&mut self) -> io::Result<Vec<(CommandId, Wish)>> {
        Ok(std::mem::take(&mut self.kept))
    }

    fn keep(&mut self, id: CommandId, wish: &Wish) -> io::Result<()> {
        write(&mut self.file, &Line::Wished { id, wish })?;
        self.file.sync_data()
    }

    fn forget(&mut self, id: CommandId) -> io::Result<()> {
        // Not so urgent: what is asked for again is answered again, and happens once.
        write(&mut self.file, &Line::Answered(id))
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn write(file: &mut File, line: &Line<'_>) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line).map_err(io::Error::from)?;
    bytes.push(b'\n');
    file.write_all(&bytes)
}

#[cfg(test)]
mod tests;
