//! What doors gave, and what their meters say they gave (MD-33, MD-34).

use std::collections::BTreeSet;

use sealcast_proto::door::{Door, KeyMeter};
use sealcast_proto::ids::Time;

/// One request: session and number.
type Request = ([u8; 16], u64);

/// What was served, by whoever saw it, and by the meters.
#[derive(Debug, Default)]
pub struct Served {
    seen: BTreeSet<Request>,
    metered: BTreeSet<Request>,
    answers: (u64, u64),
}

impl Served {
    /// A door gave keys.
    pub fn saw(&mut self, session: [u8; 16], number: u64) {
        self.seen.insert((session, number));
        self.answers.0 += 1;
    }

    /// What a door has noted goes into a usage file.
    pub fn write(&mut self, door: &mut Door) {
        let mut meter = KeyMeter::default();
        for given in door.given().expect("it notes").drain(..) {
            meter.add(given, Time(1));
        }
        for record in meter.fetch() {
            let requests = record.given().map(|(number, ..)| (record.session, number));
            self.metered.extend(requests);
            self.answers.1 += u64::from(record.answers);
        }
    }

    /// At the end: requests that were counted once, though asked again.
    pub fn settle(&self) -> u64 {
        assert_eq!(self.metered, self.seen, "meters equal what was served");
        assert_eq!(self.answers.1, self.answers.0, "every answer is counted");
        self.seen.len() as u64
    }
}
