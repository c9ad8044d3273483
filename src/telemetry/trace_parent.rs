//! The `traceparent` header (W3C Trace Context).

/// The position of a request in its caller's trace: a `traceparent` header, read strictly
/// (W3C Trace Context, section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The whole trace: 16 bytes, not all zero.
    pub trace_id: u128,
    /// The caller's step in it: 8 bytes, not all zero.
    pub parent_id: u64,
    /// Whether the caller records the trace.
    pub is_sampled: bool,
}

impl TraceParent {
    /// Reads a header's value. Of a later version, the fields of version 0 are read.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split('-');
        let (version, trace_id) = (parts.next()?, parts.next()?);
        let (parent_id, flags) = (parts.next()?, parts.next()?);
        let version = hex(version, 2).filter(|version| *version != 0xff)?;
        if version == 0 && parts.next().is_some() {
            return None;
        }
        Some(Self {
            trace_id: hex(trace_id, 32).filter(|id| *id != 0)?,
            parent_id: hex(parent_id, 16)
                .and_then(|id| u64::try_from(id).ok())
                .filter(|id| *id != 0)?,
            is_sampled: hex(flags, 2)? & 1 == 1,
        })
    }
}

/// Reads so many hexadecimal digits, in lower case.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    // `from_str_radix` would take a sign and capitals.
    let is_hex = text.len() == digits && text.bytes().all(is_digit);
    is_hex.then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_parent_is_read() {
        let parent = TraceParent::parse(PARENT).unwrap();
        assert_eq!(parent.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(parent.parent_id, 0x00f0_67aa_0ba9_02b7);
        assert!(parent.is_sampled);
        let unsampled = PARENT.replace("-01", "-00");
        assert!(!TraceParent::parse(&unsampled).unwrap().is_sampled);
        let later = PARENT.replace("00-4", "01-4") + "-more";
        assert_eq!(TraceParent::parse(&later), Some(parent));
    }

    #[test]
    fn a_header_that_is_not_exactly_a_parent_is_none() {
        for value in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(value), None, "{value:?}");
        }
    }
}
