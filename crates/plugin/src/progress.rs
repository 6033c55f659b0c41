//! What pulls and pushes report while they run.

use crate::digest::Digest;

/// Takes reports; called from several threads at once, must not block for long.
pub trait Progress: Send + Sync {
    /// Something went on.
    fn report(&self, step: Step);
}

/// Reports nowhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _: Step) {}
}

/// One report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A line of its own, such as `Pulling from …`; `id` is what Docker puts before it.
    Status {
        /// The tag or nothing.
        id: Option<String>,
        /// The line.
        text: String,
    },
    /// A blob went on.
    Blob {
        /// Which.
        digest: Digest,
        /// What happens to it.
        state: BlobState,
        /// Bytes done so far; 0 where that has no meaning.
        current: u64,
        /// Bytes in all; 0 where that has no meaning.
        total: u64,
    },
    /// A push is complete: what the registry now holds under the tag.
    Pushed {
        /// The tag.
        tag: String,
        /// The manifest's digest.
        digest: Digest,
        /// The manifest's size in bytes.
        size: u64,
    },
}

/// What happens to a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobState {
    /// Has not begun.
    Waiting,
    /// Bytes come in.
    Downloading,
    /// All are here and verified.
    Downloaded,
    /// Being unpacked.
    Extracting,
    /// Unpacked.
    Complete,
    /// Was here (pull) or there (push) already.
    Exists,
    /// About to be pushed.
    Preparing,
    /// Bytes go out.
    Uploading,
    /// All are there.
    Uploaded,
    /// The registry took it from another of its repositories.
    Mounted,
}

impl BlobState {
    /// Docker's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::Downloading => "Downloading",
            Self::Downloaded => "Download complete",
            Self::Extracting => "Extracting",
            Self::Complete => "Complete",
            Self::Exists => "Already exists",
            Self::Preparing => "Preparing",
            Self::Uploading => "Uploading",
            Self::Uploaded => "Upload complete",
            Self::Mounted => "Mounted",
        }
    }
}
