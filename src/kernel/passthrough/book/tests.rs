use super::*;
use crate::scsi::sense::Sense;
use Command::{Inquiry, ReportTargetPortGroups, ReportTargetPortGroupsShort, TestUnitReady, Vpd};

const TIMEOUT: Millis = Millis(1000);

fn path(lun: u64) -> Hctl {
    Hctl {
        host: 3,
        channel: 0,
        target: 0,
        lun,
    }
}

fn order(lun: u64, ticket: u64, commands: &[Command]) -> Examine {
    Examine {
        path: path(lun),
        sg: Sg(lun as u32),
        ticket,
        commands: commands.to_vec().into(),
        timeout: TIMEOUT,
        deadline: TIMEOUT.after(Millis(2000)),
    }
}

fn sense(key: u8, asc: u8) -> Outcome {
    Outcome::CheckCondition(Sense { key, asc, ascq: 0 })
}

fn at(ms: u64) -> Millis {
    Millis(ms)
}

/// Sends the next command, which must be for `lun`.
fn send(book: &mut Book, lun: u64, now: u64) -> Command {
    let sending = book.take(at(now)).unwrap();
    assert_eq!(sending.path, path(lun));
    assert_eq!(sending.sg, Sg(lun as u32));
    sending.command
}

fn ended(next: Next) -> Examination {
    match next {
        Next::Ended(examination) => examination,
        other => panic!("{other:?}"),
    }
}

fn outcomes(examination: &Examination) -> Vec<(Command, Outcome)> {
    examination
        .replies
        .iter()
        .map(|reply| (reply.command.clone(), reply.outcome.clone()))
        .collect()
}

#[test]
fn a_truncated_answer_is_requested_again() {
    let mut book = Book::default();
    let commands = [Vpd(0x83), ReportTargetPortGroups, TestUnitReady];
    book.accept(order(0, 1, &commands), at(0)).unwrap();
    let long = |head: &[u8]| [head, &[0; 1016]].concat();
    let mut take = |answer: Vec<u8>, space| {
        let sending = book.take(at(1)).unwrap();
        assert_eq!(sending.space, space, "{}", sending.command);
        book.returned(path(0), Outcome::Good, answer, at(1))
    };
    // PAGE LENGTH 1017 and four bytes are one more than the usual 1020.
    assert_eq!(take(long(&[0, 0x83, 3, 0xf9]), Space::Usual), Next::GoesOn);
    // A device that claims more than any answer may have is asked again only once.
    assert_eq!(
        take(long(&[0, 0x83, 0xff, 0xff]), Space::Longest),
        Next::GoesOn
    );
    // An answer that just fits.
    assert_eq!(take(long(&[0, 0, 3, 0xf8]), Space::Usual), Next::GoesOn);
    let answer = ended(take(Vec::new(), Space::Usual));
    assert_eq!(answer.replies.len(), 3);
    assert_eq!(answer.replies[0].data[..4], [0, 0x83, 0xff, 0xff]);

    // The transport gave less space than the usual, and the page has grown.
    let mut book = Book::default();
    book.accept(order(0, 2, &[Vpd(0x83)]), at(0)).unwrap();
    book.take(at(1)).unwrap();
    let grown = [&[0, 0x83, 0, 249][..], &[0; 248]].concat();
    let next = book.returned(path(0), Outcome::Good, grown, at(1));
    assert_eq!(next, Next::GoesOn);
    assert_eq!(book.take(at(1)).unwrap().space, Space::Longest);
}

#[test]
fn commands_go_one_after_the_other() {
    let mut book = Book::default();
    book.accept(order(0, 9, &[TestUnitReady, Inquiry]), at(0))
        .unwrap();
    assert_eq!(send(&mut book, 0, 1), TestUnitReady);
    assert_eq!(book.take(at(1)), None);
    let next = book.returned(path(0), Outcome::Good, Vec::new(), at(2));
    assert_eq!(next, Next::GoesOn);
    assert_eq!(send(&mut book, 0, 3), Inquiry);
    let answer = ended(book.returned(path(0), Outcome::Good, vec![1, 2], at(4)));
    assert_eq!((answer.path, answer.ticket), (path(0), 9));
    assert_eq!(
        outcomes(&answer),
        [(TestUnitReady, Outcome::Good), (Inquiry, Outcome::Good)]
    );
    assert_eq!(answer.replies[1].data, [1, 2]);
    assert!(book.is_empty());
    assert_eq!(book.next_moment(), None);
}

#[test]
fn an_empty_examination_is_answered_immediately() {
    let answer = Book::default().accept(order(0, 1, &[]), at(0)).unwrap_err();
    assert!(answer.replies.is_empty());
}

