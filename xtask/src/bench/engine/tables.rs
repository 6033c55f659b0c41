//! Large mount tables, and the program itself.

use super::bed::Bed;
use super::life::timed;
use crate::bench::contest::{Contest, Turn, once};
use crate::bench::kernel;
use crate::bench::report::{Report, Row, Target};
use crate::bench::stats::Unit;
use crate::program;
use error::{IoContext, Result};
use std::path::Path;

const MIB: Unit = Unit::Mebibytes;

/// `mobula mounts`, which shows what is mobula's, and with `--all` the whole table.
pub(super) fn mounts(bed: &mut Bed, report: &mut Report) -> Result<()> {
    let (scale, program) = (bed.scale, bed.program.clone());
    // Not below a directory of an engine: those would take it for theirs.
    let dir = Path::new("/run/mounts");
    bed.with(|_, pair| {
        many(dir, scale.mounts)?;
        let home = pair.ours.home();
        for (what, flags) in [("mobula mounts", &[][..]), ("mobula mounts --all", &["--all"][..])] {
            let ours: Turn<'_> = Box::new(|| {
                let mut command = program::command(&program);
                command.env_clear().env("PATH", program::PATH).env("MOBULA_HOME", home);
                command.arg("mounts").args(flags);
                Ok(vec![timed(|| program::run(&mut command, b"").map(drop))?])
            });
            let peer = program::find("findmnt").map(peer);
            let measured = Contest { ours, peer, raw: None }.run_after(0, scale.slow)?;
            let what = format!("{what}, {} mounts", scale.mounts);
            let row = Row::new(what, Unit::Milliseconds, &measured).peer("findmnt -R /");
            report.add(row.target(Target::Below(100.0)));
        }
        kernel::unmount_all(dir)
    })
}

fn peer(findmnt: std::path::PathBuf) -> Turn<'static> {
    Box::new(move || {
        let mut command = program::command(&findmnt);
        command.env_clear().args(["-R", "-o", "SOURCE,TARGET,PROPAGATION", "/"]);
        Ok(vec![timed(|| program::run(&mut command, b"").map(drop))?])
    })
}

/// Makes a file system at `dir` and mounts its directories, so many, on themselves.
fn many(dir: &Path, mounts: usize) -> Result<()> {
    std::fs::create_dir_all(dir).doing(|| format!("make {}", dir.display()))?;
    kernel::mount(Path::new("tmpfs"), dir, "tmpfs")?;
    for number in 0..mounts {
        let target = dir.join(number.to_string());
        std::fs::create_dir(&target).doing(|| format!("make {}", target.display()))?;
        kernel::bind(&target)?;
    }
    Ok(())
}

/// The size of the program.
pub(super) fn program(bed: &mut Bed, report: &mut Report) -> Result<()> {
    let size = std::fs::metadata(&bed.program).doing(|| "look at the program")?.len();
    let measured = once(MIB.of_bytes(size), None)?;
    report.add(Row::new("program", MIB, &measured).target(Target::AtMost(20.0)));
    Ok(())
}
