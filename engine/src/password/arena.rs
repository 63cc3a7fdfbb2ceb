//! Reusable memory for memory-hard hashes: one arena for each worker that checks passwords.

use argon2::Block;
use zeroize::Zeroize;

use super::HashError;

/// Memory that Argon2 fills, kept between checks: fresh pages cost as much as the hashing itself.
///
/// It keeps at most [`Arena::RETAINED_BLOCKS_MAX`] KiB between checks and is zeroized whenever memory is given back.
/// The arena is not shared: each worker owns one.
#[derive(Default)]
pub struct Arena {
    blocks: Vec<Block>,
}

impl Arena {
    /// KiB kept after a check; what a larger one took is given back at once.
    pub const RETAINED_BLOCKS_MAX: usize = 64 * 1024;

    /// An arena that holds nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes held at present.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.blocks.len() * Block::SIZE
    }

    /// Runs `work` with `count` blocks of 1 KiB of unspecified content.
    ///
    /// # Errors
    /// `TooCostly` when the system has no such memory to give; otherwise what `work` returns.
    pub(super) fn with_blocks<T>(
        &mut self,
        count: usize,
        work: impl FnOnce(&mut [Block]) -> Result<T, HashError>,
    ) -> Result<T, HashError> {
        if self.blocks.len() < count {
            self.release();
            self.blocks.try_reserve_exact(count).map_err(|_| HashError::TooCostly("out of memory"))?;
            self.blocks.resize(count, Block::new());
        }
        let outcome = work(&mut self.blocks[..count]);
        if self.blocks.len() > Self::RETAINED_BLOCKS_MAX {
            self.release();
        }
        outcome
    }

    /// Zeroizes and gives back everything. Growing goes through here: a `Vec` that grows by itself would leave an
    /// unzeroized copy behind.
    fn release(&mut self) {
        for block in &mut self.blocks {
            block.as_mut().zeroize();
        }
        self.blocks = Vec::new();
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.release();
    }
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arena").field("held_bytes", &self.held_bytes()).finish()
    }
}
