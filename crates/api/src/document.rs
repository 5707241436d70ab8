//! How a Go daemon reads and writes JSON, in one macro: every field may be absent or `null` (then it has
//! its zero value), unknown fields are ignored, names are in PascalCase.
//!
//! What a field means is written in the swagger file and not repeated beside each field.

use serde::{Deserialize, Deserializer, Serialize};

/// The empty object `{}`, which Go uses as the value of a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// `null` means the zero value, as in Go's `encoding/json`.
pub(crate) fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// For `skip_serializing_if`: Go's `omitempty`.
pub(crate) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Declares documents; see the head of this module for the rules.
macro_rules! document {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, rename_all = "PascalCase")]
        #[allow(missing_docs, reason = "fields are named and described by the swagger file")]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(deserialize_with = "crate::document::null_is_default")]
                pub $field: $type,
            )*
        }
    )*};
}
pub(crate) use document;
