//! Who speaks on which link, and which room its messages go to.

use rand_core::CryptoRng;

use super::channel::{Channel, Link};
use super::events::{AuthorityEvent, Fault};
use super::start::{Collected, term_of, terms_of};
use super::{Authority, ConnId, Ctx, Output, Phase};
use crate::ids::{ChannelId, ServerId, Time};
use crate::wire::link::{Hello, Report};

impl Authority {
    pub(super) fn hello(&mut self, now: Time, conn: ConnId, hello: Hello, out: &mut Vec<Output>) {
        self.relink(conn, hello.server, out);
        match self.is_deposed_by(term_of(&hello)) {
            Some(rival) => self.depose(now, rival, out),
            None => match &mut self.phase {
                Phase::Collecting(collection) => collection.saw(term_of(&hello)),
                Phase::Leading(term) => {
                    out.push(Output::Send(conn, self.config.keys.welcome(*term)));
                }
            },
        }
        self.nodes.insert(conn, hello);
    }

    /// Of several links of one delivery server the newest counts: the others are leftovers.
    fn relink(&mut self, conn: ConnId, server: ServerId, out: &mut Vec<Output>) {
        let former = |(other, hello): (&ConnId, &Hello)| {
            (*other != conn && hello.server == server).then_some(*other)
        };
        let former: Vec<_> = self.nodes.iter().filter_map(former).collect();
        for other in former {
            self.nodes.remove(&other);
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
        if self.nodes.contains_key(&conn)
            && let Some(rival) = self.is_deposed_by(terms_of(&report))
        {
            self.depose(now, rival, out);
        }
        if let Phase::Collecting(collection) = &mut self.phase {
            let Some(Hello { server, key, .. }) = self.nodes.get(&conn).cloned() else {
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
        let Some(Hello { server, key, .. }) = self.nodes.get(&conn).cloned() else {
            return ignored(out, channel, None, Fault::NotAServer);
        };
        let Some(room) = self.channels.get_mut(&channel) else {
            return ignored(out, channel, Some(server), Fault::ChannelUnknown);
        };
        let mut ctx = Ctx {
            now,
            term,
            keys: &self.config.keys,
            slaves: &self.slaves,
            rng,
            out,
            stored: false,
        };
        act(room, &mut ctx, server, Link { conn, key });
        self.settle(out);
    }
}

fn ignored(out: &mut Vec<Output>, channel: ChannelId, server: Option<ServerId>, fault: Fault) {
    out.push(Output::Event(AuthorityEvent::Ignored {
        channel,
        server,
        fault,
    }));
}
