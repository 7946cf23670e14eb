#!/usr/bin/env bash
# Builds the CPU image and makes engines in it twice, without a network: the second run must come from the store.
# Uses docker, podman, or buildah (as root; it then makes its own Debian base with debootstrap). Set, if you like:
#   BASE    the base image [python:3.11-slim; with buildah, the Debian just made]
#   MODEL   what to build [lenet]
#   WORK    folder for layers, store and engines, kept for the next try [a temporary one, removed at the end]
set -euo pipefail
export LC_ALL=C.UTF-8
cd "$(dirname "$0")/.."
model=${MODEL:-lenet}
tag=enginesmith:try
debian=bookworm

if [ -n "${WORK:-}" ]; then
    mkdir -p "$WORK"
    work=$(realpath "$WORK")
else
    work=$(mktemp -d "${TMPDIR:-/var/tmp}/enginesmith-try.XXXXXX")
fi

for tool in docker podman buildah none; do
    if [ "$tool" != none ] && command -v "$tool" >/dev/null && "$tool" info >/dev/null 2>&1; then break; fi
done
if [ "$tool" = none ]; then
    echo "this needs docker, podman or buildah; apt-get install buildah debootstrap" >&2
    exit 2
fi
command=("$tool")
if [ "$tool" = buildah ]; then
    if [ "$(id -u)" != 0 ] || ! command -v debootstrap >/dev/null; then
        echo "buildah needs root and debootstrap here; apt-get install debootstrap" >&2
        exit 2
    fi
    # a storage of its own, on overlay where the kernel lets us
    mkdir -p "$work/images"
    for driver in overlay vfs; do
        command=(buildah --root "$work/images" --runroot "$work/run" --storage-driver "$driver")
        if "${command[@]}" info >/dev/null 2>&1; then break; fi
        rm -rf "$work/images" "$work/run"
    done
    export TMPDIR=$work/tmp
    mkdir -p "$TMPDIR"
fi

clean_up() {
    if [ "$tool" = buildah ]; then
        "${command[@]}" rm --all >/dev/null || true
        awk -v work="$work/" 'index($2, work) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount || true
    fi
    if [ -n "${WORK:-}" ]; then return; fi
    if [ "$tool" != buildah ]; then "$tool" rmi --force "$tag" >/dev/null || true; fi
    rm -rf "$work" || true # without root, what the container's user wrote stays
}
trap clean_up EXIT

timed() {
    local title=$1 start=$EPOCHREALTIME
    shift
    "$@"
    awk -v title="$title" -v start="$start" -v end="$EPOCHREALTIME" \
        'BEGIN { printf "== %-34s %7.1f s\n", title, end - start }'
}

