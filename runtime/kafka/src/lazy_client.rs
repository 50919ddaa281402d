//! Clients for requests beside the data path.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use strait_flow::ports::{Class, PortError};
use strait_flow::{LOGIN_RETRY, Retry, lock, spread};

use tokio::sync::watch;

use crate::access::Access;
use crate::config::{ClusterConfig, Settings};
use crate::error::{blocking, port_error_because};
use crate::ffi::{Client, ClientKind, FfiError, Observer, Trouble};
use crate::tls;

/// How long a finding about TLS counts. A broker is not asked for it more often.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How often any broker is asked while a question waits for its answer.
const HEAR_EVERY: Duration = Duration::from_secs(5);

/// Creates a client that neither reads nor writes records.
pub(crate) fn connect(cluster: &ClusterConfig, label: &str) -> Result<Client, FfiError> {
    Client::new(ClientKind::Producer, label, &settings(cluster, label), None)
}

fn settings(cluster: &ClusterConfig, label: &str) -> Settings {
    let mut settings = Settings::of(cluster, &format!("strait-{}", label.replace('/', "-")));
    settings.set("allow.auto.create.topics", "false");
    settings
}

/// A client that is created when it is first used.
///
/// Where the cluster refuses its login it is destroyed, and no question is asked before a growing
/// wait is over: it would log in every second or two, which locks accounts.
#[derive(Clone)]
pub(crate) struct LazyClient {
    cluster: Arc<ClusterConfig>,
    label: Arc<str>,
    /// The beginning of its errors.
    pub(crate) context: Arc<str>,
    state: Arc<Mutex<State>>,
    began: Instant,
    signs: Arc<Signs>,
}

#[derive(Default)]
struct State {
    client: Option<Arc<Client>>,
    /// The rolls of the access when it was made.
    rolls: u64,
    refusal: Option<Refusal>,
    looked: Option<Looked>,
}

/// The finding of a handshake of its own.
struct Looked {
    at: Instant,
    found: Option<String>,
}

/// Keeps the last trouble of a client that may come from TLS: lost connections are reported after
/// it.
#[derive(Default)]
struct Signs(Mutex<Option<String>>);

impl Observer for Signs {
    fn trouble(&self, trouble: &Trouble) {
        if tls::may_be_tls(trouble) {
            *lock(&self.0) = Some(trouble.text.clone());
        }
    }
}

/// A refused login.
struct Refusal {
    retry: Retry,
    error: PortError,
    /// A login that has changed since may be taken.
    changes: watch::Receiver<u64>,
}

impl Refusal {
    fn is_over(&self, now: Duration) -> bool {
        self.retry.is_due(now) || self.changes.has_changed().unwrap_or(false)
    }
}

impl State {
    /// Takes the end of a question. Returns a client that is to be dropped.
    fn answered(
        &mut self,
        error: Option<&PortError>,
        now: Duration,
        seed: &str,
        access: &Access,
    ) -> Option<Arc<Client>> {
        let Some(error) = error.filter(|error| error.class == Class::Login) else {
            // Any other answer comes from a cluster that took the login, or from none.
            if error.is_none() {
                self.refusal = None;
            }
            return None;
        };
        // Questions that were asked together are refused together.
        let last = self.refusal.as_ref().map(|refusal| refusal.retry);
        let retry = Retry::pending_or_next(last, now, LOGIN_RETRY);
        if Some(retry) == last {
            return self.client.take();
        }
        let wait = spread(retry.after, seed);
        let reason = format!("{}; not asked again for {} s", error.reason, wait.as_secs());
        let error = PortError { reason, ..error.clone() };
        let retry = Retry { at: now + wait, ..retry };
        self.refusal = Some(Refusal { retry, error, changes: access.changes() });
        self.client.take()
    }

    /// Returns the refusal for which the cluster is not asked yet.
    fn refusal(&self, now: Duration) -> Option<&PortError> {
        self.refusal.as_ref().filter(|refusal| !refusal.is_over(now)).map(|refusal| &refusal.error)
    }
}

impl LazyClient {
    pub(crate) fn new(cluster: &ClusterConfig, label: String, context: String) -> Self {
        Self {
            cluster: Arc::new(cluster.clone()),
            label: label.into(),
            context: context.into(),
            state: Arc::default(),
            began: Instant::now(),
            signs: Arc::default(),
        }
    }

    /// Counts an answer of the cluster. A question that ends well may have had none: it can fail
    /// for each partition by itself.
    pub(crate) fn heard(&self) {
        self.cluster.access.answered();
    }

    /// Asks any broker for anything.
    async fn hear(&self, timeout: Duration) {
        if self.ask(move |client| client.connect(timeout)).await.is_ok() {
            self.heard();
        }
    }

    /// Counts the answers of the cluster to any client of this process.
    pub(crate) fn answers(&self) -> u64 {
        self.cluster.access.answers()
    }

    /// Returns the addresses of the cluster.
    pub(crate) fn servers(&self) -> &str {
        &self.cluster.bootstrap_servers
    }

