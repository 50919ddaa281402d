//! JSONPaths, a line each: what the SDK takes, the host takes for the same, and both say the same
//! of two paths. The host takes more: blanks, as RFC 9535 has them.
#![no_main]

use strait_core::json_path::Path;
use strait_plugin_sdk::path;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Ok(input) = std::str::from_utf8(input) else { return };
    let mut both = Vec::new();
    for line in input.lines().take(4) {
        match (path::Path::parse(line), Path::parse(line)) {
            (Ok(of_sdk), Ok(of_host)) => {
                assert_eq!(of_sdk.to_string(), of_host.to_string(), "{line}");
                assert_eq!(path::Path::parse(&of_sdk.to_string()).as_ref(), Ok(&of_sdk), "{line}");
                both.push((of_sdk, of_host));
            }
            (Ok(_), Err(error)) => panic!("the SDK takes what the host refuses: {error}"),
            (Err(_), Ok(of_host)) => {
                let canonical = of_host.to_string();
                let again = path::Path::parse(&canonical).map(|path| path.to_string());
                assert_eq!(again.as_ref(), Ok(&canonical), "the SDK refuses the canonical text of {line}");
            }
            (Err(_), Err(_)) => {}
        }
    }
    for (a, of_host) in &both {
        for (b, other) in &both {
            assert_eq!(a.overlaps(b), of_host.may_meet(other), "{a} {b}");
        }
    }
});
