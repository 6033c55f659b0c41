//! Who is measured against whom: ours, a peer and the bare kernel take turns, so that whatever else
//! the machine does meets all of them.

use super::http::{Client, Request};
use super::stats::{Samples, Unit};
use error::{Error, IoContext, Result};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Barrier;
use std::time::Instant;

/// One turn of a contender: answers its samples.
pub(super) type Turn<'a> = Box<dyn FnMut() -> Result<Vec<f64>> + 'a>;

/// The contenders of one row.
pub(super) struct Contest<'a> {
    pub(super) ours: Turn<'a>,
    pub(super) peer: Option<Turn<'a>>,
    pub(super) raw: Option<Turn<'a>>,
}

/// What they did.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub(super) ours: Samples,
    pub(super) peer: Option<Samples>,
    pub(super) raw: Option<Samples>,
}

impl Contest<'_> {
    /// Lets them take `rounds` turns each, after one that does not count.
    pub(super) fn run(self, rounds: usize) -> Result<Measured> {
        self.run_after(1, rounds)
    }

    /// Lets them take `rounds` turns each, after `ignored` that do not count.
    pub(super) fn run_after(self, ignored: usize, rounds: usize) -> Result<Measured> {
        let mut turns = [Some(self.ours), self.peer, self.raw];
        let mut values = [const { Vec::new() }; 3];
        for round in 0..ignored + rounds {
            for (turn, values) in turns.iter_mut().zip(&mut values) {
                let Some(turn) = turn else { continue };
                let new = turn()?;
                if round >= ignored {
                    values.extend(new);
                }
            }
        }
        let [ours, peer, raw] = values;
        Ok(Measured { raw: Samples::of(raw), ..self::values(ours, peer)? })
    }
}

/// Figures that were measured beside others.
pub(super) fn values(ours: Vec<f64>, peer: Vec<f64>) -> Result<Measured> {
    let ours = Samples::of(ours).ok_or_else(|| Error::internal("nothing was measured"))?;
    Ok(Measured { ours, peer: Samples::of(peer), raw: None })
}

/// A figure that is measured once.
pub(super) fn once(ours: f64, peer: Option<f64>) -> Result<Measured> {
    let turn = |value: f64| -> Turn<'static> { Box::new(move || Ok(vec![value])) };
    Contest { ours: turn(ours), peer: peer.map(turn), raw: None }.run(1)
}

/// Turns that send `requests` one after another over one connection; a sample for each.
pub(super) fn latency(socket: &Path, requests: Vec<Request>, unit: Unit) -> Result<Turn<'static>> {
    Ok(latency_of(Client::connect(socket)?, requests, unit))
}

/// The same with a thread that has its answer ready: what a socket and waking up cost by themselves.
pub(super) fn echo(requests: Vec<Request>, unit: Unit) -> Result<Turn<'static>> {
    let (near, far) = UnixStream::pair().doing(|| "make a pair of sockets")?;
    std::thread::spawn(move || answer(&far));
    Ok(latency_of(Client::over(near, Path::new("a thread")), requests, unit))
}

/// Answers whatever comes, until the other end is closed.
fn answer(mut stream: &UnixStream) {
    const BODY: [u8; 160] = [b' '; 160];
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 160\r\n\r\n".to_vec();
    answer.extend_from_slice(&BODY);
    let mut request = [0; 4096];
    while stream.read(&mut request).is_ok_and(|length| length > 0) {
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

fn latency_of(mut client: Client, requests: Vec<Request>, unit: Unit) -> Turn<'static> {
    Box::new(move || {
        let mut took = |request| {
            let start = Instant::now();
            client.send(request)?;
            Ok(unit.of(start.elapsed()))
        };
        requests.iter().map(&mut took).collect()
    })
}

/// Turns in which `clients` connections work at once, each through the requests of its script; one
/// sample: operations per second, where `step` requests make one operation.
pub(super) fn rate<'a>(
    socket: &'a Path,
    clients: usize,
    step: usize,
    script: impl Fn(usize) -> Vec<Request> + 'a,
) -> Turn<'a> {
    let scripts: Vec<Vec<Request>> = (0..clients).map(script).collect();
    Box::new(move || Ok(vec![run_scripts(socket, &scripts)? / count(step)]))
}

/// Sends the requests of all scripts, each over its own connection; answers requests per second.
pub(super) fn run_scripts(socket: &Path, scripts: &[Vec<Request>]) -> Result<f64> {
    let start = Barrier::new(scripts.len() + 1);
    let work = |script: &[Request]| -> Result<()> {
        let client = Client::connect(socket);
        start.wait();
        let mut client = client?;
        script.iter().try_for_each(|request| client.send(request).map(drop))
    };
    let took = std::thread::scope(|scope| {
        let threads: Vec<_> = scripts.iter().map(|script| scope.spawn(|| work(script))).collect();
        start.wait();
        let begun = Instant::now();
        for thread in threads {
            thread.join().map_err(|_| Error::internal("a client panicked"))??;
        }
        Ok::<_, Error>(begun.elapsed())
    })?;
    let requests = scripts.iter().map(Vec::len).sum::<usize>();
    Ok(count(requests) / took.as_secs_f64())
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn contenders_take_turns_and_the_first_round_does_not_count() {
        let order = RefCell::new(String::new());
        let turn = |name: char| -> Turn<'_> {
            let order = &order;
            Box::new(move || {
                order.borrow_mut().push(name);
                Ok(vec![1.0, 2.0])
            })
        };
        let contest = Contest { ours: turn('o'), peer: None, raw: Some(turn('r')) };
        let measured = contest.run(2).unwrap();
        assert_eq!(*order.borrow(), "ororor");
        assert_eq!(measured.ours.stat().n, 4);
        assert!(measured.peer.is_none() && measured.raw.is_some());
    }

    #[test]
    fn the_echo_answers_every_request() {
        let requests = vec![Request::new("GET", "/", ""); 3];
        let mut turn = echo(requests, Unit::Microseconds).unwrap();
        assert_eq!(turn().unwrap().len(), 3);
        assert_eq!(turn().unwrap().len(), 3);
    }

    #[test]
    fn a_failure_ends_the_contest() {
        let ours: Turn<'_> = Box::new(|| Err(Error::internal("broken")));
        assert!(Contest { ours, peer: None, raw: None }.run(1).is_err());
    }
}
