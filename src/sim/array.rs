//! A simulated array: logical units behind target port groups, and the answers that they give to commands.
//!
//! Input: commands through a nexus (identified by the [`Hctl`] of a path, which stands for initiator port, target port
//! and LUN), and changes that the array makes by itself. Output: [`Answer`]s, built with the builders of `scsi`, so
//! that the parsers under test read real bytes. Every nexus has its own queue of unit attentions (SAM-6 5.14). A change
//! of access states reports 2A/06 to all nexuses except the one that requested it (SPC-5 5.18.2.6).

use super::moves::Move;
pub use super::moves::{Trespass, UnitId};
use crate::psa::units::{Hctl, Millis, Sectors};
use crate::scsi::cdb::Command;
use crate::scsi::inquiry::{PeripheralQualifier, StandardInquiry, Tpgs};
use crate::scsi::outcome::Outcome;
use crate::scsi::ownership::{CLARIION_PAGE, RDAC_PAGE};
use crate::scsi::sense::{DATA_PROTECT, ILLEGAL_REQUEST, NOT_READY, Sense, UNIT_ATTENTION};
use crate::scsi::tpgs::{
    AccessState, StatusCode, SupportedStates, TargetPortGroup, TargetPortGroups,
};
use crate::scsi::vpd::{
    Association, CodeSet, DEVICE_IDENTIFICATION, Designator, DesignatorType, DeviceIdentification,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

/// How a command ended, and the data that it returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How it ended.
    pub outcome: Outcome,
    /// Parameter data.
    pub data: Vec<u8>,
}

impl Answer {
    /// Returns GOOD with data.
    #[must_use]
    pub fn good(data: Vec<u8>) -> Answer {
        Answer {
            outcome: Outcome::Good,
            data,
        }
    }

    /// Returns CHECK CONDITION with this sense.
    #[must_use]
    pub fn check(key: u8, asc: u8, ascq: u8) -> Answer {
        Outcome::CheckCondition(Sense { key, asc, ascq }).into()
    }
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Answer {
        Answer {
            outcome,
            data: Vec::new(),
        }
    }
}

/// A target port group, as one logical unit sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortGroup {
    /// Its access state.
    pub access: AccessState,
    /// PREF.
    pub preferred: bool,
    /// What changed the state last.
    pub status_code: StatusCode,
}

/// A logical unit.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Its NAA 6 identifier.
    pub naa: [u8; 16],
    /// Its size.
    pub size: Sectors,
    /// INQUIRY vendor.
    pub vendor: String,
    /// INQUIRY product.
    pub product: String,
    /// Who can change access states.
    pub tpgs: Tpgs,
    /// The port groups and their states.
    pub groups: BTreeMap<u16, PortGroup>,
    /// When SET TARGET PORT GROUPS makes a group active/optimized, the group that had this state takes the previous
    /// state of the other one, as on arrays with two controllers. LIO leaves both active/optimized.
    pub demotes: bool,
    /// Rejects REPORT TARGET PORT GROUPS with the extended header, as SPC-3 arrays do.
    pub short_header_only: bool,
    /// The array predates target port groups: one controller serves the unit, the other is passive.
    pub trespasses: Option<Trespass>,
    /// The unit attention (ASC, ASCQ) that a trespass raises on the other nexuses. Real arrays differ, and some raise
    /// none.
    pub trespass_attention: Option<(u8, u8)>,
    /// Number of further requests to take the unit over that are rejected.
    pub trespass_refusals: u32,
    /// Page 83h has the NAA identifier only as a SCSI name string. The device id is the same then; the WWID is not.
    pub named_by_text: bool,
    /// Designators that page 83h lists for the unit after its NAA identifier.
    pub designators: Vec<Designator>,
}

