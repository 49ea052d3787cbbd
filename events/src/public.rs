//! What may stand in the public part of an event, which is kept for ever and read by auditors.
//!
//! The compiler sees to it: an event is encoded only if it is [`Public`], and nothing is that but ids, hashes, numbers,
//! [`Word`]s, [`Hex`], and shapes of these that are declared in [`public!`](crate::public!). Whatever else can hold a
//! text — a `String`, a JSON value, a shape declared elsewhere — is refused, however deep it hides.
//! What a person wrote or is called is sealed, and has no field.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    ids::{
        AccountId, BatchId, BlobHash, Chain, DeviceId, EntryId, Epoch, EventId, Hash32, Position, PublicKey,
        Seq, SessionId, SetDigest, Signature, StreamId, StreamKind, SubjectId, VaultId, VersionId,
    },
    time::Micros,
    word::{Hex, Word},
};

/// What cannot hold a text that a person wrote or is called.
///
/// Never implemented by hand: [`public!`](crate::public!) does it for a shape whose fields have it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` may not stand in the public part of an event",
    label = "this could hold what a person wrote or is called",
    note = "a word of our own is a `Word`, bytes that we made are `Hex` or a hash, a shape of such is declared in \
            `public!`",
    note = "what is personal is no field: it is sealed"
)]
pub trait Public {}

macro_rules! never_personal {
    ($($type:ty),+ $(,)?) => { $(impl Public for $type {})+ };
}

never_personal!(bool, u16, u32, u64, i64, Micros, Position, Seq);
never_personal!(
    AccountId, BatchId, DeviceId, EntryId, EventId, SessionId, StreamId, SubjectId, Uuid, VaultId
);
never_personal!(BlobHash, Chain, Epoch, Hash32, PublicKey, SetDigest, Signature, VersionId);
never_personal!(StreamKind, Word, Hex);

/// A SHA-256 that is kept as a list of numbers.
impl Public for [u8; 32] {}
impl<T: Public> Public for Option<T> {}
impl<T: Public> Public for Vec<T> {}
impl<T: Public> Public for Box<T> {}
impl<K: Public, V: Public> Public for BTreeMap<K, V> {}

/// Compiles if `T` may stand in the public part of an event.
#[doc(hidden)]
pub const fn holds<T: Public>() {}

