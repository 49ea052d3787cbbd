# syntax=docker/dockerfile:1
# The server with all adapters, embedded and distributed, on an image that has a C library and nothing else.

FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --release --locked --package lockstepd --bin lockstepd --features distributed,oidc \
    && install -D target/release/lockstepd /image/lockstepd \
    && mkdir /image/data /image/keys

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /image/lockstepd /usr/local/bin/lockstepd
# A new volume takes the owner of the folder that it covers; without these it would belong to root.
COPY --from=build --chown=nonroot:nonroot /image/data /data
COPY --from=build --chown=nonroot:nonroot /image/keys /keys
USER nonroot
VOLUME /data
EXPOSE 8443
STOPSIGNAL SIGTERM
ENV LOCKSTEP_LISTEN=0.0.0.0:8443 LOCKSTEP_DATA=/data LOCKSTEP_LOG_FORMAT=json
# The image has no shell and no curl, so the server asks itself.
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/lockstepd", "health"]
ENTRYPOINT ["/usr/local/bin/lockstepd"]
CMD ["serve"]
