//! The one declaration of the commands. From it come COMMAND and its subcommands, access control,
//! arity, the routing key, metrics' labels and the reference page `COMMANDS.md`.

mod declared;
mod describe;
mod entry;
#[cfg(test)]
mod reference;
mod syntax;

pub(crate) use declared::{Category, Flags, Heavy, Run};
pub(crate) use describe::{command, command_count, command_docs, command_getkeys, command_info, command_list, help};
pub(crate) use entry::{Entry, Lookup, table};
