//! The paths that one pass looks for: those of one plugin, or those of a whole chain.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::path::Path;

/// Fields of one plugin.
pub(crate) const FIELDS_MAX: usize = 64;
/// Paths of one pass: one bit each in an u128.
const PATHS_MAX: usize = 128;

/// Paths that one pass looks for.
#[derive(Debug, Default)]
pub(crate) struct PathSet {
    /// Tells sets apart; what was read with another one is read again.
    pub(crate) id: u64,
    pub(crate) paths: Vec<Path>,
    /// Whether anyone wants to know which concrete path matched.
    pub(crate) pointers: bool,
    /// Whether anyone edits fields.
    pub(crate) edits: bool,
}

/// How one plugin sees a set: its fields, in its own order, and the paths that they are in the set.
#[derive(Clone, Debug)]
pub(crate) struct Lens {
    pub(crate) set: Arc<PathSet>,
    pub(crate) fields: Vec<u8>,
    /// The same as bits.
    pub(crate) mask: u128,
}

impl PathSet {
    fn new(paths: Vec<Path>, pointers: bool, edits: bool) -> Self {
        static SETS: AtomicU64 = AtomicU64::new(1);
        Self { id: SETS.fetch_add(1, Ordering::Relaxed), paths, pointers, edits }
    }

    #[inline]
    pub(crate) fn path(&self, number: u8) -> Option<&Path> {
        self.paths.get(usize::from(number))
    }
}

impl Lens {
    /// A set of one plugin's own fields.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn new(fields: &[String], pointers: bool, edits: bool) -> Result<Self, String> {
        if fields.len() > FIELDS_MAX {
            return Err(format!("it asks for {} fields, {FIELDS_MAX} are allowed", fields.len()));
        }
        let mut paths = Vec::new();
        for field in fields {
            let path = Path::parse(field).map_err(|e| e.to_string())?;
            if paths.contains(&path) {
                return Err(format!("it asks for the field '{}' twice", crate::text::clean(field, 128)));
            }
            paths.push(path);
        }
        Ok(Self::over(Arc::new(PathSet::new(paths.clone(), pointers, edits)), &paths))
    }

    fn over(set: Arc<PathSet>, own: &[Path]) -> Self {
        let number = |path: &Path| set.paths.iter().position(|p| p == path).and_then(|n| u8::try_from(n).ok());
        let fields: Vec<u8> = own.iter().filter_map(number).collect();
        let mask = fields.iter().fold(0, |mask, path| mask | 1_u128 << path);
        Self { set, fields, mask }
    }
}

/// Lets the plugins of a chain share one pass: in place of each one's own lens, one over the paths of all. Where only one
/// reads fields, or they have too many, each keeps its own.
pub(crate) fn share(own: &[Option<&Lens>]) -> Vec<Option<Lens>> {
    let as_they_are = || own.iter().map(|lens| lens.cloned()).collect();
    if own.iter().flatten().count() < 2 {
        return as_they_are();
    }
    let mut paths: Vec<Path> = Vec::new();
    for path in own.iter().flatten().flat_map(|lens| &lens.set.paths) {
        if !paths.contains(path) {
            paths.push(path.clone());
        }
    }
    if paths.len() > PATHS_MAX {
        return as_they_are();
    }
    let any = |what: fn(&PathSet) -> bool| own.iter().flatten().any(|lens| what(&lens.set));
    let set = Arc::new(PathSet::new(paths, any(|set| set.pointers), any(|set| set.edits)));
    own.iter().map(|lens| lens.map(|lens| Lens::over(set.clone(), &lens.set.paths))).collect()
}
