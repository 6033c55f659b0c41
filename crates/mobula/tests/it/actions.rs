//! What only driver `ebs` can do, by the program as its users meet it, at a simulated account: over
//! the API, on the command line with an agent and without one, and what the agent and the doctor do
//! with it by themselves.

mod account;
mod asking;
mod moving;
mod watching;
