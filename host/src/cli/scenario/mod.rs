//! `roost test`: runs the scenario of a function against its compiled component, on an embedded store whose time moves
//! only when the scenario says so. Every case has a world of its own.
//!
//! Exit codes: 0 every case holds, 1 some do not, 2 a scenario cannot be run.

mod file;
#[cfg(test)]
mod message_tests;
mod pattern;
mod runner;
mod selection;
mod state;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use self::file::{CaseStep, ScenarioCase, ScenarioFile};
use self::pattern::Mismatch;
use self::runner::CaseRun;
use self::selection::{FunctionTest, prepare};
use super::print::print;
use crate::app::{OfflineHost, offline_config};
use crate::config::Config;
use crate::ops::log;
use crate::runtime::Engine;
use crate::store::StepClock;

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The functions by name, or the files of components (*.wasm); without any, all functions that have a scenario.toml
    /// beside their Cargo.toml
    pub(crate) functions: Vec<String>,
    /// The folder with the functions' sources; without it, the nearest one from here upward
    #[arg(long, value_name = "FOLDER")]
    pub(crate) source: Option<PathBuf>,
    /// Another scenario of the one function that is named. The file of a component has the scenario.toml beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) scenario: Option<PathBuf>,
    /// A folder with the components to test, instead of building them
    #[arg(long, value_name = "FOLDER")]
    pub(crate) components: Option<PathBuf>,
}

/// How many cases held and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct CaseCounts {
    passed: usize,
    failed: usize,
}

/// What is the same for every case of a run.
struct TestBench {
    engine: Engine,
    config: Config,
    components: PathBuf,
    compiled: tempfile::TempDir,
}

pub(crate) async fn run(args: &TestArgs) -> ExitCode {
    const DIFFERENT: u8 = 1;
    const NOT_RUN: u8 = 2;
    match test(args).await {
        Ok(CaseCounts { failed: 0, .. }) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(DIFFERENT),
        Err(error) => {
            eprintln!("roost: {error:#}");
            ExitCode::from(NOT_RUN)
        }
    }
}

async fn test(args: &TestArgs) -> anyhow::Result<CaseCounts> {
    let config = offline_config()?;
    // The function's own log lines and the text of a panic are worth seeing.
    let _ = log::init(&config)?;
    let (tests, components) = prepare(args).await?;
    let compiled =
        tempfile::Builder::new().prefix("roost-test-").tempdir().context("no folder for compiled components")?;
    let bench = TestBench { engine: Engine::new()?, config, components, compiled };
    let mut counts = CaseCounts::default();
    for test in &tests {
        let CaseCounts { passed, failed } = bench.run(test).await?;
        counts.passed += passed;
        counts.failed += failed;
    }
    let CaseCounts { passed, failed } = counts;
    print(&format!("{}: {passed} passed, {failed} failed", number_of(passed + failed, "case")))?;
    Ok(counts)
}

impl TestBench {
    async fn run(&self, test: &FunctionTest) -> anyhow::Result<CaseCounts> {
        let FunctionTest { function, scenario, .. } = test;
        let here = std::env::current_dir().unwrap_or_default();
        let path = scenario.path.strip_prefix(&here).unwrap_or(&scenario.path);
        print(&format!("{function}: {}", path.display()))?;
        let mut counts = CaseCounts::default();
        for case in &scenario.cases {
            let failure = self.case(test, case.get_ref()).await?;
            let ScenarioCase { name, steps } = case.get_ref();
            match failure {
                None => {
                    counts.passed += 1;
                    print(&format!("  ok      {name} ({})", number_of(steps.len(), "step")))?;
                }
                Some(failure) => {
                    counts.failed += 1;
                    print(&format!("  FAILED  {name}\n{failure}"))?;
                }
            }
        }
        Ok(counts)
    }

    /// Runs a case to its end, or to the first step that does not lead to what it expects; then the report of that
    /// step.
    async fn case(&self, test: &FunctionTest, case: &ScenarioCase) -> anyhow::Result<Option<String>> {
        let FunctionTest { function, scenario, .. } = test;
        let start = runner::start(&scenario.given).map_err(anyhow::Error::msg)?;
        let built = |name: &String| self.components.join(format!("{name}.wasm"));
        let own = test.component.clone().unwrap_or_else(|| built(function));
        let components: Vec<PathBuf> = std::iter::once(own).chain(scenario.given.functions.iter().map(built)).collect();
        let cache_dir = self.compiled.path().join("compiled");
        let places = (&components[..], cache_dir.as_path());
        let host = OfflineHost::start(self.engine.clone(), &self.config, places, StepClock::at(start)).await?;
        let records = host.records.clone();
        let failure = Self::steps(scenario, case, host).await;
        records.close().await;
        failure
    }

    async fn steps(scenario: &ScenarioFile, case: &ScenarioCase, host: OfflineHost) -> anyhow::Result<Option<String>> {
        let mut run = CaseRun::begin(host, &scenario.given).await?;
        for (index, step) in case.steps.iter().enumerate() {
            let outcome = run.step(step.get_ref()).await;
            let mismatches = outcome.map_err(|error| scenario.error(step.span(), format!("{error:#}")))?;
            if !mismatches.is_empty() {
                let number = (index + 1, case.steps.len());
                return Ok(Some(report(number, scenario.line(step.span()), step.get_ref(), &mismatches)));
            }
        }
        Ok(None)
    }
}

/// What went wrong in a step.
fn report((number, steps): (usize, usize), line: usize, step: &CaseStep, mismatches: &[Mismatch]) -> String {
    let mut text = format!("    step {number} of {steps}, line {line}: {}", title(step));
    for Mismatch { place, problem } in mismatches {
        let _ = write!(text, "\n      {place}: {problem}");
    }
    text
}

/// What a step does, in a few words.
fn title(step: &CaseStep) -> String {
    let by = step.r#as.as_deref().unwrap_or_default();
    if let Some(request) = &step.request {
        format!("{request}, as {by}")
    } else if let Some(frame) = &step.frame {
        format!("the frame {frame}, from {by}")
    } else if let Some(hook) = &step.hook {
        format!("the hook {hook}, for {by}")
    } else if let Some(schedule) = &step.tick {
        format!("the schedule {schedule}")
    } else if let Some(span) = &step.wait {
        format!("{span} later")
    } else {
        "comparison".to_owned()
    }
}

/// A number with its noun.
fn number_of(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
