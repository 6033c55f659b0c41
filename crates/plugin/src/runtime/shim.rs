//! The shim: one process of one thread per plugin, which outlives the engine. It has the plugin's
//! output written to the log, waits for its end and writes down how it ended. It must stay small:
//! everything that needs memory is done by the maker before, or at the end.

use super::records::{Failure, Files, Order};
use super::{Exit, clean, containers};
use crate::logs::{Stream, Writer};
use error::{Error, IoContext, Result};
use host::cgroup::Cgroup;
use host::exec::{OWN, Streams};
use host::process::Identity;
use host::reaper::{Ended, Handle, Signals};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

/// The first argument of the maker.
pub(super) const MAKE: &str = "--make";
/// What is read of a stream at once, in bytes.
const CHUNK: usize = 64 << 10;
/// How many chunks are read after the end: a pipe holds 64 KiB, and somebody may still write.
const LAST_CHUNKS: usize = 32;

/// What the shim tells the engine, once.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// The plugin's program runs.
    Started {
        init: Identity,
    },
    Failed(Failure),
}

/// Becomes the shim of the plugin whose order lies in `run`.
pub(super) fn main(run: &Path) -> i32 {
    let files = Files::new(run);
    let began = host::reaper::detach().and_then(|()| host::reaper::take_stdout());
    let Ok(output) = began else { return 1 };
    host::reaper::set_name(c"mobula-shim");
    let mut answer = File::from(output);
    match begin(&files, &mut answer) {
        Ok(shim) => {
            drop(answer);
            shim.attend();
            0
        }
        Err(error) => {
            // The container first: the engine may start the next one when it has the answer.
            if let Ok(Some(order)) = files.order() {
                let _ = clean::container(&order, &files);
            }
            let _ = tell(&mut answer, &Answer::Failed(Failure::from(&error)));
            1
        }
    }
}

fn tell(answer: &mut File, what: &Answer) -> Result<()> {
    let line = super::records::encode(what)?;
    answer.write_all(&line).doing(|| "answer the engine, which has gone")
}

fn begin(files: &Files, answer: &mut File) -> Result<Shim> {
    let shim = Identity::own()?;
    files.write_status(shim, None)?;
    let order = files.order()?.ok_or_else(|| Error::not_found("the shim has no order"))?;
    let signals = Signals::block()?;
    let log = Writer::open(&order.log, order.log_limits)?;
    let (output, output_end) = pipe(order.uid)?;
    let (error, error_end) = pipe(order.uid)?;
    let init = make_container(
        files,
        Streams { input: None, output: Some(output_end), error: Some(error_end) },
    )?;
    let handle = Handle::of_child(init)?;
    files.write_status(shim, Some(handle.identity()))?;
    tell(answer, &Answer::Started { init: handle.identity() })?;
    let streams = [(Some(output), Stream::new("stdout")), (Some(error), Stream::new("stderr"))];
    Ok(Shim { files: files.clone(), order, signals, init: handle, log, streams })
}

/// A pipe that a plugin of this user may open again (`/dev/stdout`).
fn pipe(uid: u32) -> Result<(PipeReader, OwnedFd)> {
    let (read, write) = std::io::pipe().doing(|| "make a pipe")?;
    std::os::unix::fs::fchown(&write, Some(uid), None).doing(|| "give a pipe to the plugin")?;
    Ok((read, write.into()))
}

/// Has the maker make and start the container; the PID of its first process, by then our child.
fn make_container(files: &Files, streams: Streams) -> Result<i32> {
    let args = [OsStr::new("__shim"), OsStr::new(MAKE), files.run().as_os_str()];
    let maker = host::exec::spawn(Path::new(OWN), &args, streams)?;
    let ended = host::reaper::wait_for(maker.id().cast_signed())?;
    if ended.code != Some(0) {
        let unknown = || Error::internal(format!("the maker of the container failed: {ended:?}"));
        return Err(files.failure("made")?.unwrap_or_else(unknown));
    }
    let path = files.pid();
    let text = std::fs::read_to_string(&path).doing(|| format!("read {}", path.display()))?;
    let malformed = |error| Error::internal(format!("{text:?} is no process ID")).because(error);
    text.trim().parse().map_err(malformed)
}

