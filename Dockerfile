# syntax=docker/dockerfile:1
# How to run it: docs/operations.md, "In a container".

FROM rust:1.95.0-slim-trixie AS build
WORKDIR /build
# The dependencies are a layer of their own: it is built again only when the manifest or the lock changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src && touch src/lib.rs && echo 'fn main() {}' > src/main.rs \
    && cargo build --release --locked --bin swimcoach \
    && rm -r src
COPY catalog catalog
COPY migrations migrations
COPY prices prices
COPY prompt prompt
COPY web web
COPY src src
# Cargo goes by times of modification, and the sources may be older than the empty ones above.
RUN touch src/lib.rs src/main.rs && cargo build --release --locked --bin swimcoach
RUN mkdir /data
# What it is built from, as CycloneDX. The tool comes after the service, so that no change of it builds that again.
RUN cargo install --locked --version 0.5.9 cargo-cyclonedx \
    && cargo cyclonedx --format json --override-filename sbom

FROM debian:trixie-slim
LABEL org.opencontainers.image.title="SwimCoach" \
      org.opencontainers.image.description="Frames of a swimmer's video in, a technique analysis whose every claim cites frames out" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
# The roots that certificates of the bucket and of the model are checked against.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /build/target/release/swimcoach /usr/local/bin/swimcoach
COPY --from=build /build/sbom.json /usr/share/doc/swimcoach/sbom.json
# The one place that is written: the file of records, or the journal before Snowflake.
COPY --from=build --chown=65532:65532 /data /data
VOLUME /data
USER 65532:65532
# Listening on every address needs a way to sign in as well (API_KEYS=true or OIDC_ISSUER), which is left to
# whoever runs it.
ENV HOST=0.0.0.0 \
    PORT=8000 \
    SNOWFLAKE_JOURNAL=/data/swimcoach-journal.db
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s CMD ["swimcoach", "health"]
ENTRYPOINT ["swimcoach"]
CMD ["serve"]
