//! `roost new`: writes the crate of a new function, as a member of Roost's own sources or in a folder of its own. It
//! builds nothing, and never changes a file that exists.

mod name;
mod sdk;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

pub(crate) use self::name::NameError;
use self::sdk::Sdk;
pub(crate) use self::sdk::SdkError;
use super::print::print;
use super::source;

/// The name of the function in the template, which every file of it spells alike.
const TEMPLATE_NAME: &str = "my-function";
/// The files of the template that are the same everywhere, with their paths.
const FILES: [(&str, &str); 3] = [
    ("src/lib.rs", include_str!("template/lib.rs")),
    ("src/tally.rs", include_str!("template/tally.rs")),
    ("scenario.toml", include_str!("template/scenario.toml")),
];
/// The manifest of a member of Roost's own workspace.
const MEMBER_MANIFEST: &str = include_str!("template/member.toml");
/// The manifest of a function in a folder of its own; `sdk` fills in the dependencies.
const OWN_MANIFEST: &str = include_str!("template/own.toml");
const OWN_GITIGNORE: &str = include_str!("template/gitignore");
/// What makes every folder below `functions` a member of the workspace.
const MEMBERS: &str = "functions/*";

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The name of the function, of its package and of its routes: 'a' to 'z', digits and '-'
    pub(crate) name: String,
    /// A folder of its own for the function, instead of functions/NAME in Roost's sources
    #[arg(long, value_name = "FOLDER")]
    pub(crate) path: Option<PathBuf>,
    /// Roost's sources, for a folder of its own: their folder, or the URL of a git repository; without it, the nearest
    /// folder from here upward
    #[arg(long, value_name = "FOLDER|URL")]
    pub(crate) sdk: Option<String>,
    /// The tag of the git repository
    #[arg(long, value_name = "TAG", requires = "sdk")]
    pub(crate) tag: Option<String>,
}

/// Why no function was made. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NewError {
    /// The name cannot be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The sdk cannot be used.
    #[error(transparent)]
    Sdk(#[from] SdkError),
    /// There is no place for the function.
    #[error(
        "{} and the folders above it are not Roost's sources, so there is no functions/ for {name} and no sdk; go to a \
         checkout of Roost, or make a folder of its own with `roost new {name} --sdk FOLDER`, where FOLDER is a checkout, \
         or `roost new {name} --sdk URL --tag TAG` for a git repository",
        here.display()
    )]
    NoCheckout {
        /// The name of the function.
        name: String,
        /// The current directory.
        here: PathBuf,
    },
    /// A folder of its own would become a member of Roost's workspace.
    #[error(
        "{} belongs to Roost's workspace; leave out --path and --sdk to make a member of it, or name a folder outside of \
         functions/",
        .0.display()
    )]
    WithinFunctions(PathBuf),
    /// The folder exists.
    #[error("{} exists, and nothing in it is changed; choose another name, or another folder with --path", .0.display())]
    Exists(PathBuf),
    /// A file cannot be written.
    #[error("{} cannot be written: {error}; name another folder with --path", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
}

pub(crate) fn run(args: &NewArgs) -> anyhow::Result<ExitCode> {
    let here = std::env::current_dir()?;
    let function = NewFunction::plan(args, &here)?;
    function.write()?;
    print(&function.next_steps(&here))?;
    Ok(ExitCode::SUCCESS)
}

/// A function to make.
#[derive(Debug)]
struct NewFunction {
    name: String,
    folder: PathBuf,
    location: FunctionLocation,
}

/// Where the function is.
#[derive(Debug)]
enum FunctionLocation {
    /// In `functions/` of Roost's own sources.
    Member { checkout: PathBuf },
    /// In a folder of its own.
    Own { sdk: Sdk },
}

