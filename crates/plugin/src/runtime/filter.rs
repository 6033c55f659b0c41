//! System call filters as the kernel takes them (seccomp(2)). To make one takes libseccomp longer
//! than all the rest of a start, and plugins have few different ones: so the engine makes each once,
//! and libcontainer, which would make it anew in every container, is not told of it.

use error::{Error, IoContext, Result};
use libseccomp::error::SeccompError;
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

/// How many are remembered: one for each set of capabilities.
const REMEMBERED: usize = 16;
/// EPERM, what is refused without another number.
const REFUSED: u32 = 1;

static MADE: Mutex<Vec<(LinuxSeccomp, Arc<[u8]>)>> = Mutex::new(Vec::new());

/// The program (an array of `struct sock_filter`) for `profile`, whose masks are as libcontainer
/// reads them. What our own profiles don't use → `Unimplemented`.
pub(super) fn program(profile: &LinuxSeccomp) -> Result<Arc<[u8]>> {
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, program)) = made.iter().find(|(known, _)| known == profile) {
        return Ok(program.clone());
    }
    let program: Arc<[u8]> = compile(profile)?.into();
    if made.len() == REMEMBERED {
        made.remove(0);
    }
    made.push((profile.clone(), program.clone()));
    Ok(program)
}

fn compile(profile: &LinuxSeccomp) -> Result<Vec<u8>> {
    if profile.flags().as_ref().is_some_and(|flags| !flags.is_empty()) {
        return Err(unknown("flag", &profile.flags()));
    }
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let mut context = ScmpFilterContext::new(default).map_err(failed)?;
    for arch in profile.architectures().iter().flatten() {
        context.add_arch(architecture(*arch)?).map_err(failed)?;
    }
    for call in profile.syscalls().iter().flatten() {
        add(&mut context, call, default)?;
    }
    export(&context)
}

/// libseccomp writes to descriptors only; its version 2.6 is not everywhere yet.
fn export(context: &ScmpFilterContext) -> Result<Vec<u8>> {
    let doing = || "export the system call filter";
    let (mut read, write) = std::io::pipe().doing(doing)?;
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut program = Vec::new();
            read.read_to_end(&mut program).map(|_| program)
        });
        let exported = context.export_bpf(&write);
        drop(write);
        exported.map_err(failed)?;
        let read = reader.join().map_err(|_| Error::internal("the filter's reader panicked"))?;
        read.doing(doing)
    })
}

fn add(context: &mut ScmpFilterContext, call: &LinuxSyscall, default: ScmpAction) -> Result<()> {
    let action = action(call.action(), call.errno_ret())?;
    if action == default {
        return Ok(());
    }
    let conditions = call.args().iter().flatten().map(condition).collect::<Result<Vec<_>>>()?;
    for name in call.names() {
        // This kernel's libraries don't know it, so nothing calls it here.
        let Ok(number) = ScmpSyscall::from_name(name) else { continue };
        context.add_rule_conditional(action, number, &conditions).map_err(failed)?;
    }
    Ok(())
}

fn condition(arg: &LinuxSeccompArg) -> Result<ScmpArgCompare> {
    let index = u32::try_from(arg.index()).map_err(|_| unknown("argument", &arg.index()))?;
    let operator = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => ScmpCompareOp::NotEqual,
        LinuxSeccompOperator::ScmpCmpLt => ScmpCompareOp::Less,
        LinuxSeccompOperator::ScmpCmpLe => ScmpCompareOp::LessOrEqual,
        LinuxSeccompOperator::ScmpCmpEq => ScmpCompareOp::Equal,
        LinuxSeccompOperator::ScmpCmpGe => ScmpCompareOp::GreaterEqual,
        LinuxSeccompOperator::ScmpCmpGt => ScmpCompareOp::Greater,
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            ScmpCompareOp::MaskedEqual(arg.value_two().unwrap_or(0))
        }
    };
    Ok(ScmpArgCompare::new(index, operator, arg.value()))
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<ScmpAction> {
    match action {
        LinuxSeccompAction::ScmpActAllow => Ok(ScmpAction::Allow),
        LinuxSeccompAction::ScmpActErrno => {
            Ok(ScmpAction::Errno(errno.unwrap_or(REFUSED).cast_signed()))
        }
        LinuxSeccompAction::ScmpActKillProcess => Ok(ScmpAction::KillProcess),
        other => Err(unknown("action", &other)),
    }
}

fn architecture(arch: Arch) -> Result<ScmpArch> {
    match arch {
        Arch::ScmpArchX86_64 => Ok(ScmpArch::X8664),
        Arch::ScmpArchX86 => Ok(ScmpArch::X86),
        Arch::ScmpArchX32 => Ok(ScmpArch::X32),
        Arch::ScmpArchAarch64 => Ok(ScmpArch::Aarch64),
        Arch::ScmpArchArm => Ok(ScmpArch::Arm),
        other => Err(unknown("architecture", &other)),
    }
}

fn unknown(what: &str, which: &dyn std::fmt::Debug) -> Error {
    Error::unimplemented(format!("the system call filter has the {what} {which:?}"))
}

fn failed(source: SeccompError) -> Error {
    Error::internal("make the system call filter").because(source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use error::Kind;

    fn profile(names: &[&str]) -> LinuxSeccomp {
        let mut call = LinuxSyscall::default();
        call.set_names(names.iter().map(|name| (*name).to_owned()).collect())
            .set_action(LinuxSeccompAction::ScmpActAllow);
        let mut profile = LinuxSeccomp::default();
        profile.set_default_action(LinuxSeccompAction::ScmpActErrno).set_syscalls(Some(vec![call]));
        profile
    }

    #[test]
    fn the_same_profile_is_made_once_and_another_is_another() {
        let one = program(&profile(&["read", "no_such_call"])).unwrap();
        assert!(Arc::ptr_eq(&one, &program(&profile(&["read", "no_such_call"])).unwrap()));
        assert_ne!(one, program(&profile(&["read", "write"])).unwrap());
        // struct sock_filter has 8 bytes.
        assert!(!one.is_empty() && one.len().is_multiple_of(8));
    }

    #[test]
    fn what_is_not_known_is_told_and_not_left_out() {
        let mut strange = profile(&["read"]);
        strange.set_default_action(LinuxSeccompAction::ScmpActTrap);
        assert_eq!(program(&strange).unwrap_err().kind(), Kind::Unimplemented);
        let mut strange = profile(&["read"]);
        strange.set_architectures(Some(vec![Arch::ScmpArchMips]));
        assert_eq!(program(&strange).unwrap_err().kind(), Kind::Unimplemented);
    }
}
