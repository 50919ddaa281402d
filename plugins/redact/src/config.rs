//! The configuration of the plugin, and its validation.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use strait_plugin_sdk::{
    ConfigError, config_error,
    path::{Path, Quoted, Step},
};
use strait_scheme::pseudonym::{Encoding, Key, is_key_id, key_id};

use crate::method::{Method, Pseudonym};

/// Minimum length of a secret. Shorter ones can be found by brute force.
const SECRET_BYTES_MIN: usize = 16;
/// Maximum length of the id of a rule.
const ID_BYTES_MAX: usize = 64;
/// Maximum length of a domain.
const DOMAIN_BYTES_MAX: usize = 512;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    rules: Vec<RuleConfig>,
    pub keep_only: Option<Vec<String>>,
    #[serde(default)]
    pub shapes: Shapes,
    pub embedded: Option<Embedded>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shapes {
    #[default]
    Strict,
    Lenient,
}

/// The treatment of a text that is JSON itself and holds a field that a rule names.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Embedded {
    /// The record does not pass.
    Reject,
    /// The field is redacted inside of the text.
    Redact,
}

impl Embedded {
    /// Returns the word in the configuration and in claims.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Redact => "redact",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleConfig {
    id: Option<String>,
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
    domain: Option<String>,
    key_id: Option<String>,
    show_key_id: Option<bool>,
    encoding: Option<EncodingName>,
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
enum EncodingName {
    Hex,
    Base64url,
}

/// A validated rule.
pub struct Rule {
    /// The operator's name for it, or eight digits of a digest.
    pub id: String,
    /// The members of its claims that say how much it leaves.
    pub leaves: Map<String, Value>,
    pub paths: Vec<Path>,
    /// Names as bytes, case-folded if the rule ignores case.
    pub headers: Vec<Vec<u8>>,
    pub header_prefixes: Vec<Vec<u8>>,
    pub key: bool,
    pub ignore_case: bool,
    pub method: Method,
}

impl Config {
    pub fn rules(self) -> Result<Vec<Rule>, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let mut rules = Vec::new();
        for (index, rule) in self.rules.into_iter().enumerate() {
            rules.extend(rule.check(&format!("/rules/{index}"), &mut errors));
        }
        if rules.is_empty() && errors.is_empty() && self.keep_only.is_none() {
            errors.push(config_error("/rules", "there is no rule"));
        }
        if (self.keep_only.is_some() || self.embedded.is_some()) && self.shapes == Shapes::Lenient {
            let message =
                "a value of another shape would pass with all that it holds: keep_only and embedded need strict";
            errors.push(config_error("/shapes", message));
        }
        if errors.is_empty() { Ok(rules) } else { Err(errors) }
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
        let is_id = |id: &String| {
            let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
            plain && (1..=ID_BYTES_MAX).contains(&id.len())
        };
        if self.id.as_ref().is_some_and(|id| !is_id(id)) {
            refuse("/id", "an id is 1 to 64 letters, digits, '-', '_' and '.'");
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
            ("/domain", self.domain.is_some(), With::Hmac),
            ("/key_id", self.key_id.is_some(), With::Hmac),
            ("/show_key_id", self.show_key_id.is_some(), With::Hmac),
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
        let (key, ignore_case, id) = (self.key, self.ignore_case, self.id.clone());
        let hmac_key = self.hmac_key();
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
        let method = method?;
        let leaves = method.leaves(hmac_key.as_ref().map(|(id, domain)| (id.as_str(), domain.as_str())));
        let rule = Rule { id: String::new(), leaves, paths, headers, header_prefixes, key, ignore_case, method };
        Some(Rule { id: id.unwrap_or_else(|| rule.digest()), ..rule })
    }

