# One image for every part of Punctual; its command picks the part: api, scheduler, worker, standalone, migrate, …
# (`docker run --rm ghcr.io/punctual/punctual:0.1.0` lists them). Why it is as it is: docs/decisions/0037-one-image.md.
# tests/containers walks these steps, so paths in RUN are relative, and files come by COPY alone.
#
#   docker build --tag ghcr.io/punctual/punctual:0.1.0 --build-arg REVISION=$(git rev-parse HEAD) .

# What the lock file says, and nothing for tests: no Postgres either, of which the standalone here needs DATABASE_URL.
FROM node:26.10.0-trixie-slim@sha256:ec7758ee051e457b468b32bde57b0879010b325bb9862718e9615225ce4aaae1 AS install
ENV CI=true
WORKDIR /app
COPY . .
RUN npx --yes pnpm@12.21.0 install --frozen-lockfile --prod --no-optional --filter '@punctual/command...'
RUN npx --yes pnpm@12.21.0 sbom --sbom-format cyclonedx --sbom-type application --prod --no-optional --filter @punctual/command --out sbom.cdx.json

FROM node:26.10.0-trixie-slim@sha256:ec7758ee051e457b468b32bde57b0879010b325bb9862718e9615225ce4aaae1
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Punctual" \
      org.opencontainers.image.description="A time-delay service: stores millions of timers and calls an HTTP endpoint when each is due." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="UNLICENSED" \
      org.opencontainers.image.base.name="docker.io/library/node:26.10.0-trixie-slim"
ENV NODE_ENV=production
WORKDIR /app
COPY --from=install /app ./
# No user of the base image: nothing in the image is theirs, and all of it may be mounted read-only.
USER 10001:10001
# api, scheduler, worker.
EXPOSE 8088 8089 8090
# Node is the first process and drains by itself, for up to 25 s.
STOPSIGNAL SIGTERM
# A check is a Node that starts, 50 ms of a processor: rarely, but for the first minute.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --start-interval=1s --retries=3 CMD ["node", "scripts/image/health.mjs"]
ENTRYPOINT ["node", "scripts/image/main.ts"]
