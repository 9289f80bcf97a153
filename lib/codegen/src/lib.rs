//! For build scripts: compiles a domain's protos, which use the platform's, and generates beside
//! the messages what the descriptors know of them.
//!
//! ```no_run
//! // build.rs
//! fn main() -> anyhow::Result<()> {
//!     headwater_codegen::compile(&["counter/v1/counter.proto"], "proto")
//! }
//! ```
//! A package is then included by `tonic::include_proto!("counter.v1")`, and the whole contract
//! stands as a descriptor set in `descriptors.bin` of the build script's output.
//!
//! What is generated is what would be written by hand otherwise: `CommandRequest`, `QueryRequest`
//! and `DatedReply` of `headwater_edge` for the messages of each method, `CommandBatch` and
//! `CommandBatchReply` for those of many commands in one call; and for each service a
//! module of its name, such as `counter_command_service`, in which `Service` is the trait that a
//! server implements and `Server` is what serves it.

mod shapes;
mod text;
mod traits;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use protox::Compiler;
use protox::file::{
    ChainFileResolver, DescriptorSetFileResolver, GoogleFileResolver, IncludeFileResolver,
};

/// The platform's own package: its messages come from `headwater_proto`.
const PLATFORM: &str = ".headwater.v1";

/// Compiles `protos`, which are named as from the folder `include` and may import
/// `headwater/v1/headwater.proto`.
///
/// # Errors
/// A proto cannot be read or is wrong, or a method breaks a rule of [`CommandRequest` and
/// `QueryRequest`](https://docs.rs/headwater-edge): a request message belongs to one method and to
/// that method's package.
pub fn compile(protos: &[&str], include: impl AsRef<Path>) -> anyhow::Result<()> {
    let include = include.as_ref();
    for proto in protos {
        println!("cargo:rerun-if-changed={}", include.join(proto).display());
    }
    let out = PathBuf::from(std::env::var("OUT_DIR").context("runs in a build script")?);
    compile_into(&out, protos, include)
}

/// Compiles every proto in a folder and in those below it, likewise.
///
/// # Errors
/// As [`compile`], or the folder cannot be read.
pub fn compile_all(folder: impl AsRef<Path>) -> anyhow::Result<()> {
    let folder = folder.as_ref();
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut protos = Vec::new();
    find(folder, Path::new(""), &mut protos)?;
    protos.sort();
    let protos: Vec<&str> = protos.iter().map(String::as_str).collect();
    compile(&protos, folder)
}

fn find(root: &Path, below: &Path, protos: &mut Vec<String>) -> anyhow::Result<()> {
    let folder = root.join(below);
    let entries = folder.read_dir().with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            find(root, &path, protos)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            protos.push(path.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

fn compile_into(out: &Path, protos: &[&str], include: &Path) -> anyhow::Result<()> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(IncludeFileResolver::new(include.to_owned()));
    let platform = DescriptorSetFileResolver::decode(headwater_proto::FILE_DESCRIPTOR_SET)
        .context("the platform's descriptor set")?;
    resolver.add(platform);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    // The platform's services are served beside the domain's, so the set holds them, imported or
    // not.
    let platform = FileDescriptorSet::decode(headwater_proto::FILE_DESCRIPTOR_SET)?;
    let platform = platform.file.iter().filter(|file| file.package() == "headwater.v1");
    for proto in platform.map(|file| file.name()).chain(protos.iter().copied()) {
        compiler.open_file(proto).with_context(|| format!("cannot compile {proto}"))?;
    }
    let encoded = compiler.encode_file_descriptor_set();
    std::fs::write(out.join("descriptors.bin"), &encoded)?;
    let set = FileDescriptorSet::decode(encoded.as_slice())?;
    tonic_prost_build::configure()
        .out_dir(out)
        .extern_path(PLATFORM, "::headwater_proto::headwater::v1")
        .extern_path(".google.rpc", "::headwater_edge::google_rpc")
        .compile_fds(set.clone())?;
    append(out, &set)
}

/// Appends the implementations of each package to its messages.
fn append(out: &Path, set: &FileDescriptorSet) -> anyhow::Result<()> {
    for (package, code) in traits::of(set)? {
        let file = out.join(format!("{package}.rs"));
        let mut text = std::fs::read_to_string(&file)
            .with_context(|| format!("no messages were generated for {package}"))?;
        text.push_str(&code);
        std::fs::write(&file, text)?;
    }
    Ok(())
}
