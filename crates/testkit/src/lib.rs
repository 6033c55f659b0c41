//! What the tests of volumes stand on: the conformance suite that every driver must pass, a driver
//! that fails on demand, a driver whose disks exist only in memory, a crash that can be placed
//! anywhere, and the reference model. Nothing here is part of the program.

pub mod conformance;
pub mod crash;
pub mod disks;
pub mod failing;
pub mod hooked;
pub mod images;
pub mod judges;
pub mod model;
pub mod root;
pub mod service;
