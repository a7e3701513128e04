//! The crowd on the command line.
#![expect(clippy::print_stdout, reason = "a command line answers on its output")]

fn main() {
    let seed = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("{}", loadtest::city::City::generate(seed).to_json());
}
