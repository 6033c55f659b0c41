//! Layers as registries send them (crate `plugin`, `rootfs`): nothing outside their directory
//! changes, what is refused leaves nothing, and the same layer always becomes the same files.
#![no_main]

use error::Kind;
use fuzz::scratch::Place;
use fuzz::{archive, tree};
use libfuzzer_sys::fuzz_target;
use plugin::registry::Descriptor;

fuzz_target!(|bytes: &[u8]| {
    let tar = archive::mended(bytes);
    let packing = match tar.get(..2) {
        Some([0x1f, 0x8b]) => "+gzip",
        Some([0x28, 0xb5]) => "+zstd",
        _ => "",
    };
    let [one, other] = ["a", "b"].map(Place::new);
    let put = |place: &Place| place.store.put(&tar).expect("store a blob");
    let layer = Descriptor {
        media_type: format!("application/vnd.oci.image.layer.v1.tar{packing}"),
        digest: put(&one),
        size: tar.len() as u64,
    };
    put(&other);
    let chain = [layer.clone(), layer];
    if let Err(error) = one.unpack(&chain[..1]) {
        assert_ne!(error.kind(), Kind::Internal, "{error:?}");
        assert!(other.unpack(&chain[..1]).is_err());
        return;
    }
    other.unpack(&chain[..1]).expect("what was unpacked once is unpacked again");
    let [first, second] = [&one, &other].map(|place| tree::of_layer(&place.layers()[0]));
    assert!(first == second, "{first:?}\n{second:?}");
    // One in four, as mounting what is below takes by far the longest.
    if !chain[0].digest.hex().starts_with(['0', '1', '2', '3']) {
        return;
    }
    if let Err(error) = one.unpack(&chain) {
        assert_ne!(error.kind(), Kind::Internal, "on top: {error:?}");
    }
});
