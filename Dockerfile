# syntax=docker/dockerfile:1
# One image for all three roles: `webhook`, `reconciler` and `migrate` are its arguments.

FROM node:24-bookworm-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
# The devDependency `node` is for machines without Node 24; here it would only be a second one.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
RUN npm run build

FROM node:24-bookworm-slim AS dependencies
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts

FROM node:24-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /build/node_modules ./node_modules
COPY --from=build /build/dist ./dist
# What `tenant init` fills in.
COPY flux/tenant ./flux/tenant
COPY package.json LICENSE* ./
# No name, only a number: Kubernetes can see from it that it is not root.
USER 65532:65532
# 9443 admission, 8080 and 8081 health and metrics.
EXPOSE 9443 8080 8081
# A small young generation: what is not used for long is not kept for long (docs/performance.md).
ENTRYPOINT ["node", "--enable-source-maps", "--max-semi-space-size=1", "/app/dist/main.js"]
CMD ["--help"]
