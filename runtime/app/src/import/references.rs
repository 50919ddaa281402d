//! References to secrets: Kafka's config providers, and Strait's own.

/// Translates the references in a value.
///
/// # Errors
/// Why a reference has no counterpart. It is quoted.
pub fn translate(value: &str) -> Result<String, String> {
    translated(value, |reference| format!("${{{reference}}}"))
}

/// Translates the references in a secret.
///
/// # Errors
/// As [`translate`], without a part of the value: it may be one of the secret.
pub fn translate_secret(value: &str) -> Result<String, String> {
    translated(value, |_| "a reference in it".to_owned())
}

fn translated(value: &str, shown: impl Fn(&str) -> String) -> Result<String, String> {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((reference, tail)) = after.split_once('}') else { break };
        out.push_str(before);
        match reference.contains(':') {
            true => out.push_str(&one(reference).map_err(|why| format!("{} {why}", shown(reference)))?),
            // To Kafka and to Strait this is no reference.
            false => out.push_str(&format!("${{{reference}}}")),
        }
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

/// Translates a reference, or says of it why it has no counterpart.
fn one(reference: &str) -> Result<String, &'static str> {
    match reference.split_once(':') {
        // EnvVarConfigProvider: ${env:NAME}, with an optional empty path before the name.
        Some(("env", name)) => Ok(format!("${{env:{}}}", name.trim_start_matches(':'))),
        // DirectoryConfigProvider: ${dir:/folder:file}.
        Some(("dir" | "directory", place)) => match place.rsplit_once(':') {
            Some((folder, file)) => Ok(format!("${{file:{}/{file}}}", folder.trim_end_matches('/'))),
            None => Err("names no file"),
        },
        Some(("file", _)) => Err(
            "is one entry of a properties file; here ${file:/path} is a whole file: put the value into a file of its own, or use ${env:NAME}",
        ),
        _ => Err("is of a config provider that Strait does not have; it has ${env:NAME} and ${file:/path}"),
    }
}

/// Returns whether a translated value is nothing but a reference, so that it may be shown.
pub fn is_reference(value: &str) -> bool {
    let inside = value.strip_prefix("${env:").or_else(|| value.strip_prefix("${file:"));
    inside.and_then(|inside| inside.strip_suffix('}')).is_some_and(|name| !name.contains(['{', '}']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_of_kafka_become_ours_or_are_refused() {
        assert_eq!(translate("a ${env:P} b").unwrap(), "a ${env:P} b");
        assert_eq!(translate("${env::P}").unwrap(), "${env:P}");
        assert_eq!(translate("${dir:/run/secrets:password}").unwrap(), "${file:/run/secrets/password}");
        assert_eq!(translate("plain $ {x}").unwrap(), "plain $ {x}");
        for (value, why) in
            [("${file:/p:k}", "a whole file"), ("${vault:x:y}", "does not have"), ("${dir:x}", "names no file")]
        {
            assert!(translate(value).unwrap_err().contains(why), "{value}");
        }
        assert_eq!(translate("x${Secret1}y").unwrap(), "x${Secret1}y");
        let said = translate_secret("x${Secret1:2}y").unwrap_err();
        assert!(said.contains("does not have") && !said.contains("Secret1"), "{said}");
        assert!(is_reference("${env:P}") && is_reference("${file:/p}"));
        for secret in ["x${env:P}", "${env:P}x", "${env:P}${env:Q}", "${env:P}x}", "${Secret1}", "${a:b}"] {
            assert!(!is_reference(secret), "{secret}");
        }
    }
}
