//! Receives at one core what generators sent, perhaps through something else, and has it verified.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures_lite::future::or;
use sealcast_dataplane::status::Published;
use sealcast_net::mailbox::{Receiver, mailbox};
use sealcast_net::{BufferGrant, GroupOptions, RecvBatch, UdpReceiver, clock, shard};

use crate::control::{Control, OpenError};
use crate::verify::{Clocks, Counts, Expect, Verifier};

/// Buffers of one receive call, and calls before others get their turn.
const FRAMES: usize = 8;
const CALLS: usize = 16;
/// How often totals are published and the end is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// What one core receives.
pub(crate) struct SinkTask {
    /// Each sink's number among all of the run.
    pub(crate) sinks: Vec<(usize, GroupOptions)>,
    pub(crate) expect: Expect,
    pub(crate) clocks: Clocks,
    /// Never sleep.
    pub(crate) busy: bool,
    pub(crate) control: Arc<Control>,
    pub(crate) status: Published<SunkNow>,
}

/// What was received up to now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct SunkNow {
    /// As verified.
    pub counts: Counts,
    /// Buffers that the kernel dropped, see [`UdpReceiver::drops`].
    pub drops: u64,
    /// All flows that are known have ended.
    pub ended: bool,
}

/// What was received.
#[derive(Debug)]
pub(crate) struct Sunk {
    /// Each sink's number among all of the run, when it was open, buffers dropped, the buffer granted.
    pub(crate) sockets: Vec<Socket>,
    pub(crate) verifier: Verifier,
}

/// What is known of a sink's socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Socket {
    pub(crate) number: usize,
    pub(crate) opened: u64,
    pub(crate) drops: u64,
    pub(crate) grant: BufferGrant,
}

struct Shared {
    batch: RecvBatch,
    verifier: Verifier,
    sockets: Vec<Socket>,
}

impl SinkTask {
    /// Opens the sockets, says so, receives until it is told that nothing comes any more.
    pub(crate) async fn run(self, ready: mpsc::Sender<Result<(), OpenError>>) -> Option<Sunk> {
        let mut receivers = Vec::new();
        let mut sockets = Vec::new();
        for (number, options) in &self.sinks {
            match UdpReceiver::bind(options) {
                Ok(receiver) => {
                    let (number, opened, grant) = (*number, clock::boottime(), receiver.grant());
                    sockets.push(Socket {
                        number,
                        opened,
                        drops: 0,
                        grant,
                    });
                    receivers.push(receiver);
                }
                Err(error) => {
                    let _ = ready.send(Err(error.into()));
                    return None;
                }
            }
        }
        let shared = Rc::new(RefCell::new(Shared {
            batch: RecvBatch::new(FRAMES, 0),
            verifier: Verifier::new(receivers.len(), self.expect, self.clocks),
            sockets,
        }));
        let _ = ready.send(Ok(()));
        drop(ready);
        if self.busy {
            self.poll(&shared, &mut receivers).await;
        } else {
            self.wait(&shared, receivers).await;
        }
        self.publish(&shared);
        let shared = &mut *shared.borrow_mut();
        let none = Verifier::new(0, self.expect, self.clocks);
        Some(Sunk {
            sockets: shared.sockets.clone(),
            verifier: std::mem::replace(&mut shared.verifier, none),
        })
    }

    fn is_over(&self) -> bool {
        self.control.drained.load(Ordering::Relaxed)
    }

    /// Receives from each socket when there is something. Returns when no task waits for a socket any more: a shard ends with none.
    async fn wait(&self, shared: &Rc<RefCell<Shared>>, receivers: Vec<UdpReceiver>) {
        let mut stops = Vec::new();
        for (place, receiver) in receivers.into_iter().enumerate() {
            let (stop, stopped) = mailbox(1);
            stops.push(stop);
            shard::spawn(wait_and_drain(place, receiver, Rc::clone(shared), stopped));
        }
        while !self.is_over() {
            shard::sleep(LOOK).await;
            self.publish(shared);
        }
        // Whoever has no one to be stopped by stops.
        drop(stops);
        while Rc::strong_count(shared) > 1 {
            shard::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Looks into all sockets, again and again.
    async fn poll(&self, shared: &RefCell<Shared>, receivers: &mut [UdpReceiver]) {
        let look = u64::try_from(LOOK.as_nanos()).unwrap_or(u64::MAX);
        let mut publish = 0;
        while !self.is_over() {
            for (place, receiver) in receivers.iter_mut().enumerate() {
                shared.borrow_mut().drain(place, receiver);
            }
            let now = clock::boottime();
            if publish <= now {
                publish = now + look;
                self.publish(shared);
            }
            shard::yield_if_needed().await;
        }
    }

    fn publish(&self, shared: &RefCell<Shared>) {
        let shared = shared.borrow();
        self.status.publish_last(SunkNow {
            counts: shared.verifier.totals(),
            drops: shared.sockets.iter().map(|socket| socket.drops).sum(),
            ended: shared.verifier.has_ended(),
        });
    }
}

/// Receives from one socket until `stopped` has no writer any more.
async fn wait_and_drain(
    place: usize,
    mut receiver: UdpReceiver,
    shared: Rc<RefCell<Shared>>,
    mut stopped: Receiver<()>,
) {
    loop {
        let stop = async {
            stopped.ready().await;
            false
        };
        let readable = async { receiver.readable().await.is_ok() };
        if !or(stop, readable).await {
            return;
        }
        shared.borrow_mut().drain(place, &mut receiver);
        shard::yield_if_needed().await;
    }
}

impl Shared {
    fn drain(&mut self, place: usize, receiver: &mut UdpReceiver) {
        for _ in 0..CALLS {
            let Ok(count @ 1..) = receiver.recv(&mut self.batch) else {
                break;
            };
            let now = clock::boottime();
            for mut received in self.batch.iter_mut() {
                for datagram in received.segments() {
                    self.verifier.take(place, now, datagram);
                }
            }
            if count < FRAMES {
                break;
            }
        }
        self.sockets[place].drops = receiver.drops();
    }
}
