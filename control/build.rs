//! The messages and services of the node link and of the feed, from their .proto files; no protoc needed.

const FILES: [&str; 2] = ["proto/node_link.proto", "proto/feed.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for file in FILES {
        println!("cargo:rerun-if-changed={file}");
    }
    let files = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
