//! The provider as a client meets it.