impl Unit {
    /// Creates a unit of 1 GiB with these groups; both the array and hosts can change their states.
    #[must_use]
    pub fn new(number: u32, groups: &[(u16, AccessState)]) -> Unit {
        let mut naa = [0x60, 0x01, 0x40, 0x5a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        naa[12..].copy_from_slice(&number.to_be_bytes());
        Unit {
            naa,
            size: Sectors(1 << 21),
            vendor: "SIM".to_owned(),
            product: "ARRAY".to_owned(),
            tpgs: if groups.is_empty() {
                Tpgs::None
            } else {
                Tpgs::Both
            },
            groups: groups
                .iter()
                .map(|(id, access)| (*id, PortGroup::of(*access)))
                .collect(),
            demotes: true,
            short_header_only: false,
            trespasses: None,
            named_by_text: false,
            designators: Vec::new(),
            trespass_attention: None,
            trespass_refusals: 0,
        }
    }

    /// The WWID in the UUID of its map.
    #[must_use]
    pub fn wwid(&self) -> String {
        format!("{}{}", self.wwid_prefix(), self.hex())
    }

    fn wwid_prefix(&self) -> &'static str {
        if self.named_by_text { "8naa." } else { "3" }
    }

    fn hex(&self) -> String {
        let mut hex = String::with_capacity(32);
        for byte in self.naa {
            // Writing to a `String` cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }

    /// Whether a map with this UUID is the map of this unit.
    #[must_use]
    pub fn is_behind(&self, uuid: &str) -> bool {
        let wwid = uuid.strip_prefix("mpath-");
        let Some(hex) = wwid.and_then(|wwid| wwid.strip_prefix(self.wwid_prefix())) else {
            return false;
        };
        let digits = hex.as_bytes().chunks(2);
        let same = |(byte, pair): (&u8, &[u8])| {
            let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
            let digits = [byte >> 4, byte & 0xf].map(digit);
            pair.iter().map(|d| char::from(*d)).eq(digits)
        };
        hex.len() == 2 * self.naa.len() && self.naa.iter().zip(digits).all(same)
    }

    /// Its device id.
    #[must_use]
    pub fn id(&self) -> String {
        format!("naa.{}", self.hex())
    }

    /// Its access state through a port group; active/optimized if it has no groups.
    fn access(&self, group: u16) -> Option<AccessState> {
        if self.tpgs == Tpgs::None && self.trespasses.is_none() {
            return Some(AccessState::ActiveOptimized);
        }
        self.groups.get(&group).map(|group| group.access)
    }

    /// The error that commands which need the medium get in this access state; `None` if the state serves them.
    pub(super) fn refusal(&self, group: u16) -> Option<Answer> {
        let not_ready = |ascq| Some(Answer::check(NOT_READY, 0x04, ascq));
        match self.access(group) {
            Some(AccessState::Standby) if let Some(trespass) = self.trespasses => match trespass {
                Trespass::StartUnit => not_ready(0x02),
                Trespass::Clariion => not_ready(0x03),
                Trespass::Rdac => Some(Answer::check(ILLEGAL_REQUEST, 0x94, 0x01)),
            },
            Some(AccessState::Transitioning) => not_ready(0x0a),
            Some(AccessState::Standby) => not_ready(0x0b),
            Some(AccessState::Unavailable) => not_ready(0x0c),
            Some(AccessState::Offline) => not_ready(0x12),
            _ => None,
        }
    }

    fn page83(&self, lun: &Lun) -> Vec<u8> {
        let designator = |association, designator_type, bytes: Vec<u8>| Designator {
            protocol_identifier: None,
            code_set: CodeSet::Binary,
            association,
            designator_type,
            bytes,
        };
        let number = |n: u16| {
            let [high, low] = n.to_be_bytes();
            vec![0, 0, high, low]
        };
        let port = Association::TargetPort;
        let unit = Association::LogicalUnit;
        let mut designators = vec![if self.named_by_text {
            Designator {
                code_set: CodeSet::Utf8,
                ..designator(unit, DesignatorType::ScsiNameString, self.id().into_bytes())
            }
        } else {
            designator(unit, DesignatorType::Naa, self.naa.to_vec())
        }];
        designators.extend(self.designators.iter().cloned());
        designators.push(designator(
            port,
            DesignatorType::RelativeTargetPort,
            number(lun.port),
        ));
        if self.tpgs != Tpgs::None {
            designators.push(designator(
                port,
                DesignatorType::TargetPortGroup,
                number(lun.group),
            ));
        }
        DeviceIdentification {
            peripheral_qualifier: PeripheralQualifier::Connected,
            designators,
        }
        .to_bytes()
    }
}

impl PortGroup {
    fn of(access: AccessState) -> PortGroup {
        PortGroup {
            access,
            preferred: false,
            status_code: StatusCode::None,
        }
    }
}

/// The logical unit and target port behind a nexus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lun {
    /// The logical unit; `None` if the LUN is not mapped.
    pub unit: Option<UnitId>,
    /// The port group of the target port.
    pub group: u16,
    /// Relative target port identifier.
    pub port: u16,
    /// Whether writes from this initiator port are rejected.
    pub write_protected: bool,
}

/// A SET TARGET PORT GROUPS command that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stpg {
    /// The path that it was received through.
    pub nexus: Hctl,
    /// The unit.
    pub unit: UnitId,
    /// The requested states.
    pub groups: Vec<(u16, AccessState)>,
}