/// Makes and starts the container of the plugin whose order lies in `run`.
pub(super) fn make(run: &Path) -> i32 {
    let files = Files::new(run);
    let made = files.order().and_then(|order| {
        let order = order.ok_or_else(|| Error::not_found("the maker has no order"))?;
        let mut containers = containers::of(&order, &files);
        containers.create()?;
        containers.start()
    });
    match made {
        Ok(()) => 0,
        Err(error) => {
            let _ = files.write_failure("made", &error);
            1
        }
    }
}

struct Shim {
    files: Files,
    order: Order,
    signals: Signals,
    init: Handle,
    log: Writer,
    streams: [(Option<PipeReader>, Stream); 2],
}

impl Shim {
    /// Until the plugin's end, and what is to be done then.
    fn attend(mut self) {
        let mut buffer = vec![0; CHUNK];
        host::reaper::release_program_memory();
        let ended = loop {
            match self.turn(&mut buffer) {
                Ok(Some(ended)) => break ended,
                Ok(None) => {}
                // Without signals or pipes there is nothing left to do here: the engine notices
                // the end of the shim, and cleans.
                Err(_) => return,
            }
        };
        let Ok(cgroup) = Cgroup::at(&self.order.cgroup) else { return };
        // The engine cleans again and reports what can't be removed.
        let _ = cgroup.kill();
        self.drain(&mut buffer);
        let exit = Exit {
            code: ended.code,
            signal: ended.signal,
            out_of_memory: cgroup.out_of_memory_kills().is_ok_and(|kills| kills > 0),
            at: Timestamp::now(),
        };
        let _ = self.files.write_exit(&exit);
        let _ = clean::container(&self.order, &self.files);
    }

    /// Waits for something to happen; how the plugin ended, if it did.
    fn turn(&mut self, buffer: &mut [u8]) -> Result<Option<Ended>> {
        while let Some(ended) = host::reaper::reap()? {
            if ended.pid == self.init.identity().pid {
                return Ok(Some(ended));
            }
        }
        let (open, ready) = self.ready(None)?;
        if ready[0] && self.signals.take()? {
            self.init.terminate()?;
        }
        for (index, _) in open.into_iter().zip(&ready[1..]).filter(|(_, ready)| **ready) {
            self.pump(index, buffer);
        }
        Ok(None)
    }

    /// The streams that are open, and what is ready of the signals and of those.
    fn ready(&self, deadline: Option<Instant>) -> Result<(Vec<usize>, Vec<bool>)> {
        let mut fds: Vec<BorrowedFd<'_>> = vec![self.signals.as_fd()];
        let mut open = Vec::new();
        for (index, (pipe, _)) in self.streams.iter().enumerate() {
            if let Some(pipe) = pipe {
                fds.push(pipe.as_fd());
                open.push(index);
            }
        }
        Ok((open, host::watch::readable(&fds, deadline)?))
    }

    /// Reads once from a stream that has something, or has ended.
    fn pump(&mut self, index: usize, buffer: &mut [u8]) {
        let (pipe, stream) = &mut self.streams[index];
        let Some(open) = pipe else { return };
        match open.read(buffer) {
            Ok(count) if count > 0 => self.log.feed(stream, &buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            _ => *pipe = None,
        }
    }

    /// What is in the pipes at the end.
    fn drain(&mut self, buffer: &mut [u8]) {
        for _ in 0..LAST_CHUNKS {
            let Ok((open, ready)) = self.ready(Some(Instant::now())) else { break };
            let ready: Vec<_> = open.into_iter().zip(&ready[1..]).filter(|(_, r)| **r).collect();
            if ready.is_empty() {
                break;
            }
            ready.into_iter().for_each(|(index, _)| self.pump(index, buffer));
        }
        for (_, stream) in &mut self.streams {
            self.log.finish(stream);
        }
    }
}
