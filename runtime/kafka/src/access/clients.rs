//! The clients of a cluster.

use std::sync::Mutex;

use strait_flow::lock;

use super::{Access, Credentials, Token};

/// A librdkafka client whose login can be changed while it lives.
pub trait LiveClient: Send {
    /// Sets the token of its next logins.
    ///
    /// # Errors
    /// librdkafka's reason. It never shows the token.
    fn set_token(&self, token: &Token) -> Result<(), String>;

    /// Sets user name and password of its next logins.
    ///
    /// # Errors
    /// librdkafka's reason.
    fn set_credentials(&self, credentials: &Credentials) -> Result<(), String>;
}

/// All clients, and what they log in with.
#[derive(Default)]
pub(super) struct Clients(Mutex<All>);

#[derive(Default)]
struct All {
    next: u64,
    live: Vec<(u64, Box<dyn LiveClient>)>,
    token: Option<Token>,
    credentials: Option<Credentials>,
}

impl Clients {
    /// Adds a client and gives it what the others have. In one step, so that no change passes it
    /// by.
    pub fn add(&self, client: Box<dyn LiveClient>) -> u64 {
        let mut all = lock(&self.0);
        let token = all.token.as_ref().map(|token| client.set_token(token));
        let credentials = all.credentials.as_ref().map(|credentials| client.set_credentials(credentials));
        for error in token.into_iter().chain(credentials).filter_map(Result::err) {
            // A token that has ended by now. The next one comes to this client too.
            tracing::debug!("a new client does not take the present login: {error}");
        }
        all.next += 1;
        let id = all.next;
        all.live.push((id, client));
        id
    }

    /// Removes a client. Once this returns, nobody calls it any more.
    pub fn remove(&self, id: u64) {
        lock(&self.0).live.retain(|(listed, _)| *listed != id);
    }

    pub fn len(&self) -> usize {
        lock(&self.0).live.len()
    }

    pub fn credentials(&self) -> Option<Credentials> {
        lock(&self.0).credentials.clone()
    }

    pub fn token(&self) -> Option<Token> {
        lock(&self.0).token.clone()
    }

    /// Gives all clients a token, and keeps it for those to come.
    pub fn set_token(&self, token: Token) -> Result<usize, String> {
        let mut all = lock(&self.0);
        let result = all.each(|client| client.set_token(&token));
        all.token = Some(token);
        result
    }

    /// Gives all clients user name and password, and keeps them for those to come.
    pub fn set_credentials(&self, credentials: Credentials) -> Result<usize, String> {
        let mut all = lock(&self.0);
        let result = all.each(|client| client.set_credentials(&credentials));
        all.credentials = Some(credentials);
        result
    }
}

impl All {
    fn each(&self, set: impl Fn(&dyn LiveClient) -> Result<(), String>) -> Result<usize, String> {
        let mut first = None;
        for (_, client) in &self.live {
            if let Err(error) = set(&**client) {
                first.get_or_insert(error);
            }
        }
        first.map_or(Ok(self.live.len()), Err)
    }
}

/// The place of a client in the list. Dropping it ends that: drop it before the client.
pub struct Listed {
    access: Access,
    id: u64,
}

impl Listed {
    pub(super) fn new(access: Access, id: u64) -> Self {
        Self { access, id }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.access.0.shared.clients.remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Fake(Arc<Mutex<Vec<String>>>);

    impl LiveClient for Fake {
        fn set_token(&self, token: &Token) -> Result<(), String> {
            lock(&self.0).push(token.principal.clone());
            Ok(())
        }

        fn set_credentials(&self, credentials: &Credentials) -> Result<(), String> {
            lock(&self.0).push(credentials.password.clone());
            if credentials.password == "refused" { Err("no".to_owned()) } else { Ok(()) }
        }
    }

    #[test]
    fn a_change_reaches_the_living_those_to_come_and_no_client_that_has_gone() {
        let access = Access::new("a", None);
        let (first, second, third) = (Fake::default(), Fake::default(), Fake::default());
        let gone = access.list(Box::new(first.clone()));
        let kept = access.list(Box::new(second.clone()));
        let set = |password: &str| access.rotate(Credentials { user: "u".to_owned(), password: password.to_owned() });
        let before = *access.changes().borrow();
        assert_eq!(set("one"), Ok(2));
        drop(gone);
        assert_eq!(set("two"), Ok(1));
        let later = access.list(Box::new(third.clone()));
        assert_eq!(access.clients(), 2);
        assert_eq!(*access.changes().borrow(), before + 2);
        assert_eq!(set("refused"), Err("no".to_owned()));
        drop((kept, later));
        let heard = |fake: &Fake| lock(&fake.0).clone();
        assert_eq!(heard(&first), ["one"]);
        assert_eq!(heard(&second), ["one", "two", "refused"]);
        assert_eq!(heard(&third), ["two", "refused"]);
    }
}
