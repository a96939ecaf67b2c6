//! The annotation that keeps what a Service has lost through no wish of its own.
//!
//! It names the Service by its uid, `UID/192.0.2.1,2001:db8::1`: whoever copies a manifest, annotations and all, does not
//! copy a claim to the address of another.

use std::net::IpAddr;

pub use api::names::PREVIOUS_IPS as ANNOTATION;

/// One of each family.
const MOST: usize = 2;

/// What the Service with this uid has lost; nothing if this is not its own record, or not one that the controller
/// writes.
pub fn read(text: &str, uid: Option<&str>) -> Option<Vec<IpAddr>> {
    let (of, ips) = text.rsplit_once('/')?;
    if of != uid.unwrap_or_default() {
        return None;
    }
    let ips: Vec<IpAddr> = ips.split(',').take(MOST + 1).map(|ip| ip.parse().ok()).collect::<Option<_>>()?;
    (ips.len() <= MOST).then_some(ips)
}

/// The value for the Service with this uid; none where there is nothing to keep.
pub fn write(ips: &[IpAddr], uid: Option<&str>) -> Option<String> {
    let texts: Vec<String> = ips.iter().map(ToString::to_string).collect();
    (!ips.is_empty()).then(|| format!("{}/{}", uid.unwrap_or_default(), texts.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_of_one_service_and_no_other() {
        let ips: Vec<IpAddr> = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap()).into();
        let text = write(&ips, Some("u-1")).unwrap();
        assert_eq!(text, "u-1/192.0.2.1,2001:db8::1");
        assert_eq!(read(&text, Some("u-1")), Some(ips));
        assert_eq!(read(&text, Some("u-2")), None);
        assert_eq!(read(&text, None), None);
        assert_eq!(
            read(&format!("u-1/{}", ["192.0.2.1"; 3].join(",")), Some("u-1")),
            None,
            "of a family each"
        );
        for other in ["", "192.0.2.1", "u-1/", "u-1/x", "u-1/192.0.2.1,", "/192.0.2.1", "u-1/ 192.0.2.1"] {
            assert_eq!(read(other, Some("u-1")), None, "{other:?}");
        }
        assert_eq!(write(&[], Some("u-1")), None);
    }
}
