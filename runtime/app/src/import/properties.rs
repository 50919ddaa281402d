//! A Java properties file, with lines, and with what was read of it so far.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use java_properties::{LineContent, PropertiesIter};

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be parsed.
    #[error("not a properties file: {0}")]
    Syntax(#[from] java_properties::PropertiesError),
    /// It is a file of another kind.
    #[error("{0}")]
    Foreign(String),
}

/// A property of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Line on which it begins.
    pub line: usize,
    /// Its whole name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Its name as the file has it.
    pub shown: String,
}

impl Property {
    /// Creates a property that stands in the file under its own name.
    pub fn new(line: usize, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into();
        Self { line, shown: name.clone(), name, value: value.into() }
    }

    /// Creates a property that the file does not have.
    pub fn missing(name: impl Into<String>) -> Self {
        Self::new(0, name, "")
    }

    /// Returns the elements of a list, as Kafka reads it: separated by commas, without spaces
    /// around them.
    pub fn list(&self) -> Vec<String> {
        self.value.split(',').map(str::trim).filter(|element| !element.is_empty()).map(str::to_owned).collect()
    }

    /// Returns whether the value is `true`.
    pub fn is_true(&self) -> bool {
        self.value.trim().eq_ignore_ascii_case("true")
    }
}

/// The properties of a file.
pub struct File {
    properties: BTreeMap<String, Property>,
    read: RefCell<BTreeSet<String>>,
}

impl File {
    /// Parses a file. Of a name that occurs twice the last value counts, as in Java.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn parse(text: &[u8]) -> Result<Self, FileError> {
        let mut properties = BTreeMap::new();
        for line in PropertiesIter::new(text) {
            let line = line?;
            let at = line.line_number();
            if let LineContent::KVPair(name, value) = line.consume_content() {
                properties.insert(name.clone(), Property::new(at, name, value));
            }
        }
        Ok(Self { properties, read: RefCell::default() })
    }

    /// Makes a file of these properties. Of a name that occurs twice the first one counts.
    pub fn of(all: impl IntoIterator<Item = Property>) -> Self {
        let mut properties = BTreeMap::new();
        for property in all {
            properties.entry(property.name.clone()).or_insert(property);
        }
        Self { properties, read: RefCell::default() }
    }

    /// Returns a property.
    pub fn get(&self, name: &str) -> Option<&Property> {
        self.properties.get(name)
    }

    /// Returns a property, and notes that it was read.
    pub fn take(&self, name: &str) -> Option<Property> {
        let property = self.get(name)?;
        self.read.borrow_mut().insert(name.to_owned());
        Some(property.clone())
    }

    /// Returns the properties that begin so and were not read, with the rest of their names. They
    /// count as read.
    pub fn take_all(&self, start: &str) -> Vec<(String, Property)> {
        let mut read = self.read.borrow_mut();
        let found = self.properties.iter().filter_map(|(name, property)| {
            let rest = name.strip_prefix(start)?;
            read.insert(name.clone()).then(|| (rest.to_owned(), property.clone()))
        });
        found.collect()
    }

    /// Returns the properties that nobody has read.
    pub fn unread(&self) -> Vec<&Property> {
        let read = self.read.borrow();
        self.properties.values().filter(|property| !read.contains(&property.name)).collect()
    }
}
