//! The sending channel: ingest, seal, multicast. A thin driver around [`sealcast_proto::sender::Sender`].

mod pump;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_lite::future::or;
use rand_core::CryptoRng;
use sealcast_net::mailbox::Receiver;
use sealcast_net::{UdpSender, ZeroCopyCounts, clock, shard};
use sealcast_proto::ids::{GroupId, Time};
use sealcast_proto::sender::{Event, ManifestConfig, ManifestCounts, Output, Sender};

use crate::coalesce::Coalesce;
use crate::histogram::Histogram;
use crate::ingest::{Filled, Ingest};
use crate::lanes::{Hand, Lane, zero_copy_counts};
use crate::link::{ChannelLink, LinkEvent};
use crate::meter::ChannelMeter;
use crate::source::Warning;
use crate::status::{KeyStatus, PUBLISH_INTERVAL, Published, SendStatus};
use crate::vouch::Vouching;

/// Everything one sending channel runs on. Lives on one shard.
pub struct SendChannel {
    /// The protocol.
    pub sender: Sender,
    /// Where payloads come from.
    pub ingest: Ingest,
    /// One or two groups that get the same packets.
    pub legs: Vec<UdpSender>,
    /// Lanes on other shards, besides the one here.
    pub lanes: Vec<Lane>,
    /// The authority.
    pub link: ChannelLink,
    /// When manifests are made, if the channel asks for them.
    pub manifests: ManifestConfig,
    /// Randomness.
    pub rng: Box<dyn CryptoRng>,
    /// Where totals are published.
    pub status: Published<SendStatus>,
    /// Where usage is counted, if it is.
    pub meter: Option<ChannelMeter>,
    /// A message, or the end of the mailbox, stops the channel.
    pub stop: Receiver<()>,
    /// For inputs that can wait (files): they begin, and their clock with them, this long after the first key has come, so
    /// that receivers get them from their first byte. `None`: live input is taken from the start.
    pub start_delay: Option<Duration>,
    /// How long a payload may wait for others that go out with it; zero: not at all. With a paced input no longer than a burst
    /// takes.
    pub budget: Duration,
    /// Gets what should be told to people.
    pub on_event: Box<dyn FnMut(SendEvent)>,
}

/// What should be told to people.
#[derive(Debug)]
pub enum SendEvent {
    /// A word of the protocol's.
    Protocol(Event),
    /// The source goes on, but something is wrong with it.
    Input(Warning),
    /// The first payload that is longer than the path takes. It and others like it are dropped and counted.
    Oversize {
        /// Bytes of the longest so far.
        longest: usize,
        /// Bytes of the longest payload that can be sent.
        payload_max: usize,
    },
    /// The first error of a group's socket. Further ones are counted; the other group goes on.
    LegFailed {
        /// The group.
        group: SocketAddr,
        /// The kernel's word.
        error: io::Error,
    },
    /// The kernel copies what goes to a group all the same: zero-copy sends are given up there, and ordinary ones go on.
    ZeroCopyUseless {
        /// The group.
        group: SocketAddr,
    },
}

impl std::fmt::Debug for SendChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SendChannel")
            .field("sender", &self.sender)
            .finish_non_exhaustive()
    }
}

/// Why a turn of the loop began.
enum Wake {
    Input,
    Link,
    Timer,
    Stop,
}

/// When the input is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begin {
    WaitsForKey,
    At(Time),
    Begun,
}

/// When the input is looked at next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// It has more than a turn takes.
    AtOnce,
    /// It has more that may not leave before.
    NotBefore(Time),
    WhenReady,
}

/// What a channel keeps from turn to turn.
struct Course {
    hand: Hand,
    /// The stripe group that numbers are of.
    group: Option<GroupId>,
    begin: Begin,
    coalesce: Coalesce,
    look: Look,
    /// When totals are published next.
    publish: Time,
    leg_errors: [u64; 2],
    zero_copy_told: [bool; 2],
    oversize_told: bool,
    vouching: Vouching,
    latency: Histogram,
}

fn now() -> Time {
    Time(clock::boottime())
}

impl SendChannel {
    /// Runs until the input ends or the channel is stopped. Returns why the input failed, if it did.
    pub async fn run(mut self) -> Option<String> {
        let mut course = Course {
            hand: Hand::default(),
            group: None,
            begin: if self.start_delay.is_some() {
                Begin::WaitsForKey
            } else {
                Begin::Begun
            },
            coalesce: Coalesce::new(self.budget),
            look: Look::WhenReady,
            publish: Time(0),
            leg_errors: [0; 2],
            zero_copy_told: [false; 2],
            oversize_told: false,
            vouching: Vouching::new(self.manifests),
            latency: Histogram::default(),
        };
        let why = loop {
            let wake = self.wait(&mut course).await;
            let now = now();
            while let Some(event) = self.link.try_recv() {
                self.handle(now, event);
            }
            self.sender.poll(now, self.rng.as_mut());
            self.send_outputs(now, &mut course).await;
            self.send_manifests(now, &mut course).await;
            course.begin = self.begin(course.begin, now);
            if course.publish <= now {
                course.publish = now.after(PUBLISH_INTERVAL);
                self.tell_of_input(&mut course);
                self.tell_of_zero_copy(&mut course);
                self.status.publish(self.snapshot(now, &course, false));
                if let Some(meter) = &mut self.meter {
                    meter.tick(now, self.sender.tally());
                }
            }
            match wake {
                Wake::Stop => break None,
                Wake::Input => match self.pump(&mut course).await {
                    Filled::End(why) => break why,
                    Filled::Full => course.look = Look::AtOnce,
                    Filled::Paced(time) => course.look = Look::NotBefore(time),
                    Filled::Drained => course.look = Look::WhenReady,
                },
                Wake::Link | Wake::Timer => {}
            }
            self.send_riders(&mut course).await;
            shard::yield_if_needed().await;
        };
        self.finish_lanes(&mut course).await;
        course.vouching.finish(now());
        self.send_manifests(now(), &mut course).await;
        self.send_outputs(now(), &mut course).await;
        self.send_riders(&mut course).await;
        self.tell_of_input(&mut course);
        self.tell_of_zero_copy(&mut course);
        self.status
            .publish_last(self.snapshot(now(), &course, true));
        if let Some(meter) = &mut self.meter {
            meter.finish(self.sender.tally()).await;
        }
        why
    }

