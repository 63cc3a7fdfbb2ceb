//! The simulated file system: every file and directory as the process sees it (`live`) and as the disk holds
//! it (`durable`), and between them the changes that no sync has covered yet.
//!
//! Always true:
//! 1. `live` is `durable` with all pending changes applied in order, unless a failed sync or an injected
//!    corruption has parted them.
//! 2. A pending change belongs to one file (its content) or to directories (names), never to both: a synced
//!    file can lose its name, and a name can lead to a file without content.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::content::Content;

pub(super) type NodeId = u64;

pub(super) const ROOT: NodeId = 0;

/// What a process sees against what the disk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Image {
    Live,
    Durable,
}

#[derive(Debug, Clone, Default)]
pub(super) struct FileNode {
    pub(super) live: Content,
    pub(super) durable: Content,
    /// Open files keep a nameless node alive.
    pub(super) handle_count: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct DirNode {
    pub(super) live: BTreeMap<String, NodeId>,
    pub(super) durable: BTreeMap<String, NodeId>,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    File(FileNode),
    Dir(DirNode),
}

/// A change that a crash may lose.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { file: NodeId, offset: u64, bytes: Arc<[u8]> },
    Zero { file: NodeId, offset: u64, len: u64 },
    SetLen { file: NodeId, len: u64 },
    Link { dir: NodeId, name: String, node: NodeId },
    Unlink { dir: NodeId, name: String, node: NodeId },
    Rename { from_dir: NodeId, from: String, to_dir: NodeId, to: String, node: NodeId },
}

impl Change {
    pub(super) fn file(&self) -> Option<NodeId> {
        match self {
            Self::Write { file, .. } | Self::Zero { file, .. } | Self::SetLen { file, .. } => Some(*file),
            _ => None,
        }
    }

    /// The places for names that this changes; for a rename the target first.
    fn slots(&self) -> Vec<(NodeId, &str)> {
        match self {
            Self::Link { dir, name, .. } | Self::Unlink { dir, name, .. } => vec![(*dir, name)],
            Self::Rename { from_dir, from, to_dir, to, .. } => vec![(*to_dir, to), (*from_dir, from)],
            _ => Vec::new(),
        }
    }

    /// The directory whose sync makes this durable: for a rename the target's.
    fn directory(&self) -> Option<NodeId> {
        self.slots().first().map(|slot| slot.0)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Tree {
    /// Shared between images: copying a tree copies no file.
    nodes: BTreeMap<NodeId, Arc<Node>>,
    pub(super) pending: Vec<Change>,
    next_node: NodeId,
}

impl Tree {
    pub(super) fn new() -> Self {
        let nodes = BTreeMap::from([(ROOT, Arc::new(Node::Dir(DirNode::default())))]);
        Self { nodes, pending: Vec::new(), next_node: ROOT + 1 }
    }

    pub(super) fn add_node(&mut self, node: Node) -> NodeId {
        let id = self.next_node;
        self.next_node += 1;
        self.nodes.insert(id, Arc::new(node));
        id
    }

    pub(super) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id).map(|node| &**node)
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(&id).map(Arc::make_mut)
    }

    /// Notes that a file was opened (`true`) or closed.
    pub(super) fn count_handle(&mut self, file: NodeId, opened: bool) {
        if let Some(Node::File(node)) = self.node_mut(file) {
            node.handle_count = if opened { node.handle_count + 1 } else { node.handle_count.saturating_sub(1) };
        }
    }

    /// A digest of every name that the process sees and what it leads to.
    pub(super) fn digest(&self) -> u128 {
        let mut hasher = Xxh3::new();
        self.digest_dir(ROOT, &mut hasher);
        hasher.digest128()
    }

