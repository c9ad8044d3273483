# syntax=docker/dockerfile:1

# The image with the program and nothing else: no shell, no package manager, not root, and no `dev`.
#
#   docker build -t backoffice-auth .
#   docker build --build-arg REVISION="$(git rev-parse HEAD)" --sbom=true --provenance=mode=max … .
#
# Base images are named with their registry, since Podman asks none by itself, and by release. A digest
# would name their very bytes: for a build that can be repeated exactly, resolve each `FROM` to one (`docker buildx imagetools inspect IMAGE`) and write
# `IMAGE@sha256:…`. Dependabot then keeps it up to date.
ARG RUST=1.95
ARG DEBIAN=bookworm

# Always of the building machine's kind: images for another architecture are cross-compiled, not emulated.
FROM --platform=$BUILDPLATFORM docker.io/library/rust:${RUST}-slim-${DEBIAN} AS build
ARG TARGETARCH
WORKDIR /src
# The statements are checked against .sqlx: there is no database here. The image has a C compiler,
# which is all that the crypto library wants; it needs no CMake.
ENV SQLX_OFFLINE=true \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc
# Plain `sh`: Podman ignores `SHELL` in images of its own format.
RUN set -eu; \
    case "$TARGETARCH" in \
        amd64) target=x86_64-unknown-linux-gnu gcc=x86_64-linux-gnu-gcc package=gcc-x86-64-linux-gnu ;; \
        arm64) target=aarch64-unknown-linux-gnu gcc=aarch64-linux-gnu-gcc package=gcc-aarch64-linux-gnu ;; \
        *) echo "no image is built for $TARGETARCH" >&2; exit 1 ;; \
    esac; \
    echo "$target" > /target; \
    rustup target add "$target"; \
    if ! command -v "$gcc" >/dev/null; then \
        apt-get update -q; \
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
            "$package" "libc6-dev-${TARGETARCH}-cross"; \
        rm -rf /var/lib/apt/lists/*; \
    fi

# The dependencies are a layer of their own, which is built again only after a change of Cargo.lock
# or Cargo.toml: they are compiled with empty crates in the place of our own.
COPY Cargo.toml Cargo.lock ./
RUN set -eu; \
    mkdir -p src tests/interop/rust; \
    touch src/lib.rs tests/traces.rs; \
    echo 'fn main() {}' > src/main.rs; \
    cp src/main.rs tests/interop/rust; \
    benches=$(sed -n '/^\[\[bench\]\]$/{n;s/^name = "\(.*\)"$/\1/p}' Cargo.toml); \
    for bench in $benches; do \
        mkdir -p "benches/$bench"; \
        cp src/main.rs "benches/$bench"; \
    done; \
    target=$(cat /target); \
    cargo build --release --locked --no-default-features --target "$target" \
        --bin backoffice-auth; \
    cargo clean --release --target "$target" --package backoffice-auth; \
    rm -r src benches

COPY . .
RUN set -eu; \
    target=$(cat /target); \
    cargo build --release --locked --no-default-features --target "$target" \
        --bin backoffice-auth; \
    mv "target/$target/release/backoffice-auth" /usr/local/bin/

# The program needs only glibc and libgcc beside itself (`ldd` names no others). This image has
# them, and a user who is not root. The certificate authorities for SMTP and PostgreSQL are in the program.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="backoffice-auth" \
      org.opencontainers.image.description="Signs people in and out of a Back Office" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot"
COPY --from=build /usr/local/bin/backoffice-auth /usr/local/bin/backoffice-auth
# Of the lists of common passwords that are in the program.
COPY src/domain/common-passwords/LICENSES.txt /usr/share/doc/backoffice-auth/common-passwords/LICENSES.txt
# A container is reached from outside, unlike a program on a developer's machine.
ENV BACKOFFICE_AUTH__HTTP__LISTEN=0.0.0.0:8080 \
    BACKOFFICE_AUTH__HTTP__MANAGEMENT_LISTEN=0.0.0.0:9090
EXPOSE 8080 9090
# By number, so that anyone who runs it can see that it is not root (`runAsNonRoot` of Kubernetes).
# It writes no file: run it with a read-only root.
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=4s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/backoffice-auth", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/backoffice-auth"]
CMD ["serve"]
