//! Compiles the protos, which use the platform's.

fn main() -> anyhow::Result<()> {
    headwater_codegen::compile_all("proto")
}
