//! Archives made of arbitrary bytes: a tar's header has a checksum, which chance does not hit.

const BLOCK: usize = 512;
/// More than this says nothing new, in bytes.
const LONGEST: usize = 64 << 10;

/// `bytes` as whole blocks, the checksum of whatever is read as a header put right.
#[must_use]
pub fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut tar = bytes[..bytes.len().min(LONGEST)].to_vec();
    if tar.starts_with(&[0x1f, 0x8b]) || tar.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return tar;
    }
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    let mut at = 0;
    while let Some(header) = tar.get_mut(at..at + BLOCK) {
        at += BLOCK;
        if header.iter().any(|&byte| byte != 0) {
            sum(header);
            at = at.saturating_add(contents(header));
        }
    }
    tar
}

fn sum(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// The bytes that follow a header, with their padding.
fn contents(header: &[u8]) -> usize {
    let digits = header[124..136].iter().skip_while(|&&byte| byte == b' ');
    let digits = digits.take_while(|byte| (b'0'..=b'7').contains(byte));
    let size = digits.fold(0_usize, |size, &digit| {
        size.saturating_mul(8).saturating_add(usize::from(digit - b'0'))
    });
    size.checked_next_multiple_of(BLOCK).unwrap_or(usize::MAX)
}
