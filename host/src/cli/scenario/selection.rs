//! Which scenarios `roost test` runs, and on which components: those of functions that are built from their sources, or
//! files of components, whatever language they were made from.

use std::path::{Path, PathBuf};

use anyhow::bail;

use super::TestArgs;
use super::file::ScenarioFile;
use crate::cli::build::{self, command};
use crate::cli::source;

/// The file with the scenario of a function, in the folder of its crate or beside its component.
const FILE: &str = "scenario.toml";
/// Where components are built, in cargo's target folder. They are not served by `roost dev` from there.
const BUILT: &str = "function-tests";

/// A function with its scenario.
pub(super) struct FunctionTest {
    /// The name of the function, or the path of its component as it was given.
    pub(super) function: String,
    /// The file of its component, if it is named; otherwise the component has the function's name.
    pub(super) component: Option<PathBuf>,
    pub(super) scenario: ScenarioFile,
}

impl FunctionTest {
    fn of_crate(function: &str, scenario: &Path) -> anyhow::Result<Self> {
        Ok(Self { function: function.to_owned(), component: None, scenario: ScenarioFile::read(scenario)? })
    }

    fn of_component(component: &str, scenario: Option<&Path>) -> anyhow::Result<Self> {
        let path = PathBuf::from(component);
        let beside = path.with_file_name(FILE);
        let scenario = ScenarioFile::read(scenario.unwrap_or(&beside))?;
        Ok(Self { function: component.to_owned(), component: Some(path), scenario })
    }
}

/// Whether an argument names the file of a component. A function's name has no dot.
fn is_component(argument: &str) -> bool {
    Path::new(argument).extension().is_some_and(|extension| extension == "wasm")
}

/// Finds the scenarios, and builds the components that they need. Answers the folder of the components, too.
pub(super) async fn prepare(args: &TestArgs) -> anyhow::Result<(Vec<FunctionTest>, PathBuf)> {
    if args.scenario.is_some() && args.functions.len() != 1 {
        bail!("--scenario is for one function, so name one: `roost test NAME --scenario FILE`");
    }
    if let (Some(scenario), Some(components), [function]) = (&args.scenario, &args.components, &args.functions[..])
        && !is_component(function)
    {
        return Ok((vec![FunctionTest::of_crate(function, scenario)?], components.clone()));
    }
    let (files, named): (Vec<String>, Vec<String>) =
        args.functions.iter().cloned().partition(|each| is_component(each));
    let scenario = args.scenario.as_deref();
    let mut tests: Vec<FunctionTest> =
        files.iter().map(|file| FunctionTest::of_component(file, scenario)).collect::<anyhow::Result<_>>()?;
    let needs_sources = !named.is_empty() || files.is_empty();
    if let (Some(components), false) = (&args.components, needs_sources) {
        return Ok((tests, components.clone()));
    }
    if !needs_sources && tests.iter().all(|test| test.scenario.given.functions.is_empty()) {
        return Ok((tests, PathBuf::new()));
    }
    let source = source::find(args.source.as_deref())?;
    let functions = build::functions(&source).await?;
    if needs_sources {
        tests.extend(find(&named, scenario, &functions)?);
    }
    if let Some(components) = &args.components {
        return Ok((tests, components.clone()));
    }
    let out = functions.target_folder.join(BUILT);
    command::named(&source, &out, &names(&tests)).await?;
    Ok((tests, out))
}

/// The functions that have to be built, each once.
fn names(tests: &[FunctionTest]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for test in tests {
        let own = test.component.is_none().then_some(&test.function);
        for name in own.into_iter().chain(&test.scenario.given.functions) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    names
}

/// The tests of the named functions of the sources; without names, of all that have a scenario.
fn find(
    named: &[String],
    scenario: Option<&Path>,
    functions: &build::SourceFunctions,
) -> anyhow::Result<Vec<FunctionTest>> {
    if named.is_empty() {
        let with_scenario = functions.crates.iter().filter(|each| each.by_default && each.folder.join(FILE).is_file());
        let read = |each: &build::FunctionCrate| FunctionTest::of_crate(&each.name, &each.folder.join(FILE));
        let tests: Vec<_> = with_scenario.map(read).collect::<Result<_, _>>()?;
        if tests.is_empty() {
            bail!("no function has a {FILE} beside its Cargo.toml; docs/testing.md describes the format");
        }
        return Ok(tests);
    }
    let read = |name: &String| {
        let Some(found) = functions.crates.iter().find(|each| each.name == *name) else {
            let known = functions.crates.iter().map(|each| each.name.clone()).collect();
            return Err(build::BuildError::UnknownFunction { name: name.clone(), known }.into());
        };
        FunctionTest::of_crate(name, scenario.unwrap_or(&found.folder.join(FILE)))
    };
    named.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_components_and_names_of_functions_are_kept_apart() {
        assert!(is_component("dist/reactions-js.wasm") && is_component("./a.wasm"));
        assert!(!is_component("reactions") && !is_component("wasm"));
    }

    #[test]
    fn a_component_is_not_built_and_what_it_needs_is() {
        let text = "[given]\nfunctions = [\"messaging\"]\n[[case]]\nname = \"a\"\n[[case.step]]\nwait = \"1s\"\n";
        let scenario = || ScenarioFile::parse(Path::new("scenario.toml"), text.to_owned()).unwrap();
        let tests = [
            FunctionTest { function: "a.wasm".into(), component: Some("a.wasm".into()), scenario: scenario() },
            FunctionTest { function: "typing".into(), component: None, scenario: scenario() },
        ];
        assert_eq!(names(&tests), ["messaging", "typing"]);
    }
}