    fn method(self, in_bytes: bool) -> Result<Method, (&'static str, &'static str)> {
        Ok(match self.with {
            With::Remove => Method::Remove,
            With::Null => Method::Null,
            With::Mask => Method::Mask { keep: self.keep.unwrap_or(0), mask: self.mask.unwrap_or('*') },
            With::Truncate => {
                Method::Truncate { length: self.length.ok_or(("", "truncate needs a length, in characters"))? }
            }
            With::Sha256 => Method::Sha256(self.pseudonym(String::new())),
            With::Hmac => self.hmac()?,
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

    /// Returns the id of the secret and the domain, where the rule has both. The id is the derived
    /// one: a name that the operator gives stays while the secret changes.
    fn hmac_key(&self) -> Option<(String, String)> {
        let secret = self.secret.as_ref()?;
        let id = key_id(secret.as_bytes());
        Some((id, self.domain.clone().or_else(|| self.only_place())?))
    }

    fn hmac(self) -> Result<Method, (&'static str, &'static str)> {
        let secret = self.secret.as_ref().ok_or(("", "hmac needs a secret"))?;
        if secret.len() < SECRET_BYTES_MIN {
            return Err(("/secret", "the secret has less than 16 bytes: it could be found by brute force"));
        }
        if self.domain.as_ref().is_some_and(|domain| !(1..=DOMAIN_BYTES_MAX).contains(&domain.len())) {
            return Err(("/domain", "a domain has 1 to 512 bytes"));
        }
        if self.key_id.as_ref().is_some_and(|id| !is_key_id(id)) {
            return Err(("/key_id", "a key id is 1 to 32 lower-case letters, digits and '-'"));
        }
        let domain = self.domain.clone().or_else(|| self.only_place()).ok_or((
            "",
            "a rule with several places needs a domain, such as domain = \"customer\": rules of one domain and one secret give the same content the same pseudonym, others do not",
        ))?;
        let id = || self.key_id.clone().unwrap_or_else(|| key_id(secret.as_bytes()));
        let shown = if self.show_key_id == Some(true) { format!("{}.", id()) } else { String::new() };
        let key = Key::derive(secret.as_bytes(), &domain);
        Ok(Method::Hmac(Box::new(key), self.pseudonym(shown)))
    }

    fn pseudonym(&self, key_id: String) -> Pseudonym {
        let encoding = match self.encoding {
            Some(EncodingName::Base64url) => Encoding::Base64Url,
            Some(EncodingName::Hex) | None => Encoding::Hex,
        };
        Pseudonym { prefix: self.prefix.clone().unwrap_or_default() + &key_id, encoding }
    }

    /// Returns the locator of the place that the rule names, if it names one only.
    fn only_place(&self) -> Option<String> {
        let field = |path: &String| Path::parse(path).map_or_else(|_| path.clone(), |path| format!("value{path}"));
        let mut places: Vec<String> = self.fields.iter().map(field).collect();
        places.extend(self.headers.iter().map(|name| format!("header[{}]", Quoted(name))));
        places.extend(self.header_prefixes.iter().map(|prefix| format!("header[{}*]", Quoted(prefix))));
        places.extend(self.key.then(|| "key".to_owned()));
        places.sort_unstable();
        places.dedup();
        places.pop().filter(|_| places.is_empty())
    }
}

impl Rule {
    /// Returns a name that stays the same wherever the rule stands in the list.
    fn digest(&self) -> String {
        let texts = |names: &[Vec<u8>]| -> Vec<String> {
            names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
        };
        let paths: Vec<String> = self.paths.iter().map(ToString::to_string).collect();
        let all = json!({
            "fields": paths,
            "headers": texts(&self.headers),
            "header_prefixes": texts(&self.header_prefixes),
            "key": self.key,
            "ignore_case": self.ignore_case,
            "leaves": self.leaves,
        });
        strait_scheme::rule_id(all.to_string().as_bytes()).unwrap_or_default()
    }
}

/// Folds the case of a name, so that names that differ only in case become equal. Folds in both
/// directions, because some letters have two lower-case or two upper-case forms (ſ and s, ı and i,
/// K and k); twice, because ẞ first becomes ß and then ss; and character by character, because the
/// lower case of a final Σ would differ within a longer name.
pub fn folded(name: &str) -> String {
    let once =
        |name: &str| -> String { name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect() };
    once(&once(name))
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
