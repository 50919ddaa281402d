//! `strait plugin keygen`, `sign` and `verify`: signatures of plugins' files, without a network or
//! a running process.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rand::TryRng;
use rand::rngs::SysRng;
use strait_host::{
    OtherSigners, PrivateKey, PublicKey, Vouched, digest_of, inspect, read_file, signature_path, verify_file,
};

use super::plugin::{Refusal, runner};
use super::{End, print};
use crate::cli::ConfigFile;
use crate::load::{self, Environment};

/// Largest private key file, in bytes. It is one short line.
const KEY_BYTES_MAX: usize = 4096;
/// Largest plugin file, in bytes.
const PLUGIN_BYTES_MAX: usize = 64 << 20;

/// Creates a key pair.
#[must_use]
pub fn keygen(file: &Path) -> End {
    ended(make(file).map(|public| {
        format!(
            "{public}\n\nThe private key is in {}, which nobody else may read: keep it off the machines that run links.\n\
             Put the line above into trusted_plugin_keys of the configuration.",
            file.display()
        )
    }))
}

/// Signs a plugin's file.
#[must_use]
pub fn sign(key: &Path, file: &Path) -> End {
    ended(vouch(key, file))
}

/// Verifies the signature of a plugin's file.
#[must_use]
pub fn verify(file: &Path, trust: &[String], config: &ConfigFile) -> End {
    ended(judge(file, trust, config))
}

fn ended(result: Result<String, impl Into<Refusal>>) -> End {
    match result {
        Ok(text) => print(&text),
        Err(refusal) => refusal.into().told(),
    }
}

fn make(file: &Path) -> Result<PublicKey, String> {
    let mut seed = [0; 32];
    SysRng.try_fill_bytes(&mut seed).map_err(|error| format!("no random numbers: {error}"))?;
    let key = PrivateKey::from_random(seed)?;
    let name = file.display();
    // Created with its mode, so that others can never read it, and never over another key.
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let mut created = created.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => format!("{name} is there already: name another file, or move it away"),
        _ => format!("{name} cannot be made: {error}"),
    })?;
    let written = created.write_all(key.to_file().as_bytes()).and_then(|()| created.sync_all());
    written.map_err(|error| format!("{name} cannot be written: {error}"))?;
    Ok(key.public())
}

fn vouch(key: &Path, file: &Path) -> Result<String, Refusal> {
    let key = private_key(key)?;
    let bytes = read(file, PLUGIN_BYTES_MAX).map_err(|error| Refusal::unusable(&error))?;
    let info = inspect(&runner::engine()?, file).map_err(|error| Refusal::unusable(&error))?;
    if info.digest != digest_of(&bytes) {
        return Err(format!("{} changed while it was read: sign it again", file.display()).into());
    }
    let (plugin, version) = (file.file_stem().unwrap_or_default().to_string_lossy(), &info.manifest.version);
    let line = key.sign(&plugin, version, &bytes).map_err(|reason| format!("{}: {reason}", file.display()))?;
    let path = signature_path(file);
    let name = path.display();
    let others = OtherSigners::of(file, &key.public(), &bytes);
    let others = others.map_err(|error| format!("{}: {error}; move that file away first", file.display()))?;
    // Written whole or not at all, as a link may read it at any moment.
    let aside = path.with_extension(format!("sig.{}", std::process::id()));
    let written = fs::write(&aside, others.lines + &line).and_then(|()| fs::rename(&aside, &path));
    written.map_err(|error| format!("{name} cannot be written: {error}"))?;
    let outdated = others.outdated.iter();
    let outdated =
        outdated.map(|signer| format!("\nthe signature of {signer} is not for these bytes: have it signed again"));
    Ok(format!(
        "{name}: signed by {} as {plugin}, version {version}{}\n{} {}",
        key.public(),
        outdated.collect::<String>(),
        info.digest,
        file.display()
    ))
}

fn private_key(file: &Path) -> Result<PrivateKey, String> {
    let name = file.display();
    let mode = fs::metadata(file).map_err(|error| format!("{name} cannot be read: {error}"))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(format!(
            "{name} has mode {:04o}: others can read or change this private key; chmod 600 it, and think of it as known if they could",
            mode & 0o7777
        ));
    }
    let text = String::from_utf8(read(file, KEY_BYTES_MAX)?);
    let text = text.map_err(|_| format!("{name} is not a private key as strait plugin keygen writes it"))?;
    PrivateKey::from_file(&text).map_err(|reason| format!("{name}: {reason}"))
}

fn judge(file: &Path, trust: &[String], config: &ConfigFile) -> Result<String, String> {
    let written = if trust.is_empty() {
        let keys = load::trusted_plugin_keys(&config.file, &Environment::of_process());
        keys.map_err(|error| error.to_string())?
    } else {
        trust.to_vec()
    };
    if written.is_empty() {
        return Err(format!(
            "no key to trust: {} names no trusted_plugin_keys, and no --trust was given",
            config.file.display()
        ));
    }
    let mut keys = Vec::new();
    for text in &written {
        keys.push(PublicKey::parse(text).map_err(|reason| format!("'{text}': {reason}"))?);
    }
    let bytes = read(file, PLUGIN_BYTES_MAX)?;
    let Vouched { signer, version } =
        verify_file(file, &bytes, &keys).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(format!("{}: good, signed by {signer} for version {version}\n{}", file.display(), digest_of(&bytes)))
}

fn read(file: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
    read_file(file, bytes_max).map_err(|error| format!("{} cannot be read: {error}", file.display()))
}
