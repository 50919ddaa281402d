//! Which first-level module of a crate names which other.
//!
//! A name counts where it stands in a path: `crate::a::B`, `super::a::B`, a `use` of either, and
//! the same inside macro calls. `crate::B` counts for the module that the crate's root re-exports
//! `B` from. Test code is left out.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, Macro, Path, UseTree};

use crate::{Finding, Tree};

/// The first-level modules of one crate.
pub struct Modules {
    /// From a module to the modules that it names, each with a file that does.
    edges: BTreeMap<String, BTreeMap<String, String>>,
}

impl Modules {
    /// Reads the crate in `folder` from its `src/lib.rs`, or `src/main.rs` where it has no library.
    ///
    /// # Errors
    /// A file that does not parse.
    pub fn read(tree: &Tree, folder: &str) -> Result<Self, Finding> {
        let src = format!("{folder}/src/");
        let root = [format!("{src}lib.rs"), format!("{src}main.rs")].into_iter().find(|path| tree.has(path));
        let Some(root) = root else { return Ok(Self { edges: BTreeMap::new() }) };
        let parsed = parse(&root, tree.text(&root))?;
        let names: BTreeSet<_> = parsed.items.iter().filter_map(module_name).collect();
        let mut root_names: BTreeMap<_, _> = names.iter().map(|name| (name.clone(), name.clone())).collect();
        for item in &parsed.items {
            if let Item::Use(reexport) = item {
                let mut paths = Vec::new();
                leaves(&reexport.tree, &mut Vec::new(), &mut paths);
                for (path, name) in paths {
                    let step = path.iter().find(|step| !matches!(step.as_str(), "crate" | "self"));
                    if let Some(module) = step.filter(|step| names.contains(*step)) {
                        root_names.entry(name).or_insert_with(|| module.clone());
                    }
                }
            }
        }

        let mut files = Vec::new();
        let mut test_modules = BTreeSet::new();
        for (path, text) in tree.files(&src, ".rs") {
            let inside = path.trim_start_matches(&src).trim_end_matches(".rs").trim_end_matches("/mod");
            let steps: Vec<_> = inside.split('/').map(str::to_owned).collect();
            let file = parse(path, text)?;
            let parent = if path == root { String::new() } else { inside.to_owned() };
            test_modules.extend(file.items.iter().filter_map(|item| test_module(item, &parent)));
            files.push((path, inside.to_owned(), steps, file));
        }
        let mut edges: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (path, inside, steps, file) in &files {
            let Some(module) = steps.first().filter(|first| names.contains(*first)) else { continue };
            if test_modules.iter().any(|test| inside == test || inside.starts_with(&format!("{test}/"))) {
                continue;
            }
            let mut names = Names { steps: steps.clone(), root_names: &root_names, found: BTreeSet::new() };
            names.visit_file(file);
            for name in names.found.into_iter().filter(|name| name != module) {
                edges.entry(module.clone()).or_default().entry(name).or_insert_with(|| (*path).to_owned());
            }
        }
        Ok(Self { edges })
    }

    /// Returns the shortest circle through each pair of modules that name each other, directly or
    /// by way of others: a file of it, and its steps as `a -> b (file)`.
    pub fn circles(&self) -> Vec<(String, String)> {
        let mut circles = BTreeMap::new();
        for (from, to) in self.edges.iter().flat_map(|(from, to)| to.keys().map(move |to| (from, to))) {
            let Some(back) = self.way(to, from) else { continue };
            let members: BTreeSet<_> = back.iter().cloned().collect();
            let mut steps = vec![from.clone()];
            steps.extend(back);
            let shown: Vec<_> = steps.windows(2).map(|pair| self.show(pair)).collect();
            let file = self.edges.get(from).and_then(|names| names.get(to)).cloned().unwrap_or_default();
            circles.entry(members).or_insert_with(|| (file, shown.join(", ")));
        }
        circles.into_values().collect()
    }

    fn show(&self, pair: &[String]) -> String {
        let [from, to] = pair else { return String::new() };
        let file = self.edges.get(from).and_then(|names| names.get(to)).map_or("", String::as_str);
        format!("{from} -> {to} ({file})")
    }

