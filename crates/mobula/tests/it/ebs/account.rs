//! `mobula ebs-sim` as its users start it, with disks in the machine's `/dev`.

use crate::engine::fixture::kill;
use crate::fixture::{PATIENCE, eventually};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A running simulator.
pub struct Account {
    child: Child,
    endpoints: BTreeMap<String, String>,
    dir: tempfile::TempDir,
    devices: PathBuf,
}

impl Account {
    /// With the instances i-0a and i-0b in one zone, and i-0c in another.
    pub fn start() -> Self {
        Self::run(true)
    }

    /// The same without disks, for everybody.
    pub fn without_disks() -> Self {
        Self::run(false)
    }

    fn run(disks: bool) -> Self {
        let dir = tempfile::Builder::new().prefix("mobula-ebs-").tempdir().unwrap();
        // Where every mount namespace sees it, and a plugin's /dev too.
        let devices = PathBuf::from("/dev").join(dir.path().file_name().unwrap());
        let mut command = Command::new(env!("CARGO_BIN_EXE_mobula"));
        command.args(["ebs-sim", "--listen", "127.0.0.1:0"]);
        command.args(["--instance", "i-0a", "--instance", "i-0b"]);
        command.args(["--instance", "i-0c:us-east-1b"]);
        match disks {
            true => command.arg("--images").arg(dir.path().join("images")),
            false => command.arg("--no-disks"),
        };
        command.arg("--devices").arg(&devices);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut endpoints = BTreeMap::new();
        while endpoints.len() < 3 {
            let line = lines.next().expect("it tells its instances").unwrap();
            let (id, endpoint) = line.split_once(' ').unwrap();
            let endpoint = endpoint.rsplit(' ').next().unwrap();
            endpoints.insert(id.to_owned(), endpoint.to_owned());
        }
        Self { child, endpoints, dir, devices }
    }

    /// Where the machine `instance` finds its account.
    pub fn endpoint(&self, instance: &str) -> &str {
        &self.endpoints[instance]
    }

    /// The configuration of an agent on `instance`: one line, and what else is said of the service.
    pub fn config(&self, instance: &str, more: &str) -> String {
        let endpoint = self.endpoint(instance);
        format!(
            "services: {{mobula: {{driver: ebs, options: {{simulator: {endpoint}, {more}}}, \
             volume: {{size: 1GiB}}}}}}\n"
        )
    }

    /// A call of the admin API; what it answered.
    pub fn admin(&self, method: &str, path: &str, body: &str) -> String {
        let address = self.endpoints["i-0a"].strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} /_sim/{path} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 2"), "{path}: {answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Ends an instance: whatever it had mounted is cut off.
    pub fn terminate(&self, instance: &str) {
        self.admin("POST", &format!("instances/{instance}/terminate"), "");
    }

    /// The state of the account.
    pub fn state(&self) -> serde_json::Value {
        serde_json::from_str(&self.admin("GET", "state", "")).unwrap()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        kill("-TERM", self.child.id());
        eventually("the simulator ends", PATIENCE, || self.child.try_wait().unwrap().is_some());
        let _ = std::fs::remove_dir_all(&self.devices);
        let _ = std::fs::remove_dir_all(self.dir.path());
    }
}
