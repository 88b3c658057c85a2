//! The import rules of `docs/architecture.md`, held by reading the sources.
//!
//! Each top folder of `src/` names the other top folders and the outside crates that it may not do without; what it
//! uses beyond them is a failure that says which line. Every file begins with a module doc.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What one folder may use.
struct Rule {
    folder: &'static str,
    /// Other top folders, or modules of them, it may name.
    may_use: &'static [&'static str],
    /// Crates and modules outside this crate it may not name.
    never: &'static [&'static str],
}

const KUBERNETES: &[&str] = &["kube", "k8s_openapi", "anyhow"];

const RULES: &[Rule] = &[
    // The protocol does no I/O, so that all of it can be tested without any.
    Rule {
        folder: "scim",
        may_use: &[],
        never: &[
            "kube",
            "k8s_openapi",
            "anyhow",
            "tokio",
            "rusqlite",
            "axum",
            "hyper",
            "std::fs",
            "std::net",
            "std::env",
            "std::process",
        ],
    },
    Rule { folder: "store", may_use: &["scim"], never: KUBERNETES },
    // A pod that faces the internet knows nothing of Kubernetes: only the compiled configuration.
    Rule { folder: "server", may_use: &["scim", "store", "config", "telemetry"], never: KUBERNETES },
    Rule { folder: "config", may_use: &["crd", "scim"], never: &["anyhow", "axum", "tokio", "rusqlite"] },
    // The defaults of limits are written once, in the configuration.
    Rule { folder: "crd", may_use: &["config::Limits"], never: &["anyhow", "axum", "tokio", "rusqlite"] },
    Rule { folder: "telemetry", may_use: &[], never: KUBERNETES },
    // Of stores it knows what all of them have in common.
    Rule {
        folder: "transfer",
        may_use: &["store"],
        never: &["kube", "k8s_openapi", "anyhow", "axum", "rusqlite", "tokio_postgres"],
    },
    // The operator decides what is served and never serves: it reads no request and no database.
    Rule {
        folder: "controller",
        may_use: &["controller", "config", "crd", "scim"],
        never: &["anyhow", "axum", "rusqlite", "tokio_postgres"],
    },
    // A client of any SCIM server: it knows ours by HTTP only.
    Rule { folder: "load", may_use: &["scim"], never: &["kube", "k8s_openapi", "anyhow", "rusqlite"] },
    Rule {
        folder: "cli",
        may_use: &[
            "cli",
            "config",
            "controller",
            "crd",
            "load",
            "scim",
            "server",
            "store",
            "telemetry",
            "transfer",
        ],
        never: &[],
    },
];

struct Source {
    /// Relative to `src/`.
    path: PathBuf,
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the sources are there") {
            let path = entry.expect("they can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("they are text");
                let path = path.strip_prefix(&root).expect("it is below the root").to_owned();
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

impl Source {
    /// The top folder, or none for `lib.rs` and `main.rs`.
    fn folder(&self) -> Option<&str> {
        self.path.parent()?.components().next()?.as_os_str().to_str()
    }

    /// How deep the module is: 1 for `scim/mod.rs`, 2 for `scim/path.rs`.
    fn depth(&self) -> usize {
        self.path.components().count() - usize::from(self.path.ends_with("mod.rs"))
    }

    /// The code without comments, literals and the tests at the end.
    fn code(&self) -> String {
        let end = self.text.find("#[cfg(test)]\nmod ").unwrap_or(self.text.len());
        let lines = self.text[..end].lines().map(|line| line.split("//").next().unwrap_or_default());
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// The modules of this crate that the code names: `crate::a::b` and `crate::{a::b, c}`, as `a::b` and `c`.
fn crate_uses(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut start = 0;
            for (index, c) in group.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth > 0 => depth -= 1,
                    ',' | '}' if depth == 0 => {
                        found.push(path_of(group[start..index].trim()));
                        start = index + 1;
                        if c == '}' {
                            break;
                        }
                    }
                    _ => {}
                }
            }
        } else {
            found.push(path_of(rest));
        }
    }
    found.retain(|path| !path.is_empty());
    found
}

/// The path at the beginning of a text: `config::Limits` of `config::Limits;`.
fn path_of(text: &str) -> String {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    text[..end].trim_end_matches(':').to_owned()
}

/// Whether the code names `name` as the beginning of a path or in a `use` group of `std`.
fn names(code: &str, name: &str) -> bool {
    let starts_path = |name: &str| {
        code.match_indices(name).any(|(at, _)| {
            let before = code[..at].chars().next_back();
            let after = &code[at + name.len()..];
            let is_start = !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
            is_start && (after.starts_with("::") || after.starts_with(';') || after.starts_with('{'))
        })
    };
    match name.strip_prefix("std::") {
        Some(module) => {
            let grouped = code.split("use std::{").skip(1).any(|group| {
                let group = &group[..group.find(';').unwrap_or(group.len())];
                group.split([',', '{', '}']).any(|item| item.trim().split("::").next() == Some(module))
            });
            grouped || starts_path(name)
        }
        None => starts_path(name),
    }
}

#[test]
fn folders_use_what_the_design_allows() {
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(folder) = source.folder() else { continue };
        let Some(rule) = RULES.iter().find(|rule| rule.folder == folder) else {
            wrong.push(format!("src/{folder}/ has no rule in tests/architecture.rs"));
            continue;
        };
        let code = source.code();
        for path in crate_uses(&code) {
            let within = |allowed: &str| path == allowed || path.starts_with(&format!("{allowed}::"));
            if !within(folder) && !rule.may_use.iter().any(|allowed| within(allowed)) {
                wrong.push(format!("src/{} uses crate::{path}", source.path.display()));
            }
        }
        for name in rule.never {
            if names(&code, name) {
                wrong.push(format!("src/{} uses {name}", source.path.display()));
            }
        }
        let escape = "super::".repeat(source.depth());
        if code.contains(&escape) {
            wrong.push(format!(
                "src/{} leaves its folder with {escape}: write crate::",
                source.path.display()
            ));
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_begins_with_a_module_doc() {
    let bare: Vec<String> = sources()
        .iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| format!("src/{}", source.path.display()))
        .collect();
    assert!(bare.is_empty(), "without a module doc: {}", bare.join(", "));
}

#[test]
fn reader_of_imports_sees_groups_and_paths() {
    let code = "use crate::{\n  config::{Limits, x},\n  scim,\n};\nlet a = crate::store::Store::new();\nuse std::{io, fs::File};";
    assert_eq!(crate_uses(code), ["config", "scim", "store::Store::new"]);
    assert!(names(code, "std::fs"));
    assert!(names(code, "std::io"));
    assert!(!names(code, "std::net"));
    assert!(names("kube::core::x", "kube"));
    assert!(!names("let kube = 1; my_kube::x", "kube"));
}
