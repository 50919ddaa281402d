//! The thread that keeps a valid token with all clients of a cluster.
//!
//! It alone fetches, so many clients cause one request. A token is renewed at 70 % of its life. If
//! that fails the last one serves to its end, and the cluster is asked again after growing waits:
//! an identity provider that is down ends nothing. librdkafka's `set_token_failure` is not called,
//! because it counts as a refused login.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use strait_flow::{lock, spread};
use tokio_util::sync::CancellationToken;

use super::token::now_ms;
use super::{Login, Shared, Token, TokenTrouble, aws, cloud, file};

/// How long one fetch may take in all.
const FETCH: Duration = Duration::from_secs(12);
/// Waits between failures; doubled up to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// The shortest time between two tokens.
const RENEW_MIN: Duration = Duration::from_secs(2);
/// How often the clock on the wall is looked at: a machine that slept has lost its tokens.
const LOOK: Duration = Duration::from_secs(1);
/// How often trouble is told again.
const TELL: Duration = Duration::from_secs(60);

/// A running thread.
pub(super) struct Source {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Source {
    /// Starts the thread; `None` where the system refuses one.
    pub fn start(shared: &Arc<Shared>, login: Login) -> Option<Self> {
        let stop = CancellationToken::new();
        let (shared, stopped) = (Arc::clone(shared), stop.clone());
        let spawned = std::thread::Builder::new().name("strait-tokens".to_owned()).spawn(move || {
            run(&shared, &login, &stopped);
        });
        let thread = spawned.map_err(|error| tracing::error!("cannot start the thread that fetches tokens: {error}"));
        Some(Self { stop, thread: Some(thread.ok()?) })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.stop.cancel();
        let Some(thread) = self.thread.take() else { return };
        if thread.join().is_err() {
            tracing::error!("the thread that fetches tokens panicked, please report this as a bug");
        }
    }
}

fn run(shared: &Shared, login: &Login, stop: &CancellationToken) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot start the thread that fetches tokens: {error}");
            return;
        }
    };
    runtime.block_on(async {
        tokio::select! { biased;
            () = stop.cancelled() => {}
            () = serve(shared, login) => {}
        }
    });
    // A name that is being resolved could take many seconds.
    runtime.shutdown_background();
}

/// The present token, and the trouble with the next one.
#[derive(Default)]
pub(super) struct State {
    token: Option<Token>,
    failure: Option<Failure>,
}

struct Failure {
    reason: String,
    count: u64,
    since: Instant,
    told: Option<Told>,
}

#[derive(Clone, Copy)]
struct Told {
    at: Instant,
    served: bool,
}

impl State {
    /// Returns how long the present token is still valid.
    pub fn serves(&self, now_ms: i64) -> Option<Duration> {
        let left = self.token.as_ref()?.expires_ms - now_ms;
        u64::try_from(left).ok().filter(|left| *left > 0).map(Duration::from_millis)
    }

    /// Returns why there is no newer token.
    pub fn trouble(&self) -> Option<String> {
        self.failure.as_ref().map(|failure| failure.reason.clone())
    }

    /// Takes a token. Returns for how long there was trouble before it.
    fn renewed(&mut self, token: Token) -> Option<Duration> {
        self.token = Some(token);
        self.failure.take().map(|failure| failure.since.elapsed())
    }

    /// Counts a failure.
    fn failed(&mut self, reason: String, seed: &str) -> TokenTrouble {
        let now = Instant::now();
        let serves = self.serves(now_ms());
        let failure = self.failure.get_or_insert(Failure { reason: String::new(), count: 0, since: now, told: None });
        failure.reason = reason;
        failure.count += 1;
        let doubled = RETRY.0.saturating_mul(1 << failure.count.saturating_sub(1).min(10));
        let again = spread(doubled.min(RETRY.1), &format!("{seed}-{}", failure.count));
        let told = Told { at: now, served: serves.is_some() };
        let is_old = |before: Told| before.served == told.served && now.duration_since(before.at) < TELL;
        let is_news = !failure.told.is_some_and(is_old);
        if is_news {
            failure.told = Some(told);
        }
        TokenTrouble { reason: failure.reason.clone(), serves, again, is_news }
    }
}

