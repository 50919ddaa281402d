//! The configuration of the plugin, and its validation.

use serde::Deserialize;
use serde_json::Value;
use strait_plugin_sdk::{
    ConfigError, config_error,
    path::{Path, Step},
};

use crate::method::{Method, Pseudonym};

/// Minimum length of a secret. Shorter ones can be found by brute force.
const SECRET_BYTES_MIN: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    rules: Vec<RuleConfig>,
    #[serde(default)]
    pub shapes: Shapes,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shapes {
    #[default]
    Strict,
    Lenient,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleConfig {
    #[serde(default)]
    fields: Vec<String>,
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    header_prefixes: Vec<String>,
    #[serde(default)]
    key: bool,
    #[serde(default)]
    ignore_case: bool,
    with: With,
    keep: Option<usize>,
    mask: Option<char>,
    length: Option<usize>,
    secret: Option<String>,
    encoding: Option<Encoding>,
    prefix: Option<String>,
    value: Option<Value>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum With {
    Remove,
    Null,
    Mask,
    Truncate,
    Sha256,
    Hmac,
    Constant,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    Hex,
    Base64url,
}

/// A validated rule.
pub struct Rule {
    pub paths: Vec<Path>,
    /// Names as bytes, case-folded if the rule ignores case.
    pub headers: Vec<Vec<u8>>,
    pub header_prefixes: Vec<Vec<u8>>,
    pub key: bool,
    pub ignore_case: bool,
    pub method: Method,
}

impl Config {
    pub fn rules(self) -> Result<(Vec<Rule>, Shapes), Vec<ConfigError>> {
        let mut errors = Vec::new();
        let mut rules = Vec::new();
        for (index, rule) in self.rules.into_iter().enumerate() {
            rules.extend(rule.check(&format!("/rules/{index}"), &mut errors));
        }
        if rules.is_empty() && errors.is_empty() {
            errors.push(config_error("/rules", "there is no rule"));
        }
        if errors.is_empty() { Ok((rules, self.shapes)) } else { Err(errors) }
    }
}

impl RuleConfig {
    /// Validates the rule. Adds mistakes to `errors`, and returns `None` if there are any.
    fn check(self, at: &str, errors: &mut Vec<ConfigError>) -> Option<Rule> {
        let before = errors.len();
        let mut refuse = |place: &str, message: &str| errors.push(config_error(format!("{at}{place}"), message));
        if self.fields.is_empty() && self.headers.is_empty() && self.header_prefixes.is_empty() && !self.key {
            refuse("", "a rule needs fields, headers, header_prefixes or key = true");
        }
        if self.header_prefixes.iter().any(String::is_empty) {
            refuse("/header_prefixes", "an empty prefix would match every header");
        }
        let mut paths = Vec::new();
        for (index, path) in self.fields.iter().enumerate() {
            match redactable(path) {
                Ok(path) if self.ignore_case => paths.push(in_any_case(path)),
                Ok(path) => paths.push(path),
                Err(problem) => refuse(&format!("/fields/{index}"), &problem),
            }
        }
        for (place, given, belongs) in [
            ("/keep", self.keep.is_some(), With::Mask),
            ("/mask", self.mask.is_some(), With::Mask),
            ("/length", self.length.is_some(), With::Truncate),
            ("/secret", self.secret.is_some(), With::Hmac),
            ("/value", self.value.is_some(), With::Constant),
        ] {
            if given && self.with != belongs {
                refuse(place, "this setting belongs to another method than the one in 'with'");
            }
        }
        if !matches!(self.with, With::Sha256 | With::Hmac) {
            if self.encoding.is_some() {
                refuse("/encoding", "only sha256 and hmac have an encoding");
            }
            if self.prefix.is_some() {
                refuse("/prefix", "only sha256 and hmac have a prefix");
            }
        }
        let fold = |names: &[String]| -> Vec<Vec<u8>> {
            let name = |name: &String| if self.ignore_case { folded(name) } else { name.clone() };
            names.iter().map(|n| name(n).into_bytes()).collect()
        };
        let (headers, header_prefixes) = (fold(&self.headers), fold(&self.header_prefixes));
        let in_bytes = self.key || !headers.is_empty() || !header_prefixes.is_empty();
        let (key, ignore_case) = (self.key, self.ignore_case);
        let method = match self.method(in_bytes) {
            Ok(method) if key && !method.is_injective() => {
                refuse(
                    "/with",
                    "a key takes sha256 or hmac only: any other method would make different keys equal, and a compacted topic would lose records",
                );
                None
            }
            Ok(method) => Some(method),
            Err((place, message)) => {
                refuse(place, message);
                None
            }
        };
        if errors.len() > before {
            return None;
        }
        Some(Rule { paths, headers, header_prefixes, key, ignore_case, method: method? })
    }

    fn method(self, in_bytes: bool) -> Result<Method, (&'static str, &'static str)> {
        let pseudonym = Pseudonym {
            prefix: self.prefix.unwrap_or_default(),
            base64url: self.encoding == Some(Encoding::Base64url),
        };
        Ok(match self.with {
            With::Remove => Method::Remove,
            With::Null => Method::Null,
            With::Mask => Method::Mask { keep: self.keep.unwrap_or(0), mask: self.mask.unwrap_or('*') },
            With::Truncate => {
                Method::Truncate { length: self.length.ok_or(("", "truncate needs a length, in characters"))? }
            }
            With::Sha256 => Method::Sha256(pseudonym),
            With::Hmac => {
                let secret = self.secret.ok_or(("", "hmac needs a secret"))?;
                if secret.len() < SECRET_BYTES_MIN {
                    return Err(("/secret", "the secret has less than 16 bytes: it could be found by brute force"));
                }
                Method::hmac(secret.as_bytes(), pseudonym).ok_or(("/secret", "this secret cannot be used"))?
            }
            With::Constant => {
                let value = self.value.ok_or(("", "constant needs a value"))?;
                if in_bytes && !value.is_string() {
                    return Err(("/value", "a header takes a text"));
                }
                let bytes = value.as_str().unwrap_or_default().as_bytes().to_vec();
                Method::Constant { json: value.to_string().into_bytes(), bytes }
            }
        })
    }
}

/// Folds the case of a name, so that names that differ only in case become equal. Folds in both
/// directions, because some letters have two lower-case or two upper-case forms (ſ and s, ı and i,
/// K and k).
pub fn folded(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}

/// Folds the names in a path.
fn in_any_case(mut path: Path) -> Path {
    for step in &mut path.steps {
        if let Step::Name(name) | Step::Anywhere(name) = step {
            *name = folded(name);
        }
    }
    path
}

fn redactable(path: &str) -> Result<Path, String> {
    let path = Path::parse(path)?;
    let (_, before) = path.steps.split_last().ok_or("the path is empty")?;
    // The host passes only the outermost match of a ..name; below it, another one could hide.
    if before.iter().any(|step| matches!(step, Step::Anywhere(_))) {
        return Err("..name must be the last step: name the field itself, as in $..email".into());
    }
    Ok(path)
}
