//! probe
wit_bindgen::generate!({ path: "../../wit", world: "function", pub_export_macro: true });
