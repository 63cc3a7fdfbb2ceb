//! Stoa server.
