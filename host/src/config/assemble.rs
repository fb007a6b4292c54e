//! Builds the typed configuration from the settings and reports every error at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::built_in::{BUILT_IN, default_grants};
use super::checks;
use super::keys::{
    AuthConfig, BackendConfig, Config, ConnectsConfig, ConversationsConfig, DeploymentsConfig, FunctionConfig,
    GrantsConfig, HttpConfig, PostgresConfig, RecordsChoice, RedisConfig, SocketConfig, StoreChoice, TokenKeySources,
    UsersConfig,
};
use super::layers::Settings;
use super::listing::Listing;
use super::reader::{KeyTable, Reader};
use super::value::{RecordsLocation, StoreLocation};
use super::{ConfigErrors, RecordsUrl, SqliteLocation, StoreUrl, TokenKey};

impl Settings {
    pub(super) fn assemble(self, needs_keys: bool) -> Result<(Config, Listing), ConfigErrors> {
        let mut reader = Reader::new(self);
        let config = read(&mut reader);
        checks::run(&mut reader, &config, needs_keys);
        let mut errors = reader.settings.errors;
        if errors.is_empty() {
            let listing = Listing::new(&reader.settings.values, &config.named_functions);
            return Ok((config, listing));
        }
        // The file from its first line to its last, then everything else in the order of reading.
        errors.sort_by_key(|error| (error.line.is_none(), error.line));
        Err(ConfigErrors(errors))
    }
}

fn read(reader: &mut Reader) -> Config {
    let complete = Config::read(reader);
    let data_dir: PathBuf = reader.value("data_dir");
    let named = named_functions(reader);
    complete(
        store(reader),
        records(reader, &data_dir),
        auth(reader),
        SocketConfig::read(reader)(),
        HttpConfig::read(reader)(),
        DeploymentsConfig::read(reader)(),
        ConversationsConfig::read(reader)(),
        reader.within(KeyTable::FunctionDefaults, FunctionConfig::read)(None),
        functions(reader, &named),
        named,
        UsersConfig::read(reader)(),
        ConnectsConfig::read(reader)(),
    )
}

/// The settings of Redis are checked even where the store is in this process, as all settings are.
fn store(reader: &mut Reader) -> StoreUrl {
    let StoreChoice { url, memory_bytes_max } = StoreChoice::read(reader)();
    let redis = RedisConfig::read(reader);
    match url {
        StoreLocation::Memory => StoreUrl::Memory { bytes_max: memory_bytes_max },
        StoreLocation::Redis(url) => StoreUrl::Redis(Box::new(redis(url))),
    }
}

fn records(reader: &mut Reader, data_dir: &Path) -> RecordsUrl {
    let RecordsChoice { url } = RecordsChoice::read(reader)();
    let (postgres, backend) = (PostgresConfig::read(reader), BackendConfig::read(reader));
    match url {
        RecordsLocation::SqliteMemory => RecordsUrl::Sqlite(SqliteLocation::Memory),
        RecordsLocation::SqliteFile(file) => RecordsUrl::Sqlite(SqliteLocation::File(data_dir.join(file))),
        RecordsLocation::Postgres(url) => RecordsUrl::Postgres(postgres(url)),
        RecordsLocation::Http(url) => RecordsUrl::Http(backend(url)),
    }
}

fn auth(reader: &mut Reader) -> AuthConfig {
    let TokenKeySources { secrets, public_keys, jwks, jwks_url } = TokenKeySources::read(reader)();
    let secrets = secrets.into_iter().map(TokenKey::Secret);
    let files = public_keys.into_iter().map(TokenKey::PublicKey).chain(jwks.into_iter().map(TokenKey::Jwks));
    let url = jwks_url.into_iter().map(TokenKey::JwksUrl);
    AuthConfig::read(reader)(secrets.chain(files).chain(url).collect())
}

fn named_functions(reader: &Reader) -> BTreeSet<String> {
    let names = reader.settings.values.keys().filter_map(|key| key.strip_prefix("function.")?.split('.').next());
    names.map(str::to_owned).collect()
}

/// The built-in functions and every function that the configuration names.
fn functions(reader: &mut Reader, named: &BTreeSet<String>) -> BTreeMap<String, FunctionConfig> {
    let names: BTreeSet<String> = named.iter().cloned().chain(BUILT_IN.map(str::to_owned)).collect();
    names.into_iter().map(|name| (name.clone(), function(reader, name))).collect()
}

fn function(reader: &mut Reader, name: String) -> FunctionConfig {
    let default_grants = default_grants(&name);
    reader.within(KeyTable::Function(name), |reader| {
        let grants_are_set = GrantsConfig::KEYS.iter().any(|key| reader.is_set(&reader.full_name(key.name)));
        let grants = GrantsConfig::read(reader)();
        FunctionConfig::read(reader)(if grants_are_set { Some(grants) } else { default_grants })
    })
}
