//! Writes a file of metrics for node_exporter's textfile collector, on a separate thread.

use super::{Dialect, Picture, text};
use crate::config::store;
use crate::kernel::NoticeSink;
use crate::kernel::process::Usage;
use crate::psa::action::Notice;
use crate::psa::codes;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Writes the file periodically until it is dropped.
pub(crate) struct Textfile {
    /// Dropping this sender stops the thread.
    _stop: SyncSender<()>,
}

impl Textfile {
    /// Starts the thread. `picture` asks the owner, and returns `None` if the owner has no time.
    ///
    /// Dropping the result does not wait for the thread: the file system may hang.
    ///
    /// # Errors
    /// The kernel has no more threads.
    pub(crate) fn start(
        file: PathBuf,
        every: Duration,
        notice_sink: NoticeSink,
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
                    // The same reason is reported once.
                    if !problem.is_empty() && problem != said {
                        let details = [
                            ("file", &*file.display().to_string()),
                            ("reason", &problem),
                            (
                                "remedy",
                                "add its directory to ReadWritePaths= of the service",
                            ),
                        ];
                        notice_sink.notify(Notice::new(
                            codes::METRICS_NOT_WRITTEN,
                            "agent",
                            &details,
                        ));
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
