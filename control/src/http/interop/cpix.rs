//! CPIX documents (DASH-IF, version 2.4): the keys of a content for other software, in the clear inside TLS.

use std::fmt::Write as _;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use data_encoding::{BASE64, HEXLOWER};
use sealcast_domain::cenc::KID_LEN;
use sealcast_objects::interop::{ContentId, CpixRequest, Periods, Question, Track};
use sealcast_objects::problem::Problem;

use super::super::error::{ApiError, Json, Path};
use super::super::openapi::{Routes, Who, about};
use super::asker::Asker;
use super::give::Given;
use super::{App, check_open, pssh};
use crate::ca::Peer;

pub(super) fn routes() -> Routes {
    Routes::of("Packagers").post(
        "/v1/interop/cpix/{channel}",
        document,
        about("Keys for a packager, as CPIX")
            .answers_with(200, Some("application/xml"), "A CPIX document.")
            .by(&[Who::Packager, Who::Operator])
            .refuses(429),
    )
}

async fn document(
    State(app): State<App>,
    Extension(peer): Extension<Option<Peer>>,
    Path(channel): Path<u16>,
    headers: HeaderMap,
    request: Result<Json<CpixRequest>, ApiError>,
) -> Result<Response, ApiError> {
    check_open(app.0.interop.config.cpix, "cpix")?;
    let asker = Asker::of(&app, &headers, peer.as_ref()).await?;
    app.0.interop.admit(&asker.name)?;
    let Json(request) = request?;
    let xml = answer(&app, &asker, channel, request)
        .await
        .inspect_err(|problem| asker.log_refusal("cpix", channel, &problem.detail))?;
    let headers = [
        (header::CONTENT_TYPE, "application/xml"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, xml).into_response())
}

async fn answer(
    app: &App,
    asker: &Asker,
    channel: u16,
    request: CpixRequest,
) -> Result<String, Problem> {
    asker.may(channel)?;
    let question = Question {
        channel,
        content: request.content_id,
        periods: request.periods.into(),
        tracks: request.tracks,
    };
    let question = question.checked()?;
    let (content, periods) = (question.content.clone(), question.periods);
    let given = app.give("cpix", asker, question).await?;
    Ok(write(&content, periods, &given))
}

/// The document. Nothing in it needs escaping: numbers, base64, hexadecimal, and names of ours.
fn write(content: &ContentId, periods: Periods, given: &[Given]) -> String {
    let mut xml = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        xml,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<CPIX xmlns=\"urn:dashif:org:cpix\" \
         xmlns:pskc=\"urn:ietf:params:xml:ns:keyprov:pskc\" contentId=\"{content}\" version=\"2.4\">\n"
    );
    list(&mut xml, "ContentKeyList", given, |Given { place, key }| {
        format!(
            "<ContentKey kid=\"{}\"><Data><pskc:Secret><pskc:PlainValue>{}</pskc:PlainValue></pskc:Secret></Data></ContentKey>",
            uuid(&place.kid),
            BASE64.encode(key.as_bytes())
        )
    });
    list(
        &mut xml,
        "DRMSystemList",
        given,
        |Given { place, .. }| {
            format!(
                "<DRMSystem systemId=\"{}\" kid=\"{}\"><PSSH>{}</PSSH></DRMSystem>",
                uuid(&pssh::COMMON),
                uuid(&place.kid),
                BASE64.encode(&pssh::common(&place.kid))
            )
        },
    );
    let numbers: Vec<u32> = periods.numbers().flatten().collect();
    if !numbers.is_empty() {
        list(&mut xml, "ContentKeyPeriodList", &numbers, |number| {
            format!("<ContentKeyPeriod id=\"period_{number}\" index=\"{number}\"/>")
        });
    }
    list(
        &mut xml,
        "ContentKeyUsageRuleList",
        given,
        |Given { place, .. }| {
            let period = place.period.map_or_else(String::new, |number| {
                format!("<KeyPeriodFilter periodId=\"period_{number}\"/>")
            });
            let filter = if place.track == Track::Audio {
                "<AudioFilter/>"
            } else {
                "<VideoFilter/>"
            };
            format!(
                "<ContentKeyUsageRule kid=\"{}\" intendedTrackType=\"{}\">{period}{filter}</ContentKeyUsageRule>",
                uuid(&place.kid),
                place.track.name()
            )
        },
    );
    xml.push_str("</CPIX>\n");
    xml
}

fn list<T>(xml: &mut String, name: &str, items: &[T], element: impl Fn(&T) -> String) {
    let _ = writeln!(xml, "  <{name}>");
    for item in items {
        let _ = writeln!(xml, "    {}", element(item));
    }
    let _ = writeln!(xml, "  </{name}>");
}

/// In groups of 8, 4, 4, 4 and 12 digits, as CPIX writes ids.
fn uuid(bytes: &[u8; KID_LEN]) -> String {
    let digits = HEXLOWER.encode(bytes);
    let (a, rest) = digits.split_at(8);
    let (b, rest) = rest.split_at(4);
    let (c, rest) = rest.split_at(4);
    let (d, e) = rest.split_at(4);
    format!("{a}-{b}-{c}-{d}-{e}")
}

#[cfg(test)]
mod tests {
    use sealcast_crypto::CencKey;
    use sealcast_domain::cenc::Place;

    use super::*;

    #[test]
    fn a_document_holds_every_key_once_and_names_its_period_and_track() {
        let content = ContentId::new(vec![1, 0xab]).unwrap();
        let periods = Periods::Rotating {
            first: 7,
            count: 2,
            seconds: 10,
        };
        let given: Vec<_> = [
            (7, Track::Sd),
            (7, Track::Audio),
            (8, Track::Sd),
            (8, Track::Audio),
        ]
        .into_iter()
        .zip(1..)
        .map(|((period, track), byte)| Given {
            place: Place {
                period: Some(period),
                track,
                kid: [byte; 16],
            },
            key: CencKey::from_bytes([byte + 16; 16]),
        })
        .collect();
        let xml = write(&content, periods, &given);
        let count = |text: &str| xml.matches(text).count();
        for byte in 1..=4 {
            let kid = uuid(&[byte; 16]);
            assert_eq!(count(&format!("<ContentKey kid=\"{kid}\"")), 1, "{xml}");
            assert_eq!(count(&format!("<ContentKeyUsageRule kid=\"{kid}\"")), 1);
            assert_eq!(count(&BASE64.encode(&[byte + 16; 16])), 1);
        }
        assert_eq!(count("<KeyPeriodFilter periodId=\"period_8\"/>"), 2);
        assert_eq!(count("<ContentKeyPeriod id="), 2);
        assert_eq!(count("<AudioFilter/>"), 2);
        assert!(xml.contains("contentId=\"01ab\""));
        let whole = write(&content, Periods::Whole, &given[..1]);
        assert!(!whole.contains("ContentKeyPeriodList"), "{whole}");
    }
}
