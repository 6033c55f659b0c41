//! Signing and HTTP for back ends that are a cloud's. Knows no volume.

pub mod aws;
