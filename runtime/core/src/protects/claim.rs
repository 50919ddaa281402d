//! Claims: what a plugin says that it leaves of a place, in JSON.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::leaves::{Kept, Leaves, TokenKey};
use super::locator::Locator;
use crate::text::clean;

/// Maximum length of the claims of one plugin for one topic.
pub const CLAIMS_BYTES_MAX: usize = 64 << 10;
/// Maximum number of them.
pub const CLAIMS_MAX: usize = 1024;
/// Maximum length of a key id.
const KEY_ID_BYTES_MAX: usize = 32;
/// Maximum length of the name of a rule.
const RULE_BYTES_MAX: usize = 64;
/// Maximum length of a domain.
const DOMAIN_BYTES_MAX: usize = 512;

/// A claim. It is true of every record that the plugin lets pass.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The rule of the plugin that does it.
    pub rule: RuleId,
    /// The place: all that it names, and all inside of that.
    pub at: Locator,
    /// Places in it that the claim says nothing of. With them, the claim is an allow list.
    pub except: Vec<Locator>,
    /// The most that is left of each place.
    pub leaves: Leaves,
    /// The type of the value that stands in the place afterwards.
    pub gives: Option<Gives>,
    /// Names match in any case.
    pub fold: bool,
    /// Texts that are JSON themselves are part of the document. `None`: nobody looks into them.
    pub embedded: Option<Embedded>,
}

/// The operator's name of a rule, or eight hexadecimal digits of its digest. Never its index, which
/// changes when another rule is put before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RuleId(Arc<str>);

/// The type of the value that stands in the place afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gives {
    /// Neither the name nor a value.
    Absent,
    /// A null.
    Null,
    /// A string.
    String,
    /// A value of the same type.
    Same,
    /// Any JSON.
    Json,
}

/// The treatment of a text that is JSON itself and holds a place of the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Embedded {
    /// The record does not pass.
    Reject,
    /// The claim holds inside of the text.
    Redact,
}

/// Claims that cannot be read at all: a fault of the plugin.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// The text is too long.
    #[error("the claims have {0} bytes, {CLAIMS_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// There are too many.
    #[error("there are {0} claims, {CLAIMS_MAX} are allowed")]
    TooMany(usize),
    /// The text is not a JSON array.
    #[error("the claims are not a JSON array (line {line}, column {column})")]
    NotJson {
        /// Line of the mistake, from 1.
        line: usize,
        /// Column of the mistake.
        column: usize,
    },
}

/// A claim that is not made, since this version does not understand it, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmade {
    /// Its index in the array.
    pub index: usize,
    /// The reason.
    pub why: String,
}

/// A claim as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    rule: String,
    at: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    except: Vec<String>,
    leaves: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keep: Option<WrittenKeep>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gives: Option<Gives>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    fold: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    embedded: Option<Embedded>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKeep {
    #[serde(default)]
    first: u32,
    #[serde(default)]
    last: u32,
}

/// Reads the claims of a plugin: a JSON array of objects. One that has a member or a word that this
/// version does not know is not made: it may say less than the rest of it says.
///
/// # Errors
/// [`ClaimsError`].
pub fn read_claims(text: &str) -> Result<(Vec<Claim>, Vec<Unmade>), ClaimsError> {
    if text.len() > CLAIMS_BYTES_MAX {
        return Err(ClaimsError::TooLong(text.len()));
    }
    let list: Vec<&RawValue> = serde_json::from_str(text)
        .map_err(|error| ClaimsError::NotJson { line: error.line(), column: error.column() })?;
    if list.len() > CLAIMS_MAX {
        return Err(ClaimsError::TooMany(list.len()));
    }
    let (mut claims, mut unmade) = (Vec::new(), Vec::new());
    for (index, text) in list.into_iter().enumerate() {
        match Claim::read(text) {
            Ok(claim) => claims.push(claim),
            Err(why) => unmade.push(Unmade { index, why }),
        }
    }
    Ok((claims, unmade))
}

impl RuleId {
    /// Reads the name of a rule: 1 to 64 letters, digits, '-', '_' and '.'.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        (plain && (1..=RULE_BYTES_MAX).contains(&text.len())).then(|| Self(text.into()))
    }
}

