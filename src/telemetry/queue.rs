//! The way of the log to standard error: a bounded queue, and a thread of its own that empties it.
//!
//! Logging never waits for the reader of the log. A pipe whose reader hangs takes 64 KiB, and then a
//! write to it blocks its thread for good. Without the queue, the log would stop one request after
//! the other, and probes and the shutdown with them. Lines that find no room here are dropped and
//! counted.
//!
//! It is written by hand, since `tracing-appender` bounds lines and not bytes, keeps its count to
//! itself, and prints to standard output when it ends while its queue is full: where that is the same
//! pipe, as under systemd, the program would not end.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use super::metrics::LOG_LINES_DROPPED;

/// Bytes that may wait: some 3000 lines.
const ROOM: usize = 1 << 20;

/// Bytes that are written at once. A pipe takes so many whole or not at all (`PIPE_BUF`), so that the
/// lines of two programs on one pipe do not mix.
const AT_ONCE: usize = 4096;

/// How long lines are gathered before they are written: waking the thread for each costs more than the line.
const GATHERED: Duration = Duration::from_millis(5);

/// How long the last lines get at the program's end.
const LAST: Duration = Duration::from_secs(1);

/// The queue; clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Queue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Notified when there is something to write.
    filled: Condvar,
    /// Notified when all is written.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The lines that wait, each of them whole.
    text: Vec<u8>,
    /// Lines that found no room since the last time that some were taken.
    dropped: u64,
    /// Whether lines that were taken are still being written.
    is_writing: bool,
}

impl Queue {
    /// A queue, and the thread that writes what it holds to `out` for as long as the program lives.
    pub(super) fn open(out: impl Write + Send + 'static) -> io::Result<Self> {
        let queue = Self(Arc::default());
        let writer = queue.clone();
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.0.write_to(out))?;
        Ok(queue)
    }

    /// Waits until all is written, but not for long.
    pub(super) fn finish(&self) {
        let is_left = |waiting: &mut Waiting| waiting.is_writing || !waiting.text.is_empty();
        let waiting = self.0.lock();
        let _ = (self.0.emptied).wait_timeout_while(waiting, LAST, is_left);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a whole line, if there is room.
    fn push(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.text.len() + line.len() > ROOM {
            waiting.dropped += 1;
            drop(waiting);
            LOG_LINES_DROPPED.add(1, []);
            return;
        }
        let is_first = waiting.text.is_empty() && !waiting.is_writing;
        waiting.text.extend_from_slice(line);
        drop(waiting);
        if is_first {
            self.filled.notify_one();
        }
    }

    fn write_to(&self, mut out: impl Write) {
        let mut batch = Vec::new();
        loop {
            let dropped = self.take(&mut batch);
            for lines in whole_lines(&batch) {
                // The output is closed, or full and non-blocking. Only the metric can still show it.
                if out.write_all(lines).is_err() {
                    let lost = lines.split_inclusive(|byte| *byte == b'\n').count();
                    LOG_LINES_DROPPED.add(lost as u64, []);
                }
            }
            if dropped > 0 {
                tracing::warn!(
                    dropped,
                    "lines were left out here: the log was read too slowly"
                );
            }
        }
    }

    /// Waits for lines and takes them all. Returns how many were dropped meanwhile.
    fn take(&self, batch: &mut Vec<u8>) -> u64 {
        batch.clear();
        let mut waiting = self.lock();
        waiting.is_writing = false;
        if waiting.text.is_empty() {
            self.emptied.notify_all();
        }
        let mut waiting = (self.filled)
            .wait_while(waiting, |waiting| waiting.text.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        waiting.is_writing = true;
        drop(waiting);
        thread::sleep(GATHERED);
        let mut waiting = self.lock();
        mem::swap(batch, &mut waiting.text);
        mem::take(&mut waiting.dropped)
    }
}

/// Cuts a text between lines into pieces of at most [`AT_ONCE`] bytes; a longer line is a piece by
/// itself.
fn whole_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let is_end = |byte: &u8| *byte == b'\n';
        let fitting = &rest[..rest.len().min(AT_ONCE)];
        let end = (fitting.iter().rposition(is_end))
            .or_else(|| rest.iter().position(is_end))
            .map_or(rest.len(), |at| at + 1);
        let (piece, left) = rest.split_at(end);
        rest = left;
        (!piece.is_empty()).then_some(piece)
    })
}

/// The writer of one event, whose line arrives in one piece.
#[derive(Debug)]
pub(super) struct LineWriter<'a>(&'a Shared);

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::time::Instant;

    use super::*;

    /// A place that takes a write each time that it is told to.
    struct Slow {
        may: mpsc::Receiver<()>,
        taken: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.may.recv().map_err(io::Error::other)?;
            let _ = self.taken.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Queue, mpsc::Sender<()>, mpsc::Receiver<Vec<u8>>) {
        let (let_it, may) = mpsc::channel();
        let (taken, take) = mpsc::channel();
        (Queue::open(Slow { may, taken }).unwrap(), let_it, take)
    }

    fn log(queue: &Queue, line: &[u8]) {
        queue.make_writer().write_all(line).unwrap();
    }

    /// Red when a line waits for room.
    #[test]
    fn lines_that_find_no_room_are_dropped_and_nobody_waits() {
        let (queue, let_it, take) = slow();
        let line = [&[b'x'; 255][..], b"\n"].concat();
        let lines = 2 * ROOM / line.len();
        for _ in 0..lines {
            log(&queue, &line);
        }
        let began = Instant::now();
        queue.finish();
        assert!(began.elapsed() < 3 * LAST, "the end waits no longer either");

        for _ in 0..lines {
            let_it.send(()).unwrap();
        }
        queue.finish();
        let written: usize = take.try_iter().map(|piece| piece.len()).sum();
        // The lines in the thread's hands, besides those that waited.
        assert!((ROOM..2 * ROOM).contains(&written), "{written}");
        assert_eq!(written % line.len(), 0);
    }

    #[test]
    fn the_end_waits_for_the_last_line() {
        let (queue, let_it, take) = slow();
        log(&queue, b"last\n");
        let_it.send(()).unwrap();
        queue.finish();
        assert_eq!(take.try_recv().unwrap(), b"last\n");
    }

    /// Red when an error ends the thread.
    #[test]
    fn a_place_that_is_closed_holds_up_nothing() {
        let (queue, let_it, _) = slow();
        drop(let_it);
        for _ in 0..3 {
            log(&queue, b"lost\n");
            queue.finish();
            assert!(queue.0.lock().text.is_empty());
        }
    }

    #[test]
    fn a_text_is_cut_between_lines() {
        let long = [&[b'x'; AT_ONCE][..], b"\n"].concat();
        let half = [&[b'y'; AT_ONCE / 2][..], b"\n"].concat();
        let text = [&b"a\nb\n"[..], &long, &half, &half, b"c\n"].concat();
        let pieces: Vec<_> = whole_lines(&text).collect();
        let last = [&half[..], b"c\n"].concat();
        assert_eq!(pieces, [&b"a\nb\n"[..], &long, &half, &last]);
        assert_eq!(whole_lines(b"").count(), 0);
    }
}
