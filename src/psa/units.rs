//! Units and addresses as types, so that numbers need no suffix in their names.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// Milliseconds: a duration, or a time on a monotonic clock whose origin the agent chooses.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// The time `span` after this one; saturates instead of wrapping.
    #[must_use]
    pub fn after(self, span: Millis) -> Millis {
        Millis(self.0.saturating_add(span.0))
    }

    /// How much time passed since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Millis) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }

    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Millis {
        Millis(secs.saturating_mul(1000))
    }
}

impl From<Duration> for Millis {
    /// Saturates.
    fn from(span: Duration) -> Millis {
        Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A length in sectors of 512 bytes, the unit of every device-mapper table.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Sectors(pub u64);

/// A block device number, `major:minor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DevT {
    /// Major number, 12 bits in Linux.
    pub major: u32,
    /// Minor number, 20 bits in Linux.
    pub minor: u32,
}

/// The SCSI address of a path on this host: host, channel, target (SAM "id") and LUN as the kernel prints them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hctl {
    /// SCSI host number, `hostN`.
    pub host: u32,
    /// Channel (bus).
    pub channel: u32,
    /// Target id.
    pub target: u32,
    /// Logical unit number, as an integer.
    pub lun: u64,
}

impl Hctl {
    /// All addresses of a SCSI host.
    pub(crate) fn of_host(host: u32) -> RangeInclusive<Hctl> {
        let end = |end, lun| Hctl {
            host,
            channel: end,
            target: end,
            lun,
        };
        end(0, 0)..=end(u32::MAX, u64::MAX)
    }

    /// The addresses of all paths from the same host port to the same target port: all LUNs of one I_T nexus.
    pub(crate) fn nexus(self) -> RangeInclusive<Hctl> {
        let lun = |lun| Hctl { lun, ..self };
        lun(0)..=lun(u64::MAX)
    }
}

/// By host, channel, target and LUN. A check of a path looks it up several times, with a dozen comparisons each. So the
/// likely case, paths of the same host, takes two comparisons.
impl Ord for Hctl {
    #[inline]
    fn cmp(&self, other: &Hctl) -> Ordering {
        let bus = |path: &Hctl| u64::from(path.host) << 32 | u64::from(path.channel);
        let (mine, theirs) = (bus(self), bus(other));
        if mine != theirs {
            return mine.cmp(&theirs);
        }
        if self.target != other.target {
            return self.target.cmp(&other.target);
        }
        self.lun.cmp(&other.lun)
    }
}

impl PartialOrd for Hctl {
    fn partial_cmp(&self, other: &Hctl) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The number of an sg device: 3 is `sg3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sg(pub u32);

impl fmt::Display for Sg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sg{}", self.0)
    }
}

impl FromStr for Sg {
    type Err = FormError;
    fn from_str(text: &str) -> Result<Self, FormError> {
        let form = "sgN";
        let number = text
            .strip_prefix("sg")
            .map(|digits| numbers::<1>(digits, form));
        let narrow = |[n]: [u64; 1]| u32::try_from(n).ok().map(Sg);
        number
            .and_then(Result::ok)
            .and_then(narrow)
            .ok_or_else(|| FormError {
                text: text.to_owned(),
                form,
            })
    }
}

/// A text that does not have the expected form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not of the form {form}")]
pub struct FormError {
    /// The text as it was given.
    pub text: String,
    /// The expected form.
    pub form: &'static str,
}

/// Splits `text` at `:` into exactly `N` unsigned numbers.
fn numbers<const N: usize>(text: &str, form: &'static str) -> Result<[u64; N], FormError> {
    let wrong = || FormError {
        text: text.to_owned(),
        form,
    };
    let mut fields = text.split(':');
    let mut out = [0; N];
    for slot in &mut out {
        let field = fields.next().ok_or_else(wrong)?;
        if !field.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        *slot = field.parse().map_err(|_| wrong())?;
    }
    if fields.next().is_some() {
        Err(wrong())
    } else {
        Ok(out)
    }
}

impl FromStr for DevT {
    type Err = FormError;
    fn from_str(text: &str) -> Result<Self, FormError> {
        let form = "major:minor";
        let [major, minor] = numbers::<2>(text, form)?;
        let narrow = |n: u64| {
            u32::try_from(n).map_err(|_| FormError {
                text: text.to_owned(),
                form,
            })
        };
        Ok(DevT {
            major: narrow(major)?,
            minor: narrow(minor)?,
        })
    }
}

impl FromStr for Hctl {
    type Err = FormError;
    fn from_str(text: &str) -> Result<Self, FormError> {
        let form = "host:channel:target:lun";
        let [host, channel, target, lun] = numbers::<4>(text, form)?;
        let narrow = |n: u64| {
            u32::try_from(n).map_err(|_| FormError {
                text: text.to_owned(),
                form,
            })
        };
        Ok(Hctl {
            host: narrow(host)?,
            channel: narrow(channel)?,
            target: narrow(target)?,
            lun,
        })
    }
}

impl fmt::Display for DevT {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl fmt::Display for Hctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}:{}",
            self.host, self.channel, self.target, self.lun
        )
    }
}

macro_rules! text_form {
    ($type:ty) => {
        impl TryFrom<String> for $type {
            type Error = FormError;
            fn try_from(text: String) -> Result<Self, FormError> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.to_string()
            }
        }
    };
}
text_form!(DevT);
text_form!(Sg);
text_form!(Hctl);
