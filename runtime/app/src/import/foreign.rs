//! Files of other kinds than that of MirrorMaker 2's dedicated mode, each with its name and remedy.

use serde_json::Value;

/// Returns what a file is, if it is known to be another one.
pub fn recognise(text: &str) -> Option<String> {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if !text.starts_with(['{', '[']) {
        return of_yaml(text);
    }
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return Some(format!("it begins like JSON. {WANTED}"));
    };
    let text_of = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    if let Some(kind) = text_of(&value, "kind") {
        return Some(resource(&kind));
    }
    let config = value.get("config").unwrap_or(&value);
    Some(connector(|name| text_of(config, name)).unwrap_or_else(|| format!("it is JSON. {WANTED}")))
}

/// Said of all of them.
const WANTED: &str = "What is imported is the properties file of MirrorMaker 2's dedicated mode";

fn of_yaml(text: &str) -> Option<String> {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']).to_owned())
    };
    value("apiVersion")?;
    Some(resource(&value("kind")?))
}

/// Returns what to do with a resource of Kubernetes.
fn resource(kind: &str) -> String {
    let how = match kind {
        "KafkaMirrorMaker2" => {
            return "it is a resource of Strimzi (KafkaMirrorMaker2): strait import strimzi".to_owned();
        }
        "KafkaConnector" => {
            ": its config becomes ALIAS.bootstrap.servers and more under ALIAS. for source.cluster. and target.cluster., and the rest under SOURCE->TARGET., with SOURCE->TARGET.enabled = true"
        }
        _ => "",
    };
    format!("it is a resource of Kubernetes ({kind}). {WANTED}{how}")
}

/// Returns what to do with the configuration of a connector of Kafka Connect, if it is one.
pub fn connector(property: impl Fn(&str) -> Option<String>) -> Option<String> {
    let class = property("connector.class");
    let source = property("source.cluster.alias");
    if class.is_none() && source.is_none() {
        return None;
    }
    let class = class.unwrap_or_default();
    let class = class.rsplit('.').next().unwrap_or_default();
    let source = source.unwrap_or_else(|| "A".to_owned());
    let target = property("target.cluster.alias").unwrap_or_else(|| "B".to_owned());
    Some(format!(
        "it is the configuration of a connector of Kafka Connect ({class}). {WANTED}: write clusters = {source}, {target} and {source}->{target}.enabled = true into one; what begins with source.cluster. goes under {source}. ({source}.bootstrap.servers), target.cluster. under {target}., and the rest of MirrorSourceConnector under {source}->{target}."
    ))
}