/// Declares shapes of the public part: structs with named fields, and enums. They are what they would be without it;
/// and each is [`Public`](crate::public::Public), because every field is, or the field does not compile.
///
/// ```
/// use lockstep_events::{Word, ids::DeviceId, public};
///
/// public! {
///     /// A device was greeted.
///     #[derive(Debug, Clone)]
///     pub struct Greeted {
///         /// The device.
///         pub device: DeviceId,
///         /// With which words.
///         pub words: Vec<Word>,
///         /// How.
///         pub how: How,
///     }
///
///     /// How a device is greeted.
///     #[derive(Debug, Clone, Copy)]
///     pub enum How {
///         /// Once.
///         Once,
///         /// Again and again.
///         Often {
///             /// How often.
///             times: u32,
///         },
///     }
/// }
/// ```
///
/// Each of these compiles with the type that the example above has in its place, and not as it stands. A `String` does
/// not say that it is not personal:
///
/// ```compile_fail,E0277
/// lockstep_events::public! { pub struct Greeted { pub name: String } }
/// ```
/// ```compile_fail,E0277
/// lockstep_events::public! { pub struct Greeted { pub name: &'static str } }
/// ```
/// ```compile_fail,E0277
/// lockstep_events::public! { pub struct Greeted { pub name: std::borrow::Cow<'static, str> } }
/// ```
/// ```
/// lockstep_events::public! { pub struct Greeted { pub name: lockstep_events::Word } }
/// ```
///
/// It does not where it may be missing, or is one of many, or a key:
///
/// ```compile_fail,E0277
/// lockstep_events::public! { pub struct Greeted { pub name: Option<String> } }
/// ```
/// ```
/// lockstep_events::public! { pub struct Greeted { pub name: Option<lockstep_events::Word> } }
/// ```
/// ```compile_fail,E0277
/// lockstep_events::public! { pub struct Greeted { pub names: Vec<String> } }
/// ```
/// ```
/// lockstep_events::public! { pub struct Greeted { pub names: Vec<lockstep_events::Word> } }
/// ```
/// ```compile_fail,E0277
/// lockstep_events::public! { pub struct Greeted { pub names: std::collections::BTreeMap<String, bool> } }
/// ```
/// ```
/// # use lockstep_events::Word;
/// lockstep_events::public! { pub struct Greeted { pub names: std::collections::BTreeMap<Word, bool> } }
/// ```
///
/// Nor does JSON of any shape:
///
/// ```compile_fail,E0277
/// lockstep_events::public! { pub struct Greeted { pub with: serde_json::Value } }
/// ```
/// ```
/// lockstep_events::public! { pub struct Greeted { pub with: lockstep_events::Hex } }
/// ```
///
/// Nor a variant of an enum:
///
/// ```compile_fail,E0277
/// lockstep_events::public! { pub enum How { Once, By { name: String } } }
/// ```
/// ```
/// lockstep_events::public! { pub enum How { Once, By { name: lockstep_events::Word } } }
/// ```
/// ```compile_fail,E0277
/// lockstep_events::public! { pub enum How { Once, By(String) } }
/// ```
/// ```
/// lockstep_events::public! { pub enum How { Once, By(lockstep_events::Word) } }
/// ```
///
/// Nor a shape that is declared without it, which could have any field:
///
/// ```compile_fail,E0277
/// pub struct Device { pub id: lockstep_events::DeviceId }
/// lockstep_events::public! { pub struct Greeted { pub device: Device } }
/// ```
/// ```
/// lockstep_events::public! { pub struct Device { pub id: lockstep_events::DeviceId } }
/// lockstep_events::public! { pub struct Greeted { pub device: Device } }
/// ```
#[macro_export]
macro_rules! public {
    () => {};
    (@of $name:ident: $($type:ty,)*) => {
        impl $crate::public::Public for $name {}
        const _: () = { $($crate::public::holds::<$type>();)* };
    };
    (
        $(#[$about:meta])*
        $seen:vis struct $name:ident {
            $($(#[$field_about:meta])* $field_seen:vis $field:ident: $type:ty),* $(,)?
        }
        $($rest:tt)*
    ) => {
        $(#[$about])*
        $seen struct $name { $($(#[$field_about])* $field_seen $field: $type),* }
        $crate::public! { @of $name: $($type,)* }
        $crate::public! { $($rest)* }
    };
    (
        $(#[$about:meta])*
        $seen:vis enum $name:ident {
            $(
                $(#[$variant_about:meta])*
                $variant:ident
                $({ $($(#[$field_about:meta])* $field:ident: $type:ty),* $(,)? })?
                $(($inner:ty))?
                $(= $number:literal)?
            ),* $(,)?
        }
        $($rest:tt)*
    ) => {
        $(#[$about])*
        $seen enum $name {
            $(
                $(#[$variant_about])*
                $variant $({ $($(#[$field_about])* $field: $type),* })? $(($inner))? $(= $number)?
            ),*
        }
        $crate::public! { @of $name: $($($($type,)*)? $($inner,)?)* }
        $crate::public! { $($rest)* }
    };
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::{Value, value::RawValue};

    use super::{Public, Word, holds};

    /// Compiles as long as none of them is `Public`: for one that is, both implementations fit, and the compiler
    /// cannot tell which is meant.
    macro_rules! refused {
        ($($type:ty),+ $(,)?) => {$(
            const _: fn() = || {
                trait Told<Which> { fn apart() {} }
                struct Yes;
                impl<T: ?Sized> Told<()> for T {}
                impl<T: ?Sized + Public> Told<Yes> for T {}
                <$type as Told<_>>::apart();
            };
        )+};
    }

    refused!(String, str, &'static str, Cow<'static, str>, Box<str>, char, Value, Box<RawValue>, f64);
    refused!(Option<String>, Vec<String>, Box<Value>, std::collections::BTreeMap<Word, String>, Vec<u8>, [u8; 33]);
    refused!(crate::NewEvent, crate::Sealed, crate::Content, crate::standing::Standing);

    const _: () = holds::<Option<Vec<Box<Word>>>>();
}
