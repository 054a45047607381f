//! How often a receiver asks.

use sealcast_proto::ids::Epoch;
use sealcast_proto::receiver::FetchOn;
use sealcast_proto::sender::Hold;

use crate::bench::Bench;

/// SEC-09: the Notice names what the timer would ask for at the same moment.
#[test]
fn sec_09_timer_and_notice_together_make_one_request() {
    let mut bench = Bench::started(Hold::Hold, FetchOn::default());
    let announced = bench.notice(1, 2_000, &bench.authority);
    bench.arrive(8_000, &announced);
    let mut requests = Vec::new();
    for ms in 8_000..8_500 {
        bench.poll(ms);
        requests.extend(bench.requests());
    }
    assert_eq!(requests.len(), 1, "{requests:?}");
    let (number, wanted) = requests[0];
    assert_eq!(wanted, Some(Epoch(2)));
    bench.grant(8_500, number, (1, 1_500), Some((2, 11_500)));
    for ms in 8_500..9_900 {
        bench.poll(ms);
        assert!(bench.requests().is_empty(), "next is held");
    }
}
