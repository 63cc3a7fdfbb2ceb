//! Loading many users into a pool that was never used: straight into column and index files, past log and
//! memtable.
//!
//! Invariants:
//! 1. A pool is loaded whole or not at all: the files are durable, names included, before the one frame that
//!    names them ([`stoa_format::install`]), and nothing names them before. A crash leaves the empty pool with
//!    files that nobody knows (removed by the next load), or the loaded one.
//! 2. What is taken obeys every rule that a transaction would have checked. A row that may break a rule
//!    *between* users (an alias, a sub, an identity whose hash was seen) is [`Pushed::Deferred`]: nothing of
//!    it is taken, and an ordinary transaction afterwards takes it or says exactly why not.
//! 3. While a load is open, other writes to the pool are refused `TRYAGAIN`; one that was under way when it
//!    began is either before the load's frame, which then tries again, or sent back by it.
//! 4. The digest tree stays unbuilt until it is first needed.
//!
//! Memory: pages of the open columns (some 1.3 MiB an attribute), and for each user some 35 bytes a unique
//! alias and sub, 32 bytes and the text a searchable attribute, 8 a membership: about 150 bytes a user with
//! three aliases, 3 GiB at 20 million. Values themselves are not kept.
//!
//! ```no_run
//! use stoa_engine::bulk::{BulkUser, BulkValue};
//! # fn main() -> stoa_engine::Result<()> {
//! let store = stoa_engine::Store::open(stoa_engine::StoreOptions::new("/var/lib/stoa"))?;
//! store.create_pool("people", None, None)?;
//! let mut load = store.pool("people")?.bulk_load()?;
//! let username = load.schema().by_name("username").map(|attribute| attribute.id);
//! let attrs = [(username.expect("a standard attribute"), BulkValue::Text("ana"))];
//! load.push(&BulkUser { attrs: &attrs, ..BulkUser::default() })?;
//! let done = load.finish()?;
//! println!("{} users at seq {}", done.users, done.seq);
//! # Ok(()) }
//! ```

mod aliases;
mod columns;
mod files;
mod finish;
mod groups;
mod install;
mod load;
mod row;
mod set_all;
mod sorted;
mod user;

#[cfg(test)]
mod tests;

pub(crate) use set_all::set_all;

pub use load::{BulkDone, BulkLoad, Pushed};
pub use user::{BulkFactor, BulkUser, BulkValue};
