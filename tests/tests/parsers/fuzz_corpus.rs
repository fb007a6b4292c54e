//! Replays the inputs of `tests/fuzz/corpus` through the fuzz targets, and random mutations of them. `tests/fuzz/run`
//! searches for new inputs with libFuzzer.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use roost_tests::fuzz::{TARGETS, Target};

/// Mutations of each input in every run of the tests.
const MUTATIONS: u64 = 20;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// The inputs of a target by file name.
fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = corpus().join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut inputs: Vec<_> = files
        .map(|file| {
            let path = file.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())
        })
        .collect();
    inputs.sort();
    inputs
}

/// Random numbers that depend on the seed alone (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) as usize % bound.max(1)
    }

    /// Changes, inserts, removes or repeats bytes.
    fn mutate(&mut self, input: &[u8]) -> Vec<u8> {
        let mut output = input.to_vec();
        for _ in 0..=self.below(4) {
            let position = self.below(output.len());
            match self.below(5) {
                0 => output.truncate(position),
                1 => output.insert(position, self.below(256) as u8),
                2 if !output.is_empty() => drop(output.remove(position)),
                3 => output.extend_from_within(position..),
                _ => output.iter_mut().skip(position).take(1).for_each(|byte| *byte ^= 1 << (position % 8)),
            }
        }
        output
    }
}

/// Runs one input; a failure names the target and prints the input.
fn run(target: Target, name: &str, input: &[u8]) {
    let ran = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    assert!(ran.is_ok(), "{} failed for {name}: {}", target.name, input.escape_ascii());
}

fn replay(name: &str) {
    let target = roost_tests::fuzz::target(name).unwrap();
    let inputs = inputs(name);
    assert!(!inputs.is_empty(), "{name} has no corpus");
    for (number, (file, input)) in inputs.iter().enumerate() {
        run(target, file, input);
        let mut random = Random(number as u64);
        for mutation in 0..MUTATIONS {
            run(target, &format!("mutation {mutation} of {file}"), &random.mutate(input));
        }
    }
}

macro_rules! replays {
    ($($target:ident),* $(,)?) => {
        $(#[test]
        fn $target() {
            replay(stringify!($target));
        })*

        #[test]
        fn every_target_has_a_corpus_and_a_test() {
            let tested = BTreeSet::from([$(stringify!($target).to_owned()),*]);
            let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
            let folders = fs::read_dir(corpus()).unwrap();
            let folders: BTreeSet<String> =
                folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect();
            assert_eq!(tested, targets);
            assert_eq!(folders, targets);
        }
    };
}

replays! {
    bearer_token,
    client_frame,
    component,
    config_environment,
    config_file,
    config_url,
    feed_position,
    function_body,
    page_cursor,
    query_string,
    records_answer,
    redis_reply,
    structured_key,
    subprotocols,
    token_claims,
}
