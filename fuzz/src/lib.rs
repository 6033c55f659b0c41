//! What several targets share: a place to unpack into that tells when something outside of it
//! changes, and archives whose checksums hold.

pub mod archive;
pub mod scratch;
pub mod tree;
