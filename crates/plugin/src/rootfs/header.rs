//! Entries written as tar headers: ustar, and PAX records (POSIX.1-2001) for what ustar has no room
//! for. The same entry gives the same bytes.

use super::entry::{Entry, What};
use host::root::Node;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use tar::{EntryType, Header};

/// Bytes of a block of a tar.
const BLOCK: u64 = 512;

/// The longest name in a ustar header, in bytes.
const NAME: usize = 100;

/// The largest numbers in its octal fields: of 11 digits and of 7.
const LARGE: u64 = 0o777_7777_7777;
const SMALL: u64 = 0o777_7777;

/// Writes the headers of an entry; its contents and their [`padding`] come after them.
pub(super) fn write(out: &mut dyn Write, entry: &Entry) -> io::Result<()> {
    let (kind, link) = match &entry.what {
        What::Directory => (EntryType::Directory, OsStr::new("")),
        What::File => (EntryType::Regular, OsStr::new("")),
        What::Symlink(target) => (EntryType::Symlink, target.as_os_str()),
        What::HardLink(target) => (EntryType::Link, target.as_os_str()),
        What::Node(Node::Fifo) => (EntryType::Fifo, OsStr::new("")),
        What::Node(Node::Character { .. }) => (EntryType::Char, OsStr::new("")),
        What::Node(Node::Block { .. }) => (EntryType::Block, OsStr::new("")),
    };
    let mut name = entry.path.as_os_str().as_bytes().to_owned();
    if kind == EntryType::Directory {
        name.extend_from_slice(if name.is_empty() { b"./" } else { b"/" });
    }
    let mut header = Header::new_ustar();
    let mut records = Vec::new();
    put_name(&mut header.as_old_mut().name, &name, "path", &mut records);
    put_name(&mut header.as_old_mut().linkname, link.as_bytes(), "linkpath", &mut records);
    put_numbers(&mut header, entry, &mut records)?;
    for (name, value) in &entry.attributes.xattrs {
        record(&mut records, &[b"SCHILY.xattr.", name.as_bytes()].concat(), value);
    }
    header.set_entry_type(kind);
    header.set_cksum();
    write_records(out, &records)?;
    out.write_all(header.as_bytes())
}

/// The zeros that follow contents of `size` bytes.
pub(super) fn padding(size: u64) -> &'static [u8] {
    &[0; BLOCK as usize][..(size.next_multiple_of(BLOCK) - size) as usize]
}

/// What ends an archive.
pub(super) fn end(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK as usize])
}

fn put_name(field: &mut [u8; NAME], name: &[u8], key: &str, records: &mut Vec<u8>) {
    let length = name.len().min(NAME);
    field[..length].copy_from_slice(&name[..length]);
    if name.len() > NAME {
        record(records, key.as_bytes(), name);
    }
}

fn put_numbers(header: &mut Header, entry: &Entry, records: &mut Vec<u8>) -> io::Result<()> {
    let attributes = &entry.attributes;
    let mut fit = |key: &str, value: u64, most: u64| {
        if value > most {
            record(records, key.as_bytes(), value.to_string().as_bytes());
        }
        if value > most { 0 } else { value }
    };
    header.set_uid(fit("uid", attributes.uid.into(), SMALL));
    header.set_gid(fit("gid", attributes.gid.into(), SMALL));
    header.set_size(fit("size", entry.size, LARGE));
    // Nothing that is packed is older than 1970, unless a clock was wrong.
    let modified = u64::try_from(attributes.modified.unwrap_or(0)).unwrap_or(0);
    header.set_mtime(fit("mtime", modified, LARGE));
    header.set_mode(attributes.mode);
    if let What::Node(Node::Character { major, minor } | Node::Block { major, minor }) = entry.what
    {
        header.set_device_major(major)?;
        header.set_device_minor(minor)?;
    }
    Ok(())
}

/// `<length> <key>=<value>\n`, where the length counts itself.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if length.to_string().len() > rest.to_string().len() {
        length += 1;
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn write_records(out: &mut dyn Write, records: &[u8]) -> io::Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    let size = records.len() as u64;
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..3].copy_from_slice(b"PAX");
    header.set_entry_type(EntryType::XHeader);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    out.write_all(header.as_bytes())?;
    out.write_all(records)?;
    out.write_all(padding(size))
}
