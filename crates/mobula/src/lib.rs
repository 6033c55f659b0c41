//! The program: configuration, agent, front ends and command line. Front ends decode, validate,
//! call and map the answer; what is decided is decided in crate `volume`.

pub mod agent;
pub mod api;
pub mod app;
pub mod cli;
pub mod client;
pub mod config;
pub mod demo;
pub mod docker;
pub mod doctor;
pub mod engine;
pub mod engine_api;
pub mod engine_client;
pub mod listen;
pub mod managed;
pub mod migrate;
pub mod paths;
mod pieces;
pub mod rest;
pub mod sample;
pub mod service;
pub mod services;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
