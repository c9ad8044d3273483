# For tests/supervisors/image and tests/supervisors/compose, which source it: podman with runc and a storage of its own, and
# the images that the project names, made here without a registry.
# shellcheck shell=bash

[[ $EUID == 0 ]] || { echo "only root runs it: the machine may have no ids for other users' containers" >&2; exit 2; }
target=$(realpath "${CARGO_TARGET_DIR:-target}")
debian=$target/supervisors/bookworm
[[ -d $debian ]] || { echo "tests/supervisors/run makes $debian" >&2; exit 2; }

# wants PACKAGE[=PROGRAM]... : installs those whose program is missing.
wants() {
    local each missing=()
    for each; do command -v "${each#*=}" >/dev/null || missing+=("${each%=*}"); done
    ((${#missing[@]} == 0)) || .ci/install "${missing[@]}"
}

# configure FOLDER : podman's storage and settings are in this folder from here on, so that nothing of the machine's is
# seen or left behind. It is $work.
configure() {
    work=$1
    cat >"$1/storage.conf" <<TOML
[storage]
driver = "overlay"
graphroot = "$1/root"
runroot = "$1/run"
TOML
    # Without systemd, and without the limits that podman raises beyond what some machines allow.
    cat >"$1/containers.conf" <<TOML
[containers]
default_ulimits = ["nofile=8192:8192", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
tmp_dir = "$1/tmp"
[network]
network_config_dir = "$1/networks"
TOML
    export CONTAINERS_STORAGE_CONF=$1/storage.conf CONTAINERS_CONF=$1/containers.conf
    # `fatal` spares complaints that no systemd asks for the health; what fails is told all the same. netavark knows no
    # such level, and says so.
    mkdir "$1/bin"
    printf '#!/bin/sh\nexec %s --log-level fatal "$@"\n' "$(command -v podman)" >"$1/bin/podman"
    chmod 755 "$1/bin/podman"
    PATH=$1/bin:$PATH
}

# sweep : the control groups that podman leaves empty.
sweep() { find /sys/fs/cgroup -depth -type d -path '*/libpod_parent*' -exec rmdir {} + 2>/dev/null || true; }

passed() { printf '  %s\n' "$*"; }
# soon WHAT COMMAND... : asks until it is so, for $patience seconds at most.
patience=30
soon() {
    local from=$SECONDS
    until "${@:2}" >/dev/null 2>&1; do
        ((SECONDS - from < patience)) || fail "$1: not within $patience seconds"
        sleep 0.2
    done
}

# run WHAT COMMAND... : what it says is kept in $work/said, which `fail` shows.
run() { "${@:2}" >"$work/said" 2>&1 || fail "$1: status $?"; }

# make_image NAME : builds one from the Dockerfile on standard input, with the files of the folder $context.
make_image() { run "$1 is built" podman build --pull=never --format docker -f - -t "$1" "$context"; }

# dockerfile_images : all that the Dockerfile takes its stages from. The last one is made of the files of the packages that it
# has, and a user who is not root; the other has the program of `cargo build` in place of a compiler.
dockerfile_images() {
    local rust release base=$work/base
    tar -C "$debian" --exclude=./var/cache/apt --exclude=./var/lib/apt --exclude=./usr/share/doc --exclude=./usr/share/locale -c . |
        podman import -q - localhost/debian >/dev/null

    last=$(awk '/^FROM / {base = $2} END {print base}' Dockerfile)
    mkdir -p "$base"/{etc,home/nonroot,tmp,usr/bin,usr/sbin,usr/lib,usr/lib64}
    cat "$debian"/var/lib/dpkg/info/{base-files,ca-certificates,libc6:amd64,libgcc-s1:amd64,libstdc++6:amd64,tzdata}.list |
        sed -n 's,^/,,p' | sort -u |
        tar -C "$debian" --no-recursion --ignore-failed-read -T - -c 2>/dev/null | tar -C "$base" -x
    printf '%s\n' root:x:0:0:root:/root:/sbin/nologin nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin \
        >"$base/etc/passwd"
    tar -C "$base" -c . | podman import -q --change USER=65532 --change WORKDIR=/home/nonroot - "$last" >/dev/null

    rust=$(sed -n 's/^ARG RUST=//p' Dockerfile)
    release=$(sed -n 's/^ARG DEBIAN=//p' Dockerfile)
    context=$work/rust
    mkdir "$context"
    # It is copied from layer to layer.
    strip -o "$context/program" "$target/debug/backoffice-auth"
    # Where cargo would leave it, and nothing else.
    cat >"$context/cargo" <<'SH'
#!/bin/sh
set -eu
command=$1
while [ "$1" != --target ]; do shift; done
[ "$command" = clean ] || install -D /opt/program "target/$2/release/backoffice-auth"
SH
    printf '#!/bin/sh\n' | tee "$context/rustup" >"$context/gcc"
    chmod 755 "$context"/*
    make_image "docker.io/library/rust:$rust-slim-$release" <<'DOCKERFILE'
FROM localhost/debian
COPY program /opt/
COPY cargo rustup /usr/local/bin/
COPY gcc /usr/local/bin/x86_64-linux-gnu-gcc
COPY gcc /usr/local/bin/aarch64-linux-gnu-gcc
DOCKERFILE
}
