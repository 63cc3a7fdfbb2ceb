//! Digests of a pool's content: single facts, and the tree above them.

pub mod fact;
pub mod tree;
