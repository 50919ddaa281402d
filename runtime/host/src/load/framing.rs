//! Which parts of which topics are framed by a schema registry's serializers.

use strait_core::config::Selector;
use strait_core::generation::Framing;

/// The framing of a link, compiled.
pub(crate) struct Frames {
    /// In their order: of a topic and a part, the first one counts.
    rules: Vec<(Selector, Framing)>,
}

/// The parts of a topic's records that are framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FramedParts {
    pub(crate) key: bool,
    pub(crate) value: bool,
}

impl Frames {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// A pattern that is not a regular expression, which validation reports first.
    pub(super) fn new(framing: &[Framing]) -> Result<Self, regex::Error> {
        let compiled = |framing: &Framing| {
            let topics: Vec<String> = framing.topics.iter().map(ToString::to_string).collect();
            Ok((Selector::new(&topics, &[])?, framing.clone()))
        };
        Ok(Self { rules: framing.iter().map(compiled).collect::<Result<_, regex::Error>>()? })
    }

    /// Returns the framed parts of a source topic's records.
    pub(crate) fn of(&self, topic: &str) -> FramedParts {
        let is_framed = |part: &str| {
            let of_part = |(topics, framing): &&(Selector, Framing)| *framing.part == *part && topics.selects(topic);
            self.rules.iter().find(of_part).is_some_and(|(_, framing)| &*framing.frame != "none")
        };
        FramedParts { key: is_framed("key"), value: is_framed("value") }
    }
}

impl FramedParts {
    pub(crate) fn any(self) -> bool {
        self.key || self.value
    }
}
