//! Machine code of plugins, cached from one run to the next in a private folder: to compile a large
//! guest takes seconds.
//!
//! A cached file is trusted code: whoever can write it runs in this process. So it is written and
//! read here only, never in the plugin directory, and only while folder and file belong to this
//! process's user alone.

use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::api::Interface;
use crate::text::hex;

/// Files in the folder; the oldest are removed first.
const FILES_MAX: usize = 64;
/// Largest file that is read: code is several times larger than its Wasm.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Bytes of all files; the oldest are removed first, the newest stays. An interpreter has about
/// 40 MB.
const FOLDER_BYTES_MAX: u64 = 2 << 30;
const DIGEST_BYTES: usize = 32;
const EXTENSION: &str = "code";

/// The cache; without a folder it is always empty.
#[derive(Debug, Default)]
pub(crate) struct CompiledCache {
    folder: Option<Private>,
}

/// A folder that only this user can access.
#[derive(Debug)]
struct Private {
    path: PathBuf,
    user: u32,
}

impl CompiledCache {
    /// Creates the folder. A folder that others can write is not used, with a warning.
    pub(crate) fn open(path: Option<&Path>) -> Self {
        let Some(path) = path else { return Self::default() };
        match Private::open(path) {
            Ok(folder) => Self { folder: Some(folder) },
            Err(error) => {
                tracing::warn!(
                    folder = %path.display(),
                    %error,
                    "compiled plugins are not kept for the next start; give the folder to Strait's user alone (mode 0700), or set state_dir"
                );
                Self::default()
            }
        }
    }

    /// Returns a plugin's file as it was compiled before. Code with any problem is ignored, and the
    /// file is compiled again.
    pub(crate) fn get(&self, engine: &Engine, file: &[u8]) -> Option<Component> {
        let folder = self.folder.as_ref()?;
        let path = folder.path.join(file_name(engine, file));
        let code = match folder.read(&path) {
            Ok(code) => code,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "a compiled plugin is not used and is compiled again");
                return None;
            }
        };
        match deserialize(engine, &code) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(file = %path.display(), error = format!("{error:#}"), "a compiled plugin is compiled again");
                None
            }
        }
    }

    /// Writes the machine code of a plugin's file. A failure is logged, not returned.
    pub(crate) fn put(&self, engine: &Engine, file: &[u8], code: &[u8]) {
        let Some(folder) = &self.folder else { return };
        let path = folder.path.join(file_name(engine, file));
        if let Err(error) = folder.write(&path, code) {
            tracing::warn!(file = %path.display(), %error, "a compiled plugin cannot be kept for the next start");
        }
    }
}

/// Returns a name that depends on the plugin's file, the compiler and its settings.
fn file_name(engine: &Engine, file: &[u8]) -> String {
    let mut settings = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut settings);
    // A core module is made a component on the way, by this version and for one of these
    // interfaces.
    (env!("CARGO_PKG_VERSION"), Interface::ALL.map(Interface::wit)).hash(&mut settings);
    format!("{}-{:016x}.{EXTENSION}", hex(&Sha256::digest(file)), settings.finish())
}

/// Loads machine code from the cache or from the compiler.
#[allow(unsafe_code, reason = "wasmtime has no safe way to take machine code that was compiled before")]
pub(super) fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes must come from `Engine::precompile_component` unchanged. They have two
    // origins. One is that call itself, in this process or in one that this process has started
    // from its own program for nothing else; its answer comes through a pipe that no other process
    // holds, and its digest shows that it is whole. A guest that takes the compiler over there
    // could as well do so here. The other is `Private::read`: a file in a folder of mode 0700 that
    // belongs to this process's user, itself owned by that user and closed to all others. Only
    // `Private::write` writes it, from the first origin, and its digest shows that it is whole.
    // Whoever could forge it could as well change this program. wasmtime compares the version and
    // the settings of the engine.
    unsafe { Component::deserialize(engine, code) }
}

