//! `mobula plugin configure`: what the operator chooses for a plugin; kept over upgrades.

use crate::cli::terminal::emit;
use crate::engine_client::{EngineClient, Request, named};
use clap::{Args, ValueEnum};
use error::{Error, Result};
use plugin::engine::{Choices, Description};
use volume::Size;

/// Show or change how far a plugin is confined and how long it may take; from its next start on.
#[derive(Debug, Args)]
pub(super) struct Configure {
    /// Name or ID.
    #[arg(value_name = "PLUGIN")]
    plugin: String,

    /// Memory of all its processes, such as 256MiB, or none.
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    memory: Option<Limit<u64>>,

    /// Processes and threads that it may have, or none.
    #[arg(long, value_name = "COUNT", value_parser = pids)]
    pids: Option<Limit<u32>>,

    /// Whether system calls are filtered.
    #[arg(long, value_name = "SWITCH")]
    seccomp: Option<Switch>,

    /// Whether set-user-ID programs gain nothing.
    #[arg(long, value_name = "SWITCH")]
    no_new_privileges: Option<Switch>,

    /// Whether it runs as the user of its configuration.
    #[arg(long, value_name = "SWITCH")]
    user: Option<Switch>,

    /// Seconds to accept connections; 0: as the engine is configured.
    #[arg(long, value_name = "SECONDS")]
    start_timeout: Option<u64>,

    /// Seconds to end after SIGTERM; 0: as the engine is configured.
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<u64>,

    /// Seconds that creating or mounting a volume may take.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    call_timeout: Option<u64>,

    /// Whether other engines find it in /run/docker/plugins.
    #[arg(long, value_name = "WHETHER")]
    publish: Option<Publish>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    /// It does.
    On,
    /// It does not.
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Publish {
    /// They do.
    On,
    /// They do not.
    Off,
    /// As the engine is configured.
    Default,
}

/// A limit; `None`: there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit<T>(Option<T>);

fn memory(text: &str) -> std::result::Result<Limit<u64>, String> {
    if text == "none" {
        return Ok(Limit(None));
    }
    match Size::parse(text) {
        Ok(Size(bytes)) if bytes > 0 => Ok(Limit(Some(bytes))),
        Ok(_) => Err("give more than 0, or none".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn pids(text: &str) -> std::result::Result<Limit<u32>, String> {
    match text.parse() {
        _ if text == "none" => Ok(Limit(None)),
        Ok(count) if count > 0 => Ok(Limit(Some(count))),
        _ => Err("give a number above 0, or none".to_owned()),
    }
}

impl Configure {
    /// Changes what its flags say, and shows what holds then.
    pub(super) async fn run(&self, engine: &EngineClient) -> Result<()> {
        let path = named("/mobula/plugins", &self.plugin, "")?;
        let description: Description = engine.get(path).await?;
        let Some(old) = description.choices else {
            return Err(Error::failed_precondition(format!(
                "plugin {} is a legacy plugin, which the engine does not run; there is nothing to \
                 configure",
                self.plugin
            )));
        };
        let new = self.applied(old.clone());
        if new != old {
            let path = named("/mobula/plugins", &self.plugin, "/choices")?;
            engine.send(Request::put(path).json(&new)?).await?;
        }
        emit(&shown(&new))
    }

    fn applied(&self, mut choices: Choices) -> Choices {
        let confinement = &mut choices.confinement;
        let switch = |switch: Option<Switch>, at: &mut bool| {
            *at = switch.map_or(*at, |switch| switch == Switch::On);
        };
        switch(self.seccomp, &mut confinement.seccomp);
        switch(self.no_new_privileges, &mut confinement.no_new_privileges);
        switch(self.user, &mut confinement.user);
        confinement.memory = self.memory.map_or(confinement.memory, |limit| limit.0);
        confinement.pids = self.pids.map_or(confinement.pids, |limit| limit.0);
        let seconds =
            |wish: Option<u64>, old| wish.map_or(old, |wish| Some(wish).filter(|s| *s > 0));
        choices.start_timeout = seconds(self.start_timeout, choices.start_timeout);
        choices.stop_timeout = seconds(self.stop_timeout, choices.stop_timeout);
        choices.call_timeout = self.call_timeout.unwrap_or(choices.call_timeout);
        choices.publish = match self.publish {
            Some(Publish::On) => Some(true),
            Some(Publish::Off) => Some(false),
            Some(Publish::Default) => None,
            None => choices.publish,
        };
        choices
    }
}

/// A line each, in the words of the flags.
fn shown(choices: &Choices) -> String {
    let switch = |on: bool| if on { "on" } else { "off" }.to_owned();
    let limit = |limit: Option<String>| limit.unwrap_or_else(|| "none".to_owned());
    let seconds = |seconds: Option<u64>| seconds.map_or("default".to_owned(), |s| format!("{s}s"));
    let confinement = &choices.confinement;
    let lines = [
        ("memory", limit(confinement.memory.map(|bytes| Size(bytes).to_string()))),
        ("pids", limit(confinement.pids.map(|count| count.to_string()))),
        ("seccomp", switch(confinement.seccomp)),
        ("no-new-privileges", switch(confinement.no_new_privileges)),
        ("user", switch(confinement.user)),
        ("start-timeout", seconds(choices.start_timeout)),
        ("stop-timeout", seconds(choices.stop_timeout)),
        ("call-timeout", format!("{}s", choices.call_timeout)),
        ("publish", choices.publish.map_or("default".to_owned(), switch)),
    ];
    lines.iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        configure: Configure,
    }

    fn applied(line: &str) -> Choices {
        let line = Line::try_parse_from(line.split(' ')).unwrap();
        line.configure.applied(Choices::default())
    }

    #[test]
    fn only_what_is_said_changes() {
        assert_eq!(applied("x p"), Choices::default());
        let choices = applied("x p --memory 1MiB --pids none --seccomp off --publish on");
        assert_eq!(choices.confinement.memory, Some(1 << 20));
        assert_eq!(choices.confinement.pids, None);
        assert!(!choices.confinement.seccomp && choices.confinement.no_new_privileges);
        assert_eq!(choices.publish, Some(true));
        let choices = applied("x p --start-timeout 30 --stop-timeout 0 --call-timeout 5");
        assert_eq!((choices.start_timeout, choices.stop_timeout), (Some(30), None));
        assert_eq!(choices.call_timeout, 5);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in ["x p --memory 0", "x p --memory much", "x p --pids 0", "x p --seccomp maybe"] {
            assert!(Line::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
        assert!(Line::try_parse_from(["x", "p", "--call-timeout", "0"]).is_err());
    }

    #[test]
    fn choices_are_shown_in_the_words_of_the_flags() {
        let text = shown(&applied("x p --memory 1GiB"));
        assert!(text.starts_with("memory: 1GiB\npids: 4096\nseccomp: on\n"), "{text}");
        assert!(text.ends_with("call-timeout: 120s\npublish: default\n"), "{text}");
    }
}
