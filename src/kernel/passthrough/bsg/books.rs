//! The books of all SCSI hosts, for the one thread that serves them. Like [`Book`], they do no I/O.

use crate::kernel::passthrough::book::{Book, Next, Sending};
use crate::psa::action::Examine;
use crate::psa::event::Examination;
use crate::psa::units::{Hctl, Millis};
use crate::scsi::outcome::Outcome;
use std::collections::{BTreeMap, BTreeSet};

/// One book for each host that has anything under way.
#[derive(Debug, Default)]
pub(super) struct Books {
    books: BTreeMap<u32, Book>,
    /// Hosts that may have a command to send.
    stirred: BTreeSet<u32>,
    /// When each host next has something to do if nothing comes back before. Stirred hosts are not listed here.
    moments: BTreeSet<(Millis, u32)>,
    /// The thread was woken and has not looked at the books since.
    woken: bool,
    /// No thread serves these books any more.
    pub(super) closed: bool,
}

impl Books {
    /// Like [`Book::accept`]. Returns whether the thread must be woken.
    ///
    /// # Errors
    /// See [`Book::accept`].
    pub(super) fn accept(&mut self, order: Examine, now: Millis) -> Result<bool, Examination> {
        let host = order.path.host;
        self.book(host).accept(order, now)?;
        Ok(!std::mem::replace(&mut self.woken, true))
    }

    /// Whether a path has an examination or an orphan.
    pub(super) fn has(&self, path: Hctl) -> bool {
        self.books
            .get(&path.host)
            .is_some_and(|book| book.has(path))
    }

    /// Called when the thread looks at the books: returns the overdue examinations, and stirs the hosts whose moment
    /// has come.
    pub(super) fn look(&mut self, now: Millis) -> Vec<Examination> {
        self.woken = false;
        let mut overdue = Vec::new();
        while let Some(&(moment, host)) = self.moments.first()
            && moment <= now
        {
            overdue.extend(self.book(host).expire(now));
        }
        overdue
    }

    /// Like [`Book::take`], for any host.
    pub(super) fn take(&mut self, now: Millis) -> Option<Sending> {
        while let Some(&host) = self.stirred.first() {
            let Some(book) = self.books.get_mut(&host) else {
                self.stirred.remove(&host);
                continue;
            };
            if let Some(sending) = book.take(now) {
                return Some(sending);
            }
            self.stirred.remove(&host);
            if let Some(moment) = book.next_moment() {
                self.moments.insert((moment, host));
            } else if book.is_empty() {
                self.books.remove(&host);
            }
        }
        None
    }

    /// Like [`Book::not_sent`].
    pub(super) fn not_sent(&mut self, path: Hctl, outcome: Outcome) -> Option<Examination> {
        self.book(path.host).not_sent(path, outcome)
    }

    /// Like [`Book::returned`].
    pub(super) fn returned(
        &mut self,
        path: Hctl,
        outcome: Outcome,
        data: Vec<u8>,
        now: Millis,
    ) -> Next {
        self.book(path.host).returned(path, outcome, data, now)
    }

    /// Like [`Book::held_up`], for all hosts.
    pub(super) fn held_up(&mut self, from: Millis, until: Millis) {
        for book in self.books.values_mut() {
            book.held_up(from, until);
        }
    }

    /// When there is next something to do if nothing comes back before: now, if a host is stirred.
    pub(super) fn next_moment(&self, now: Millis) -> Option<Millis> {
        if !self.stirred.is_empty() {
            return Some(now);
        }
        self.moments.first().map(|(moment, _)| *moment)
    }

    /// The book of a host, to be changed: the host is stirred.
    fn book(&mut self, host: u32) -> &mut Book {
        let book = self.books.entry(host).or_default();
        if self.stirred.insert(host)
            && let Some(moment) = book.next_moment()
        {
            self.moments.remove(&(moment, host));
        }
        book
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::passthrough::book::{WINDOW, YOUNG};
    use crate::psa::units::Sg;
    use crate::scsi::cdb::Command;

    fn path(host: u32, lun: u64) -> Hctl {
        Hctl {
            host,
            channel: 0,
            target: 0,
            lun,
        }
    }

    fn order(path: Hctl) -> Examine {
        Examine {
            path,
            sg: Sg(0),
            ticket: 1,
            commands: vec![Command::TestUnitReady].into(),
            timeout: Millis(1000),
            deadline: Millis(3000),
        }
    }

    /// Sends everything that may be sent.
    fn send(books: &mut Books, now: Millis) -> usize {
        let mut count = 0;
        while books.take(now).is_some() {
            count += 1;
        }
        count
    }

    #[test]
    fn a_thread_is_woken_once() {
        let mut books = Books::default();
        assert_eq!(books.accept(order(path(1, 0)), Millis(0)), Ok(true));
        assert_eq!(books.accept(order(path(2, 0)), Millis(0)), Ok(false));
        assert!(books.look(Millis(0)).is_empty());
        assert_eq!(books.accept(order(path(3, 0)), Millis(0)), Ok(true));
        assert_eq!(send(&mut books, Millis(0)), 3);
    }

    #[test]
    fn a_full_host_delays_no_other() {
        let mut books = Books::default();
        let window = WINDOW as u64;
        for lun in 0..window + 10 {
            books.accept(order(path(1, lun)), Millis(0)).unwrap();
        }
        books.accept(order(path(2, 0)), Millis(0)).unwrap();
        assert_eq!(send(&mut books, Millis(0)), WINDOW + 1);
        // The waiting ones get their turn when the outstanding commands are no longer young, without a stir from
        // outside.
        assert_eq!(books.next_moment(Millis(1)), Some(YOUNG));
        assert_eq!(send(&mut books, Millis(1)), 0);
        assert!(books.look(YOUNG).is_empty());
        assert_eq!(send(&mut books, YOUNG), 10);
    }

    #[test]
    fn each_host_has_its_deadlines() {
        let mut books = Books::default();
        books.accept(order(path(1, 0)), Millis(0)).unwrap();
        assert_eq!(send(&mut books, Millis(0)), 1);
        books.accept(order(path(2, 0)), Millis(1000)).unwrap();
        assert_eq!(send(&mut books, Millis(1000)), 1);
        assert_eq!(books.next_moment(Millis(1000)), Some(Millis(3000)));
        let overdue = books.look(Millis(3000));
        assert_eq!(overdue.len(), 1);
        assert_eq!(overdue[0].path, path(1, 0));
        assert_eq!(send(&mut books, Millis(3000)), 0);
        assert_eq!(books.next_moment(Millis(3000)), Some(Millis(4000)));
        assert!(books.has(path(1, 0)));
        let good =
            |books: &mut Books, path| books.returned(path, Outcome::Good, Vec::new(), Millis(3500));
        assert_eq!(good(&mut books, path(1, 0)), Next::Reaped);
        assert!(matches!(good(&mut books, path(2, 0)), Next::Ended(_)));
        assert_eq!(send(&mut books, Millis(3500)), 0);
        assert_eq!(books.next_moment(Millis(3500)), None);
        assert!(books.books.is_empty() && books.moments.is_empty());
    }
}
