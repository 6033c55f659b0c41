use super::*;
use std::os::unix::fs::PermissionsExt;

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("blobs")).unwrap();
    (dir, store)
}

fn partial_files(store: &Store) -> usize {
    files(&store.partial()).unwrap().len()
}

#[test]
fn a_blob_is_found_read_and_private() {
    let (_dir, store) = store();
    let digest = store.put(b"hello").unwrap();
    assert_eq!(store.put(b"hello").unwrap(), digest);
    assert_eq!(store.find(&digest).unwrap(), Some(5));
    assert_eq!(store.read(&digest, 5).unwrap(), b"hello");
    let mode = fs::metadata(store.path(&digest)).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(partial_files(&store), 0);
}

#[test]
fn a_missing_too_large_or_damaged_blob_is_an_error_of_its_own() {
    let (_dir, store) = store();
    let digest = Digest::of(b"hello");
    assert_eq!(store.read(&digest, 9).unwrap_err().kind(), Kind::NotFound);
    store.put(b"hello").unwrap();
    assert_eq!(store.read(&digest, 4).unwrap_err().kind(), Kind::OutOfRange);
    fs::write(store.path(&digest), "hellO").unwrap();
    let error = store.read(&digest, 9).unwrap_err();
    assert!(error.message().contains("is damaged"), "{error}");
}

#[test]
fn an_interrupted_blob_goes_on_where_it_was() {
    let (_dir, store) = store();
    let digest = Digest::of(b"hello world");
    let mut writer = store.writer(&digest, 11).unwrap();
    writer.write_all(b"hello").unwrap();
    drop(writer);
    assert_eq!(store.find(&digest).unwrap(), None);
    let mut writer = store.writer(&digest, 11).unwrap();
    assert_eq!(writer.offset(), 5);
    writer.write_all(b" world").unwrap();
    writer.commit().unwrap();
    assert_eq!(store.read(&digest, 11).unwrap(), b"hello world");
    assert_eq!(partial_files(&store), 0);
}

#[test]
fn a_complete_partial_blob_only_misses_its_commit() {
    let (_dir, store) = store();
    let digest = Digest::of(b"all");
    store.writer(&digest, 3).unwrap().write_all(b"all").unwrap();
    let writer = store.writer(&digest, 3).unwrap();
    assert_eq!(writer.offset(), 3);
    writer.commit().unwrap();
    assert_eq!(store.find(&digest).unwrap(), Some(3));
}

#[test]
fn a_wrong_digest_leaves_nothing() {
    let (_dir, store) = store();
    let digest = Digest::of(b"good");
    let mut writer = store.writer(&digest, 4).unwrap();
    writer.write_all(b"evil").unwrap();
    let error = writer.commit().unwrap_err();
    assert!(error.message().contains(digest.as_str()), "{error}");
    assert_eq!((store.find(&digest).unwrap(), partial_files(&store)), (None, 0));
}

#[test]
fn more_bytes_than_announced_are_refused_at_once() {
    let (_dir, store) = store();
    let digest = Digest::of(b"hello");
    let mut writer = store.writer(&digest, 4).unwrap();
    writer.write_all(b"hel").unwrap();
    let error = writer.write_all(b"lo").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    drop(writer);
    assert_eq!(store.writer(&digest, 4).unwrap().offset(), 0);
}

#[test]
fn the_right_digest_with_the_wrong_size_is_refused() {
    let (_dir, store) = store();
    let digest = Digest::of(b"hello");
    let mut writer = store.writer(&digest, 6).unwrap();
    writer.write_all(b"hello").unwrap();
    assert_eq!(writer.commit().unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(store.find(&digest).unwrap(), None);
}

#[test]
fn a_server_without_ranges_makes_it_begin_anew() {
    let (_dir, store) = store();
    let digest = Digest::of(b"hello");
    store.writer(&digest, 5).unwrap().write_all(b"hel").unwrap();
    let mut writer = store.writer(&digest, 5).unwrap();
    writer.restart().unwrap();
    assert_eq!(writer.offset(), 0);
    writer.write_all(b"hello").unwrap();
    writer.commit().unwrap();
    assert_eq!(store.read(&digest, 5).unwrap(), b"hello");
}

#[test]
fn the_second_of_two_writers_waits_and_finds_it_done() {
    let (_dir, store) = store();
    let digest = Digest::of(b"hello");
    let mut first = store.writer(&digest, 5).unwrap();
    let second = {
        let (store, digest) = (store.clone(), digest.clone());
        std::thread::spawn(move || {
            let writer = store.writer(&digest, 5).unwrap();
            let offset = writer.offset();
            writer.commit().unwrap();
            offset
        })
    };
    first.write_all(b"hello").unwrap();
    first.commit().unwrap();
    assert_eq!(second.join().unwrap(), 5);
    assert_eq!(partial_files(&store), 0);
}

#[test]
fn many_writers_and_collections_at_once_end_with_one_blob() {
    let (_dir, store) = store();
    let (digest, keep) = (Digest::of(b"hello"), HashSet::from([Digest::of(b"hello")]));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let mut writer = store.writer(&digest, 5).unwrap();
                    let at = usize::try_from(writer.offset()).unwrap();
                    writer.write_all(&b"hello"[at..]).unwrap();
                    writer.commit().unwrap();
                    let mut ingest = store.ingest().unwrap();
                    ingest.write_all(b"hello").unwrap();
                    assert_eq!(ingest.commit().unwrap().0, digest);
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..200 {
                store.collect(&keep, false).unwrap();
            }
        });
    });
    assert_eq!(store.read(&digest, 5).unwrap(), b"hello");
    assert_eq!(partial_files(&store), 0);
}

