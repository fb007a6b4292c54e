//! What a configuration key is: its name, default, bounds and meaning, and the macro `section!` that declares the keys
//! of a section together with the struct that holds their values. The declarations are in `keys`.

use std::fmt;

use roost_core::key::Space;
use roost_core::port::Operation;

use super::redis::PREFIX_BYTES_MAX;

/// The shortest secret that HS256 allows.
pub(super) const SECRET_BYTES_MIN: usize = 32;
/// The shortest bearer key: too long to be guessed.
pub(super) const KEY_BYTES_MIN: usize = 16;

/// One configuration key, as it is declared.
pub(super) struct ConfigKey {
    /// The name in the file. The keys of functions are relative to `function_defaults` and `function.<name>`.
    pub(super) name: &'static str,
    /// The value when nothing is set; empty: the key stays unset.
    pub(super) default: &'static str,
    pub(super) allowed: Allowed,
    /// The meaning, from the doc comment of the declaration.
    help: &'static str,
    /// The placeholder of the value on the command line; `None`: the key has no flag of its own.
    pub(super) flag: Option<&'static str>,
}

impl ConfigKey {
    pub(super) const fn new(name: &'static str, default: &'static str, allowed: Allowed, help: &'static str) -> Self {
        Self { name, default, allowed, help, flag: None }
    }

    pub(super) const fn with_flag(mut self, placeholder: Option<&'static str>) -> Self {
        self.flag = placeholder;
        self
    }

    pub(super) fn help(&self) -> &'static str {
        self.help.trim()
    }
}

/// The values that a key allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    Address,
    Path,
    Text,
    Switch,
    StoreUrl,
    Prefix,
    File,
    Files,
    RecordsUrl,
    SigningKeys,
    LogFormat,
    Pooling,
    LogFilter,
    CollectorUrl,
    KeySetUrl,
    Whole {
        unit: &'static str,
        minimum: u64,
        maximum: u64,
    },
    /// Secrets that sign tokens and are never sent.
    Secrets,
    /// A secret that is sent as a bearer token.
    BearerKey,
    BearerKeys,
    Origins,
    Spaces,
    Operations,
    /// A password of another server.
    Password,
    Additions,
    Recipients,
}

impl Allowed {
    /// Whether the key takes several values: an array in the file, separated by commas elsewhere.
    pub(super) const fn is_list(self) -> bool {
        matches!(
            self,
            Self::Secrets
                | Self::BearerKeys
                | Self::Files
                | Self::SigningKeys
                | Self::Origins
                | Self::Spaces
                | Self::Operations
        )
    }

    /// Whether the value must never be shown.
    pub(super) const fn is_secret(self) -> bool {
        matches!(self, Self::Secrets | Self::BearerKey | Self::BearerKeys | Self::Password)
    }

