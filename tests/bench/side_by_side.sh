#!/usr/bin/env bash
# Compares the cost of plugins per record with that at another commit, without brokers:
#   tests/bench/side_by_side.sh COMMIT [RUNS]
# Both are built first, the other one in a work tree of its own with a target folder of its own,
# which compiles wasmtime anew and stays for the next time. Then the two measurements take turns, RUNS
# times (10), and the medians and their ratio are printed. Run it on a quiet machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly ROOT="$PWD"
readonly COMMIT="$(git rev-parse --verify "${1:?usage: side_by_side.sh COMMIT [RUNS]}^{commit}")"
readonly RUNS="${2:-10}"
readonly FOLDER="$ROOT/target/side-by-side"
readonly OTHER="$FOLDER/$COMMIT"
readonly MEASURED=(cost::per_record cost::bundled_per_record)

# Builds guests and measurement of a tree; prints the path of the measurement.
build() (
    cd "$1"
    bash plugins/build.sh >&2
    CARGO_TARGET_DIR="$1/target" cargo test --release --workspace --no-run --test it --message-format json |
        sed -n 's|.*"executable":"\([^"]*/it-[^"]*\)".*|\1|p' | tail -n 1
)

# run NAME TREE BINARY: measures once, and adds lines of name, row and ns per record to the results.
run() {
    (cd "$2/runtime/host" && "$3" --ignored --nocapture --test-threads 1 "${MEASURED[@]}") |
        sed -n "s|^test [^ ]* ... ||; s|^\(.*\): \([0-9.]*\) ns per record.*|$1\t\1\t\2|p" >>"$FOLDER/results.tsv"
}

mkdir -p "$FOLDER"
if [[ ! -e "$OTHER/Cargo.toml" ]]; then
    git worktree prune
    git worktree add --detach "$OTHER" "$COMMIT"
fi
before="$(build "$OTHER")"
after="$(build "$ROOT")"
: >"$FOLDER/results.tsv"
for ((number = 1; number <= RUNS; number++)); do
    printf 'run %d of %d, load %s\n' "$number" "$RUNS" "$(cut -d ' ' -f 1 /proc/loadavg)" >&2
    # Whoever comes first in a pair may find another machine than the second.
    if ((number % 2)); then
        run before "$OTHER" "$before"
        run after "$ROOT" "$after"
    else
        run after "$ROOT" "$after"
        run before "$OTHER" "$before"
    fi
done

# The rows keep the order of the measurement.
printf '| Chain | Before, ns | Now, ns | Ratio of the medians |\n|---|---|---|---|\n'
cut -f 2 "$FOLDER/results.tsv" | awk '!seen[$0]++' | while IFS= read -r row; do
    median() {
        awk -F '\t' -v name="$1" -v row="$row" '$1 == name && $2 == row { print $3 }' "$FOLDER/results.tsv" |
            sort -n | awk '{ all[NR] = $1 } END { print NR ? (all[int((NR + 1) / 2)] + all[int(NR / 2) + 1]) / 2 : 0 }'
    }
    awk -v row="$row" -v before="$(median before)" -v after="$(median after)" \
        'BEGIN { printf "| %s | %.0f | %.0f | %s |\n", row, before, after, before > 0 ? sprintf("%.3f", after / before) : "-" }'
done
