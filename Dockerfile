# One image for all programs: which one runs is the command (`docker run headwater router`), and
# settings are variables. Built with BuildKit, as Docker does since version 23.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# The caches outlive the build, so what is wanted is copied out in the same step. Names of functions
# stay in the programs, for backtraces; the lines of the sources do not.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/usr/local/cargo/git \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --workspace --bins \
    && mkdir /programs \
    && for program in router command-svc query-svc projector headwater; do \
        strip --strip-debug -o "/programs/$program" "target/release/$program" || exit 1; \
    done

FROM debian:bookworm-slim
COPY --from=build /programs/ /usr/local/bin/
# Nobody; as the manifests have it.
USER 65532:65532
EXPOSE 50050 50051 50052 50053 9050 9051 9052 9053
CMD ["headwater", "--help"]
