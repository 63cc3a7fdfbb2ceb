//! One pool's state and the text that it is made of.

pub mod collation;
pub mod filter;
pub mod names;
pub mod schema;
pub mod value;
