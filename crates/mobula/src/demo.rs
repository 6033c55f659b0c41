//! The demonstration.

use error::Result;

/// Runs the demonstration.
pub fn run() -> Result<()> {
    Ok(())
}
