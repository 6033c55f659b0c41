//! Loop devices by ioctl (loop(4)): one device per image, ever.

/// The loop devices that this process holds open, by image.
#[derive(Default)]
pub(crate) struct Images {}
