//! Sizes in bytes, as people write and read them.

use error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A number of bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Size(pub u64);

const UNITS: [(&str, u32); 6] =
    [("EiB", 60), ("PiB", 50), ("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

impl Size {
    /// So many MiB.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// So many GiB.
    #[must_use]
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    /// Reads `64MiB`, `10g`, `1.5 TiB`, `4096b`. All units are powers of 1024, as everywhere in
    /// Docker; a bare number counts GiB, as in REX-Ray. Zero or senseless → `InvalidArgument`.
    pub fn parse(text: &str) -> Result<Self> {
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, unit) = trimmed.split_at(digits.unwrap_or(trimmed.len()));
        let shift = match unit.trim().to_ascii_lowercase().as_str() {
            "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "" | "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            "p" | "pb" | "pib" => 50,
            _ => return Err(refused(text)),
        };
        let bytes = match number.split_once('.') {
            None => number.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift)),
            Some((whole, fraction)) => fractional(whole, fraction, shift),
        };
        match bytes {
            Some(bytes) if bytes > 0 => Ok(Self(bytes)),
            _ => Err(refused(text)),
        }
    }
}

fn fractional(whole: &str, fraction: &str, shift: u32) -> Option<u64> {
    if fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u128>().ok()? };
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let number = whole.checked_mul(scale)?.checked_add(fraction.parse::<u128>().ok()?)?;
    u64::try_from(number.checked_mul(1 << shift)? / scale).ok()
}

fn refused(text: &str) -> Error {
    let shown: String = text.escape_debug().take(40).collect();
    Error::invalid_argument(format!(
        "\"{shown}\" is not a size; write a number with a unit, like 512MiB, 10GiB or 1.5TiB \
         (a bare number counts GiB)"
    ))
}

impl fmt::Display for Size {
    /// The largest unit that needs no more than two decimals: `64MiB`, `1.5GiB`, `1000B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = UNITS
            .iter()
            .filter(|(_, shift)| self.0 >= 1 << shift)
            .find_map(|(unit, shift)| {
                let hundredths = u128::from(self.0) * 100;
                let exact = hundredths % (1 << shift) == 0;
                exact.then(|| decimal(hundredths >> shift, unit))
            })
            .unwrap_or_else(|| format!("{}B", self.0));
        f.pad(&text)
    }
}

fn decimal(hundredths: u128, unit: &str) -> String {
    let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn people_write_sizes_in_many_ways() {
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("64m", 64 << 20),
            ("64 MB", 64 << 20),
            ("16", 16 << 30),
            ("1.5GiB", 3 << 29),
            (".5k", 512),
            ("4096b", 4096),
            ("2T", 2 << 40),
        ] {
            assert_eq!(Size::parse(text).unwrap(), Size(bytes), "{text}");
        }
    }

    #[test]
    fn senseless_sizes_are_refused() {
        for text in
            ["", "0", "-1", "1e3", "GiB", "1.", "1.2.3g", "99999999999t", "1 g i b", "0x10", "NaN"]
        {
            assert!(Size::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(Size::mib(64).to_string(), "64MiB");
        assert_eq!(Size(3 << 29).to_string(), "1.5GiB");
        assert_eq!(Size(1000).to_string(), "1000B");
        assert_eq!(Size(0).to_string(), "0B");
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read_again(bytes in 1u64..) {
            prop_assert_eq!(Size::parse(&Size(bytes).to_string()).unwrap(), Size(bytes));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".*") {
            let _ = Size::parse(&text);
        }
    }
}
