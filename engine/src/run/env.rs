//! What all run files of a process share.

use std::sync::Arc;

use super::{FileHandles, PageCache};
use crate::io::Io;

/// Bounds on what open run files take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLimits {
    /// Bytes of open pages.
    pub page_cache_bytes: usize,
    /// Files open at once.
    pub open_files_max: usize,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self { page_cache_bytes: 256 << 20, open_files_max: 1000 }
    }
}

/// What all run files of a process share: the way to the disk, the open pages, the open files.
pub struct RunEnv {
    pub(crate) io: Arc<dyn Io>,
    pub(crate) cache: PageCache,
    pub(crate) handles: FileHandles,
}

impl RunEnv {
    /// An environment over this disk.
    pub fn new(io: Arc<dyn Io>, limits: RunLimits) -> Arc<Self> {
        let (cache, handles) = (PageCache::new(limits.page_cache_bytes), FileHandles::new(limits.open_files_max));
        Arc::new(Self { io, cache, handles })
    }

    /// The disk.
    pub fn io(&self) -> &Arc<dyn Io> {
        &self.io
    }

    /// The open pages.
    pub fn cache(&self) -> &PageCache {
        &self.cache
    }

    /// The open files.
    pub fn handles(&self) -> &FileHandles {
        &self.handles
    }
}