    /// Returns the modules on the shortest way from one to another, both included.
    fn way(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut ways = vec![vec![from.to_owned()]];
        let mut seen = BTreeSet::from([from.to_owned()]);
        while !ways.is_empty() {
            let mut longer = Vec::new();
            for way in ways {
                let last = way.last()?;
                if last == to {
                    return Some(way);
                }
                for next in self.edges.get(last).into_iter().flat_map(BTreeMap::keys) {
                    if seen.insert(next.clone()) {
                        longer.push(way.iter().chain([next]).cloned().collect());
                    }
                }
            }
            ways = longer;
        }
        None
    }
}

fn parse(path: &str, text: &str) -> Result<syn::File, Finding> {
    syn::parse_file(text).map_err(|e| Finding::of_file(path, format!("does not parse: {e}")))
}

fn module_name(item: &Item) -> Option<String> {
    match item {
        Item::Mod(module) if !is_test(&module.attrs) => Some(module.ident.to_string()),
        _ => None,
    }
}

/// Returns the path of the module behind a `#[cfg(test)] mod name;`.
fn test_module(item: &Item, parent: &str) -> Option<String> {
    match item {
        Item::Mod(module) if is_test(&module.attrs) && parent.is_empty() => Some(module.ident.to_string()),
        Item::Mod(module) if is_test(&module.attrs) => Some(format!("{parent}/{}", module.ident)),
        _ => None,
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    let is_cfg = |attribute: &&Attribute| attribute.path().is_ident("cfg");
    let mentions_test = |attribute: &Attribute| match &attribute.meta {
        syn::Meta::List(list) => list.tokens.to_string().contains("test"),
        _ => false,
    };
    attributes.iter().filter(is_cfg).any(mentions_test)
}

/// Adds the whole path of each leaf of a `use` tree, and the name that it brings in.
fn leaves(tree: &UseTree, before: &mut Vec<String>, found: &mut Vec<(Vec<String>, String)>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            leaves(&path.tree, before, found);
            before.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|item| leaves(item, before, found)),
        UseTree::Name(name) => {
            let steps = before.iter().cloned().chain([name.ident.to_string()]).collect();
            found.push((steps, name.ident.to_string()));
        }
        UseTree::Rename(rename) => {
            let steps = before.iter().cloned().chain([rename.ident.to_string()]).collect();
            found.push((steps, rename.rename.to_string()));
        }
        UseTree::Glob(_) => found.push((before.clone(), "*".to_owned())),
    }
}

/// Collects the first-level modules that a file names.
struct Names<'a> {
    /// Where the visitor is: the file's module and the inline modules around.
    steps: Vec<String>,
    /// From a name in the crate's root to the module that it belongs to.
    root_names: &'a BTreeMap<String, String>,
    found: BTreeSet<String>,
}

impl Names<'_> {
    fn add(&mut self, path: &[String]) {
        let Some(first) = path.first() else { return };
        let supers = path.iter().take_while(|step| *step == "super").count();
        let at_root = match first.as_str() {
            "crate" => path.get(1),
            "super" if supers == self.steps.len() => path.get(supers),
            _ => None,
        };
        if let Some(module) = at_root.and_then(|name| self.root_names.get(name)) {
            self.found.insert(module.clone());
        }
    }

    /// Finds paths in the tokens of a macro call, which syn does not parse.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if path.is_empty() || colons == 2 => {
                    path.push(ident.to_string());
                    colons = 0;
                    continue;
                }
                TokenTree::Ident(ident) => {
                    self.add(&path);
                    path = vec![ident.to_string()];
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && colons < 2 && !path.is_empty() => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => {
                    self.add(&path);
                    path.clear();
                    self.add_tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.add(&path);
                    path.clear();
                }
            }
            colons = 0;
        }
        self.add(&path);
    }
}

impl<'ast> Visit<'ast> for Names<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Fn(i) => &i.attrs,
            Item::Impl(i) => &i.attrs,
            Item::Mod(i) => &i.attrs,
            Item::Use(i) => &i.attrs,
            Item::Struct(i) => &i.attrs,
            Item::Enum(i) => &i.attrs,
            Item::Const(i) => &i.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.steps.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.steps.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let mut paths = Vec::new();
        leaves(&item.tree, &mut Vec::new(), &mut paths);
        paths.iter().for_each(|(path, _)| self.add(path));
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let steps: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add(&steps);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.add_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}
