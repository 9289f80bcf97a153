//! Compiles the protos of the counter domain, which use the platform's.

fn main() -> anyhow::Result<()> {
    headwater_codegen::compile(&["counter/v1/counter.proto"], "proto")
}
