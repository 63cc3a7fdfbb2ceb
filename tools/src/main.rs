//! The `stoa` binary.
#[allow(dead_code)]
mod export;
#[allow(dead_code)]
mod import;
#[allow(dead_code)]
mod sample;

fn main() {}