    fn digest_dir(&self, dir: NodeId, hasher: &mut Xxh3) {
        let Some(Node::Dir(node)) = self.node(dir) else { return };
        for (name, id) in &node.live {
            hasher.update(name.as_bytes());
            match self.node(*id) {
                Some(Node::File(file)) => {
                    hasher.update(&[0, 1]);
                    hasher.update(&file.live.digest().to_le_bytes());
                }
                Some(Node::Dir(_)) => {
                    hasher.update(&[0, 2]);
                    self.digest_dir(*id, hasher);
                }
                None => hasher.update(&[0, 3]),
            }
        }
        hasher.update(&[0, 4]);
    }

    /// Makes a change visible now and durable when a sync covers it.
    pub(super) fn change(&mut self, change: Change) {
        self.apply(&change, Image::Live);
        self.pending.push(change);
    }

    /// Applies a change to one image. A change to a node that this image does not have does nothing.
    pub(super) fn apply(&mut self, change: &Change, image: Image) {
        match change {
            Change::Write { file, offset, bytes } => {
                self.with_content(*file, image, |content| content.write(bytes, *offset));
            }
            Change::Zero { file, offset, len } => {
                self.with_content(*file, image, |content| content.write_zeroes(*offset, *len));
            }
            Change::SetLen { file, len } => self.with_content(*file, image, |content| content.set_len(*len)),
            Change::Link { dir, name, node } => {
                self.with_names(*dir, image, |names| {
                    names.insert(name.clone(), *node);
                });
            }
            Change::Unlink { dir, name, node } => self.with_names(*dir, image, |names| unlink(names, name, *node)),
            Change::Rename { from_dir, from, to_dir, to, node } => {
                self.with_names(*from_dir, image, |names| unlink(names, from, *node));
                self.with_names(*to_dir, image, |names| {
                    names.insert(to.clone(), *node);
                });
            }
        }
    }

    pub(super) fn with_content(&mut self, file: NodeId, image: Image, f: impl FnOnce(&mut Content)) {
        if let Some(Node::File(node)) = self.node_mut(file) {
            f(match image {
                Image::Live => &mut node.live,
                Image::Durable => &mut node.durable,
            });
        }
    }

    fn with_names(&mut self, dir: NodeId, image: Image, f: impl FnOnce(&mut BTreeMap<String, NodeId>)) {
        if let Some(Node::Dir(node)) = self.node_mut(dir) {
            f(match image {
                Image::Live => &mut node.live,
                Image::Durable => &mut node.durable,
            });
        }
    }

    /// Makes a file's content durable.
    pub(super) fn sync_file(&mut self, file: NodeId) {
        for change in self.take_pending_of(file) {
            self.apply(&change, Image::Durable);
        }
        if let Some(Node::File(node)) = self.node_mut(file)
            && node.live.digest() == node.durable.digest()
        {
            // Images taken from here on share the pages.
            node.durable = node.live.clone();
        }
    }

    /// Forgets what a failed sync of a file was to make durable: the operating system has marked the pages
    /// clean and will not write them again. Reads go on showing them, or show what the disk has.
    pub(super) fn lose_writes(&mut self, file: NodeId, kept_in_cache: bool) {
        self.take_pending_of(file);
        if let (false, Some(Node::File(node))) = (kept_in_cache, self.node_mut(file)) {
            node.live = node.durable.clone();
        }
    }

    /// As [`Tree::lose_writes`], the cache kept, but `reaches` decides of each write whether it had reached the
    /// disk before the sync failed.
    pub(super) fn sync_some(&mut self, file: NodeId, mut reaches: impl FnMut() -> bool) {
        for change in self.take_pending_of(file) {
            if reaches() {
                self.apply(&change, Image::Durable);
            }
        }
    }

    fn take_pending_of(&mut self, file: NodeId) -> Vec<Change> {
        self.pending.extract_if(.., |change| change.file() == Some(file)).collect()
    }