/// A simulated array.
#[derive(Debug, Clone, Default)]
pub struct Array {
    pub(super) units: BTreeMap<UnitId, Unit>,
    pub(super) luns: BTreeMap<Hctl, Lun>,
    /// The nexuses of each unit.
    nexuses: BTreeMap<UnitId, BTreeSet<Hctl>>,
    pub(super) attentions: BTreeMap<Hctl, VecDeque<Sense>>,
    lies: BTreeMap<Hctl, Vec<(Command, Answer)>>,
    /// A LUN that is not mapped answers as LUN 0 of LIO does: TEST UNIT READY returns GOOD, and only PERIPHERAL
    /// QUALIFIER 001b in INQUIRY data and page 83h shows that there is no unit.
    pub dummies: bool,
    /// I/O to be rejected through a nexus: the sense, and the number of commands.
    refused: BTreeMap<Hctl, (Sense, u32)>,
    /// Every SET TARGET PORT GROUPS that was carried out.
    pub stpgs: Vec<Stpg>,
    /// Every change, requested by a host, of the controller that serves a unit.
    pub moves: Vec<Move>,
    /// The current time, which is recorded with them.
    pub now: Millis,
}

impl Array {
    /// Adds a unit and returns its number, which is one more than the highest so far.
    pub fn add(&mut self, unit: Unit) -> UnitId {
        let id = self.units.keys().next_back().map_or(0, |last| last + 1);
        self.units.insert(id, unit);
        id
    }

    /// Connects a nexus to a unit through a port.
    pub fn connect(&mut self, nexus: Hctl, unit: UnitId, group: u16, port: u16) {
        let unit = Some(unit);
        let lun = Lun {
            unit,
            group,
            port,
            write_protected: false,
        };
        if let Some(before) = self.luns.insert(nexus, lun) {
            self.parted(nexus, before.unit);
        }
        self.met(nexus, unit);
    }

    fn met(&mut self, nexus: Hctl, unit: Option<UnitId>) {
        if let Some(unit) = unit {
            self.nexuses.entry(unit).or_default().insert(nexus);
        }
    }

    fn parted(&mut self, nexus: Hctl, unit: Option<UnitId>) {
        if let Some(all) = unit.and_then(|unit| self.nexuses.get_mut(&unit)) {
            all.remove(&nexus);
        }
    }

