//! What the init systems read: the files of packaging/, with the path of the program in them.

use super::{Init, Part};
use crate::paths::Paths;
use error::{Error, Result};
use std::path::Path;

const AGENT_UNIT: &str = include_str!("../../../../packaging/mobula.service");
const ENGINE_UNIT: &str = include_str!("../../../../packaging/mobula-engine.service");
const OPENRC: &str = include_str!("../../../../packaging/openrc");
const SYSV: &str = include_str!("../../../../packaging/sysv");
/// The program in the units, which are to be of use as they are.
const PROGRAM: &str = "/usr/local/bin/mobula";

/// The file of a part for an init system. A path that would need quoting → `InvalidArgument`.
pub(super) fn render(part: Part, init: Init, program: &Path) -> Result<String> {
    let program = plain(program)?;
    let text = match (init, part) {
        (Init::Systemd, Part::Agent) => return Ok(AGENT_UNIT.replace(PROGRAM, program)),
        (Init::Systemd, Part::Engine) => return Ok(ENGINE_UNIT.replace(PROGRAM, program)),
        (Init::OpenRc, _) => OPENRC,
        (Init::SysV, _) => SYSV,
    };
    let socket = part.socket(&Paths::at("/"));
    Ok(text
        .replace("@NAME@", part.name())
        .replace("@VERB@", part.verb())
        .replace("@ABOUT@", part.about())
        .replace("@SOCKET@", &socket.to_string_lossy())
        .replace("@PROGRAM@", program))
}

/// A path that means the same in a unit and in a shell script.
fn plain(program: &Path) -> Result<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._+-".contains(&byte);
    let text = program.to_str().filter(|text| text.starts_with('/') && text.bytes().all(is_plain));
    text.ok_or_else(|| {
        Error::invalid_argument(format!(
            "a service cannot run {}: only letters, digits and /._+- may be in its path; \
             install the program elsewhere",
            program.display()
        ))
    })
}