# The host's pip settings (mirrors, folders of wheels, certificates) serve the build too, as one pip.conf. The files that
# it names are copied beside it, the folders mounted where they are. docker can't mount into a build.
volumes=()
use_host_pip() {
    local folder folders
    mkdir -p "$work/pip"
    folders=$(python3 -m pip config list | python3 -c '
import ast, os, shutil, sys
settings, out = {}, sys.argv[1]
for line in sys.stdin:
    key, _, value = line.partition("=")
    settings[key.rpartition(".")[2].strip()] = ast.literal_eval(value.strip()).split()
for words in settings.values():
    for place, word in enumerate(words):
        if os.path.isfile(word) and os.path.isabs(word):
            shutil.copy(word, out)
            words[place] = "/mnt/pip/" + os.path.basename(word)
        elif word.startswith("file://"):
            print(os.path.dirname(word[7:].rstrip("/")))  # the files of an index lie beside its pages
        elif os.path.isdir(word) and os.path.isabs(word):
            print(word)
with open(f"{out}/pip.conf", "w") as file:
    print("[global]", *(f"{key} = " + " ".join(words) for key, words in settings.items()), sep="\n", file=file)
' "$work/pip") || return 0 # no pip, no settings
    volumes=(--volume "$work/pip:/mnt/pip:ro" --volume "$work/pip/pip.conf:/etc/pip.conf:ro")
    while read -r folder; do
        if [ -n "$folder" ]; then volumes+=(--volume "$folder:$folder:ro"); fi
    done < <(sort -u <<<"$folders")
}

make_debian() {
    local root=$work/debian container
    debootstrap --variant=minbase $debian "$root" >"$work/debootstrap.log"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    container=$("${command[@]}" from scratch)
    "${command[@]}" add --quiet "$container" "$root" / >/dev/null
    "${command[@]}" commit --quiet --rm "$container" "localhost/debian:$debian" >/dev/null
    rm -rf "$root"
}

build_image() {
    local arguments=(--file docker/Dockerfile --tag "$tag")
    if [ -n "${BASE:-}" ]; then arguments+=(--build-arg "BASE=$BASE"); fi
    # without that index: torch from pip's own
    python3 -c 'import urllib.request as web; web.urlopen("https://download.pytorch.org/whl/cpu/torch/", timeout=10)' \
        2>/dev/null || arguments+=(--build-arg TORCH_INDEX=)
    if [ "$tool" != docker ]; then arguments+=("${volumes[@]}"); fi
    if [ "$tool" = buildah ]; then arguments+=(--layers --isolation chroot --network host); fi
    "${command[@]}" build "${arguments[@]}" . >"$work/build.log" 2>&1 || {
        tail -40 "$work/build.log" >&2
        exit 1
    }
}

# run CONTAINER'S BUILD FOLDER, COMMAND: no network, the image's own user, the store from $work/store
in_container() {
    local mounts=(--volume "$1:/work/build" --volume "$work/store:/store") container
    shift
    if [ "$tool" = buildah ]; then
        container=$("${command[@]}" from --pull-never "$tag")
        unshare --net "${command[@]}" run --isolation chroot "${mounts[@]}" "$container" -- "$@"
        "${command[@]}" rm "$container" >/dev/null
    else
        "$tool" run --rm --network none "${mounts[@]}" "$tag" "$@"
    fi
}

# check MANIFEST: success, an engine of each backend and its hash; with `store`, that the store had every stage
check() {
    python3 - "$@" <<'EOF'
import collections, hashlib, json, pathlib, sys

path = pathlib.Path(sys.argv[1])
manifest = json.loads(path.read_text())
assert manifest["success"], manifest
backends = {engine["backend"] for engine in manifest["engines"]}
assert backends == {"tensorrt-rtx", "tvm"}, f"engines of {backends or 'no backend'}"
for engine in manifest["engines"]:
    content = (path.parent / engine["path"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == engine["sha256"], engine["path"]
    print(f"   {engine['path']}, {len(content):,} bytes, verified: {engine['verified']}")
stages = collections.Counter(stage["status"] for stage in manifest["stages"])
print("   stages:", ", ".join(f"{count} {status}" for status, count in stages.items()))
expected = "built" if sys.argv[2:] == ["store"] else "cached"
assert not stages[expected], f"stages {expected}: {[s['id'] for s in manifest['stages'] if s['status'] == expected]}"
EOF
}

make_engine() {
    in_container "$1" make engine "MODEL=$model" >"$1.log" 2>&1 || {
        tail -40 "$1.log" >&2
        exit 1
    }
}

use_host_pip
if [ "$tool" = buildah ] && [ -z "${BASE:-}" ]; then
    BASE=localhost/debian:$debian
    "${command[@]}" inspect --type image $BASE >/dev/null 2>&1 || timed "base, debootstrap $debian" make_debian
fi
timed "image, $tool build" build_image
rm -rf "$work/store" "$work/first" "$work/second"
mkdir -m 1777 "$work/store" "$work/first" "$work/second" # whoever the image's user is
# shellcheck disable=SC2016 # expanded in the container
in_container "$work/first" sh -c 'echo "== user $(id -u), image $(du -shx / 2>/dev/null | cut -f1), environment $(du -sh /work/.venv | cut -f1)"
    [ "$(id -u)" != 0 ] && ! touch /work/.venv/.ready 2>/dev/null'
timed "make engine MODEL=$model" make_engine "$work/first"
check "$work"/first/*/*/manifest.json
timed "make engine MODEL=$model, again" make_engine "$work/second"
check "$work"/second/*/*/manifest.json store
echo "== store $(du -sh "$work/store" | cut -f1)"
