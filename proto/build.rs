//! Compiles the protos without an external compiler, into messages, services and one descriptor
//! set.

use std::path::PathBuf;

use prost::Message as _;

const PROTOS: &[&str] = &[
    "headwater/v1/headwater.proto",
    "headwater/v1/sync.proto",
    "stores/v1/types.proto",
    "stores/v1/events.proto",
    "stores/v1/commands.proto",
    "stores/v1/queries.proto",
    "users/v1/events.proto",
    "users/v1/users.proto",
    // Google's, for the errors of commands among many; it stands here so that every compiler finds
    // it.
    "google/rpc/status.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for proto in PROTOS {
        println!("cargo:rerun-if-changed={proto}");
    }
    let descriptors = protox::compile(PROTOS, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(descriptors)?;
    Ok(())
}
