//! The description that a plugin gives of itself, checked.

use serde::Serialize;
use strait_core::edit::{HOST_CODES, is_host_code};

use crate::api::effects::{EFFECT_NAMES, effect_names};
use crate::api::options;
use crate::api::v0_2::exports::strait::plugin::transform::About;
use crate::error::LoadProblem;
use crate::text::clean;

/// Bytes of a reject code: codes go into headers and metrics.
const CODE_BYTES_MAX: usize = 64;
const CODES_MAX: usize = 256;

/// The description that a plugin gives of itself (`describe`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// Name, from its author.
    pub name: String,
    /// Version, from its author.
    pub version: String,
    /// Description in one sentence.
    pub description: String,
    /// JSON Schema of its configuration; empty where it has none.
    pub config_schema: String,
    /// The effects that it may ever ask for, as bits of the interface.
    #[serde(skip)]
    pub effects: u32,
    /// The effects by name.
    #[serde(rename = "effects")]
    pub effect_names: Vec<&'static str>,
    /// Records that it cannot judge must not pass.
    pub fails_closed: bool,
    /// Codes of its rejects.
    pub reject_codes: Vec<String>,
}

impl Manifest {
    pub(crate) fn check(about: About) -> Result<Self, LoadProblem> {
        let bad = |message: String| Err(LoadProblem::BadManifest(message));
        if about.name.is_empty() || about.name.len() > 128 {
            return bad("the name must have 1 to 128 bytes".into());
        }
        let unknown = about.effects >> EFFECT_NAMES.len();
        if unknown != 0 {
            return bad(format!("effects {:#b} holds bits that this host does not know", about.effects));
        }
        if about.reject_codes.len() > CODES_MAX {
            return bad(format!("at most {CODES_MAX} reject codes are allowed"));
        }
        about.reject_codes.iter().try_for_each(|code| check_name(code))?;
        options::check(&about.options, &[]).map_err(LoadProblem::BadManifest)?;
        if let Some(code) = about.reject_codes.iter().find(|code| is_host_code(code)) {
            return bad(format!(
                "reject code '{code}' begins as one that only the host gives ({}): choose another",
                HOST_CODES.join(", ")
            ));
        }
        Ok(Self {
            name: clean(&about.name, 128),
            version: clean(&about.version, 128),
            description: clean(&about.description, 1024),
            config_schema: about.config_schema,
            effects: about.effects,
            effect_names: effect_names(about.effects),
            fails_closed: about.fails_closed,
            reject_codes: about.reject_codes,
        })
    }
}

/// Checks the name of a counter or reject code.
pub(super) fn check_name(name: &str) -> Result<(), LoadProblem> {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !name.is_empty() && name.len() <= CODE_BYTES_MAX && plain {
        return Ok(());
    }
    Err(LoadProblem::BadManifest(format!(
        "'{}' is not a name of a counter or reject code: 1 to {CODE_BYTES_MAX} letters, digits, '-', '_' and '.'",
        clean(name, CODE_BYTES_MAX)
    )))
}
