//! Mobula's own build jobs: `cargo xtask bench`, `dist`, `docs`, `new-driver`, `plugin-image`.

mod bench;
mod dist;
mod docs;
mod new_driver;
mod plugin_image;
mod program;
mod release;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Mobula's own build jobs.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    job: Job,
}

#[derive(Debug, Subcommand)]
enum Job {
    Bench(bench::Arguments),
    Dist(dist::Arguments),
    Docs(docs::Arguments),
    NewDriver(new_driver::Arguments),
    PluginImage(plugin_image::Arguments),
}

fn main() -> ExitCode {
    let done = match Cli::parse().job {
        Job::Bench(arguments) => arguments.run(),
        Job::Dist(arguments) => arguments.run(),
        Job::Docs(arguments) => arguments.run(),
        Job::NewDriver(arguments) => arguments.run(),
        Job::PluginImage(arguments) => arguments.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