#[test]
fn unit_attentions_are_repeated_three_times() {
    let mut book = Book::default();
    book.accept(order(0, 1, &[TestUnitReady]), at(0)).unwrap();
    for _ in 0..3 {
        send(&mut book, 0, 1);
        let next = book.returned(path(0), sense(6, 0x29), Vec::new(), at(1));
        assert_eq!(next, Next::GoesOn);
    }
    send(&mut book, 0, 1);
    let answer = ended(book.returned(path(0), sense(6, 0x29), Vec::new(), at(1)));
    assert_eq!(outcomes(&answer), [(TestUnitReady, sense(6, 0x29))]);
}

#[test]
fn transient_failures_are_repeated_twice_and_do_not_end_the_examination() {
    let mut book = Book::default();
    book.accept(order(0, 1, &[TestUnitReady, Inquiry]), at(0))
        .unwrap();
    for _ in 0..3 {
        assert_eq!(send(&mut book, 0, 1), TestUnitReady);
        book.returned(path(0), Outcome::Retry(0x0e), Vec::new(), at(1));
    }
    assert_eq!(send(&mut book, 0, 1), Inquiry);
    let answer = ended(book.returned(path(0), Outcome::Good, vec![], at(1)));
    assert_eq!(
        outcomes(&answer),
        [
            (TestUnitReady, Outcome::Retry(0x0e)),
            (Inquiry, Outcome::Good)
        ]
    );
}

#[test]
fn after_a_transport_failure_nothing_more_is_sent() {
    for failure in [
        Outcome::NoConnect(1),
        Outcome::Timeout,
        Outcome::Gone,
        Outcome::Errno(5),
        Outcome::Host(7),
    ] {
        let mut book = Book::default();
        book.accept(order(0, 1, &[TestUnitReady, Inquiry]), at(0))
            .unwrap();
        send(&mut book, 0, 1);
        let answer = ended(book.returned(path(0), failure.clone(), Vec::new(), at(1)));
        assert_eq!(outcomes(&answer), [(TestUnitReady, failure)]);
        assert!(book.is_empty());
    }
}

#[test]
fn after_a_refused_extended_header_the_plain_one_is_requested() {
    let mut book = Book::default();
    book.accept(order(0, 1, &[ReportTargetPortGroups, Vpd(0x83)]), at(0))
        .unwrap();
    assert_eq!(send(&mut book, 0, 1), ReportTargetPortGroups);
    book.returned(path(0), sense(5, 0x24), Vec::new(), at(1));
    assert_eq!(send(&mut book, 0, 1), ReportTargetPortGroupsShort);
    book.returned(path(0), Outcome::Good, vec![0; 4], at(1));
    assert_eq!(send(&mut book, 0, 1), Vpd(0x83));
    let answer = ended(book.returned(path(0), Outcome::Good, vec![], at(1)));
    let commands: Vec<_> = answer.replies.into_iter().map(|r| r.command).collect();
    assert_eq!(commands, [ReportTargetPortGroupsShort, Vpd(0x83)]);
}

#[test]
fn other_refusals_are_not_retried() {
    for (key, asc) in [(5, 0x20), (5, 0x25), (2, 0x24)] {
        let mut book = Book::default();
        book.accept(order(0, 1, &[ReportTargetPortGroups]), at(0))
            .unwrap();
        send(&mut book, 0, 1);
        let answer = ended(book.returned(path(0), sense(key, asc), Vec::new(), at(1)));
        assert_eq!(
            outcomes(&answer),
            [(ReportTargetPortGroups, sense(key, asc))]
        );
    }
}

#[test]
fn delays_of_the_thread_do_not_count_for_a_waiting_command() {
    let mut book = Book::new(1);
    for lun in 0..3 {
        book.accept(order(lun, lun, &[TestUnitReady]), at(0))
            .unwrap();
    }
    send(&mut book, 0, 0);
    book.accept(order(3, 3, &[TestUnitReady]), at(4500))
        .unwrap();
    book.held_up(at(1000), at(5000));
    // The command that is with the kernel could have come back, so its time counts.
    let overdue = book.expire(at(5000));
    assert_eq!(overdue.len(), 1);
    assert_eq!(overdue[0].path, path(0));
    // The others have used one of their 3 seconds, the last one none.
    assert!(book.expire(at(6999)).is_empty());
    assert_eq!(book.expire(at(7000)).len(), 2);
    assert!(book.expire(at(7999)).is_empty());
    assert_eq!(book.expire(at(8000)).len(), 1);
}

