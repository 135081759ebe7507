//! The two names of a logical unit, each a type of its own: a value of one cannot be passed where the other is meant.
//!
//! [`crate::psa::identity`] has the rules by which both follow from VPD page 83h. Names become text again where they
//! leave `psa`: in notices, reports, answers of the API and names of maps.

use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;

/// Defines a name: text that is compared, hashed, stored and printed as the text is. It does not dereference to `str`,
/// because a function that takes text would then take either name.
macro_rules! name {
    ($(#[$doc:meta])* $Name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $Name(String);

        impl $Name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<String> for $Name {
            fn from(text: String) -> $Name {
                $Name(text)
            }
        }

        impl From<&str> for $Name {
            fn from(text: &str) -> $Name {
                $Name(text.to_owned())
            }
        }

        impl From<$Name> for String {
            fn from(name: $Name) -> String {
                name.0
            }
        }

        /// For lookups by text from outside: from a request, or from the UUID of a map.
        impl Borrow<str> for $Name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name! {
    /// The WWID of a logical unit: udev's `ID_SERIAL`, `360014050123456789abcdef012345678`. It is the key of a device,
    /// and its dm UUID without `mpath-`.
    ///
    /// It comes from VPD page 83h ([`crate::psa::identity`]), from the UUID of a map that exists, or from a file that
    /// has WWIDs of earlier. A device that does not name itself has its device id here too.
    Wwid
}

name! {
    /// The device id of a logical unit: its name on ESXi, `naa.60014050123456789abcdef012345678`. It is the name that an
    /// admin uses, the key of what is set for a device, and by default the dm name of its map.
    ///
    /// It comes from VPD page 83h ([`crate::psa::identity`]), until then from the
    /// memory of the agent or from the WWID (`assumed_id` of the world), or from a request, a rule or a file of the admin.
    DeviceId
}