impl std::fmt::Display for RuleId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Claim {
    /// Makes a claim that matches names as they are written and says nothing of texts that are
    /// JSON.
    #[must_use]
    pub fn new(rule: RuleId, at: Locator, leaves: Leaves) -> Self {
        Self { rule, at, except: Vec::new(), leaves, gives: None, fold: false, embedded: None }
    }

    pub(super) fn read(text: &RawValue) -> Result<Self, String> {
        let written: Written = serde_json::from_str(text.get()).map_err(|error| clean(&error.to_string(), 256))?;
        let rule = RuleId::parse(&written.rule);
        let rule = rule.ok_or("rule: 1 to 64 letters, digits, '-', '_' and '.' are expected")?;
        let locator = |text: &String| text.parse().map_err(|error| format!("{error}"));
        let at = locator(&written.at)?;
        let except = written.except.iter().map(locator).collect::<Result<Vec<Locator>, String>>()?;
        let leaves = leaves(&written)?;
        let Written { gives, fold, embedded, .. } = written;
        Ok(Self { rule, at, except, leaves, gives, fold, embedded })
    }

    fn written(&self) -> Written {
        let mut except: Vec<String> = self.except.iter().map(ToString::to_string).collect();
        except.sort_unstable();
        except.dedup();
        let mut written = Written {
            rule: self.rule.to_string(),
            at: self.at.to_string(),
            except,
            leaves: String::new(),
            keep: None,
            key: None,
            domain: None,
            gives: self.gives,
            fold: self.fold,
            embedded: self.embedded,
        };
        let word = match &self.leaves {
            Leaves::Nothing => "nothing",
            Leaves::Null => "null",
            Leaves::Constant => "constant",
            Leaves::Token(key) => {
                written.key = key.as_ref().map(|key| key.id.to_string());
                written.domain = key.as_ref().map(|key| key.domain.to_string());
                "token"
            }
            Leaves::Part(Kept { first, last }) => {
                written.keep = Some(WrittenKeep { first: *first, last: *last });
                "part"
            }
            Leaves::All => "all",
        };
        word.clone_into(&mut written.leaves);
        written
    }
}

impl Serialize for Claim {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written().serialize(serializer)
    }
}

fn leaves(written: &Written) -> Result<Leaves, String> {
    let Written { keep, key, domain, .. } = written;
    let leaves = match written.leaves.as_str() {
        "nothing" => Leaves::Nothing,
        "null" => Leaves::Null,
        "constant" => Leaves::Constant,
        "token" => Leaves::Token(token_key(key.as_ref(), domain.as_ref())?),
        "part" => {
            let WrittenKeep { first, last } = keep.as_ref().ok_or("a part needs keep")?;
            Leaves::Part(Kept { first: *first, last: *last })
        }
        "all" => Leaves::All,
        other => return Err(format!("leaves: '{}' is not known", clean(other, 64))),
    };
    if keep.is_some() && !matches!(leaves, Leaves::Part(_)) {
        return Err("keep belongs to a part".to_owned());
    }
    if (key.is_some() || domain.is_some()) && !matches!(leaves, Leaves::Token(_)) {
        return Err("key and domain belong to a token".to_owned());
    }
    Ok(leaves)
}

fn token_key(key: Option<&String>, domain: Option<&String>) -> Result<Option<TokenKey>, String> {
    let (id, domain) = match (key, domain) {
        (None, None) => return Ok(None),
        (Some(id), Some(domain)) => (id, domain),
        _ => return Err("key and domain belong together".to_owned()),
    };
    let plain = id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !plain || !(1..=KEY_ID_BYTES_MAX).contains(&id.len()) {
        return Err("key: 1 to 32 lower-case letters, digits and '-' are expected".to_owned());
    }
    if !(1..=DOMAIN_BYTES_MAX).contains(&domain.len()) {
        return Err("domain: 1 to 512 bytes are expected".to_owned());
    }
    Ok(Some(TokenKey { id: id.as_str().into(), domain: domain.as_str().into() }))
}
