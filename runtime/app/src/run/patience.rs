//! Questions to clusters while a link is prepared.

use std::time::Duration;

use strait_flow::ports::{Class, PortError};
use strait_kafka::LinkTopicsError;
use tokio::time::Instant;

use super::RunError;

/// For how long a cluster that has answered before may fail to answer: a broker that restarts, an election.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);

/// Asks until there is an answer or an error that waiting does not mend, for [`PATIENCE`] at the most.
///
/// # Errors
/// The last one.
pub async fn patiently<T>(link: &str, mut ask: impl AsyncFnMut() -> Result<T, RunError>) -> Result<T, RunError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let error = match ask().await {
            Err(error) if passes(&error) && Instant::now() < until => error,
            answer => return answer,
        };
        tracing::warn!(link, %error, "a cluster does not answer while the link is prepared; asking again");
        tokio::time::sleep(PAUSE).await;
    }
}

fn passes(error: &RunError) -> bool {
    let (RunError::Port(PortError { class, .. })
    | RunError::LinkTopics(LinkTopicsError::Port(PortError { class, .. }))) = error
    else {
        return false;
    };
    *class == Class::Retry
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(class: Class) -> RunError {
        PortError { class, context: "asking".to_owned(), reason: "no".to_owned() }.into()
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_asked_again_for_a_while_and_nothing_else_is() {
        let mut asked = 0;
        let answer = patiently("l", async || {
            asked += 1;
            if asked < 10 { Err(error(Class::Retry)) } else { Ok(asked) }
        });
        assert_eq!(answer.await.ok(), Some(10));

        let mut asked = 0;
        let answer = patiently::<()>("l", async || {
            asked += 1;
            Err(LinkTopicsError::Port(PortError {
                class: Class::Stop,
                context: String::new(),
                reason: "denied".to_owned(),
            })
            .into())
        });
        assert!(answer.await.is_err_and(|error| error.to_string().contains("denied")));
        assert_eq!(asked, 1);

        let began = Instant::now();
        assert!(patiently::<()>("l", async || Err(error(Class::Retry))).await.is_err());
        assert_eq!(began.elapsed(), PATIENCE);
    }
}
