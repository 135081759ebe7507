//! Records the journal of the agent: hands every event and action to a thread that writes them to a ring of files.
//!
//! The owner never waits for that thread. The queue between them is bounded. When it is full, the owner counts the
//! events that are not recorded, and begins a new segment with the current world as soon as the thread has caught up.
//! So events are missing only between segments, never within one.

use super::recent_events::wall_ms;
use super::segments::{Ring, Shared, Work};
use crate::journal::records::Encoder;
use crate::journal::{FORMAT, Header};
use crate::kernel::NoticeSink;
use crate::psa::action::{Action, Notice};
use crate::psa::codes;
use crate::psa::event::Event;
use crate::psa::units::Millis;
use crate::psa::world::World;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Limits on what waits to be written, in parts and in bytes.
const MOST_PARTS: usize = 256;
const MOST_BYTES: usize = 8 << 20;
/// Records are handed over when there are this many bytes...
const BATCH: usize = 64 << 10;
/// ... or after this time, because waking the thread costs as much as several checks. Anything other than checks is
/// handed over immediately.
const LINGER: Duration = Duration::from_secs(5);
/// While events are being lost, how often to look whether the thread has caught up.
const CATCH_UP: Duration = Duration::from_millis(100);
/// How long to wait after a write error before trying again.
const PAUSE: Duration = Duration::from_secs(10);
/// How long the thread may take to write the rest when the agent stops.
const FAREWELL: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is no journal.
    Off,
    /// The journal is being written.
    Writing,
    /// Events are being lost for now.
    Losing {
        since: Instant,
        /// Writing failed: do not try again before the pause is over.
        failed: bool,
    },
}

/// The owner's side of the journal.
pub(super) struct Recorder {
    state: State,
    encoder: Encoder,
    shared: Arc<Shared>,
    work: Option<SyncSender<Work>>,
    done: Receiver<()>,
    started_ms: u64,
    /// Steps in the encoder that were not handed over, and since when the oldest of them waits.
    steps: u64,
    since: Option<Instant>,
    urgent: bool,
    lost: u64,
    notice_sink: NoticeSink,
}

impl Recorder {
    /// Starts the thread, which writes to `folder` and keeps at most `mib` MiB there. With 0, starts no thread and
    /// records nothing.
    ///
    /// # Errors
    /// The kernel has no more threads.
    pub(super) fn start(
        folder: PathBuf,
        mib: u32,
        notice_sink: NoticeSink,
    ) -> std::io::Result<Recorder> {
        let shared = Arc::new(Shared::default());
        let (work, parts) = sync_channel(MOST_PARTS);
        let (finished, done) = sync_channel(1);
        let mut recorder = Recorder {
            state: State::Off,
            encoder: Encoder::default(),
            shared: Arc::clone(&shared),
            work: None,
            done,
            started_ms: wall_ms(),
            steps: 0,
            since: None,
            urgent: false,
            lost: 0,
            notice_sink: notice_sink.clone(),
        };
        if mib == 0 {
            return Ok(recorder);
        }
        crate::kernel::thread("journal").spawn(move || {
            Ring::new(folder, mib, shared, notice_sink).serve(&parts);
            // Only received when the agent stops.
            let _ = finished.try_send(());
        })?;
        recorder.work = Some(work);
        Ok(recorder)
    }

    /// Starts the journal with the world that the first event applies to.
    pub(super) fn begin(&mut self, now: Millis, world: &World) {
        if self.work.is_some() {
            self.begin_segment(now, world, false);
        }
    }

    /// Records an event before the world receives it.
    pub(super) fn event(&mut self, now: Millis, event: &Event) {
        match self.state {
            State::Off => {}
            State::Losing { .. } => self.lost = self.lost.saturating_add(1),
            State::Writing => {
                self.encoder.event(now, event);
                self.steps += 1;
                self.urgent |= !matches!(event, Event::Examined(_) | Event::Timer);
            }
        }
    }

    /// Records the actions that the world returned.
    pub(super) fn actions(&mut self, actions: &[Action]) {
        if self.state == State::Writing {
            self.encoder.actions(actions);
            self.urgent |= actions
                .iter()
                .any(|action| !matches!(action, Action::Examine(_)));
        }
    }

    /// The time until [`Recorder::settle`] must be called if nothing happens before; `None` if there is no need.
    #[must_use]
    pub(super) fn due(&self) -> Option<Duration> {
        let waits = self
            .since
            .map(|since| LINGER.saturating_sub(since.elapsed()));
        match self.state {
            State::Off => None,
            State::Writing => waits,
            State::Losing {
                failed: true,
                since,
            } => Some(PAUSE.saturating_sub(since.elapsed()).max(CATCH_UP)),
            State::Losing { failed: false, .. } => Some(CATCH_UP),
        }
    }

