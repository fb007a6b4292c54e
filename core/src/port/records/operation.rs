//! The operations of the records by name, for grants, metrics and errors.

macro_rules! define_operation {
    ($($(#[$doc:meta])* $operation:ident $name:literal $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        /// An operation of the records.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Operation {
            $(#[doc = concat!("The method `", stringify!($method), "` of `Records`.")]
            $operation,)*
        }

        impl Operation {
            /// Every operation, in the order of the contract.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$operation),*];

            /// The operation's name in manifests, configuration, metrics and errors.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$operation => $name,)*
                }
            }
        }
    };
}

crate::records_operations!(define_operation);
