use super::*;

fn log(limit: u64) -> (tempfile::TempDir, PathBuf, Writer) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let writer = Writer::open(&path, LogLimits { bytes: limit }).unwrap();
    (dir, path, writer)
}

fn texts(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| line.line.as_str()).collect()
}

#[test]
fn lines_of_both_streams_come_back_in_order() {
    let (_dir, path, mut writer) = log(1 << 20);
    let (mut out, mut err) = (Stream::new("stdout"), Stream::new("stderr"));
    writer.feed(&mut out, b"one\ntw");
    writer.feed(&mut err, b"oops \"quoted\"\n");
    writer.feed(&mut out, b"o\n\nno end");
    writer.finish(&mut out);
    let lines = tail(&path, 100, None).unwrap();
    assert_eq!(texts(&lines), ["one", "oops \"quoted\"", "two", "", "no end"]);
    assert_eq!(lines[1].stream, "stderr");
    assert_eq!(texts(&tail(&path, 2, None).unwrap()), ["", "no end"]);
    let later = lines[4].time + jiff::SignedDuration::from_secs(1);
    assert!(tail(&path, 100, Some(later)).unwrap().is_empty());
}

#[test]
fn a_plugin_that_said_nothing_has_no_lines() {
    let dir = tempfile::tempdir().unwrap();
    assert!(tail(&dir.path().join("log"), 10, None).unwrap().is_empty());
}

#[test]
fn a_long_line_is_split_between_characters() {
    let (_dir, path, mut writer) = log(1 << 20);
    let text = "ä".repeat(20_000);
    writer.feed(&mut Stream::new("stdout"), format!("x{text}\n").as_bytes());
    let lines = tail(&path, 100, None).unwrap();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line.line.len() <= 16 << 10));
    assert_eq!(texts(&lines).concat(), format!("x{text}"));
}

#[test]
fn bytes_that_are_not_utf8_are_replaced() {
    let (_dir, path, mut writer) = log(1 << 20);
    writer.feed(&mut Stream::new("stdout"), b"a\xffb\n");
    assert_eq!(texts(&tail(&path, 1, None).unwrap()), ["a\u{fffd}b"]);
}

#[test]
fn a_flood_fills_two_files_and_no_more() {
    let (dir, path, mut writer) = log(100_000);
    let mut out = Stream::new("stdout");
    for number in 0..20_000 {
        writer.feed(&mut out, format!("line {number}\n").as_bytes());
    }
    for name in ["log", "log.1"] {
        let size = std::fs::metadata(dir.path().join(name)).unwrap().len();
        assert!((1..=100_000).contains(&size), "{name}: {size}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    let lines = tail(&path, 1000, None).unwrap();
    assert_eq!(lines.len(), 1000);
    assert_eq!((lines[0].line.as_str(), lines[999].line.as_str()), ("line 19000", "line 19999"));
}

#[test]
fn newlines_alone_do_not_make_memory_grow() {
    let (dir, _path, mut writer) = log(1 << 20);
    writer.feed(&mut Stream::new("stdout"), &[b'\n'; 64 << 10]);
    assert!(std::fs::metadata(dir.path().join("log.1")).unwrap().len() <= 1 << 20);
}

#[test]
fn a_log_is_continued_after_a_restart() {
    let (_dir, path, mut writer) = log(1 << 20);
    writer.feed(&mut Stream::new("stdout"), b"before\n");
    drop(writer);
    let mut writer = Writer::open(&path, LogLimits::default()).unwrap();
    writer.feed(&mut Stream::new("stdout"), b"after\n");
    assert_eq!(texts(&tail(&path, 9, None).unwrap()), ["before", "after"]);
}

#[tokio::test]
async fn following_begins_at_the_end_and_survives_rotations() {
    let (_dir, path, mut writer) = log(10_000);
    let mut out = Stream::new("stdout");
    writer.feed(&mut out, b"before\n");
    let mut follow = Follow::new(&path).unwrap();
    let (send, mut receive) = tokio::sync::mpsc::channel::<()>(1);
    let writing = tokio::task::spawn_blocking(move || {
        for number in 0..300 {
            writer.feed(&mut out, format!("line {number}\n").as_bytes());
            // One at a time, so that no more than one rotation is missed.
            receive.blocking_recv();
        }
    });
    let mut seen = Vec::new();
    while seen.len() < 300 {
        let lines = follow.next().await.unwrap();
        seen.extend(lines.into_iter().map(|line| line.line));
        send.send(()).await.ok();
    }
    drop(send);
    writing.await.unwrap();
    let expected: Vec<_> = (0..300).map(|number| format!("line {number}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_log_that_does_not_exist_yet_can_be_followed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut follow = Follow::new(&path).unwrap();
    let mut writer = Writer::open(&path, LogLimits::default()).unwrap();
    writer.feed(&mut Stream::new("stdout"), b"first\n");
    assert_eq!(texts(&follow.next().await.unwrap()), ["first"]);
}
