//! What the checks of a path found, and how its SATP judges that.

use crate::psa::evidence::{Class, Judgement, Link, PathState};
use crate::psa::units::Millis;
use serde::{Deserialize, Serialize};

/// The health of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health {
    /// The result of the last check.
    link: Link,
    /// The judgement of the SATP.
    judgement: Judgement,
    /// It was judged since the last look at its device. Any change of what the judgement depends on causes a look at
    /// the device too, so until then the same answer means the same.
    is_current: bool,
    /// When the check was sent that found the unit permanently lost; `None` while it is not.
    lost_at: Option<Millis>,
    /// Since when it has its current state; for users.
    since: Millis,
}

impl Health {
    /// A path that was not checked yet.
    pub(super) fn new(now: Millis) -> Health {
        let reason = "not checked yet";
        Health {
            link: Link::Unchecked(reason.to_owned()),
            judgement: Judgement {
                state: PathState::Unknown,
                reason: reason.to_owned(),
                class: None,
            },
            is_current: false,
            lost_at: None,
            since: now,
        }
    }

    /// A masked path whose SCSI device was removed from the host.
    pub(super) fn withdrawn(now: Millis) -> Health {
        let reason = "owned by MASK_PATH: its SCSI device was removed from the host";
        Health {
            link: Link::Unchecked(String::new()),
            judgement: Judgement {
                state: PathState::Masked,
                reason: reason.to_owned(),
                class: None,
            },
            ..Health::new(now)
        }
    }

    /// The result of the last check.
    #[must_use]
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    pub(super) fn set_link(&mut self, link: Link) {
        self.link = link;
    }

    /// The array changed the states of its port groups. A refusal is older than that.
    pub(in crate::psa) fn groups_changed(&mut self) {
        if matches!(self.link, Link::Refused(..)) {
            self.link = Link::Up;
        }
    }

    /// All answers of a check that was sent at this time are known.
    pub(in crate::psa) fn checked(&mut self, sent: Millis) {
        self.lost_at = matches!(self.link, Link::PermanentLoss(_)).then_some(sent);
    }

    /// When the check was sent that found the unit permanently lost; `None` while it is not.
    pub(in crate::psa) fn lost_at(&self) -> Option<Millis> {
        self.lost_at
    }

    /// The judgement of the SATP.
    #[must_use]
    pub(crate) fn judgement(&self) -> &Judgement {
        &self.judgement
    }

    /// The SATP judged the path. Returns the judgement from before, if it was another one.
    pub(super) fn judged(&mut self, judgement: Judgement, now: Millis) -> Option<Judgement> {
        self.is_current = true;
        if judgement == self.judgement {
            return None;
        }
        if judgement.state != self.judgement.state {
            self.since = now;
        }
        Some(std::mem::replace(&mut self.judgement, judgement))
    }

    /// The path takes another place among the paths of its device; `None`: its place is not known any more.
    pub(in crate::psa) fn set_class(&mut self, class: Option<Class>) {
        self.judgement.class = class;
    }

    /// Whether it was judged since the last look at its device.
    pub(in crate::psa) fn is_current(&self) -> bool {
        self.is_current
    }

    /// What the judgement depends on may have changed.
    pub(in crate::psa) fn expire(&mut self) {
        self.is_current = false;
    }

    /// Since when it has its current state.
    #[must_use]
    pub(crate) fn since(&self) -> Millis {
        self.since
    }
}
