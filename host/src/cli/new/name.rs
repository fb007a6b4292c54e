//! Names of new functions: valid for the contract, for cargo and for Rust, and not taken in the workspace.

use std::path::Path;

use roost_core::limits::FUNCTION_NAME_BYTES_MAX;

/// Names that cargo refuses or that Rust gives another meaning, as the names of libraries. Keywords of Rust with a `_`
/// or a capital letter are no valid names anyway.
const RESERVED: [&str; 57] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "unsafe",
    "use",
    "virtual",
    "where",
    "while",
];

/// Why a name cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    /// The name contains what a name cannot contain.
    #[error(
        "{0:?} is no name for a function: it has 1 to {FUNCTION_NAME_BYTES_MAX} of the letters a to z, digits and '-', \
         begins with a letter, and does not end with '-'; for example {1:?}"
    )]
    Format(String, String),
    /// The name has another meaning in Rust or for cargo.
    #[error("{0:?} has a meaning of its own in Rust or for cargo; choose another name, such as \"my-{0}\"")]
    Reserved(String),
    /// A package of the workspace, or one that it depends on, has this name.
    #[error("{0:?} is the name of another package of the workspace or of one that it uses; choose another name")]
    Taken(String),
}

/// Checks that functions may have this name.
pub(super) fn check(name: &str) -> Result<(), NameError> {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let begins = name.bytes().next().is_some_and(|first| first.is_ascii_lowercase());
    if !begins || name.ends_with('-') || name.len() > FUNCTION_NAME_BYTES_MAX || !name.bytes().all(is_part) {
        return Err(NameError::Format(name.to_owned(), similar(name)));
    }
    if RESERVED.contains(&name) {
        return Err(NameError::Reserved(name.to_owned()));
    }
    Ok(())
}

/// Checks that no package has this name, among those that the lock file of a workspace names.
pub(super) fn check_free(name: &str, workspace: &Path) -> Result<(), NameError> {
    let lock = std::fs::read_to_string(workspace.join("Cargo.lock")).unwrap_or_default();
    let lock: toml::Table = lock.parse().unwrap_or_default();
    let mut packages = lock.get("package").and_then(toml::Value::as_array).into_iter().flatten();
    if packages.any(|package| package.get("name").and_then(toml::Value::as_str) == Some(name)) {
        return Err(NameError::Taken(name.to_owned()));
    }
    Ok(())
}

/// A valid name that looks like this one.
fn similar(name: &str) -> String {
    let replaced = name.to_lowercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
    let trimmed = replaced.trim_start_matches(|letter: char| !letter.is_ascii_alphabetic());
    let shortened: String = trimmed.chars().take(FUNCTION_NAME_BYTES_MAX).collect();
    let similar = shortened.trim_end_matches('-');
    if similar.is_empty() || RESERVED.contains(&similar) { "my-function".to_owned() } else { similar.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_letters_digits_and_hyphens_are_valid() {
        for name in ["a", "reactions", "last-message", "v2-of-it", &"n".repeat(64)] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn other_names_are_refused_with_a_similar_one() {
        let long = "n".repeat(65);
        for (name, suggested) in [
            ("", "my-function"),
            ("Reactions", "reactions"),
            ("my_function", "my-function"),
            ("2fast", "fast"),
            ("-a-", "a"),
            ("a/../b", "a----b"),
            ("é", "my-function"),
            (&long, &long[..64]),
        ] {
            assert_eq!(check(name), Err(NameError::Format(name.to_owned(), suggested.to_owned())), "{name}");
            assert_eq!(check(suggested), Ok(()), "{suggested}");
        }
    }

    #[test]
    fn reserved_and_taken_names_are_refused() {
        assert_eq!(check("test"), Err(NameError::Reserved("test".into())));
        assert_eq!(check("match"), Err(NameError::Reserved("match".into())));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for name in ["typing", "hostile", "serde"] {
            assert_eq!(check_free(name, root), Err(NameError::Taken(name.into())));
        }
        assert_eq!(check_free("nobody-has-this-name", root), Ok(()));
        assert_eq!(check_free("typing", Path::new("/nowhere")), Ok(()), "a workspace without a lock file");
    }

    #[test]
    fn reserved_names_are_sorted_and_valid_otherwise() {
        assert!(RESERVED.is_sorted());
        assert!(RESERVED.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
    }
}
