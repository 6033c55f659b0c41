//! What the kernel says of processes: memory, and which of them belong to an engine.

use crate::bench::stats::Unit;
use error::{Error, IoContext, Result};
use std::path::Path;

/// The processes that were started with a path below `dir`: what an engine of this directory has
/// started, except plugins, which know nothing of it.
pub(super) fn below(dir: &Path) -> Result<Vec<u32>> {
    let dir = format!("{}/", dir.display());
    let has = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&dir)
    };
    let entries = std::fs::read_dir("/proc").doing(|| "list processes")?.flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(pids.filter(has).collect())
}

/// Their resident memory, that of each counted in full (proc_pid_status(5), VmRSS), in MiB.
pub(super) fn resident(pids: &[u32]) -> Result<f64> {
    pids.iter().map(|pid| field(*pid, "status", "VmRSS:")).sum()
}

/// Their resident memory, what they share counted once (smaps_rollup, Pss), in MiB.
pub(super) fn proportional(pids: &[u32]) -> Result<f64> {
    pids.iter().map(|pid| field(*pid, "smaps_rollup", "Pss:")).sum()
}

/// The most that the process had resident since [`forget_peak`], in MiB.
pub(super) fn peak(pid: u32) -> Result<f64> {
    field(pid, "status", "VmHWM:")
}

/// Sets the peak to what is resident now (proc_pid_clear_refs(5)).
pub(super) fn forget_peak(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/clear_refs");
    std::fs::write(&path, "5").doing(|| format!("write {path}"))
}

fn field(pid: u32, file: &str, name: &str) -> Result<f64> {
    let path = format!("/proc/{pid}/{file}");
    let text = std::fs::read_to_string(&path).doing(|| format!("read {path}"))?;
    let kibibytes = kibibytes(&text, name);
    let kibibytes = kibibytes.ok_or_else(|| Error::internal(format!("{path} has no {name}")))?;
    Ok(Unit::Mebibytes.of_bytes(kibibytes << 10))
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "Pss_Dirty:  5 kB\nPss:      12 kB\n";
        assert_eq!(kibibytes(text, "Pss:"), Some(12));
        assert_eq!(kibibytes(text, "Rss:"), None);
    }
}