    /// Makes the names in a directory durable, and whatever happened earlier to the same names: a rename into
    /// this directory takes the name out of the other one too.
    pub(super) fn sync_dir(&mut self, dir: NodeId) {
        let mut slots = BTreeSet::<(NodeId, String)>::new();
        let mut covered = vec![false; self.pending.len()];
        for (i, change) in self.pending.iter().enumerate().rev() {
            let touched = change.slots();
            let needed = touched.iter().any(|&(d, name)| slots.contains(&(d, name.to_owned())));
            if change.directory() == Some(dir) || needed {
                covered[i] = true;
                slots.extend(touched.into_iter().map(|(d, name)| (d, name.to_owned())));
            }
        }
        let mut covered = covered.into_iter();
        let synced: Vec<_> = self.pending.extract_if(.., |_| covered.next() == Some(true)).collect();
        for change in &synced {
            self.apply(change, Image::Durable);
        }
        self.drop_nameless();
    }

    /// The tree once the process is gone: nothing is open any more.
    pub(super) fn after_kill(&self) -> Self {
        let mut tree = self.clone();
        for node in tree.nodes.values_mut().filter(|node| is_open(node)) {
            if let Node::File(file) = Arc::make_mut(node) {
                file.handle_count = 0;
            }
        }
        tree.drop_nameless();
        tree
    }

    /// Takes the durable image as what the process sees, and forgets what no durable name leads to.
    pub(super) fn settle(&mut self) {
        for node in self.nodes.values_mut().filter(|node| !is_settled(node)) {
            match Arc::make_mut(node) {
                Node::File(file) => {
                    file.live = file.durable.clone();
                    file.handle_count = 0;
                }
                Node::Dir(dir) => dir.live = dir.durable.clone(),
            }
        }
        self.drop_nameless();
    }

    /// Forgets the nodes that no name leads to, no pending change could bring back and nobody has open.
    fn drop_nameless(&mut self) {
        let pending_nodes = self.pending.iter().filter_map(|change| match change {
            Change::Link { node, .. } | Change::Unlink { node, .. } | Change::Rename { node, .. } => Some(*node),
            _ => None,
        });
        let mut kept = self.reachable(pending_nodes.collect(), Image::Durable);
        kept.extend(self.reachable(Vec::new(), Image::Live));
        self.nodes.retain(|id, node| kept.contains(id) || is_open(node));
        let Self { nodes, pending, .. } = self;
        pending.retain(|change| change.file().is_none_or(|file| nodes.contains_key(&file)));
    }

    fn reachable(&self, mut next: Vec<NodeId>, image: Image) -> BTreeSet<NodeId> {
        let mut found = BTreeSet::new();
        next.push(ROOT);
        while let Some(id) = next.pop() {
            if found.insert(id)
                && let Some(Node::Dir(dir)) = self.node(id)
            {
                let names = if image == Image::Live { &dir.live } else { &dir.durable };
                next.extend(names.values());
            }
        }
        found
    }

    /// Room taken by every file that has a name or is open.
    pub(super) fn used_bytes(&self) -> u64 {
        let named = self.reachable(Vec::new(), Image::Live);
        let bytes = |(id, node): (&NodeId, &Arc<Node>)| match &**node {
            Node::File(file) if named.contains(id) || is_open(node) => file.live.allocated_bytes(),
            _ => 0,
        };
        self.nodes.iter().map(bytes).sum()
    }
}

fn is_open(node: &Node) -> bool {
    matches!(node, Node::File(file) if file.handle_count > 0)
}

/// Whether what the process sees is what the disk holds, and nobody has it open.
fn is_settled(node: &Node) -> bool {
    match node {
        Node::File(file) => file.handle_count == 0 && file.live.is_shared_with(&file.durable),
        Node::Dir(dir) => dir.live == dir.durable,
    }
}

fn unlink(names: &mut BTreeMap<String, NodeId>, name: &str, node: NodeId) {
    // Another file may have taken the name already, where a crash dropped what came between.
    if names.get(name) == Some(&node) {
        names.remove(name);
    }
}
