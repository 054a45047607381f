//! Who speaks on which link, and which room its messages go to.

use std::time::Duration;

use rand_core::CryptoRng;

use super::channel::{Channel, Link};
use super::events::{AuthorityEvent, Fault};
use super::start::{Collected, term_of, terms_of};
use super::{Authority, ConnId, Ctx, Output, Phase};
use crate::ids::{ChannelId, Remaining, ServerId, Time};
use crate::limits::{NOTICE_INTERVAL, REPORT_INTERVAL};
use crate::wire::door::{Reason, Refused, Wanted};
use crate::wire::link::{FromAuthority, Hello, Report, ServerIdentity, Welcome};

impl Authority {
    pub(super) fn hello(&mut self, now: Time, conn: ConnId, hello: Hello, out: &mut Vec<Output>) {
        if let Some(identity) = &hello.server {
            self.relink(conn, identity.server, out);
        }
        match self.is_deposed_by(term_of(&hello)) {
            Some(rival) => self.depose(now, rival, out),
            None => match &mut self.phase {
                Phase::Collecting(collection) => collection.saw(term_of(&hello)),
                Phase::Leading(term) => {
                    let authority = self.config.key.verifying_key();
                    let welcome = Welcome {
                        term: *term,
                        authority,
                        successor: self.config.successor,
                    };
                    out.push(Output::Send(conn, FromAuthority::Welcome(welcome)));
                }
            },
        }
        self.nodes.insert(conn, hello);
    }

    /// Of several links of one delivery server the newest counts: the others are leftovers.
    fn relink(&mut self, conn: ConnId, server: ServerId, out: &mut Vec<Output>) {
        let is_it = |hello: &Hello| {
            hello
                .server
                .as_ref()
                .is_some_and(|identity| identity.server == server)
        };
        let former: Vec<_> = self
            .nodes
            .iter()
            .filter(|(other, hello)| **other != conn && is_it(hello))
            .map(|(other, _)| *other)
            .collect();
        for other in former {
            if let Some(hello) = self.nodes.get_mut(&other) {
                hello.server = None;
            }
            self.unlink(other);
            out.push(Output::Event(AuthorityEvent::Relinked { server }));
        }
    }

    pub(super) fn unlink(&mut self, conn: ConnId) {
        self.channels
            .values_mut()
            .for_each(|channel| channel.unlink(conn));
        if let Phase::Collecting(collection) = &mut self.phase {
            collection.unlink(conn);
        }
    }

    pub(super) fn report(
        &mut self,
        now: Time,
        conn: ConnId,
        report: Report,
        rng: &mut dyn CryptoRng,
        out: &mut Vec<Output>,
    ) {
        if self.identity(conn).is_some()
            && let Some(rival) = self.is_deposed_by(terms_of(&report))
        {
            self.depose(now, rival, out);
        }
        if let Phase::Collecting(collection) = &mut self.phase {
            let Some(ServerIdentity { server, key }) =
                self.nodes.get(&conn).and_then(|hello| hello.server.clone())
            else {
                return ignored(out, report.channel, None, Fault::NotAServer);
            };
            collection.report(
                server,
                Collected {
                    link: Some(Link { conn, key }),
                    at: now,
                    report,
                },
            );
            return self.try_lead(now, rng, out);
        }
        self.on_channel(
            now,
            conn,
            report.channel,
            rng,
            out,
            |channel, ctx, id, link| {
                channel.report(ctx, id, Some(link), ctx.now, report);
            },
        );
    }

    /// Runs `act` for a delivery server's message about a channel that is led here.
    pub(super) fn on_channel(
        &mut self,
        now: Time,
        conn: ConnId,
        channel: ChannelId,
        rng: &mut dyn CryptoRng,
        out: &mut Vec<Output>,
        act: impl FnOnce(&mut Channel, &mut Ctx<'_>, ServerId, Link),
    ) {
        let Phase::Leading(term) = self.phase else {
            return;
        };
        let Some(ServerIdentity { server, key }) = self.identity(conn) else {
            return ignored(out, channel, None, Fault::NotAServer);
        };
        let Some(room) = self.channels.get_mut(&channel) else {
            return ignored(out, channel, Some(server), Fault::ChannelUnknown);
        };
        let mut ctx = Ctx {
            now,
            term,
            key: &self.config.key,
            rng,
            out,
            stored: false,
        };
        act(room, &mut ctx, server, Link { conn, key });
        self.settle();
    }

    fn identity(&self, conn: ConnId) -> Option<ServerIdentity> {
        self.nodes.get(&conn).and_then(|hello| hello.server.clone())
    }

    pub(super) fn key_request(
        &mut self,
        now: Time,
        wanted: &Wanted,
        rng: &mut dyn CryptoRng,
    ) -> FromAuthority {
        let refused = |reason, retry: Duration| {
            let retry_after = Remaining::from(retry);
            FromAuthority::Refused(Refused {
                number: wanted.number,
                channel: wanted.channel,
                reason,
                retry_after,
            })
        };
        if let Phase::Collecting(collection) = &self.phase {
            return refused(
                Reason::Busy,
                collection.until.since(now).max(NOTICE_INTERVAL),
            );
        }
        let Some(channel) = self.channels.get(&wanted.channel) else {
            return refused(Reason::ChannelUnknown, REPORT_INTERVAL);
        };
        match channel.grant(
            now,
            wanted,
            self.config.key.verifying_key(),
            self.config.successor,
            rng,
        ) {
            Ok(granted) => FromAuthority::Granted(granted),
            Err(reason) if wanted.epoch.is_some_and(|epoch| channel.is_expected(epoch)) => {
                refused(reason, NOTICE_INTERVAL)
            }
            Err(reason) => refused(reason, REPORT_INTERVAL),
        }
    }
}

fn ignored(out: &mut Vec<Output>, channel: ChannelId, server: Option<ServerId>, fault: Fault) {
    out.push(Output::Event(AuthorityEvent::Ignored {
        channel,
        server,
        fault,
    }));
}
