//! Raw HTTP, for what command line clients do not send. One connection per request.

use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim_end().to_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// What a header says, if it is there.
    pub fn header(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.to_owned())
    }

    /// The JSON objects of a stream of lines.
    pub fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A request to a UNIX socket; the error of a connection that is dropped.
pub fn unix(
    socket: &Path,
    line: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Answer> {
    let stream = connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(150)))?;
    exchange(stream, line, headers, body)
}

/// A connection to a UNIX socket, whose path may be longer than addresses can be.
pub fn connect(socket: &Path) -> std::io::Result<UnixStream> {
    let dir = std::fs::File::open(socket.parent().unwrap())?;
    let short = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string());
    UnixStream::connect(short.join(socket.file_name().unwrap()))
}

/// A request to a port of this machine.
pub fn tcp(address: &str, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    exchange(TcpStream::connect(address).unwrap(), line, headers, body).unwrap()
}

/// HTTP/1.0, so that the answer ends with the connection and is not in chunks.
fn exchange(
    mut stream: impl Read + Write,
    line: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut head = format!("{line} HTTP/1.0\r\nHost: docker\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap();
    Ok(Answer { status, head, body: answer[end + 4..].to_vec() })
}
