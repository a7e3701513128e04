use super::*;
use protocol::{OrderId, work::OrderAction};

fn wish(n: u64) -> Wish {
    Wish::Order { id: OrderId::nth(n), action: OrderAction::Rate { stars: 5 } }
}

#[test]
fn what_was_not_answered_is_there_again_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("commands");
    let [first, second, third] = [3, 2, 1].map(CommandId::nth);
    let mut file = JsonLines::open(&path).unwrap();
    assert_eq!(file.kept().unwrap(), []);
    for (n, id) in [first, second, third].into_iter().enumerate() {
        file.keep(id, &wish(n as u64)).unwrap();
    }
    file.forget(second).unwrap();
    drop(file);
    for _ in 0..2 {
        let mut again = JsonLines::open(&path).unwrap();
        assert_eq!(again.kept().unwrap(), [(first, wish(0)), (third, wish(2))]);
    }
}

#[test]
fn a_line_that_was_not_written_to_its_end_spoils_nothing_before_or_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("commands");
    let mut file = JsonLines::open(&path).unwrap();
    file.keep(CommandId::nth(1), &wish(1)).unwrap();
    let n_whole = fs::metadata(&path).unwrap().len();
    file.keep(CommandId::nth(2), &wish(2)).unwrap();
    drop(file);
    OpenOptions::new().write(true).open(&path).unwrap().set_len(n_whole + 20).unwrap();
    let mut torn = JsonLines::open(&path).unwrap();
    assert_eq!(torn.kept().unwrap(), [(CommandId::nth(1), wish(1))]);
    torn.keep(CommandId::nth(3), &wish(3)).unwrap();
    drop(torn);
    let kept = JsonLines::open(&path).unwrap().kept().unwrap();
    assert_eq!(kept, [(CommandId::nth(1), wish(1)), (CommandId::nth(3), wish(3))]);
}
