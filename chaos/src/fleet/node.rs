//! One node: the real binary, its log, and what can be done to its process.

use crate::Outcome;
use serde_json::Value;
use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// A node of the fleet, which runs or does not.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    /// Where its gateway listens; the same after each start.
    pub(crate) address: SocketAddr,
    pub(super) binary: PathBuf,
    pub(super) environment: Vec<(String, String)>,
    /// By how much less it is worth to the scheduler than others.
    pub(super) nice: u8,
    /// The network namespace it lives in.
    pub(super) namespace: Option<String>,
    pub(super) log: PathBuf,
    pub(super) child: Option<Child>,
}

impl Node {
    /// Starts it; it may take a while until it answers.
    pub(crate) fn start(&mut self) -> Outcome {
        self.start_with(&[])
    }

    /// The same, with more of an environment.
    pub(crate) fn start_with(&mut self, more: &[(&str, String)]) -> Outcome {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = match &self.namespace {
            Some(namespace) => {
                let mut command = super::mortal(Path::new("ip"));
                command.args(["netns", "exec", namespace]).arg(&self.binary);
                command
            }
            None => {
                let mut command = super::mortal(Path::new("nice"));
                command.args(["-n", &self.nice.to_string()]).arg(&self.binary);
                command
            }
        };
        command.arg("serve").env_clear();
        command.envs(std::env::vars().filter(|(key, _)| !key.starts_with("OUTRIDER_")));
        command.envs(self.environment.iter().cloned());
        command.envs(more.iter().map(|(key, value)| (*key, value.as_str())));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    /// Has it been started, and not ended yet?
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Which process it is.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Ends it as a power cut would.
    pub(crate) async fn kill(&mut self) -> Outcome {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Sends it a signal by name (`STOP`).
    pub(crate) async fn signal(&self, signal: &str) -> Outcome {
        let pid = self.pid().ok_or_else(|| format!("{} does not run", self.name))?;
        let status = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
        match status.await?.success() {
            true => Ok(()),
            false => Err(format!("{} does not take SIG{signal}", self.name).into()),
        }
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self, within: Duration) -> Outcome<ExitStatus> {
        let child = self.child.as_mut().ok_or_else(|| format!("{} does not run", self.name))?;
        let Ok(status) = timeout(within, child.wait()).await else {
            return Err(format!("{} still runs after {within:?}", self.name).into());
        };
        self.child = None;
        Ok(status?)
    }

    /// What it has said so far, line by line, as far as it is JSON.
    pub(crate) fn said(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// How many of its lines say `message`.
    pub(crate) fn n_said(&self, message: &str) -> usize {
        let is_it = |line: &&Value| line["message"].as_str().is_some_and(|it| it.contains(message));
        self.said().iter().filter(is_it).count()
    }

    /// Everything it wrote, for whoever looks for a panic.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}
