# syntax=docker/dockerfile:1

FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY . .
# The statements are checked against .sqlx: there is no database here. The image has a C compiler,
# which is all that the crypto library wants; it needs no CMake.
ENV SQLX_OFFLINE=true
# What was downloaded and compiled stays in caches on the building machine, so that a change of our
# own code compiles our own code. The program is copied out, as the cache is not part of the layer.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin backoffice-auth \
    && cp target/release/backoffice-auth /usr/local/bin/

# The C library, certificates and a user that is not root; no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="backoffice-auth" \
      org.opencontainers.image.description="Signs people in and out of a Back Office" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /usr/local/bin/backoffice-auth /usr/local/bin/backoffice-auth
# A container is reached from outside, unlike a program on a developer's machine.
ENV BACKOFFICE_AUTH__HTTP__LISTEN=0.0.0.0:8080 \
    BACKOFFICE_AUTH__HTTP__MANAGEMENT_LISTEN=0.0.0.0:9090
EXPOSE 8080 9090
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["/usr/local/bin/backoffice-auth", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/backoffice-auth"]
CMD ["serve"]
