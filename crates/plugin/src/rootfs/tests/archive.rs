//! Archives as nobody honest makes them: headers are written as they are told.

use crate::digest::Digest;
use crate::registry::Descriptor;
use crate::store::Store;
use std::io::Write;

pub(super) const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub(super) const GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
pub(super) const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// A tar being written.
#[derive(Clone, Default)]
pub(super) struct Archive(pub(super) Vec<u8>);

impl Archive {
    /// An entry with every field of its header.
    pub(super) fn raw(mut self, kind: u8, name: &str, link: &str, size: u64, data: &[u8]) -> Self {
        self.put_header(kind, name, link, size, (0o644, 0, 0), (0, 0));
        self.put_data(data);
        self
    }

    fn put_header(
        &mut self,
        kind: u8,
        name: &str,
        link: &str,
        size: u64,
        (mode, uid, gid): (u32, u32, u32),
        (major, minor): (u32, u32),
    ) {
        let mut header = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_bytes());
        put(100, format!("{mode:07o}\0").as_bytes());
        put(108, format!("{uid:07o}\0").as_bytes());
        put(116, format!("{gid:07o}\0").as_bytes());
        put(124, format!("{size:011o}\0").as_bytes());
        put(136, format!("{:011o}\0", 1_000_000_000).as_bytes());
        put(148, b"        ");
        put(156, &[kind]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        put(329, format!("{major:07o}\0").as_bytes());
        put(337, format!("{minor:07o}\0").as_bytes());
        self.seal(header);
    }

    fn seal(&mut self, mut header: [u8; 512]) {
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
    }

    fn put_data(&mut self, data: &[u8]) {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    pub(super) fn file(self, name: &str, data: &str) -> Self {
        self.raw(b'0', name, "", data.len() as u64, data.as_bytes())
    }

    pub(super) fn dir(self, name: &str) -> Self {
        self.owned(b'5', name, (0o755, 0, 0))
    }

    pub(super) fn symlink(self, name: &str, target: &str) -> Self {
        self.raw(b'2', name, target, 0, &[])
    }

    pub(super) fn link(self, name: &str, target: &str) -> Self {
        self.raw(b'1', name, target, 0, &[])
    }

    /// An empty entry with mode, user and group.
    pub(super) fn owned(mut self, kind: u8, name: &str, owner: (u32, u32, u32)) -> Self {
        self.put_header(kind, name, "", 0, owner, (0, 0));
        self
    }

    pub(super) fn device(mut self, kind: u8, name: &str, numbers: (u32, u32)) -> Self {
        self.put_header(kind, name, "", 0, (0o666, 0, 0), numbers);
        self
    }

    /// PAX records for the next entry.
    pub(super) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (1..).find(|length: &usize| *length == rest + length.to_string().len());
            write!(data, "{} {key}=", length.unwrap()).unwrap();
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.raw(b'x', "PAX", "", data.len() as u64, &data)
    }

    /// A GNU sparse file of `size` bytes with `data` at its end.
    pub(super) fn sparse(mut self, name: &str, size: u64, data: &[u8]) -> Self {
        let mut header = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        let length = data.len() as u64;
        put(0, name.as_bytes());
        for at in [100, 108, 116] {
            put(at, b"0000644\0");
        }
        put(124, format!("{length:011o}\0").as_bytes());
        put(136, b"00000000000\0");
        put(148, b"        S");
        put(257, b"ustar  \0");
        put(386, format!("{:011o}\0{length:011o}\0", size - length).as_bytes());
        put(483, format!("{size:011o}\0").as_bytes());
        self.seal(header);
        self.put_data(data);
        self
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Puts a packed layer into the store.
pub(super) fn stored(store: &Store, media_type: &str, bytes: &[u8]) -> Descriptor {
    let digest: Digest = store.put(bytes).unwrap();
    Descriptor { media_type: media_type.to_owned(), digest, size: bytes.len() as u64 }
}
