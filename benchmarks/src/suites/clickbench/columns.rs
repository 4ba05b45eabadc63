//! The columns of `hits`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Int16Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};

use super::hit::Hit;

type Columns = Vec<(&'static str, ArrayRef)>;

/// All columns of these rows.
pub(crate) fn columns(hits: &[Hit]) -> Columns {
    let when = TimestampMicrosecondArray::from_iter_values(hits.iter().map(|hit| hit.event_time * 1_000_000));
    let day = Date32Array::from_iter_values(hits.iter().map(|hit| (hit.event_time / 86_400) as i32));
    let mut columns: Columns = vec![
        ("watch_id", longs(hits, |hit| hit.watch_id)),
        ("event_time", Arc::new(when)),
        ("event_date", Arc::new(day)),
        ("counter_id", integers(hits, |hit| hit.counter_id)),
        ("session_id", longs(hits, |hit| hit.session_id)),
        ("url", texts(hits, |hit| &hit.page.url)),
        ("url_hash", longs(hits, |hit| hash(&hit.page.url))),
        ("title", texts(hits, |hit| &hit.page.title)),
    ];
    columns.extend(columns_of_source(hits));
    columns.extend(columns_of_visitor(hits));
    columns.extend(columns_of_view(hits));
    columns
}

fn columns_of_source(hits: &[Hit]) -> Columns {
    vec![
        ("traffic_source_id", smalls(hits, |hit| hit.source.traffic_source_id)),
        ("referer", texts(hits, |hit| &hit.source.referer)),
        ("referer_hash", longs(hits, |hit| hash(&hit.source.referer))),
        ("search_engine_id", smalls(hits, |hit| hit.source.search_engine_id)),
        ("search_phrase", texts(hits, |hit| &hit.source.search_phrase)),
        ("adv_engine_id", smalls(hits, |hit| hit.source.adv_engine_id)),
        ("utm_source", texts(hits, |hit| hit.source.utm_source)),
        ("utm_campaign", texts(hits, |hit| &hit.source.utm_campaign)),
        ("social_network", texts(hits, |hit| hit.social_network)),
    ]
}

fn columns_of_visitor(hits: &[Hit]) -> Columns {
    vec![
        ("user_id", longs(hits, |hit| hit.visitor.user_id)),
        ("client_ip", integers(hits, |hit| hit.visitor.client_ip)),
        ("region_id", integers(hits, |hit| hit.visitor.region_id)),
        ("os", smalls(hits, |hit| hit.visitor.os)),
        ("user_agent", smalls(hits, |hit| hit.visitor.user_agent)),
        ("mobile_phone", smalls(hits, |hit| hit.visitor.mobile_phone)),
        ("mobile_phone_model", texts(hits, |hit| hit.visitor.mobile_phone_model)),
        ("browser_language", texts(hits, |hit| hit.visitor.browser_language)),
        ("browser_country", texts(hits, |hit| hit.visitor.browser_country)),
        ("age", smalls(hits, |hit| hit.visitor.age)),
        ("sex", smalls(hits, |hit| hit.visitor.sex)),
        ("income", smalls(hits, |hit| hit.visitor.income)),
        ("resolution_width", smalls(hits, |hit| hit.visitor.resolution.0)),
        ("resolution_height", smalls(hits, |hit| hit.visitor.resolution.1)),
    ]
}

fn columns_of_view(hits: &[Hit]) -> Columns {
    vec![
        ("window_client_width", smalls(hits, |hit| hit.window.0)),
        ("window_client_height", smalls(hits, |hit| hit.window.1)),
        ("is_refresh", smalls(hits, |hit| hit.is_refresh.into())),
        ("dont_count_hits", smalls(hits, |hit| hit.dont_count_hits.into())),
        ("is_link", smalls(hits, |hit| hit.is_link.into())),
        ("is_download", smalls(hits, |hit| hit.is_download.into())),
        ("http_error", smalls(hits, |hit| hit.http_error)),
        ("dns_ms", integers(hits, |hit| hit.timings[0])),
        ("connect_ms", integers(hits, |hit| hit.timings[1])),
        ("response_ms", integers(hits, |hit| hit.timings[2])),
        ("fetch_ms", integers(hits, |hit| hit.timings[3])),
        ("goals_reached", smalls(hits, |hit| hit.goals_reached)),
        ("price", longs(hits, |hit| hit.price)),
        ("currency", texts(hits, |hit| hit.currency)),
    ]
}

fn smalls(hits: &[Hit], value: fn(&Hit) -> i16) -> ArrayRef {
    Arc::new(Int16Array::from_iter_values(hits.iter().map(value)))
}

fn integers(hits: &[Hit], value: fn(&Hit) -> i32) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(hits.iter().map(value)))
}

fn longs(hits: &[Hit], value: fn(&Hit) -> i64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(hits.iter().map(value)))
}

fn texts(hits: &[Hit], value: fn(&Hit) -> &str) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(hits.iter().map(value)))
}

/// FNV-1a, without the sign.
fn hash(text: &str) -> i64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    (text.bytes().fold(0xcbf2_9ce4_8422_2325, step) >> 1) as i64
}
