//! The strict reader beside what others parse JSON with, on the same inputs.

fn main() {
    divan::main();
}
