//! What stands in for AWS on loopback: an address that answers every call with no volumes and tells
//! how it was called, and a server of names. No simulator: nothing is created here.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

const NOTHING: &str = "<DescribeVolumesResponse><volumeSet/></DescribeVolumesResponse>";

/// An address of the EC2 API. Its thread ends with the tests.
pub struct Endpoint {
    pub port: u16,
    called: Arc<Mutex<Vec<String>>>,
}

impl Endpoint {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let called = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&called);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                thread::spawn(move || while answer(&stream, &seen).is_some() {});
            }
        });
        Self { port, called }
    }

    /// The heads of the calls since the last time.
    pub fn called(&self) -> Vec<String> {
        std::mem::take(&mut *self.called.lock().unwrap())
    }
}

/// One call; `None` when there is none any more.
fn answer(mut stream: &TcpStream, seen: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        if line.trim().is_empty() {
            break;
        }
        let line = line.to_ascii_lowercase();
        if let Some(count) = line.strip_prefix("content-length:") {
            length = count.trim().parse().unwrap();
        }
        head += &line;
    }
    reader.read_exact(&mut vec![0; length]).ok()?;
    seen.lock().unwrap().push(head);
    let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{NOTHING}", NOTHING.len());
    stream.write_all(text.as_bytes()).ok()
}

/// Starts a server of names that knows one, and that loopback is its address; where it is. Its thread
/// ends with the tests.
pub fn name_server(known: &'static str) -> IpAddr {
    // The port is the only one that there is; loopback has addresses enough for tests side by side.
    let free = (1..=254).map(|last| Ipv4Addr::new(127, 53, 53, last));
    let mut bound = free.filter_map(|at| Some((at, UdpSocket::bind((at, 53)).ok()?)));
    let (at, socket) = bound.next().expect("an address on loopback with a free port 53");
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&resolved(&buffer[..count], known), from);
        }
    });
    at.into()
}

/// The answer to one question (RFC 1035, 4.1).
fn resolved(query: &[u8], known: &str) -> Vec<u8> {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).into_owned());
        at = end;
    }
    let question = &query[12..at + 5];
    let is_known = labels.join(".") == known;
    let has_address = is_known && query[at + 1..at + 3] == [0, 1];
    let status = if is_known { 0x80 } else { 0x83 };
    let mut answer =
        [&query[..2], &[0x81, status, 0, 1, 0, u8::from(has_address), 0, 0, 0, 0]].concat();
    answer.extend(question);
    if has_address {
        // The name above, an address of the Internet, for a minute, four bytes: loopback.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    answer
}