    /// Whether TOML writes the value without quotes.
    pub(super) const fn is_bare(self) -> bool {
        matches!(self, Self::Whole { .. } | Self::Switch)
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("an IP address and a port, such as 127.0.0.1:8080 or [::1]:0"),
            Self::Path => f.write_str("a path"),
            Self::Text => f.write_str("a text"),
            Self::Switch => f.write_str("`true` or `false`"),
            Self::StoreUrl => f.write_str(
                "`memory:`, `redis://…`, `redis+cluster://…`, `redis+sentinel://…`, or with TLS `rediss://…`, \
                 `rediss+cluster://…`, `rediss+sentinel://…`",
            ),
            Self::Prefix => write!(f, "up to {PREFIX_BYTES_MAX} letters, digits, ':', '.', '_' and '-'"),
            Self::File => f.write_str("the path of a readable file"),
            Self::Files => f.write_str("paths of readable files"),
            Self::RecordsUrl => f.write_str(
                "`sqlite:<file>`, `sqlite::memory:`, `postgres://<user>:<password>@<host>:<port>/<database>` or \
                 `https://<host>/<path>` of a backend",
            ),
            Self::SigningKeys => f.write_str("paths of files with an Ed25519 public key"),
            Self::LogFormat => f.write_str("`text` or `json`"),
            Self::Pooling => f.write_str("`auto`, `session` or `transaction`"),
            Self::LogFilter => f.write_str("levels and targets, such as `info` or `warn,roost=debug`"),
            Self::CollectorUrl => f.write_str("`http://<host>:<port>` or `https://…` of a collector"),
            Self::KeySetUrl => f.write_str("`https://<host>/<path>`, or `http://…` of this machine"),
            Self::Whole { unit, minimum, maximum } => write!(f, "a whole number of {unit} from {minimum} to {maximum}"),
            Self::Secrets => write!(f, "texts of at least {SECRET_BYTES_MIN} bytes each, without commas"),
            Self::BearerKey => write!(f, "at least {KEY_BYTES_MIN} printable ASCII characters, without spaces"),
            Self::BearerKeys => {
                write!(
                    f,
                    "texts of at least {KEY_BYTES_MIN} printable ASCII characters each, without spaces and commas"
                )
            }
            Self::Origins => f.write_str("origins such as https://chat.example.com"),
            Self::Spaces => write!(f, "names of key spaces: {}", Space::ALL.map(Space::name).join(", ")),
            Self::Additions => f.write_str("`anyone`, `contacts` or `service`"),
            Self::Recipients => f.write_str("`nobody` or `false`, `caller`, `members`, `anyone` or `true`"),
            Self::Operations => {
                write!(f, "names of records operations: {}", Operation::ALL.map(Operation::name).join(", "))
            }
            Self::Password => f.write_str("a password"),
        }
    }
}

pub(super) const fn milliseconds(minimum: u64, maximum: u64) -> Allowed {
    Allowed::Whole { unit: "milliseconds", minimum, maximum }
}

pub(super) const fn bytes(minimum: u64, maximum: u64) -> Allowed {
    Allowed::Whole { unit: "bytes", minimum, maximum }
}

pub(super) const fn count(unit: &'static str, maximum: u64) -> Allowed {
    Allowed::Whole { unit, minimum: 1, maximum }
}

/// Declares the keys of a section and the struct that holds their values.
///
/// A declaration is `/// meaning`, then `"key" => field: Type = "default", allowed values;`, with `flag "PLACEHOLDER"`
/// before the semicolon where the command line has a flag for it. The doc comment is at once the documentation of the
/// field, the help of the flag, and the meaning in the reference. Fields under `given` have no key of their own: the
/// function that `read` returns takes them.
macro_rules! section {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $Section:ident {
            $(given { $($(#[$given_attribute:meta])* $given:ident: $Given:ty,)* })?
            $(
                $(#[doc = $help:literal])+
                $key:literal => $field:ident: $Field:ty = $default:literal, $allowed:expr $(, flag $placeholder:literal)?;
            )*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug)]
        $visibility struct $Section {
            $($($(#[$given_attribute])* $visibility $given: $Given,)*)?
            $(
                $(#[doc = $help])+
                #[doc = concat!("\n\nKey: `", $key, "`.")]
                $visibility $field: $Field,
            )*
        }

        impl $Section {
            pub(super) const KEYS: &'static [$crate::config::key::ConfigKey] = &[
                $(
                    $crate::config::key::ConfigKey::new($key, $default, $allowed, concat!($($help),+))
                        .with_flag(section!(@placeholder $($placeholder)?)),
                )*
            ];

            /// Reads the keys; the returned function takes the given fields.
            pub(super) fn read(
                reader: &mut $crate::config::reader::Reader,
            ) -> impl FnOnce($($($Given),*)?) -> Self + use<> {
                $(let $field: $Field = reader.value($key);)*
                move |$($($given: $Given),*)?| Self { $($($given,)*)? $($field,)* }
            }
        }
    };
    (@placeholder) => { None };
    (@placeholder $placeholder:literal) => { Some($placeholder) };
}

pub(super) use section;
