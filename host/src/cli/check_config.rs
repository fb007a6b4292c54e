//! `roost check-config`: reports every error in the configuration, or prints every key with its value and where the
//! value was set. It starts nothing and writes nothing.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::args::CheckConfigArgs;
use super::print::print;
use crate::app;
use crate::config::{self, BUILT_IN, Config};

pub(super) async fn run(args: &CheckConfigArgs) -> anyhow::Result<ExitCode> {
    if args.keys {
        print(config::reference().trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut sources = args.settings.sources();
    sources.needs_keys = true;
    let (config, listing) = sources.load_with_listing()?;
    print(&format!("# The configuration is valid. After each value: where it was set.\n\n{listing}"))?;
    for warning in warnings(&config).await {
        // A closed standard error shows nothing.
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    Ok(ExitCode::SUCCESS)
}

/// What the configuration itself shows, and settings of functions that are not deployed.
async fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = config.warnings();
    if !config.named_functions.is_empty() {
        warnings.extend(warnings_of_functions(config).await);
    }
    warnings
}

async fn warnings_of_functions(config: &Config) -> Vec<String> {
    match deployed(config).await {
        Ok(deployed) => app::warnings_of_undeployed(config, &deployed),
        Err(error) => {
            let folder = config.functions_dir.display();
            vec![format!(
                "the functions in {folder} cannot be read ({error:#}), so the names under `function.` are not checked"
            )]
        }
    }
}

/// The names of the deployed functions, as far as the configuration needs them. The file of a function is usually named
/// after it; only components with other file names are loaded to learn their names, because that takes seconds.
async fn deployed(config: &Config) -> anyhow::Result<BTreeSet<String>> {
    let paths = components(&config.functions_dir)?;
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut names: BTreeSet<String> = paths.iter().map(|path| stem(path)).collect();
    if config.named_functions.iter().any(|name| !names.contains(name)) {
        let is_built_in = |path: &PathBuf| BUILT_IN.contains(&stem(path).as_str());
        let others: Vec<PathBuf> = paths.into_iter().filter(|path| !is_built_in(path)).collect();
        names.extend(app::function_names(config, &others).await?);
    }
    Ok(names)
}

fn components(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let is_component = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "wasm");
    Ok(entries.into_iter().map(|entry| entry.path()).filter(is_component).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    #[tokio::test]
    async fn settings_of_a_function_that_is_not_deployed_are_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("typing.wasm"), b"").unwrap();
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let environment = vec![
            variable("ROOST_FUNCTIONS_DIR", folder.path().to_str().unwrap()),
            variable("ROOST_FUNCTION__TYPING__QUEUE_MAX", "1"),
            variable("ROOST_FUNCTION__TIPYNG__QUEUE_MAX", "1"),
        ];
        let config = Sources { environment, ..Sources::default() }.load().unwrap();
        let expected = "the configuration has settings for `function.tipyng`, but no function of this name is deployed; \
                        correct the name, or deploy the function; deployed are: typing";
        assert_eq!(warnings(&config).await, [expected]);
    }
}