impl NewFunction {
    fn plan(args: &NewArgs, here: &Path) -> Result<Self, NewError> {
        name::check(&args.name)?;
        let name = args.name.clone();
        let nearest = source::nearest_checkout(here);
        let no_checkout = || NewError::NoCheckout { name: name.clone(), here: here.to_owned() };
        if args.path.is_none() && args.sdk.is_none() {
            let checkout = nearest.ok_or_else(no_checkout)?;
            name::check_free(&name, &checkout)?;
            let folder = checkout.join("functions").join(&name);
            return Ok(Self { name, folder, location: FunctionLocation::Member { checkout } });
        }
        let folder = here.join(args.path.as_deref().unwrap_or(Path::new(&name)));
        let sdk = match &args.sdk {
            Some(named) => Sdk::parse(named, args.tag.as_deref(), here)?,
            None => Sdk::Checkout(nearest.ok_or_else(no_checkout)?),
        };
        if let Sdk::Checkout(checkout) = &sdk {
            name::check_free(&name, checkout)?;
        }
        let parent = folder.parent().unwrap_or(here);
        if source::nearest_checkout(parent).is_some_and(|root| source::same_folder(parent, &root.join("functions"))) {
            return Err(NewError::WithinFunctions(folder));
        }
        Ok(Self { name, folder, location: FunctionLocation::Own { sdk } })
    }

    /// The files, by their paths in the folder.
    fn files(&self) -> Result<Vec<(&'static str, String)>, NewError> {
        let named = |text: &str| text.replace(TEMPLATE_NAME, &self.name);
        let mut files: Vec<_> = FILES.iter().map(|(path, text)| (*path, named(text))).collect();
        match &self.location {
            FunctionLocation::Member { .. } => files.push(("Cargo.toml", named(MEMBER_MANIFEST))),
            FunctionLocation::Own { sdk } => {
                let manifest = OWN_MANIFEST.replace("{rust-version}", env!("CARGO_PKG_RUST_VERSION"));
                files.push(("Cargo.toml", named(&sdk.fill_in(&manifest, &self.folder))));
                files.push((".gitignore", OWN_GITIGNORE.to_owned()));
                files.extend(sdk.lock_file()?.map(|lock| ("Cargo.lock", lock)));
            }
        }
        Ok(files)
    }

    fn write(&self) -> Result<(), NewError> {
        let files = self.files()?;
        let failed = |path: &Path, error| NewError::File { path: path.to_owned(), error };
        if let Some(parent) = self.folder.parent() {
            fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
        }
        fs::create_dir(&self.folder).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => NewError::Exists(self.folder.clone()),
            _ => failed(&self.folder, error),
        })?;
        for (path, text) in files {
            let path = self.folder.join(path);
            if let Err(error) = create(&path, &text) {
                // The folder is new, so everything in it is too. The caller needs the first error.
                let _ = fs::remove_dir_all(&self.folder);
                return Err(failed(&path, error));
            }
        }
        Ok(())
    }

    fn next_steps(&self, here: &Path) -> String {
        let Self { name, folder, location } = self;
        let shown = folder.strip_prefix(here).unwrap_or(folder).display();
        let (first, package) = match location {
            FunctionLocation::Own { .. } => (format!("  cd {shown}\n"), String::new()),
            FunctionLocation::Member { checkout } => (membership(checkout, name), format!(" -p {name}")),
        };
        format!(
            "{shown}: a function that counts for each user, at GET and POST /v1/{name}\n\nNext:\n{first}  \
             cargo test{package}\n      runs its unit tests, on fakes\n  roost test {name}\n      builds it and runs its \
             scenario.toml against the component\n  roost dev\n      serves it, and serves it anew whenever a file is \
             saved\n\nThen make it yours: docs/functions.md of Roost's sources explains keys, owners, grants and documents."
        )
    }
}

/// What is left to do before cargo knows the member; nothing if the workspace takes every folder of `functions`.
fn membership(checkout: &Path, name: &str) -> String {
    let manifest = fs::read_to_string(checkout.join("Cargo.toml")).unwrap_or_default();
    let manifest: toml::Table = manifest.parse().unwrap_or_default();
    let members = manifest.get("workspace").and_then(|workspace| workspace.get("members"));
    let takes_all = members
        .and_then(toml::Value::as_array)
        .is_some_and(|members| members.iter().any(|member| member.as_str() == Some(MEMBERS)));
    if takes_all { String::new() } else { format!("  add \"functions/{name}\" to `members` in Cargo.toml\n") }
}

/// Creates a file and the folders above it, and never replaces one.
fn create(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests;
