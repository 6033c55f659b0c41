//! A small HTTP/1.1 client over a UNIX socket, or over TCP, keep-alive, one request at a time: what
//! dockerd's plugin client and the command line do, at the least cost of its own.

use error::{Error, IoContext, Result};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// A request, ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Request {
    bytes: Vec<u8>,
    /// Method and path, for errors.
    what: String,
}

impl Request {
    /// A request with a JSON body, which may be empty.
    pub(super) fn new(method: &str, path: &str, body: &str) -> Self {
        let headers = [("Host", "localhost"), ("Content-Type", "application/json")];
        Self::with(method, path, &headers, body)
    }

    /// A request with these headers, and its length.
    pub(super) fn with(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let what = format!("{method} {path}");
        let headers: String =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let text = format!("{what} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
        Self { bytes: text.into_bytes(), what }
    }

    /// A call of Docker's volume plugin protocol.
    pub(super) fn plugin(call: &str, body: &str) -> Self {
        Self::new("POST", &format!("/VolumeDriver.{call}"), body)
    }
}

/// What a connection is over.
trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// A connection.
pub(super) struct Client {
    stream: Box<dyn Stream>,
    socket: PathBuf,
    buffer: Vec<u8>,
    body: Vec<u8>,
}

/// Status, where the body begins, and its length if the head tells it.
struct Head {
    status: u16,
    end: usize,
    length: Option<usize>,
}

impl Client {
    /// Connects to `socket`.
    pub(super) fn connect(socket: &Path) -> Result<Self> {
        let stream =
            UnixStream::connect(socket).doing(|| format!("connect to {}", socket.display()))?;
        Ok(Self::over(stream, socket))
    }

    /// Connects to `address`.
    pub(super) fn dial(address: SocketAddr) -> Result<Self> {
        let connecting = || format!("connect to {address}");
        let stream = TcpStream::connect(address).doing(connecting)?;
        stream.set_nodelay(true).doing(connecting)?;
        let name = PathBuf::from(address.to_string());
        Ok(Self { stream: Box::new(stream), socket: name, buffer: Vec::new(), body: Vec::new() })
    }

    /// A client of whoever is at the other end of `stream`; `socket` is for errors.
    pub(super) fn over(stream: UnixStream, socket: &Path) -> Self {
        let (stream, socket) = (Box::new(stream), socket.to_owned());
        Self { stream, socket, buffer: Vec::new(), body: Vec::new() }
    }

    /// Sends a request and answers the body; any status but 2xx is an error with what was said.
    pub(super) fn send(&mut self, request: &Request) -> Result<&[u8]> {
        let asking = || format!("{} at {}", request.what, self.socket.display());
        self.buffer.clear();
        self.body.clear();
        let asked = self.stream.write_all(&request.bytes);
        let status = asked
            .and_then(|()| read_answer(self.stream.as_mut(), &mut self.buffer, &mut self.body));
        let status = status.doing(asking)?;
        if (200..300).contains(&status) {
            return Ok(&self.body);
        }
        let said: String = String::from_utf8_lossy(&self.body).chars().take(400).collect();
        Err(Error::internal(format!("{} answered {status}: {said}", asking())))
    }
}

fn read_answer(
    stream: &mut dyn Stream,
    buffer: &mut Vec<u8>,
    body: &mut Vec<u8>,
) -> io::Result<u16> {
    let head = loop {
        if let Some(head) = parse_head(buffer)? {
            break head;
        }
        more(stream, buffer)?;
    };
    match head.length {
        Some(length) => {
            let missing = (head.end + length).saturating_sub(buffer.len());
            let have = buffer.len();
            buffer.resize(have + missing, 0);
            stream.read_exact(&mut buffer[have..])?;
            body.extend_from_slice(&buffer[head.end..head.end + length]);
        }
        None if head.status == 204 => {}
        None => read_chunks(stream, buffer, head.end, body)?,
    }
    Ok(head.status)
}

fn read_chunks(
    stream: &mut dyn Stream,
    buffer: &mut Vec<u8>,
    mut at: usize,
    body: &mut Vec<u8>,
) -> io::Result<()> {
    loop {
        let Some(end) = find(&buffer[at..], b"\r\n") else {
            more(stream, buffer)?;
            continue;
        };
        let digits = String::from_utf8_lossy(&buffer[at..at + end]);
        let length = usize::from_str_radix(digits.trim(), 16).map_err(io::Error::other)?;
        let from = at + end + 2;
        while buffer.len() < from + length + 2 {
            more(stream, buffer)?;
        }
        if length == 0 {
            return Ok(());
        }
        body.extend_from_slice(&buffer[from..from + length]);
        at = from + length + 2;
    }
}

fn more(stream: &mut dyn Stream, buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut part = [0; 64 << 10];
    match stream.read(&mut part)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        length => {
            buffer.extend_from_slice(&part[..length]);
            Ok(())
        }
    }
}

fn parse_head(buffer: &[u8]) -> io::Result<Option<Head>> {
    let Some(end) = find(buffer, b"\r\n\r\n") else { return Ok(None) };
    let malformed = || io::Error::other("the answer is not HTTP");
    let head = str::from_utf8(&buffer[..end]).map_err(io::Error::other)?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(malformed)?;
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.map(|(_, value)| value.trim().parse().map_err(io::Error::other));
    Ok(Some(Head { status, end: end + 4, length: length.transpose()? }))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(parts: &'static [&'static [u8]]) -> Result<Vec<u8>> {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut client = Client::over(near, Path::new("x"));
        let server = std::thread::spawn(move || {
            let mut request = [0; 4096];
            let _ = far.read(&mut request).unwrap();
            for part in parts {
                far.write_all(part).unwrap();
                far.flush().unwrap();
            }
        });
        let answer = client.send(&Request::new("GET", "/x", "")).map(<[u8]>::to_vec);
        server.join().unwrap();
        answer
    }

    #[test]
    fn a_body_of_known_length_is_read_in_parts() {
        let parts: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 4\r\n\r\nab", b"cd"];
        assert_eq!(answered(parts).unwrap(), b"abcd");
    }

    #[test]
    fn chunks_are_joined() {
        let parts: &[&[u8]] = &[
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r",
            b"\n3\r\ncde\r\n0\r\n",
            b"\r\n",
        ];
        assert_eq!(answered(parts).unwrap(), b"abcde");
    }

    #[test]
    fn an_answer_without_a_body_is_empty() {
        assert_eq!(answered(&[b"HTTP/1.1 204 No Content\r\n\r\n"]).unwrap(), b"");
    }

    #[test]
    fn a_failure_says_what_was_answered() {
        let error = answered(&[b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone"]);
        let error = error.expect_err("not found").to_string();
        assert!(error.contains("GET /x") && error.contains("404") && error.contains("gone"));
    }

    #[test]
    fn a_connection_that_breaks_off_is_an_error() {
        assert!(answered(&[b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na"]).is_err());
    }
}
