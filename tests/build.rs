//! Compiles the protos of the counter domain, which use the platform's.

use std::path::PathBuf;

use prost::Message as _;

const PROTOS: &[&str] = &["counter/v1/counter.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=../proto/headwater");
    let descriptors = protox::compile(PROTOS, ["proto", "../proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .extern_path(".headwater.v1", "::headwater_proto::headwater::v1")
        .compile_fds(descriptors)?;
    Ok(())
}
