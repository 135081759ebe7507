//! VMW_PSP_RR: I/O over all optimized paths, over the non-optimized ones only if told or if nothing better is left.
//!
//! ESXi's limits of I/Os and bytes per path have no equivalent: the kernel clamps the repeat count to 1.

use super::{Arrangement, Candidate, Options, Psp, group_by};
use crate::psa::adapter::RuntimeName;
use crate::psa::satp::Class;

/// VMW_PSP_RR.
pub struct RoundRobin;

impl Psp for RoundRobin {
    fn name(&self) -> &'static str {
        "VMW_PSP_RR"
    }
    fn description(&self) -> &'static str {
        "Round Robin Path Selection"
    }
    fn arrange(&self, candidates: &[Candidate], options: &Options) -> Arrangement {
        let groups = group_by(candidates, "round-robin", |c| match c.class {
            Class::NonOptimized if options.use_ano => Class::Optimized,
            class => class,
        });
        Arrangement {
            groups,
            chosen: None,
        }
    }
    fn device_config(&self, options: &Options, _current: &[RuntimeName]) -> String {
        // What takes effect: one I/O per path in turn. The order of the fields is ESXi's.
        format!(
            "{{policy=rr,iops=1,bytes=10485760,useANO={}; lastPathIndex=0: NumIOsPending=0,numBytesPending=0}}",
            u8::from(options.use_ano)
        )
    }
    fn path_config(&self, _candidate: &Candidate, _options: &Options, _is_current: bool) -> String {
        "PSP VMW_PSP_RR does not support path configuration.".to_owned()
    }
}