    /// The nexuses of a unit, in order.
    pub(super) fn nexuses_of(&self, unit: UnitId) -> impl Iterator<Item = Hctl> + '_ {
        self.nexuses.get(&unit).into_iter().flatten().copied()
    }

    /// The unit and port behind a nexus.
    #[must_use]
    pub fn lun(&self, nexus: Hctl) -> Option<&Lun> {
        self.luns.get(&nexus)
    }

    /// The unit behind a nexus.
    #[must_use]
    pub fn unit_at(&self, nexus: Hctl) -> Option<&Unit> {
        self.units.get(&self.luns.get(&nexus)?.unit?)
    }

    /// A unit.
    #[must_use]
    pub fn unit(&self, id: UnitId) -> Option<&Unit> {
        self.units.get(&id)
    }

    /// A unit, to be changed without a unit attention.
    pub fn unit_mut(&mut self, id: UnitId) -> Option<&mut Unit> {
        self.units.get_mut(&id)
    }

    /// All units.
    pub fn units(&self) -> impl Iterator<Item = (UnitId, &Unit)> {
        self.units.iter().map(|(id, unit)| (*id, unit))
    }

    /// The access state of the unit through a nexus; active/optimized if it has no groups.
    #[must_use]
    pub fn access(&self, nexus: Hctl) -> Option<AccessState> {
        let lun = self.luns.get(&nexus)?;
        self.units.get(&lun.unit?)?.access(lun.group)
    }

    /// Maps the LUN of a nexus to another unit, or to none. With `attention` the array reports the change (3F/0E).
    pub fn remap(&mut self, nexus: Hctl, unit: Option<UnitId>, attention: bool) {
        let Some(lun) = self.luns.get_mut(&nexus) else {
            return;
        };
        let before = std::mem::replace(&mut lun.unit, unit);
        self.parted(nexus, before);
        self.met(nexus, unit);
        if attention {
            self.attend(nexus, 0x3f, 0x0e);
        }
    }

    /// Sets or clears write protection of a LUN for an initiator port. As on LIO, this raises no unit attention.
    pub(crate) fn protect(&mut self, nexus: Hctl, write_protected: bool) {
        if let Some(lun) = self.luns.get_mut(&nexus) {
            lun.write_protected = write_protected;
        }
    }

    /// Whether the LUN of a nexus rejects writes from it.
    #[must_use]
    pub fn is_write_protected(&self, nexus: Hctl) -> bool {
        self.luns.get(&nexus).is_some_and(|lun| lun.write_protected)
    }

    /// Makes a nexus return this answer to a command from now on; `None` restores the true answer.
    pub fn lie(&mut self, nexus: Hctl, command: Command, answer: Option<Answer>) {
        let lies = self.lies.entry(nexus).or_default();
        lies.retain(|(lied, _)| *lied != command);
        lies.extend(answer.map(|answer| (command, answer)));
    }

    /// Makes the next `times` reads and writes through a nexus end with this sense; other commands are answered as
    /// before.
    pub fn refuse(&mut self, nexus: Hctl, sense: Sense, times: u32) {
        self.refused.insert(nexus, (sense, times));
    }

    /// Changes access states. `sender` is the nexus that requested it; the other nexuses get a unit attention.
    pub fn set_access(
        &mut self,
        id: UnitId,
        states: &[(u16, AccessState)],
        status_code: StatusCode,
        sender: Option<Hctl>,
    ) {
        let Some(unit) = self.units.get_mut(&id) else {
            return;
        };
        let mut changed = false;
        for (group, access) in states {
            if let Some(group) = unit.groups.get_mut(group) {
                changed |= group.access != *access;
                group.access = *access;
                group.status_code = status_code;
            }
        }
        if changed {
            let notified: Vec<Hctl> = self
                .nexuses_of(id)
                .filter(|nexus| Some(*nexus) != sender)
                .collect();
            for nexus in notified {
                self.attend(nexus, 0x2a, 0x06);
            }
        }
    }

    /// Changes the size of a unit and raises 2A/09.
    pub fn resize(&mut self, id: UnitId, size: Sectors) {
        if let Some(unit) = self.units.get_mut(&id) {
            unit.size = size;
        }
        let notified: Vec<Hctl> = self.nexuses_of(id).collect();
        for nexus in notified {
            self.attend(nexus, 0x2a, 0x09);
        }
    }

    /// Queues a unit attention, unless the same one is already queued.
    pub(crate) fn attend(&mut self, nexus: Hctl, asc: u8, ascq: u8) {
        let sense = Sense {
            key: UNIT_ATTENTION,
            asc,
            ascq,
        };
        let queue = self.attentions.entry(nexus).or_default();
        if !queue.contains(&sense) {
            queue.push_back(sense);
        }
    }

    pub(super) fn attention(
        attentions: &mut BTreeMap<Hctl, VecDeque<Sense>>,
        nexus: Hctl,
    ) -> Option<Sense> {
        let queue = attentions.get_mut(&nexus)?;
        let first = queue.pop_front();
        if queue.is_empty() {
            attentions.remove(&nexus);
        }
        first
    }

    /// Executes a command that arrives through a nexus.
    pub fn execute(&mut self, nexus: Hctl, command: &Command) -> Answer {
        let lie = self
            .lies
            .get(&nexus)
            .and_then(|lies| lies.iter().find(|(lied, _)| lied == command));
        if let Some((_, answer)) = lie {
            return answer.clone();
        }
        let Some(lun) = self.luns.get(&nexus).copied() else {
            return Outcome::NoConnect(1).into();
        };
        let unit = lun.unit.and_then(|id| Some((id, self.units.get(&id)?)));
        // INQUIRY is answered in every state of the unit, and leaves unit attentions pending (SPC-5 6.7.1).
        match (command, unit) {
            (Command::Inquiry, Some((_, unit))) => {
                let data = StandardInquiry::build(unit.tpgs, &unit.vendor, &unit.product, "1.0");
                return Answer::good(data);
            }
            (Command::Inquiry, None) => {
                // 7Fh is PERIPHERAL QUALIFIER 011b, device type 1Fh: no unit can be here. 20h is PERIPHERAL QUALIFIER
                // 001b.
                let mut data = StandardInquiry::build(Tpgs::None, "SIM", "NOTHING", "1.0");
                data[0] = if self.dummies { 0x20 } else { 0x7f };
                return Answer::good(data);
            }
            (Command::Vpd(DEVICE_IDENTIFICATION), None) if self.dummies => {
                let mut page = Unit::new(0, &[]).page83(&lun);
                page[0] = 0x20;
                return Answer::good(page);
            }
            (Command::TestUnitReady, None) if self.dummies => {
                return Answer::good(Vec::new());
            }
            (Command::Vpd(DEVICE_IDENTIFICATION), Some((_, unit))) => {
                return Answer::good(unit.page83(&lun));
            }
            (Command::Vpd(page), Some((_, unit))) => {
                let owned = self.access(nexus) == Some(AccessState::ActiveOptimized);
                return match (unit.trespasses, page) {
                    (Some(Trespass::Clariion), &CLARIION_PAGE) => {
                        Answer::good(vec![0, CLARIION_PAGE, 0, 1, 1 + u8::from(owned)])
                    }
                    (Some(Trespass::Rdac), &RDAC_PAGE) => {
                        let page = [0, RDAC_PAGE, 0, 5, b'v', b'a', b'c', b'1', owned.into()];
                        Answer::good(page.to_vec())
                    }
                    _ => Answer::check(ILLEGAL_REQUEST, 0x24, 0x00),
                };
            }
            _ => {}
        }
        if let Some(sense) = Self::attention(&mut self.attentions, nexus) {
            return Outcome::CheckCondition(sense).into();
        }
        let Some((id, unit)) = unit else {
            return Answer::check(ILLEGAL_REQUEST, 0x25, 0x00);
        };
        match command {
            Command::ReportTargetPortGroups if unit.short_header_only => {
                Answer::check(ILLEGAL_REQUEST, 0x24, 0x00)
            }
            Command::ReportTargetPortGroups if unit.tpgs != Tpgs::None => {
                Answer::good(self.report(id, unit, Some(0)))
            }
            Command::ReportTargetPortGroupsShort if unit.tpgs != Tpgs::None => {
                Answer::good(self.report(id, unit, None))
            }
            Command::SetTargetPortGroups(groups) if unit.tpgs.explicit() => {
                self.set_by_host(nexus, id, groups);
                Answer::good(Vec::new())
            }
            Command::ReportTargetPortGroups
            | Command::ReportTargetPortGroupsShort
            | Command::SetTargetPortGroups(_) => Answer::check(ILLEGAL_REQUEST, 0x20, 0x00),
            Command::TestUnitReady if unit.trespasses == Some(Trespass::Rdac) => {
                Answer::good(Vec::new())
            }
            _ => match unit.refusal(lun.group) {
                Some(refusal) => refusal,
                // MODE DATA LENGTH, MEDIUM TYPE, DEVICE-SPECIFIC PARAMETER with WP, BLOCK DESCRIPTOR LENGTH.
                None if *command == Command::ModeSense6 => {
                    Answer::good(vec![3, 0, if lun.write_protected { 0x80 } else { 0 }, 0])
                }
                None if *command == Command::ReadCapacity16 => {
                    let mut data = (unit.size.0.saturating_sub(1)).to_be_bytes().to_vec();
                    data.extend(512u32.to_be_bytes());
                    data.resize(32, 0);
                    Answer::good(data)
                }
                None => Answer::good(Vec::new()),
            },
        }
    }

    /// Executes a write through a nexus and returns the unit that was written to.
    ///
    /// # Errors
    /// The outcome of the command if nothing was written.
    pub fn write(&mut self, nexus: Hctl) -> Result<UnitId, Outcome> {
        let lun = self
            .luns
            .get(&nexus)
            .copied()
            .ok_or(Outcome::NoConnect(1))?;
        if let Some(sense) = Self::attention(&mut self.attentions, nexus) {
            return Err(Outcome::CheckCondition(sense));
        }
        if let Some((sense, times)) = self.refused.get_mut(&nexus)
            && *times > 0
        {
            *times -= 1;
            return Err(Outcome::CheckCondition(*sense));
        }
        let id = lun
            .unit
            .ok_or_else(|| Answer::check(ILLEGAL_REQUEST, 0x25, 0x00).outcome)?;
        let unit = self.units.get(&id);
        match unit.and_then(|unit| unit.refusal(lun.group)) {
            Some(refusal) => Err(refusal.outcome),
            None if lun.write_protected => Err(Answer::check(DATA_PROTECT, 0x27, 0x00).outcome),
            None => Ok(id),
        }
    }

    fn report(&self, id: UnitId, unit: &Unit, transition_time: Option<u8>) -> Vec<u8> {
        let luns = self
            .nexuses_of(id)
            .filter_map(|nexus| self.luns.get(&nexus));
        let ports: BTreeSet<(u16, u16)> = luns.map(|lun| (lun.group, lun.port)).collect();
        let of_group = |group| ports.range((group, 0)..=(group, u16::MAX));
        let groups = unit.groups.iter().map(|(id, group)| TargetPortGroup {
            preferred: group.preferred,
            access_state: group.access,
            supported: SupportedStates::from_byte(0xcf),
            id: *id,
            status_code: group.status_code,
            vendor_specific: 0,
            relative_target_ports: of_group(*id).map(|(_, port)| *port).collect(),
        });
        TargetPortGroups {
            implicit_transition_time: transition_time,
            groups: groups.collect(),
        }
        .to_bytes()
    }

    fn set_by_host(&mut self, nexus: Hctl, id: UnitId, groups: &[(u16, AccessState)]) {
        self.stpgs.push(Stpg {
            nexus,
            unit: id,
            groups: groups.to_vec(),
        });
        let Some(unit) = self.units.get(&id) else {
            return;
        };
        let before = unit.serving();
        let mut states = groups.to_vec();
        let promoted = groups
            .iter()
            .find(|(_, access)| *access == AccessState::ActiveOptimized);
        if let (true, Some((promoted, _))) = (unit.demotes, promoted) {
            let before = unit.groups.get(promoted).map(|group| group.access);
            states.extend(
                unit.groups
                    .iter()
                    .filter(|(other, group)| {
                        *other != promoted && group.access == AccessState::ActiveOptimized
                    })
                    .filter_map(|(other, _)| Some((*other, before?))),
            );
        }
        self.set_access(id, &states, StatusCode::ByStpg, Some(nexus));
        self.note_move(id, nexus, before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_paths() -> (Array, UnitId, Hctl, Hctl) {
        let mut array = Array::default();
        let groups = [
            (1, AccessState::ActiveOptimized),
            (2, AccessState::ActiveNonOptimized),
        ];
        let unit = array.add(Unit::new(1, &groups));
        let (a, b) = ("1:0:0:0".parse().unwrap(), "2:0:0:0".parse().unwrap());
        array.connect(a, unit, 1, 11);
        array.connect(b, unit, 2, 12);
        (array, unit, a, b)
    }

    #[test]
    fn a_set_notifies_every_nexus_but_the_sender() {
        let (mut array, _, a, b) = two_paths();
        let set = Command::SetTargetPortGroups(vec![(2, AccessState::ActiveOptimized)]);
        assert_eq!(array.execute(b, &set).outcome, Outcome::Good);
        let notified = array.execute(a, &Command::TestUnitReady);
        assert_eq!(notified, Answer::check(UNIT_ATTENTION, 0x2a, 0x06));
        assert_eq!(
            array.execute(a, &Command::TestUnitReady).outcome,
            Outcome::Good
        );
        assert_eq!(
            array.execute(b, &Command::TestUnitReady).outcome,
            Outcome::Good
        );
        assert_eq!(array.access(a), Some(AccessState::ActiveNonOptimized));
        assert_eq!(array.stpgs.len(), 1);
    }

    #[test]
    fn answers_of_a_unit_are_parsed_back() {
        let (mut array, unit, a, b) = two_paths();
        array.set_access(
            unit,
            &[(2, AccessState::Standby)],
            StatusCode::Implicit,
            None,
        );
        let page = array.execute(b, &Command::Vpd(DEVICE_IDENTIFICATION)).data;
        let page = DeviceIdentification::parse(&page).unwrap();
        assert_eq!(
            (page.target_port_group(), page.relative_target_port()),
            (Some(2), Some(12))
        );
        Array::attention(&mut array.attentions, a);
        let report = array.execute(a, &Command::ReportTargetPortGroups).data;
        let report = TargetPortGroups::parse(&report).unwrap();
        assert_eq!(report.find(2).unwrap().access_state, AccessState::Standby);
        assert_eq!(report.find(1).unwrap().relative_target_ports, [11]);
        Array::attention(&mut array.attentions, b);
        assert_eq!(
            array.execute(b, &Command::TestUnitReady),
            Answer::check(NOT_READY, 0x04, 0x0b)
        );
    }

    #[test]
    fn a_lun_without_a_unit_says_so() {
        let (mut array, _, a, _) = two_paths();
        array.remap(a, None, false);
        assert_eq!(
            array.execute(a, &Command::TestUnitReady),
            Answer::check(ILLEGAL_REQUEST, 0x25, 0x00)
        );
        let inquiry = array.execute(a, &Command::Inquiry).data;
        assert!(!StandardInquiry::parse(&inquiry).unwrap().is_disk());
    }
}
