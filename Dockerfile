# syntax=docker/dockerfile:1
# One binary on an image that has nothing else: no shell, no package manager, nobody but `nonroot`.
#
#   docker build --build-arg REVISION="$(git rev-parse --short HEAD)" --tag outrider .

FROM rust:1.95-bookworm AS chef
WORKDIR /src
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo install cargo-chef --version 0.1.78 --locked

# Only what decides which dependencies there are: their layer outlives every change of our own code.
FROM chef AS recipe
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS build
COPY --from=recipe /src/recipe.json recipe.json
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo chef cook --profile dist --locked --package outrider --recipe-path recipe.json
COPY . .
# Which commit this is; `outrider_build_info` says so, and nothing else depends on it.
ARG REVISION=""
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    OUTRIDER_REVISION="$REVISION" cargo build --profile dist --locked --package outrider && \
    mkdir -p /out/data && cp target/dist/outrider /out/outrider

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="Outrider" \
      org.opencontainers.image.description="Realtime dispatch: rides, deliveries and rescues as supervised actors" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /out/outrider /usr/local/bin/outrider
# For a node that keeps its own journal, or development's key.
COPY --from=build --chown=nonroot:nonroot /out/data /var/lib/outrider
COPY config/production.toml /etc/outrider/production.toml
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 7070
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=6s --start-period=60s CMD ["/usr/local/bin/outrider", "check", "node"]
ENTRYPOINT ["/usr/local/bin/outrider"]
CMD ["serve"]
