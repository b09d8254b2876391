import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import * as z from "zod";

import { basesOf } from "../../../stack/cluster/image.ts";
import { IMAGE, insideValues } from "../../../stack/cluster/install.ts";
import { kindEnv, newPasswords } from "../../../stack/kind/upstreams.ts";
import { upstreams } from "../../../stack/node/objects.ts";

const root = join(import.meta.dirname, "../../..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");

describe("the image", () => {
  it("has the name that manifests/version asks for", () => {
    const { images } = z
      .looseObject({ images: z.array(z.object({ name: z.string(), newTag: z.string() })) })
      .parse(parse(read("manifests/version/kustomization.yaml")));
    expect(images.map(({ name, newTag }) => `${name}:${newTag}`)).toEqual([IMAGE]);
  });

  it("is built from images that are not stages of the same Dockerfile", () => {
    expect(basesOf("FROM node:24 AS build\nRUN true\nFROM build AS more\nFROM node:24\n")).toEqual(["node:24"]);
    expect(basesOf("ARG BASE=node:24@sha256:0\nFROM ${BASE} AS build\nFROM $BASE\n")).toEqual(["node:24@sha256:0"]);
    expect(basesOf(read("Dockerfile")).length).toBeGreaterThan(0);
  });
});

describe("a kind cluster", () => {
  const service = z.object({
    kind: z.literal("Service"),
    metadata: z.object({ name: z.string(), namespace: z.string() }),
    spec: z.object({ ports: z.tuple([z.object({ port: z.number(), nodePort: z.number() })]) }),
  });
  const services = parseAllDocuments(read("stack/kind/upstreams.yaml")).flatMap((document) => {
    const found = service.safeParse(document.toJS());
    return found.success ? [found.data] : [];
  });

  it("has every upstream where the node of the stack has it", () => {
    const found = services.map(({ metadata, spec }) => `${metadata.name}.${metadata.namespace}:${spec.ports[0].port}`);
    const wanted = upstreams.map(({ name, namespace, port }) => `${name}.${namespace}:${port}`);
    expect(found.filter((address) => !address.startsWith("gitea")).toSorted()).toEqual(wanted.toSorted());
  });

  it("opens the port of every upstream to this machine, and the env names those ports", () => {
    const { nodes } = z
      .looseObject({
        nodes: z.tuple([z.looseObject({ extraPortMappings: z.array(z.object({ hostPort: z.number() })) })]),
      })
      .parse(parse(read("stack/kind/cluster.yaml")));
    const open = new Set(nodes[0].extraPortMappings.map(({ hostPort }) => String(hostPort)));
    expect(open).toEqual(new Set(services.map(({ spec }) => String(spec.ports[0].nodePort))));
    const env = kindEnv("/x", newPasswords());
    const named = [env.GITEA_URL, env.KEYCLOAK_URL, env.DATABASE_URL, env.NATS_URL, env.NEWAPI_URL];
    expect(new Set(named.map((url) => new URL(url).port))).toEqual(open);
  });

  it("tells a Tenant the addresses that Pods know, and people the gateway's as they know it", () => {
    const values = insideValues({ NEWAPI_URL: "http://127.0.0.1:30030" });
    expect(values.NEWAPI_URL).toBe("http://newapi.newapi.svc:3000");
    expect(values.NEWAPI_PUBLIC_URL).toBe("http://127.0.0.1:30030");
  });
});
