mod model;
mod order;
mod texts;

use super::*;

fn at(text: &str) -> Locator {
    text.parse().unwrap()
}

fn rule(text: &str) -> RuleId {
    RuleId::parse(text).unwrap()
}

fn claim(place: &str, leaves: Leaves) -> Claim {
    Claim::new(rule("r"), at(place), leaves)
}

fn protection(claims: &[Claim]) -> Protection {
    Protection { claims: claims.to_vec(), ..Protection::default() }
}

fn key(id: &str, domain: &str) -> Leaves {
    Leaves::Token(Some(TokenKey { id: id.into(), domain: domain.into() }))
}

fn part(first: u32, last: u32) -> Leaves {
    Leaves::Part(Kept { first, last })
}
