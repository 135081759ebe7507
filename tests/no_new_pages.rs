//! From the loss of all paths to their return the agent touches no page that it did not have before. This is the only
//! test in its program: allocations of other tests would be counted.

mod san;

use dm_psa::kernel::privilege;
use dm_psa::psa::settings::Settings;
use dm_psa::psa::units::Hctl;
use dm_psa::sim::fault::Fault;
use dm_psa::sim::run::Simulation;
use nix::sys::resource::{UsageWho, getrusage};
use san::{ANO, AO, add_unit, path, seconds, steady};

const UNITS: u32 = 200;

/// The page faults of this thread.
fn faults() -> i64 {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    usage.minor_page_faults() + usage.major_page_faults()
}

fn all_paths() -> impl Iterator<Item = Hctl> {
    (0..UNITS).flat_map(|lun| {
        [1, 2].into_iter().flat_map(move |host| {
            [0, 1]
                .into_iter()
                .map(move |target| path(host, target, u64::from(lun)))
        })
    })
}

#[test]
fn paths_return_without_a_new_page() {
    let notices = privilege::prepare();
    let locked = !notices
        .iter()
        .any(|notice| notice.code == "MEMORY_NOT_LOCKED");
    // With 256 KiB of stack, as the agent's threads.
    let run = std::thread::Builder::new().spawn(move || {
        privilege::touch_stack::<{ 256 << 10 }>();
        let mut kernel = steady();
        for lun in 0..UNITS {
            add_unit(&mut kernel, lun, &[(1, AO), (2, ANO)]);
        }
        let mut sim = Simulation::start(kernel, Settings::default());
        sim.keep_journal = false;
        sim.run_for(seconds(10));
        assert!(sim.world.is_settled());
        // What the agent does from time to time while nothing is wrong.
        assert_eq!(privilege::reserve(sim.world.paths().count()), None);

        faults();
        let before = faults();
        for path in all_paths() {
            sim.inject(&Fault::LinkDown(path));
        }
        sim.run_for(seconds(60));
        for path in all_paths() {
            sim.inject(&Fault::LinkUp(path));
        }
        sim.run_for(seconds(60));
        let faults = faults() - before;
        (faults, sim.world.is_settled())
    });
    let (faults, settled) = run.unwrap().join().unwrap();
    assert!(settled);
    assert!(locked, "{notices:?}");
    // The host may move a page for a moment, locked or not (compaction). Without the reserve of memory there are 72.
    assert!(faults <= 16, "{faults}");
}