#[test]
fn an_overdue_command_is_an_orphan_until_it_comes_back() {
    let mut book = Book::default();
    book.accept(order(0, 1, &[TestUnitReady, Inquiry]), at(0))
        .unwrap();
    send(&mut book, 0, 500);
    // The first check is due as if the command had been sent immediately; it then finds that it was sent later.
    assert_eq!(book.next_moment(), Some(at(3000)));
    assert!(book.expire(at(3499)).is_empty());
    assert_eq!(book.next_moment(), Some(at(3500)));
    let answers = book.expire(at(3500));
    assert_eq!(answers.len(), 1);
    assert_eq!(outcomes(&answers[0]), [(TestUnitReady, Outcome::Overdue)]);
    assert!(!book.is_empty());
    // Another examination has to wait for it.
    let refused = book.accept(order(0, 2, &[Inquiry]), at(4000)).unwrap_err();
    assert_eq!(refused.ticket, 2);
    assert_eq!(outcomes(&refused), [(Inquiry, Outcome::Overdue)]);
    assert_eq!(book.take(at(4000)), None);
    // The orphan comes back without an answer, and the path is free again.
    let next = book.returned(path(0), Outcome::Timeout, Vec::new(), at(60_000));
    assert_eq!(next, Next::Reaped);
    assert!(book.is_empty());
    book.accept(order(0, 3, &[Inquiry]), at(60_001)).unwrap();
}

#[test]
fn the_time_of_each_command_counts_from_its_own_sending() {
    let mut book = Book::default();
    book.accept(order(0, 1, &[TestUnitReady, Inquiry]), at(0))
        .unwrap();
    send(&mut book, 0, 2000);
    book.returned(path(0), Outcome::Good, Vec::new(), at(4000));
    send(&mut book, 0, 5000);
    assert!(book.expire(at(7999)).is_empty());
    assert_eq!(book.expire(at(8000)).len(), 1);
}

#[test]
fn an_unsent_command_leaves_no_orphan() {
    let mut book = Book::default();
    book.accept(order(0, 1, &[TestUnitReady]), at(0)).unwrap();
    book.accept(order(1, 2, &[TestUnitReady]), at(0)).unwrap();
    // The thread is stuck writing the first command.
    let stuck = book.take(at(10)).unwrap();
    let answers = book.expire(at(3010));
    let tickets: Vec<_> = answers.iter().map(|answer| answer.ticket).collect();
    assert_eq!(tickets, [1, 2]);
    assert_eq!(book.take(at(3011)), None);
    // The second path is free, the first is not.
    book.accept(order(1, 3, &[Inquiry]), at(3011)).unwrap();
    assert!(book.accept(order(0, 4, &[Inquiry]), at(3011)).is_err());
    // However the write ends, there is no second answer.
    assert_eq!(book.not_sent(stuck.path, Outcome::Gone), None);
    book.accept(order(0, 5, &[Inquiry]), at(3012)).unwrap();
}

#[test]
fn a_path_runs_one_examination_at_a_time() {
    let mut book = Book::default();
    book.accept(order(0, 1, &[TestUnitReady]), at(0)).unwrap();
    let refused = book.accept(order(0, 2, &[Inquiry]), at(0)).unwrap_err();
    assert_eq!(
        outcomes(&refused),
        [(Inquiry, Outcome::NotSent(libc::EBUSY))]
    );
    send(&mut book, 0, 1);
    assert_eq!(
        ended(book.returned(path(0), Outcome::Good, vec![], at(1))).ticket,
        1
    );
}

#[test]
fn the_window_holds_back_and_hung_commands_leave_it() {
    let window = 96;
    let mut book = Book::new(96);
    for lun in 0..window + 2 {
        book.accept(order(lun, lun, &[TestUnitReady]), at(0))
            .unwrap();
    }
    for lun in 0..window {
        send(&mut book, lun, 100);
    }
    assert_eq!(book.take(at(100)), None);
    assert_eq!(book.next_moment(), Some(at(100).after(YOUNG)));
    // One comes back, which makes space for one more.
    ended(book.returned(path(5), Outcome::Good, vec![], at(101)));
    send(&mut book, window, 101);
    assert_eq!(book.take(at(101)), None);
    // The others hang, and after a while they no longer count.
    send(&mut book, window + 1, 100 + YOUNG.0);
}

#[test]
fn the_book_is_bounded() {
    let mut book = Book::default();
    for lun in 0..LINES as u64 {
        book.accept(order(lun, lun, &[TestUnitReady]), at(0))
            .unwrap();
    }
    let refused = book
        .accept(order(LINES as u64, 1, &[TestUnitReady]), at(0))
        .unwrap_err();
    assert_eq!(
        outcomes(&refused),
        [(TestUnitReady, Outcome::NotSent(libc::EAGAIN))]
    );
    assert_eq!(book.expire(at(3000)).len(), LINES);
    assert!(book.is_empty());
    assert_eq!(book.take(at(3000)), None);
}

#[test]
fn a_path_removed_during_its_command_is_free_immediately() {
    let mut book = Book::default();
    book.accept(order(0, 1, &[TestUnitReady, Inquiry]), at(0))
        .unwrap();
    send(&mut book, 0, 1);
    let answer = book.not_sent(path(0), Outcome::Gone).unwrap();
    assert_eq!(outcomes(&answer), [(TestUnitReady, Outcome::Gone)]);
    assert!(book.is_empty());
    let next = book.returned(path(0), Outcome::Good, vec![], at(2));
    assert_eq!(next, Next::Reaped);
}
