//! HTTP/1.1 as engines speak it with plugins: one thread per connection. Whoever begins as clients of
//! HTTP/2 do hears what it says.

use serde_json::Value;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

const STACK: usize = 256 * 1024;

/// One request.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: String,
    /// The caller waits for the end of the connection.
    is_last: bool,
}

/// What becomes of a request.
pub(crate) enum Reply {
    /// Status and body.
    Answer(u16, String),
    /// The connection is closed without an answer.
    Drop,
}

impl Reply {
    /// Status 200 with this JSON.
    pub(crate) fn ok(value: &Value) -> Self {
        Self::Answer(200, format!("{value}\n"))
    }
}

/// Answers requests, of many connections at once.
pub(crate) trait Handler: Send + Sync + 'static {
    fn answer(&self, request: &Request) -> Reply;
}

/// Serves for ever; with `accepts: false` the kernel's queue is all that callers reach.
pub(crate) fn serve(listener: &UnixListener, accepts: bool, handler: &Arc<impl Handler>) {
    loop {
        if !accepts {
            std::thread::park();
            continue;
        }
        let Ok((stream, _)) = listener.accept() else {
            // Out of descriptors, for a while.
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        let handler = handler.clone();
        let talk = move || drop(converse(&stream, &*handler));
        let _ = std::thread::Builder::new().stack_size(STACK).spawn(talk);
    }
}

fn converse(stream: &UnixStream, handler: &impl Handler) -> Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    if reader.fill_buf()?.starts_with(b"PRI ") {
        std::io::copy(&mut reader, &mut writer)?;
        return stream.shutdown(Shutdown::Both);
    }
    while let Some(request) = read(&mut reader)? {
        println!("{} {} {}", request.method, request.path, request.body.trim_end());
        let Reply::Answer(status, body) = handler.answer(&request) else {
            return Ok(());
        };
        let head = format!(
            "HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        writer.write_all((head + &body).as_bytes())?;
        if request.is_last {
            break;
        }
    }
    Ok(())
}

/// The next request; `None` when the caller has hung up between two.
fn read(reader: &mut impl BufRead) -> Result<Option<Request>> {
    let first = line(reader)?;
    let mut words = first.split(' ').map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let mut is_last = words.next().is_some_and(|version| version == "HTTP/1.0");
    let mut length = 0;
    let mut is_chunked = false;
    loop {
        let header = line(reader)?.to_ascii_lowercase();
        match header.split_once(':') {
            None => break,
            Some(("content-length", value)) => {
                length = value.trim().parse().map_err(Error::other)?;
            }
            Some(("transfer-encoding", _)) => is_chunked = true,
            Some(("connection", value)) => is_last |= value.trim() == "close",
            Some(_) => {}
        }
    }
    let body = if is_chunked { chunks(reader)? } else { bytes(reader, length)? };
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(Request { method, path, body, is_last }))
}

fn line(reader: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

fn bytes(reader: &mut impl Read, length: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = reader.take(length as u64).read_to_end(&mut bytes)?;
    if read < length { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

fn chunks(reader: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let length = usize::from_str_radix(&line(reader)?, 16).map_err(Error::other)?;
        body.extend(bytes(reader, length)?);
        line(reader)?;
        if length == 0 {
            return Ok(body);
        }
    }
}
