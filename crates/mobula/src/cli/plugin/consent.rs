//! Asking whether a plugin gets what it asks for, in docker's words.

use crate::cli::confirm::confirm;
use crate::cli::terminal::emit;
use clap::Args;
use error::{Error, Result};
use plugin::privileges::Privilege;
use std::io::IsTerminal;

/// The flag of every command that installs something.
#[derive(Debug, Args)]
pub(super) struct Consent {
    /// Grant everything that the plugin asks for, without a question.
    #[arg(long)]
    grant_all_permissions: bool,
}

impl Consent {
    /// Asks for `privileges` of `plugin`, unless there are none or all are granted beforehand.
    pub(super) async fn ask(&self, plugin: &str, privileges: &[Privilege]) -> Result<()> {
        if self.grant_all_permissions || privileges.is_empty() {
            return Ok(());
        }
        let wishes = wishes(plugin, privileges);
        if !std::io::stdin().is_terminal() {
            return Err(Error::failed_precondition(format!(
                "{wishes}standard input is no terminal, so nobody can be asked; pass \
                 --grant-all-permissions to grant them"
            )));
        }
        emit(&wishes)?;
        if confirm("Do you grant the above permissions?").await? {
            return Ok(());
        }
        Err(Error::permission_denied(format!(
            "the permissions of plugin {plugin} were not granted; nothing was changed"
        )))
    }
}

/// What `plugin` asks for, a line each.
fn wishes(plugin: &str, privileges: &[Privilege]) -> String {
    let mut text = format!("Plugin {plugin:?} is requesting the following privileges:\n");
    for privilege in privileges {
        let values = privilege.value.as_deref().unwrap_or_default().join(" ");
        text.push_str(&plain(&format!(" - {}: [{values}]", privilege.name)));
        text.push('\n');
    }
    text
}

/// Without what could steer the terminal: the text is the plugin author's.
fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use error::Kind;

    fn privileges() -> Vec<Privilege> {
        let privilege = |name: &str, value: &[&str]| Privilege {
            name: name.into(),
            description: String::new(),
            value: Some(value.iter().map(|value| (*value).to_owned()).collect()),
        };
        vec![
            privilege("network", &["host"]),
            privilege("capabilities", &["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]),
        ]
    }

    #[test]
    fn the_question_has_dockers_words() {
        let expected = "\
Plugin \"vieux/sshfs\" is requesting the following privileges:
 - network: [host]
 - capabilities: [CAP_SYS_ADMIN CAP_NET_ADMIN]
";
        assert_eq!(wishes("vieux/sshfs", &privileges()), expected);
    }

    #[test]
    fn a_plugin_cannot_hide_what_it_asks_for() {
        let mut privileges = privileges();
        privileges[0].value = Some(vec!["host]\x1b[2K\r".into()]);
        assert!(!wishes("x", &privileges).contains('\x1b'));
    }

    #[tokio::test]
    async fn without_a_terminal_the_way_out_is_told() {
        if std::io::stdin().is_terminal() {
            return;
        }
        let consent = Consent { grant_all_permissions: false };
        let error = consent.ask("x", &privileges()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert!(error.message().contains("--grant-all-permissions"), "{error}");
        assert!(error.message().contains(" - network: [host]"), "{error}");
        consent.ask("x", &[]).await.unwrap();
        Consent { grant_all_permissions: true }.ask("x", &privileges()).await.unwrap();
    }
}
