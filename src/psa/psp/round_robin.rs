//! VMW_PSP_RR: I/O over all optimized paths; over the non-optimized ones only if configured, or if nothing better is
//! left.
//!
//! ESXi's limits of I/Os and bytes per path have no equivalent: the kernel clamps the repeat count to 1.

use super::interface::{Arrangement, Candidate, Options, Psp, group_by, in_words};
use crate::psa::adapter::RuntimeName;
use crate::psa::evidence::Class;
use crate::psa::settings::{self, LimitType};

/// VMW_PSP_RR.
pub(super) struct RoundRobin;

impl Psp for RoundRobin {
    fn description(&self) -> &'static str {
        "Round Robin Path Selection"
    }
    fn arrange(&self, candidates: &[Candidate], options: &Options) -> Arrangement {
        let set = &options.round_robin;
        let selector = options.selector.unwrap_or(set.selector());
        let groups = group_by(candidates, selector, |c| match c.class {
            Class::NonOptimized if set.use_ano() => Class::Optimized,
            class => class,
        });
        Arrangement {
            groups,
            chosen: None,
        }
    }
    fn device_config(&self, options: &Options, current: &[RuntimeName]) -> String {
        // As configured. What takes effect is in `Path Selection Policy Device Custom Config`.
        let set = &options.round_robin;
        let ano = u8::from(set.use_ano());
        match set.limit_type() {
            LimitType::Latency => {
                let (time, cycles) = (set.latency_eval_ms().0, set.sampling_cycles());
                let current = current
                    .first()
                    .map_or_else(String::new, ToString::to_string);
                format!(
                    "{{policy=latency,latencyEvalTime={time},samplingCycles={cycles},curSamplingCycle={cycles},\
                     useANO={ano}; CurrentPath={current}: NumIOsPending=0,latency=0}}"
                )
            }
            limit => {
                let policy = match limit {
                    LimitType::Iops => "iops",
                    LimitType::Bytes => "bytes",
                    _ => "rr",
                };
                format!(
                    "{{policy={policy},iops={},bytes={},useANO={ano}; lastPathIndex=0: NumIOsPending=0,numBytesPending=0}}",
                    set.iops(),
                    set.bytes()
                )
            }
        }
    }
    fn path_config(&self, _candidate: &Candidate, _options: &Options, _is_current: bool) -> String {
        "PSP VMW_PSP_RR does not support path configuration.".to_owned()
    }
}

impl settings::RoundRobin {
    /// The kernel's selector that is most similar. For latency that would be historical-service-time, but distributions
    /// do not build it. service-time uses the path with the least data in flight.
    #[must_use]
    pub fn selector(&self) -> &'static str {
        match self.limit_type() {
            LimitType::Latency => "service-time",
            _ => "round-robin",
        }
    }

    /// What takes effect, as text for the user.
    #[must_use]
    pub fn in_effect(&self) -> &'static str {
        in_words(self.selector())
    }
}
