use super::*;

/// What a future takes that is made of this.
fn bytes_of<A, B, C, F>(_: impl Fn(A, B, C) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn a_session_is_small_for_most_of_them_do_nothing() {
    let (session, task) = (size_of::<Session>(), bytes_of(run));
    assert!(session <= 1_024, "{session}");
    assert!(task <= 2_048, "{task}");
}