async fn serve(shared: &Shared, login: &Login) {
    // Processes that start together do not ask together.
    let seed = format!("{}-{}-{}", shared.cluster, std::process::id(), now_ms());
    let mut version = shared.version.subscribe();
    loop {
        let fetched = tokio::time::timeout(FETCH, login.fetch(&|secret| shared.observer().secret(secret))).await;
        let fetched = fetched.unwrap_or_else(|_| Err(format!("no answer within {} s", FETCH.as_secs())));
        let wait = match fetched.and_then(|token| shared.take(token)) {
            Ok(token) => match login {
                Login::TokenFile { .. } => file::LOOK,
                _ => renew_after(token.expires_ms - now_ms(), &seed),
            },
            Err(reason) => {
                let trouble = lock(&shared.state).failed(reason, &seed);
                shared.observer().token_failed(&shared.cluster, &trouble);
                trouble.again
            }
        };
        version.mark_unchanged();
        let mut planned = lock(&shared.state).token.clone();
        let mut due_ms = after(wait);
        // Somebody else may give the clients a token, which ends at another time.
        while let Some(left) = left_until(due_ms) {
            tokio::select! {
                () = tokio::time::sleep(left.min(LOOK)) => continue,
                Ok(()) = version.changed() => {}
            }
            let present = lock(&shared.state).token.clone();
            if let Some(token) = present.as_ref().filter(|_| present != planned) {
                due_ms = after(renew_after(token.expires_ms - now_ms(), &seed));
                planned = present;
            }
        }
    }
}

/// Returns when to renew a token that is valid for so long: at 70 % of that, or a little earlier.
fn renew_after(left_ms: i64, seed: &str) -> Duration {
    let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
    spread(left * 7 / 10, seed).max(RENEW_MIN)
}

/// Returns the time on the wall after a wait, in milliseconds since the Unix epoch.
fn after(wait: Duration) -> i64 {
    now_ms().saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

fn left_until(due_ms: i64) -> Option<Duration> {
    let left = u64::try_from(due_ms.saturating_sub(now_ms())).ok().filter(|left| *left > 0);
    left.map(Duration::from_millis)
}

impl Shared {
    /// Hands a token to all clients, unless they have it. One that has ended is an error.
    pub fn take(&self, token: Token) -> Result<Token, String> {
        if token.expires_ms <= now_ms() {
            return Err("the token that comes has ended already; compare the clocks of both machines".to_owned());
        }
        let is_known = {
            let state = lock(&self.state);
            state.token.as_ref() == Some(&token) && state.failure.is_none()
        };
        if is_known {
            return Ok(token);
        }
        let observer = self.observer();
        observer.secret(&token.value);
        self.clients.set_token(token.clone())?;
        let failed = lock(&self.state).renewed(token.clone());
        observer.token_renewed(&self.cluster, token.expires_ms, failed);
        self.version.send_modify(|version| *version += 1);
        Ok(token)
    }
}

impl Login {
    async fn fetch(&self, secret: &(dyn Fn(&str) + Sync)) -> Result<Token, String> {
        match self {
            Self::Oidc(oidc) => oidc.fetch().await,
            Self::TokenFile { path, extensions } => file::read(path, extensions),
            Self::AwsMskIam { region, extensions } => aws::fetch(region, extensions, secret).await,
            Self::Gcp { endpoint, extensions } => cloud::google(endpoint.as_deref(), extensions).await,
            Self::Azure { endpoint, resource, client_id, extensions } => {
                cloud::azure(endpoint.as_deref(), resource, client_id.as_deref(), extensions).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(expires_ms: i64) -> Token {
        Token { value: "t".to_owned(), principal: "p".to_owned(), expires_ms, extensions: Vec::new() }
    }

    #[test]
    fn tokens_are_renewed_before_they_end_and_failures_are_told_once_for_each_state() {
        let renewed = renew_after(15_000, "seed");
        assert!(renewed > Duration::from_secs(8) && renewed <= Duration::from_millis(10_500), "{renewed:?}");
        assert_eq!(renew_after(1, "seed"), RENEW_MIN);

        let mut state = State::default();
        state.renewed(token(now_ms() + 60_000));
        let told = state.failed("down".to_owned(), "s");
        assert!(told.is_news && told.again <= RETRY.0, "{told:?}");
        assert!(told.serves.unwrap() > Duration::from_secs(58), "{told:?}");
        for _ in 0..8 {
            let told = state.failed("down".to_owned(), "s");
            assert!(!told.is_news && told.again <= RETRY.1, "{told:?}");
        }
        state.token = Some(token(now_ms() - 1));
        let told = state.failed("still down".to_owned(), "s");
        assert!(told.is_news && told.serves.is_none() && told.reason == "still down", "{told:?}");
        assert!(told.again > RETRY.1 / 2, "{told:?}");
        assert!(state.renewed(token(now_ms() + 1000)).is_some() && state.trouble().is_none());
    }
}