    /// Hands over records that are due, and begins a segment if one is due. Must be called after everything that
    /// followed from an event was recorded.
    pub(super) fn settle(&mut self, now: Millis, world: &World) {
        if self.shared.off.load(Ordering::Relaxed) {
            self.state = State::Off;
        }
        match self.state {
            State::Off => {}
            State::Losing { since, failed } => {
                let idle = self.shared.queued.load(Ordering::Acquire) == 0;
                if idle && (!failed || since.elapsed() >= PAUSE) {
                    self.begin_segment(now, world, false);
                }
            }
            State::Writing => {
                if self.shared.failed.swap(false, Ordering::AcqRel) {
                    return self.lose(true);
                }
                if self.encoder.is_empty() {
                    return;
                }
                let since = *self.since.get_or_insert_with(Instant::now);
                let full = self.shared.left.load(Ordering::Relaxed) <= 0;
                if self.urgent || full || self.encoder.len() >= BATCH || since.elapsed() >= LINGER {
                    self.hand_over();
                }
                if full && self.state == State::Writing {
                    self.send(Work::End("full"), 0);
                    self.begin_segment(now, world, true);
                }
            }
        }
    }

    fn hand_over(&mut self) {
        let records = self.encoder.take();
        let steps = std::mem::take(&mut self.steps);
        (self.since, self.urgent) = (None, false);
        self.send(Work::Steps { records, steps }, steps);
    }

    /// Sends work to the thread. If its queue is full, the work is dropped and `steps` steps are counted as lost.
    fn send(&mut self, work: Work, steps: u64) {
        let bytes = work.weight();
        let queued = self.shared.queued.fetch_add(bytes, Ordering::AcqRel);
        let sent = queued.saturating_add(bytes) <= MOST_BYTES.max(bytes)
            && self
                .work
                .as_ref()
                .is_some_and(|queue| queue.try_send(work).is_ok());
        if !sent {
            self.shared.queued.fetch_sub(bytes, Ordering::AcqRel);
            self.lost = self.lost.saturating_add(steps);
            self.lose(false);
        }
    }

    fn lose(&mut self, failed: bool) {
        self.lost = self.lost.saturating_add(std::mem::take(&mut self.steps));
        (self.since, self.urgent) = (None, false);
        self.encoder.begin(Millis(0));
        self.state = State::Losing {
            since: Instant::now(),
            failed,
        };
    }

