//! The journal from outside: checked, exported, imported and read, by the real binary.

use crate::{
    node::{Node, outrider, rider},
    rest::Caller,
};
use std::{fs, path::Path, process::Output};
use tempfile::TempDir;

fn run(dir: &Path, args: &[&str]) -> Output {
    let mut command = outrider(dir);
    command.env("OUTRIDER_JOURNAL__KIND", "sqlite").args(args);
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The directory of a node that took an order and left, and the order.
async fn left_behind() -> (TempDir, String) {
    let node = Node::with(&[("JOURNAL__KIND", "sqlite")]);
    let order = Caller::new(&node, rider(1)).place().await;
    node.terminate();
    (node.leave(), order)
}

#[tokio::test]
async fn a_journal_is_checked_moved_and_read() {
    let (dir, order) = left_behind().await;
    let checked = run(dir.path(), &["check", "journal"]);
    assert!(checked.status.success(), "{checked:?}");
    assert!(text(&checked).contains("the journal is sound"), "{checked:?}");
    assert!(text(&checked).contains("commands that may be repeated"), "{checked:?}");

    let history = run(dir.path(), &["history", &order]);
    assert!(history.status.success(), "{history:?}");
    let first: serde_json::Value =
        serde_json::from_str(text(&history).lines().next().unwrap()).unwrap();
    assert_eq!((&first["version"], &first["name"]), (&1.into(), &"placed".into()));
    assert_eq!(first["event"]["placed"]["placement"]["rider"], rider(1).to_string());

    let file = dir.path().join("journal.jsonl");
    let file = file.to_str().unwrap();
    let exported = run(dir.path(), &["export", "--to", file]);
    assert!(exported.status.success(), "{exported:?}");
    let again = run(dir.path(), &["export", "--to", file]);
    assert!(!again.status.success(), "an export overwrites nothing");

    let other = TempDir::new().unwrap();
    let imported = run(other.path(), &["import", "--from", file]);
    assert!(imported.status.success(), "{imported:?}");
    assert_eq!(text(&run(other.path(), &["history", &order])), text(&history));
    let [before, after] =
        [&dir, &other].map(|dir| text(&run(dir.path(), &["check", "journal", "--json"])));
    assert_eq!(before, after);
    let twice = run(other.path(), &["import", "--from", file]);
    assert!(!twice.status.success(), "a journal with something in it is no target");
    let second = dir.path().join("second.jsonl");
    let copied = run(other.path(), &["export", "--to", second.to_str().unwrap()]);
    assert!(copied.status.success(), "{copied:?}");
    assert_eq!(fs::read(second).unwrap(), fs::read(file).unwrap(), "there and back");
}

#[tokio::test]
async fn what_is_wrong_with_a_journal_or_a_file_is_said() {
    let (dir, order) = left_behind().await;
    let acks = dir.path().join("acks.jsonl");
    let command = protocol::CommandId::nth(1);
    let ack = serde_json::json!({ "entity": order, "version": 99, "command": command });
    fs::write(&acks, format!("{ack}\n")).unwrap();
    let args = ["check", "journal", "--json", "--acks", acks.to_str().unwrap()];
    let checked = run(dir.path(), &args);
    assert!(!checked.status.success(), "{checked:?}");
    let report: serde_json::Value = serde_json::from_str(&text(&checked)).unwrap();
    assert_eq!(report["violations"][0]["invariant"], "durable", "{report}");

    let file = dir.path().join("journal.jsonl");
    let exported = run(dir.path(), &["export", "--to", file.to_str().unwrap()]);
    assert!(exported.status.success(), "{exported:?}");
    let whole = fs::read_to_string(&file).unwrap();
    let lines: Vec<_> = whole.lines().collect();
    for (broken, problem) in [
        (lines[..lines.len() - 1].join("\n"), "is cut off"),
        (lines[1..].join("\n"), "line 1"),
        (format!("{}\nrubbish", lines[0]), "line 2"),
    ] {
        fs::write(&file, broken).unwrap();
        let other = TempDir::new().unwrap();
        let imported = run(other.path(), &["import", "--from", file.to_str().unwrap()]);
        let said = String::from_utf8(imported.stderr).unwrap();
        assert!(!imported.status.success() && said.contains(problem), "{said}");
    }
    let nobody = run(dir.path(), &["history", "order-00000000000070008000000000000000"]);
    assert!(!nobody.status.success());
}
