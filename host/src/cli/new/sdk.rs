//! Where a function in a folder of its own gets the sdk from: a checkout of Roost, or a git repository.

use std::path::{Component, Path, PathBuf};

use super::NewError;
use crate::cli::source;

/// The sdk of a function in a folder of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sdk {
    /// The root of a checkout.
    Checkout(PathBuf),
    /// A git repository, and a tag in it; without one, its default branch.
    Git { url: String, tag: Option<String> },
}

/// Why the named sdk cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SdkError {
    /// The folder is not a checkout.
    #[error(
        "--sdk {}: not Roost's sources; name the folder that contains core/, functions/sdk/ and wit/, or the URL of a git \
         repository such as https://example.com/roost.git",
        .0.display()
    )]
    NotACheckout(PathBuf),
    /// A tag was given for a folder.
    #[error("--tag {0} is for a git repository, and --sdk names a folder; check the tag out there, or name a URL")]
    TagOfFolder(String),
}

impl Sdk {
    /// Reads the argument of `--sdk`.
    pub(super) fn parse(named: &str, tag: Option<&str>, here: &Path) -> Result<Self, SdkError> {
        // As cargo: `git@host:path` is the short form of an ssh URL.
        if named.contains("://") || named.starts_with("git@") {
            return Ok(Self::Git { url: named.to_owned(), tag: tag.map(str::to_owned) });
        }
        if let Some(tag) = tag {
            return Err(SdkError::TagOfFolder(tag.to_owned()));
        }
        let folder = here.join(named);
        match folder.canonicalize() {
            Ok(folder) if source::is_checkout(&folder) => Ok(Self::Checkout(folder)),
            _ => Err(SdkError::NotACheckout(folder)),
        }
    }

    /// Fills in the dependencies of a manifest in this folder.
    pub(super) fn fill_in(&self, manifest: &str, folder: &Path) -> String {
        let (core, function) = match self {
            Self::Checkout(checkout) => {
                // Relative, so that the two folders can move together.
                let path = |part: &str| {
                    let path = relative(folder, &checkout.join(part)).display().to_string();
                    format!("path = {}", toml::Value::String(path))
                };
                (path("core"), path("functions/sdk"))
            }
            Self::Git { url, tag } => {
                let url = format!("git = {}", toml::Value::String(url.clone()));
                let tag = tag.iter().map(|tag| format!(", tag = {}", toml::Value::String(tag.clone())));
                let both: String = std::iter::once(url).chain(tag).collect();
                (both.clone(), both)
            }
        };
        manifest.replace("{core}", &core).replace("{function}", &function)
    }

    /// The versions of dependencies that a checkout is tested with. Cargo removes those that the function does not
    /// need.
    pub(super) fn lock_file(&self) -> Result<Option<String>, NewError> {
        let Self::Checkout(checkout) = self else { return Ok(None) };
        let path = checkout.join("Cargo.lock");
        match std::fs::read_to_string(&path) {
            Ok(lock) => Ok(Some(lock)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(NewError::File { path, error }),
        }
    }
}

/// The path that leads from a folder, which need not exist yet, to another one.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let from = normalized(&absolute(from));
    let to = normalized(&absolute(to));
    let (mut up, mut down) = (from.components().peekable(), to.components().peekable());
    while let (Some(one), Some(other)) = (up.peek(), down.peek()) {
        if one != other {
            break;
        }
        up.next();
        down.next();
    }
    up.map(|_| Component::ParentDir).chain(down).collect()
}

/// The path with the symbolic links of those folders resolved that exist, because `..` leads out of the real folder.
fn absolute(path: &Path) -> PathBuf {
    let real = path.ancestors().find_map(|folder| Some((folder.canonicalize().ok()?, folder)));
    match real {
        Some((real, folder)) => path.strip_prefix(folder).map_or(real.clone(), |rest| real.join(rest)),
        None => path.to_owned(),
    }
}

/// The path without `.` and `..`.
fn normalized(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            Component::CurDir => {}
            part => parts.push(part),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_from_one_folder_to_another() {
        for (from, to, expected) in [
            ("/nowhere/a", "/nowhere/roost/core", "../roost/core"),
            ("/nowhere/roost/extra/a", "/nowhere/roost/core", "../../core"),
            ("/nowhere/x/../a", "/nowhere/./roost/core", "../roost/core"),
            ("/elsewhere/a", "/nowhere/core", "../../nowhere/core"),
        ] {
            assert_eq!(relative(Path::new(from), Path::new(to)), Path::new(expected), "{from}");
        }
    }

    #[test]
    fn symbolic_links_are_resolved_before_leading_upward() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("deep/real")).unwrap();
        std::fs::create_dir_all(root.join("roost/core")).unwrap();
        std::os::unix::fs::symlink(root.join("deep/real"), root.join("link")).unwrap();
        let found = relative(&root.join("link/a"), &root.join("roost/core"));
        assert_eq!(found, Path::new("../../../roost/core"));
    }

    #[test]
    fn dependencies_are_filled_in() {
        let manifest = "roost-core = { {core} }\nroost-function = { {function} }";
        let checkout = Sdk::Checkout("/nowhere/my \"roost\"".into());
        assert_eq!(
            checkout.fill_in(manifest, Path::new("/nowhere/a")),
            "roost-core = { path = '../my \"roost\"/core' }\nroost-function = { path = '../my \"roost\"/functions/sdk' }"
        );
        let here = Path::new("/nowhere");
        let git = Sdk::parse("https://example.com/roost.git", Some("v1.2.3"), here).unwrap();
        assert_eq!(
            git.fill_in("{core}", here),
            "git = \"https://example.com/roost.git\", tag = \"v1.2.3\"",
            "a tag is a part of the dependency"
        );
        let ssh = Sdk::parse("git@example.com:roost.git", None, here).unwrap();
        assert_eq!(ssh.fill_in("{function}", here), "git = \"git@example.com:roost.git\"");
    }

    #[test]
    fn only_roosts_sources_are_an_sdk() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert_eq!(Sdk::parse("..", None, &root.join("host")), Ok(Sdk::Checkout(root.canonicalize().unwrap())));
        let other = Sdk::parse("host", None, root);
        assert_eq!(other, Err(SdkError::NotACheckout(root.join("host"))));
        assert_eq!(Sdk::parse("..", Some("v1"), root), Err(SdkError::TagOfFolder("v1".into())));
    }
}