impl Private {
    fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        // The owner of a new file is the user as which this process writes.
        let user = tempfile::tempfile_in(path)?.metadata()?.uid();
        let folder = Self { path: path.to_owned(), user };
        folder.check(&fs::symlink_metadata(path)?)?;
        Ok(folder)
    }

    /// Checks that nobody else can have written it.
    fn check(&self, metadata: &fs::Metadata) -> io::Result<()> {
        if metadata.file_type().is_symlink() {
            return Err(io::Error::other("it is a symbolic link"));
        }
        if metadata.uid() != self.user {
            return Err(io::Error::other("it belongs to another user"));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(io::Error::other("others may read or write it"));
        }
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.check(&fs::symlink_metadata(&self.path)?)?;
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        self.check(&metadata)?;
        if metadata.len() > FILE_BYTES_MAX {
            return Err(io::Error::other("it is too large"));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let code = bytes.split_off(DIGEST_BYTES.min(bytes.len()));
        if *bytes != *Sha256::digest(&code) {
            return Err(io::Error::other("it is not whole"));
        }
        Ok(code)
    }

    fn write(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        // A temporary file of mode 0600: another engine may write the same component at this
        // moment.
        let mut aside = NamedTempFile::new_in(&self.path)?;
        aside.write_all(&Sha256::digest(code))?;
        aside.write_all(code)?;
        aside.persist(path)?;
        self.bound(FOLDER_BYTES_MAX)
    }

    fn bound(&self, bytes_max: u64) -> io::Result<()> {
        let mut files: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == EXTENSION) {
                let Some(metadata) = present(entry.metadata())? else { continue };
                files.push((metadata.modified()?, entry.path(), metadata.len()));
            }
        }
        files.sort();
        let mut bytes = 0_u64;
        for (newer, (_, path, len)) in files.iter().rev().enumerate() {
            bytes = bytes.saturating_add(*len);
            if newer > 0 && (newer >= FILES_MAX || bytes > bytes_max) {
                present(fs::remove_file(path))?;
            }
        }
        Ok(())
    }
}

/// Returns `None` where another engine has removed the file.
fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn engines_that_share_a_folder_do_not_get_into_each_others_way() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("compiled");
        let engine = Engine::default();
        let wasm = |n: usize| wat::parse_str(format!("(component (core module (func (export \"f{n}\"))))")).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (folder, engine, wasm) = (&folder, &engine, &wasm);
                scope.spawn(move || {
                    for round in 0..50 {
                        let cache = CompiledCache::open(Some(folder));
                        // The folder is fine although another engine removes the probe.
                        let private = cache.folder.as_ref().unwrap();
                        let own = wasm(thread * 50 + round);
                        let component = Component::from_binary(engine, &own).unwrap();
                        for bytes in [&own, &wasm(0)] {
                            let path = private.path.join(file_name(engine, bytes));
                            private.write(&path, &component.serialize().unwrap()).unwrap();
                        }
                    }
                });
            }
        });
        assert!(fs::read_dir(&folder).unwrap().count() <= FILES_MAX + 4);
    }

    #[test]
    fn code_comes_back_only_from_a_private_folder_and_only_whole() {
        let state = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let wasm = wat::parse_str("(component (core module (func (export \"f\"))))").unwrap();
        let component = Component::from_binary(&engine, &wasm).unwrap();
        let folder = state.path().join("compiled");
        let cache = CompiledCache::open(Some(&folder));
        assert!(cache.get(&engine, &wasm).is_none());
        cache.put(&engine, &wasm, &component.serialize().unwrap());
        assert!(cache.get(&engine, &wasm).is_some());
        // Other bytes, or another compiler, have another file.
        assert!(cache.get(&engine, b"other").is_none());
        let other = Engine::new(wasmtime::Config::new().epoch_interruption(true)).unwrap();
        assert_ne!(file_name(&engine, &wasm), file_name(&other, &wasm));

        let path = folder.join(file_name(&engine, &wasm));
        let whole = fs::read(&path).unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        mode(&path, 0o622);
        assert!(cache.get(&engine, &wasm).is_none(), "a file that others may write was taken");
        mode(&path, 0o600);
        fs::write(&path, whole.split_last().unwrap().1).unwrap();
        assert!(cache.get(&engine, &wasm).is_none(), "half a file was taken");
        fs::write(&path, &whole).unwrap();
        assert!(cache.get(&engine, &wasm).is_some());
        mode(&folder, 0o770);
        assert!(cache.get(&engine, &wasm).is_none(), "a folder that others may write was used");
        assert!(CompiledCache::open(Some(&folder)).folder.is_none());
        mode(&folder, 0o700);
        for at in 0..FILES_MAX {
            fs::write(folder.join(format!("{at}.{EXTENSION}")), b"").unwrap();
        }
        cache.put(&engine, &wasm, &component.serialize().unwrap());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), FILES_MAX);
        // The newest file stays even if it alone exceeds the bound.
        cache.folder.as_ref().unwrap().bound(1).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        assert!(cache.get(&engine, &wasm).is_some());
    }
}
