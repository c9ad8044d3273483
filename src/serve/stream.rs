//! The stream between hyper and the socket: it tells the clocks what passes through it.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use hyper::body::Buf as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use super::linger::Linger;
use super::timers::ConnectionTimers;

/// The first bytes of a connection in HTTP/2 (RFC 9113, section 3.4). None in HTTP/1 begins so.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The bytes to send instead of bytes that hyper writes by itself, to a peer; `None` for all others.
///
/// hyper answers a request that it cannot read before any layer sees it, and has no hook for that.
pub type Replace = fn(&[u8], IpAddr) -> Option<Bytes>;

/// A connection's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// A stream that tells the clocks what passes through it, and that lingers when it is closed.
pub(super) struct TimedStream<I> {
    io: I,
    /// Bytes that were read already, and are to be read again.
    ahead: Bytes,
    /// Whether the protocol is known: HTTP/2 begins with a connection or not at all.
    is_known: bool,
    peer: IpAddr,
    timers: Arc<ConnectionTimers>,
    replace: Replace,
    /// The answer that is being written in the place of hyper's own.
    replacement: Option<Replacement>,
    linger: Option<Linger>,
}

struct Replacement {
    left: Bytes,
    /// How many of hyper's bytes it stands for.
    length: usize,
}

impl<I> TimedStream<I> {
    pub(super) fn new(
        io: I,
        peer: SocketAddr,
        timers: Arc<ConnectionTimers>,
        replace: Replace,
    ) -> Self {
        Self {
            io,
            ahead: Bytes::new(),
            is_known: false,
            peer: peer.ip(),
            timers,
            replace,
            replacement: None,
            linger: None,
        }
    }

    /// Whether the client has sent anything yet.
    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    pub(super) fn timers(&self) -> &Arc<ConnectionTimers> {
        &self.timers
    }

    /// Puts bytes back, to be read again. They are copied: the original would keep the whole buffer
    /// that they are a part of.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        self.ahead = Bytes::copy_from_slice(bytes);
    }

    fn note_write<T>(&self, written: &Poll<io::Result<T>>) {
        self.timers.note_write(written.is_pending());
    }
}

impl<I: AsyncRead + Unpin> TimedStream<I> {
    /// Waits for the other side to send something, and tells the protocol. The bytes that were read
    /// are kept to be read again. `None`: the other side has closed.
    pub(super) async fn wait_for_bytes(&mut self) -> io::Result<Option<Protocol>> {
        let mut bytes = [0; PREFACE.len()];
        let mut length = 0;
        while self.ahead.is_empty() {
            let wanted = if self.is_known { 1 } else { bytes.len() };
            let read = self.io.read(&mut bytes[length..wanted]).await?;
            self.timers.note_read(read);
            length += read;
            if length == 0 {
                return Ok(None);
            }
            let can_grow = !self.is_known && read > 0 && length < wanted;
            if !(can_grow && PREFACE.starts_with(&bytes[..length])) {
                self.put_back(&bytes[..length]);
            }
        }
        Ok(Some(self.protocol()))
    }

    /// The protocol that the bytes read ahead are in.
    fn protocol(&mut self) -> Protocol {
        let is_http2 = !self.is_known && self.ahead == PREFACE;
        self.is_known = true;
        if is_http2 {
            self.timers.note_http2();
            return Protocol::Http2;
        }
        Protocol::Http1
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for TimedStream<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if self.ahead.is_empty() {
            ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        } else {
            let length = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead.split_to(length));
        }
        self.timers.note_read(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> TimedStream<I> {
    /// Writes what stands for these bytes, if something does.
    fn poll_replacement(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Option<io::Result<usize>>> {
        if self.replacement.is_none() {
            let length = bytes.len();
            let left = (self.replace)(bytes, self.peer);
            self.replacement = left.map(|left| Replacement { left, length });
        }
        while let Some(Replacement { left, length }) = &mut self.replacement {
            if left.is_empty() {
                let length = *length;
                self.replacement = None;
                return Poll::Ready(Some(Ok(length)));
            }
            match ready!(Pin::new(&mut self.io).poll_write(cx, left)) {
                Ok(0) => return Poll::Ready(Some(Err(io::ErrorKind::WriteZero.into()))),
                Ok(written) => left.advance(written),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        Poll::Ready(None)
    }

    fn poll_write_or_replace(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.poll_replacement(cx, bytes)) {
            Some(written) => Poll::Ready(written),
            None => Pin::new(&mut self.io).poll_write(cx, bytes),
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TimedStream<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.poll_write_or_replace(cx, bytes);
        self.note_write(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // hyper writes its own answers in one piece.
        let written = match slices {
            [bytes] => self.poll_write_or_replace(cx, bytes),
            _ => Pin::new(&mut self.io).poll_write_vectored(cx, slices),
        };
        self.note_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.timers.note_closing();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
        }
        let linger = this.linger.get_or_insert_with(Linger::begin);
        linger.poll(&mut this.io, cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::PREFACE;
    use crate::serve::wire::{REQUEST, Wire, pause};

    /// Seen red with `io.ahead` left empty after a sleep.
    #[tokio::test(start_paused = true)]
    async fn half_a_head_that_came_with_the_request_before_is_not_lost() {
        let (first, second) = REQUEST.split_at(9);
        let mut wire = Wire::open(999);
        for _ in 0..3 {
            wire.send(&format!("{REQUEST}{first}")).await;
            wire.answer().await;
            pause(5).await;
            wire.send(second).await;
            wire.answer().await;
            pause(5).await;
        }
        wire.send(&format!("{REQUEST}{first}")).await;
        wire.answer().await;
        assert_eq!(wire.seconds_until_cut().await, 30 + 10);
    }

    #[tokio::test(start_paused = true)]
    async fn the_preface_of_http2_may_trickle_in_and_is_one_at_the_beginning_only() {
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        let mut answer = [0; 12];
        let mut wire = Wire::open(999);
        for byte in PREFACE {
            wire.client.write_all(&[*byte]).await.unwrap();
        }
        wire.client.write_all(&settings).await.unwrap();
        wire.client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[3], 4, "a SETTINGS frame");
        let mut wire = Wire::open(999);
        wire.send(REQUEST).await;
        wire.answer().await;
        pause(1).await;
        wire.client.write_all(PREFACE).await.unwrap();
        assert_eq!(wire.client.read(&mut answer).await.unwrap(), 0, "closed");
    }
}
