//! References to secrets: Kafka's config providers, and Strait's own.

/// Translates the references in a value.
///
/// # Errors
/// Why a reference has no counterpart.
pub fn translate(value: &str) -> Result<String, String> {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((reference, tail)) = after.split_once('}') else { break };
        out.push_str(before);
        out.push_str(&one(reference)?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

fn one(reference: &str) -> Result<String, String> {
    match reference.split_once(':') {
        // EnvVarConfigProvider: ${env:NAME}, with an optional empty path before the name.
        Some(("env", name)) => Ok(format!("${{env:{}}}", name.trim_start_matches(':'))),
        // DirectoryConfigProvider: ${dir:/folder:file}.
        Some(("dir" | "directory", place)) => match place.rsplit_once(':') {
            Some((folder, file)) => Ok(format!("${{file:{}/{file}}}", folder.trim_end_matches('/'))),
            None => Err(format!("${{{reference}}} names no file")),
        },
        Some(("file", _)) => Err(format!(
            "${{{reference}}} is one entry of a properties file; here ${{file:/path}} is a whole file: put the value into a file of its own, or use ${{env:NAME}}"
        )),
        _ => Err(format!(
            "${{{reference}}} is of a config provider that Strait does not have; it has ${{env:NAME}} and ${{file:/path}}"
        )),
    }
}

/// Returns whether a value is nothing but references, so that it may be shown.
pub fn is_reference(value: &str) -> bool {
    value.starts_with("${") && value.ends_with('}') && value.matches("${").count() == 1
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
        assert!(is_reference("${env:P}") && !is_reference("x${env:P}") && !is_reference("${a}${b}"));
    }
}
