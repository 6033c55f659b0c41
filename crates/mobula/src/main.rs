//! The program `mobula`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mobula::cli::main()
}
