//! Tests over the whole module: published vectors, vectors of our own, and hostile input.

mod hostile;
mod published;
mod vectors;