    pub(crate) fn get(&self) -> Result<Arc<Client>, PortError> {
        let mut state = lock(&self.state);
        if let Some(error) = state.refusal(self.began.elapsed()) {
            return Err(error.clone());
        }
        let rolls = self.cluster.access.client_rolls();
        if let Some(client) = state.client.as_ref().filter(|_| state.rolls == rolls) {
            return Ok(Arc::clone(client));
        }
        let (settings, signs) = (settings(&self.cluster, &self.label), Arc::clone(&self.signs) as Arc<dyn Observer>);
        let made = Client::new(ClientKind::Producer, &self.label, &settings, Some(signs));
        let made = Arc::new(made.map_err(|error| fail(&self.context, &error, None))?);
        let old = state.client.replace(Arc::clone(&made));
        state.rolls = rolls;
        drop(state);
        // Destroying a client waits for its threads.
        drop(old);
        Ok(made)
    }

    /// Asks the cluster from a blocking thread. An error comes with the trouble that the client
    /// reports until then. The question must end by itself in bounded time.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Client) -> Result<T, FfiError> + Send + 'static,
    ) -> Result<T, PortError> {
        let client = self.clone();
        blocking(&self.context, move || client.ask_here(question)).await?
    }

    /// Asks the cluster as [`LazyClient::ask`] does. As the question may wait for one broker that
    /// is away, any broker is asked for anything every few seconds meanwhile, so that the cluster
    /// does not count as silent.
    pub(crate) async fn ask_patiently<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Client) -> Result<T, FfiError> + Send + 'static,
    ) -> Result<T, PortError> {
        let mut asked = std::pin::pin!(self.ask(question));
        loop {
            let others = async {
                tokio::time::sleep(HEAR_EVERY).await;
                self.hear(HEAR_EVERY).await;
            };
            tokio::select! { biased;
                answer = &mut asked => return answer,
                () = others => {}
            }
        }
    }

    /// Adds to a failure what a handshake finds, where TLS may be the cause.
    fn explained(&self, error: PortError) -> PortError {
        let Some(text) = lock(&self.signs.0).clone().filter(|_| error.class == Class::Retry) else { return error };
        let known = lock(&self.state)
            .looked
            .as_ref()
            .filter(|looked| looked.at.elapsed() < LOOK_AGAIN)
            .map(|l| l.found.clone());
        let found = known.unwrap_or_else(|| {
            let fault = tls::diagnose(&settings(&self.cluster, &self.label), &[&text], tls::PATIENCE);
            let found = fault.map(|fault| fault.to_string());
            lock(&self.state).looked = Some(Looked { at: Instant::now(), found: found.clone() });
            found
        });
        match found {
            Some(said) => PortError { reason: format!("{said} ({})", error.reason), ..error },
            None => error,
        }
    }

    /// Asks the cluster from this thread, which may block.
    pub(crate) fn ask_here<T>(&self, question: impl FnOnce(&Client) -> Result<T, FfiError>) -> Result<T, PortError> {
        let client = self.get()?;
        let answer = question(&client).map_err(|error| fail(&self.context, &error, Some(&client)));
        let answer = match answer {
            Ok(answer) => {
                // What went wrong before explains no later failure.
                client.poll(Duration::ZERO);
                drop(client.take_trouble());
                lock(&self.signs.0).take();
                Ok(answer)
            }
            Err(error) => Err(self.explained(error)),
        };
        // Dropped here, as destroying a client waits for its threads.
        let refused =
            lock(&self.state).answered(answer.as_ref().err(), self.began.elapsed(), &self.label, &self.cluster.access);
        drop(refused);
        answer
    }
}

/// Returns the port error of a failed call, with the trouble that the client reported meanwhile.
pub(crate) fn fail(context: &str, error: &FfiError, client: Option<&Client>) -> PortError {
    let trouble = client.and_then(|client| {
        client.poll(Duration::ZERO);
        client.trouble()
    });
    port_error_because(context, error, trouble)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Credentials;

    #[test]
    fn a_cluster_that_refuses_the_login_is_asked_again_after_growing_waits() {
        let s = Duration::from_secs;
        let (mut state, access) = (State::default(), Access::default());
        let login = PortError::new(Class::Login, "c", "wrong password");
        let lost = PortError::new(Class::Retry, "c", "timed out");
        assert!(state.answered(Some(&lost), s(0), "a", &access).is_none() && state.refusal(s(0)).is_none());
        let mut now = s(100);
        for longest in [30, 60, 120, 240, 300, 300] {
            state.answered(Some(&login), now, "a", &access);
            let early = now + s(longest) * 4 / 5 - s(1);
            let said = state.refusal(early).map(|error| error.reason.clone()).unwrap_or_default();
            assert!(said.starts_with("wrong password; not asked again for "), "{said}");
            now += s(longest);
            assert!(state.refusal(now).is_none(), "{longest}");
            // A failure of another kind is no answer.
            state.answered(Some(&lost), now, "a", &access);
        }
        state.answered(None, now, "a", &access);
        state.answered(Some(&login), now, "a", &access);
        assert!(state.refusal(now + s(30)).is_none(), "it begins anew");

        state.answered(Some(&login), now, "a", &access);
        assert!(state.refusal(now).is_some());
        access.rotate(Credentials { user: "u".to_owned(), password: "p".to_owned() }).unwrap();
        assert!(state.refusal(now).is_none(), "another login may be taken");
    }
}
