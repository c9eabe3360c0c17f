//! The floor: a filter without an SDK that makes the host calls which the module makes for a request, and
//! does nothing between them. What the module takes beyond it is the module's own.
//!
//! It reads all headers, sets and removes as many as the module does (to what they are), and holds the
//! request's headers until the first part of the body, or all of it, has arrived. It changes nothing.
//! Its plugin configuration says which requests it stands for: see [`Kind`].

#[cfg(target_os = "wasi")]
mod filter;
