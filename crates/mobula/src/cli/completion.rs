//! `mobula completion`: a script for a shell. Commands and flags are in the script; names of
//! volumes, snapshots, services and drivers are asked for when they are needed.

use super::command;
use crate::cli::failure::Outcome;
use crate::cli::terminal::emit;
use clap::{Args, ValueEnum};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  source <(mobula completion bash)
  mobula completion zsh > ~/.zfunc/_mobula
  mobula completion fish > ~/.config/fish/completions/mobula.fish";

/// Print the completion script of a shell.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Completion {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// A shell that can complete.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Shell {
    /// GNU bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

const BASH: &str = r#"
_mobula_names() {
    local names
    names=$(mobula __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [ -n "$names" ]; then
        mapfile -t COMPREPLY <<<"$names"
    else
        _mobula "$@"
    fi
}
complete -F _mobula_names -o bashdefault -o default mobula
"#;

const ZSH: &str = r#"
_mobula() {
    local -a names
    names=("${(@f)$(mobula __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    names=("${(@)names:#}")
    if (( ${#names} )); then
        compadd -a names
    else
        _mobula_words "$@"
    fi
}

if [ "$funcstack[1]" = "_mobula" ]; then
    _mobula "$@"
else
    compdef _mobula mobula
fi
"#;

const FISH: &str = r#"
function __mobula_names
    mobula __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null
end
complete -c mobula -f -a '(__mobula_names)'
complete -c mobula -s c -l config -r -F
complete -c mobula -s s -l service -x -a '(__mobula_names)'
complete -c mobula -l snapshot -l snapshotID -x -a '(__mobula_names)'
"#;

impl Completion {
    /// Prints it.
    pub(crate) fn run(&self) -> Outcome {
        emit(&script(self.shell))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The completion script of a shell.
#[must_use]
pub fn script(shell: Shell) -> String {
    match shell {
        Shell::Bash => generated(clap_complete::Shell::Bash) + BASH,
        Shell::Zsh => zsh_words() + ZSH,
        Shell::Fish => generated(clap_complete::Shell::Fish) + FISH,
    }
}

fn generated(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "mobula", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The generated function under another name, and without the call at its end: the file is loaded
/// as function `_mobula`, and that has to be ours.
fn zsh_words() -> String {
    let script = generated(clap_complete::Shell::Zsh);
    let end = script.rfind("\nif [ \"$funcstack").unwrap_or(script.len());
    script[..end].replacen("\n_mobula() {", "\n_mobula_words() {", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zsh_finds_our_function_under_the_name_of_the_file() {
        let script = script(Shell::Zsh);
        assert!(script.starts_with("#compdef mobula"));
        assert_eq!(script.matches("\n_mobula() {").count(), 1);
        assert_eq!(script.matches("\n_mobula_words() {").count(), 1);
        assert_eq!(script.matches("funcstack").count(), 1);
    }
}
