use super::*;

#[test]
fn a_cursor_reads_back() {
    let (at, id) = (Timestamp(1_700_000_000_000), OrderId::nth(3).0);
    assert_eq!(parse_cursor(&cursor(at, id)), Ok((at, id)));
    for bad in ["", ".", "1.", "x.y", "1.zz"] {
        assert_eq!(parse_cursor(bad).unwrap_err().code, Code::Invalid, "{bad}");
    }
}

#[test]
fn lists_do_not_show_start_codes() {
    let body = serde_json::json!({ "id": "order-1", "code": "1234" });
    assert_eq!(without_code(body), serde_json::json!({ "id": "order-1" }));
}

#[test]
fn waiting_is_told_in_whole_seconds_and_never_zero() {
    let refused = Refused::new(Code::Busy, "").retry_after_ms(20);
    let response = Answered(refused).into_response();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()[header::RETRY_AFTER], "1");
}

#[tokio::test]
async fn nothing_that_is_changed_has_a_version_before_its_first() {
    let named = |tag: &str| {
        let request = axum::http::Request::builder().header(header::IF_MATCH, tag).body(());
        request.unwrap().into_parts().0
    };
    let cases = [
        ("\"3\"", Some(3), Some(3)),
        (" 4 ", Some(4), Some(4)),
        ("\"0\"", None, Some(0)),
        ("\"-1\"", None, None),
        ("*", None, None),
    ];
    for (tag, once_made, from_nothing) in cases {
        let found = Expected::<1>::from_request_parts(&mut named(tag), &()).await;
        assert_eq!(found.ok().map(|Expected(version)| version), once_made, "{tag}");
        let found = Expected::<0>::from_request_parts(&mut named(tag), &()).await;
        assert_eq!(found.ok().map(|Expected(version)| version), from_nothing, "{tag}");
    }
}
