#!/usr/bin/env bash
# Builds the bundled plugins into plugins/target/plugins/*.wasm (core modules; the host makes them
# components). Quick when nothing changed. Called by ./dev; prints what is missing where it cannot
# build.
set -euo pipefail

readonly HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
readonly OUT="$HERE/target/plugins"
readonly WASM=wasm32-unknown-unknown
# Guests of the host's and the end-to-end tests, in $OUT/test; not bundled.
readonly TEST_PLUGINS=(poison bypass)
readonly PLUGINS=(filter redact rename route sample dedupe)
# Debian's compiler with the sources of the standard library, for where rustup cannot fetch a
# target.
readonly DEBIAN_PACKAGES=(rustc-web cargo-web rust-web-src)

say() { printf '== %s\n' "$*" >&2; }

sources_hash() {
    (cd "$HERE/.." && find wit plugins \( -name target -o -name node_modules \) -prune -o -type f -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1)
}

up_to_date() {
    local plugin
    for plugin in "${PLUGINS[@]}" "${TEST_PLUGINS[@]/#/test/}"; do [[ -f "$OUT/$plugin.wasm" ]] || return 1; done
    [[ -f "$OUT/stamp" && "$(cat "$OUT/stamp")" == "$1" ]]
}

has_wasm() {
    local libraries
    libraries="$(cd "$HERE" && rustc --print target-libdir --target "$WASM" 2>/dev/null)" || return 1
    compgen -G "$libraries/libstd-*.rlib" >/dev/null
}

debian_packages() {
    if [[ -x /usr/bin/rustc && -x /usr/bin/cargo && -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library" ]]; then
        return 0
    fi
    [[ "$(id -u)" -eq 0 ]] && command -v apt-get >/dev/null 2>&1 || return 1
    say "installing ${DEBIAN_PACKAGES[*]}"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${DEBIAN_PACKAGES[@]}" >&2
}

build_with_rustup() {
    (cd "$HERE" && CARGO_TARGET_DIR="$HERE/target" cargo build --release --locked --target "$WASM")
}

build_with_debian() {
    local linker
    linker="$(cd "$HERE" && rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld"
    (cd "$HERE" && RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc CARGO_TARGET_DIR="$HERE/target" \
        CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$linker" \
        /usr/bin/cargo build --release --locked --target "$WASM" -Z build-std=std,panic_abort)
}

hash="$(sources_hash)"
if up_to_date "$hash"; then exit 0; fi

say "building the bundled plugins"
if has_wasm || { command -v rustup >/dev/null 2>&1 && (cd "$HERE" && rustup target add "$WASM" >&2) && has_wasm; }; then
    build_with_rustup
elif debian_packages; then
    build_with_debian
else
    printf 'plugins: no Rust toolchain for %s\n' "$WASM" >&2
    printf '  with rustup:     rustup target add %s\n' "$WASM" >&2
    printf '  Debian, Ubuntu:  apt-get install %s\n' "${DEBIAN_PACKAGES[*]}" >&2
    exit 1
fi

mkdir -p "$OUT/test"
for plugin in "${PLUGINS[@]}" "${TEST_PLUGINS[@]/#/test/}"; do
    built="$HERE/target/$WASM/release/${plugin#test/}.wasm"
    # An unchanged file keeps its time, so that cargo does not rebuild the host for nothing.
    cmp -s "$built" "$OUT/$plugin.wasm" || cp "$built" "$OUT/$plugin.wasm"
done
printf '%s\n' "$hash" >"$OUT/stamp"
