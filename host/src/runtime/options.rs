//! The part of the configuration that concerns functions.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::allowance::{Allowance, OwnSources};
use crate::config::{Config, FunctionConfig, SigningKeys};

/// What functions may use, and where their compiled form is cached.
#[derive(Clone, Debug)]
pub struct Options {
    /// For every function that has no settings of its own.
    pub defaults: FunctionConfig,
    /// The settings of single functions, by the name in their manifest.
    pub named: BTreeMap<String, FunctionConfig>,
    /// The folder of the compilation cache; without one, every start compiles all functions. The key that authenticates
    /// the entries is beside it, with the extension `key`.
    pub cache_dir: Option<PathBuf>,
    /// If there are any, each component needs a signature of one of them.
    pub signing_keys: SigningKeys,
    /// The developer's own functions, which are allowed what they ask for unless the configuration names their grants.
    pub own_sources: Option<OwnSources>,
}

impl Options {
    /// What the configuration says. Nothing is cached, and no function is the developer's own.
    pub fn of_config(config: &Config) -> Self {
        Self {
            defaults: config.function_defaults.clone(),
            named: config.functions.clone(),
            cache_dir: None,
            signing_keys: config.signing_keys.clone(),
            own_sources: None,
        }
    }

    /// The settings of the function with this name.
    pub fn of(&self, name: &str) -> &FunctionConfig {
        self.named.get(name).unwrap_or(&self.defaults)
    }

    /// What the function with this name is allowed, and whether only because it is the developer's own.
    pub(crate) fn allowance(&self, name: &str) -> (Allowance, bool) {
        match &self.of(name).grants {
            Some(configured) => (Allowance::of_config(configured), false),
            None if self.own_sources.as_ref().is_some_and(|own| own.contains(name)) => (Allowance::EVERYTHING, true),
            None => (Allowance::NOTHING, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn options(set: &[(&str, &str)]) -> Options {
        let environment = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Options::of_config(&Sources { environment, ..Sources::default() }.load().unwrap())
    }

    #[test]
    fn only_built_in_functions_and_configured_ones_are_allowed_anything() {
        let options = options(&[
            ("ROOST_FUNCTION__WEATHER__GRANTS__PUBLISH", "true"),
            ("ROOST_FUNCTION__SLOW__DEADLINE_MS", "4000"),
        ]);
        assert_eq!(options.allowance("typing").0, Allowance::parse("publish,records.membership").unwrap());
        assert_eq!(options.allowance("weather").0, Allowance::parse("publish").unwrap());
        for unknown in ["polls", "slow"] {
            assert_eq!(options.allowance(unknown), (Allowance::NOTHING, false), "{unknown}");
        }
    }

    #[test]
    fn the_developers_own_functions_are_allowed_everything_unless_they_are_configured() {
        let mut options = options(&[("ROOST_FUNCTION__WEATHER__GRANTS__PUBLISH", "true")]);
        options.own_sources = Some(OwnSources::new(|name| name != "foreign"));
        assert_eq!(options.allowance("polls"), (Allowance::EVERYTHING, true));
        assert_eq!(options.allowance("foreign"), (Allowance::NOTHING, false));
        assert_eq!(options.allowance("weather"), (Allowance::parse("publish").unwrap(), false));
        assert_eq!(options.allowance("typing"), (Allowance::parse("publish,records.membership").unwrap(), false));
    }
}
