//! What `docker plugin create` sends (crate `plugin`, `rootfs`): nothing outside changes, what is
//! refused leaves nothing, and the layer made of it has the very files that were unpacked.
#![no_main]

use error::Kind;
use fuzz::scratch::{LIMITS, Place, assert_unharmed};
use fuzz::{archive, tree};
use libfuzzer_sys::fuzz_target;
use plugin::rootfs::{Context, read_context};

fn read(place: &Place, tar: &[u8]) -> error::Result<Context> {
    let read = read_context(&mut &*tar, &place.store, &place.layers, &LIMITS);
    assert_unharmed();
    read
}

fuzz_target!(|bytes: &[u8]| {
    let tar = archive::mended(bytes);
    let [one, other] = ["a", "b"].map(Place::new);
    let context = match read(&one, &tar) {
        Ok(context) => context,
        Err(error) => {
            assert_ne!(error.kind(), Kind::Internal, "{error:?}");
            assert_eq!((one.layers().len(), one.blobs()), (0, 0));
            return;
        }
    };
    let blob = one.store.read(&context.layer.digest, u64::MAX).expect("the layer");
    assert_eq!(blob.len() as u64, context.layer.size);
    other.store.put(&blob).expect("store a blob");
    other.unpack(&[context.layer]).expect("what was packed can be unpacked");
    let [first, second] = [&one, &other].map(|place| tree::of_layer(&place.layers()[0]));
    assert!(first == second, "{first:?}\n{second:?}");
});
