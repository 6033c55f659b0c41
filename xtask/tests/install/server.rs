//! A web server on the loopback interface: the files of one directory, and the ways in which a
//! download goes wrong.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

/// What the server does with files of this name.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Closes in the middle.
    Truncate(&'static str),
    /// Sends the half of it and then nothing more.
    Stall(&'static str),
}

/// Serves a directory until the test process ends; its address.
pub fn serve(dir: &Path, fault: Option<Fault>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let dir = dir.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let dir = dir.clone();
            // A client that goes away in the middle is no failure of the server's.
            std::thread::spawn(move || answer(stream, &dir, fault));
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: TcpStream, dir: &Path, fault: Option<Fault>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let name = line.split(' ').nth(1)?.trim_start_matches('/').to_owned();
    while line.trim() != "" {
        line.clear();
        reader.read_line(&mut line).ok()?;
    }
    let path: PathBuf = dir.join(&name);
    let Ok(body) = std::fs::read(&path) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").ok();
    };
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).ok()?;
    let half = &body[..body.len() / 2];
    match fault {
        Some(Fault::Truncate(part)) if name.contains(part) => stream.write_all(half).ok(),
        Some(Fault::Stall(part)) if name.contains(part) => {
            stream.write_all(half).ok()?;
            // Until the client has had enough.
            reader.read_line(&mut line).ok().map(drop)
        }
        _ => stream.write_all(&body).ok(),
    }
}
