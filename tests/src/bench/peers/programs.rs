//! Programs of peers.

use std::path::PathBuf;

use anyhow::{Context, bail};

/// A program of the folder that `tests/peers/build.sh` fills, beside that of our own programs'
/// profile.
///
/// # Errors
/// It has not been built.
pub fn program(path: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    // target/<profile>/deps/<bench>
    let target = own.ancestors().nth(3).context("a bench lies in target/<profile>/deps")?;
    let program = target.join("peers").join(path);
    if !program.exists() {
        bail!("{} is missing: tests/peers/build.sh makes it", program.display());
    }
    Ok(program)
}
