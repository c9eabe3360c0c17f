//! Tests that run natively and as wasm.

/// Runs as a plain test natively and under Node as wasm.
macro_rules! tests {
    ($($(#[$meta:meta])* fn $name:ident() $body:block)*) => {
        $(
            $(#[$meta])*
            #[cfg_attr(not(target_family = "wasm"), test)]
            #[cfg_attr(target_family = "wasm", wasm_bindgen_test::wasm_bindgen_test)]
            fn $name() $body
        )*
    };
}
