//! When TLS fails for a certificate's time, one of two clocks is wrong: which, and by how much, is worth more than the error.

use std::time::{Duration, SystemTime};

use sealcast_objects::time::Timestamp;

use crate::tls;

/// Differences below this are not worth a word.
const NOTABLE: Duration = Duration::from_secs(60);

/// Says how far the server's clock is from ours; `None` when it does not answer or agrees.
pub(crate) async fn difference(server: &str) -> Option<String> {
    describe(of_server(server).await?, SystemTime::now().into())
}

/// The server's clock, believing anybody: good for a message, and nothing else.
pub(crate) async fn of_server(server: &str) -> Option<Timestamp> {
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::anybody().ok()?)
        .timeout(Duration::from_secs(3))
        .no_proxy()
        .build()
        .ok()?;
    let answer = client.get(format!("{server}/v1/time")).send().await.ok()?;
    let date = answer.headers().get(reqwest::header::DATE)?.to_str().ok()?;
    parse_date(date)
}

/// How far `theirs` is from `ours`, in words.
pub(crate) fn describe(theirs: Timestamp, ours: Timestamp) -> Option<String> {
    let (apart, side) = if ours > theirs {
        (ours.since(theirs), "ahead of")
    } else {
        (theirs.since(ours), "behind")
    };
    if apart < NOTABLE {
        return None;
    }
    // The server tells whole seconds.
    let minutes = (apart.as_secs() + 30) / 60;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    Some(format!(
        "this host's clock ({ours}) is {hours} h {minutes} min {side} the server's ({theirs}): set it right (NTP)"
    ))
}

/// An HTTP date (RFC 9110 5.6.7, the fixed form that servers send).
fn parse_date(text: &str) -> Option<Timestamp> {
    let mut parts = text.split(' ').skip(1);
    let (day, month, year, time) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month = months.iter().position(|known| *known == month)? + 1;
    format!("{year}-{month:02}-{day}T{time}Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_of_clocks_is_named_with_its_size_and_side() {
        let theirs = parse_date("Mon, 21 Sep 2026 14:13:20 GMT").unwrap();
        assert_eq!(theirs, Timestamp(1_790_000_000_000));
        let ours = theirs.after(Duration::from_secs(5 * 3600 + 120));
        let said = describe(theirs, ours).unwrap();
        assert!(said.contains("5 h 2 min ahead of"), "{said}");
        assert!(describe(ours, theirs).unwrap().contains("behind"));
        assert_eq!(
            describe(theirs, theirs.after(Duration::from_secs(20))),
            None
        );
        assert_eq!(parse_date("yesterday"), None);
    }
}
