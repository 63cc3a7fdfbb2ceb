//! Digests of a pool's content: single facts now, the tree above them.

pub mod fact;