#[test]
fn a_dropped_ingest_leaves_nothing_and_a_committed_one_its_digest() {
    let (_dir, store) = store();
    let mut ingest = store.ingest().unwrap();
    ingest.write_all(b"half").unwrap();
    drop(ingest);
    assert_eq!(partial_files(&store), 0);
    let mut ingest = store.ingest().unwrap();
    ingest.write_all(b"whole").unwrap();
    assert_eq!(ingest.commit().unwrap(), (Digest::of(b"whole"), 5));
    assert_eq!((store.find(&Digest::of(b"whole")).unwrap(), partial_files(&store)), (Some(5), 0));
}

#[test]
fn a_collection_spares_what_is_kept_and_what_is_being_written() {
    let (_dir, store) = store();
    let kept = store.put(b"kept").unwrap();
    let old = store.put(b"old").unwrap();
    store.writer(&Digest::of(b"abandoned"), 9).unwrap().write_all(b"aban").unwrap();
    let mut alive = store.writer(&Digest::of(b"alive"), 5).unwrap();
    alive.write_all(b"ali").unwrap();
    let keep = HashSet::from([kept.clone()]);
    let told = store.collect(&keep, true).unwrap();
    assert_eq!(told.len(), 2);
    assert_eq!(store.find(&old).unwrap(), Some(3));
    assert_eq!(store.collect(&keep, false).unwrap(), told);
    assert_eq!((store.find(&old).unwrap(), store.find(&kept).unwrap()), (None, Some(4)));
    alive.write_all(b"ve").unwrap();
    alive.commit().unwrap();
    assert_eq!(store.find(&Digest::of(b"alive")).unwrap(), Some(5));
}

/// Reads a blob of 11 bytes while `write` writes it.
fn followed(write: impl FnOnce(Writer)) -> (io::Result<Vec<u8>>, bool) {
    let (_dir, store) = store();
    let writer = store.writer(&Digest::of(b"hello world"), 11).unwrap();
    let mut follower = writer.follow().unwrap().unwrap();
    let outcome = follower.outcome();
    let read = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut bytes = Vec::new();
            follower.read_to_end(&mut bytes).map(|_| bytes)
        });
        write(writer);
        reader.join().unwrap()
    });
    assert_eq!(outcome.is_whole(), read.is_ok());
    (read, outcome.is_broken())
}

#[test]
fn a_blob_is_read_while_it_comes_in() {
    let (read, is_broken) = followed(|mut writer| {
        writer.write_all(b"hello").unwrap();
        writer.write_all(b" world").unwrap();
        writer.commit().unwrap();
    });
    assert_eq!((read.unwrap(), is_broken), (b"hello world".to_vec(), false));
}

#[test]
fn who_reads_a_blob_that_is_given_up_begun_anew_or_wrong_fails() {
    let given_up = |mut writer: Writer| writer.write_all(b"hello").unwrap();
    let begun_anew = |mut writer: Writer| {
        writer.write_all(b"hello").unwrap();
        writer.restart().unwrap();
        writer.write_all(b"hello world").unwrap();
        writer.commit().unwrap();
    };
    let wrong = |mut writer: Writer| {
        writer.write_all(b"hello_world").unwrap();
        writer.commit().unwrap_err();
    };
    let writes: [&dyn Fn(Writer); 3] = [&given_up, &begun_anew, &wrong];
    for (number, write) in writes.into_iter().enumerate() {
        let (read, is_broken) = followed(write);
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::BrokenPipe, "{number}");
        assert!(is_broken, "{number}");
    }
}

#[test]
fn what_an_earlier_attempt_left_is_read_too_and_what_is_here_needs_no_following() {
    let (_dir, store) = store();
    let digest = Digest::of(b"hello world");
    store.writer(&digest, 11).unwrap().write_all(b"hello").unwrap();
    let mut writer = store.writer(&digest, 11).unwrap();
    let mut follower = writer.follow().unwrap().unwrap();
    let mut bytes = [0; 5];
    follower.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
    writer.write_all(b" world").unwrap();
    writer.commit().unwrap();
    assert!(store.writer(&digest, 11).unwrap().follow().unwrap().is_none());
}
