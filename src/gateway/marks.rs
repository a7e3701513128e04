//! Finding somebody on the map by words, wherever they are: a dispatcher is only told the drivers of what it looks at.
#![expect(unused_qualifications, reason = "utoipa writes query types with their path")]

use super::{
    Gate,
    rest::{Answered, Caller},
    translate::invalid,
};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use protocol::{Code, Refused, view::Mark};
use serde::Deserialize;
use std::{ops::RangeInclusive, sync::Arc};
use utoipa::IntoParams;

/// How long what is looked for may be, in characters, one of its words included: fewer name everybody.
const TEXT_CHARS: RangeInclusive<usize> = 3..=100;
/// How many words it may have.
const WORDS_MAX: usize = 8;
/// How many marks are told: the most, and what is usual.
const MARKS: (usize, usize) = (50, 20);

/// Whom to look for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Sought {
    /// Parts of an id, a kind, a status or a vehicle, with spaces between them: all of them must be there. Up to 100 characters
    /// and 8 words, one of them of at least 3 characters.
    text: String,
    /// At most this many; 1 to 50, 20 if absent.
    limit: Option<usize>,
}

/// Drivers, orders and rescues on the map that some words name, those who came first before others. Staff only.
#[utoipa::path(
    get, path = "/v1/marks", tag = "actors", security(("bearer" = [])), params(Sought),
    responses(
        (status = 200, body = Vec<Mark>), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 422, body = Refused), (status = 429, body = Refused), (status = 503, body = Refused)
    )
)]
pub(super) async fn find_marks(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    query: Result<Query<Sought>, QueryRejection>,
) -> Result<Json<Vec<Mark>>, Answered> {
    caller.staff()?;
    let Query(Sought { text, limit }) =
        query.map_err(|rejection| Refused::new(Code::Invalid, rejection.body_text()))?;
    let (most, usual) = MARKS;
    let limit = limit.unwrap_or(usual);
    if !(1..=most).contains(&limit) {
        return Err(invalid("limit", "1 to 50").into());
    }
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    let n_chars = |text: &str| text.chars().count();
    let names_some = words.iter().any(|word| n_chars(word) >= *TEXT_CHARS.start());
    if !names_some || !TEXT_CHARS.contains(&n_chars(text.trim())) || words.len() > WORDS_MAX {
        let problem = "3 to 100 characters, in at most 8 words, one of them of 3 or more";
        return Err(invalid("text", problem).into());
    }
    Ok(Json(gate.live.find(words, limit, &caller.0.scope).await?))
}
