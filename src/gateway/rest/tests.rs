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
