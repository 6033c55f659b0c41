//! What plugins and their images would like to reach and must not, in the real engine: places outside
//! of their root file systems, secrets, and more of the machine than is theirs.

mod answers;
mod links;
mod modes;
mod secrets;
