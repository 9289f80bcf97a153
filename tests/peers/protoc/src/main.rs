//! Path of a protobuf compiler, for `PROTOC` of the other builds.

fn main() {
    let path = protoc_bin_vendored::protoc_bin_path().expect("a compiler for this machine");
    println!("{}", path.display());
}