    fn begin(&mut self, begin: Begin, now: Time) -> Begin {
        match begin {
            Begin::WaitsForKey if self.sender.current(now).is_some() => {
                Begin::At(now.after(self.start_delay.unwrap_or_default()))
            }
            Begin::At(due) if due <= now => {
                self.ingest.restart_clock();
                Begin::Begun
            }
            other => other,
        }
    }

    async fn wait(&mut self, course: &mut Course) -> Wake {
        let (begun, ticking) = (course.begin == Begin::Begun, course.coalesce.is_ticking());
        let timer = match course.begin {
            // Whatever is due is done at the tick.
            Begin::Begun if ticking => None,
            Begin::At(due) => Some(self.timer(course).min(due)),
            _ => Some(self.timer(course)),
        };
        let ingest = &mut self.ingest;
        let input = async {
            match course.look {
                _ if !begun => std::future::pending().await,
                Look::AtOnce => {}
                Look::NotBefore(time) => course.coalesce.wait(shard::sleep_until(time.0)).await,
                Look::WhenReady => course.coalesce.wait(ingest.ready()).await,
            }
            Wake::Input
        };
        let link = async {
            if self.link.ready().await {
                Wake::Link
            } else {
                std::future::pending().await
            }
        };
        let stop = async {
            self.stop.ready().await;
            Wake::Stop
        };
        let timer = async {
            match timer {
                Some(due) => shard::sleep_until(due.0).await,
                None => std::future::pending().await,
            }
            Wake::Timer
        };
        or(stop, or(link, or(input, timer))).await
    }

    fn timer(&self, course: &Course) -> Time {
        let due = self.sender.next_timeout(now());
        let due = due.into_iter().chain(course.vouching.next_timeout());
        due.fold(course.publish, Time::min)
    }

    fn handle(&mut self, now: Time, event: LinkEvent) {
        match event {
            LinkEvent::Up => self.sender.link_up(now),
            LinkEvent::Down => self.sender.link_down(),
            LinkEvent::Message(frame) => self.sender.handle_link(now, *frame, self.rng.as_mut()),
        }
    }

    async fn send_outputs(&mut self, now: Time, course: &mut Course) {
        while let Some(output) = self.sender.poll_output() {
            match output {
                Output::Link(message) => self.link.send(now, message),
                Output::Event(event) => (self.on_event)(SendEvent::Protocol(event)),
                Output::KeyBlock(datagram) => course.vouching.take_rider(datagram),
                Output::Multicast(datagram) => {
                    for leg in 0..self.legs.len() {
                        if let Err(error) = self.legs[leg].send_one(&datagram).await {
                            self.note(course, leg, error);
                        }
                    }
                }
            }
        }
    }

    fn tell_of_input(&mut self, course: &mut Course) {
        while let Some(warning) = self.ingest.take_warning() {
            (self.on_event)(SendEvent::Input(warning));
        }
        let longest = self.ingest.counts().longest;
        if longest > 0 && !std::mem::replace(&mut course.oversize_told, true) {
            (self.on_event)(SendEvent::Oversize {
                longest,
                payload_max: self.ingest.payload_max(),
            });
        }
    }

    fn snapshot(&self, now: Time, course: &Course, finished: bool) -> SendStatus {
        let counts = self.ingest.counts();
        SendStatus {
            stats: self.sender.stats(),
            keys: KeyStatus {
                current: self.sender.current(now),
                next: self.sender.next_epoch(),
                linked: self.sender.is_linked(),
            },
            holding: self.sender.is_holding(),
            oversize: counts.oversize,
            input_drops: counts.drops,
            input_malformed: counts.malformed,
            leg_errors: course.leg_errors,
            zero_copy: self
                .lanes
                .iter()
                .map(Lane::zero_copy)
                .fold(zero_copy_counts(&self.legs), ZeroCopyCounts::plus),
            manifests: self
                .lanes
                .iter()
                .map(Lane::manifests)
                .fold(course.vouching.counts(), ManifestCounts::plus),
            latency: course.latency,
            pcr_jitter: self.ingest.pcr_jitter(),
            finished,
        }
    }
}
