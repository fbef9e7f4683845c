//! Tests of the reader: every response is cut at every byte.

use super::*;

/// What a test looks at.
#[derive(Debug, PartialEq, Eq, Clone)]
struct Seen {
    status: u16,
    keep_alive: bool,
    location: String,
    body: String,
    used: usize,
}

fn seen(reader: &ResponseReader, used: usize) -> Seen {
    Seen {
        status: reader.status(),
        keep_alive: reader.keep_alive(),
        location: String::from_utf8(reader.location().to_vec()).unwrap(),
        body: String::from_utf8(reader.body().to_vec()).unwrap(),
        used,
    }
}

/// Reads a response in pieces, the connection ending behind it if `end`.
fn read(pieces: &[&[u8]], end: bool) -> Result<Seen, WireError> {
    let mut reader = ResponseReader::new(1_024);
    reader.start();
    let mut used = 0;
    for piece in pieces {
        used += reader.read(piece)?;
    }
    if end {
        reader.finish()?;
    }
    if reader.is_done() {
        assert_eq!(reader.body_len(), reader.body().len() as u64);
        Ok(seen(&reader, used))
    } else {
        Err(WireError::Truncated)
    }
}

/// Reads it whole, cut in two at every byte, and byte by byte: the outcome is always the same.
fn read_cut(response: &str, end: bool) -> Result<Seen, WireError> {
    let bytes = response.as_bytes();
    let whole = read(&[bytes], end);
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        assert_eq!(read(&[head, tail], end), whole, "{response:?} cut at {cut}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(&single, end), whole, "{response:?} byte by byte");
    whole
}

fn expected(status: u16, body: &str, used: usize) -> Seen {
    Seen {
        status,
        keep_alive: true,
        location: String::new(),
        body: body.to_owned(),
        used,
    }
}

#[test]
fn a_body_of_known_length() {
    let response = "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\n\
                    LOCATION:  http://h/channel/c/1 \r\nContent-Length: 5\r\n\r\nhello";
    let mut wanted = expected(201, "hello", response.len());
    wanted.location = "http://h/channel/c/1".to_owned();
    assert_eq!(read_cut(response, false), Ok(wanted.clone()));
    // What follows is not this response's.
    assert_eq!(
        read_cut(&format!("{response}HTTP/1.1 200"), false),
        Ok(wanted)
    );
}

#[test]
fn no_body() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 \r\nContent-Length: 00\r\n\r\n",
    ] {
        let wanted = expected(200, "", response.len());
        assert_eq!(read_cut(response, false), Ok(wanted));
    }
    let response = "HTTP/1.1 204 No Content\r\n\r\n";
    assert_eq!(
        read_cut(response, false),
        Ok(expected(204, "", response.len()))
    );
    let response = "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n";
    assert_eq!(
        read_cut(response, false),
        Ok(expected(304, "", response.len()))
    );
}

#[test]
fn a_body_in_chunks() {
    let response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n\
                    5\r\nhello\r\n1;a=\"b\"\r\n,\r\n00B \r\n chunked\r\n!\r\n0\r\nEtag: x\r\n\r\n";
    let wanted = expected(200, "hello, chunked\r\n!", response.len());
    assert_eq!(read_cut(response, false), Ok(wanted));
    let response =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n";
    assert_eq!(
        read_cut(response, false),
        Ok(expected(200, "", response.len()))
    );
}

#[test]
fn a_body_that_ends_with_the_connection() {
    let response = "HTTP/1.1 200 OK\r\n\r\nall of it";
    let mut wanted = expected(200, "all of it", response.len());
    wanted.keep_alive = false;
    assert_eq!(read_cut(response, true), Ok(wanted));
    assert_eq!(read_cut(response, false), Err(WireError::Truncated));
}

#[test]
fn what_comes_before_the_response() {
    let response = "HTTP/1.1 100 Continue\r\nLocation: not this one\r\n\r\n\
                    HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(
        read_cut(response, false),
        Ok(expected(200, "ok", response.len()))
    );
}

#[test]
fn whether_the_connection_goes_on() {
    for (head, keep_alive) in [
        ("HTTP/1.1 200 OK", true),
        ("HTTP/1.0 200 OK", false),
        ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive", true),
        ("HTTP/1.1 200 OK\r\nconnection: close", false),
        ("HTTP/1.1 200 OK\r\nConnection: upgrade, Close", false),
    ] {
        let response = format!("{head}\r\nContent-Length: 1\r\n\r\n.");
        let read = read_cut(&response, false).unwrap();
        assert_eq!(read.keep_alive, keep_alive, "{head}");
    }
}

#[test]
fn what_is_no_response() {
    let line = |line: &str| line.to_owned();
    for (response, error) in [
        (
            "SSH-2.0\r\n",
            WireError::StatusLine {
                line: line("SSH-2.0"),
            },
        ),
        (
            "HTTP/2 200\r\n",
            WireError::StatusLine {
                line: line("HTTP/2 200"),
            },
        ),
        (
            "HTTP/1.1 2000\r\n",
            WireError::StatusLine {
                line: line("HTTP/1.1 2000"),
            },
        ),
        (
            "HTTP/1.1 +20 OK\r\n",
            WireError::StatusLine {
                line: line("HTTP/1.1 +20 OK"),
            },
        ),
        ("HTTP/1.1 200 OK\n", WireError::Line),
        (
            "HTTP/1.1 200 OK\r\nno\r\n",
            WireError::Header { line: line("no") },
        ),
        (
            "HTTP/1.1 200 OK\r\na : b\r\n",
            WireError::Header {
                line: line("a : b"),
            },
        ),
        (
            "HTTP/1.1 200 OK\r\n: b\r\n",
            WireError::Header { line: line(": b") },
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n",
            WireError::Length {
                line: line("Content-Length: +1"),
            },
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length:\r\n",
            WireError::Length {
                line: line("Content-Length:"),
            },
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
            WireError::Length {
                line: line("Content-Length: 2"),
            },
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n",
            WireError::Length {
                line: line("Transfer-Encoding: gzip, chunked"),
            },
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            WireError::Chunk { line: line("xyz") },
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
            WireError::Chunk { line: line("b") },
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc",
            WireError::Truncated,
        ),
        ("HTTP/1.1 200 OK\r\n", WireError::Truncated),
        ("", WireError::Truncated),
    ] {
        assert_eq!(read_cut(response, true), Err(error), "{response:?}");
    }
}

#[test]
fn a_line_without_end() {
    let mut reader = ResponseReader::new(0);
    let endless = vec![b'a'; LINE_MAX];
    assert_eq!(reader.read(&endless), Ok(LINE_MAX));
    assert_eq!(reader.read(&endless), Err(WireError::Line));
}

#[test]
fn one_response_after_the_other() {
    let mut reader = ResponseReader::new(3);
    let first = b"HTTP/1.1 201 Created\r\nLocation: /a\r\nContent-Length: 5\r\n\r\nhello";
    let second = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for _ in 0..3 {
        reader.start();
        assert!(reader.is_unbegun());
        assert_eq!(reader.read(first), Ok(first.len()));
        // Longer bodies are cut, but counted.
        assert_eq!((reader.body(), reader.body_len()), (&b"hel"[..], 5));
        reader.start();
        assert_eq!(reader.read(second), Ok(second.len()));
        assert_eq!(
            seen(&reader, second.len()),
            expected(200, "ok", second.len())
        );
    }
}
