//! Bodies that are no requests.

use super::*;

#[test]
fn bodies_that_are_no_objects() {
    for body in [
        "",
        " ",
        "{",
        "{\"name\":}",
        "nonsense",
        "{\"a\":1} x",
        "\u{feff}{}",
        "{\"ttlDays\":1e999}",
    ] {
        let error = ConfigUpdate::parse(body.as_bytes()).unwrap_err();
        assert!(
            matches!(error, ConfigError::Malformed { .. }),
            "{body}: {error}"
        );
        assert!(error.text().contains("xpect"), "{error}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    assert!(
        ConfigUpdate::parse(b"{\"name\":\"\xff\"}")
            .unwrap_err()
            .text()
            .contains("xpect")
    );
    let deep = "[".repeat(100_000);
    assert!(
        ConfigUpdate::parse(deep.as_bytes())
            .unwrap_err()
            .text()
            .contains("xpect")
    );
    for (body, text) in [
        ("\"\"", "Expected a JSON object, not \"\""),
        ("[]", "Expected a JSON object, not []"),
        ("null", "Expected a JSON object, not null"),
        ("5", "Expected a JSON object, not 5"),
        (" true ", "Expected a JSON object, not true"),
    ] {
        let error = ConfigUpdate::parse(body.as_bytes()).unwrap_err();
        assert_eq!(error.text(), text);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!((error.field(), error.rule()), (None, "a JSON object"));
    }
}

#[test]
fn a_body_may_be_left_out_where_none_is_needed() {
    for body in ["", " \r\n", "{}"] {
        let update = ConfigUpdate::parse_optional(body.as_bytes()).unwrap();
        assert_eq!(update, ConfigUpdate::default(), "{body:?}");
    }
    assert!(ConfigUpdate::parse_optional(b"null").is_err());
    let update = ConfigUpdate::parse_optional(b"{\"owner\":\"us\"}").unwrap();
    assert_ne!(update, ConfigUpdate::default());
}
