use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

type Part = (Option<String>, bool, Vec<u8>);

/// The parts of a body that is fed in pieces of that length.
fn parts_by(boundary: &str, body: &[u8], piece: usize) -> Result<Vec<Part>, Malformed> {
    let mut parser = Parser::new(boundary);
    let mut parts: Vec<Part> = Vec::new();
    let mut open: Option<Part> = None;
    for piece in body.chunks(piece.max(1)) {
        parser.feed(piece, &mut |event| {
            match event {
                Event::Begin(head) => {
                    assert!(open.is_none());
                    open = Some((head.content_type, head.has_key, Vec::new()));
                }
                Event::Data(data) => open.as_mut().unwrap().2.extend_from_slice(data),
                Event::End => parts.push(open.take().unwrap()),
            }
            Ok::<(), Malformed>(())
        })?;
        assert!(parser.kept() <= LINE_MAX + piece.len() + boundary.len() + 8);
    }
    Ok(parts)
}

fn parts(boundary: &str, body: &str) -> Vec<Part> {
    let whole = parts_by(boundary, body.as_bytes(), usize::MAX).unwrap();
    for piece in 1..20 {
        assert_eq!(parts_by(boundary, body.as_bytes(), piece).unwrap(), whole);
    }
    whole
}

fn payloads(boundary: &str, body: &str) -> Vec<String> {
    let texts = parts(boundary, body).into_iter();
    texts
        .map(|(_, _, payload)| String::from_utf8(payload).unwrap())
        .collect()
}

#[test]
fn boundaries_are_found_in_content_types() {
    for (text, found) in [
        ("multipart/mixed; boundary=abc", Some("abc")),
        ("Multipart/Form-Data;BOUNDARY=\"a b\" ", Some("a b")),
        (
            "multipart/mixed; boundary=a; charset=x",
            Some("a; charset=x"),
        ),
        ("multipart/mixed; boundary=\"a", Some("\"a")),
        ("multipart/mixed; boundary=", None),
        ("multipart/mixed", None),
        ("multipart; boundary=a", None),
        ("text/plain; boundary=a", None),
        ("", None),
    ] {
        assert_eq!(boundary(text), found, "{text}");
    }
}

#[test]
fn parts_are_told_apart() {
    let body = "This is ignored.\r\n--abc-no\r\n--abc\r\n\
        Content-Type: application/xml\r\n \r\n\
        <coffee><roast>french</roast></coffee>\r\n\
        --abc\r\ncontent-type : application/json\r\nX-Other: y\r\nCONTENT-KEY: k\r\n\r\n\
        \r\n{ \"type\" : \"coffee\" }\r\n\r\n--abc\r\n\r\nplain\r\n--abcd\r\n-- \r\n--abc--";
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        parts("abc", body),
        [
            (
                text("application/xml"),
                false,
                b"<coffee><roast>french</roast></coffee>".to_vec()
            ),
            (
                text("application/json"),
                true,
                b"\r\n{ \"type\" : \"coffee\" }\r\n".to_vec()
            ),
            (None, false, b"plain\r\n--abcd\r\n-- ".to_vec()),
        ]
    );
}

#[test]
fn what_has_no_closing_boundary_is_lost() {
    assert_eq!(payloads("b", "--b\r\n\r\none\r\n--b\r\n\r\ntwo"), ["one"]);
    assert_eq!(
        payloads("b", "--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b"),
        ["one"]
    );
    assert_eq!(
        payloads("b", "--b\r\n\r\none\r\n--b-"),
        Vec::<String>::new()
    );
    assert_eq!(
        payloads("b", "--b\r\n\r\none\r\n--b--\r\n--b\r\n\r\nx\r\n--b--"),
        ["one"]
    );
}

#[test]
fn parts_may_have_no_bytes() {
    assert_eq!(payloads("b", "--b\r\n\r\n\r\n--b--"), [""]);
    assert_eq!(payloads("b", "--b\r\n\r\n--b--"), [""]);
    assert_eq!(
        payloads("b", "--b\r\nA: b\r\n\r\n--b\r\n\r\nx\r\n--b--"),
        ["", "x"]
    );
    assert_eq!(payloads("b", "--b--"), Vec::<String>::new());
    assert_eq!(payloads("b", ""), Vec::<String>::new());
    assert_eq!(payloads("b", "\r\n--b\r\n\r\n\r\n\r\n--b--"), ["\r\n"]);
}

#[test]
fn headers_are_bounded() {
    let long = format!("--b\r\nA: {}\r\n\r\nx\r\n--b--", "y".repeat(LINE_MAX));
    let many = format!("--b\r\n{}\r\nx\r\n--b--", "A: b\r\n".repeat(LINES_MAX + 1));
    for piece in [1, 100, usize::MAX] {
        assert_eq!(
            parts_by("b", long.as_bytes(), piece),
            Err(Malformed::LongLine)
        );
        assert_eq!(
            parts_by("b", many.as_bytes(), piece),
            Err(Malformed::ManyLines)
        );
    }
}

proptest! {
    /// Whatever payloads there are without the boundary, and however they are cut, they come out.
    #[test]
    fn payloads_come_out_as_they_went_in(
        payloads in proptest::collection::vec("[-b\r\nx]{0,12}", 0..6),
        boundary in "[b-]{1,4}y",
        piece in 1usize..40,
    ) {
        let mut body = String::new();
        for payload in &payloads {
            write!(body, "--{boundary}\r\n\r\n{payload}\r\n").unwrap();
        }
        write!(body, "--{boundary}--").unwrap();
        let found = parts_by(&boundary, body.as_bytes(), piece).unwrap();
        let found: Vec<Vec<u8>> = found.into_iter().map(|part| part.2).collect();
        let sent: Vec<Vec<u8>> = payloads.into_iter().map(String::into_bytes).collect();
        prop_assert_eq!(found, sent);
    }

    #[test]
    fn any_bytes_are_read_alike_in_any_pieces(
        body in proptest::collection::vec(prop_oneof![Just(b'-'), Just(b'b'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..120),
        piece in 1usize..20,
    ) {
        prop_assert_eq!(parts_by("b", &body, piece), parts_by("b", &body, usize::MAX));
    }
}
