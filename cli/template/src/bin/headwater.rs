//! The tool: runs everything on this machine, and operates a deployment.

use std::process::ExitCode;

fn main() -> ExitCode {
    headwater_cli::run(headwater_cli::Domain {
        projections: counter::projections,
        aggregates: counter::aggregates,
        descriptors: counter::FILE_DESCRIPTOR_SET,
    })
}
