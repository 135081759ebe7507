//! A file of metrics for node_exporter's textfile collector, written by a thread of its own.

use super::{Dialect, Picture, text};
use crate::config::store;
use crate::kernel::process::Usage;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Writes the file again and again until it is dropped.
pub struct Textfile {
    /// Its end is the sign to stop.
    _stop: SyncSender<()>,
}

impl Textfile {
    /// Starts the thread; `picture` asks the owner, and gives nothing if that has no time.
    ///
    /// The thread is not waited for in the end: the file system may be one that hangs.
    ///
    /// # Errors
    /// The kernel has no more threads.
    pub fn start(
        file: PathBuf,
        every: Duration,
        picture: impl Fn() -> Option<Picture> + Send + 'static,
    ) -> std::io::Result<Textfile> {
        let (stop, stopped) = sync_channel::<()>(0);
        let thread = crate::kernel::thread("metrics");
        thread.spawn(move || {
            let mut said = String::new();
            loop {
                if let Some(picture) = picture() {
                    let text = text(&picture, &Usage::of_self(), Dialect::Prometheus);
                    let problem = store::replace(&file, text.as_bytes())
                        .err()
                        .map_or_else(String::new, |why| why.to_string());
                    // The same reason is told once.
                    if !problem.is_empty() && problem != said {
                        log::warn!(
                            target: "psa",
                            "METRICS_NOT_WRITTEN file=\"{}\" reason=\"{problem}\" mend=\"ReadWritePaths= of the service must have the directory\"",
                            file.display()
                        );
                    }
                    said = problem;
                }
                match stopped.recv_timeout(every) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
        })?;
        Ok(Textfile { _stop: stop })
    }
}
