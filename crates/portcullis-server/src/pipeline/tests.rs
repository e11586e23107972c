//! The pipeline from the outside: real sockets, a canned server.

mod bad_input;
mod legacy;
mod modern;
mod streams;
