# One image for all three roles: `webhook`, `reconciler` and `migrate` are its arguments. docs/image.md says what is in it.
ARG NODE_IMAGE=node:24.9.0-bookworm-slim

# The bundles: the same on every platform.
FROM ${NODE_IMAGE} AS bundles
WORKDIR /build
COPY package.json package-lock.json ./
# The devDependency `node` is for machines without Node 24; without install scripts it is only a few lines.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY LICENSE ./
COPY stack/paths.ts stack/
COPY build build
COPY flux/tenant flux/tenant
COPY src src
RUN node build/bundle.ts /app

# The file system: Node, the libraries that it links to, the bundles, and V8's code for them.
FROM ${NODE_IMAGE} AS root
ARG SOURCE_DATE_EPOCH=0
COPY --from=bundles /app /app
COPY build/root.ts build/codeCache.ts /build/
RUN SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} node /build/root.ts /root-of-image

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="unified-rbac" \
  org.opencontainers.image.description="One line of YAML gives a person access: Keycloak user, LLM gateway account and key, Kubernetes Secret." \
  org.opencontainers.image.source="${SOURCE}" \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}"
COPY --from=root /root-of-image/ /
ENV PATH=/usr/local/bin NODE_ENV=production NODE_COMPILE_CACHE=/app/cache
WORKDIR /app
# No name, only a number: Kubernetes can see from it that it is not root.
USER 65532:65532
# 9443 admission, 8080 and 8081 health and metrics.
EXPOSE 9443 8080 8081
# A small young generation: what is not used for long is not kept for long (docs/performance.md).
ENTRYPOINT ["node", "--enable-source-maps", "--max-semi-space-size=1", "/app/main.js"]
CMD ["--help"]
