#!/usr/bin/env bash
# Examines ONNX files: those of FILES, one a line; else those that differ between the commit BASE and this one;
# without a commit to differ from (the first push of a branch), all. FOR and OPTIONS (one a line) go to the doctor.
set -euo pipefail
files=${FILES:-}
if [ -z "$files" ] && [[ "${BASE:-}" =~ [1-9a-f] ]]; then
    # what a runner checks out has no history
    git cat-file -e "$BASE^{commit}" 2>/dev/null || git fetch -q --depth=1 origin "$BASE"
    files=$(git -c core.quotePath=off diff --name-only --no-renames --diff-filter=d "$BASE" HEAD -- '*.onnx')
elif [ -z "$files" ]; then
    files=$(git -c core.quotePath=off ls-files -- '*.onnx')
fi
if [ -z "$files" ]; then
    echo "no ONNX file to examine"
    exit 0
fi
options=()
if [ -n "${FOR:-}" ]; then options+=(--for "$FOR"); fi
if [ -n "${OPTIONS:-}" ]; then mapfile -t -O ${#options[@]} options <<<"${OPTIONS%$'\n'}"; fi
mapfile -t models <<<"${files%$'\n'}"
enginesmith doctor "${options[@]}" -- "${models[@]}"
