//! Events of the API server.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;

/// When it happened last: older clients write two times in whole seconds, newer ones another in microseconds.
pub(crate) fn happened_at(event: &Event) -> Option<Timestamp> {
    let last = event.last_timestamp.as_ref().or(event.first_timestamp.as_ref()).map(|time| time.0);
    last.or(event.event_time.as_ref().map(|time| time.0))
}