    fn begin_segment(&mut self, now: Millis, world: &World, continues: bool) {
        let lost = self
            .lost
            .saturating_add(self.shared.dropped.swap(0, Ordering::AcqRel));
        let header = Header {
            format: FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            agent_started_ms: self.started_ms,
            number: 0, // Set by the thread, which knows the existing segments.
            wall_ms: wall_ms(),
            at: now,
            continues: continues && lost == 0,
            lost_events: lost,
        };
        self.lost = 0;
        self.encoder.begin(now);
        self.state = State::Writing;
        // Until the thread handles this segment, the space left in the previous one is irrelevant.
        self.shared.left.store(i64::MAX, Ordering::Relaxed);
        self.shared.failed.store(false, Ordering::Release);
        self.send(Work::Begin(Box::new((header, world.clone()))), lost);
        if lost > 0 && self.state == State::Writing {
            let count = lost.to_string();
            self.notice_sink.notify(Notice::new(
                codes::JOURNAL_GAP,
                "agent",
                &[("events_lost", &count)],
            ));
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if self.state == State::Writing {
            self.hand_over();
            self.send(Work::End("stopped"), 0);
        }
        if self.work.take().is_some() {
            // A file system that hangs must not keep the agent from stopping.
            let _ = self.done.recv_timeout(FAREWELL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Finish, Replay, Segment};
    use crate::psa::memory::Memory;
    use crate::psa::settings::Settings;
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::sync::Mutex;

    fn world() -> World {
        World::new(Settings::default(), Memory::default())
    }

    fn collecting_sink() -> (NoticeSink, Arc<Mutex<Vec<Notice>>>) {
        let notices = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&notices);
        (
            NoticeSink::new(move |notice| theirs.lock().unwrap().push(notice)),
            notices,
        )
    }

    /// Steps the world with one listing of maps per number in `steps`.
    fn run(recorder: &mut Recorder, world: &mut World, steps: std::ops::Range<u64>) {
        for n in steps {
            let now = Millis(n);
            let listed = (0..50).map(|lun| format!("naa.600140500000000000000000{n:04}{lun:04}"));
            let event = Event::MapsListed(listed.collect::<BTreeSet<String>>());
            recorder.event(now, &event);
            let actions = world.step(now, event);
            recorder.actions(&actions);
            recorder.settle(now, world);
        }
    }

    fn segments(folder: &Path) -> Vec<Vec<u8>> {
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
            .iter()
            .map(|file| std::fs::read(file).unwrap())
            .collect()
    }

    #[test]
    fn a_recording_in_a_bounded_ring_replays() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("journal");
        let (notice_sink, notices) = collecting_sink();
        let mut recorder = Recorder::start(folder.clone(), 1, notice_sink).unwrap();
        let mut world = world();
        recorder.begin(Millis(0), &world);
        for tenth in 0..100 {
            run(&mut recorder, &mut world, tenth * 100..(tenth + 1) * 100);
            while recorder.shared.queued.load(Ordering::Acquire) > 0 {
                std::thread::yield_now();
            }
        }
        drop(recorder);
        assert_eq!(notices.lock().unwrap().as_slice(), []);
        let segments = segments(&folder);
        let bytes: usize = segments.iter().map(Vec::len).sum();
        assert!(
            segments.len() > 3 && bytes <= 1 << 20,
            "{} segments of {bytes} bytes",
            segments.len()
        );
        let mut replay = Replay::default();
        for segment in &segments {
            let finish = replay
                .segment(Segment::open(segment).unwrap(), |_, _, _| ())
                .unwrap();
            assert!(matches!(finish, Finish::Closed(_)));
        }
        assert!(replay.events > 100);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&folder), 0o700);
        for file in std::fs::read_dir(&folder).unwrap() {
            assert_eq!(mode(&file.unwrap().path()), 0o600);
        }
    }

    #[test]
    fn a_stuck_thread_loses_events_but_no_time() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("journal");
        let (notice_sink, notices) = collecting_sink();
        let mut recorder = Recorder::start(folder.clone(), 4, notice_sink).unwrap();
        let mut world = world();
        let stuck = recorder.shared.stuck.lock().unwrap();
        let shared = Arc::clone(&recorder.shared);
        drop(stuck);
        let stuck = shared.stuck.lock().unwrap();
        recorder.begin(Millis(0), &world);
        run(&mut recorder, &mut world, 0..3_000);
        assert!(matches!(
            recorder.state,
            State::Losing { failed: false, .. }
        ));
        assert!(shared.queued.load(Ordering::Acquire) <= MOST_BYTES);
        drop(stuck);
        while shared.queued.load(Ordering::Acquire) > 0 {
            std::thread::yield_now();
        }
        run(&mut recorder, &mut world, 3_000..3_100);
        assert_eq!(recorder.state, State::Writing);
        drop(recorder);
        assert_eq!(notices.lock().unwrap()[0].code, "JOURNAL_GAP");
        let mut replay = Replay::default();
        let mut lost = 0;
        for segment in segments(&folder) {
            let segment = Segment::open(&segment).unwrap();
            lost += segment.header.lost_events;
            replay.segment(segment, |_, _, _| ()).unwrap();
        }
        assert_eq!(replay.events + lost, 3_100);
        assert!(lost > 100);
    }

    #[test]
    fn an_unwritable_directory_is_reported_once() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        std::fs::write(&file, "").unwrap();
        let (notice_sink, notices) = collecting_sink();
        let mut recorder = Recorder::start(file.join("journal"), 4, notice_sink).unwrap();
        let mut world = world();
        recorder.begin(Millis(0), &world);
        while recorder.shared.queued.load(Ordering::Acquire) > 0 {
            std::thread::yield_now();
        }
        run(&mut recorder, &mut world, 0..100);
        assert!(matches!(recorder.state, State::Losing { failed: true, .. }));
        drop(recorder);
        let notices = notices.lock().unwrap();
        assert_eq!(notices.len(), 1);
        assert_eq!(notices[0].code, "JOURNAL_WRITE_FAILED");
    }

    #[test]
    fn zero_mib_disables_the_journal() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("journal");
        let mut recorder = Recorder::start(folder.clone(), 0, collecting_sink().0).unwrap();
        let mut world = world();
        recorder.begin(Millis(0), &world);
        run(&mut recorder, &mut world, 0..10);
        assert_eq!(recorder.due(), None);
        drop(recorder);
        assert!(!folder.exists());
    }
}
