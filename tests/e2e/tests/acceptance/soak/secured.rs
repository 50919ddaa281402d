//! Clusters at which the link logs in and needs rights, so that logins and rights can fail.

use strait_test_cluster::{Cluster, ClusterSpec, Listener, User};

use crate::support::{Pair, kafka_tool};
use strait_e2e::ConfigFolder;

/// The principal of the link.
pub const USER: &str = "copier";
const PASSWORD: &str = "copier-password";

/// Adds logins, rights and proxies to a cluster.
pub fn secured(spec: ClusterSpec) -> ClusterSpec {
    let users = vec![User { name: USER.to_owned(), password: PASSWORD.to_owned() }];
    ClusterSpec { users, acls: true, ..spec }.with_listeners(&[Listener::Sasl]).with_proxies()
}

/// Starts a pair of such clusters, at which the link's user may do everything.
pub fn pair(source: ClusterSpec, target: ClusterSpec) -> Pair {
    let pair = Pair::of(secured(source), secured(target));
    allow(&pair.source);
    allow(&pair.target);
    pair
}

/// Writes a configuration of links between them, through their proxies.
pub fn config(pair: &Pair, links: &str) -> ConfigFolder {
    let sections = format!("{}{}", section("source", &pair.source), section("target", &pair.target));
    ConfigFolder::new(&format!("{sections}{links}")).unwrap()
}

fn section(name: &str, cluster: &Cluster) -> String {
    format!(
        "[clusters.{name}]\nbootstrap_servers = \"{}\"\ninsecure = true\n[clusters.{name}.kafka]\n\
         \"security.protocol\" = \"SASL_PLAINTEXT\"\n\"sasl.mechanism\" = \"SCRAM-SHA-256\"\n\
         \"sasl.username\" = \"{USER}\"\n\"sasl.password\" = \"{PASSWORD}\"\n",
        cluster.bootstrap()
    )
}

fn allow(cluster: &Cluster) {
    let all = ["TOPIC,*,LITERAL", "GROUP,*,LITERAL", "TRANSACTIONAL_ID,*,LITERAL", "CLUSTER,kafka-cluster,LITERAL"];
    kafka_tool("acl", &cluster.internal_bootstrap(), &all.map(|resource| format!("{USER},{resource},ALL")));
}

/// Denies the link's user an operation on a topic, whatever else is allowed.
pub fn deny(cluster: &Cluster, topic: &str, operation: &str) {
    kafka_tool("acl", &cluster.internal_bootstrap(), &[denial(topic, operation)]);
}

/// Takes that denial away.
pub fn no_longer_deny(cluster: &Cluster, topic: &str, operation: &str) {
    kafka_tool("unacl", &cluster.internal_bootstrap(), &[denial(topic, operation)]);
}

fn denial(topic: &str, operation: &str) -> String {
    format!("{USER},TOPIC,{topic},LITERAL,{operation},DENY")
}
