//! Compiles the protos of the counter domain, the template of `headwater new`.

fn main() -> anyhow::Result<()> {
    headwater_codegen::compile_all("../cli/template/proto")
}
