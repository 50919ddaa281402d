//! The paths of one pass, of one plugin or of a whole chain, and each plugin's view of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::path::Path;

/// Maximum number of fields of one plugin.
pub(crate) const FIELDS_MAX: usize = 64;
/// Maximum number of paths of one pass: one bit each in an u128.
const PATHS_MAX: usize = 128;

/// Paths that one pass looks for.
#[derive(Debug, Default)]
pub(crate) struct PathSet {
    /// Identifies the set; a value that was read with another set is read again.
    pub(crate) id: u64,
    pub(crate) paths: Vec<Path>,
    /// Whether a plugin asks which concrete path matched.
    pub(crate) pointers: bool,
    /// Whether a plugin edits fields.
    pub(crate) edits: bool,
    /// The paths of plugins that are told of values which a path cannot step into, as bits.
    pub(crate) strict: u128,
}

/// One plugin's view of a path set: its fields in its own order, as indexes into the set.
#[derive(Clone, Debug)]
pub(crate) struct Lens {
    pub(crate) set: Arc<PathSet>,
    pub(crate) fields: Vec<u8>,
    /// The fields as bits.
    pub(crate) mask: u128,
    /// Something that a path cannot step into is a state of the value, and no missing field.
    pub(crate) strict: bool,
}

impl PathSet {
    fn new(paths: Vec<Path>, pointers: bool, edits: bool, is_strict: impl Fn(&Path) -> bool) -> Self {
        static SETS: AtomicU64 = AtomicU64::new(1);
        let strict = paths.iter().zip(0..).filter(|(path, _)| is_strict(path));
        let strict = strict.fold(0, |bits, (_, number)| bits | 1_u128 << number);
        Self { id: SETS.fetch_add(1, Ordering::Relaxed), paths, pointers, edits, strict }
    }

    #[inline]
    pub(crate) fn path(&self, number: u8) -> Option<&Path> {
        self.paths.get(usize::from(number))
    }
}

impl Lens {
    /// Makes a set of one plugin's fields.
    ///
    /// # Errors
    /// The field that is not valid, and why.
    pub(crate) fn new(fields: &[String], pointers: bool, edits: bool, strict: bool) -> Result<Self, String> {
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
        Ok(Self::over(Arc::new(PathSet::new(paths.clone(), pointers, edits, |_| strict)), &paths, strict))
    }

    fn over(set: Arc<PathSet>, own: &[Path], strict: bool) -> Self {
        let number = |path: &Path| set.paths.iter().position(|p| p == path).and_then(|n| u8::try_from(n).ok());
        let fields: Vec<u8> = own.iter().filter_map(number).collect();
        let mask = fields.iter().fold(0, |mask, path| mask | 1_u128 << path);
        Self { set, fields, mask, strict }
    }
}

/// Lets the plugins of a chain share one pass: returns lenses over the paths of all. If only one
/// reads fields, or there are too many paths, each keeps its own.
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
    let is_strict = |path: &Path| own.iter().flatten().any(|lens| lens.strict && lens.set.paths.contains(path));
    let set = Arc::new(PathSet::new(paths, any(|set| set.pointers), any(|set| set.edits), is_strict));
    let over = |lens: &Lens| Lens::over(Arc::clone(&set), &lens.set.paths, lens.strict);
    own.iter().map(|lens| lens.map(over)).collect()
}
